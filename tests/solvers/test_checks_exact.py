"""Checks in rational arithmetic: numbers, rows, domains, proofs of membership."""

from __future__ import annotations

import math
from fractions import Fraction
from unittest.mock import patch

import known_answers
import numpy as np
import pytest
import torch
from exact_truth import exact_row, fractions, problems
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from known_answers import problem_of

from solvers.checks.exact import (
    as_integers,
    bound_by_weights,
    exact_rows,
    first_unbeaten,
    hull_membership,
    inside_domain,
    solve_hull,
    witness_beats,
)
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


# --- numbers and rows ---------------------------------------------------------------------------------------------


@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=5), elements=FINITE))
@settings(max_examples=80, deadline=None)
def test_integers_hold_the_very_numbers(values: np.ndarray) -> None:
    integers, exponent = as_integers(torch.from_numpy(values))
    for integer, value in zip(integers.ravel(), values.ravel(), strict=True):
        assert Fraction(int(integer)) * Fraction(2) ** exponent == Fraction(float(value))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_integers_of_every_precision(dtype: torch.dtype) -> None:
    values = torch.tensor([0.1, -3.0, 0.0, torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype)
    integers, exponent = as_integers(values)
    assert [Fraction(int(i)) * Fraction(2) ** exponent for i in integers] == fractions(values)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_exact_value(bad: float) -> None:
    with pytest.raises(ValueError, match="no exact value"):
        as_integers(torch.tensor([1.0, bad]))


@given(problem=problems())
@settings(max_examples=80, deadline=None)
def test_exact_rows_follow_the_definition(problem: ArgmaxProblem) -> None:
    index = np.arange(problem.v)[::-1].copy()
    exact = exact_rows(problem, index)
    for row, offset, t in zip(exact.integers, exact.offsets, index.tolist(), strict=True):
        assert ([Fraction(int(x)) * exact.unit for x in row], offset) == exact_row(problem, t)


@given(problem=problems())
@settings(max_examples=80, deadline=None)
def test_the_float64_rows_and_offsets_err_by_no_more_than_they_say(problem: ArgmaxProblem) -> None:
    rows = problem.rows(slice(None))
    for t in range(problem.v):
        row, offset = exact_row(problem, t)
        square = sum(((x - y) ** 2 for x, y in zip(row, fractions(rows[t]), strict=True)), Fraction(0))
        assert square <= Fraction(float(problem.row_error[t])) ** 2
        assert abs(offset - Fraction(float(problem.offset[t]))) <= Fraction(float(problem.offset_error[t]))


def test_rows_that_were_computed_have_no_exact_value() -> None:
    problem = ArgmaxProblem(torch.eye(2), Free(), weight_error=torch.full((2,), 1e-9, dtype=torch.float64))
    one, lam = np.array([1]), np.ones(1)
    for check in (
        lambda: exact_rows(problem, one),
        lambda: witness_beats(problem, 0, torch.tensor([1.0, 0.0]), one),
        lambda: bound_by_weights(problem, 0, one, lam),
        lambda: solve_hull(problem, 0, one),
        lambda: hull_membership(problem, 0, one),
    ):
        with pytest.raises(ValueError, match="only up to rounding"):
            check()


@pytest.mark.parametrize("exponent", [-1000, -540, 0, 60, 500])
def test_sizes_far_from_one_are_compared_exactly(exponent: int) -> None:
    """Row and scale multiply to 4^exponent, which a float64 may not hold."""
    scale = torch.tensor([2.0**exponent], dtype=torch.float64)
    weight = torch.tensor([[2.0**exponent], [0.0]], dtype=torch.float64)
    point = torch.tensor([1.0], dtype=torch.float64)
    with patch.object(ArgmaxProblem, "_check_finite"):
        problem = ArgmaxProblem(weight, Free(), scale=scale)
    assert witness_beats(problem, 0, point, np.array([1])).all()
    assert not witness_beats(problem, 1, point, np.array([0])).any()


@pytest.mark.parametrize("rivals", [1, 2, 3, 7, 40])
def test_rivals_are_asked_a_few_at_a_time_until_one_is_not_beaten(rivals: int) -> None:
    """Row 0 scores 1 at z = 1, rows 1, 2, … score 0; one of them ties with it, and then all after it."""
    names = np.arange(1, rivals + 1)
    asked: list[int] = []

    def counting(*given: object) -> np.ndarray:
        asked.append(len(given[3]))  # type: ignore[arg-type]
        return witness_beats(*given)  # type: ignore[arg-type]

    for tie in range(1, rivals + 2):
        weight = torch.zeros((rivals + 1, 1))
        weight[[0, *range(tie, rivals + 1)]] = 1.0
        asked.clear()
        with patch("solvers.checks.exact._ENTRIES", 8), patch("solvers.checks.exact.witness_beats", counting):
            found = first_unbeaten(ArgmaxProblem(weight, Free()), 0, torch.ones(1), names)
        assert found == (tie if tie <= rivals else None)
        assert max(asked, default=0) <= 8
        assert sum(asked) <= min(rivals, 2 * tie + 8)


@pytest.mark.parametrize("exponent", [0, 60])
@pytest.mark.parametrize(("factor", "wins"), [(1 - 2.0**-50, True), (1.0, False), (1 + 2.0**-50, False)])
def test_a_large_row_is_compared_exactly_with_a_bias(exponent: int, factor: float, wins: bool) -> None:
    problem = problem_of(
        [[2.0**exponent], [0]], offsets=[0, factor * 4.0**exponent], scale=[2.0**exponent], dtype=torch.float64
    )
    assert witness_beats(problem, 0, torch.tensor([1.0], dtype=torch.float64), np.array([1])).all() == wins


# --- domains ------------------------------------------------------------------------------------------------------


def test_squares_that_underflow_together_leave_the_ball() -> None:
    """Each square is 2⁻¹⁰⁷⁶ and rounds to 0; sixteen of them are four times the squared radius."""
    points = torch.full((2, 16), 2.0**-538, dtype=torch.float64)
    points[1, 1:] = 0
    assert inside_domain(Ball(2.0**-1074), points).tolist() == [False, True]


def test_the_rim_of_the_ball_is_outside_and_one_ulp_decides() -> None:
    five = math.nextafter(3.0, 0)
    points = torch.tensor([[3.0, 4.0], [five, 4.0], [math.nextafter(3.0, 9), 4.0]], dtype=torch.float64)
    assert inside_domain(Ball(25.0), points).tolist() == [False, True, False]
    # √2 is irrational: the floats on either side of it.
    root = math.sqrt(2.0)
    below, above = (root, math.nextafter(root, 9)) if Fraction(root) ** 2 < 2 else (math.nextafter(root, 0), root)
    points = torch.tensor([[below], [above]], dtype=torch.float64)
    assert inside_domain(Ball(2.0), points).tolist() == [True, False]


@given(
    z=hnp.arrays(np.float64, 4, elements=st.floats(-2, 2)),
    ulps=st.integers(-3, 3),
    scale=st.sampled_from([1.0, 2.0**-530, 2.0**-300, 2.0**200]),
)
@settings(max_examples=100, deadline=None)
def test_close_points_are_told_apart_exactly(z: np.ndarray, ulps: int, scale: float) -> None:
    z = z * scale
    square = sum((Fraction(float(x)) ** 2 for x in z), Fraction(0))
    radius = float(square)
    for _ in range(abs(ulps)):
        radius = math.nextafter(radius, math.inf if ulps > 0 else 0)
    if radius > 0 and math.isfinite(radius):
        expected = square < Fraction(radius)
        assert bool(inside_domain(Ball(radius), torch.from_numpy(z)[None])[0]) is expected


def test_the_box_holds_its_faces() -> None:
    box = Box([-1, 0], [1, 2])
    points = torch.tensor([[1.0, 0.0], [-1, 2], [1 + 2.0**-23, 0], [0, -(2.0**-149)], [math.nan, 1], [math.inf, 1]])
    assert inside_domain(box, points).tolist() == [True, True, False, False, False, False]


def test_not_a_number_is_in_no_ball() -> None:
    points = torch.tensor([[math.nan, 0.0], [math.inf, 0.0], [-math.inf, math.nan]])
    for square in (4.0, 1e300, 5e-324):
        assert not inside_domain(Ball(square), points).any()


# --- hulls --------------------------------------------------------------------------------------------------------


TRIANGLE = problem_of([[0, 0], [4, 0], [0, 4], [1, 1], [1, 2], [5, 5]])
"""Rows 3 and 4 lie inside the triangle 0-1-2: (1,1) = ½·0 + ¼·1 + ¼·2 and (1,2) = ¼·0 + ¼·1 + ½·2."""
SUPPORT = np.array([0, 1, 2])


def test_exact_weights_are_found() -> None:
    assert solve_hull(TRIANGLE, 3, SUPPORT) == [Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)]
    assert solve_hull(TRIANGLE, 4, SUPPORT) == [Fraction(1, 4), Fraction(1, 4), Fraction(1, 2)]
    # Outside the hull the weights exist, but one is negative; then it is no proof.
    assert solve_hull(TRIANGLE, 5, SUPPORT) == [Fraction(-3, 2), Fraction(5, 4), Fraction(5, 4)]
    assert hull_membership(TRIANGLE, 5, SUPPORT) is None


