"""One tolerance and one budget, in the option names of every library: the only place where they are translated.

The backends take their options from here, so the map that a report prints cannot differ from what was set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from solvers.backend import Budget


@dataclass(frozen=True)
class Setting:
    """One option of one backend.

    Attributes:
        option: the library's own name; a dot leads into a nested dictionary of options.
        source: the part of the budget that it follows, or "fixed".
        fixed: its value where it is fixed.
        tightest: the smallest tolerance that the library accepts (or can use in float64).
        default: iterations where the budget names none; None leaves the library's own limit.
        factor: what the budget's number is multiplied with (another unit, or a share).
        whole: whether the library wants an integer.
        read_back: whether the value is read back after setting. The methods written here take it as it is.
    """

    option: str
    source: Literal["tolerance", "seconds", "iterations", "fixed"]
    fixed: object = None
    tightest: float = 0.0
    default: int | None = None
    factor: float = 1
    whole: bool = False
    read_back: bool = False

    def value(self, budget: Budget) -> object:
        """The value for a budget; None leaves the option alone."""
        if self.source == "fixed":
            return self.fixed
        if self.source == "tolerance":
            return max(self.factor * budget.tolerance, self.tightest)
        if self.source == "iterations":
            return self.default if budget.iterations is None else max(1, round(self.factor * budget.iterations))
        if math.isinf(budget.seconds):
            return None
        # A limit that rounds to nothing would mean "no limit" to some libraries.
        return max(1, round(self.factor * budget.seconds)) if self.whole else self.factor * budget.seconds

    @property
    def expression(self) -> str:
        """The same as a formula for the report."""
        if self.source == "fixed":
            return repr(self.fixed)
        text = self.source if self.factor == 1 else f"{self.factor:g}·{self.source}"
        if self.source == "tolerance":
            return f"max({text}, {self.tightest:g})" if self.tightest else text
        if self.source == "iterations":
            return f"{text}, else {self.default if self.default is not None else 'its own limit'}"
        return f"{text}, if limited"


def _tolerances(*names: str, tightest: float = 0.0, read_back: bool = False) -> tuple[Setting, ...]:
    return tuple(Setting(name, "tolerance", tightest=tightest, read_back=read_back) for name in names)


def _steps(name: str, default: int) -> Setting:
    return Setting(name, "iterations", default=default, read_back=True)


_CLOCK = Setting("seconds", "seconds", read_back=True)
"""The budget's own clock, looked at between steps."""

_HIGHS_FEASIBILITY = ("primal_feasibility_tolerance", "dual_feasibility_tolerance")
_HIGHS_TIGHTEST = 1e-10
"""HiGHS accepts no feasibility tolerance below this."""

