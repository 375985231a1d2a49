"""How many nearly orthogonal directions fit into so many dimensions: packing, bounds, and what chance gives.

*Packing (Johnson–Lindenstrauss).* With ε²/2 − ε³/3 ≥ 4·ln(m)/D some linear map into R^D keeps all squared distances
between m points within a factor 1 ± ε (Dasgupta and Gupta 2003, *An Elementary Proof of a Theorem of Johnson and
Lindenstrauss*). Read with equality, ε is the interference of m directions in D dimensions. The left side rises from
0 to 1/6 as ε goes from 0 to 1, and that is the whole range of the relation: it ends at ln(m) = D/24. It is a
sufficient condition, what random projection guarantees: beyond its range it says nothing, and in it an arrangement
may do better (d orthogonal rows fit into d dimensions at ε = 0) or, as a trained model, worse.

*Bounds.* The coherence of V lines is the largest |cos| between two different ones. Each lower bound holds for every
arrangement and has its own range: below it, it says nothing and is 0 here.

*Chance.* Directions that are independent and uniform on the sphere of R^d: the square of the cosine of two of them
follows Beta(1/2, (d−1)/2).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betainc, betaincinv, gammaln

from solvers.errors import BadInput

# --- packing ---

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
    _check_packing(m, dimensions)
    level = 4 * math.log(m) / dimensions
    if level > RANGE_END * (1 + 1e-12):
        raise BadInput(
            f"the Johnson–Lindenstrauss relation gives no ε < 1 for {m:g} directions in {dimensions:g} dimensions "
            f"and so says nothing of them: the range ends at {tokens_at_range_end(dimensions):.4g} directions in "
            f"{dimensions:g} dimensions, and {m:g} directions "
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
    _check_packing(m, dimensions)
    return math.sqrt(8 * math.log(m) / dimensions)


def dimensions_needed(n: float, epsilon: float) -> float:
    """D = 4·ln(n)/(ε²/2 − ε³/3): dimensions that suffice for n directions to stay within ε (not rounded).

    The floor of it is scikit-learn's `johnson_lindenstrauss_min_dim(n, eps=epsilon)`.

    Raises:
        BadInput: n ≤ 1, or ε outside (0, 1).
    """
    if not (math.isfinite(n) and n > 1):
        raise BadInput(f"the number of directions must be a finite number > 1, not {n:g}")
    return 4 * math.log(n) / _level(epsilon)


def tokens_that_fit(dimensions: float, epsilon: float) -> float:
    """exp(D·(ε²/2 − ε³/3)/4): directions that D dimensions certainly hold at interference ε. More may well fit.

    Infinite past the range of floats.

    Raises:
        BadInput: D ≤ 0, or ε outside (0, 1).
    """
    if not (math.isfinite(dimensions) and dimensions > 0):
        raise BadInput(f"the number of dimensions must be a finite number > 0, not {dimensions:g}")
    exponent = dimensions * _level(epsilon) / 4
    return math.exp(exponent) if exponent < 709 else math.inf


def tokens_at_range_end(dimensions: float) -> float:
    """exp(D/24): with more directions than this the relation leaves no ε ≤ 1, and says nothing."""
    exponent = dimensions / 24
    return math.exp(exponent) if exponent < 709 else math.inf


def _level(epsilon: float) -> float:
    if not 0 < epsilon < 1:
        raise BadInput(f"the interference ε must lie between 0 and 1 (both excluded), not {epsilon:g}")
    return epsilon**2 / 2 - epsilon**3 / 3


def _check_packing(m: float, dimensions: float) -> None:
    if not (math.isfinite(m) and m > 1):
        raise BadInput(f"the number of directions must be a finite number > 1, not {m:g}")
    if not (math.isfinite(dimensions) and dimensions > 0):
        raise BadInput(f"the number of dimensions must be a finite number > 0, not {dimensions:g}")


# --- lower bounds on the coherence ---


def welch_bound(v: int, d: int) -> float:
    """√((V − d)/(d(V − 1))), for V > d. Met by simplices and other equiangular tight frames.

    Source: Welch 1974, *Lower Bounds on the Maximum Cross Correlation of Signals*. For V ≤ d the rows can be
    orthogonal and the bound is 0.

    Raises:
        BadInput: fewer than two rows, or no dimension.
    """
    _check_rows(v, d)
    return math.sqrt((v - d) / (d * (v - 1))) if v > d else 0.0


def orthoplex_bound(v: int, d: int) -> float:
    """1/√d, for V > d(d + 1)/2, the most lines that an equiangular tight frame of R^d can have.

    Source: Rankin 1955; Conway, Hardin and Sloane 1996, *Packing Lines, Planes, etc.*.
    """
    _check_rows(v, d)
    return 1 / math.sqrt(d) if v > d * (d + 1) / 2 else 0.0


def levenshtein_bound(v: int, d: int) -> float:
    """√((3V − d² − 2d)/((d + 2)(V − d))), for V > d(d + 1)/2.

    Source: Levenshtein 1982, *Bounds on the maximal cardinality of a code with bounded modulus of the inner product*.
    """
    _check_rows(v, d)
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
    _check_rows(v, d)
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


def _check_rows(v: int, d: int) -> None:
    if v < 2 or d < 1:
        raise BadInput(f"a coherence bound needs V ≥ 2 rows and d ≥ 1 dimensions, not V = {v}, d = {d}")


# --- chance ---


def mean_abs_cos(d: int) -> float:
    """E|cos| = Γ(d/2)/(√π·Γ((d+1)/2)), near √(2/(πd))."""
    _check_width(d)
    return math.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi)


def mean_square_cos(d: int) -> float:
    """E cos² = 1/d."""
    _check_width(d)
    return 1 / d


def abs_cos_quantile(q: float, d: int) -> float:
    """The q-quantile of |cos|."""
    _check_width(d)
    if not 0 <= q <= 1:
        raise BadInput(f"a quantile lies between 0 and 1, not {q:g}")
    # Through the upper tail, which keeps its digits where q is near 1.
    return math.sqrt(1 - float(betaincinv((d - 1) / 2, 0.5, 1 - q)))


def expected_max(pairs: float, d: int) -> float:
    """Expected largest |cos| among so many pairs of random directions: ∫₀¹ 1 − (1 − P(|cos| > t))^pairs dt.

    The cosines of different pairs of random directions are independent two by two, though not all together; that
    their maximum behaves as if they were is the limit law of Cai, Fan and Jiang 2013, *Distributions of Angles in
    Random Packing on Spheres*. For V directions `pairs` is V(V − 1)/2; for one token against the others, V − 1.

    Raises:
        BadInput: d < 2, or fewer than one pair.
    """
    _check_width(d)
    if not (math.isfinite(pairs) and pairs >= 1):
        raise BadInput(f"a maximum needs at least one pair, not {pairs:g}")
    # The integrand drops from 1 to 0 over a short stretch: Gauss–Legendre on many short pieces resolves it.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(0.0, 1.0, 2001)
    half = (edges[1] - edges[0]) / 2
    at = (edges[:-1, None] + half) + half * nodes
    tail = betainc((d - 1) / 2, 0.5, 1 - at**2)
    with np.errstate(divide="ignore"):
        below = np.exp(pairs * np.log1p(-tail))
    return float(((1 - below) * weights).sum() * half)


def expected_coherence(v: int, d: int) -> float:
    """Expected coherence of V random directions (see `expected_max`)."""
    return expected_max(v * (v - 1) / 2, d)


def expected_strongest(v: int, d: int) -> float:
    """Expected |cos| of one token's strongest interferer among V random directions."""
    return expected_max(v - 1, d)


def _check_width(d: int) -> None:
    if d < 2:
        raise BadInput(
            "d = 1: all directions are parallel or opposite and every |cos| is 1; there is nothing to measure"
        )
