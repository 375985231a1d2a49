"""Rounding-error bounds for sums of products.

After Higham (2002), *Accuracy and Stability of Numerical Algorithms*, §3.
"""

from __future__ import annotations

import torch

UNIT_FLOAT64 = 2.0**-53
UNIT_FLOAT32 = 2.0**-24

_UNITS = {torch.float64: UNIT_FLOAT64, torch.float32: UNIT_FLOAT32}
# In float64 also norms are taken, and the square of a number below 2^-511 underflows.
_SMALLEST = {torch.float64: 2.0**-511, torch.float32: 2.0**-126}


def unit(dtype: torch.dtype) -> float:
    """Unit roundoff u of a floating-point type: half the distance from 1 to the next number."""
    return _UNITS[dtype]


def underflow(terms: int, dtype: torch.dtype) -> float:
    """Bound on what underflow (also with subnormals flushed to zero) can add to a norm or sum of `terms` products."""
    return 2 * terms * _SMALLEST[dtype]


def gamma(n: int, u: float = UNIT_FLOAT64) -> float:
    """γ_n = n·u / (1 − n·u): the relative error of n roundings, in any order of summation (Higham 2002, Lemma 3.1).

    Raises:
        ValueError: n·u ≥ 1, where no bound holds.
    """
    if n * u >= 1:
        raise ValueError(f"no rounding bound for {n} operations at unit roundoff {u}")
    return n * u / (1 - n * u)
