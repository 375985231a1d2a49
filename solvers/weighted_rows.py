"""Σλ_j(A[t] − A[j]) for many tokens at once: what hull weights stand for, to a checker and to a search alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from solvers.parallel import map_single_threaded
from solvers.problem import ArgmaxProblem

_NUMBERS = 2**22
"""Numbers of rows that each core holds at a time."""


def weighted_differences(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    start: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
) -> Float64[Tensor, "n d"]:
    """v_i = Σλ_j(A[t_i] − A[j]) over the weights from start[i] to start[i+1], term after term, in float64.

    Args:
        problem: whose rows.
        tokens: `(n,)` row numbers.
        start: where the weights of each token begin, and where the last ones end.
        rows, weights: row numbers and weights, not divided by their sum.
    """
    out, add_up = np.zeros((len(tokens), problem.d)), _compiled()

    def span(ends: tuple[int, int]) -> None:
        first, last = ends
        part = slice(int(start[first]), int(start[last]))
        named, place = np.unique(rows[part], return_inverse=True)
        theirs, mine = problem.rows(torch.from_numpy(named)).numpy(), problem.rows(tokens[first:last]).numpy()
        add_up(mine, theirs, start[first : last + 1] - start[first], place, weights[part], out[first:last])

    map_single_threaded(span, list(_spans(start, problem.d)), torch.get_num_threads())
    return torch.from_numpy(out)


@cache
def _compiled() -> Callable[..., None]:
    """`_add_up`, compiled where it is first needed: the compiler takes longer to load than many a question."""
    from solvers.compiled import compiled

    return compiled(_add_up)


def _add_up(
    mine: Float64[np.ndarray, "n d"],
    theirs: Float64[np.ndarray, "m d"],
    start: Int[np.ndarray, " n_plus_1"],
    place: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
    out: Float64[np.ndarray, "n d"],
) -> None:
    for i in range(out.shape[0]):
        for k in range(start[i], start[i + 1]):
            row = place[k]
            weight = weights[k]
            for at in range(out.shape[1]):
                out[i, at] += weight * (mine[i, at] - theirs[row, at])


def _spans(start: Int[np.ndarray, " n_plus_1"], d: int) -> Iterator[tuple[int, int]]:
    """Tokens from … to whose weights' rows take a bounded amount of memory together."""
    first, most = 0, max(1, _NUMBERS // d)
    while first < len(start) - 1:
        last = int(np.searchsorted(start, start[first] + most, side="right")) - 1
        last = min(max(last, first + 1), len(start) - 1)
        yield first, last
        first = last
