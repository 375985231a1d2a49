"""Sudden or smooth: does a token move in one leap, where the others move with each other?

Between two checkpoints all tokens move, some intervals are longer than others, and learning is not even. So a token's
increment in an interval is read against those of all tokens there: as the normal score of its rank (Blom's form with
0.5). A token that keeps to the common path has scores near 0 throughout. The *leap* is the share of the sum of its
squared scores that falls into the single largest, Cochran's C: near 1 for a token that stands out once and nowhere
else.

Null: what a token does in one interval has nothing to do with what it does in the others. Shuffling the tokens within
each interval keeps the common path and every interval's spread, and draws from the null exactly, so that the p-values
are valid; where some tokens move more than others throughout, they are too large rather than too small. What the test
sees is "still, then out of line once": a token that is restless everywhere and leaps further once is not told apart.

Sources: Cochran 1941, Annals of Eugenics 11, 47; van der Waerden 1952, Indagationes Mathematicae 14, 453 (normal
scores); Phipson & Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9, article 39 (p-values of
permutations, which are never 0); Benjamini & Hochberg 1995, Journal of the Royal Statistical Society B 57, 289.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int
from scipy.special import ndtri
from scipy.stats import rankdata

_MOST_SHUFFLED = 3_000_000
"""Shuffled trajectories beyond which no further shuffle is made."""


@dataclass(frozen=True)
class Leaps:
    """One entry per token; NaN and −1 where its margins are not known throughout, or it never moved.

    Attributes:
        leap: share of the squared normal scores in the largest one.
        at: the interval of the largest score: from step `at` to `at + 1`.
        p, q: permutation p-value, and the same adjusted for the number of tokens.
        share: of all that a token moved, up and down, in its one largest interval: no comparison with others.
        common: the same share of the median trajectory.
        shuffled: `(5, 50, 95 %)` quantiles of the leap under the null.
    """

    leap: Float64[np.ndarray, " n"]
    at: Int[np.ndarray, " n"]
    p: Float64[np.ndarray, " n"]
    q: Float64[np.ndarray, " n"]
    share: Float64[np.ndarray, " n"]
    common: float
    shuffled: tuple[float, float, float]


def leaps(margin: Float64[np.ndarray, "t n"], *, shuffles: int, seed: int) -> Leaps | None:
    """Test every token; None with fewer than three intervals or ten tokens that are known throughout."""
    known = np.flatnonzero(np.isfinite(margin).all(axis=0))
    steps, n = margin.shape
    if steps < 4 or len(known) < 10:
        return None
    moved = np.diff(margin[:, known], axis=0)
    score = normal_scores(moved)
    own = concentration(score)
    by_chance = _by_chance(score, shuffles, np.random.default_rng(seed))
    p = (1 + len(by_chance) - np.searchsorted(by_chance, own - 1e-12)) / (1 + len(by_chance))
    found = Leaps(
        np.full(n, np.nan), np.full(n, -1), np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan),
        _largest_share(np.median(moved, axis=1)[:, None])[0], _quantiles(by_chance),
    )  # fmt: skip
    found.leap[known], found.at[known] = own, np.abs(score).argmax(axis=0)
    found.p[known], found.q[known] = p, adjusted(p)
    found.share[known] = _largest_share(moved)
    return found


def normal_scores(moved: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, "k n"]:
    """Ranks among the tokens of each interval as quantiles of the normal distribution; equal ones share theirs."""
    found: Float64[np.ndarray, "k n"] = ndtri((rankdata(moved, axis=1) - 0.5) / moved.shape[1])
    return found


def concentration(score: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, " n"]:
    """Cochran's C of each token: the largest of its squared scores over their sum; 0 where all are 0."""
    squared = score**2
    whole = squared.sum(axis=0)
    return np.divide(squared.max(axis=0), whole, out=np.zeros_like(whole), where=whole > 0)


def adjusted(p: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Benjamini and Hochberg's step-up q-values: calling all with q ≤ α keeps the expected false share at α."""
    n = len(p)
    order = np.argsort(p)
    found = np.empty(n)
    found[order] = np.minimum.accumulate((p[order] * n / np.arange(1, n + 1))[::-1])[::-1]
    return np.minimum(found, 1.0)


def _by_chance(score: Float64[np.ndarray, "k n"], shuffles: int, rng: np.random.Generator) -> np.ndarray:
    rounds = max(1, min(shuffles, _MOST_SHUFFLED // score.shape[1]))
    mixed = [concentration(rng.permuted(score, axis=1)) for _ in range(rounds)]
    return np.sort(np.concatenate(mixed))


def _largest_share(moved: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, " n"]:
    size = np.abs(moved)
    whole = size.sum(axis=0)
    return np.divide(size.max(axis=0), whole, out=np.full_like(whole, np.nan), where=whole > 0)


def _quantiles(values: np.ndarray) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95]).tolist()
    return low, middle, high