_TABLE: dict[str, tuple[Setting, ...]] = {
    "own-row": (),
    "own-row-any-scale": (),
    "centred-row": (),
    "whitened-row": (),
    "random-directions": (_steps("samples", 100_000), _CLOCK),
    "reflection": (_steps("steps", 1000), _CLOCK),
    "adam": (_steps("steps_per_restart", 200), _CLOCK),
    "sgd": (_steps("steps_per_restart", 200), _CLOCK),
    "lbfgs": (_steps("steps_per_restart", 60), _CLOCK),
    "nearest-point": (
        _steps("cycles", 20_000),
        *_tolerances("tolerance", tightest=1e-12, read_back=True),
        _CLOCK,
    ),
    "nearest-point-batched": (
        _steps("steps_per_round", 1500),
        # A first-order method closes a gap of 1e-6 in reasonable time, and hardly a smaller one.
        *_tolerances("tolerance", tightest=1e-6, read_back=True),
        _CLOCK,
    ),
    "active-set": (
        _steps("rounds", 100),
        *_tolerances("tolerance", tightest=1e-9, read_back=True),
        _CLOCK,
    ),
    "batched-barrier": (
        _steps("newton_steps", 60),
        Setting("tolerance", "tolerance", factor=0.1, read_back=True),
        _CLOCK,
    ),
    "analytic-centre": (
        _steps("newton_steps", 60),
        Setting("cg_steps", "fixed", 60, read_back=True),
        _CLOCK,
    ),
    "highs": (
        Setting("output_flag", "fixed", False, read_back=True),
        Setting("threads", "fixed", 1, read_back=True),
        Setting("solver", "fixed", "simplex", read_back=True),
        *_tolerances(*_HIGHS_FEASIBILITY, tightest=_HIGHS_TIGHTEST, read_back=True),
        Setting("time_limit", "seconds", read_back=True),
        Setting("simplex_iteration_limit", "iterations", read_back=True),
    ),
    "clarabel": (
        Setting("verbose", "fixed", False, read_back=True),
        Setting("max_threads", "fixed", 1, read_back=True),
        *_tolerances("tol_gap_abs", "tol_gap_rel", "tol_feas", tightest=1e-12, read_back=True),
        Setting("time_limit", "seconds", read_back=True),
        Setting("max_iter", "iterations", read_back=True),
    ),
    "linprog-highs-ds": (
        *_tolerances(*_HIGHS_FEASIBILITY, tightest=_HIGHS_TIGHTEST),
        Setting("time_limit", "seconds"),
        Setting("maxiter", "iterations"),
    ),
    "linprog-highs-ipm": (
        *_tolerances(*_HIGHS_FEASIBILITY, tightest=_HIGHS_TIGHTEST),
        *_tolerances("ipm_optimality_tolerance", tightest=1e-12),
        Setting("time_limit", "seconds"),
        Setting("maxiter", "iterations"),
    ),
    # Its users left the tolerances alone, so a budget's tolerance does not reach it.
    "linprog-feasibility": (Setting("time_limit", "seconds"), Setting("maxiter", "iterations")),
    "pdlp": (
        Setting("num_threads", "fixed", 1, read_back=True),
        *(
            Setting(f"termination_criteria.simple_optimality_criteria.{name}", "tolerance", read_back=True)
            for name in ("eps_optimal_absolute", "eps_optimal_relative")
        ),
        Setting("termination_criteria.time_sec_limit", "seconds", read_back=True),
        Setting("termination_criteria.iteration_limit", "iterations", default=100_000, read_back=True),
    ),
    "cvxpy:CLARABEL": (
        *_tolerances("tol_gap_abs", "tol_gap_rel", "tol_feas", tightest=1e-12),
        Setting("time_limit", "seconds"),
        Setting("max_iter", "iterations"),
    ),
    "cvxpy:SCS": (
        *_tolerances("eps_abs", "eps_rel"),
        Setting("time_limit_secs", "seconds"),
        Setting("max_iters", "iterations", default=20_000),
    ),
    "cvxpy:ECOS": (
        *_tolerances("abstol", "reltol", "feastol", tightest=1e-12),
        Setting("max_iters", "iterations"),
    ),
    "cvxpy:OSQP": (
        *_tolerances("eps_abs", "eps_rel"),
        Setting("time_limit", "seconds"),
        Setting("max_iter", "iterations", default=20_000),
    ),
    "cvxpy:HIGHS": (
        *_tolerances(*_HIGHS_FEASIBILITY, tightest=_HIGHS_TIGHTEST),
        Setting("threads", "fixed", 1),
        Setting("time_limit", "seconds"),
        Setting("simplex_iteration_limit", "iterations"),
    ),
    "cvxpy:SCIPY": (
        Setting("scipy_options.method", "fixed", "highs-ds"),
        *_tolerances(*(f"scipy_options.{name}" for name in _HIGHS_FEASIBILITY), tightest=_HIGHS_TIGHTEST),
        Setting("scipy_options.time_limit", "seconds"),
        Setting("scipy_options.maxiter", "iterations"),
    ),
    "cvxpy:CVXOPT": (
        *_tolerances("abstol", "reltol", "feastol", tightest=1e-12),
        Setting("max_iters", "iterations"),
    ),
    # GLPK's simplex has tolerances of its own, which this interface does not hand on.
    "cvxpy:GLPK": (
        Setting("glpk.tm_lim", "seconds", factor=1000, whole=True),
        Setting("glpk.it_lim", "iterations"),
    ),
    "cvxpy:GUROBI": (
        *_tolerances("FeasibilityTol", "OptimalityTol", tightest=1e-9),
        *_tolerances("BarConvTol", "BarQCPConvTol", tightest=1e-12),
        Setting("Threads", "fixed", 1),
        Setting("TimeLimit", "seconds"),
        Setting("IterationLimit", "iterations"),
        Setting("BarIterLimit", "iterations"),
    ),
    "cvxpy:MOSEK": (
        *_tolerances(
            *(
                f"mosek_params.MSK_DPAR_{name}"
                for name in ("INTPNT_CO_TOL_PFEAS", "INTPNT_CO_TOL_DFEAS", "INTPNT_CO_TOL_REL_GAP")
            ),
            tightest=1e-14,
        ),
        Setting("mosek_params.MSK_IPAR_NUM_THREADS", "fixed", 1),
        Setting("mosek_params.MSK_DPAR_OPTIMIZER_MAX_TIME", "seconds"),
        Setting("mosek_params.MSK_IPAR_INTPNT_MAX_ITERATIONS", "iterations"),
    ),
}


