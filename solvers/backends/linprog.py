"""`scipy.optimize.linprog` on the textbook program: what most people reached for first.

The constraint matrix is dense, and `linprog` turns it into a sparse one (an index beside every number) that HiGHS
copies again: at 50000 × 768 each copy is half a gigabyte. That is a price of this route, not of the question.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import ClassVar

import numpy as np
from scipy.optimize import OptimizeWarning, linprog

from solvers import options
from solvers.backend import LINEAR, Budget, Capabilities
from solvers.backends.full_program import FullProgram
from solvers.backends.program import Answer, Program

_OPTIMAL, _LIMIT = 0, 1
"""Two of linprog's status numbers; 2 is infeasible, 3 unbounded, 4 numerical trouble."""


class LinprogSimplex(FullProgram):
    """max s  s.t.  s − D u ≤ e  inside the box, by the dual simplex method of HiGHS.

    Prefer `highs`, which asks the same question with a few rows at a time. On `Free` |u_i| ≤ 1 stands in for the
    ball, since only the sign counts there.
    """

    name = "linprog-highs-ds"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=LINEAR, proves_negative=True, complete=True, note="the textbook program, as a slow reference"
    )
    method: ClassVar[str] = "highs-ds"

    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Hand the program to linprog."""
        k, e = program.matrix.shape
        chosen = options.values(self.name, budget)
        with warnings.catch_warnings():
            # It only warns about an option that it does not know.
            warnings.simplefilter("error", OptimizeWarning)
            result = linprog(
                np.append(np.zeros(e), -1.0),
                A_ub=np.hstack([-program.matrix, np.ones((k, 1))]),
                b_ub=program.right,
                bounds=[*zip(*program.box, strict=True), (None, None)],
                method=self.method,
                options=chosen,
            )
        self.effective_options = {"method": self.method, **chosen}
        if result.status not in {_OPTIMAL, _LIMIT} or (result.status == _OPTIMAL and result.x is None):
            return Answer("failed", iterations=float(result.nit or 0), note=_first_line(result.message))
        return Answer(
            "optimal" if result.status == _OPTIMAL else "limit",
            None if result.x is None else np.asarray(result.x)[:e],
            None if result.status == _LIMIT else -np.asarray(result.ineqlin.marginals),
            float(result.nit or 0),
            "" if result.status == _OPTIMAL else _first_line(result.message),
        )

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"scipy {version('scipy')}"


class LinprogInteriorPoint(LinprogSimplex):
    """The same by the interior-point method of HiGHS, which then crosses over to a basic solution.

    Prefer it over the simplex method only when there are many more rows than the simplex method has patience for.
    """

    name = "linprog-highs-ipm"
    method = "highs-ipm"


def _first_line(message: str) -> str:
    return str(message).strip().splitlines()[0] if str(message).strip() else "no message"
