"""The indicators themselves: numbers that are small for tokens that may be under-trained.

Land and Bartolo 2024, *Fishing for Magikarp: Automatically Detecting Under-trained Tokens in Large Language Models*,
take the length of the rows of the input embedding where a model does not tie it, and how far the rows of the output
matrix are from the mean row of tokens that are known to be unused, by angle and by distance, with the first principal
component removed as an estimate of what all rows have in common. Nothing here is proved, and float32 is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int

from solvers.problem import ArgmaxProblem

_STEPS = 60
_CLOSE = 1e-9


@dataclass(frozen=True)
class Indicator:
    """An indicator of every token; small values are suspect.

    Attributes:
        key: its name in files.
        title: its name for a person.
        values: `(v,)`; NaN where a row has no direction.
    """

    key: str
    title: str
    values: Float64[np.ndarray, " v"]


def lengths(rows: ArgmaxProblem, key: str, title: str) -> Indicator:
    """The lengths of the rows of a matrix."""
    return Indicator(key, title, rows.row_norm.numpy())


def output_indicators(rows: ArgmaxProblem, unused: Int[np.ndarray, " k"]) -> Iterator[Indicator]:
    """How far the rows of the output matrix are from the mean row of unused tokens.

    A row that is itself one of these is held against the mean of the others.

    Args:
        rows: the output matrix.
        unused: ids of tokens that are known to be unused; a single one has no value of its own.
    """
    plain, without = _towards(rows, unused, None), _towards(rows, unused, first_component(rows))
    yield Indicator("cosine-distance", "cosine distance from the mean of unused rows", plain.cosine)
    yield Indicator("cosine-distance-pc", "cosine distance, first component removed", without.cosine)
    yield Indicator("distance", "distance from the mean of unused rows", plain.distance)
    yield Indicator("distance-pc", "distance, first component removed", without.distance)


@dataclass(frozen=True)
class _Towards:
    cosine: Float64[np.ndarray, " v"]
    distance: Float64[np.ndarray, " v"]


def _towards(rows: ArgmaxProblem, unused: Int[np.ndarray, " k"], component: torch.Tensor | None) -> _Towards:
    def taken(index: torch.Tensor | slice) -> torch.Tensor:
        part = rows.rows(index)
        return part if component is None else part - (part @ component)[:, None] * component

    own = taken(torch.from_numpy(unused))
    total, count = own.sum(dim=0), len(unused)
    cosine, distance = np.empty(rows.v), np.empty(rows.v)
    for block in rows.blocks(32 * rows.d):
        part = taken(block)
        cosine[block], distance[block] = _both(part, (total / count).expand_as(part))
    cosine[unused], distance[unused] = _both(own, (total - own) / (count - 1)) if count > 1 else (np.nan, np.nan)
    return _Towards(cosine, distance)


def _both(rows: torch.Tensor, means: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    length = rows.norm(dim=1) * means.norm(dim=1)
    cosine = 1 - (rows * means).sum(dim=1) / length
    cosine[length == 0] = torch.nan
    return cosine.numpy(), (rows - means).norm(dim=1).numpy()


def first_component(rows: ArgmaxProblem) -> torch.Tensor:
    """`(d,)` the direction u of most energy, Σ (w·u)², of the rows as they are, by power iteration."""
    direction = torch.randn(rows.d, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction /= direction.norm()
    for _ in range(_STEPS):
        found = torch.zeros(rows.d, dtype=torch.float64)
        for block in rows.blocks(16 * rows.d):
            part = rows.rows(block)
            found += part.T @ (part @ direction)
        size = float(found.norm())
        if size == 0:
            return torch.zeros(rows.d, dtype=torch.float64)
        found /= size
        if float((found - direction).norm()) < _CLOSE:
            return found
        direction = found
    return direction


LEAST_UNUSED = 3
_OUTLYING, _NEAR, _AGREE, _MOST_SHARE = 0.1, 0.05, 0.5, 0.6


def looks_untrained(
    cosine_distance: Float64[np.ndarray, " v"], unused: Int[np.ndarray, " k"]
) -> Int[np.ndarray, " n"]:
    """Tokens whose rows are as near, by angle, to those of unused tokens as most of these are to each other.

    Near is what nine in ten of the unused rows are, or a cosine of 0.95. They can tell only if they agree (a cosine
    of at least 0.5) and differ from most others; else nothing is said of any token.

    Args:
        cosine_distance: from the mean of the unused rows, first component removed; theirs from that of the others.
        unused: ids of tokens that are known to be unused.
    """
    none = np.zeros(0, dtype=np.int64)
    theirs = cosine_distance[unused]
    theirs = theirs[np.isfinite(theirs)]
    if len(theirs) < LEAST_UNUSED:
        return none
    limit = float(np.quantile(theirs, 1 - _OUTLYING))
    near = np.flatnonzero(cosine_distance <= max(limit, _NEAR))
    return near if limit <= _AGREE and len(near) <= _MOST_SHARE * len(cosine_distance) else none
