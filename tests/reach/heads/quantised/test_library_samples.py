"""Heads quantised by the libraries themselves are dequantised to the same bits as there.

The samples are made by `scripts/quantised_samples.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_quantised import model_folder

from reach.heads.load import load_head
from reach.heads.quantised import module

SAMPLES = Path(__file__).parent / "samples"

WORDS = {
    "bitsandbytes-fp4": "bitsandbytes fp4, blocks of 64, dequantised to float32",
    "bitsandbytes-int8": "bitsandbytes int8, one scale a row, dequantised to float32",
    "bitsandbytes-nf4": "bitsandbytes nf4, blocks of 64, dequantised to float16",
    "bitsandbytes-nf4-nested": (
        "bitsandbytes nf4, blocks of 64, whose largest values are 8 bit, dequantised to bfloat16"
    ),
    "compressed-fp8-block": "compressed-tensors FP8 e4m3, blocks of 16×48, dequantised to bfloat16",
    "compressed-fp8-channel": "compressed-tensors FP8 e4m3, one scale a row, dequantised to bfloat16",
    "compressed-fp8-tensor": "compressed-tensors FP8 e4m3, one scale, dequantised to float32",
    "compressed-w3a16-channel": "compressed-tensors 3 bit, one scale a row, dequantised to bfloat16",
    "compressed-w4a16-asymmetric": "compressed-tensors 4 bit, groups of 32, dequantised to float16",
    "compressed-w4a16-group": "compressed-tensors 4 bit, groups of 32, dequantised to bfloat16",
    "compressed-w8a16-channel": "compressed-tensors 8 bit, one scale a row, dequantised to float32",
    "compressed-w8a8-channel": "compressed-tensors int8 (8 bit), one scale a row, dequantised to bfloat16",
    "compressed-w8a8-tensor": "compressed-tensors int8 (8 bit), one scale, dequantised to float16",
    "mlx-2-bit": "MLX 2 bit, groups of 32, dequantised to float32",
    "mlx-3-bit": "MLX 3 bit, groups of 64, dequantised to float32",
    "mlx-4-bit": "MLX 4 bit, groups of 64, dequantised to float32",
    "mlx-5-bit": "MLX 5 bit, groups of 32, dequantised to float32",
    "mlx-6-bit": "MLX 6 bit, groups of 64, dequantised to float32",
    "mlx-8-bit": "MLX 8 bit, groups of 128, dequantised to float32",
}


def test_every_sample_is_looked_at() -> None:
    assert {path.stem for path in SAMPLES.glob("*.safetensors")} == set(WORDS)


@pytest.mark.parametrize("blocks", [2**22, 300], ids=["at once", "in blocks"])
@pytest.mark.parametrize("name", WORDS)
def test_the_library_makes_the_same_matrix(
    name: str, blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NUMBERS_AT_ONCE", blocks)
    path = SAMPLES / f"{name}.safetensors"
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    head = load_file(path)
    expected = head.pop("expected")
    folder = model_folder(tmp_path, head, tuple(expected.shape), **config)
    read = load_head(str(folder))
    assert read.weight.dtype == expected.dtype
    assert torch.equal(read.weight, expected)
    assert read.dtype == str(expected.dtype).removeprefix("torch.")
    assert read.tie.endswith(f" serves: {WORDS[name]}")
    assert set(read.tensors.values()) == {*head, "model.norm.weight"}
    note = f"{folder}: the output matrix is stored quantised ({WORDS[name]}): every verdict is about the dequantised"
    assert len(read.notes) == 1
    assert read.notes[0].startswith(note)
    assert ("rounds the state to 8 bits" in read.notes[0]) == (name == "bitsandbytes-int8")
