"""All rows at their own points over symmetric tiles: against exact sums and the plain check, and in odd cases."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from exact_truth import exact_margin_at, problems
from hypothesis import given, settings
from hypothesis import strategies as st
from worst_rounding import SUMMED, exact_dot, summed_one_by_one, swallowed

from solvers.checks import own_products, own_rows, tiles
from solvers.checks.own_products import TILE, OwnProducts
from solvers.checks.own_rows import OwnRows
from solvers.checks.tiles import Leading, Terms
from solvers.checks.witness import WitnessCheck, check_witnesses, logit_error, own_scales
from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem
from solvers.recipes import own_row_scales, recipe_points

U = 2.0**-24
FIELDS = [field.name for field in fields(WitnessCheck)]


def own_points(problem: ArgmaxProblem) -> torch.Tensor:
    return recipe_points(problem, "own-row", torch.arange(problem.v))


def checked(
    problem: ArgmaxProblem,
    points: torch.Tensor | None = None,
    *,
    scale: torch.Tensor | None = None,
    block: int | None = None,
    first: int = 0,
    tile: int = TILE,
    jobs: int = 1,
) -> WitnessCheck:
    """All rows from `first` on, in blocks."""
    points = own_points(problem) if points is None else points
    products = OwnProducts(problem, own_row_scales(problem) if scale is None else scale, tile=tile)
    parts = []
    for part in torch.arange(first, problem.v).split(block or problem.v):
        rows = part.numpy()
        products.multiply(products.missing(rows), jobs)
        parts.append(products.check_of(rows, products.rivals(rows), jobs).check(part, points[part]))
    return WitnessCheck(*(torch.cat([getattr(part, name) for part in parts]) for name in FIELDS))


def plain(problem: ArgmaxProblem, points: torch.Tensor | None = None) -> WitnessCheck:
    points = own_points(problem) if points is None else points
    tokens = torch.arange(problem.v)
    return check_witnesses(problem, tokens, points, own_scale=own_scales(problem, tokens, points))


def random_problem(v: int, d: int, *, offsets: bool, domain: Domain | None = None, seed: int = 0) -> ArgmaxProblem:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((v, d), generator=generator) * torch.exp(torch.randn((v, 1), generator=generator))
    bias = torch.randn(v, generator=generator) if offsets else None
    return ArgmaxProblem(rows, domain or Ball(float(d)), bias=bias)


# --- against the truth ---------------------------------------------------------------------------------------------


@given(
    problem=problems(),
    tile=st.integers(1, 4),
    block=st.integers(1, 6),
    away=st.sampled_from([0.0, 0.0, 2.0**-26, 2.0**-24, 2.0**-22, 0.1]),
)
@settings(max_examples=150, deadline=None)
def test_the_bounds_hold_whatever_was_rounded(problem: ArgmaxProblem, tile: int, block: int, away: float) -> None:
    if not OwnRows.possible(problem):
        return
    points = own_points(problem)
    points = points * (1 + away * (torch.arange(points.numel()).view_as(points) % 3 - 1))
    check = checked(problem, points, tile=tile, block=block)
    other = plain(problem, points)
    for t in range(problem.v):
        assert torch.isfinite(check.lower[t]) == torch.isfinite(other.lower[t])
        if torch.isfinite(check.lower[t]):
            truth = exact_margin_at(problem, t, points[t])
            assert Fraction(float(check.lower[t])) <= truth
            # Not merely true but of use: off by no more than it says.
            assert truth <= Fraction(float(check.lower[t])) + 2 * Fraction(float(check.error[t])) * Fraction(33, 32)
        if torch.isfinite(check.upper[t]):
            assert int(check.upper_row[t]) not in {t, -1}
            inside = torch.isfinite(check.lower[t]) and (problem.domain.bounded or points[t].double().norm() <= 1)
            assert not inside or exact_margin_at(problem, t, points[t]) <= Fraction(float(check.upper[t]))


@pytest.mark.parametrize("d", [64, 768, 4096])
@pytest.mark.parametrize("power", [0, 8, -8])
@pytest.mark.parametrize(("arithmetic", "lanes"), SUMMED.values(), ids=SUMMED)
def test_no_row_is_proved_to_win_by_what_rounding_swallowed(
    d: int, power: int, arithmetic: Callable[[], Any], lanes: int
) -> None:
    """Row 0 ties with the others at its own point, exactly; their products with it come out too low."""
    a, _ = swallowed(d, torch.float32, lanes)
    last = torch.zeros(d)
    last[-1] = a[-1]
    # The rivals have the entries of row 0 and one column more.
    row = torch.cat([a - last, torch.tensor([0.0])])
    rivals = [torch.cat([a - last, torch.tensor([2.0**-10 * (1 + k)])]) for k in range(15)]
    problem = ArgmaxProblem(torch.stack([row, *rivals]), Free())
    points = torch.zeros_like(problem.weight)
    points[0] = row * 2.0**power
    scale = torch.full((16,), 2.0**power, dtype=torch.float64)
    assert exact_dot(row, row) == exact_dot(row, rivals[0])
    lost = float(exact_dot(row, row)) - lanes
    with arithmetic():
        check = checked(problem, points, scale=scale)
    assert check.lower[0] <= 0
    assert float(check.lower[0] + 2 * check.error[0]) >= 0
    assert float(check.error[0]) >= lost * 2.0**power
    if arithmetic is summed_one_by_one:
        # … and the bound gives away little more than what was lost.
        assert lost == pytest.approx((d - 2) * U)
        with patch.object(own_rows, "gamma", lambda n, u=0.0: 0.0 if u else n * 2.0**-53), arithmetic():
            assert checked(problem, points, scale=scale).lower[0] > 0, "the case shows nothing"


def test_what_underflows_is_counted(flushed: None) -> None:
    """The rivals' products are lost whole: 2⁻⁵⁶·2⁻⁷² is below the smallest normal number."""
    d = 40
    rows = torch.zeros((2, d))
    rows[0, 0], rows[0, 1:] = 2.0**-47, 2.0**-56
    rows[1, 1:] = 2.0**-72
    problem = ArgmaxProblem(rows, Free())
    points = torch.zeros_like(rows)
    points[0] = rows[0] * 2.0**47
    check = checked(problem, points, scale=torch.full((2,), 2.0**47, dtype=torch.float64))
    truth = exact_dot(points[0], rows[0]) - exact_dot(points[0], rows[1])
    assert torch.mm(rows[:1], rows[1:].T).item() == 0
    assert Fraction(float(check.lower[0])) <= truth
    # In float64, that is: rounding alone would hide nothing of this.
    assert truth < exact_dot(points[0], rows[0]) * (1 - Fraction(1, 2**32))


