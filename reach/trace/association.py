"""How far two training runs agree about the same tokens: ranks of margins, and which tokens are unspeakable.

Sources: Spearman 1904, The American Journal of Psychology 15, 72 (rank correlation); Cohen 1960, Educational and
Psychological Measurement 20, 37 (kappa); the overlap of two sets by chance is hypergeometric (Fisher's exact test).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from scipy.stats import hypergeom, rankdata

from reach.runs.manifest import Span
from reach.trace.resampling import interval

_LEAST = 4
"""Tokens below which nothing is said."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ of two columns of margins.

    Attributes:
        rho: with its interval over draws of tokens.
        tokens: that have both margins.
        shuffled_low, shuffled_high: between which ρ lies 19 times in 20 once the tokens are shuffled.
    """

    rho: Span
    tokens: int
    shuffled_low: float
    shuffled_high: float


def rank_correlation(
    one: Float64[np.ndarray, " n"], two: Float64[np.ndarray, " n"], *, draws: int, shuffles: int, seed: int
) -> RankCorrelation | None:
    """Spearman's ρ with a bootstrap interval over tokens, and its range over shuffled tokens.

    Ranks are those among all tokens; a draw takes tokens with their ranks. None where fewer than four tokens have
    both values, or one column is constant.
    """
    known = np.isfinite(one) & np.isfinite(two)
    if known.sum() < _LEAST:
        return None
    x, y = (_standard(rankdata(values[known])) for values in (one, two))
    if x is None or y is None:
        return None
    n = len(x)
    moments = np.stack([x, y, x * y, x * x, y * y], axis=1)
    rho = float(np.clip((x * y).mean(), -1.0, 1.0))
    rng = np.random.default_rng(seed)
    by_chance = [float((x * y[rng.permutation(n)]).mean()) for _ in range(shuffles)]
    low, high = np.quantile(by_chance, [0.025, 0.975]).tolist()
    span = interval(rho, moments, _correlations, draws, seed)
    return None if span is None else RankCorrelation(span, n, low, high)


def _standard(ranks: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"] | None:
    spread = float(ranks.std())
    return None if spread == 0 else (ranks - ranks.mean()) / spread


def _correlations(means: Float64[np.ndarray, "b 5"]) -> Float64[np.ndarray, " b"]:
    x, y, xy, xx, yy = means.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip((xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y)), -1.0, 1.0)


@dataclass(frozen=True)
class Overlap:
    """Tokens that are unspeakable in both of two runs.

    Attributes:
        tokens: decided in both.
        one, other, both: unspeakable in the first, in the second, in both.
        expected: in both, were the two sets independent.
        least_by_chance, most_by_chance: between which the overlap lies 19 times in 20 then.
        p: probability of so large an overlap by chance.
        kappa: agreement beyond chance, 1 for full agreement; None where both say the same of every token.
    """

    tokens: int
    one: int
    other: int
    both: int
    expected: float
    least_by_chance: int
    most_by_chance: int
    p: float
    kappa: Span | None


def overlap(
    one: Bool[np.ndarray, " n"],
    other: Bool[np.ndarray, " n"],
    known: Bool[np.ndarray, " n"],
    *,
    draws: int,
    seed: int,
) -> Overlap | None:
    """Hold two sets of tokens against each other, among those that are `known` in both; None where none are.

    The interval of κ is drawn from the posterior of the four shares under Jeffreys' prior: with no token in both it
    is still no point, as resampled tokens would make it.
    """
    a, b = one[known], other[known]
    n, first, second, both = len(a), int(a.sum()), int(b.sum()), int((a & b).sum())
    if not n:
        return None
    least, most = (int(hypergeom.ppf(q, n, first, second)) for q in (0.025, 0.975))
    kappa = None
    if 0 < first + second < 2 * n:
        counts = np.array([both, first - both, second - both, n - first - second + both], dtype=np.float64)
        value = float(_kappas(counts[None] / n)[0])
        drawn = np.random.default_rng(seed).dirichlet(counts + 0.5, size=draws)
        low, high = np.quantile(_kappas(drawn), [0.025, 0.975]).tolist()
        kappa = Span(value, min(low, value), max(high, value))
    p = float(hypergeom.sf(both - 1, n, first, second))
    return Overlap(n, first, second, both, first * second / n, least, most, min(1.0, p), kappa)


def _kappas(shares: Float64[np.ndarray, "b 4"]) -> Float64[np.ndarray, " b"]:
    """Cohen's κ from the shares of tokens in both sets, in one of them only, and in none."""
    both, first, second, none = shares.T
    agreed = both + none
    chance = (both + first) * (both + second) + (first + none) * (second + none)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (agreed - chance) / (1 - chance), math.nan)
