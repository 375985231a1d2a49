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


def _conic(note: str, *, complete: bool = True) -> Capabilities:
    return Capabilities(proves_negative=True, complete=complete, note=note)


def _linear(note: str, *, complete: bool = True) -> Capabilities:
    return Capabilities(shapes=LINEAR, proves_negative=True, complete=complete, note=note)


class CvxpyClarabel(CvxpyFull):
    """Clarabel, an interior-point method for cones: the reference to prefer among these."""

    name = "cvxpy:CLARABEL"
    solver, package = "CLARABEL", "clarabel"
    capabilities: ClassVar[Capabilities] = _conic("the reference on balls, with every row at once")


class CvxpyScs(CvxpyFull):
    """SCS, a first-order method for cones. Prefer it on programs too large for a factorisation per step."""

    name = "cvxpy:SCS"
    solver, package = "SCS", "scs"
    capabilities: ClassVar[Capabilities] = _conic("first-order: one factorisation in all", complete=False)


class CvxpyEcos(CvxpyFull):
    """ECOS, an older interior-point method for second-order cones. Prefer Clarabel, its successor."""

    name = "cvxpy:ECOS"
    solver, package = "ECOS", "ecos"
    capabilities: ClassVar[Capabilities] = _conic("what older code used by default", complete=False)


class CvxpyCvxopt(CvxpyFull):
    """CVXOPT, a dense interior-point method for cones. Prefer it on small dense programs only."""

    name = "cvxpy:CVXOPT"
    solver, package = "CVXOPT", "cvxopt"
    capabilities: ClassVar[Capabilities] = _conic("another opinion on small programs", complete=False)


class CvxpyMosek(CvxpyFull):
    """MOSEK, commercial interior point for cones. Prefer it where a licence is at hand and accuracy counts."""

    name = "cvxpy:MOSEK"
    solver, package = "MOSEK", "Mosek"
    capabilities: ClassVar[Capabilities] = _conic("commercial, needs a licence", complete=False)


class CvxpyGurobi(CvxpyFull):
    """Gurobi, commercial. Prefer it for large linear programs where a licence is at hand (the free one is small)."""

    name = "cvxpy:GUROBI"
    solver, package = "GUROBI", "gurobipy"
    capabilities: ClassVar[Capabilities] = _conic("commercial, needs a licence beyond 2000 rows", complete=False)


class CvxpyOsqp(CvxpyFull):
    """OSQP, an operator-splitting method for quadratic programs. Prefer it for nothing here but comparison."""

    name = "cvxpy:OSQP"
    solver, package = "OSQP", "osqp"
    cones = False
    capabilities: ClassVar[Capabilities] = _linear("operator splitting, low accuracy", complete=False)


class CvxpyHighs(CvxpyFull):
    """HiGHS through cvxpy. Prefer `highs`."""

    name = "cvxpy:HIGHS"
    solver, package = "HIGHS", "highspy"
    cones = False
    capabilities: ClassVar[Capabilities] = _linear("the reference on boxes, with every row at once")


class CvxpyScipy(CvxpyFull):
    """SciPy's linprog through cvxpy. Prefer `linprog-highs-ds`, the same without the compile step."""

    name = "cvxpy:SCIPY"
    solver, package = "SCIPY", "scipy"
    cones = False
    capabilities: ClassVar[Capabilities] = _linear("linprog behind cvxpy")


class CvxpyGlpk(CvxpyFull):
    """GLPK's simplex method (it comes with CVXOPT). Prefer HiGHS, which is faster and takes tolerances."""

    name = "cvxpy:GLPK"
    solver, package = "GLPK", "cvxopt"
    cones = False
    trusted = 1e-7
    capabilities: ClassVar[Capabilities] = _linear("an independent simplex method", complete=False)
