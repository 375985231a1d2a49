"""The edges of each check: places where changing a comparison, a sign or a term would let something false through."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
import torch
from exact_truth import bound_exceeds_dual, exact_balance
from known_answers import problem_of
from worst_rounding import at_most, exact_dot, summed_one_by_one, swallowed, swallowed_and_cancelled

from solvers.checks.exact import STORED_WEIGHT_ROUNDING, bound_by_weights, hull_membership
from solvers.checks.hull import WEIGHT_SUM_ROUNDING, hull_upper_bound, weights_fault
from solvers.checks.witness import beats_exactly, check_witnesses, close_rivals, logit_error, single_competitor_bound
from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem

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


@pytest.mark.parametrize("off", [1.1e-6, -1.1e-6, 5e-5])
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
    # One is too low by more than rounding, while none is too high by as much.
    moved = exact + np.array([-1.5, 0.75, 0.75]) * STORED_WEIGHT_ROUNDING
    assert hull_membership(problem, 3, np.arange(3), moved) is None


# --- bounds from hull weights --------------------------------------------------------------------------------------


def test_without_rigour_the_bound_is_the_plain_value() -> None:
    rows, blockers, weights = [[1, 0], [0, 1], [0, -1]], np.array([1, 2]), np.array([0.5, 0.5])
    ball = problem_of(rows, Ball(9.0), [1, 0, 4], dtype=torch.float64)
    assert hull_upper_bound(ball, 0, blockers, weights, rigorous=False) == 2
    box = problem_of(rows, Box([-1, -1], [5, 7]), [1, 0, 4], dtype=torch.float64)
    assert hull_upper_bound(box, 0, blockers, weights, rigorous=False) == 4
    for problem, value in ((ball, 2), (box, 4)):
        bound = hull_upper_bound(problem, 0, blockers, weights)
        assert value < bound < value + 1e-12


@pytest.mark.parametrize("k", [64, 1024])
def test_the_tokens_own_row_is_in_the_rounding_of_many_weights(k: int) -> None:
    """All blockers are 0: the products with the token's own row are what is summed, and swallowed."""
    weights = np.full(k, 2.0**-53)
    weights[0] = 1.0
    rows = torch.zeros((k + 1, 1), dtype=torch.float64)
    rows[0] = 1.0
    plain = torch.Tensor.sum
    for domain in (Ball(1.0), Box([-1.0], [1.0])):
        problem = ArgmaxProblem(rows, domain)
        with summed_one_by_one(), patch.object(torch.Tensor, "sum", plain):
            assert hull_upper_bound(problem, 0, np.arange(1, k + 1), weights) >= 1
    # The same with the offsets: δ = c[t] whatever the weights.
    bias = torch.zeros(k + 1, dtype=torch.float64)
    bias[0] = 1.0
    problem = ArgmaxProblem(rows * 0, Ball(1.0), bias=bias)
    with summed_one_by_one(), patch.object(torch.Tensor, "sum", plain):
        assert hull_upper_bound(problem, 0, np.arange(1, k + 1), weights) >= 1


@pytest.mark.parametrize("whose", [0, 1])
def test_the_error_of_either_row_widens_the_bound(whose: int) -> None:
    """Only one of two rows is known up to rounding: by ¼ in its entries, by ¼·8 in its offset."""
    error = torch.zeros(2, dtype=torch.float64)
    error[whose] = 0.25
    rows, shift = torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64), torch.tensor([0.0, 8.0], dtype=torch.float64)
    one, lam = np.array([1]), np.ones(1)
    # How far the domain reaches from 0: an error of the row counts so many times.
    for domain, reach in ((Ball(4.0), 2.0), (Box([-2, -2], [2, 2]), 2.0), (Box([9, 9], [11, 11]), 15.5)):
        for more in ({}, {"shift": shift}):
            exact = ArgmaxProblem(rows, domain, **more)
            rounded = ArgmaxProblem(rows, domain, weight_error=error, **more)
            least = 0.25 * reach + (0.25 * 8 if more else 0)
            wider = hull_upper_bound(rounded, 0, one, lam) - hull_upper_bound(exact, 0, one, lam)
            assert wider >= least
            t, j = torch.tensor([0]), torch.tensor([1])
            assert single_competitor_bound(rounded, t, j) - single_competitor_bound(exact, t, j) >= least


