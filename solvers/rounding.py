"""Rounding-error bounds for sums of products.

After Higham (2002), *Accuracy and Stability of Numerical Algorithms*, §3.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

UNIT_FLOAT64 = 2.0**-53
UNIT_FLOAT32 = 2.0**-24

SECOND_ORDER = 1 + 2.0**-8
"""Room for products of rounding errors and for the few operations that combine the bounds themselves."""

_UNITS = {torch.float64: UNIT_FLOAT64, torch.float32: UNIT_FLOAT32}
_SMALLEST = {torch.float64: 2.0**-1022, torch.float32: 2.0**-126}
"""The smallest normal number: what is below it may be flushed to zero."""


def unit(dtype: torch.dtype) -> float:
    """Unit roundoff u of a floating-point type: half the distance from 1 to the next number."""
    return _UNITS[dtype]


def underflow(terms: int, dtype: torch.dtype) -> float:
    """Bound on what underflow (also with subnormals flushed to zero) can add to a sum of `terms` products.

    For lengths it holds with `row_lengths`, which takes no square that underflows.
    """
    return 2 * terms * _SMALLEST[dtype]


_SQUARES_FIT = (2.0**-400, 2.0**500)
"""Lengths whose squares neither overflow nor lose more than γ allows to underflow."""


def row_lengths(rows: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    """‖row‖ of each row, up to γ_{d+2} and `underflow`, also where the squares of its entries leave float64's range.

    Rows of such a size are scaled by a power of two first, which rounds nothing that counts. Infinite where the
    length itself is beyond the largest float64; NaN or infinite where an entry is.
    """
    length = rows.norm(dim=1)
    odd = torch.nonzero(~((length > _SQUARES_FIT[0]) & (length < _SQUARES_FIT[1]))).flatten()
    if len(odd):
        part = rows[odd]
        _, exponent = torch.frexp(part.abs().amax(dim=1))
        half = -(exponent // 2)
        # In two steps: the whole power of two may itself be out of range.
        scaled = torch.ldexp(torch.ldexp(part, half[:, None]), (-exponent - half)[:, None])
        length[odd] = torch.ldexp(torch.ldexp(scaled.norm(dim=1), -half), exponent + half)
    return length


def gamma(n: int, u: float = UNIT_FLOAT64) -> float:
    """γ_n = n·u / (1 − n·u): the relative error of n roundings, in any order of summation (Higham 2002, Lemma 3.1).

    Raises:
        ValueError: n·u ≥ 1, where no bound holds.
    """
    if n * u >= 1:
        raise ValueError(f"no rounding bound for {n} operations at unit roundoff {u}")
    return n * u / (1 - n * u)
