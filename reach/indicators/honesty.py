"""How well an indicator tells what was proved: precision and recall with intervals, and what chance would do."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import hypergeom

from reach.interference.speakability import rank_correlation, roc_area
from reach.runs.manifest import IndicatorCut, IndicatorRecord, Span
from reach.strength.rates import Rate, clopper_pearson

_SHARES = (0.01, 0.02, 0.05)
"""Lengths of the list, as shares of the vocabulary, beside the number of tokens that there are to find."""
_RESAMPLES = 200


def held_against(
    key: str,
    title: str,
    matrix: str,
    values: Float64[np.ndarray, " v"],
    positive: Bool[np.ndarray, " v"],
    asked: Bool[np.ndarray, " v"],
    margin: Float64[np.ndarray, " v"],
    fresh: Float64[np.ndarray, " v"] | None = None,
) -> IndicatorRecord:
    """Hold an indicator against the verdicts of a scan.

    Args:
        key, title, matrix: what it is.
        values: small where a token is suspect; NaN counts as not suspect at all.
        positive: the tokens that are to be found.
        asked: all that are ranked.
        margin: proved bound that goes with each verdict; NaN where there is none.
        fresh: the same indicator of random rows.
    """
    score = np.where(np.isfinite(values), -values, -np.inf)[asked]
    found = positive[asked]
    known = asked & np.isfinite(values) & np.isfinite(margin)
    correlation = rank_correlation(values[known], margin[known]) if known.sum() > 3 else None
    rho = None if correlation is None else Span(correlation.rho, correlation.low, correlation.high)
    if not found.any() or found.all():
        return IndicatorRecord(key, title, matrix, rho=rho)
    ranks = ranked(score)
    sizes = sorted({int(found.sum()), *(max(1, round(share * len(found))) for share in _SHARES)})
    random = None if fresh is None else np.where(np.isfinite(fresh), -fresh, -np.inf)[asked]
    return IndicatorRecord(
        key,
        title,
        matrix,
        [_cut(found[ranks], k) for k in sizes if k <= len(found)],
        _precision_span(found[ranks]),
        area(score, found),
        rho,
        None if random is None or (by_chance := area(random, found)) is None else by_chance.value,
        None if random is None else average_precision(found[ranked(random)]),
    )


def ranked(score: Float64[np.ndarray, " n"]) -> np.ndarray:
    """Places in the order of the score, the highest first; equal ones in an order that ids do not give."""
    return np.lexsort((np.random.default_rng(0).random(len(score)), -score))


def area(score: Float64[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> Span | None:
    """Area under the ROC curve."""
    least = score[np.isfinite(score)].min(initial=0.0) - 1.0
    found = roc_area(np.where(np.isfinite(score), score, least), positive)
    return None if found is None else Span(*found)


def average_precision(hits: Bool[np.ndarray, " n"]) -> float:
    """Mean over the hits of the precision down to each, for a ranking given as hit or not."""
    places = np.flatnonzero(hits)
    return float((np.arange(1, len(places) + 1) / (places + 1)).mean())


def _precision_span(hits: Bool[np.ndarray, " n"]) -> Span:
    """Average precision with an interval by bootstrap over the tokens that are to be found; the others stay."""
    places = np.flatnonzero(hits)
    above = places - np.arange(len(places))  # others that are ranked higher
    generator = np.random.default_rng(0)
    drawn = np.sort(generator.integers(0, len(places), (_RESAMPLES, len(places))), axis=1)
    rank = np.arange(1, len(places) + 1)
    values = (rank / (rank + above[drawn])).mean(axis=1)
    own = average_precision(hits)
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    return Span(own, min(low, own), max(high, own))


def _cut(hits: Bool[np.ndarray, " n"], k: int) -> IndicatorCut:
    found, total, count = int(hits[:k].sum()), int(hits.sum()), len(hits)
    low, high = _by_chance(count, total, k)
    return IndicatorCut(k, found, _span(clopper_pearson(found, k)), _span(clopper_pearson(found, total)), low, high)


@lru_cache(2**10)
def _by_chance(count: int, total: int, k: int) -> tuple[int, int]:
    """How many of `total` are among `k` of `count` that are drawn at random, in 95 of 100 draws: from and to."""
    low, high = (int(hypergeom.ppf(q, count, total, k)) for q in (0.025, 0.975))
    return low, high


def _span(rate: Rate) -> Span:
    assert math.isfinite(rate.low)
    return Span(rate.share, rate.low, rate.high)