def settings(backend: str) -> tuple[Setting, ...]:
    """The settings of a backend, none for one that is not listed (it belongs to somebody else)."""
    return _TABLE.get(backend, ())


def values(backend: str, budget: Budget) -> dict[str, object]:
    """Option names and values of a backend for a budget; what the budget leaves open is left out."""
    found = {setting.option: setting.value(budget) for setting in settings(backend)}
    return {option: value for option, value in found.items() if value is not None}


def number(backend: str, option: str, budget: Budget) -> float:
    """One numeric option of a method written here.

    Raises:
        KeyError: the backend has no such option, or the budget leaves it open.
    """
    value = values(backend, budget)[option]
    if not isinstance(value, int | float):
        raise KeyError(f"{option} of {backend} is no number")
    return value


def nested(flat: dict[str, object]) -> dict[str, object]:
    """Options with dots in their names as dictionaries within dictionaries."""
    out: dict[str, object] = {}
    for name, value in flat.items():
        group, _, rest = name.partition(".")
        if rest:
            inner = out.setdefault(group, {})
            assert isinstance(inner, dict)
            inner[rest] = value
        else:
            out[name] = value
    return out


def set_and_read_back(
    backend: str, budget: Budget, setter: Callable[[str, object], object], getter: Callable[[str], object]
) -> dict[str, object]:
    """Set all options of a backend and read each back, because setters can fail silently.

    Raises:
        RuntimeError: an option did not take its value.
    """
    chosen = values(backend, budget)
    for name, value in chosen.items():
        setter(name, value)
        if getter(name) != value:
            raise RuntimeError(f"{backend} did not take the option {name} = {value}")
    return chosen


@dataclass(frozen=True)
class SettingsRow:
    """One row of the settings map, as a report prints it.

    Attributes:
        backend: its name.
        option: the library's own name.
        value: how it follows from the budget.
        read_back: whether it is read back after setting.
        tightest: the smallest tolerance accepted, None where the option is none or has no such limit.
    """

    backend: str
    option: str
    value: str
    read_back: bool
    tightest: float | None


def settings_map() -> list[SettingsRow]:
    """Every option of every backend, in the order of the table."""
    return [
        SettingsRow(backend, setting.option, setting.expression, setting.read_back, setting.tightest or None)
        for backend, listed in _TABLE.items()
        for setting in listed
    ]
