"""Makes the samples of `tests/reach/heads/quantised/samples`: matrices quantised and dequantised by the libraries.

Each file holds the tensors of one `lm_head` as a library stores them, the entry of the config in its metadata, and
under `expected` the matrix that the same library dequantises them to. Needs `bitsandbytes`, `compressed-tensors` and
`mlx[cpu]`, which the tests do not:

    python scripts/quantised_samples.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

SAMPLES = Path(__file__).resolve().parents[1] / "tests" / "reach" / "heads" / "quantised" / "samples"


def main() -> None:
    """Write all samples."""
    SAMPLES.mkdir(exist_ok=True)
    _bitsandbytes()
    _compressed_tensors()
    _mlx()


def _matrix(v: int, d: int) -> Tensor:
    return torch.randn(v, d, generator=torch.Generator().manual_seed(v + d)) * 0.3


def _save(name: str, entry: dict[str, Any], tensors: dict[str, Tensor], expected: Tensor, **more: Any) -> None:
    tensors = {f"lm_head.{end}": tensor.contiguous() for end, tensor in tensors.items()}
    config = {"quantization_config": entry} | more
    save_file(
        {**tensors, "expected": expected.contiguous()},
        SAMPLES / f"{name}.safetensors",
        {"config": json.dumps(config)},
    )


def _bitsandbytes() -> None:
    import bitsandbytes.functional as bnb

    for kind, dtype, nested, v, d in (
        ("nf4", torch.float16, False, 24, 128),
        ("nf4", torch.bfloat16, True, 96, 192),
        ("fp4", torch.float32, False, 24, 64),
    ):
        matrix = _matrix(v, d)
        packed, state = bnb.quantize_4bit(matrix.to(dtype), quant_type=kind, compress_statistics=nested)
        tensors = {"weight": packed} | {f"weight.{end}": part for end, part in state.as_dict(packed=True).items()}
        entry = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind}
        name = f"bitsandbytes-{kind}-nested" if nested else f"bitsandbytes-{kind}"
        _save(name, entry, tensors, bnb.dequantize_4bit(packed, state))
    matrix = _matrix(24, 64)
    largest = matrix.abs().amax(dim=1)
    q = (matrix * 127 / largest.unsqueeze(1)).round().to(torch.int8)
    tensors = {"weight": q, "SCB": largest, "weight_format": torch.tensor(0, dtype=torch.uint8)}
    entry = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    _save("bitsandbytes-int8", entry, tensors, bnb.int8_vectorwise_dequant(q, largest))


def _compressed_tensors() -> None:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    group, channel = {"strategy": "group", "group_size": 32}, {"strategy": "channel"}
    schemes: dict[str, tuple[str, dict[str, Any], torch.dtype]] = {
        "w4a16-group": ("pack-quantized", {"num_bits": 4, **group}, torch.bfloat16),
        "w4a16-asymmetric": ("pack-quantized", {"num_bits": 4, "symmetric": False, **group}, torch.float16),
        "w3a16-channel": ("pack-quantized", {"num_bits": 3, "strategy": "channel"}, torch.bfloat16),
        "w8a16-channel": ("pack-quantized", {"num_bits": 8, "symmetric": False, **channel}, torch.float32),
        "w8a8-channel": ("int-quantized", {"num_bits": 8, "strategy": "channel"}, torch.bfloat16),
        "w8a8-tensor": ("int-quantized", {"num_bits": 8, "symmetric": False, "strategy": "tensor"}, torch.float16),
        "fp8-channel": ("float-quantized", {"num_bits": 8, "type": "float", "strategy": "channel"}, torch.bfloat16),
        "fp8-tensor": ("float-quantized", {"num_bits": 8, "type": "float", "strategy": "tensor"}, torch.float32),
        "fp8-block": (
            "float-quantized",
            {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [16, 48]},
            torch.bfloat16,
        ),
    }  # fmt: skip
    for name, (form, weights, dtype) in schemes.items():
        scheme = QuantizationScheme(targets=["Linear"], weights=weights)
        matrix = _matrix(40, 96).to(dtype) + (0.1 if weights.get("symmetric") is False else 0)
        strategy, v, d = weights["strategy"], *matrix.shape
        tall, wide = {
            "tensor": (v, d), "channel": (1, d), "group": (1, 32), "block": weights.get("block_structure"),
        }[strategy]  # fmt: skip
        padded = torch.nn.functional.pad(matrix, (0, -d % wide, 0, -v % tall))
        parts = padded.unflatten(1, (-1, wide)).unflatten(0, (-1, tall))
        scale, zero = calculate_qparams(parts.amin(dim=(1, 3)), parts.amax(dim=(1, 3)), scheme.weights)
        if strategy == "tensor":
            scale, zero = scale.reshape(1), zero.reshape(1)
        state = {"weight": matrix, "weight_scale": scale.to(dtype), "weight_zero_point": zero}
        compressor = BaseCompressor.get_value_from_registry(form)
        stored = compressor.compress(state, scheme)
        expected = compressor.decompress(stored, scheme)["weight"]
        said = json.loads(scheme.weights.model_dump_json())
        entry = {
            "quant_method": "compressed-tensors",
            "quantization_status": "compressed",
            "format": form,
            "ignore": [],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": said}},
        }
        _save(f"compressed-{name}", entry, stored, expected)


def _mlx() -> None:
    import mlx.core as mx
    import numpy as np

    for bits, size in ((2, 32), (3, 64), (4, 64), (5, 32), (6, 64), (8, 128)):
        matrix = mx.array(_matrix(24, 128).numpy()).astype(mx.float16)
        packed, scales, biases = mx.quantize(matrix, group_size=size, bits=bits)
        expected = mx.dequantize(
            packed, scales.astype(mx.float32), biases.astype(mx.float32), group_size=size, bits=bits, stream=mx.cpu
        )
        tensors = {
            "weight": torch.from_numpy(np.array(packed)),
            "scales": torch.from_numpy(np.array(scales)),
            "biases": torch.from_numpy(np.array(biases)),
        }
        entry = {"group_size": size, "bits": bits, "mode": "affine"}
        _save(f"mlx-{bits}-bit", entry, tensors, torch.from_numpy(np.array(expected)), quantization=entry)


if __name__ == "__main__":
    main()
