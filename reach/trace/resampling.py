"""Intervals by drawing tokens again, and what a quantity is when tokens are shuffled.

Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapters 6 and 13 (percentile intervals). Only
tokens are drawn: an interval says how much hangs on the choice of tokens, and nothing of further training runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from reach.runs.manifest import Span

_AT_ONCE = 4_000_000
"""Counts that are held at a time."""


def drawn_counts(n: int, draws: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
    """`(b, n)` blocks of how often each of n tokens is drawn in samples of n with replacement, `draws` in all."""
    block = max(1, _AT_ONCE // max(n, 1))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        picked = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(picked.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def interval(
    value: float,
    moments: Float64[np.ndarray, "n m"],
    of: Callable[[Float64[np.ndarray, "b m"]], Float64[np.ndarray, " b"]],
    draws: int,
    seed: int,
) -> Span | None:
    """A quantity that follows from means over tokens, with its 95 % percentile interval over draws of tokens.

    Args:
        value: of the tokens as they are.
        moments: what each token contributes to the means.
        of: the quantity from rows of means.
        draws: how many samples.
        seed: of the draws.

    Returns:
        None where the quantity is defined for no draw.
    """
    rng = np.random.default_rng(seed)
    n = len(moments)
    found = np.concatenate([of(counts @ moments / n) for counts in drawn_counts(n, draws, rng)])
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    low, high = np.quantile(found, [0.025, 0.975]).tolist()
    return Span(value, min(low, value), max(high, value))
