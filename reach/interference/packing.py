"""Johnson–Lindenstrauss: how many nearly orthogonal directions fit into D dimensions, and at what interference.

With ε²/2 − ε³/3 ≥ 4·ln(m)/D some linear map into R^D keeps all squared distances between m points within a factor
1 ± ε (Dasgupta and Gupta 2003, *An Elementary Proof of a Theorem of Johnson and Lindenstrauss*). Read with equality,
ε is the interference of m directions in D dimensions. The left side rises from 0 to 1/6 as ε goes from 0 to 1, and
that is the whole range of the relation: it ends at ln(m) = D/24. It says what random projection guarantees, not what
a trained model must show.
"""

from __future__ import annotations

import math

from solvers.errors import BadInput

RANGE_END = 1 / 6
"""The largest 4·ln(m)/D that the relation can hold, reached at ε = 1."""


def interference(m: float, dimensions: float) -> float:
    """ε with ε²/2 − ε³/3 = 4·ln(m)/D, the root in (0, 1].

    Put ε = 1/2 + t: the cubic becomes t³ − (3/4)t = (1 − 12c)/4 with c = 4·ln(m)/D, so t is a cosine, and by the
    addition theorem ε = sin²(φ/2) + (√3/2)·sin φ with φ = (2/3)·arcsin √(6c). Even for small c no term cancels.

    Args:
        m: number of directions, more than 1.
        dimensions: D, dimensions that they share.

    Raises:
        BadInput: m or D is outside the range; the message says where it ends.
    """
    _check(m, dimensions)
    level = 4 * math.log(m) / dimensions
    if level > RANGE_END * (1 + 1e-12):
        raise BadInput(
            f"no interference ε < 1 exists for {m:g} directions in {dimensions:g} dimensions: the range ends at "
            f"{tokens_at_range_end(dimensions):.4g} directions in {dimensions:g} dimensions, and {m:g} directions "
            f"need {24 * math.log(m):.4g} dimensions"
        )
    phi = 2 / 3 * math.asin(math.sqrt(min(1.0, 6 * level)))
    return math.sin(phi / 2) ** 2 + math.sqrt(3) / 2 * math.sin(phi)


def interference_uncorrected(m: float, dimensions: float) -> float:
    """√(8·ln(m)/D): the same relation without its cubic term. Too small, and increasingly so towards ε = 1.

    It has no end of its own and may exceed 1, where it means nothing. At the end of the true range, where ε = 1, it
    says 1/√3 = 0.577.

    Raises:
        BadInput: m or D is not a number that makes sense.
    """
    _check(m, dimensions)
    return math.sqrt(8 * math.log(m) / dimensions)


def dimensions_needed(n: float, epsilon: float) -> float:
    """D = 4·ln(n)/(ε²/2 − ε³/3): dimensions that n directions need to stay within ε (not rounded).

    The floor of it is scikit-learn's `johnson_lindenstrauss_min_dim(n, eps=epsilon)`.

    Raises:
        BadInput: n ≤ 1, or ε outside (0, 1).
    """
    if not (math.isfinite(n) and n > 1):
        raise BadInput(f"the number of directions must be a finite number > 1, not {n:g}")
    return 4 * math.log(n) / _level(epsilon)


def tokens_that_fit(dimensions: float, epsilon: float) -> float:
    """exp(D·(ε²/2 − ε³/3)/4): directions that fit into D dimensions at interference ε. Infinite past float range.

    Raises:
        BadInput: D ≤ 0, or ε outside (0, 1).
    """
    if not (math.isfinite(dimensions) and dimensions > 0):
        raise BadInput(f"the number of dimensions must be a finite number > 0, not {dimensions:g}")
    exponent = dimensions * _level(epsilon) / 4
    return math.exp(exponent) if exponent < 709 else math.inf


def tokens_at_range_end(dimensions: float) -> float:
    """exp(D/24): with more directions than this no ε ≤ 1 is left."""
    exponent = dimensions / 24
    return math.exp(exponent) if exponent < 709 else math.inf


def _level(epsilon: float) -> float:
    if not 0 < epsilon < 1:
        raise BadInput(f"the interference ε must lie between 0 and 1 (both excluded), not {epsilon:g}")
    return epsilon**2 / 2 - epsilon**3 / 3


def _check(m: float, dimensions: float) -> None:
    if not (math.isfinite(m) and m > 1):
        raise BadInput(f"the number of directions must be a finite number > 1, not {m:g}")
    if not (math.isfinite(dimensions) and dimensions > 0):
        raise BadInput(f"the number of dimensions must be a finite number > 0, not {dimensions:g}")
