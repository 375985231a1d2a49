"""Heads in 8-bit floats: q·s in float32, for every way that scales are shared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_quantised import D, V, complaint, model_folder
from torch import Tensor

from reach.heads.load import load_head

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def codes(dtype: torch.dtype = E4M3) -> Tensor:
    return (torch.randn(V, D, generator=torch.Generator().manual_seed(5)) * 40).to(dtype)


def factors(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(6)) * 0.01 + 0.001


def folder_of(tmp_path: Path, head: dict[str, Tensor], method: str = "fp8", **said: Any) -> Path:
    entry = {"quant_method": method, **said}
    return model_folder(tmp_path, {f"lm_head.{end}": part for end, part in head.items()}, quantization_config=entry)


@pytest.mark.parametrize("block", [(16, 32), (1, 96), (64, 96)])
def test_blocks_as_transformers_reads_them(block: tuple[int, int], tmp_path: Path) -> None:
    integration = pytest.importorskip("transformers.integrations.finegrained_fp8")
    q, s = codes(), factors(V // block[0], D // block[1])
    folder = folder_of(tmp_path, {"weight": q, "weight_scale_inv": s}, weight_block_size=list(block))
    read = load_head(str(folder))
    assert torch.equal(read.weight, integration.Fp8Dequantize(None)._dequantize_one(q, s))
    assert read.weight.dtype == torch.float32
    assert "rounds the state to 8-bit floats, so its own logits differ" in read.notes[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_last_blocks_may_be_smaller(dtype: torch.dtype, tmp_path: Path) -> None:
    q, s = codes(), factors(3, 2).to(dtype)
    folder = folder_of(tmp_path, {"weight": q, "weight_scale_inv": s}, weight_block_size=[24, 64])
    read = load_head(str(folder))
    for row in range(V):
        for column in range(0, D, 5):
            meant = q[row, column].float() * s[row // 24, column // 64].float()
            assert read.weight[row, column] == meant
    assert read.tie.endswith("FP8 e4m3, blocks of 24×64, dequantised to float32")


SHARED: dict[str, tuple[str, str, Tensor, dict[str, Any], str]] = {
    "one": ("fp8", "weight_scale_inv", factors(1), {}, "FP8 e4m3, one scale,"),
    "one, as earlier": ("fp8", "weight_scale", factors(1), {}, "FP8 e4m3, one scale,"),
    "one number": ("modelopt", "weight_scale", factors(1).squeeze(), {"quant_algo": "FP8"}, "FP8 e4m3, one scale,"),
    "rows": ("fbgemm_fp8", "weight_scale", factors(V, 1), {}, "FP8 e4m3, one scale a row,"),
    "rows as a vector": ("fbgemm_fp8", "weight_scale", factors(V), {}, "FP8 e4m3, one scale a row,"),
}


@pytest.mark.parametrize("dtype", [E4M3, E5M2], ids=str)
@pytest.mark.parametrize("form", SHARED)
def test_one_scale_or_one_a_row(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    method, end, scale, said, words = SHARED[form]
    q = codes(dtype)
    head = {"weight": q, end: scale, "input_scale": factors(1)}
    read = load_head(str(folder_of(tmp_path, head, method, **said)))
    assert torch.equal(read.weight, q.float() * (scale.reshape(-1, 1) if scale.numel() > 1 else scale))
    assert words.replace("e4m3", "e4m3" if dtype == E4M3 else "e5m2") in read.tie


SCALE = factors(2, 3)
REFUSED: dict[str, tuple[dict[str, Tensor], dict[str, Any], str]] = {
    "no block size": ({}, {"weight_block_size": None}, "has shape (2, 3), but no weight_block_size says"),
    "half a block size": ({}, {"weight_block_size": [32]}, "weight_block_size is [32], but must be two"),
    "blocks of nothing": ({}, {"weight_block_size": [0, 32]}, "weight_block_size is 0, but must be a whole number"),
    "other blocks": ({}, {"weight_block_size": [16, 32]}, "where the other numbers ask for (4, 3)"),
    "scales of powers of two": (
        {"weight_scale_inv": torch.full((2, 3), 120, dtype=torch.uint8)},
        {},
        "weight_scale_inv is stored as uint8, not as float16 or bfloat16 or float32",
    ),
    "NaN among the codes": (
        {"weight": torch.full((V, D), torch.nan).to(E4M3)},
        {},
        "as dequantised holds NaN or Inf",
    ),
    "NaN among the scales": ({"weight_scale_inv": SCALE * torch.nan}, {}, "weight_scale_inv holds NaN or Inf"),
    "no codes at all": (
        {"weight": torch.zeros(V, D)},
        {},
        "lm_head.weight is stored as float32, not as float8_e4m3fn",
    ),
    "a vector": ({"weight": torch.zeros(V).to(E4M3)}, {}, "has shape (64,), but a matrix is needed"),
    "scales of two kinds": ({"weight_scale": factors(1)}, {}, "lm_head.weight_scale may change it"),
    "something unheard of": ({"zero_point": torch.zeros(V)}, {}, "lm_head.zero_point may change it"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_contradictory_numbers(form: str, tmp_path: Path) -> None:
    tensors, said, reason = REFUSED[form]
    head = {"weight": codes(), "weight_scale_inv": SCALE} | tensors
    assert reason in complaint(folder_of(tmp_path, head, **{"weight_block_size": [32, 32]} | said))


def test_other_numbers_of_modelopt(tmp_path: Path) -> None:
    head = {"weight": codes(), "weight_scale": factors(1)}
    assert "quant_algo is 'NVFP4', and only FP8 is known" in complaint(
        folder_of(tmp_path, head, "modelopt", quant_algo="NVFP4")
    )


def test_codes_without_scales(tmp_path: Path) -> None:
    """Nothing says what they are times."""
    assert "lm_head.weight is stored as F8_E4M3" in complaint(folder_of(tmp_path, {"weight": codes()}))
