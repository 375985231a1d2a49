"""How well one number predicts another, or a yes: rank correlation, ROC and the area under it, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

_Z95 = 1.959963984540054
_ROC_POINTS = 200


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation.

    Attributes:
        rho: the correlation.
        low: lower end of its 95 % interval.
        high: upper end.
        n: pairs of numbers.
    """

    rho: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Roc:
    """How well a score tells the positive from the negative.

    Attributes:
        auc: probability that a random positive scores higher than a random negative, ties counting half.
        low: lower end of its 95 % interval (DeLong).
        high: upper end.
        positives: number of them.
        negatives: number of them.
        false_rate: points of the curve, thinned out.
        true_rate: points of the curve.
    """

    auc: float
    low: float
    high: float
    positives: int
    negatives: int
    false_rate: tuple[float, ...]
    true_rate: tuple[float, ...]


def rank_correlation(one: Float[np.ndarray, " n"], two: Float[np.ndarray, " n"]) -> Correlation | None:
    """Spearman's ρ with the interval of Bonett and Wright 2000 (Fisher's z, variance (1 + ρ²/2)/(n − 3)).

    Returns:
        The correlation, or none where fewer than four finite pairs or only one value is left.
    """
    known = np.isfinite(one) & np.isfinite(two)
    x, y = rankdata(one[known]), rankdata(two[known])
    n = len(x)
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    rho = float(np.corrcoef(x, y)[0, 1])
    rho = max(-1.0, min(1.0, rho))
    if abs(rho) > 1 - 1e-12:
        return Correlation(rho, rho, rho, n)
    half = _Z95 * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return Correlation(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), n)


def roc(score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> Roc | None:
    """ROC of a score for which higher means "positive".

    The area is the Mann–Whitney statistic, its variance DeLong's (1988), computed by ranks (Sun and Xu 2014); the
    interval is taken on the logit scale, which keeps it inside 0 to 1. Perfect separation has variance 0 in it; there
    the interval is that of a proportion that was right min(n₊, n₋) times out of as many.

    Returns:
        The curve, or none where all or none are positive.
    """
    known = np.isfinite(score)
    score, positive = score[known], positive[known]
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return None
    ranks = rankdata(score)
    within_positive, within_negative = rankdata(score[positive]), rankdata(score[~positive])
    above = (ranks[positive] - within_positive) / n  # for each positive, share of negatives below it
    below = 1 - (ranks[~positive] - within_negative) / m  # for each negative, share of positives above it
    auc = float(above.mean())
    variance = (above.var(ddof=1) / m if m > 1 else 0.25) + (below.var(ddof=1) / n if n > 1 else 0.25)
    if variance <= 0 or auc in (0.0, 1.0):
        # All of the smaller group were told rightly: Clopper and Pearson's bound for so many successes in a row.
        least = 0.025 ** (1 / min(m, n))
        low, high = (least, 1.0) if auc >= 0.5 else (0.0, 1 - least)
    else:
        logit = math.log(auc / (1 - auc))
        half = _Z95 * math.sqrt(variance) / (auc * (1 - auc))
        low, high = 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
    false_rate, true_rate = _curve(score, positive)
    return Roc(auc, min(low, auc), max(high, auc), m, n, false_rate, true_rate)


def _curve(score: np.ndarray, positive: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The steps of the curve from (0, 0) to (1, 1), at most so many of them."""
    order = np.argsort(-score, kind="stable")
    hits = positive[order]
    last = np.append(np.diff(score[order]) != 0, True)  # equal scores are one step
    true = np.append(0.0, np.cumsum(hits)[last] / hits.sum())
    false = np.append(0.0, np.cumsum(~hits)[last] / (~hits).sum())
    if len(true) > _ROC_POINTS:
        # Evenly along the curve's length, so that a steep start keeps its points.
        along = np.append(0.0, np.cumsum(np.abs(np.diff(true)) + np.abs(np.diff(false))))
        keep = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _ROC_POINTS)).clip(max=len(along) - 1))
        true, false = true[keep], false[keep]
    return tuple(float(x) for x in false), tuple(float(x) for x in true)
