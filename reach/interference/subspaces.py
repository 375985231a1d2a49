"""The subspace (tegum product) model: is it worth splitting d dimensions into k orthogonal subspaces?

n features are dealt out to k orthogonal subspaces of d/k dimensions. Features of different subspaces do not
interfere; within one, m = n/k features share D = d/k dimensions at the interference ε(k) of `packing`. With (n/k)²
pairs in each of k subspaces, and a pair that interferes by ε costing ε^α,

    L(k) ∝ (n²/k)·ε(k)^α.

More subspaces mean fewer pairs that interfere, but each of them more. The exponent α says how much worse a strong
interference is than a weak one. Source: A. Jermyn, *Toy Models and Tegum Products* (2022), with the cubic term that
the discussion below that text adds; its numeric example has n = 10⁵ and d = 10⁴.

The slope. From ε²/2 − ε³/3 = (4k/d)·ln(n/k) follows

    s(k) := d ln ε / d ln k = (1/2 − ε/3)/(1 − ε) · (1 − 1/ln(n/k)),      d ln L / d ln k = α·s(k) − 1,

so L is stationary exactly where s(k) = 1/α. The first factor rises from 1/2 without bound as ε goes to 1; the second
falls slowly with k.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq, minimize_scalar

from reach.interference.packing import interference
from solvers.errors import BadInput

_GRID = 4001


@dataclass(frozen=True)
class Optimum:
    """Where L is least.

    Attributes:
        alpha: the exponent.
        k: number of subspaces, as a real number.
        loss: L(k)/L(1) there.
        interior: whether it lies inside the range, not at k = 1 and not at its end.
    """

    alpha: float
    k: float
    loss: float
    interior: bool


@dataclass(frozen=True)
class Transition:
    """The exponents beyond which splitting no longer pays.

    Attributes:
        lowest: beyond this α the least L of all real k ≥ 1 is L(1): max over k of ln k / ln(ε(k)/ε(1)).
        vanishes: beyond this α no k > 1 is even a local minimum inside the range: max over k of 1/s(k), taken where s
            grows. 0 if there is no such minimum for any α (a range that ends before ε reaches 1).
        vanishes_at: the k at which the local minimum is last seen; 1 where it leaves through the edge.
        whole: beyond this α no whole number k ≥ 2 has a lower L than k = 1.
    """

    lowest: float | None
    vanishes: float | None
    vanishes_at: float | None
    whole: float | None


@dataclass(frozen=True)
class SubspaceModel:
    """The model for n features in d dimensions.

    Raises:
        BadInput: n or d makes no sense, or already k = 1 has no interference below 1 (d < 24·ln n).
    """

    n: float
    d: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.n) and self.n >= 3):
            raise BadInput(f"the subspace model needs n ≥ 3 features, not {self.n:g}")
        if not (math.isfinite(self.d) and self.d >= 1):
            raise BadInput(f"the subspace model needs d ≥ 1 dimensions, not {self.d:g}")
        if 24 * math.log(self.n) > self.d:
            raise BadInput(
                f"the subspace model has no valid k for n = {self.n:g}, d = {self.d:g}: interference reaches 1 "
                f"before k = 1; for {self.n:g} features it speaks of d ≥ {24 * math.log(self.n):.4g} alone"
            )

    @cached_property
    def k_end(self) -> float:
        """The largest k of the range: where ε reaches 1, k·ln(n/k) = d/24.

        k·ln(n/k) rises up to k = n/e. Where it never reaches d/24 the range ends at min(n/e, d): beyond, a subspace
        would hold fewer than e features or have less than one dimension.
        """
        top = min(self.n / math.e, self.d)
        if top <= 1:
            return 1.0
        if top * math.log(self.n / top) <= self.d / 24:
            return top
        return float(brentq(lambda k: k * math.log(self.n / k) - self.d / 24, 1.0, top, xtol=1e-12, rtol=1e-14))

    @property
    def reaches_one(self) -> bool:
        """Whether the range ends because ε reaches 1."""
        return self.k_end * math.log(self.n / self.k_end) >= self.d / 24 * (1 - 1e-9)

    def epsilon(self, k: float) -> float:
        """ε(k): interference of n/k features in d/k dimensions.

        Raises:
            BadInput: k outside [1, k_end]; the message says where the range ends.
        """
        if not 1 <= k <= self.k_end * (1 + 1e-12):
            raise BadInput(f"k = {k:g} lies outside the range of the subspace model, which is 1 to {self.k_end:.6g}")
        return interference(self.n / min(k, self.k_end), self.d / min(k, self.k_end))

    def elasticity(self, k: float) -> float:
        """s(k) = d ln ε / d ln k (see the module); infinite where ε is 1."""
        epsilon = self.epsilon(k)
        if epsilon >= 1 - 1e-12:
            return math.inf
        return (0.5 - epsilon / 3) / (1 - epsilon) * (1 - 1 / math.log(self.n / k))

    def loss(self, k: float, alpha: float) -> float:
        """L(k)/L(1) = (1/k)·(ε(k)/ε(1))^α."""
        _check_alpha(alpha)
        return (self.epsilon(k) / self.epsilon(1.0)) ** alpha / k

    def slope(self, k: float, alpha: float) -> float:
        """d(L/L(1))/dk = (L/L(1))·(α·s(k) − 1)/k."""
        return self.loss(k, alpha) * (alpha * self.elasticity(k) - 1) / k

    def optimum(self, alpha: float) -> Optimum:
        """The k in [1, k_end] with the least L: k = 1, the end, or a root of α·s(k) = 1, whichever is lowest.

        Raises:
            BadInput: α is not a finite number > 0.
        """
        _check_alpha(alpha)
        grid = self.grid()
        rising = np.array([alpha * self.elasticity(float(k)) - 1 for k in grid]) > 0
        candidates = [(self.loss(1.0, alpha), 1.0, False), (self.loss(self.k_end, alpha), self.k_end, False)]
        for index in np.nonzero(~rising[:-1] & rising[1:])[0]:
            k = self._root(float(grid[index]), float(grid[index + 1]), alpha)
            candidates.append((self.loss(k, alpha), k, True))
        loss, k, interior = min(candidates)
        return Optimum(alpha, k, loss, interior)

    def alpha_at(self, k: float) -> float:
        """1/s(k): the exponent for which L is stationary at k; infinite where ε does not grow with k."""
        elasticity = self.elasticity(k)
        return 1 / elasticity if elasticity > 0 else math.inf

    @cached_property
    def transition(self) -> Transition:
        """The exponents at which the interior optimum is no longer the lowest point, and no longer there at all."""
        if self.k_end <= 1:
            return Transition(self.alpha_at(1.0), self.alpha_at(1.0), 1.0, math.nan)
        first = self.epsilon(1.0)

        def paying(k: float) -> float:
            # Towards k = 1 the quotient is 0/0, and its limit is 1/s(1).
            return self.alpha_at(1.0) if k < 1 + 1e-7 else math.log(k) / math.log(self.epsilon(k) / first)

        lowest, _ = self._highest(paying)
        vanishes, vanishes_at = self._highest(self._alpha_of_minimum())
        # L(k) < L(1) needs α < paying(k), which a whole k far beyond the best real one cannot offer.
        whole = max((paying(float(k)) for k in range(2, min(int(self.k_end), 10**4) + 1)), default=math.nan)
        return Transition(lowest, vanishes, vanishes_at, whole)

    def _alpha_of_minimum(self) -> Callable[[float], float]:
        """1/s(k) where that stationary point can be a minimum, else 0.

        L falls before a minimum and rises after it, so s must still grow beyond k. Where the range ends because ε
        reaches 1 it always does.
        """
        grid = self.grid()
        elasticity = np.array([self.elasticity(float(k)) for k in grid])
        ahead = np.append(np.maximum.accumulate(elasticity[:0:-1])[::-1], -math.inf)

        def alpha(k: float) -> float:
            here = self.elasticity(k)
            at = min(int(np.searchsorted(grid, k)), len(grid) - 1)
            return 1 / here if 0 < here < ahead[at] else 0.0

        return alpha

    def grid(self, points: int = _GRID) -> Float[np.ndarray, " p"]:
        """Values of k from 1 to the end, evenly spaced in ln k."""
        return np.exp(np.linspace(0.0, math.log(self.k_end), points)).clip(1.0, self.k_end)

    def _root(self, lo: float, hi: float, alpha: float) -> float:
        def excess(k: float) -> float:
            return min(alpha * self.elasticity(k) - 1, 1e9)

        return float(brentq(excess, lo, hi, xtol=1e-12, rtol=1e-13))

    def _highest(self, function: Callable[[float], float]) -> tuple[float, float]:
        """The largest value of a function of k over the range, and where; refined around the best grid point."""
        grid = self.grid()
        values = np.array([function(float(k)) for k in grid])
        best = int(values.argmax())
        if best in (0, len(grid) - 1):
            return float(values[best]), float(grid[best])
        found = minimize_scalar(
            lambda k: -function(k),
            bounds=(grid[best - 1], grid[best + 1]),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return float(-found.fun), float(found.x)


def _check_alpha(alpha: float) -> None:
    if not (math.isfinite(alpha) and alpha > 0):
        raise BadInput(f"the exponent α must be a finite number > 0, not {alpha:g}")
