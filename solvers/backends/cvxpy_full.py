"""The textbook program through cvxpy, once per solver that cvxpy drives: the slow reference.

Every row is compiled anew. A parametrised program (DPP) would have the whole matrix for a parameter, and compiling
that costs more than all solves of a small head. cvxpy's compile step dominates either way, which is why the hot path
calls the libraries directly.
"""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import numpy as np

from solvers import options
from solvers.backend import LINEAR, Budget, Capabilities
from solvers.backends.full_program import FullProgram
from solvers.backends.program import Answer, Program
from solvers.domains import Shape

_LIMITS = ("user_limit", "optimal_inaccurate")
"""cvxpy says "inaccurate" where a solver stopped short of its tolerance, most often at its iteration limit."""


class CvxpyFull(FullProgram):
    """max s  s.t.  D u + e ≥ s and the domain, by the solver that a subclass names.

    Prefer `clarabel` or `highs`, which solve the same programs with a few rows at a time. Subclasses exist so that
    one library can be held against another on the same program.
    """

    solver: ClassVar[str]
    package: ClassVar[str]
    """The distribution that brings the solver."""
    cones: ClassVar[bool] = True
    """Whether it can do second-order cones; without them a box |u_i| ≤ 1 stands in for the ball on `Free`."""

    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Compile and solve one program."""
        import cvxpy

        u, s = cvxpy.Variable(program.region.e), cvxpy.Variable()
        leads = program.matrix @ u + program.right >= s
        if self.cones and program.region.radius is not None:
            faces, constants = program.region.faces()
            domain = [cvxpy.norm(u, 2) <= program.region.radius]
            domain += [faces.numpy() @ u + constants.numpy() >= 0] if len(faces) else []
        else:
            lo, hi = program.box
            domain = [u >= lo, u <= hi]
        posed = cvxpy.Problem(cvxpy.Maximize(s), [leads, *domain])
        chosen = options.values(self.name, budget)
        self.effective_options = dict(chosen)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                posed.solve(solver=self.solver, **options.nested(chosen))
        # Each solver raises errors of its own; whatever it is, this row has no answer.
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            return Answer("failed", note=reason[0])
        steps: Any = None if posed.solver_stats is None else posed.solver_stats.num_iters
        steps = float(steps) if isinstance(steps, int | float) else 0.0
        if posed.status != "optimal" and posed.status not in _LIMITS:
            return Answer("failed", iterations=steps, note=str(posed.status))
        return Answer(
            "optimal" if posed.status == "optimal" else "limit",
            None if u.value is None else np.asarray(u.value, dtype=np.float64),
            None if leads.dual_value is None else np.asarray(leads.dual_value, dtype=np.float64),
            steps,
            "" if posed.status == "optimal" else str(posed.status),
        )

    @classmethod
    def version(cls) -> str:
        """Versions of the library that does the work, and of cvxpy."""
        try:
            mine = f"{cls.package} {version(cls.package)}"
        except PackageNotFoundError:
            mine = f"{cls.package} (version unknown)"
        return f"{mine}, cvxpy {version('cvxpy')}"


def _library(
    solver: str, package: str, note: str, about: str, *, cones: bool = True, complete: bool = False, **more: float
) -> type[CvxpyFull]:
    """The backend of one solver."""
    can = Capabilities(tuple(Shape) if cones else LINEAR, proves_negative=True, complete=complete, note=note)
    parts = {"name": f"cvxpy:{solver}", "solver": solver, "package": package, "cones": cones, "capabilities": can}
    words = {"__doc__": about, "__module__": __name__}
    return type(f"Cvxpy{solver.title()}", (CvxpyFull,), parts | words | more)


CvxpyClarabel = _library(
    "CLARABEL",
    "clarabel",
    "the reference on balls, with every row at once",
    "Clarabel, an interior-point method for cones: the reference to prefer among these.",
    complete=True,
)
CvxpyScs = _library(
    "SCS",
    "scs",
    "first-order: one factorisation in all",
    "SCS, a first-order method for cones. Prefer it on programs too large for a factorisation per step.",
)
CvxpyEcos = _library(
    "ECOS",
    "ecos",
    "what older code used by default",
    "ECOS, an older interior-point method for second-order cones. Prefer Clarabel, its successor.",
)
CvxpyCvxopt = _library(
    "CVXOPT",
    "cvxopt",
    "another opinion on small programs",
    "CVXOPT, a dense interior-point method for cones. Prefer it on small dense programs only.",
)
CvxpyMosek = _library(
    "MOSEK",
    "Mosek",
    "commercial, needs a licence",
    "MOSEK, commercial interior point for cones. Prefer it where a licence is at hand and accuracy counts.",
)
CvxpyGurobi = _library(
    "GUROBI",
    "gurobipy",
    "commercial, needs a licence beyond 2000 rows",
    "Gurobi, commercial. Prefer it for large linear programs where a licence is at hand (the free one is small).",
)
CvxpyOsqp = _library(
    "OSQP",
    "osqp",
    "operator splitting, low accuracy",
    "OSQP, an operator-splitting method for quadratic programs. Prefer it for nothing here but comparison.",
    cones=False,
)
CvxpyHighs = _library(
    "HIGHS",
    "highspy",
    "the reference on boxes, with every row at once",
    "HiGHS through cvxpy. Prefer `highs`.",
    cones=False,
    complete=True,
)
CvxpyScipy = _library(
    "SCIPY",
    "scipy",
    "linprog behind cvxpy",
    "SciPy's linprog through cvxpy. Prefer `linprog-highs-ds`, the same without the compile step.",
    cones=False,
    complete=True,
)
CvxpyGlpk = _library(
    "GLPK",
    "cvxopt",
    "an independent simplex method",
    "GLPK's simplex method (it comes with CVXOPT). Prefer HiGHS, which is faster and takes tolerances.",
    cones=False,
    trusted=1e-7,
)