@pytest.mark.parametrize(("k", "d"), [(64, 1), (64, 64), (1, 64)])
@pytest.mark.parametrize("domain", ["ball", "box"])
def test_products_that_are_flushed_to_zero(k: int, d: int, domain: str, flushed: None) -> None:
    """Every product of a weight is just below the smallest normal number, and is lost."""
    size = 1.9375 * k * 2.0**-1000 / 2.0**23 if k > 1 else 1.5 * 2.0**-1022
    weights = np.full(k, 1.0 / k)
    rows = torch.zeros((k + 1, d), dtype=torch.float64)
    rows[0] = size
    over: Domain = Ball(2.0**1000) if domain == "ball" else Box(np.full(d, -(2.0**500)), np.full(d, 2.0**500))
    bound = hull_upper_bound(ArgmaxProblem(rows, over), 0, np.arange(1, k + 1), weights)
    truth = 2.0**500 * size * (math.sqrt(d) if domain == "ball" else d)
    assert bound >= truth
    bias = torch.zeros(k + 1, dtype=torch.float64)
    bias[0] = size
    equal = ArgmaxProblem(rows * 0, over, bias=bias)
    assert hull_upper_bound(equal, 0, np.arange(1, k + 1), weights) >= size


@pytest.mark.parametrize("k", [16, 64])
def test_offsets_that_are_flushed_to_zero(k: int, flushed: None) -> None:
    """All rows are 0 and the ball is tiny, so that nothing but the offsets' own room is left to hold the bound."""
    size = 1.9375 * k * 2.0**-1000 / 2.0**23
    assert size > 0
    bias = torch.zeros(k + 1, dtype=torch.float64)
    bias[0] = size
    problem = ArgmaxProblem(torch.zeros((k + 1, 1), dtype=torch.float64), Ball(2.0**-600), bias=bias)
    assert hull_upper_bound(problem, 0, np.arange(1, k + 1), np.full(k, 1.0 / k)) >= size


def test_the_product_with_the_centre_that_is_flushed_to_zero(flushed: None) -> None:
    """Both the radius and the centre count times a row of 2⁻⁶⁰⁰, and both products are lost; one entry is 0."""
    rows = torch.tensor([[1.5 * 2.0**-600, 0], [0, 0]], dtype=torch.float64)
    problem = ArgmaxProblem(rows, Box([-(2.0**-430), -(2.0**-480)], [2.0**-423, 2.0**-480]))
    bound = single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0]
    assert Fraction(float(bound)) >= Fraction(3, 2) * Fraction(2) ** -1023


def test_products_with_the_box_that_are_flushed_to_zero(flushed: None) -> None:
    d, rng = 64, np.random.default_rng(0)
    rows = torch.zeros((2, d), dtype=torch.float64)
    rows[0] = torch.from_numpy(rng.uniform(1, 1.9, d)) * 2.0**-600
    box = Box(np.full(d, -(2.0**-430)), np.full(d, 2.0**-423))
    truth = sum((Fraction(x) for x in rows[0].tolist()), Fraction(0)) * Fraction(2) ** -423
    bound = hull_upper_bound(ArgmaxProblem(rows, box), 0, np.array([1]), np.ones(1))
    assert Fraction(bound) >= truth
    assert truth > 0


@pytest.mark.parametrize(
    ("lo", "hi", "reach"),
    [([-10], [1], 10), ([-1], [10], 10), ([-10], [-9], 10), ([9], [10], 10), ([-3, -0.1], [0.1, 4], 5)],
)
def test_an_error_of_the_rows_reaches_as_far_as_the_box(lo: list[float], hi: list[float], reach: float) -> None:
    """Both rows are 0 up to ¼, in whatever direction: the margin may be half the farthest corner's distance."""
    d = len(lo)
    error = torch.full((2,), 0.25, dtype=torch.float64)
    problem = ArgmaxProblem(torch.zeros((2, d), dtype=torch.float64), Box(lo, hi), weight_error=error)
    assert hull_upper_bound(problem, 0, np.array([1]), np.ones(1)) >= 0.5 * reach


