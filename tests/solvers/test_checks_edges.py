"""The edges of each check: places where changing a comparison, a sign or a term would let something false through."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_truth import bound_exceeds_dual, exact_balance
from known_answers import problem_of

from solvers.checks.exact import STORED_WEIGHT_ROUNDING, bound_by_weights, hull_membership
from solvers.checks.hull import WEIGHT_SUM_ROUNDING, hull_upper_bound, weights_fault
from solvers.domains import Ball, Box, Domain, Free

SQUARE = [[1, 1], [1, -1], [-1, 1], [-1, -1], [0.25, 0]]
ROWS = np.arange(4)


@pytest.mark.parametrize("domain", [Ball(4.0), Box([-1, -2], [3, 1]), Free()], ids=["ball", "box", "free"])
@pytest.mark.parametrize("off", [9e-10, -9e-10])
@pytest.mark.parametrize("offsets", [[0, 0, 0, 0, 1], [0, 0, 0, 0, -1], None])
def test_weights_are_divided_by_their_sum(domain: Domain, off: float, offsets: list[float] | None) -> None:
    problem = problem_of(SQUARE, domain, offsets)
    weights = np.full(4, 0.25) * (1 + off)
    assert weights_fault(problem, 4, ROWS, weights) is None
    bound = hull_upper_bound(problem, 4, ROWS, weights)
    if not problem.margin_bounded:
        assert bound == math.inf
        return
    v, delta = exact_balance(problem, 4, ROWS, weights)
    assert bound_exceeds_dual(bound, problem, v, delta)
    assert not bound_exceeds_dual(bound - 1e-13, problem, v, delta)


@pytest.mark.parametrize("off", [2e-9, -2e-9, 5e-8])
def test_weights_whose_sum_is_off_by_more_than_rounding_are_none(off: float) -> None:
    problem = problem_of(SQUARE, Ball(4.0), [0, 0, 0, 0, -1])
    weights = np.array([0.25, 0.25, 0.25, 0.25 + off])
    assert abs(off) > WEIGHT_SUM_ROUNDING
    assert "add up to" in str(weights_fault(problem, 4, ROWS, weights))
    assert hull_upper_bound(problem, 4, ROWS, weights) == math.inf
    assert not bound_by_weights(problem, 4, ROWS, weights)


def test_a_weight_of_zero_is_one() -> None:
    problem = problem_of(SQUARE, Ball(4.0), [0, 0, 0, 0, -1])
    weights = np.array([0.5, 0.0, 0.0, 0.5])
    assert weights_fault(problem, 4, ROWS, weights) is None
    assert hull_upper_bound(problem, 4, ROWS, weights) == pytest.approx(2 * 0.25 - 1)


@pytest.mark.parametrize("rows", [[0, 1, 2, 5], [0, 1, 2, -1], [5, 6, 7, 8], [-1, -2, -3, -5]])
def test_any_row_beyond_the_ends_is_named(rows: list[int]) -> None:
    problem = problem_of(SQUARE, Ball(4.0))
    assert "does not exist" in str(weights_fault(problem, 4, np.array(rows), np.full(4, 0.25)))


def test_every_fault_alone_is_named() -> None:
    problem = problem_of(SQUARE, Ball(4.0))
    none = np.zeros(0)
    assert weights_fault(problem, 4, none.astype(np.int64), none) == "no hull weights are stored"
    assert weights_fault(problem, 4, ROWS[:3], np.full(4, 0.25)) == "rows and weights differ in number"
    assert weights_fault(problem, 4, ROWS, np.array([0.5, 0.5, 0.5, -0.5])) == "the weight of row 3 is negative"
    assert weights_fault(problem, 4, np.array([0, 1, 2, 2]), np.full(4, 0.25)) == "a row is named twice"
    assert weights_fault(problem, 4, np.array([4]), np.ones(1)) == "the token is among its own blockers"
    assert weights_fault(problem, 5, ROWS, np.full(4, 0.25)) == "the token does not exist"


def test_stored_weights_may_be_rounded_but_not_changed() -> None:
    problem = problem_of([[0, 0], [4, 0], [0, 4], [1, 1]])
    exact = np.array([0.5, 0.25, 0.25])
    for off, accepted in ((0.5, True), (1.5, False), (-1.5, False)):
        moved = exact + np.array([off, -off, 0]) * STORED_WEIGHT_ROUNDING
        assert (hull_membership(problem, 3, np.arange(3), moved) is not None) is accepted
