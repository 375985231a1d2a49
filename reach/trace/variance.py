"""Is it the token or the seed? The variance of margins, split between what tokens, seeds and neither explain.

The margin of token i under seed s is m_is = μ + a_i + b_s + e_is with independent random effects. Without a second
model per seed the rest e holds both what a seed does to a single token and whatever else differs, not noise alone.
Components are those of the balanced two-way analysis of variance (method of moments), negative ones set to 0.

Source: Searle, Casella & McCulloch 1992, Variance Components, chapter 4; the token's share is the intraclass
correlation ICC(2,1) of Shrout & Fleiss 1979, Psychological Bulletin 86, 420.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from reach.runs.manifest import Span
from reach.trace.resampling import interval

PARTS = ("token", "seed", "rest")


@dataclass(frozen=True)
class VarianceSplit:
    """Shares of the variance, which add up to 1.

    Attributes:
        tokens, seeds: how many there are.
        variance: the sum of the three components, logits².
        token, seed, rest: the shares with intervals over draws of tokens. The seeds stay: of further seeds the
            intervals say nothing.
        shuffled_token: share of the token that is exceeded once in 20 times where each seed's tokens are shuffled.
        without: the token's share with each seed left out in turn; empty for two seeds.
    """

    tokens: int
    seeds: int
    variance: float
    token: Span
    seed: Span
    rest: Span
    shuffled_token: float
    without: tuple[float, ...]


def components(values: Float64[np.ndarray, "n s"]) -> Float64[np.ndarray, " 3"]:
    """Variances of token, seed and rest: `(n, s)` values of n tokens under s seeds, both at least 2."""
    found: Float64[np.ndarray, " 3"] = _components(_moments(values).mean(axis=0)[None], *values.shape)[0]
    return found


def _moments(values: Float64[np.ndarray, "n s"]) -> Float64[np.ndarray, "n m"]:
    """What each token contributes to the sums of squares: its values, its squared mean, its mean square."""
    mean = values.mean(axis=1)
    return np.column_stack([values, mean**2, (values**2).mean(axis=1)])


def _components(means: Float64[np.ndarray, "b m"], n: int, s: int) -> Float64[np.ndarray, "b 3"]:
    seeds, squared, square = means[:, :s], means[:, s], means[:, s + 1]
    whole = seeds.mean(axis=1)
    token = n * s * (squared - whole**2)
    seed = n * ((seeds - whole[:, None]) ** 2).sum(axis=1)
    total = n * s * (square - whole**2)
    rest = np.maximum(total - token - seed, 0.0) / ((n - 1) * (s - 1))
    return np.stack(
        [np.maximum((token / (n - 1) - rest) / s, 0.0), np.maximum((seed / (s - 1) - rest) / n, 0.0), rest], axis=1
    )


def _share(part: int, n: int, s: int) -> Callable[[Float64[np.ndarray, "b m"]], Float64[np.ndarray, " b"]]:
    def shares(means: Float64[np.ndarray, "b m"]) -> Float64[np.ndarray, " b"]:
        found = _components(means, n, s)
        with np.errstate(invalid="ignore", divide="ignore"):
            return found[:, part] / found.sum(axis=1)

    return shares


def split(values: Float64[np.ndarray, "n s"], *, draws: int, shuffles: int, seed: int) -> VarianceSplit | None:
    """Split the variance of `(n, s)` margins of n tokens under s seeds; rows that are not whole are left out.

    None where fewer than two seeds or four whole rows are left, or nothing varies.
    """
    values = values[np.isfinite(values).all(axis=1)]
    n, s = values.shape
    if n < 4 or s < 2:
        return None
    values = values - values.mean()  # sums of squares of small differences of large numbers lose digits
    found = components(values)
    if not found.sum() > 0:
        return None
    moments = _moments(values)
    spans = [
        interval(float(found[at] / found.sum()), moments, _share(at, n, s), draws, seed) for at in range(len(PARTS))
    ]
    token, column, rest = spans
    if token is None or column is None or rest is None:
        return None
    rng = np.random.default_rng(seed)
    by_chance = []
    for _ in range(shuffles):
        mixed = np.column_stack([values[rng.permutation(n), at] for at in range(s)])
        by_chance.append(_token_share(mixed))
    left = [_token_share(np.delete(values, at, axis=1)) for at in range(s)] if s > 2 else []
    shuffled = float(np.quantile(by_chance, 0.95))
    return VarianceSplit(n, s, float(found.sum()), token, column, rest, shuffled, tuple(left))


def _token_share(values: Float64[np.ndarray, "n s"]) -> float:
    found = components(values)
    return float(found[0] / found.sum()) if found.sum() > 0 else 0.0