@pytest.mark.parametrize("d", [64, 4096])
def test_a_box_whose_terms_cancel(d: int) -> None:
    a, z = swallowed_and_cancelled(d, torch.float64)
    lo = z - z.abs() * 2.0**-50
    problem = ArgmaxProblem(torch.stack([a, a * 0]), Box(lo.numpy(), z.numpy()))
    truth = sum((max(Fraction(x) * p, Fraction(x) * q) for x, p, q in exact_triples(a, lo, z)), Fraction(0))
    with summed_one_by_one():
        bound = hull_upper_bound(problem, 0, np.array([1]), np.ones(1))
    assert Fraction(bound) >= truth


def exact_triples(a: torch.Tensor, lo: torch.Tensor, hi: torch.Tensor) -> Iterator[tuple[float, Fraction, Fraction]]:
    for x, p, q in zip(a.tolist(), lo.tolist(), hi.tolist(), strict=True):
        yield x, Fraction(p), Fraction(q)


def test_what_overflows_is_no_bound() -> None:
    offsets = torch.tensor([-1.7e308, 1.7e308], dtype=torch.float64)
    problem = ArgmaxProblem(torch.eye(2, dtype=torch.float64), Ball(1.0), bias=offsets)
    assert hull_upper_bound(problem, 0, np.array([1]), np.ones(1)) == math.inf


@pytest.mark.parametrize("d", [64, 4096])
@pytest.mark.parametrize("scales", [(0, 0), (20, 0), (0, 20)])
def test_a_far_box_whose_centre_is_multiplied_with_loss(d: int, scales: tuple[int, int]) -> None:
    """The bound by one competitor multiplies rows with the centre, which loses nearly d units in the last place."""
    a, z = swallowed(d, torch.float64)
    a, z = a * 2.0 ** scales[0], z * 2.0 ** scales[1]
    half = z * 2.0**-50
    problem = ArgmaxProblem(torch.stack([a, a * 0]), Box((z - half).numpy(), (z + half).numpy()))
    truth = exact_dot(a, z)  # at the centre
    with summed_one_by_one():
        bound = single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0]
    assert Fraction(float(bound)) >= truth


def test_the_bound_by_one_competitor_over_a_far_box() -> None:
    problem = problem_of([[1], [0]], Box([9], [11]), dtype=torch.float64)
    assert float(single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0]) == pytest.approx(11)
    assert float(single_competitor_bound(problem, torch.tensor([1]), torch.tensor([0]))[0]) == pytest.approx(-9)


# --- witnesses -----------------------------------------------------------------------------------------------------


def test_a_logit_that_overflows_wins_nothing() -> None:
    """Also without rigour, where no error bound says so."""
    rows = torch.tensor([[3e38], [1.0]])
    point = torch.tensor([[10.0]])
    check = check_witnesses(ArgmaxProblem(rows, Free()), torch.tensor([0]), point, rigorous=False)
    assert check.lower[0] == -math.inf


def test_rows_that_float32_flushes_to_zero_count_times_the_point() -> None:
    """The rival's entries are below float32's range; at a far point its logit is not."""
    d = 16
    rows = torch.zeros((2, d), dtype=torch.float64)
    rows[1] = 2.0**-151
    z = torch.full((1, d), 2.0**60)
    truth = d * 2.0**-91
    bias = torch.tensor([truth / 2, 0.0], dtype=torch.float64)
    check = check_witnesses(ArgmaxProblem(rows, Free(), bias=bias), torch.tensor([0]), z)
    assert float(check.lower[0]) <= -truth / 2


@pytest.mark.parametrize("whose", [0, 1])
def test_the_error_of_either_row_lowers_the_margin(whose: int) -> None:
    error = torch.zeros(2, dtype=torch.float64)
    error[whose] = 0.25
    rows = torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64)
    point = torch.tensor([[8.0, 0.0]], dtype=torch.float64)
    shift = torch.tensor([0.0, 64.0], dtype=torch.float64)
    for more in ({}, {"shift": shift}):
        exact = ArgmaxProblem(rows, Free(), **more)
        rounded = ArgmaxProblem(rows, Free(), weight_error=error, **more)
        least = 0.25 * 8 + (0.25 * 64 if more else 0)
        for dtype in (torch.float32, torch.float64):
            sure, unsure = (
                check_witnesses(problem, torch.tensor([0]), point.to(dtype), dtype=dtype)
                for problem in (exact, rounded)
            )
            assert float(sure.lower[0] - unsure.lower[0]) >= least
            assert float(unsure.error[0]) >= least