# --- every term of the bound ---------------------------------------------------------------------------------------


TINY_RIVALS = {
    "tiny rivals, scaled up": (2.0**-47, 47.0),
    "tiny rivals, scaled down": (2.0**-47, -20.0),
    "tiny rivals, long": (2.0**20, 3.0),
}
"""Row 0 and its scale, where rounding is nothing beside what underflow may take."""


def spread(kind: str) -> tuple[ArgmaxProblem, torch.Tensor]:
    """Rows along different axes, whose products are 0: a bound is all that a rival's score holds."""
    d = 12
    rows = torch.diag(2.0 ** (torch.arange(d, dtype=torch.float64) - 2))[:6]
    rows[0, 0] = 64.0
    error = bias = shift = None
    power = 3.0
    if kind == "small":
        rows = rows * 2.0**-40
    if kind in TINY_RIVALS:
        rows *= 2.0**-100
        rows[0, 0], power = TINY_RIVALS[kind]
    if kind == "known to 1e-3":
        error = torch.full((6,), 1e-3, dtype=torch.float64)
    if kind == "one known to 1e-2":
        error = torch.zeros(6, dtype=torch.float64)
        error[3] = 1e-2
    if kind == "offsets":
        bias = torch.tensor([3.0, 1.0, -2.0, 0.5, 0.0, 1e4], dtype=torch.float64)
    if kind == "offsets below 0":
        bias = torch.tensor([-3.0, -1.0, -2.0, -0.5, -1.0, -1e4], dtype=torch.float64)
    if kind == "offsets known to 1e-2":
        error, shift = torch.full((6,), 1e-5, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
        shift[-1] = 1e3
    if kind == "far":
        power = 40.0
    scale = torch.full((6,), 2.0**power, dtype=torch.float64)
    scale[2:] *= 4
    return ArgmaxProblem(rows, Free(), weight_error=error, bias=bias, shift=shift), scale


KINDS = ("plain", "small", "far", "known to 1e-3", "one known to 1e-2")
KINDS += ("offsets", "offsets below 0", "offsets known to 1e-2", *TINY_RIVALS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_is_what_the_documentation_says(kind: str) -> None:
    problem, scale = spread(kind)
    d, smallest = problem.d, 2.0**-126
    points = (scale[:, None] * problem.rows(slice(None))).to(torch.float32)
    check = checked(problem, points, scale=scale)
    room = 1 + 2.0**-8
    for t in range(1 if kind in TINY_RIVALS else problem.v):
        j, s = int(check.runner_up[t]), float(scale[t])
        reach = s * math.hypot(*problem.weight[t].tolist())
        norm, known = math.hypot(*problem.weight[j].tolist()), float(problem.row_error[j])
        gamma = d * U / (1 - d * U)
        expected = room * (reach * ((gamma + 4 * U + U + 4 * U) * norm + known))
        expected += room * (float(problem.offset_error[j]) + 4 * U * abs(float(problem.offset[j])))
        expected += room * 2 * (d + 8) * smallest * (1 + s + reach)
        own = float(logit_error(problem, reach * (1 + 1e-14), torch.float64)[t])
        assert float(check.error[t]) == pytest.approx(expected + own, rel=1e-6, abs=0)
        # The bound is what the score holds: here the rival's logit is its offset, and the own one is exact.
        margin = exact_margin_at(problem, t, points[t])
        given_up = float(margin - Fraction(float(check.lower[t])))
        # A score is a float32 number, and the difference a float64 one.
        step = 2 * U * abs(float(problem.offset[j])) + 2.0**-50 * float(margin)
        assert given_up == pytest.approx(expected + own, rel=1e-6, abs=step)


def test_each_part_of_that_sum_counts_somewhere() -> None:
    """With one part larger than all others together: without it the check would prove what is false."""
    # Known only up to 1e-3, the rival may be ahead: nothing but its row error says so.
    rows = torch.tensor([[1.0, 0.0], [1 - 2.0**-12, 1.0]])
    for error, wins in ((None, True), (1e-3, False)):
        known = None if error is None else torch.tensor([0.0, error], dtype=torch.float64)
        check = checked(ArgmaxProblem(rows, Free(), weight_error=known))
        assert bool(check.lower[0] > 0) is wins
    # The offset comes from a product with a shift, 2⁵⁰ before it cancels.
    shift = torch.tensor([2.0**50, 2.0**50], dtype=torch.float64)
    tilted = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    sure = ArgmaxProblem(tilted, Ball(4.0))
    unsure = ArgmaxProblem(tilted, Ball(4.0), shift=shift)
    assert checked(sure).lower[0] > 1
    assert checked(unsure).error[0] >= float(unsure.offset_error[1]) > 1e-2
    # An offset that float32 cannot hold: 1 + 2⁻²⁵ is cast to 1, and row 0 would tie or win.
    bias = torch.tensor([0.0, 1 + 2.0**-25], dtype=torch.float64)
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0**-30]])
    problem = ArgmaxProblem(rows, Free(), bias=bias)
    points = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert checked(problem, points, scale=torch.tensor([1.0, 2.0**30])).lower[0] <= -(2.0**-25)


