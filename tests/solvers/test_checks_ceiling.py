"""Ceilings: both bounds against interval arithmetic of many digits, against closed forms, and where nothing holds."""

from __future__ import annotations

import math
from fractions import Fraction

import cvxpy
import flint
import numpy as np
import pytest
import torch
from exact_truth import exact_logits, exact_row, problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from solvers.ceilings import find_ceilings
from solvers.checks.ceiling import ELEMENTARY, ceiling_domain, ceiling_from_margin, check_ceilings
from solvers.domains import Ball, BallBox, Box, Domain, Ellipsoid, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

MANY_BITS = 400


def exact(value: float | Fraction) -> flint.arb:
    """A rational number as a ball of many digits."""
    return flint.arb(flint.fmpq(*Fraction(value).as_integer_ratio()))


def log_probabilities(problem: ArgmaxProblem, point: Tensor, scale: float = 1.0) -> list[flint.arb]:
    """ln softmax of the exact logits at a point, enclosed in intervals."""
    logits = [exact(Fraction(scale) * logit) for logit in exact_logits(problem, point)]
    largest = max(logits, key=float)
    total = sum(((logit - largest).exp() for logit in logits), flint.arb(0))
    return [logit - largest - total.log() for logit in logits]


def points_in(problem: ArgmaxProblem, n: int, seed: int) -> Tensor:
    """Points of the domain, from near its middle to near its edge."""
    unit = torch.randn((n, problem.d), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    far = problem.domain.stretch(unit)
    middle = problem.domain.pulled_in(torch.zeros_like(far))
    share = torch.linspace(0, 1, n, dtype=torch.float64)[:, None]
    return problem.domain.pulled_in(middle + share * (far - middle))


@pytest.fixture(autouse=True)
def _precision() -> None:
    flint.ctx.prec = MANY_BITS


@given(problem=problems(), scale=st.sampled_from([1.0, 0.3, 7.0]), seed=st.integers(0, 2**16))
@settings(max_examples=120, deadline=None)
def test_both_bounds_hold_whatever_is_rounded(problem: ArgmaxProblem, scale: float, seed: int) -> None:
    flint.ctx.prec = MANY_BITS
    assume(problem.margin_bounded)
    points = points_in(problem, 4, seed)
    inside = ceiling_domain(problem).inside(points)
    truth = [log_probabilities(problem, point, scale) for point in points]
    for t in range(problem.v):
        check = check_ceilings(problem, torch.full((4,), t), points, scale=scale)
        assert bool((check.upper <= 0).all()) and bool((check.lower[~inside] == -math.inf).all())
        for i in range(4):
            assert float(check.lower[i]) == -math.inf or exact(float(check.lower[i])) <= truth[i][t]
            # The bound of every point holds at every other.
            for j in range(4):
                assert not truth[j][t] > exact(float(check.upper[i]))
            plain = float(truth[i][t])
            size = scale * float(problem.row_norm.max() * points.norm(dim=1).max() + problem.offset.abs().max())
            exactly = float(problem.row_error.max()) * 2**52 <= 8 * float(problem.row_norm.max())
            if inside[i] and 1e-3 < size < 1e6 and exactly and float(problem.offset_error.max()) * 2**50 < size:
                assert plain - float(check.lower[i]) <= 1e-12 * (1 + size), "a bound that is never tight is of no use"


def test_two_rows_in_a_ball_have_a_closed_form() -> None:
    rng = np.random.default_rng(3)
    rows, bias = torch.from_numpy(rng.standard_normal((2, 5))), torch.tensor([0.25, -0.5])
    problem = ArgmaxProblem(rows, Ball(3.0), bias=bias)
    best = 3.0**0.5 * float((rows[0] - rows[1]).norm()) + 0.75
    found = find_ceilings(problem, torch.tensor([0]), 1e-4)
    check = check_ceilings(problem, torch.tensor([0]), problem.domain.pulled_in(found.points))
    assert float(check.lower[0]) <= -math.log1p(math.exp(-best)) <= float(check.upper[0])
    assert float(check.upper[0] - check.lower[0]) < 1e-4


def domains(d: int) -> list[Domain]:
    lo = -np.linspace(0.5, 2.0, d)
    factor = np.eye(d) + 0.2 * np.tri(d, k=-1)
    box = Box(lo, -lo * 0.7)
    return [Ball(float(d)), box, BallBox(Ball(2.0), box), Ellipsoid(np.full(d, 0.3), factor, 1.5), Free()]


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_the_search_closes_the_gap_on_every_domain(which: int, scale: float) -> None:
    rng = np.random.default_rng(which)
    domain = domains(6)[which]
    rows = torch.from_numpy(rng.standard_normal((60, 6)) * rng.uniform(0.3, 2.0, (60, 1))).float()
    bias = None if domain == Free() else torch.from_numpy(rng.standard_normal(60))
    problem = ArgmaxProblem(rows, domain, bias=bias)
    tokens = torch.arange(60)
    found = find_ceilings(problem, tokens, 0.01, scale=scale, limit=8 * 60 * 16)
    points = domain.pulled_in(found.points) * (1 - 2.0**-20 if domain == Free() else 1)
    check = check_ceilings(problem, tokens, points, scale=scale)
    assert float((check.upper - check.lower).max()) <= 0.01
    assert bool((check.lower > -math.inf).all())
    # No other point comes above.
    ball = problem if domain != Free() else problem.over(Ball(1.0))
    for point in points_in(ball, 50, which):
        logits = scale * (problem.rows(slice(None)) @ point + problem.offset)
        assert bool((torch.log_softmax(logits, dim=0) <= check.upper + 1e-12).all())


@given(problem=problems(domains=("ball",)), scale=st.sampled_from([1.0, 0.01, 3.0]))
@settings(max_examples=150, deadline=None)
def test_at_the_optimum_nothing_is_left_but_the_room_for_rounding(problem: ArgmaxProblem, scale: float) -> None:
    flint.ctx.prec = MANY_BITS
    problem = problem.restrict(torch.tensor([0, problem.v - 1]))
    assert isinstance(problem.domain, Ball)
    (mine, offset), (other, rival) = (exact_row(problem, t) for t in range(2))
    square = sum(((a - b) ** 2 for a, b in zip(mine, other, strict=True)), Fraction(0))
    far = exact(square * Fraction(problem.domain.squared_radius)).sqrt() + exact(offset - rival)
    truth = -(1 + (-exact(scale) * far).exp()).log()
    point = problem.domain.farthest(problem.rows(torch.tensor([0])) - problem.rows(torch.tensor([1])))
    assume(bool(torch.isfinite(point).all()))
    check = check_ceilings(problem, torch.tensor([0]), point, scale=scale)
    assert not truth > exact(float(check.upper[0]))
    assert float(check.lower[0]) == -math.inf or not truth < exact(float(check.lower[0]))
    if 1e-3 < scale * float(far) < 30 and float(check.error[0]) < 1e-6:
        assert float(exact(float(check.upper[0])) - truth) <= 1e-9 + 4 * float(check.error[0])


@pytest.mark.parametrize("shifted", [False, True])
def test_rows_that_are_known_up_to_rounding_only_widen_both_bounds(shifted: bool) -> None:
    rows, off = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64), 0.05
    shift = torch.tensor([5.0, 0.0], dtype=torch.float64) if shifted else None
    problem = ArgmaxProblem(rows, Ball(1.0), shift=shift, weight_error=torch.full((2,), off, dtype=torch.float64))
    point = torch.tensor([[1 - 2.0**-40, 0.0]], dtype=torch.float64)
    check = check_ceilings(problem, torch.tensor([0]), point, scale=0.01)
    # The rows that are meant may lie that much farther apart, or nearer together; offsets move with them.
    for apart in (2 + 2 * off, 2 - 2 * off):
        best = 0.01 * apart * (6.0 if shifted else 1.0)
        truth = -math.log1p(math.exp(-best))
        assert float(check.lower[0]) <= truth <= float(check.upper[0])


