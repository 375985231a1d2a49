"""What |cos| looks like between random directions: V of them, independent and uniform on the sphere of R^d.

The square of the cosine of two such directions follows Beta(1/2, (d−1)/2).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betainc, betaincinv, gammaln

from solvers.errors import BadInput


def mean_abs_cos(d: int) -> float:
    """E|cos| = Γ(d/2)/(√π·Γ((d+1)/2)), near √(2/(πd))."""
    _check(d)
    return math.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi)


def mean_square_cos(d: int) -> float:
    """E cos² = 1/d."""
    _check(d)
    return 1 / d


def abs_cos_quantile(q: float, d: int) -> float:
    """The q-quantile of |cos|."""
    _check(d)
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
    _check(d)
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


def _check(d: int) -> None:
    if d < 2:
        raise BadInput(
            "d = 1: all directions are parallel or opposite and every |cos| is 1; there is nothing to measure"
        )
