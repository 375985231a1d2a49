"""One tolerance and one budget in every library's own words; the list of backends."""

from __future__ import annotations

import pytest
import torch
from known_answers import FREE, problem_of

from solvers import options, registry
from solvers.backend import Budget
from solvers.domains import Box


def test_every_backend_has_its_line_in_the_table() -> None:
    assert {entry.name for entry in registry.entries()} == set(options._TABLE)


def test_there_are_at_least_eighteen_backends_and_names_are_unique() -> None:
    names = [entry.name for entry in registry.entries()]
    assert len(names) == len(set(names)) >= 18


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_every_backend_says_what_it_is_called_and_when_to_prefer_it(entry: registry.Entry) -> None:
    reason = entry.missing()
    if reason is not None:
        assert entry.name in reason
        wanted = f"pip install '{entry.extra}'" if entry.extra else "pip install"
        assert wanted in reason
        assert entry.extra or any(reason.endswith(f"pip install {name}") for name in entry.needs)
        return
    kind = entry.load()
    assert kind.name == entry.name
    assert kind.capabilities.note
    assert "\n" not in kind.capabilities.note
    assert kind.version()


def test_a_tolerance_stops_at_what_the_library_accepts() -> None:
    assert options.values("highs", Budget(tolerance=1e-15))["primal_feasibility_tolerance"] == 1e-10
    assert options.values("highs", Budget(tolerance=1e-6))["primal_feasibility_tolerance"] == 1e-6


def test_what_the_budget_leaves_open_is_left_to_the_library() -> None:
    assert "time_limit" not in options.values("highs", Budget())
    limited = options.values("highs", Budget(seconds=3, iterations=7))
    assert (limited["time_limit"], limited["simplex_iteration_limit"]) == (3, 7)


def test_a_limit_in_whole_milliseconds_never_becomes_none() -> None:
    assert options.values("cvxpy:GLPK", Budget(seconds=1e-9))["glpk.tm_lim"] == 1
    assert options.values("cvxpy:GLPK", Budget(seconds=2))["glpk.tm_lim"] == 2000


def test_dots_become_dictionaries() -> None:
    assert options.nested({"a": 1, "b.c": 2, "b.d": 3}) == {"a": 1, "b": {"c": 2, "d": 3}}


def test_an_option_that_does_not_take_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="highs did not take the option output_flag = False"):
        options.set_and_read_back("highs", Budget(), lambda *_: None, lambda _: None)


def test_the_map_spells_out_how_values_follow() -> None:
    rows = {(row.backend, row.option): row for row in options.settings_map()}
    tolerance = rows["highs", "primal_feasibility_tolerance"]
    assert (tolerance.value, tolerance.read_back, tolerance.tightest) == ("max(tolerance, 1e-10)", True, 1e-10)
    assert rows["batched-barrier", "tolerance"].value == "0.1·tolerance"
    assert rows["reflection", "steps"].value == "iterations, else 1000"
    assert rows["linprog-highs-ds", "time_limit"].value == "seconds, if limited"
    assert not rows["linprog-highs-ds", "time_limit"].read_back
    assert rows["highs", "threads"].value == "1"


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_what_was_set_is_recorded(entry: registry.Entry) -> None:
    if entry.missing() is not None:
        pytest.skip(str(entry.missing()))
    kind = entry.load()
    problem = FREE[0].problem if kind.why_not(FREE[0].problem) is None else problem_of([[1], [2]], Box([-1], [1]))
    backend = kind()
    backend.prepare(problem)
    budget = Budget(tolerance=1e-7, iterations=50, margin_gap=0.1)  # the gap asks for more than a start that wins
    backend.solve(torch.arange(2), budget)
    for option, value in options.values(entry.name, budget).items():
        if option not in {"seconds", "time_limit"}:
            assert backend.effective_options[option] == value