@pytest.mark.parametrize("which", [0, 1, 3])
def test_brackets_hold_what_another_solver_finds(which: int) -> None:
    rng = np.random.default_rng(11)
    rows, bias = rng.standard_normal((40, 6)), 0.5 * rng.standard_normal(40)
    domain = domains(6)[which]
    problem = ArgmaxProblem(torch.from_numpy(rows), domain, bias=torch.from_numpy(bias))
    tokens = torch.arange(0, 40, 8)
    found = find_ceilings(problem, tokens, 1e-4)
    check = check_ceilings(problem, tokens, domain.pulled_in(found.points))
    z = cvxpy.Variable(6)
    limits = {
        0: [cvxpy.norm(z) <= 6**0.5],
        1: [z >= getattr(domain, "lo", 0), z <= getattr(domain, "hi", 0)],
        3: [cvxpy.norm(np.linalg.inv(getattr(domain, "factor", np.eye(6))) @ (z - 0.3)) <= 1.5],
    }[which]
    for i, t in enumerate(tokens.tolist()):
        value = cvxpy.Problem(
            cvxpy.Maximize(rows[t] @ z + bias[t] - cvxpy.log_sum_exp(rows @ z + bias)), limits
        ).solve(solver="CLARABEL")
        assert float(check.lower[i]) - 1e-6 <= value <= float(check.upper[i]) + 1e-6
        assert float(check.upper[i] - check.lower[i]) <= 1e-4


def test_blocks_of_any_size_say_the_same() -> None:
    rng = np.random.default_rng(5)
    problem = ArgmaxProblem(torch.from_numpy(rng.standard_normal((50, 4))), Ball(4.0))
    tokens = torch.arange(50)
    whole, small = (find_ceilings(problem, tokens, 1e-3, limit=limit) for limit in (2**27, 8 * 50 * 3))
    points = problem.domain.pulled_in(whole.points)
    checks = [check_ceilings(problem, tokens, points, limit=limit) for limit in (2**27, 8 * 50 * 3, 1)]
    for other in checks[1:]:
        assert bool(((other.lower - checks[0].lower).abs() <= 2 * checks[0].error).all())
        assert bool(((other.upper - checks[0].upper).abs() <= 2 * checks[0].error).all())
    assert float((whole.lower - small.lower).abs().max()) <= 1e-3