def test_products_that_underflow_at_a_point_near_zero() -> None:
    """Each product of the rival is 2⁻¹⁵⁰, which float32 rounds to 0; the point is shorter than 1."""
    d = 16
    rows = torch.zeros((2, d))
    rows[1] = 2.0**-100
    truth = d * 2.0**-150
    bias = torch.tensor([truth / 2, 0.0], dtype=torch.float64)
    check = check_witnesses(ArgmaxProblem(rows, Free(), bias=bias), torch.tensor([0]), torch.full((1, d), 2.0**-50))
    assert float(check.lower[0]) <= -truth / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_known_about_logits_that_may_overflow(dtype: torch.dtype) -> None:
    most = torch.finfo(dtype).max
    zero, tiny = torch.zeros(2, dtype=torch.float64), 1e-30

    def known(size: float, offset: float, radius: float) -> list[bool]:
        rows = torch.tensor([[size], [1e-30]], dtype=torch.float64)
        bias = zero + torch.tensor([offset, 0], dtype=torch.float64)
        problem = ArgmaxProblem(rows, Free(), bias=bias)
        return torch.isfinite(logit_error(problem, radius, dtype)).tolist()

    assert known(most / 9, 1.0, 0.5) == [True, True]
    assert known(1.0, most / 9, 1.0) == [True, True]
    assert known(most / 4, 1.0, tiny) == [False, True]
    assert known(1.0, most / 4, 1.0) == [False, True]
    assert known(most / 64, 1.0, 16.0) == [False, True]
    assert known(4.0, 1.0, most / 16) == [False, True]


def test_a_rival_whose_sum_overflows_does_not_disappear() -> None:
    most = torch.finfo(torch.float32).max
    rows = torch.tensor([[-0.95 * most], [-0.9 * most]], dtype=torch.float64)
    bias = torch.tensor([-0.9 * most, -0.9 * most], dtype=torch.float64)
    check = check_witnesses(ArgmaxProblem(rows, Free(), bias=bias), torch.tensor([0]), torch.ones((1, 1)))
    assert float(check.lower[0]) <= -0.05 * most * (1 - 1e-6)


