"""How GGUF stores numbers: the types by their code, and back to float32 as llama.cpp goes. Needs the package gguf."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from solvers.errors import MissingExtra


@dataclass(frozen=True)
class StoredType:
    """One way to store a row of numbers: in blocks of so many numbers, each of so many bytes.

    Attributes:
        code: its number in the file.
        name: such as `Q6_K`.
        numbers: numbers of a block.
        bytes: bytes of a block.
    """

    code: int
    name: str
    numbers: int
    bytes: int


@cache
def stored_types() -> dict[int, StoredType]:
    """The types that the installed package knows, by their code.

    Raises:
        MissingExtra: the package gguf is not installed.
    """
    sizes = _library("gguf.constants").GGML_QUANT_SIZES
    return {int(kind): StoredType(int(kind), kind.name, *size) for kind, size in sizes.items()}


def dequantise(rows: UInt8[np.ndarray, "n bytes"], kind: StoredType) -> Float32[np.ndarray, "n d"] | None:
    """The numbers that stored rows stand for, as llama.cpp's `dequantize_row_*` gives them; none where the package
    cannot tell."""
    constants, quants = _library("gguf.constants"), _library("gguf.quants")
    try:
        with np.errstate(all="ignore"):  # a damaged scale makes NaN or Inf, which are looked for afterwards
            return quants.dequantize(rows, constants.GGMLQuantizationType(kind.code))
    except NotImplementedError:
        return None


def _library(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise MissingExtra("reading a GGUF file needs the package of llama.cpp: pip install gguf") from None
