"""From attempts to proved verdicts, by the checkers alone: what the tests judge with."""

from __future__ import annotations

import numpy as np
import torch
from known_answers import SPEAKABLE, UNSPEAKABLE
from torch import Tensor

from solvers.attempt import Attempts
from solvers.backend import Budget
from solvers.backends.batched_barrier import BatchedBarrier
from solvers.basis import candidate_supports
from solvers.checks.exact import bound_by_weights, hull_membership, inside_domain, witness_beats
from solvers.checks.interior import inside_hull, spread_set
from solvers.hull_rows import HullRows
from solvers.problem import ArgmaxProblem

UNDECIDED = "undecided"


def wins_exactly(problem: ArgmaxProblem, row: int, point: Tensor) -> bool:
    """Whether the row is the strict argmax at a point of the domain, in rational arithmetic against every row."""
    if not bool(torch.isfinite(point).all()) or not bool(inside_domain(problem.domain, point[None])[0]):
        return False
    others = np.delete(np.arange(problem.v), row)
    return bool(witness_beats(problem, row, point, others).all())


def proved(problem: ArgmaxProblem, attempts: Attempts, i: int) -> str:
    """What the checkers make of attempt i. Raises if they accept proofs of both verdicts."""
    row, pair = int(attempts.rows[i]), attempts.hulls.of(i)
    speakable = wins_exactly(problem, row, attempts.points[i])
    unspeakable = pair is not None and not is_summary(pair[1]) and never_wins(problem, row, *pair)
    unspeakable |= lies_inside(problem, attempts, i)
    assert not (speakable and unspeakable), f"row {row} has proofs of both verdicts"
    return SPEAKABLE if speakable else UNSPEAKABLE if unspeakable else UNDECIDED


def is_summary(weights: np.ndarray) -> bool:
    """Whether these are only the heaviest weights of a row that a dual point speaks for."""
    return bool(weights.sum() < 1 - 1e-6)


def lies_inside(problem: ArgmaxProblem, attempts: Attempts, i: int) -> bool:
    """Whether the dual point of attempt i, if there is one, proves that its row lies inside the hull."""
    if attempts.duals is None or not bool(torch.isfinite(attempts.duals[i]).all()):
        return False
    hull = HullRows(problem)
    spread = spread_set(hull, torch.arange(problem.v))
    return spread is not None and bool(
        inside_hull(hull, spread, attempts.rows[i : i + 1], attempts.duals[i : i + 1])[0]
    )


def never_wins(problem: ArgmaxProblem, row: int, rows: np.ndarray, weights: np.ndarray) -> bool:
    """Whether these weights, or a basic solution among their rows, prove that the row never wins."""
    if bound_by_weights(problem, row, rows, weights):
        return True
    heaviest = rows[np.argmax(weights)][None]
    if bound_by_weights(problem, row, heaviest, np.ones(1)):
        return True
    return any(
        hull_membership(problem, row, support) is not None for support in candidate_supports(problem, row, rows)
    )


def verdicts(problem: ArgmaxProblem, budget: Budget | None = None) -> list[str]:
    """Proved verdicts of all rows, from the batched interior point."""
    backend = BatchedBarrier()
    backend.prepare(problem)
    attempts = backend.solve(torch.arange(problem.v), budget or Budget())
    return [proved(problem, attempts, i) for i in range(problem.v)]
