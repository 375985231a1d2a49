"""Tiny Llama models with a tokenizer, a chat template and whatever is planted in their heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

D = 16
WORDS = tuple(f"w{at}" for at in range(90))
MARKERS = ("<s>", "</s>", "<pad>", "<|user|>", "<|bot|>", "<|end|>")
EOS, PAD, END = 91, 92, 95
NAMED = len(WORDS) + len(MARKERS)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|bot|>' if m.role == 'assistant' else '<|user|>' }}{{ m.content }}"
    "<|end|>{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
Change = Callable[[torch.Tensor], None]


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(list(MARKERS))
    found = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    found.chat_template = TEMPLATE
    return found


def model(rows: int = NAMED, *, seed: int = 0, **config: Any) -> LlamaForCausalLM:
    """A random Llama whose rows are of one size, as after training."""
    torch.manual_seed(seed)
    settings = LlamaConfig(
        vocab_size=rows, hidden_size=D, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.02, bos_token_id=90, eos_token_id=EOS,
        pad_token_id=PAD, **{"tie_word_embeddings": False, **config},
    )  # fmt: skip
    made = LlamaForCausalLM(settings).eval()
    with torch.no_grad():
        rows_of = torch.randn(rows, D)
        made.lm_head.weight.copy_(rows_of / rows_of.norm(dim=1, keepdim=True))
        made.model.embed_tokens.weight.copy_(
            torch.randn(rows, D) if not settings.tie_word_embeddings else made.lm_head.weight
        )
    return made


def save(made: LlamaForCausalLM, folder: Path, change: Change | None = None, **generation: Any) -> Path:
    """Write the model's folder, its head changed first."""
    if change is not None:
        with torch.no_grad():
            change(made.lm_head.weight)
    made.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    settings = {"eos_token_id": [EOS, END], "pad_token_id": PAD} | generation
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
