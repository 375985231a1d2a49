"""How small can the coherence of V lines in R^d be? Lower bounds that hold for every arrangement.

The coherence is the largest |cos| between two different directions. Each bound has its own range: below it, it says
nothing and is 0 here.
"""

from __future__ import annotations

import math

from solvers.errors import BadInput


def welch_bound(v: int, d: int) -> float:
    """√((V − d)/(d(V − 1))), for V > d. Met by simplices and other equiangular tight frames.

    Source: Welch 1974, *Lower Bounds on the Maximum Cross Correlation of Signals*. For V ≤ d the rows can be
    orthogonal and the bound is 0.

    Raises:
        BadInput: fewer than two rows, or no dimension.
    """
    _check(v, d)
    return math.sqrt((v - d) / (d * (v - 1))) if v > d else 0.0


def orthoplex_bound(v: int, d: int) -> float:
    """1/√d, for V > d(d + 1)/2, the most lines that an equiangular tight frame of R^d can have.

    Source: Rankin 1955; Conway, Hardin and Sloane 1996, *Packing Lines, Planes, etc.*.
    """
    _check(v, d)
    return 1 / math.sqrt(d) if v > d * (d + 1) / 2 else 0.0


def levenshtein_bound(v: int, d: int) -> float:
    """√((3V − d² − 2d)/((d + 2)(V − d))), for V > d(d + 1)/2.

    Source: Levenshtein 1982, *Bounds on the maximal cardinality of a code with bounded modulus of the inner product*.
    """
    _check(v, d)
    if v <= d * (d + 1) / 2:
        return 0.0
    return math.sqrt((3 * v - d * d - 2 * d) / ((d + 2) * (v - d)))


def sidelnikov_bound(v: int, d: int, most_order: int = 64) -> float:
    """The Welch bound of every order, in its real form, and the best of them.

    For each p ≥ 1 the mean of cos^(2p) over all V² ordered pairs, a row with itself included, is at least
    1·3·…·(2p−1)/(d(d+2)…(d+2p−2)), so coherence^(2p) ≥ (V·that − 1)/(V − 1). Order 1 is the Welch bound; higher
    orders win once V is far above d³.

    Source: Sidelnikov 1974, *New estimates for the closest packing of spheres in n-dimensional Euclidean space*.
    """
    _check(v, d)
    best, moment = 0.0, 1.0
    for order in range(1, most_order + 1):
        moment *= (2 * order - 1) / (d + 2 * order - 2)
        excess = (v * moment - 1) / (v - 1)
        if excess <= 0:
            break
        best = max(best, excess ** (1 / (2 * order)))
    return best


def coherence_bound(v: int, d: int) -> float:
    """The largest of all bounds of this module."""
    return max(bound(v, d) for bound in (welch_bound, orthoplex_bound, levenshtein_bound, sidelnikov_bound))


def _check(v: int, d: int) -> None:
    if v < 2 or d < 1:
        raise BadInput(f"a coherence bound needs V ≥ 2 rows and d ≥ 1 dimensions, not V = {v}, d = {d}")