def test_a_point_beside_the_multiple_of_its_row_is_followed_as_far_as_the_bound_goes() -> None:
    """Towards a long rival that lies across: what it gains there is all that decides."""
    length = 2.0**14
    rows = torch.tensor([[1.0, 0.0], [1 - 2.0**-22 * length, length]])
    problem = ArgmaxProblem(rows, Free())
    scale = torch.full((2,), 1 + 0.9 * U, dtype=torch.float64)  # 1 in float32
    for away in (1.0, 3.9, 4.1, 400.0):
        points = torch.tensor([[1.0, away * U], [0.0, 0.0]])
        with patch.object(own_rows, "check_witnesses", wraps=check_witnesses) as other:
            check = checked(problem, points, scale=scale)
        asked = [token for call in other.call_args_list for token in call.args[1].tolist()]
        assert (0 in asked) is (away > 4)
        assert Fraction(float(check.lower[0])) <= exact_margin_at(problem, 0, points[0])


# --- the same as the plain pass ------------------------------------------------------------------------------------

CASES = {
    "no offsets": random_problem(90, 7, offsets=False),
    "offsets": random_problem(90, 7, offsets=True),
    "free": random_problem(90, 7, offsets=False, domain=Free()),
    "free with offsets": random_problem(90, 7, offsets=True, domain=Free()),
    "box": random_problem(90, 7, offsets=True, domain=Box([-1.0] * 7, [2.0] * 7)),
    "box beside 0": random_problem(90, 7, offsets=True, domain=Box([0.5] * 7, [2.0] * 7)),
    "wide": random_problem(70, 300, offsets=True, seed=3),
    "two rows": random_problem(2, 3, offsets=False),
}