@given(problem=problems(), scale=st.sampled_from([1.0, 5.0]))
@settings(max_examples=60, deadline=None)
def test_whatever_the_head_brackets_are_in_order(problem: ArgmaxProblem, scale: float) -> None:
    assume(problem.margin_bounded)
    tokens = torch.arange(problem.v)
    found = find_ceilings(problem, tokens, 0.01, scale=scale, rounds=60)
    points = problem.domain.pulled_in(found.points) * (1 - 2.0**-20 if problem.domain == Free() else 1)
    check = check_ceilings(problem, tokens, points, scale=scale)
    assert bool((check.lower <= check.upper).all()) and bool((check.upper <= 0).all())
    # Where logits are of a usual size, and known, the search ends, and ends close.
    reach = float(problem.row_norm.max()) * float(found.points.norm(dim=1).max()) + float(problem.offset.abs().max())
    if scale * reach < 20 and float(check.error.max()) < 1e-6 and bool(torch.isfinite(check.lower).all()):
        assert float((check.upper - check.lower).max()) <= 0.01


def test_points_outside_prove_nothing() -> None:
    rows = torch.eye(3)
    problem = ArgmaxProblem(rows, Ball(1.0))
    outside = torch.tensor([[1.0, 0.0, 0.0], [torch.nan, 0.0, 0.0], [0.5, 0.0, 0.0]])
    done: list[int] = []
    check = check_ceilings(problem, torch.tensor([0, 0, 0]), outside, progress=done.append)
    assert check.lower[:2].tolist() == [-math.inf] * 2 and check.upper[:2].tolist() == [0.0, 0.0]
    assert float(check.lower[2]) > -1.0 and sum(done) == 3
    # On the whole space without offsets the ceiling is taken in the unit ball, as margins are.
    free = ArgmaxProblem(rows, Free())
    assert check_ceilings(free, torch.tensor([0, 0, 0]), 2 * outside).lower[2] == -math.inf
    assert check_ceilings(free, torch.tensor([0, 0, 0]), outside).lower[2] == check.lower[2]


def test_the_whole_space_with_offsets_is_refused() -> None:
    problem = ArgmaxProblem(torch.eye(3), Free(), bias=torch.tensor([0.0, 1.0, 2.0]))
    with pytest.raises(BadInput, match="bounded domain"):
        check_ceilings(problem, torch.tensor([0]), torch.zeros((1, 3)))
    with pytest.raises(BadInput, match="bounded domain"):
        find_ceilings(problem, torch.tensor([0]), 0.01)


def test_equal_rows_share_their_probability() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.5]])
    problem = ArgmaxProblem(rows, Ball(10.0**4))
    check = check_ceilings(problem, torch.tensor([0, 1]), torch.tensor([[99.0, 0.0], [99.0, 0.0]]))
    assert check.lower.tolist() == pytest.approx([math.log(0.5)] * 2, abs=1e-9)
    assert bool((check.upper >= math.log(0.5)).all()) and bool((check.upper < math.log(0.5) + 1e-6).all())


def test_huge_rows_leave_it_open() -> None:
    rows = torch.tensor([[1e300, 0.0], [-1e300, 1.0]], dtype=torch.float64)
    problem = ArgmaxProblem(rows, Ball(1e30))
    check = check_ceilings(problem, torch.tensor([0]), torch.tensor([[1e14, 0.0]], dtype=torch.float64))
    assert float(check.lower[0]) == -math.inf and float(check.upper[0]) == 0.0
    found = find_ceilings(problem, torch.tensor([0]), 0.01, rounds=5)
    assert len(found.points) == 1


@given(
    v=st.integers(2, 200_000),
    margin=st.floats(-43, 800, allow_nan=False),
    scale=st.sampled_from([1.0, 0.1, 16.0]),
)
@settings(max_examples=100, deadline=None)
def test_what_a_margin_says(v: int, margin: float, scale: float) -> None:
    flint.ctx.prec = 2000
    bound = ceiling_from_margin(v, margin, scale=scale)
    truth = -(1 + (v - 1) * (-exact(scale) * exact(margin)).exp()).log()
    assert bound == -math.inf or exact(bound) <= truth
    assert bound == -math.inf if scale * margin <= -701 else float(truth) - bound <= 1e-9 * (1 + abs(float(truth)))


def test_no_margin_says_nothing() -> None:
    assert ceiling_from_margin(10, -math.inf) == -math.inf == ceiling_from_margin(10, math.nan)


@pytest.mark.parametrize("name", ["exp", "log"])
def test_exp_and_log_are_as_accurate_as_the_bounds_say(name: str) -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(np.concatenate([rng.uniform(-700, 0, 4000), -np.exp(rng.uniform(-60, 6, 1000))]))
    values = values if name == "exp" else values.abs().clamp(min=1e-12) + 1
    found = getattr(values, name)()
    for value, got in zip(values.tolist(), found.tolist(), strict=True):
        true = getattr(exact(value), name)()
        assert abs(exact(got) - true) <= exact(ELEMENTARY) * abs(true)
