"""Floats as what they are: integers times powers of two."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def as_integers(values: Float[Tensor, "..."]) -> tuple[np.ndarray, int]:
    """Floats as Python integers times one power of two: `values == integers · 2**exponent`, exactly.

    Raises:
        ValueError: a value is NaN or Inf.
    """
    array = values.detach().to(torch.float64).numpy()
    if not np.isfinite(array).all():
        raise ValueError("NaN and Inf have no exact value")
    mantissa, exponent = np.frexp(array)
    mantissa = (mantissa * 2.0**53).astype(np.int64)
    nonzero = mantissa != 0
    if not nonzero.any():
        return np.zeros(array.shape, dtype=object), 0
    shared = int((exponent[nonzero] - 53).min())
    shift = np.where(nonzero, exponent - 53 - shared, 0)
    return mantissa.astype(object) * np.power(np.full(array.shape, 2, dtype=object), shift.astype(object)), shared


def power(exponent: int) -> Fraction:
    """2 to this power."""
    return Fraction(2**exponent) if exponent >= 0 else Fraction(1, 2**-exponent)