def test_a_corner_without_weight_does_no_harm() -> None:
    problem = problem_of([[0, 0], [4, 0], [0, 4], [2, 2]])
    assert hull_membership(problem, 3, SUPPORT) == [0, Fraction(1, 2), Fraction(1, 2)]
    assert hull_membership(problem, 3, SUPPORT, np.array([0, 0.5, 0.5])) is not None


def test_no_rows_have_no_hull() -> None:
    assert hull_membership(TRIANGLE, 3, np.zeros(0, dtype=np.int64)) is None


@pytest.mark.parametrize(("offsets", "proof"), [([1, -2], True), ([-1, 2], False), ([-1, 3], True), ([1, -4], False)])
def test_offsets_count_with_the_weights_of_the_hull(offsets: list[float], proof: bool) -> None:
    # 1 = ¾·0 + ¼·4, so the blockers stand at ¾·c₀ + ¼·c₁, and the token at 0.
    problem = problem_of([[0], [4], [1]], offsets=[*offsets, 0])
    stands_at = 0.75 * offsets[0] + 0.25 * offsets[1]
    assert (stands_at >= 0) is proof
    assert (hull_membership(problem, 2, np.array([0, 1])) is not None) is proof


def test_fifths_have_no_binary_expansion_and_are_exact_all_the_same() -> None:
    problem = problem_of([[0, 0], [5, 0], [0, 5], [1, 3]])
    assert solve_hull(problem, 3, SUPPORT) == [Fraction(1, 5), Fraction(1, 5), Fraction(3, 5)]
    rounded = np.array([0.2, 0.2, 0.6])
    assert hull_membership(problem, 3, SUPPORT, rounded) is not None
    # Read as binary numbers the same weights miss the row by 2⁻⁵⁴ or so: 0.6 is not 3 · 0.2.
    assert not bound_by_weights(problem, 3, SUPPORT, rounded)


