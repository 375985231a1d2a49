"""The upper bound from hull weights against the exact dual value, and every fault that weights can have."""

from __future__ import annotations

import math
from fractions import Fraction

import known_answers
import numpy as np
import pytest
import torch
from exact_truth import bound_exceeds_dual, exact_balance, exact_margin_at, problems
from hypothesis import given, settings
from hypothesis import strategies as st
from known_answers import problem_of

from solvers.checks.domains import enclosing_ball
from solvers.checks.exact import bound_by_weights, hull_membership
from solvers.checks.hull import hull_upper_bound, weights_fault
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem


def random_weights(problem: ArgmaxProblem, t: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A convex combination of some of the other rows."""
    others = np.delete(np.arange(problem.v), t)
    rows = rng.permutation(others)[: rng.integers(1, len(others) + 1)]
    weights = rng.dirichlet(np.full(len(rows), 0.3)) + (rng.random(len(rows)) < 0.5) * 1e-9
    return rows, weights / math.fsum(weights)


@given(problem=problems(), seed=st.integers(0, 2**16))
@settings(max_examples=150, deadline=None)
def test_the_bound_is_above_the_dual_value(problem: ArgmaxProblem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for t in range(problem.v):
        rows, weights = random_weights(problem, t, rng)
        bound = hull_upper_bound(problem, t, rows, weights)
        if not problem.margin_bounded:
            assert bound == math.inf
            continue
        v, delta = exact_balance(problem, t, rows, weights)
        assert bound_exceeds_dual(bound, problem, v, delta)
        plain = hull_upper_bound(problem, t, rows, weights, rigorous=False)
        assert plain <= bound
        stretch = 1.0 if problem.scale is None else float(problem.scale.abs().max())
        size = float(problem.weight.double().norm()) * stretch * sum(enclosing_ball(problem)[0].abs().tolist(), 2e3)
        offsets = float((problem.offset.abs() + 2**50 * problem.offset_error).max())
        assert bound - plain <= 1e-12 * (size + offsets) + 1e-150, "a bound that is never tight is of no use"


@given(problem=problems(domains=("ball", "box")), seed=st.integers(0, 2**16))
@settings(max_examples=50, deadline=None)
def test_no_sampled_point_exceeds_the_bound(problem: ArgmaxProblem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for t in range(problem.v):
        bound = hull_upper_bound(problem, t, *random_weights(problem, t, rng))
        for _ in range(5):
            if isinstance(problem.domain, Box):
                z = rng.uniform(problem.domain.lo, problem.domain.hi)
            else:
                z = rng.standard_normal(problem.d)
                z *= problem.domain.radius * (1 - 1e-12) / np.linalg.norm(z)
            assert exact_margin_at(problem, t, torch.from_numpy(z)) <= Fraction(bound)


@given(problem=problems(), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_an_exact_proof_never_disagrees_with_the_dual_value(problem: ArgmaxProblem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for t in range(problem.v):
        rows, weights = random_weights(problem, t, rng)
        v, delta = exact_balance(problem, t, rows, weights)
        if isinstance(problem.domain, Free):
            truth = delta <= 0 and not any(v)
        else:
            truth = bound_exceeds_dual(0.0, problem, v, delta)
        assert bound_by_weights(problem, t, rows, weights) == truth


def test_many_blockers_keep_the_bound_rigorous() -> None:
    # The weights' own total is rounded too, which shows when there are more weights than dimensions.
    rng = np.random.default_rng(3)
    problem = ArgmaxProblem(torch.from_numpy(rng.standard_normal((3000, 1)) + 1e6), Ball(1.0))
    weights = rng.random(2999)
    weights /= math.fsum(weights)
    rows = np.arange(1, 3000)
    v, delta = exact_balance(problem, 0, rows, weights)
    assert bound_exceeds_dual(hull_upper_bound(problem, 0, rows, weights), problem, v, delta)


def test_underflow_of_a_norm_is_no_proof() -> None:
    # ‖v‖ underflows to 0 in float64, yet R·‖v‖ is far above the offset that row 0 lacks.
    rows = torch.tensor([[1e-170, 0.0], [0.0, 0.0]], dtype=torch.float64)
    problem = ArgmaxProblem(rows, Ball(1e300), bias=torch.tensor([-1e-25, 0.0], dtype=torch.float64))
    bound = hull_upper_bound(problem, 0, np.array([1]), np.ones(1))
    assert bound >= 1e-170 * 1e150 - 1e-25


CASES = [case for case in known_answers.ALL if case.problem.margin_bounded]


@pytest.mark.parametrize("case", CASES, ids=known_answers.case_id)
def test_any_weights_bound_the_known_margins(case: known_answers.KnownAnswer) -> None:
    rng = np.random.default_rng(0)
    for t, margin in enumerate(case.margins):
        for _ in range(5):
            bound = hull_upper_bound(case.problem, t, *random_weights(case.problem, t, rng))
            assert margin is None or bound >= margin - 1e-15 * abs(margin)


def test_bounds_worked_out_by_hand() -> None:
    # v = (1,0) − ½(0,1) − ½(0,−1) = (1,0); δ = 1 − ½·0 − ½·4 = −1.
    rows, offsets = [[1, 0], [0, 1], [0, -1]], [1, 0, 4]
    blockers, weights = np.array([1, 2]), np.array([0.5, 0.5])

    def bound(domain: known_answers.Domain) -> float:
        return hull_upper_bound(problem_of(rows, domain, offsets), 0, blockers, weights)

    assert bound(Ball(9.0)) == pytest.approx(3 * 1 - 1)
    assert bound(Box([-1, -1], [5, 7])) == pytest.approx(5 - 1)
    assert bound(Box([-3, -1], [-2, 7])) == pytest.approx(-2 - 1)
    assert bound(Free()) == math.inf
    assert hull_upper_bound(problem_of(rows), 0, blockers, weights) == pytest.approx(1)


INSIDE_A_SQUARE = problem_of([[1, 1], [1, -1], [-1, 1], [-1, -1], [0, 0]], Ball(1.0), [0, 0, 0, 0, -1])
GOOD_ROWS, GOOD_WEIGHTS = np.array([0, 1, 2, 3]), np.full(4, 0.25)


def corrupted() -> list[object]:
    """(rows, weights, what the fault says) for each kind of wrong entry."""
    nan = float("nan")
    return [
        pytest.param([], [], "no hull weights", id="none"),
        pytest.param([0, 1, 2], GOOD_WEIGHTS, "differ in number", id="one-row-missing"),
        pytest.param(GOOD_ROWS, [0.25, 0.25, 0.25, nan], "not a finite", id="nan"),
        pytest.param(GOOD_ROWS, [nan] * 4, "not a finite", id="all-nan"),
        pytest.param(GOOD_ROWS, [0.25, 0.25, 0.25, math.inf], "not a finite", id="inf"),
        pytest.param(GOOD_ROWS, [0.5, 0.5, 0.25, -0.25], "row 3 is negative", id="negative"),
        pytest.param(GOOD_ROWS, [0.25, 0.25, 0.25, 0.25 + 2e-6], "add up to 1.000002", id="sum-above-1"),
        pytest.param(GOOD_ROWS, [0.25, 0.25, 0.25, 0.25 - 2e-6], "add up to 0.999998", id="sum-below-1"),
        pytest.param(GOOD_ROWS, [0.0] * 4, "add up to 0", id="all-zero"),
        pytest.param([0, 1, 2, 4], GOOD_WEIGHTS, "among its own blockers", id="own-row"),
        pytest.param([0, 1, 2, 2], GOOD_WEIGHTS, "named twice", id="repeated"),
        pytest.param([0, 1, 2, 5], GOOD_WEIGHTS, "does not exist", id="beyond-the-end"),
        pytest.param([0, 1, 2, -2], GOOD_WEIGHTS, "does not exist", id="below-0"),
    ]


def test_good_weights_pass() -> None:
    assert weights_fault(INSIDE_A_SQUARE, 4, GOOD_ROWS, GOOD_WEIGHTS) is None
    assert hull_upper_bound(INSIDE_A_SQUARE, 4, GOOD_ROWS, GOOD_WEIGHTS) == pytest.approx(-1)
    assert bound_by_weights(INSIDE_A_SQUARE, 4, GOOD_ROWS, GOOD_WEIGHTS)
    assert hull_membership(INSIDE_A_SQUARE, 4, GOOD_ROWS[[0, 3]], np.array([0.5, 0.5])) is not None


@pytest.mark.parametrize(("rows", "weights", "fault"), corrupted())
def test_a_fault_is_named_and_proves_nothing(rows: object, weights: object, fault: str) -> None:
    index, lam = np.asarray(rows, dtype=np.int64), np.asarray(weights, dtype=np.float64)
    assert fault in str(weights_fault(INSIDE_A_SQUARE, 4, index, lam))
    assert hull_upper_bound(INSIDE_A_SQUARE, 4, index, lam) == math.inf
    assert not bound_by_weights(INSIDE_A_SQUARE, 4, index, lam)
    assert hull_membership(INSIDE_A_SQUARE, 4, index, lam) is None


@pytest.mark.parametrize("token", [-1, 5])
def test_a_token_that_does_not_exist_is_a_fault(token: int) -> None:
    # −1 would read the last row, for which these very weights are a proof.
    assert "does not exist" in str(weights_fault(INSIDE_A_SQUARE, token, GOOD_ROWS, GOOD_WEIGHTS))
    assert hull_upper_bound(INSIDE_A_SQUARE, token, GOOD_ROWS, GOOD_WEIGHTS) == math.inf


def test_weights_of_another_token_prove_nothing() -> None:
    for token in range(4):
        rows = np.delete(np.arange(5), token)
        assert hull_upper_bound(INSIDE_A_SQUARE, token, rows, GOOD_WEIGHTS) > 0
        assert not bound_by_weights(INSIDE_A_SQUARE, token, rows, GOOD_WEIGHTS)
        assert hull_membership(INSIDE_A_SQUARE, token, rows[:3]) is None


def test_rounding_of_the_factors_widens_the_bound() -> None:
    rows = torch.tensor([[1.0, 0], [0, 1]])
    exact = ArgmaxProblem(rows, Ball(4.0))
    rounded = ArgmaxProblem(rows, Ball(4.0), weight_error=torch.tensor([0.25, 0.125], dtype=torch.float64))
    one, lam = np.array([1]), np.ones(1)
    assert hull_upper_bound(rounded, 0, one, lam) - hull_upper_bound(exact, 0, one, lam) >= 2 * 0.375