@pytest.mark.parametrize("options", [{}, {"tile": 1}, {"tile": 16, "block": 40}, {"tile": 64, "block": 7, "jobs": 2}])
@pytest.mark.parametrize("case", CASES)
def test_it_says_what_the_plain_pass_says(case: str, options: dict[str, int]) -> None:
    problem = CASES[case]
    check, other = checked(problem, **options), plain(problem)
    room = 2 * (check.error + other.error)
    assert torch.equal(torch.isfinite(check.lower), torch.isfinite(other.lower))
    some = torch.isfinite(other.lower)
    assert ((check.lower - other.lower).abs() <= room)[some].all()
    assert (check.error <= 1.25 * other.error)[some].all()
    decided = other.lower > room
    assert torch.equal(check.runner_up[decided], other.runner_up[decided])
    assert torch.allclose(check.upper, other.upper, rtol=1e-5)


@pytest.mark.parametrize("first", [1, 33, 89])
def test_it_may_begin_at_any_row(first: int) -> None:
    problem = CASES["offsets"]
    whole, part = checked(problem, tile=16), checked(problem, tile=16, block=20, first=first)
    for field in FIELDS:
        assert torch.equal(getattr(part, field), getattr(whole, field)[first:])


def test_rows_have_rivals_once_all_their_products_are_there() -> None:
    """With any tile missing a rival may be, and the bound would be false."""
    problem = CASES["offsets"]
    whole, work = (OwnProducts(problem, own_row_scales(problem), tile=16) for _ in range(2))
    first, points = np.arange(10), own_points(problem)
    tiles = whole.missing(first)
    assert tiles == [(0, column) for column in range(6)]
    for left_out in tiles:
        work = OwnProducts(problem, own_row_scales(problem), tile=16)
        work.multiply([tile for tile in tiles if tile != left_out])
        with pytest.raises(ValueError, match="not all products"):
            work.rivals(first)
        work.multiply(work.missing(first))
        rivals = work.rivals(first)
        for wrong in (torch.arange(1, 11), torch.arange(9), torch.arange(11)):
            with pytest.raises(ValueError, match="not the rows whose rivals are known"):
                work.check_of(first, rivals).check(wrong, points[wrong])
        # Rows 10 to 15 had theirs with these; row 16 has had but one tile.
        assert work.complete(np.arange(16))
        assert not work.complete(np.array([16]))


