"""Tiny random models and ready-made searches over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from reach.search.budget import BatchSize
from reach.search.ledger import Ledger
from reach.search.live import LiveModel
from reach.search.options import SearchSettings
from reach.search.prompts import Prompts, RoundTrip
from reach.search.starts import Bank

V = 40


def tiny_llama(v: int = V, seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    """A random Llama with weights large enough that inputs matter."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=v, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=16, initializer_range=0.3, bos_token_id=0, eos_token_id=1,
        **changes,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def tiny_gpt2(v: int = V, seed: int = 0, **changes: Any) -> GPT2LMHeadModel:
    """A random GPT-2, whose positions are learned and whose head has no bias."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=v, n_embd=16, n_layer=2, n_head=2, n_positions=16, initializer_range=0.3, bos_token_id=0,
        eos_token_id=1, **changes,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def saved(model: Any, folder: Path) -> Path:
    """The model as a folder, without a tokenizer."""
    model.save_pretrained(folder)
    return folder


def live_of(model: Any, **more: Any) -> LiveModel:
    """A live model of a tiny one."""
    return LiveModel(model, "tiny", **more)


def prompts_of(live: LiveModel, trip: RoundTrip | None = None, batch: int | None = None) -> Prompts:
    """A fresh search over a live model."""
    ledger = Ledger(live.v, np.ones(live.v, dtype=bool))
    size = BatchSize(batch, "cpu", live.v)
    return Prompts(live, ledger, trip or RoundTrip(None), Bank(), size, live.rounding)


def few_steps(**changes: Any) -> SearchSettings:
    """Settings for seconds, not minutes."""
    return SearchSettings(**{"lengths": (1, 2), "steps": 12, "restarts": 1, "budget": 4.0, **changes})
