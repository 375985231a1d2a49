"""Column generation over HiGHS, called directly: one row at a time, on `Free` and `Box`.

Its simplex method returns *basic* solutions, so the support of its hull weights has at most d+1 rows: what an exact
proof needs. Prefer it for exact proofs and on boxes.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

import highspy
import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from solvers import options
from solvers.backend import Budget, Capabilities
from solvers.backends.clarabel import failed
from solvers.backends.column_generation import ColumnGeneration, RestrictedResult
from solvers.domains import Box, Free

_LIMITS = (highspy.HighsModelStatus.kTimeLimit, highspy.HighsModelStatus.kIterationLimit)


class Highs(ColumnGeneration):
    """max s  s.t.  D z + e ≥ s,  lo ≤ z ≤ hi  as a linear program over the rivals.

    On `Free` only the direction of (lifted) z counts, so |z_i| ≤ 1 stands in for the ball: the sign is the same.
    """

    name = "highs"
    capabilities: ClassVar[Capabilities] = Capabilities(
        domains=(Free, Box), proves_negative=True, complete=True, note="exact proofs, and boxes"
    )

    def size_of_batch(self, rivals: int) -> int:  # noqa: ARG002
        """One row a call."""
        return 1

    def restricted(
        self,
        tokens: Int[Tensor, " b"],
        rivals: Int[Tensor, "b k"],
        upper: Float64[Tensor, " b"],  # noqa: ARG002
        budget: Budget,
    ) -> RestrictedResult:
        """Solve one token against its rivals."""
        space = self.space
        e = space.e
        present = rivals[0][rivals[0] >= 0]
        difference = (space.rows(tokens) - space.rows(present)).numpy()
        offset = (space.offset[tokens] - space.offset[present]).numpy()
        # HiGHS drops matrix entries below 1e-9 and takes bounds beyond 1e20 for none: scale to size 1 first.
        largest = float(np.abs(difference).max(initial=0.0))
        scale = max(largest, 1e-6 * float(np.abs(offset).max(initial=0.0)), 1e-300)
        difference, offset = difference / scale, offset / scale
        lo, hi = -np.ones(e), np.ones(e)
        if space.lo is not None and space.hi is not None:
            lo, hi = space.lo.numpy(), space.hi.numpy()
        if space.lifted:
            lo[-1] = 0.0
        solver, self.effective_options = _solver(budget)
        solver.passModel(_program(difference, offset, lo, hi))
        solver.run()
        status = solver.getModelStatus()
        solution = solver.getSolution()
        if status != highspy.HighsModelStatus.kOptimal or not solution.dual_valid:
            result = failed(tokens, rivals, e, f"highs: {solver.modelStatusToString(status)}")
            result.limit = status in _LIMITS
            return result
        z = np.clip(np.array(solution.col_value)[:e], lo, hi)
        weights = np.maximum(-np.array(solution.row_dual), 0)
        if not (np.isfinite(z).all() and np.isfinite(weights).all() and weights.sum() > 0):
            return failed(tokens, rivals, e, "highs: not finite")
        weights = weights / weights.sum()
        v = torch.from_numpy(weights @ difference)[None, :]
        bound = float(space.support(v)) + float(weights @ offset)
        if space.radius is not None:
            z = z / max(1.0, float(np.linalg.norm(z)))
        spread = torch.zeros(rivals.shape, dtype=torch.float64)
        spread[0, rivals[0] >= 0] = torch.from_numpy(weights)
        reached = float((difference @ z + offset).min())
        return RestrictedResult(
            torch.from_numpy(z)[None, :],
            torch.tensor([reached * scale], dtype=torch.float64),
            torch.tensor([bound * scale], dtype=torch.float64),
            spread,
            int(solver.getInfo().simplex_iteration_count),
        )

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"highspy {version('highspy')}"


def _solver(budget: Budget) -> tuple[highspy.Highs, dict[str, object]]:
    """A solver with its options set, and what they are."""
    solver = highspy.Highs()
    chosen = options.set_and_read_back(
        Highs.name, budget, solver.setOptionValue, lambda name: solver.getOptionValue(name)[1]
    )
    return solver, chosen


def _program(difference: np.ndarray, offset: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> highspy.HighsLp:
    """The linear program: minimise −s over (z, s) with s − D z ≤ e."""
    k, e = difference.shape
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = e + 1, k
    program.col_cost_ = np.concatenate([np.zeros(e), [-1.0]])
    program.col_lower_ = np.concatenate([lo, [-highspy.kHighsInf]])
    program.col_upper_ = np.concatenate([hi, [highspy.kHighsInf]])
    program.row_lower_ = np.full(k, -highspy.kHighsInf)
    program.row_upper_ = offset
    matrix = np.hstack([-difference, np.ones((k, 1))])
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = np.arange(0, k * (e + 1) + 1, e + 1)
    program.a_matrix_.index_ = np.tile(np.arange(e + 1), k)
    program.a_matrix_.value_ = matrix.ravel()
    return program
