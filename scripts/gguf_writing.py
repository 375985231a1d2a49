"""Writes small GGUF files: the tensors of a head in any stored type that the package gguf, or this file, can make.

The package dequantises K-quants but makes none. Those made here are plain: every scale is the one that the largest
number of its block needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from jaxtyping import Float32, UInt8

SUPER = 256
"""Numbers of a block of a K-quant."""


def write_gguf(
    file: Path,
    architecture: str,
    tensors: Mapping[str, np.ndarray],
    kind: str = "F32",
    settings: Mapping[str, Any] | None = None,
    *,
    tokens: Sequence[bytes] | None = None,
    types: Sequence[int] | None = None,
    tokenizer: str = "gpt2",
    split: int = 0,
) -> Path:
    """Write a file; gives it back, or the first of its parts.

    Args:
        file: where to.
        architecture: what `general.architecture` says.
        tensors: by name, rows first. Matrices are stored as `kind`, all else as float32.
        kind: name of a stored type.
        settings: further entries; those of the architecture by their names without it, such as
            `.attention.layer_norm_epsilon`.
        tokens, types, tokenizer: the vocabulary, where there is to be one.
        split: tensors of a part; 0 writes one file.
    """
    writer = gguf.GGUFWriter(file, architecture, split_max_tensors=split)
    for key, value in (settings or {}).items():
        _add(writer, f"{architecture}{key}" if key.startswith(".") else key, value)
    if tokens is not None:
        writer.add_tokenizer_model(tokenizer)
        writer.add_token_list(list(tokens))
    if types is not None:
        writer.add_token_types(list(types))
    for name, values in tensors.items():
        stored = gguf.GGMLQuantizationType[kind if values.ndim == 2 else "F32"]
        writer.add_tensor(name, quantise(values.astype(np.float32), stored.name), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return min(file.parent.glob(f"{file.stem}-00001-of-*.gguf")) if split else file


def quantise(rows: Float32[np.ndarray, "*n d"], kind: str) -> np.ndarray:
    """Rows in a stored type: float32, float16, or bytes."""
    own = {"Q4_K": q4_k, "Q6_K": q6_k}.get(kind)
    return gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind]) if own is None else own(rows)


def q6_k(rows: Float32[np.ndarray, "n d"]) -> UInt8[np.ndarray, "n bytes"]:
    """Sixteen sub-blocks of sixteen numbers, x ≈ d·s·q with s an int8 of the sub-block and q from -32 to 31."""
    x = rows.reshape(-1, 16, 16)
    scales = np.abs(x).max(axis=2) / 31
    d = (scales.max(axis=1, keepdims=True) / 127).astype(np.float16)
    s = _rounded(scales, d, 0, 127)
    q = (_rounded(x, (d * s)[:, :, None], -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low, high = q & 15, q >> 4
    ql = np.concatenate([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], axis=2)
    qh = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    parts = [ql.reshape(-1, 128), qh.reshape(-1, 64), s.astype(np.int8).view(np.uint8), d.view(np.uint8)]
    return np.concatenate(parts, axis=1).reshape(len(rows), -1)


def q4_k(rows: Float32[np.ndarray, "n d"]) -> UInt8[np.ndarray, "n bytes"]:
    """Eight sub-blocks of 32 numbers, x ≈ d·s·q − e·m with s and m of six bits and q from 0 to 15."""
    x = rows.reshape(-1, 8, 32)
    lows = np.maximum(-x.min(axis=2), 0)
    scales = np.maximum(x.max(axis=2) + lows, 0) / 15
    d = (scales.max(axis=1, keepdims=True) / 63).astype(np.float16)
    e = (lows.max(axis=1, keepdims=True) / 63).astype(np.float16)
    s, m = _rounded(scales, d, 0, 63).astype(np.uint8), _rounded(lows, e, 0, 63).astype(np.uint8)
    q = _rounded(x + (e.astype(np.float32) * m)[:, :, None], (d.astype(np.float32) * s)[:, :, None], 0, 15)
    q = q.astype(np.uint8).reshape(-1, 4, 2, 32)
    packed = np.concatenate(
        [
            s[:, :4] | s[:, 4:] >> 4 << 6,
            m[:, :4] | m[:, 4:] >> 4 << 6,
            s[:, 4:] & 15 | (m[:, 4:] & 15) << 4,
        ],
        axis=1,
    )
    qs = (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)
    return np.concatenate([d.view(np.uint8), e.view(np.uint8), packed, qs], axis=1).reshape(len(rows), -1)


def _rounded(values: np.ndarray, step: np.ndarray, low: int, high: int) -> np.ndarray:
    """Whole numbers of steps; none where the step is 0."""
    step = step.astype(np.float32)
    parts = np.divide(
        values, step, out=np.zeros(np.broadcast_shapes(values.shape, step.shape), np.float32), where=step != 0
    )
    return np.clip(np.rint(parts), low, high)


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
