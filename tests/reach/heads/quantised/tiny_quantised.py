"""Tiny models whose head alone is quantised, packed bit by bit from the definitions of the formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from reach.heads.load import load_head
from solvers.errors import BadInput

V, D = 64, 96
"""Rows and columns of the heads that are packed here."""


def model_folder(folder: Path, head: dict[str, Tensor], shape: tuple[int, int] = (V, D), **settings: Any) -> Path:
    """A Llama with the tensors of a head, an embedding and a last norm."""
    v, d = shape
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": v,
        "hidden_size": d,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "model.embed_tokens.weight": torch.randn(v, d, generator=generator).half(),
        "model.norm.weight": torch.rand(d, generator=generator).half() + 0.5,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | settings))
    save_file({**tensors, **{name: part.contiguous() for name, part in head.items()}}, folder / "model.safetensors")
    return folder


def numbers(bits: int, *shape: int, seed: int = 1) -> Tensor:
    """Whole numbers of some bits."""
    return torch.randint(0, 2**bits, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int64)


def scales(*shape: int, dtype: torch.dtype = torch.float16, seed: int = 2) -> Tensor:
    """Factors of either sign."""
    generator = torch.Generator().manual_seed(seed)
    return ((torch.rand(*shape, generator=generator) + 0.1) * 0.02).to(dtype)


def packed(rows: Tensor, bits: int) -> Tensor:
    """Each row's numbers one after the other in words of 32 bits, from the lowest bit on: as one long number."""
    words = []
    for row in rows.tolist():
        long = sum(number << (bits * place) for place, number in enumerate(row))
        count = -(-len(row) * bits // 32)
        words.append([(long >> (32 * word)) & (2**32 - 1) for word in range(count)])
    signed = [[word - 2**32 if word >= 2**31 else word for word in row] for row in words]
    return torch.tensor(signed, dtype=torch.int32)


def complaint(folder: Path, **options: Any) -> str:
    """The message that loading gives; it must be one line."""
    with pytest.raises(BadInput) as caught:
        load_head(str(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
