"""Rates and times of solvers that sometimes fail: intervals, the zero-event rule, charged means, profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.stats import beta, norm

from solvers.errors import BadInput

DEFAULT_SHIFT = 10.0
"""Seconds added before the logarithm, as Mittelmann's benchmarks and qpbenchmark do: keeps tiny times from ruling."""


@dataclass(frozen=True)
class Rate:
    """A share with its confidence interval.

    Attributes:
        found: how many of them.
        tried: out of how many.
        low, high: two-sided interval for the true share.
        confidence: of that interval.
    """

    found: int
    tried: int
    low: float
    high: float
    confidence: float

    @property
    def share(self) -> float:
        """The point estimate."""
        return self.found / self.tried

    def statement(self) -> str:
        """One line for a person."""
        return (
            f"{self.found} of {self.tried} ({100 * self.share:.4g} %, "
            f"{100 * self.confidence:g} % interval {100 * self.low:.4g}–{100 * self.high:.4g} %)"
        )


# --- intervals -----------------------------------------------------------------------------------------------------


def wilson(found: int, tried: int, confidence: float = 0.95) -> Rate:
    """Score interval of Wilson (1927), JASA 22: close to its confidence on average, also for few trials.

    With p = found/tried and z the normal quantile: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n).

    Raises:
        BadInput: not 0 ≤ found ≤ tried with tried ≥ 1, or a confidence outside (0, 1).
    """
    _check_counts(found, tried, confidence)
    p, z = found / tried, float(norm.ppf((1 + confidence) / 2))
    middle = p + z * z / (2 * tried)
    half = z * float(np.sqrt(p * (1 - p) / tried + z * z / (4 * tried * tried)))
    scale = 1 + z * z / tried
    # At the ends the two terms cancel; say so exactly instead of within rounding.
    low = 0.0 if found == 0 else (middle - half) / scale
    high = 1.0 if found == tried else (middle + half) / scale
    return Rate(found, tried, low, high, confidence)


