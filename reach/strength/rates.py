"""Rates with their intervals, and how many trials a rate takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv
from scipy.stats import binomtest

from solvers.errors import BadInput


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


def wilson(found: int, tried: int, confidence: float = 0.95) -> Rate:
    """Score interval of Wilson (1927), JASA 22: close to its confidence on average, also for few trials.

    Raises:
        BadInput: not 0 ≤ found ≤ tried with tried ≥ 1, or a confidence outside (0, 1).
    """
    _check_counts(found, tried, confidence)
    interval = binomtest(found, tried).proportion_ci(confidence, "wilson")
    return Rate(found, tried, float(interval.low), float(interval.high), confidence)


def clopper_pearson(found: int, tried: int, confidence: float = 0.95) -> Rate:
    """Exact interval of Clopper & Pearson (1934), Biometrika 26: never covers less than its confidence.

    Raises:
        BadInput: not 0 ≤ found ≤ tried with tried ≥ 1, or a confidence outside (0, 1).
    """
    _check_counts(found, tried, confidence)
    # By quantiles of the beta distribution, which need no search for a root.
    outside = (1 - confidence) / 2
    low = float(betaincinv(found, tried - found + 1, outside)) if found else 0.0
    high = float(betaincinv(found + 1, tried - found, 1 - outside)) if found < tried else 1.0
    return Rate(found, tried, low, high, confidence)


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