def test_supports_that_do_not_determine_the_weights_are_refused() -> None:
    line = problem_of([[-1, 0], [0, 0], [1, 0], [0.5, 0]])
    assert solve_hull(line, 3, np.array([0, 1, 2])) is None  # three rows on a line: many solutions
    assert solve_hull(line, 3, np.array([1, 2])) == [Fraction(1, 2), Fraction(1, 2)]
    assert solve_hull(line, 1, np.array([2, 3])) == [Fraction(-1), Fraction(2)]
    assert solve_hull(TRIANGLE, 3, np.array([0, 1])) is None  # off the line through them
    assert solve_hull(TRIANGLE, 3, np.array([0, 1, 2, 4])) is None  # more than d+1 rows
    assert hull_membership(TRIANGLE, 3, np.array([0, 1, 2, 4])) is None


def test_an_equal_row_is_its_own_hull() -> None:
    case = next(case for case in known_answers.FREE if case.name == "duplicated-rows")
    assert hull_membership(case.problem, 0, np.array([1])) == [1]
    assert hull_membership(case.problem, 0, np.array([2])) is None


def test_stored_weights_must_be_those_of_the_support() -> None:
    good = np.array([0.5, 0.25, 0.25])
    assert hull_membership(TRIANGLE, 3, SUPPORT, good) is not None
    for i in range(3):
        off = good.copy()
        off[i] += 1e-6
        off[(i + 1) % 3] -= 1e-6
        assert hull_membership(TRIANGLE, 3, SUPPORT, off) is None
    assert hull_membership(TRIANGLE, 3, np.array([1, 0, 2]), good) is None  # indices swapped
    assert hull_membership(TRIANGLE, 3, np.array([1, 0, 2]), good[[1, 0, 2]]) is not None
    assert hull_membership(TRIANGLE, 4, SUPPORT, good) is None  # weights of another token
    assert hull_membership(TRIANGLE, 3, np.array([0, 1, 5]), good) is None  # another row


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_unit_in_the_last_place_decides(dtype: torch.dtype) -> None:
    # On the edge x + y = 1 (with a far corner): just inside it, on it, just outside.
    eps = torch.finfo(dtype).eps
    for nudge, inside in ((-eps / 4, True), (0.0, True), (eps / 2, False)):
        rows = torch.tensor([[1, 0], [0, 1], [0, 0], [0.5 + nudge, 0.5]], dtype=dtype)
        assert float(rows[3, 0]) == 0.5 + nudge
        problem = ArgmaxProblem(rows, Free())
        support = np.array([0, 1]) if nudge == 0 else SUPPORT
        assert (hull_membership(problem, 3, support) is not None) is inside


