"""The stage of exact proofs, and the words for what it leaves open."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import Progress, Stage
from reach.scanning.state import OPEN, ScanState
from solvers import registry
from solvers.backend import Backend, Budget
from solvers.basis import candidate_supports
from solvers.checks.domains import enclosing_ball
from solvers.checks.witness import logit_error
from solvers.domains import Free
from solvers.problem import ArgmaxProblem

_SINGLE_BLOCKERS = 4
"""How many of the heaviest rivals are tried as the only blocker, for margins of exactly 0."""


class ProofStage(Stage):
    """Exact proofs of membership in the hull, from the weights that the searches left behind.

    Where no support of theirs will do, the simplex method is asked for a basic solution of its own.
    """

    name = "exact-proof"
    block_share = 1 / 32

    def __init__(self, settings: ScanSettings) -> None:
        self.settings = settings
        self._simplex: Backend | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the backend, which is prepared where it is used."""
        return {**self.__dict__, "_simplex": None}

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Open rows; where everything is to be exact, also those that lie inside the hull."""
        wanted = state.verdict == OPEN
        if self.settings.exact:
            wanted[list(state.duals)] = True
        return wanted

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Make the simplex backend ready on the problem whose verdicts are the same, if it can do it."""
        kind = registry.backend("highs")
        # With c = 0 every domain around 0 has the verdicts of Free.
        posed = problem.over(Free()) if problem.cone and kind.why_not(problem) is not None else problem
        if kind.why_not(posed) is None:
            self._simplex = kind(jobs=self.settings.jobs)
            self._simplex.prepare(posed)

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Try to prove each row."""
        for row in rows.tolist():
            if self.left <= 0:
                return
            candidate = judge.state.candidates.get(row)
            proved = candidate is not None and (
                judge.at_the_edge(row, candidate, number) or self._prove(judge, row, candidate.rows, number)
            )
            if not proved and self._simplex is not None:
                budget = Budget(seconds=self.seconds, tolerance=1e-10)
                attempts = self._simplex.solve(torch.tensor([row]), budget)
                judge.witnesses(attempts, number)
                hull = attempts.hulls.of(0)
                if hull is not None and (judge.state.verdict[row] == OPEN or row in judge.state.duals):
                    proved = judge.exact_hull(row, hull[0], number) or self._prove(judge, row, hull[0], number)
            if judge.state.verdict[row] == OPEN:
                judge.state.reasons[row] = _why_open(judge, row)
            progress(1)

    @staticmethod
    def _prove(judge: Judge, row: int, rows: Int[np.ndarray, " k"], number: int) -> bool:
        candidate = judge.state.candidates.get(row)
        if candidate is not None and not judge.problem.cone:
            if judge.exact_bound(row, candidate.rows, candidate.weights, number):
                return True
            heaviest = candidate.rows[np.argsort(-candidate.weights)[:_SINGLE_BLOCKERS]]
            if any(judge.exact_bound(row, np.array([blocker]), np.ones(1), number) for blocker in heaviest.tolist()):
                return True
        supports = candidate_supports(judge.problem, row, rows)
        return any(judge.exact_hull(row, support, number) for support in supports)


def _why_open(judge: Judge, row: int) -> str:
    lower, upper = judge.state.lower[row], judge.state.upper[row]
    before = judge.state.reasons.get(row)
    between = (
        f"the margin lies between {lower:.3g} and {upper:.3g} logits"
        if np.isfinite(lower)
        else (f"the margin is at most {upper:.3g} logits" if np.isfinite(upper) else "no bound was reached")
    )
    if before is not None:
        return f"{before}; {between}"
    if judge.problem.weight_error is not None:
        return f"the rows are known only up to rounding (a projection is folded in); {between}"
    if np.isfinite(upper) and upper <= _rounding_of_logits(judge.problem, row):
        return (
            f"no witness and no exact proof were found, and its margin is inside the rounding of float64; {between}"
        )
    return (
        "no witness and no exact proof were found: the searches stop at a gap of "
        f"{judge.settings.tolerance:g} of the logits' size; {between}"
    )


def _rounding_of_logits(problem: ArgmaxProblem, row: int) -> float:
    """What rounding in float64, in bounds and in products, may make of this row's lead at the edge of the domain."""
    _, radius = enclosing_ball(problem)
    if radius == float("inf"):
        return 0.0
    error = logit_error(problem, radius, torch.float64)
    return 4 * float(error[row] + error.max())
