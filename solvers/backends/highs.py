"""Column generation over HiGHS, called directly: one row at a time, on `Free` and `Box`.

Its simplex method returns *basic* solutions, so the support of its hull weights has at most d+1 rows: what an exact
proof needs. Prefer it for exact proofs and on boxes.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

import highspy
import numpy as np

from solvers import options
from solvers.backend import LINEAR, Budget, Capabilities
from solvers.backends.column_generation import OneByOne
from solvers.backends.full_program import SMALL_ENTRIES
from solvers.backends.program import Answer, Program

_LIMITS = (highspy.HighsModelStatus.kTimeLimit, highspy.HighsModelStatus.kIterationLimit)


class Highs(OneByOne):
    """max s  s.t.  D u + e ≥ s,  lo ≤ u ≤ hi  as a linear program over the rivals."""

    name = "highs"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=LINEAR, proves_negative=True, complete=True, note="exact proofs, and boxes"
    )
    least = SMALL_ENTRIES

    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Hand the program to HiGHS."""
        solver = highspy.Highs()
        self.effective_options = options.set_and_read_back(
            self.name, budget, solver.setOptionValue, lambda name: solver.getOptionValue(name)[1]
        )
        solver.passModel(_linear_program(program))
        solver.run()
        status, solution = solver.getModelStatus(), solver.getSolution()
        said = solver.modelStatusToString(status)
        if status != highspy.HighsModelStatus.kOptimal or not solution.dual_valid:
            return Answer("limit" if status in _LIMITS else "failed", note=said)
        u = np.array(solution.col_value)[: program.region.e]
        steps = int(solver.getInfo().simplex_iteration_count)
        return Answer("optimal", u, -np.array(solution.row_dual), steps, said)

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"highspy {version('highspy')}"


def _linear_program(posed: Program) -> highspy.HighsLp:
    """Minimise −s over (u, s) with s − D u ≤ e."""
    (lo, hi), (k, e) = posed.box, posed.matrix.shape
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = e + 1, k
    program.col_cost_ = np.concatenate([np.zeros(e), [-1.0]])
    program.col_lower_ = np.concatenate([lo, [-highspy.kHighsInf]])
    program.col_upper_ = np.concatenate([hi, [highspy.kHighsInf]])
    program.row_lower_ = np.full(k, -highspy.kHighsInf)
    program.row_upper_ = posed.right
    matrix = np.hstack([-posed.matrix, np.ones((k, 1))])
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = np.arange(0, k * (e + 1) + 1, e + 1)
    program.a_matrix_.index_ = np.tile(np.arange(e + 1), k)
    program.a_matrix_.value_ = matrix.ravel()
    return program