@given(
    case=st.sampled_from(list(CASES)),
    tile=st.sampled_from([7, 16, 33]),
    at_once=st.sampled_from([1, 2, 40]),
    rng=st.randoms(use_true_random=False),
    jobs=st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_squares_computed_anywhere_in_any_order_say_the_same_bits(
    case: str, tile: int, at_once: int, rng: random.Random, jobs: int
) -> None:
    """Those of some rows, by a copy that has travelled, some of them twice; then the others."""
    problem = CASES[case]
    rows = np.arange(problem.v)
    here, there = (OwnProducts(problem, own_row_scales(problem), tile=tile) for _ in range(2))
    here.multiply(here.missing(rows), jobs)
    copy = pickle.loads(pickle.dumps(there))
    for asked in (np.flatnonzero(rows % 3 == 1)[: problem.v // 4], rows):
        squares = list(there.squares(asked, at_once))
        for square in rng.sample(squares, len(squares)):
            assert not there.complete(rows)
            for _ in range(rng.choice((1, 1, 2))):
                there.take(square, pickle.loads(pickle.dumps(copy.found(square, jobs))))
        assert there.complete(asked)
        assert not list(there.squares(asked, at_once))
        assert not there.missing(asked)
        for mine, theirs in zip(here.rivals(asked), there.rivals(asked), strict=True):
            assert mine.score.tobytes() == theirs.score.tobytes()
            assert mine.rival.tolist() == theirs.rival.tolist()


def test_of_rivals_with_equal_scores_the_lowest_stays_in_any_order() -> None:
    """Rows 1 to 11 are equal: each scores the same against row 0, and against any other of them."""
    problem = ArgmaxProblem(torch.tensor([[1.0, 0.0]] + [[2.0, 1.0]] * 11), Ball(4.0))
    for order in (1, -1):
        work = OwnProducts(problem, torch.ones(12, dtype=torch.float64), tile=2)
        for square in list(work.squares(np.arange(12), 1))[::order]:
            work.take(square, work.found(square))
        assert work.rivals(np.arange(12)).best.rival.tolist() == [1, 2, *[1] * 10]


def test_squares_are_of_a_size_that_several_workers_share_and_one_can_lose() -> None:
    problem = ArgmaxProblem(torch.eye(2).repeat(400, 1), Ball(4.0))
    work = OwnProducts(problem, torch.ones(800, dtype=torch.float64), tile=8)
    for at_once in (1, 4, 16):
        squares = list(work.squares(np.arange(800), at_once))
        assert 4 * at_once <= len(squares) <= 20 * at_once
        assert sorted(tile for square in squares for tile in square.tiles()) == work.missing(np.arange(800))
    with patch.object(own_products, "_SQUARE_WORK", 2 * 16.0**2):  # two tiles by two, where rows have two dimensions
        assert {len(square.tiles()) for square in work.squares(np.arange(800), 1)} == {3, 4}


@pytest.mark.parametrize(("v", "tile", "most"), [(96, 16, 0.6), (90, 7, 0.6), (60, 1, 0.51)])
def test_half_of_the_products_do(v: int, tile: int, most: float) -> None:
    problem = random_problem(v, 5, offsets=True)
    real, made = torch.mm, []

    def counting(left: torch.Tensor, right: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
        made.append(left.shape[0] * right.shape[1])
        return real(left, right, out=out)

    with patch.object(own_rows.torch, "mm", counting), patch("solvers.precision.keeps_all_bits", lambda _: True):
        checked(problem, tile=tile, block=tile * 2)
    assert v * (v - 1) / 2 < sum(made) <= most * v * v


# --- rows that have no part in it ----------------------------------------------------------------------------------


def odd_rows() -> Iterator[tuple[str, ArgmaxProblem, torch.Tensor]]:
    generator = torch.Generator().manual_seed(6)
    rows = torch.randn((8, 4), generator=generator)
    with_zero, short, equal = rows.clone(), rows.clone(), rows.clone()
    with_zero[3] = 0.0
    short[3] *= 2.0**-60
    equal[3] = equal[5]
    for name, some in (("a zero row", with_zero), ("a short row", short), ("equal rows", equal)):
        for bias in (None, torch.randn(8, generator=generator)):
            problem = ArgmaxProblem(some, Ball(4.0), bias=bias)
            yield name, problem, own_points(problem)
    problem = ArgmaxProblem(rows, Ball(4.0))
    for name, point in (
        ("outside", rows[3] * 100),
        ("not finite", torch.full((4,), torch.nan)),
        ("elsewhere", rows[2]),
        ("the other way", -rows[3] / rows[3].norm()),
        ("at 0", torch.zeros(4)),
    ):
        points = own_points(problem)
        points[3] = point
        yield name, problem, points


@pytest.mark.parametrize(("name", "problem", "points"), list(odd_rows()))
def test_odd_rows_are_checked_by_themselves(name: str, problem: ArgmaxProblem, points: torch.Tensor) -> None:
    check, other = checked(problem, points, tile=3), plain(problem, points)
    row = torch.tensor([3])
    alone = check_witnesses(problem, row, points[row], own_scale=own_scales(problem, row, points[row]))
    if name != "equal rows":
        for field in FIELDS:
            assert getattr(check, field)[3] == getattr(alone, field)[0]
    elif problem.zero_offset:
        assert check.lower[3] <= 0
        assert (int(check.runner_up[3]), int(check.runner_up[5])) == (5, 3)
    for t in range(problem.v):
        if torch.isfinite(check.lower[t]):
            assert Fraction(float(check.lower[t])) <= exact_margin_at(problem, t, points[t])
    assert torch.equal(check.lower > 0, other.lower > 0)


def test_a_point_outside_the_domain_proves_nothing_however_well_it_was_guessed() -> None:
    problem = ArgmaxProblem(torch.tensor([[3.0, 4.0], [-1.0, 0.0]]), Ball(25.0))
    scale = torch.ones(2, dtype=torch.float64)
    # ‖(3, 4)‖ is the radius, and the ball is open.
    assert checked(problem, problem.weight, scale=scale).lower.tolist()[0] == -torch.inf
    inside = checked(problem, problem.weight * (1 - 2.0**-22), scale=scale * (1 - 2.0**-22))
    assert inside.lower[0] > 0


def test_lengths_that_float32_holds_in_a_few_bits_are_not_used() -> None:
    """‖z‖ is √3·2⁻¹⁴⁸ here, which float32 rounds to 1.5·2⁻¹⁴⁸; the point itself it holds exactly."""
    rows = torch.tensor([[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0**60]])
    points = rows.double() * 2.0**-148
    check = checked(ArgmaxProblem(rows, Free()), points.float(), scale=torch.full((2,), 2.0**-148).double())
    assert float(check.lower[0]) == pytest.approx(-float(check.error[0]), rel=1e-3, abs=0)


def test_rows_and_offsets_beyond_float32_are_left_to_the_plain_pass() -> None:
    rows = torch.diag(torch.tensor([1.0, 2.0**-3, 2.0**-3], dtype=torch.float64))
    assert OwnRows.possible(ArgmaxProblem(rows * 2.0**62, Free()))
    assert not OwnRows.possible(ArgmaxProblem(rows * 2.0**63, Free()))
    for sign in (1.0, -1.0):
        bias = torch.tensor([0.0, 1.0, sign], dtype=torch.float64)
        assert OwnRows.possible(ArgmaxProblem(rows, Free(), bias=bias * 2.0**124))
        assert not OwnRows.possible(ArgmaxProblem(rows, Free(), bias=bias * 2.0**126))
    error = torch.tensor([0.0, 0.0, 2.0**61], dtype=torch.float64)
    assert OwnRows.possible(ArgmaxProblem(rows, Free(), weight_error=error))
    assert not OwnRows.possible(ArgmaxProblem(rows * 2.0**62, Free(), weight_error=error))
    shift = torch.tensor([0.0, 0.0, 2.0**65], dtype=torch.float64)
    assert OwnRows.possible(ArgmaxProblem(rows, Free(), shift=shift))
    assert not OwnRows.possible(ArgmaxProblem(rows, Free(), weight_error=error, shift=shift))
    # At the largest that will do nothing overflows, and what is far away is checked by itself.
    rows = torch.eye(3, dtype=torch.float64)
    large = ArgmaxProblem(rows * 2.0**62, Ball(4.0))
    assert (checked(large).lower > 0).all()
    far = ArgmaxProblem(rows * 2.0**62, Ball(2.0**130))
    assert not (checked(far).lower > 0).any()
    assert torch.equal(checked(far).lower, plain(far).lower)


# --- one tile ------------------------------------------------------------------------------------------------------


def scores_of(terms: Terms, products: np.ndarray, of: slice, rivals: slice) -> np.ndarray:
    """scale_t·G + (reach_t·error_j + raised_j), rows of a row's rivals."""
    added = np.outer(terms.reach[of], terms.error[rivals]) + terms.raised[rivals]
    return np.asarray(terms.scale[of][:, None] * products + added)


@given(
    m=st.integers(1, 9),
    n=st.sampled_from([1, 2, 63, 64, 65, 130]),
    left=st.integers(0, 5),
    right=st.integers(0, 12),
    whole=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=80, deadline=None)
def test_a_tile_holds_the_largest_score_of_every_row_and_column(
    m: int, n: int, left: int, right: int, whole: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    v = max(left + m, right + n)

    def numbers(*shape: int) -> np.ndarray:
        # Small integers tie, and are added and multiplied without rounding.
        found = rng.integers(-3, 4, shape) if whole else rng.standard_normal(shape)
        return np.asarray(found, dtype=np.float32)

    terms, products = Terms(*(numbers(v) for _ in Terms._fields)), numbers(m, n)
    known, found = Leading.none_yet(v), Leading.none_yet(max(m, n))
    rows, columns = slice(left, left + m), slice(right, right + n)
    truth = scores_of(terms, products, rows, columns)
    for i in range(m):
        if right <= left + i < right + n:
            truth[i, left + i - right] = -np.inf
    tiles.read_rows(products, left, right, terms, known, found)
    alone = ~np.isfinite(truth).any(axis=1)
    assert np.allclose(found.score[:m][~alone], truth.max(axis=1)[~alone], rtol=1e-5, atol=1e-6)
    assert (found.rival[:m][alone] == -1).all()
    if whole:
        assert np.array_equal(found.rival[:m][~alone], right + truth.argmax(axis=1)[~alone])
        # What is known already is kept where it is as large, and no rival is looked for where it is larger.
        known.score[rows] = truth.max(axis=1) + rng.integers(-1, 2, m)
        before = known.score.copy()
        tiles.read_rows(products, left, right, terms, known, found)
        assert np.array_equal(found.rival[:m] >= 0, ~alone & (before[rows] <= truth.max(axis=1)))
    if not (left < right + n and right < left + m):
        turned = scores_of(terms, products.T, columns, rows)
        tiles.read_columns(products, left, right, terms, found)
        assert np.allclose(found.score[:n], turned.max(axis=1), rtol=1e-5, atol=1e-6)
        if whole:
            assert np.array_equal(found.rival[:n], left + turned.argmax(axis=1))


def test_of_equal_rivals_the_lowest_is_kept() -> None:
    known = Leading(np.array([9, 1, 1, 1, 5, 5], dtype=np.float32), np.array([7, 5, 5, 5, 8, 8], dtype=np.int32))
    found = Leading(np.array([1, 1, 2, 9, 9], dtype=np.float32), np.array([4, 6, 6, -1, 1], dtype=np.int32))
    tiles.take_over(known, 1, found, 4)
    assert known.rival.tolist() == [7, 4, 5, 6, 8, 8]
    assert known.score.tolist() == [9, 1, 1, 2, 5, 5]


# --- what compiled code may not meet -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "domain", [Ball(1e-300), Ball(1e300), Box([-1e-310] * 3, [1e-310] * 3), Box([1e-310] * 3, [2e-310] * 3), Free()]
)
@pytest.mark.parametrize("size", [1.0, 1e-30, 1e18])
def test_no_term_of_a_score_is_infinite(domain: Domain, size: float) -> None:
    rows = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0], [-1.0, 0.0, 1.0], [3.0, -1.0, 0.0]], dtype=torch.float64)
    bias = torch.tensor([0.0, 1e30, -1.0, 0.0], dtype=torch.float64)
    problem = ArgmaxProblem(rows * size, domain, bias=bias)
    assert OwnRows.possible(problem)
    work = OwnProducts(problem, own_row_scales(problem))
    for terms in (work._scores, work._likenesses):
        for column in terms:
            assert np.isfinite(column).all()
    check, other = checked(problem), plain(problem)
    assert torch.equal(check.lower > 0, other.lower > 0)
    assert not torch.isnan(check.lower).any()
    assert not torch.isnan(check.upper).any()
