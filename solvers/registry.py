"""All backends by name, each imported only when it is asked for.

Other packages add theirs by an entry point of the group `token_reachability.backends`, whose name is the backend's:

    [project.entry-points."token_reachability.backends"]
    my-solver = "my_package.my_module:MySolver"
"""

from __future__ import annotations

import difflib
import importlib
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
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


GROUP = "token_reachability.backends"
"""The group of entry points by which other packages bring backends."""


@dataclass(frozen=True)
class PluginEntry(Entry):
    """A backend that another package brings. It may be broken, and says so before it is used.

    Attributes:
        package: the distribution, as `pip` names it.
        clash: the name is taken by another backend.
    """

    package: str = ""
    clash: bool = False

    def missing(self) -> str | None:
        """Why the backend cannot be used, or None. Imports it."""
        if self.clash:
            return f"{self.name}: the package {self.package} brings a backend of a name that is taken"
        return _trouble(self.where, self.name, self.package)


@cache
def _trouble(where: str, name: str, package: str) -> str | None:
    module, _, kind = where.partition(":")
    try:
        found = getattr(importlib.import_module(module), kind)
    # Whatever another package raises when it is imported, it is that package that is broken.
    except Exception as error:
        said = (str(error).strip().splitlines() or ["no reason given"])[0]
        return (
            f"{name} of the package {package} cannot be loaded ({type(error).__name__}: {said}): update or remove it"
        )
    if not (isinstance(found, type) and issubclass(found, Backend) and getattr(found, "name", None) == name):
        return f"{name} of the package {package} is no backend of this name: {where} must be a Backend so named"
    return None


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
    Entry("active-set", "solvers.backends.active_set:ActiveSet", ("torch", "numba")),
    Entry("batched-barrier", "solvers.backends.batched_barrier:BatchedBarrier"),
    Entry("analytic-centre", "solvers.backends.analytic_centre:AnalyticCentre"),
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
    """All backends, installed or not: those of this package, then those that others bring, by name."""
    return _entries(tuple(sys.path))


@cache
def _entries(path: tuple[str, ...]) -> tuple[Entry, ...]:  # noqa: ARG001
    """`entries` for what Python finds on this path: looking through all that is installed takes a while."""
    taken = {entry.name for entry in _ENTRIES}
    found: list[Entry] = list(_ENTRIES)
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        found.append(_plugin(point, clash=point.name in taken))
        taken.add(point.name)
    return tuple(found)


def _plugin(point: EntryPoint, *, clash: bool) -> PluginEntry:
    package = "that brings it" if point.dist is None else point.dist.name
    return PluginEntry(point.name, point.value, (), package, package, clash)


def backend(name: str) -> type[Backend]:
    """The backend of this name.

    Raises:
        BadInput: there is none of this name.
        MissingExtra: it is not installed.
    """
    known = entries()
    for entry in known:
        if entry.name == name:
            return entry.load()
    names = [entry.name for entry in known]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    raise BadInput(f"no backend {name!r}; did you mean {', '.join(near)}?")
