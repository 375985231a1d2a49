"""Proofs that a person can read: how few blockers already keep an unspeakable token from the top?

The stored weights give the best bound on the margin, over up to d + 1 blockers. Where it lies below zero there
is room for a weaker one, over fewer. These weights are checked like all others; the verdict rests on the stored ones.
"""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float64, Int

from reach.runs.columns import floats, ids
from reach.runs.schema import FEW_BLOCKERS
from solvers.backend import Budget
from solvers.checks.hull import hull_upper_bound
from solvers.problem import ArgmaxProblem
from solvers.registry import backend

_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48)
_MOST_TOKENS = 500
_SECONDS = 3.0
_LEAST_WEIGHT = 1e-6
"""What an interior-point method leaves of weights that vanish is less."""


def few_blockers(
    problem: ArgmaxProblem, verdicts: pa.Table, hull_weights: pa.Table, *, seconds: float = _SECONDS
) -> pa.Table:
    """Weights over fewer blockers that still prove unspeakable tokens so (schema `FEW_BLOCKERS`).

    The heaviest blockers are tried, at most two thirds of all; deep tokens come first, as far as time goes.

    Args:
        problem: with a row per token.
        verdicts: the run's table of verdicts.
        hull_weights: the proofs that it has.
        seconds: after which no further token is looked at.
    """
    token, row, weight = (
        ids(hull_weights, "token_id"), ids(hull_weights, "row_id"), floats(hull_weights, "weight"),
    )  # fmt: skip
    margin = floats(verdicts, "margin_upper")
    order = np.lexsort((row, -weight, token))
    token, row = token[order], row[order]
    tokens, start = np.unique(token, return_index=True)
    ends = np.append(start[1:], len(token))
    # Without a margin below zero the row lies in the hull, and no weaker bound is left.
    deep = [at for at in np.argsort(margin[tokens], kind="stable") if margin[tokens[at]] < 0]
    until = time.monotonic() + seconds
    found: list[tuple[int, int, float, float]] = []
    for at in deep[:_MOST_TOKENS]:
        if time.monotonic() > until:
            break
        found += _of_token(problem, int(tokens[at]), row[start[at] : ends[at]].astype(np.int64))
    found.sort(key=lambda one: (one[0], -one[2], one[1]))
    columns = list(zip(*found, strict=True)) if found else [()] * 4
    arrays = [pa.array(column, kind) for column, kind in zip(columns, FEW_BLOCKERS.types, strict=True)]
    return pa.table(arrays, schema=FEW_BLOCKERS)


def _of_token(
    problem: ArgmaxProblem, token: int, blockers: Int[np.ndarray, " n"]
) -> list[tuple[int, int, float, float]]:
    """The shortest proof over the heaviest blockers; none where two thirds of them do not suffice.

    What some of them prove, these and further ones prove too, so the least number is found by halving.
    """
    best: list[tuple[int, int, float, float]] = []
    sizes = [size for size in _SIZES if 3 * size <= 2 * len(blockers)]
    low, high = 0, len(sizes)  # below `low` nothing suffices, at `high` it is known to
    at = len(sizes) - 1
    while low < high:
        found = _over(problem, token, blockers[: sizes[at]])
        if found:
            best, high = found, at
        elif not best:
            return []
        else:
            low = at + 1
        at = (low + high) // 2
    return best


def _over(problem: ArgmaxProblem, token: int, rows: Int[np.ndarray, " k"]) -> list[tuple[int, int, float, float]]:
    """A proof over these blockers alone, if they have one."""
    weights = np.ones(1) if len(rows) == 1 else _weights(problem, token, rows)
    if weights is None:
        return []
    kept = weights > _LEAST_WEIGHT
    bound = hull_upper_bound(problem, token, rows[kept], weights[kept])
    if not bound <= 0:
        return []
    return [(token, one, part, bound) for one, part in zip(rows[kept].tolist(), weights[kept].tolist(), strict=True)]


def _weights(problem: ArgmaxProblem, token: int, rows: Int[np.ndarray, " k"]) -> Float64[np.ndarray, " k"] | None:
    """The best weights over these blockers alone, as a solver sees it; none where it has none."""
    small = problem.restrict(torch.from_numpy(np.append(token, rows)))
    solver = backend("clarabel")()
    solver.prepare(small)
    hulls = solver.solve(torch.tensor([0]), Budget(seconds=2.0)).hulls
    weights = np.zeros(len(rows) + 1)
    weights[hulls.rows] = hulls.weights
    total = weights[1:].sum()
    return weights[1:] / total if total > 0 else None