def test_membership_is_no_proof_where_the_offset_stands_above() -> None:
    rows = [[-1], [0], [1]]
    for middle, proof in ((-0.5, True), (0.0, True), (2.0**-40, False)):
        for domain in (Free(), Ball(1.0), Box([-1], [1])):
            problem = problem_of(rows, domain, [1, middle, -1])
            assert (hull_membership(problem, 1, np.array([0, 2])) is not None) is proof


@pytest.mark.parametrize("centred", [False, True])
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_combinations_that_are_exact_are_recognised(centred: bool, seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    parts = rng.multinomial(2**10, np.full(d, 1 / d)) / 2**10
    rows = rng.integers(-8, 8, (d, d)).astype(float)
    weight = torch.from_numpy(np.vstack([rows, parts @ rows]))
    scale = torch.from_numpy(2.0 ** rng.integers(-3, 3, d))
    problem = ArgmaxProblem(weight, Ball(1.0), scale=scale, centred=centred)
    support = np.nonzero(parts)[0]
    weights = parts[support]
    assert bound_by_weights(problem, d, support, weights)
    if np.linalg.matrix_rank(rows[support[1:]] - rows[support[0]]) == len(support) - 1 and not centred:
        assert hull_membership(problem, d, support, weights) is not None
        assert solve_hull(problem, d, support) == [Fraction(float(w)) for w in weights]


# --- weights as they stand ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "offset", "proof"),
    [
        pytest.param(Ball(25.0), -15.0, True, id="ball-touching"),
        pytest.param(Ball(25.0), math.nextafter(-15.0, 0), False, id="ball-one-ulp-above"),
        pytest.param(Ball(25.0), math.nextafter(-15.0, -99), True, id="ball-one-ulp-below"),
        pytest.param(Ball(math.nextafter(25.0, 99)), -15.0, False, id="ball-a-wider-one"),
        pytest.param(Ball(25.0), 15.0, False, id="ball-the-square-hides-the-sign"),
        pytest.param(Box([-1, -1], [5, 7]), -15.0, True, id="box-touching"),
        pytest.param(Box([-1, -1], [5, 7]), math.nextafter(-15.0, 0), False, id="box-one-ulp-above"),
        pytest.param(Box([-1, -1], [math.nextafter(5, 9), 7]), -15.0, False, id="box-a-wider-one"),
        pytest.param(Ball(1 / 64), -0.375, True, id="a-small-ball-touching"),
        pytest.param(Ball(1 / 64), 0.375, False, id="a-small-ball-the-square-hides-the-sign"),
        pytest.param(Free(), -15.0, False, id="free-never"),
    ],
)
def test_bounds_of_exactly_zero(domain: known_answers.Domain, offset: float, proof: bool) -> None:
    # v = (3, 0): R·3 over the ball, 5·3 over the box.
    problem = problem_of([[4, 2], [1, 2]], domain, [offset, 0], dtype=torch.float64)
    assert bound_by_weights(problem, 0, np.array([1]), np.ones(1)) is proof


