"""All backends by name, each imported only when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from importlib.util import find_spec

from solvers.backend import Backend
from solvers.errors import BadInput, MissingExtra


@dataclass(frozen=True)
class Entry:
    """Where a backend lives and what it needs.

    Attributes:
        name: as users write it.
        where: "module:Class".
        needs: packages that must be importable.
        extra: what to install when one of them is missing, as `pip install` takes it; none means the package itself.
    """

    name: str
    where: str
    needs: tuple[str, ...] = ("torch",)
    extra: str | None = None

    def missing(self) -> str | None:
        """Why the backend cannot be used here, with the remedy, or None. Imports nothing."""
        absent = [package for package in self.needs if find_spec(package) is None]
        if not absent:
            return None
        what = " ".join(absent) if self.extra is None else f"'{self.extra}'"
        return f"{self.name} needs {', '.join(absent)}: pip install {what}"

    def load(self) -> type[Backend]:
        """The backend's class.

        Raises:
            MissingExtra: a package that it needs is not installed.
        """
        reason = self.missing()
        if reason is not None:
            raise MissingExtra(reason)
        module, name = self.where.split(":")
        found: type[Backend] = getattr(importlib.import_module(module), name)
        return found


def _cvxpy(solver: str, kind: str, package: str) -> Entry:
    """A solver behind cvxpy."""
    return Entry(f"cvxpy:{solver}", f"solvers.backends.cvxpy_full:{kind}", ("cvxpy", package))


_ENTRIES = (
    Entry("own-row", "solvers.backends.closed_form:OwnRow"),
    Entry("own-row-any-scale", "solvers.backends.closed_form:OwnRowAnyScale"),
    Entry("centred-row", "solvers.backends.closed_form:CentredRow"),
    Entry("whitened-row", "solvers.backends.closed_form:WhitenedRow"),
    Entry("random-directions", "solvers.backends.random_directions:RandomDirections"),
    Entry("reflection", "solvers.backends.reflection:Reflection"),
    Entry("adam", "solvers.backends.ascent:Adam"),
    Entry("sgd", "solvers.backends.ascent:Sgd"),
    Entry("lbfgs", "solvers.backends.lbfgs:Lbfgs"),
    Entry("nearest-point", "solvers.backends.nearest_point:NearestPoint", ("torch", "scipy")),
    Entry("nearest-point-batched", "solvers.backends.nearest_point_batched:NearestPointBatched"),
    Entry("batched-barrier", "solvers.backends.batched_barrier:BatchedBarrier"),
    Entry("highs", "solvers.backends.highs:Highs", ("highspy",)),
    Entry("clarabel", "solvers.backends.clarabel:Clarabel", ("clarabel", "scipy")),
    Entry("linprog-highs-ds", "solvers.backends.linprog:LinprogSimplex", ("scipy",)),
    Entry("linprog-highs-ipm", "solvers.backends.linprog:LinprogInteriorPoint", ("scipy",)),
    Entry("linprog-feasibility", "solvers.backends.linprog_feasibility:LinprogFeasibility", ("scipy",)),
    Entry("pdlp", "solvers.backends.pdlp:Pdlp", ("ortools", "scipy")),
    _cvxpy("CLARABEL", "CvxpyClarabel", "clarabel"),
    _cvxpy("SCS", "CvxpyScs", "scs"),
    _cvxpy("ECOS", "CvxpyEcos", "ecos"),
    _cvxpy("CVXOPT", "CvxpyCvxopt", "cvxopt"),
    _cvxpy("MOSEK", "CvxpyMosek", "mosek"),
    _cvxpy("GUROBI", "CvxpyGurobi", "gurobipy"),
    _cvxpy("OSQP", "CvxpyOsqp", "osqp"),
    _cvxpy("HIGHS", "CvxpyHighs", "highspy"),
    _cvxpy("SCIPY", "CvxpyScipy", "scipy"),
    _cvxpy("GLPK", "CvxpyGlpk", "cvxopt"),
)


def entries() -> tuple[Entry, ...]:
    """All backends, installed or not."""
    return _ENTRIES


def backend(name: str) -> type[Backend]:
    """The backend of this name.

    Raises:
        BadInput: there is none of this name.
        MissingExtra: it is not installed.
    """
    for entry in _ENTRIES:
        if entry.name == name:
            return entry.load()
    names = [entry.name for entry in _ENTRIES]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise BadInput(f"no backend {name!r}; did you mean {', '.join(near)}?")
