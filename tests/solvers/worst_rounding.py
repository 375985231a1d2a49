"""Data on which floating-point sums err by nearly all that their bound allows, and sums as slow as the bound permits.

The construction: a partial sum of 1 swallows a term of u (half of the distance to the next number; the tie goes to
the even 1), so d−1 such terms are lost whole. The exact sum is 1 + (d−1)u, the computed one 1, and γ_d says no less.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

DIMENSIONS = (64, 768, 4096, 16384)
DTYPES = (torch.float32, torch.float64)
UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
# --- exact sums ----------------------------------------------------------------------------------------------------


def dyadic(values: Tensor) -> tuple[list[int], int]:
    """Floats as integers over one power of two: values = integers / 2**shift."""
    ratios = [float(x).as_integer_ratio() for x in values.to(torch.float64).tolist()]
    shift = max(q.bit_length() - 1 for _, q in ratios)
    return [p << (shift - (q.bit_length() - 1)) for p, q in ratios], shift


def exact_dot(a: Tensor, b: Tensor) -> Fraction:
    """Σ a_i·b_i with nothing rounded."""
    (left, p), (right, q) = dyadic(a), dyadic(b)
    return Fraction(sum(x * y for x, y in zip(left, right, strict=True)), 2 ** (p + q))


def exact_sum(a: Tensor) -> Fraction:
    """Σ a_i with nothing rounded."""
    whole, shift = dyadic(a)
    return Fraction(sum(whole), 2**shift)


def at_most(value: Fraction, dtype: torch.dtype) -> float:
    """The largest number of a type that is not above a value."""
    number = torch.tensor(float(value), dtype=torch.float64).to(dtype)
    while Fraction(float(number)) > value:
        number = torch.nextafter(number, torch.tensor(-torch.inf, dtype=dtype))
    return float(number)


# --- data ----------------------------------------------------------------------------------------------------------


def swallowed(d: int, dtype: torch.dtype, lanes: int = 1) -> tuple[Tensor, Tensor]:
    """Two vectors of positive numbers whose product loses (d − lanes)·u: the first entries swallow all others."""
    left = torch.full((d,), 2.0**-12 if dtype == torch.float32 else 2.0**-26, dtype=dtype)
    right = torch.full((d,), 2.0**-12 if dtype == torch.float32 else 2.0**-27, dtype=dtype)
    left[:lanes] = right[:lanes] = 1.0
    return left, right


def swallowed_and_cancelled(d: int, dtype: torch.dtype, lanes: int = 1) -> tuple[Tensor, Tensor]:
    """The same, and then the swallowing entries are taken off again: what is lost is all that there was."""
    left, right = swallowed(d, dtype, lanes)
    left[-lanes:], right[-lanes:] = -1.0, 1.0
    return left, right


PAIRS = {"same sign": swallowed, "cancelling": swallowed_and_cancelled}


def losing_sum(d: int) -> Tensor:
    """Float64 numbers just above 1 whose running sum rounds down by nearly half a unit at every step."""
    values, total = np.ones(d), 1.0
    for k in range(1, d):
        half = np.spacing(total + 1.0) / 2
        values[k] = 1.0 + max(0.0, half - 2.0**-52)
        total = total + values[k]
    return torch.from_numpy(values)


# --- arithmetic ----------------------------------------------------------------------------------------------------


def one_by_one(terms: Tensor, dim: int) -> Tensor:
    """A sum from first to last in the terms' own precision: the order that errs most."""
    return torch.from_numpy(np.add.accumulate(terms.numpy(), axis=dim)).select(dim, -1)


@contextmanager
def summed_one_by_one() -> Iterator[None]:
    """Products, sums, means and norms that add from first to last, with every product rounded.

    The bounds claim to hold for any order of summation. Libraries choose a kinder one (blocks, lanes, fused
    products), and another one on each machine; this is the order that the bounds are made for.
    """
    plain_sum, plain_mean, plain_norm = torch.Tensor.sum, torch.Tensor.mean, torch.Tensor.norm
    plain_product, plain_mm = torch.Tensor.__matmul__, torch.mm

    def axis(tensor: Tensor, dim: Any) -> int | None:
        if not tensor.is_floating_point() or tensor.numel() == 0 or isinstance(dim, tuple | list):
            return None
        return dim if dim is not None else 0 if tensor.ndim == 1 else None

    def sum_(self: Tensor, dim: Any = None, keepdim: bool = False, **more: Any) -> Tensor:
        along = axis(self, dim)
        if along is None or more:
            return plain_sum(self, **({} if dim is None else {"dim": dim, "keepdim": keepdim}), **more)
        total = one_by_one(self, along)
        return total.unsqueeze(along) if keepdim else total

    def mean(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        along = axis(self, dim)
        if along is None:
            return plain_mean(self)
        return sum_(self, dim, keepdim) / self.shape[along]

    def norm(self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Tensor:
        along = axis(self, dim)
        if along is None or p not in ("fro", 2):
            return plain_norm(self, p, dim, keepdim)
        return sum_(self * self, along, keepdim).sqrt()

    def mm(left: Tensor, right: Tensor, *, out: Tensor | None = None) -> Tensor:
        product = torch.stack([one_by_one(row[:, None] * right, 0) for row in left])
        return product if out is None else out.copy_(product)

    def product(left: Tensor, right: Tensor) -> Tensor:
        if left.ndim == right.ndim == 1:
            return sum_(left * right)
        if left.ndim == 1:
            return one_by_one(left[:, None] * right, 0)
        if right.ndim == 1:
            return one_by_one(left * right, 1)
        return mm(left, right) if left.ndim == right.ndim == 2 else plain_product(left, right)

    with (
        patch.object(torch.Tensor, "sum", sum_),
        patch.object(torch.Tensor, "mean", mean),
        patch.object(torch.Tensor, "norm", norm),
        patch.object(torch.Tensor, "__matmul__", product),
        patch.object(torch, "mm", mm),
    ):
        assert plain_mm is not torch.mm
        yield


@contextmanager
def summed_as_the_library_does() -> Iterator[None]:
    """What the machine does anyway."""
    yield


SUMMED = {
    "one by one": (summed_one_by_one, 1),
    "library": (summed_as_the_library_does, 1),
    "library, 8 lanes": (summed_as_the_library_does, 8),
    "library, 32 lanes": (summed_as_the_library_does, 32),
}
"""An order of summation, and how many partial sums it may keep side by side: each needs a 1 of its own to swallow."""