def test_on_free_an_equal_row_proves_and_its_offset_decides() -> None:
    for row, offset, proof in ((0, -1.0, True), (0, 0.0, True), (0, 0.5, False), (1, -1.0, False)):
        problem = problem_of([[row], [0]], offsets=[offset, 0])
        assert bound_by_weights(problem, 0, np.array([1]), np.ones(1)) is proof


def test_the_known_touching_cases() -> None:
    touching = {"two-tokens-touching": {1: [0]}, "ends-touching": {0: [1], 2: [1]}, "quadrant": {2: [0], 3: [2]}}
    for case in (*known_answers.BALL, *known_answers.BOX):
        for token, blockers in touching.get(case.name, {}).items():
            assert bound_by_weights(case.problem, token, np.array(blockers), np.ones(1)), case.reason


def test_weights_need_not_add_up_to_exactly_one() -> None:
    # The bound is homogeneous in the weights: a third of each side of −1, 0, 1 is off by 2⁻⁵⁴ in sum only.
    problem = problem_of([[-1], [0], [1]])
    weights = np.array([1 / 3, 1 / 3]) * 1.5
    assert bound_by_weights(problem, 1, np.array([0, 2]), weights)
    assert bound_by_weights(problem, 1, np.array([0, 2]), weights * (1 - 1e-10))
    assert not bound_by_weights(problem, 1, np.array([0, 2]), np.array([0.5, math.nextafter(0.5, 1)]))


# --- corrupted certificates ---------------------------------------------------------------------------------------


MARGIN_ONE = problem_of([[2, 0], [1, 0], [0, 2], [0, -2], [-3, 0]], Ball(4.0), [0, 0, 0, 0, -9])
"""Row 0 wins at (½, 0) by ½; row 4 is ahead of nothing: R·‖v‖ + δ with λ = 1 on row 1 is 2·4 − 9 = −1."""


def test_a_witness_corrupted_in_any_way_is_rejected() -> None:
    everyone = np.arange(1, 5)
    point = torch.tensor([0.5, 0.0])
    assert witness_beats(MARGIN_ONE, 0, point, everyone).all()
    assert inside_domain(MARGIN_ONE.domain, point[None])[0]
    corruptions = {
        "sign": -point,
        "zero": point * 0,
        "coordinates swapped": point.flip(0),
        "nan": torch.tensor([0.5, math.nan]),
        "inf": torch.tensor([math.inf, 0.0]),
        "too long": point * 1000,
        "on the rim": torch.tensor([2.0, 0.0]),
    }
    for name, bad in corruptions.items():
        accepted = (
            witness_beats(MARGIN_ONE, 0, bad, everyone).all() and inside_domain(MARGIN_ONE.domain, bad[None])[0]
        )
        assert not accepted, name
    for token in range(1, 5):
        rivals = np.delete(np.arange(5), token)
        assert not witness_beats(MARGIN_ONE, token, point, rivals).all(), "another token's witness"


def test_negative_bound_certificates_corrupted_in_any_way_are_rejected() -> None:
    assert bound_by_weights(MARGIN_ONE, 4, np.array([1]), np.ones(1))
    assert not bound_by_weights(MARGIN_ONE, 4, np.array([0]), np.ones(1))  # R·5 − 9 > 0
    for token in range(4):
        for row in range(5):
            assert not bound_by_weights(MARGIN_ONE, token, np.array([row]), np.ones(1))