def clopper_pearson(found: int, tried: int, confidence: float = 0.95) -> Rate:
    """Exact interval of Clopper & Pearson (1934), Biometrika 26: never covers less than its confidence.

    Quantiles of beta distributions: low = B(α/2; x, n−x+1), high = B(1−α/2; x+1, n−x).

    Raises:
        BadInput: not 0 ≤ found ≤ tried with tried ≥ 1, or a confidence outside (0, 1).
    """
    _check_counts(found, tried, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if found == 0 else float(beta.ppf(tail, found, tried - found + 1))
    high = 1.0 if found == tried else float(beta.ppf(1 - tail, found + 1, tried - found))
    return Rate(found, tried, low, high, confidence)


def zero_event_bound(tried: int, confidence: float = 0.95) -> float:
    """Upper bound on the rate of something that never happened in `tried` trials: 1 − (1−confidence)^(1/tried).

    One-sided and exact; about 3/tried at 95 % ("rule of three", Hanley & Lippman-Hand 1983, JAMA 249).

    Raises:
        BadInput: tried < 1, or a confidence outside (0, 1).
    """
    _check_counts(0, tried, confidence)
    return float(-np.expm1(np.log1p(-confidence) / tried))


def trials_without_failure(rate: float, confidence: float = 0.95) -> int:
    """How many trials, all of them successes, show (one-sided) that the success rate is at least `rate`.

    Raises:
        BadInput: a rate or confidence outside (0, 1).
    """
    if not 0 < rate < 1:
        raise BadInput(f"a rate must lie between 0 and 1, not {rate:g}")
    _check_counts(0, 1, confidence)
    return int(np.ceil(np.log1p(-confidence) / np.log(rate)))


def _check_counts(found: int, tried: int, confidence: float) -> None:
    if tried < 1 or not 0 <= found <= tried:
        raise BadInput(f"a rate needs 0 ≤ found ≤ tried and at least one trial, not {found} of {tried}")
    if not 0 < confidence < 1:
        raise BadInput(f"a confidence must lie between 0 and 1, not {confidence:g}")


# --- times ---------------------------------------------------------------------------------------------------------


def charged(
    seconds: Float[np.ndarray, " n"], solved: Bool[np.ndarray, " n"], limit: float
) -> Float64[np.ndarray, " n"]:
    """Times with every failure charged the limit; what took longer than the limit counts as a failure.

    Raises:
        BadInput: lengths differ, there are none, the limit is not > 0, or a solved time is no number ≥ 0.
    """
    seconds, solved = np.asarray(seconds, dtype=np.float64), np.asarray(solved, dtype=bool)
    if seconds.shape != solved.shape or seconds.ndim != 1 or not len(seconds):
        raise BadInput("times need one solved flag each, and at least one of them")
    if not (np.isfinite(limit) and limit > 0):
        raise BadInput(f"a time limit must be a number > 0, not {limit:g}")
    # Finiteness first: NaN compares false with everything and would pass as fast.
    if not (np.isfinite(seconds[solved]).all() and (seconds[solved] >= 0).all()):
        raise BadInput("the time of a solved problem must be a number ≥ 0")
    return np.where(solved & (seconds <= limit), seconds, limit)


def shifted_geometric_mean(
    seconds: Float[np.ndarray, " n"], solved: Bool[np.ndarray, " n"], limit: float, shift: float = DEFAULT_SHIFT
) -> float:
    """exp(mean ln(t + shift)) − shift over all problems, failures charged the limit.

    The convention of Mittelmann's benchmarks and of qpbenchmark. Unlike a mean it is not ruled by the slowest
    problems; the shift keeps it from being ruled by the fastest.

    Raises:
        BadInput: as `charged`, or shift < 0, or a time of 0 without a shift.
    """
    if not (np.isfinite(shift) and shift >= 0):
        raise BadInput(f"a shift must be a number ≥ 0, not {shift:g}")
    times = charged(seconds, solved, limit) + shift
    if not (times > 0).all():
        raise BadInput("a geometric mean of times of 0 s needs a shift > 0")
    return float(np.exp(np.log(times).mean()) - shift)


def charged_median(seconds: Float[np.ndarray, " n"], solved: Bool[np.ndarray, " n"], limit: float) -> float:
    """Median time, failures charged the limit: the limit itself where more than half of the problems failed."""
    return float(np.median(charged(seconds, solved, limit)))


# --- performance profiles ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PerformanceProfile:
    """ρ_s(τ) of Dolan & Moré (2002), Mathematical Programming 91: a step function per solver.

    Attributes:
        solvers: names.
        tau: `(k,)` ratios to the fastest solver at which some curve steps up; the first is 1.
        share: `(s, k)` share of all problems that solver s solved within tau times the fastest time.
    """

    solvers: tuple[str, ...]
    tau: Float64[np.ndarray, " k"]
    share: Float64[np.ndarray, "s k"]

    def at(self, solver: str, tau: float) -> float:
        """ρ_s(τ): how much of all problems the solver solves within τ times the fastest time."""
        if not tau >= 1:
            return 0.0
        step = int(np.searchsorted(self.tau, tau, side="right")) - 1
        return float(self.share[self.solvers.index(solver), step])

    @property
    def wins(self) -> dict[str, float]:
        """Share of problems on which each solver is (one of) the fastest: ρ_s(1)."""
        return {solver: float(self.share[i, 0]) for i, solver in enumerate(self.solvers)}

    @property
    def solved(self) -> dict[str, float]:
        """Share of problems that each solver solves at all: the height that its curve ends at."""
        return {solver: float(self.share[i, -1]) for i, solver in enumerate(self.solvers)}


def performance_profile(
    seconds: Mapping[str, Float[np.ndarray, " n"]], solved: Mapping[str, Bool[np.ndarray, " n"]], limit: float
) -> PerformanceProfile:
    """Performance profile of several solvers on the same problems.

    A failure has ratio ∞ and never counts; a problem that nobody solves stays in the denominator.

    Raises:
        BadInput: no solvers, other problems per solver, or a solved time that is no number > 0 (no ratio to it).
    """
    names = tuple(seconds)
    if not names or set(names) != set(solved):
        raise BadInput("a profile needs times and solved flags of the same solvers, and at least one")
    if len({len(seconds[name]) for name in names}) != 1:
        raise BadInput("a profile needs the same problems for every solver")
    for name in names:
        charged(seconds[name], solved[name], limit)
    times = np.stack([np.asarray(seconds[name], dtype=np.float64) for name in names])
    done = np.stack([np.asarray(solved[name], dtype=bool) for name in names])
    if not (times[done] > 0).all():
        raise BadInput("a profile needs times > 0: the ratio to a time of 0 s means nothing")
    done &= np.where(done, times, np.inf) <= limit
    times = np.where(done, times, np.inf)
    fastest = times.min(axis=0)
    with np.errstate(invalid="ignore"):
        ratio = np.where(done, times / fastest, np.inf)
    tau = np.unique(np.concatenate([[1.0], ratio[np.isfinite(ratio)]]))
    share = (ratio[:, :, None] <= tau[None, None, :]).mean(axis=1)
    return PerformanceProfile(names, tau, share)
