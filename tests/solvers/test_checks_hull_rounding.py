"""Bounds from hull weights: every documented term for what is rounded, worked out again; many sets at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.checks.domains import certified
from solvers.checks.hull import are_hull_weights, hull_bounds_and_sums, hull_upper_bounds, weights_fault
from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, gamma, underflow


def expected_bound(
    problem: ArgmaxProblem, rows: list[int], weights: list[float], value: float, delta: float
) -> float:
    """The bound of token 0 whose v is exactly (value over the domain without errors, delta), term by term."""
    k, total = len(rows), sum(weights)

    def mean(of: torch.Tensor) -> float:
        return sum(w * (float(of[j]) + float(of[0])) for j, w in zip(rows, weights, strict=True)) / total

    growth = gamma(2 * k + 8)
    lost = underflow(problem.d * k, torch.float64)
    v_error = SECOND_ORDER * (mean(problem.row_error) + growth * mean(problem.row_norm) + lost)
    delta_error = mean(problem.offset_error) + growth * mean(problem.offset.abs())
    delta_error = SECOND_ORDER * (delta_error + (0.0 if problem.zero_offset else lost / problem.d))
    v = torch.zeros((1, problem.d), dtype=torch.float64)
    v[0, 0] = value
    reach = float(
        certified(problem.domain).supports(v, np.array([v_error]), rigorous=True, directions=problem.zero_offset)[0]
    )
    last = gamma(4) * (abs(reach) + abs(delta) + delta_error) + underflow(problem.d, torch.float64)
    return reach + delta + 2 * delta_error + last


def head(size: float, offset: float, own: float, domain: Domain, *, scaled: bool, lead: float = 0.0) -> ArgmaxProblem:
    """Token 0 at `lead`, two rows at ±size with offsets ±offset: half of each is 0 exactly."""
    rows = torch.tensor([[lead, 0.0, 0.0], [size, 0.0, 0.0], [-size, 0.0, 0.0]], dtype=torch.float64)
    bias = torch.tensor([own, offset, -offset], dtype=torch.float64) if offset or own else None
    scale = torch.full((3,), 1.0, dtype=torch.float64) if scaled else None
    return ArgmaxProblem(rows, domain, bias=bias, scale=scale)


@pytest.mark.parametrize("size", [1.0, 2.0**-1040])
@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("scaled", [False, True])
def test_where_everything_cancels_the_bound_is_the_room_for_rounding(
    size: float, offset: float, scaled: bool
) -> None:
    # v and δ are 0 exactly, so the bound consists of the terms for rounding alone, and each of them shows.
    problem = head(size, offset * size, 0.0, Ball(3.0), scaled=scaled)
    found = hull_upper_bounds(problem, torch.tensor([0]), np.array([0, 2]), np.array([1, 2]), np.array([0.5, 0.5]))
    assert found[0] == pytest.approx(expected_bound(problem, [1, 2], [0.5, 0.5], 0.0, 0.0), rel=1e-9, abs=0.0)
    assert found[0] > 0


@pytest.mark.parametrize("own", [-1.0, 1.0])
@pytest.mark.parametrize("lead", [0.0, -1.0])
def test_the_last_additions_count_with_their_sizes(own: float, lead: float) -> None:
    # δ = ±1, and over the box [1, 2]³ a v of (−1, 0, 0) reaches −1: of either sign, the size is what rounds.
    domain = Box(np.ones(3), np.full(3, 2.0))
    problem = head(2.0**-40, 2.0**-40, own, domain, scaled=False, lead=lead)
    found = hull_upper_bounds(problem, torch.tensor([0]), np.array([0, 2]), np.array([1, 2]), np.array([0.5, 0.5]))
    wanted = expected_bound(problem, [1, 2], [0.5, 0.5], lead, own)
    # Two units of what γ(4) is made of would be seen.
    assert abs(found[0] - wanted) <= 1.5 * 2.0**-53 * max(1.0, abs(wanted))
    exact = lead + own
    assert found[0] - exact >= gamma(4) * (abs(lead) + 1) - 2.0**-52


def test_sums_are_those_of_the_weights_as_they_stand() -> None:
    problem = head(1.0, 0.0, 0.0, Free(), scaled=False)
    tokens, rows = torch.tensor([0, 1, 2]), np.array([1, 2, 0, 0, 0])
    start = np.array([0, 2, 3, 5])  # the last set names a row twice
    bounds, sums = hull_bounds_and_sums(problem, tokens, start, rows, np.array([0.5, 0.5, 1.0, 0.5, 0.5]))
    assert sums[:2].tolist() == [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert torch.isnan(sums[2]).all()
    assert bounds[2] == np.inf
    none, no_sums = hull_bounds_and_sums(problem, tokens[:0], np.array([0]), rows[:0], np.zeros(0))
    assert len(none) == len(no_sums) == 0


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_many_sets_are_judged_like_each_alone(data: st.DataObject) -> None:
    problem = ArgmaxProblem(torch.eye(5), Ball(1.0))
    weight = st.sampled_from([0.5, 0.25, 1.0, 0.0, -0.5, float("nan"), float("inf"), 0.5 + 2e-6, 0.5 + 5e-7])
    entry = st.tuples(st.integers(-1, 5), weight)
    sets = data.draw(st.lists(st.lists(entry, max_size=4), min_size=1, max_size=5))
    tokens = data.draw(st.lists(st.integers(-1, 5), min_size=len(sets), max_size=len(sets)))
    start = np.concatenate([[0], np.cumsum([len(one) for one in sets])])
    rows = np.array([row for one in sets for row, _ in one], dtype=np.int64)
    weights = np.array([value for one in sets for _, value in one], dtype=np.float64)
    found = are_hull_weights(problem, torch.tensor(tokens), start, rows, weights)
    for token, ends, good in zip(tokens, pairwise(start.tolist()), found, strict=True):
        part = slice(*ends)
        assert good == (weights_fault(problem, token, rows[part], weights[part]) is None)


def test_neighbours_may_name_the_same_rows() -> None:
    problem = ArgmaxProblem(torch.eye(5), Ball(1.0))
    rows, weights = np.array([2, 3, 3, 4, 3]), np.array([0.5, 0.5, 0.5, 0.5, 1.0])
    found = are_hull_weights(problem, torch.tensor([0, 1, 4, 0]), np.array([0, 2, 4, 5, 5]), rows, weights)
    assert found.tolist() == [True, True, True, False]  # the last has no weights at all
