"""Adapters as the PEFT library saves them, with random numbers, beside a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

RANK = 3


def low_rank(module: str, v: int, d: int, rank: int = RANK) -> dict[str, torch.Tensor]:
    """The two factors of a LoRA on one linear module."""
    generator = torch.Generator().manual_seed(7)
    return {
        f"base_model.model.{module}.lora_A.weight": torch.randn(rank, d, generator=generator),
        f"base_model.model.{module}.lora_B.weight": torch.randn(v, rank, generator=generator),
    }


def whole(parameter: str, *shape: int) -> dict[str, torch.Tensor]:
    """A parameter that was trained and saved as a whole (`modules_to_save`, or `bias`)."""
    return {f"base_model.model.{parameter}": torch.randn(*shape, generator=torch.Generator().manual_seed(8))}


def save_adapter(folder: Path, tensors: dict[str, torch.Tensor] | None, **settings: Any) -> None:
    """Put an adapter into a folder: a plain LoRA unless the settings say otherwise; no tensors, no weights file."""
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "org/base",
        "r": RANK,
        "lora_alpha": 6,
        "lora_dropout": 0.1,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
        "target_modules": ["q_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config | settings))
    if tensors is not None:
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
