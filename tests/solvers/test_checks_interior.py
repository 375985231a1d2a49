"""Rows inside the hull of the others: what the checker proves, and what it must leave open."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from solvers.backend import Budget
from solvers.backends.analytic_centre import AnalyticCentre
from solvers.checks.interior import SpreadSet, inside_hull, spread_set
from solvers.domains import Ball, Free
from solvers.hull_rows import HullRows, spread_rows
from solvers.problem import ArgmaxProblem

CROSS = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]


def problem_of(rows: object, **parts: object) -> ArgmaxProblem:
    return ArgmaxProblem(torch.as_tensor(rows, dtype=torch.float64), Free(), **parts)  # type: ignore[arg-type]


def spread_of(problem: ArgmaxProblem) -> tuple[HullRows, SpreadSet]:
    hull = HullRows(problem)
    spread = spread_set(hull, torch.arange(problem.v))
    assert spread is not None
    return hull, spread


def centred(problem: ArgmaxProblem, tokens: Tensor, steps: int | None = None) -> Tensor:
    """Dual points of a search, NaN where it found none."""
    backend = AnalyticCentre()
    backend.prepare(problem)
    duals = backend.solve(tokens, Budget(iterations=steps)).duals
    assert duals is not None
    return duals


def proves(problem: ArgmaxProblem, token: int, dual: object) -> bool:
    hull, spread = spread_of(problem)
    return bool(inside_hull(hull, spread, torch.tensor([token]), torch.as_tensor(dual, dtype=torch.float64)[None])[0])


# --- by hand --------------------------------------------------------------------------------------------------------


def test_the_middle_of_a_cross_needs_no_correction() -> None:
    # All weights 1 at y = 0, and the four arms add up to the row itself: the residual is 0.
    assert proves(problem_of([*CROSS, [0.0, 0.0]]), 4, [0.0, 0.0])


def test_a_residual_is_corrected_as_far_as_the_lightest_weight_allows() -> None:
    # At y = 0 the residual of the row (x, 0) is Σ(a_j − a_t) = −4x along the first axis. Its smallest correction has
    # ±2x on the arms of that axis, and length 2√2·x: below the weights, which are 1, up to x = 0.35.
    for x, proved in ((0.25, True), (0.34, True), (0.37, False)):
        assert proves(problem_of([*CROSS, [x, 0.0]]), 4, [0.0, 0.0]) is proved
    # Farther out other weights are needed, such as the search finds.
    far = problem_of([*CROSS, [0.9, 0.0]])
    assert proves(far, 4, centred(far, torch.tensor([4]))[0])


@pytest.mark.parametrize("x", [1.0, 1 + 2.0**-40, 1.5])
def test_a_row_on_the_rim_or_outside_has_no_proof(x: float) -> None:
    # (x, 0) is a corner of the hull, or lies beyond it.
    for y in (0.0, -1.0, -10.0, -1e3, -1e6, -1e12):
        assert not proves(problem_of([*CROSS, [x, 0.0]]), 4, [y, 0.0])


def test_the_middle_of_an_edge_has_no_proof() -> None:
    # (½, ½) is a mix of two arms, but of no others: no weight on the rest can be positive.
    problem = problem_of([*CROSS, [0.5, 0.5]])
    assert not bool(torch.isfinite(centred(problem, torch.tensor([4]))).any())
    for y in (0.0, -0.5, -5.0, -1e4, -1e8):
        assert not proves(problem, 4, [y, y])


def test_offsets_must_be_reached_as_well() -> None:
    # The mix of the four arms has offset 0. A row in the middle with a lower one can never win; with a higher one it
    # wins at z = 0.
    for own, proved in ((-0.1, True), (0.1, False)):
        bias = torch.tensor([0.0, 0.0, 0.0, 0.0, own])
        assert proves(problem_of([*CROSS, [0.0, 0.0]], bias=bias), 4, [0.0, 0.0, 0.0]) is proved
    # The higher arms count for more: y = 0 but η < 0 weighs them up, and lets the row have a positive offset.
    bias = torch.tensor([1.0, 1.0, -1.0, -1.0, 0.1])
    assert not proves(problem_of([*CROSS, [0.0, 0.0]], bias=bias), 4, [0.0, 0.0, 0.0])
    assert proves(problem_of([*CROSS, [0.0, 0.0]], bias=bias), 4, [0.0, 0.0, -0.4])


# --- the spread set -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([0, 1], "fewer than d + 1 rows"),
        ([0, 1, 2, 2], "a row twice"),
        ([0, 1, 2, 9], "a row that does not exist"),
        ([-1, 0, 1, 2], "a negative number"),
        ([], "none at all"),
    ],
)
def test_what_is_no_set_of_rows_is_no_spread_set(rows: list[int], why: str) -> None:
    hull = HullRows(problem_of([*CROSS, [0.0, 0.0]]))
    assert spread_set(hull, torch.tensor(rows, dtype=torch.int64)) is None, why


def test_rows_in_a_subspace_are_no_spread_set() -> None:
    flat = torch.randn((40, 6), dtype=torch.float64) @ torch.randn((6, 9), dtype=torch.float64)
    assert spread_set(HullRows(problem_of(flat)), torch.arange(40)) is None
    line = [[float(i), 2.0 * i] for i in range(9)]
    assert spread_set(HullRows(problem_of(line)), torch.arange(9)) is None


@pytest.mark.parametrize("d", [2, 16, 64, 256])
@pytest.mark.parametrize("thin", [1.0, 1e-3, 1e-6, 1e-15])
def test_the_bound_on_the_smallest_singular_value_holds(d: int, thin: float) -> None:
    generator = torch.Generator().manual_seed(d)
    rows = torch.randn((3 * d, d), generator=generator, dtype=torch.float64)
    rows[:, 0] *= thin
    turn = torch.linalg.qr(torch.randn((d, d), generator=generator, dtype=torch.float64)).Q
    rows = rows @ turn  # in the coordinates themselves a thin direction is seen by its size
    hull = HullRows(problem_of(rows))
    spread = spread_set(hull, torch.arange(3 * d))
    if thin <= 1e-15:
        assert spread is None  # the thin direction is lost in rounding
        return
    assert spread is not None
    # Against the smallest singular value of PN, as float64 has it.
    points = hull.rows(torch.arange(3 * d))
    for level in (2.0**k for k in range(-12, 12)):
        columns = torch.cat([points, torch.full((3 * d, 1), level, dtype=torch.float64)], dim=1)
        image = columns @ spread.whitening.T
        if float((image.T @ image - torch.eye(d + 1, dtype=torch.float64)).abs().max()) < 1e-3:
            assert spread.least <= float(torch.linalg.svdvals(image).min()) + 1e-14 * d / thin
            break
    else:
        pytest.fail("no level whitens the set")
    assert spread.norm == pytest.approx(float(torch.linalg.matrix_norm(spread.whitening)), rel=1e-12)


def test_rows_that_may_be_wrong_make_the_bound_smaller() -> None:
    rows = torch.randn((60, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    least = []
    for error in (0.0, 1e-3, 1e-1, 1.0):
        problem = problem_of(rows, weight_error=torch.full((60,), error))
        spread = spread_set(HullRows(problem), torch.arange(60))
        least.append(0.0 if spread is None else spread.least)
    assert least[0] > least[1] > least[2] > 0 == least[3]


# --- at real widths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [256, 768])
def test_rows_inside_are_all_proved_at_real_widths(d: int) -> None:
    generator = torch.Generator().manual_seed(d)
    rows = torch.randn((4 * d, d), generator=generator).to(torch.bfloat16)
    rows[-6:] = (0.2 / math.sqrt(d)) * torch.randn((6, d), generator=generator).to(torch.bfloat16)
    problem = ArgmaxProblem(rows, Ball(math.sqrt(d)), scale=1 + 0.1 * torch.randn(d, generator=generator))
    hull = HullRows(problem)
    spread = spread_set(hull, spread_rows(4 * d, d))
    assert spread is not None
    tokens = torch.arange(4 * d - 6, 4 * d)
    duals = centred(problem.over(Free()), tokens)
    assert bool(inside_hull(hull, spread, tokens, duals).all())
    # Another token's dual point, one that is scaled, and one of rows that are corners prove nothing.
    assert not bool(inside_hull(hull, spread, tokens, 3 * duals.roll(1, dims=0)).any())
    assert not bool(inside_hull(hull, spread, torch.arange(6), duals).any())


# --- corrupted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_duals_that_are_no_numbers_prove_nothing(value: float) -> None:
    assert not proves(problem_of([*CROSS, [0.0, 0.0]]), 4, [value, 0.0])
    bias = torch.tensor([0.0, 0.0, 0.0, 0.0, -0.1])
    assert not proves(problem_of([*CROSS, [0.0, 0.0]], bias=bias), 4, [0.0, 0.0, value])


def test_a_spread_set_that_claims_too_much_is_what_a_proof_hangs_on() -> None:
    """With σ ten times what it is a false proof passes: the checker must compute it, and never be told it."""
    problem = problem_of([*CROSS, [1.25, 0.0]])
    hull, spread = spread_of(problem)
    forged = SpreadSet(spread.rows, spread.whitening, spread.norm, 10 * spread.least)
    token, dual = torch.tensor([4]), torch.zeros((1, 2), dtype=torch.float64)
    assert bool(inside_hull(hull, forged, token, dual)[0])
    assert not bool(inside_hull(hull, spread, token, dual)[0])


# --- coordinates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_centred_rows_and_zero_columns_are_worked_in_their_own_coordinates(*, shift: bool, zero: bool) -> None:
    # LayerNorm: A = centre(W·γ) has rank d − 1, and one less for each zero of γ.
    generator = torch.Generator().manual_seed(3)
    d, v = 12, 90
    rows = torch.randn((v, d), generator=generator)
    rows[-1] *= 0.02
    scale = 1 + 0.2 * torch.randn(d, generator=generator)
    if zero:
        scale[3] = 0
    parts = {"shift": torch.cat([torch.zeros(d - 1), torch.ones(1)])} if shift else {}
    bias = {"bias": torch.cat([torch.zeros(v - 1), torch.full((1,), -3.0)])} if shift else {}
    problem = ArgmaxProblem(rows, Free(), scale=scale, centred=True, **parts, **bias)
    hull, spread = spread_of(problem)
    assert hull.e == d - 1
    duals = centred(problem, torch.tensor([v - 1, 0]))
    assert bool(inside_hull(hull, spread, torch.tensor([v - 1]), duals[:1])[0])
    assert not bool(torch.isfinite(duals[1]).all())
    points = hull.points(torch.ones((1, hull.e), dtype=torch.float64))
    assert points is not None
    apart = problem.rows(slice(None)) @ points[0] - hull.rows(slice(None)) @ torch.ones(hull.e, dtype=torch.float64)
    assert float(apart.max() - apart.min()) < 1e-12


def test_rows_of_a_projection_are_proved_by_the_rows_that_were_projected() -> None:
    # A = E·P has rank 6 in 10 dimensions, and is known up to rounding only. E is exact, and A linear in it.
    generator = torch.Generator().manual_seed(7)
    source, projection = torch.randn((60, 6), generator=generator), torch.randn((6, 10), generator=generator)
    source[0] *= 0.05
    weight = source.double() @ projection.double()
    problem = ArgmaxProblem(weight, Ball(3.0), weight_error=torch.full((60,), 1e-12), source=source)
    hull, spread = spread_of(problem)
    assert hull.e == 6
    duals = centred(problem.over(Free()), torch.tensor([0]))
    assert bool(inside_hull(hull, spread, torch.tensor([0]), duals)[0])
    assert hull.points(duals) is None
    # Without the source the rows have to be taken as they are, and span too little for their rounding.
    bare = ArgmaxProblem(weight, Ball(3.0), weight_error=torch.full((60,), 1e-12))
    assert spread_set(HullRows(bare), torch.arange(60)) is None


@pytest.mark.parametrize("power", [-100, 0, 100])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_any_scale_and_any_stored_type(power: int, kind: torch.dtype) -> None:
    if kind == torch.float16 and power:
        pytest.skip("float16 does not reach so far")
    rows = torch.randn((80, 5), generator=torch.Generator().manual_seed(1)).to(kind)
    rows[7] = 0
    problem = ArgmaxProblem((rows.double() * 2.0**power).to(kind), Free())
    hull, spread = spread_of(problem)
    duals = centred(problem, torch.tensor([7]))
    assert bool(inside_hull(hull, spread, torch.tensor([7]), duals)[0])


@given(st.integers(0, 2**31), st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_who_is_proved_inside_never_wins_anywhere(seed: int, d: int, offsets: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    v = 6 * d + 4
    rows = torch.randint(-4, 5, (v, d), generator=generator).double()
    bias = torch.randint(-3, 4, (v,), generator=generator).double() if offsets else None
    problem = problem_of(rows, bias=bias)
    hull = HullRows(problem)
    spread = spread_set(hull, torch.arange(v))
    if spread is None:
        return
    duals = centred(problem, torch.arange(v))
    proved = inside_hull(hull, spread, torch.arange(v), duals)
    points = 100 * torch.randn((4000, d), generator=generator, dtype=torch.float64)
    logits = points @ problem.rows(slice(None)).T + problem.offset
    best = logits.amax(dim=1, keepdim=True)
    alone = ((logits == best).sum(dim=1) == 1)[:, None]
    assert not bool(((logits == best) & alone).any(dim=0)[proved].any())