@pytest.mark.parametrize("domain", [Ball(4.0), Free()], ids=["ball", "free"])
def test_without_a_scale_nothing_is_said_about_upper_bounds(domain: Domain) -> None:
    problem = problem_of(SQUARE, domain)
    points = torch.tensor([[0.5, 0.5], [0.5, -0.5], [torch.nan, 0.0]])
    check = check_witnesses(problem, torch.arange(3), points)
    assert check.upper.tolist() == [math.inf] * 3
    assert check.upper_row.tolist() == [-1] * 3
    assert check.error[2] == 0
    assert check.lower[2] == -math.inf
    assert (check.lower[:2] > 0).all()
    assert (check.error[:2] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_of_one_block_share_the_bound_of_the_farthest(dtype: torch.dtype) -> None:
    """Two points of different length: at the longer one a rival's logit is computed too low by nearly its bound."""
    d = 768
    a, z = swallowed(d, dtype)
    logit = exact_dot(a, z)
    rows = torch.stack([torch.zeros(d, dtype=dtype), a])
    bias = torch.tensor([at_most(logit, torch.float64), 0.0], dtype=torch.float64)
    problem = ArgmaxProblem(rows, Free(), bias=bias)
    truth = Fraction(float(bias[0])) - logit
    assert truth <= 0
    for points in (torch.stack([z, z * 0.5625]), torch.stack([z * 0.5625, z])):
        with summed_one_by_one():
            check = check_witnesses(problem, torch.zeros(2, dtype=torch.int64), points, dtype=dtype)
        longest = int(points.double().norm(dim=1).argmax())
        assert Fraction(float(check.lower[longest])) <= truth


def test_progress_counts_every_point() -> None:
    problem = problem_of(SQUARE, Ball(4.0))
    points = torch.tensor([[0.5, 0.5], [torch.nan, 0.0], [1e-3, 0.0], [3.0, 3.0], [0.0, 0.0]])
    seen: list[int] = []
    check_witnesses(problem, torch.arange(5), points, progress=seen.append)
    assert sum(seen) == 5


@pytest.mark.parametrize("kind", ["ball", "far ball", "box", "free"])
@pytest.mark.parametrize("limit", [2**27, 6000])
def test_the_nearest_competitor_is_found(kind: str, limit: int) -> None:
    """The search for it is approximate: it must find the best of all for nearly every row, and claim none better."""
    rng = np.random.default_rng(8)
    v, d = 60, 4
    rows = torch.from_numpy(rng.standard_normal((v, d)) * rng.uniform(0.8, 1.25, (v, 1)))
    domain: Domain = {"ball": Ball(0.25), "far ball": Ball(400.0), "free": Free()}.get(kind) or Box(
        np.full(d, 3.0), np.full(d, 4.0)
    )
    bias = None if kind == "free" else torch.from_numpy(rng.standard_normal(v)) * domain_size(domain)
    problem = ArgmaxProblem(rows, domain, bias=bias)
    tokens = torch.arange(v)
    points = problem.rows(tokens) * (3.2 if kind == "box" else 0.05)
    scale = torch.full((v,), 3.2 if kind == "box" else 0.05, dtype=torch.float64)
    if kind == "box":
        problem = problem.over(Box(np.full(d, -9.0), np.full(d, 13.0)))
    for dtype in (torch.float32, torch.float64):
        check = check_witnesses(problem, tokens, points.to(dtype), dtype=dtype, own_scale=scale, limit=limit)
        best = torch.stack([single_competitor_bound(problem, tokens, torch.full((v,), j)) for j in range(v)], dim=1)
        least = best.amin(dim=1)
        assert (check.upper >= least).all()
        assert int((check.upper <= least + 1e-9).sum()) >= 0.8 * v
        found = check.upper_row >= 0
        assert torch.equal(check.upper[found], best[tokens, check.upper_row][found])
        assert check.upper[~found].isinf().all()
        # A scale of 0 says that the point is no multiple of the row.
        none = check_witnesses(problem, tokens, points.to(dtype), dtype=dtype, own_scale=scale * 0, limit=limit)
        assert none.upper.isinf().all()
        assert (none.upper_row == -1).all()


def domain_size(domain: Domain) -> float:
    return domain.radius if isinstance(domain, Ball) else 1.0


def test_equal_rows_are_their_offsets_apart_and_no_more() -> None:
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 2.0]], dtype=torch.float64)
    problem = ArgmaxProblem(rows, Ball(4.0), bias=torch.tensor([-1.0, 0.0, 0.0], dtype=torch.float64))
    tokens, rivals = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 2])
    bounds = single_competitor_bound(problem, tokens, rivals)
    assert bounds.tolist() == pytest.approx([-1, 1, 3], abs=1e-12)
    unbiased = ArgmaxProblem(rows, Ball(4.0))
    assert single_competitor_bound(unbiased, tokens, rivals).tolist()[:2] == [0, 0]


def test_differences_that_are_flushed_to_zero_have_a_length(flushed: None) -> None:
    d = 64
    rows = torch.full((2, d), 2.0**-1022, dtype=torch.float64)
    rows[0, : d // 2] *= 1.9375
    problem = ArgmaxProblem(rows, Ball(2.0**1000))
    bound = single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0]
    # NaN is no bound, and is taken for none.
    assert not float(bound) < 2.0**500 * 0.9375 * 2.0**-1022 * math.sqrt(d // 2)


def test_what_decides_a_close_call() -> None:
    """Row 0 beats row 1 at the point, ties with row 2, and row 3 is far below."""
    problem = problem_of([[2, 0], [1, 0], [2, 1], [-5, 0]])
    point = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert close_rivals(problem, 0, point).tolist() == [2]
    assert beats_exactly(problem, 0, point, 0.5, 1) is True
    assert beats_exactly(problem, 0, point, 0.5, 2) is False
    # A bound that is not above 0 leaves all rivals to be asked, whoever is named.
    for lower in (0.0, -1e-9):
        assert beats_exactly(problem, 0, point, lower, 1) is False
        assert beats_exactly(problem.restrict(torch.tensor([0, 1, 3])), 0, point, lower, 1) is True
    # −∞ says that the point is outside the domain, or no point at all.
    assert beats_exactly(problem, 0, point, -math.inf, 1) is False
    assert beats_exactly(problem, 0, point, math.nan, 1) is False


def test_a_rival_that_is_not_a_number_is_close() -> None:
    problem = problem_of([[1e200, 0], [1e200, -1e200], [0, 0]], dtype=torch.float64)
    point = torch.tensor([1e200, 1e200], dtype=torch.float64)
    assert 1 in close_rivals(problem, 2, point)
