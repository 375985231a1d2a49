"""The witness check against the truth in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import known_answers
import numpy as np
import pytest
import torch
from exact_truth import exact_logits, exact_margin_at, problems
from hypothesis import given, settings
from hypothesis import strategies as st
from known_answers import problem_of

from solvers import precision
from solvers.checks import witness
from solvers.checks.exact import inside_domain, witness_beats
from solvers.checks.witness import check_witnesses, close_rivals, logit_error, single_competitor_bound
from solvers.domains import Ball, Box, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.recipes import recipe_points

BOTH = (torch.float32, torch.float64)


def points_for(problem: ArgmaxProblem, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """One point per row inside the domain: random, own-row, or far out."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn((problem.v, problem.d), generator=generator, dtype=torch.float64)
    if isinstance(problem.domain, Ball):
        z = z / z.norm(dim=1, keepdim=True) * problem.domain.radius * 0.9
    elif isinstance(problem.domain, Box):
        lo, hi = torch.from_numpy(problem.domain.lo), torch.from_numpy(problem.domain.hi)
        z = lo + (hi - lo) * torch.rand(z.shape, generator=generator, dtype=torch.float64)
    else:
        z = z * 10.0 ** (seed % 13 - 6)
    own = recipe_points(problem, "own-row", torch.arange(problem.v)).double()
    takes_own = inside_domain(problem.domain, own) & (torch.arange(problem.v) % 2 == 0)
    return torch.where(takes_own[:, None], own, z).to(dtype)


@given(problem=problems(), seed=st.integers(0, 2**16), dtype=st.sampled_from(BOTH), few=st.sampled_from((0, 10**9)))
@settings(max_examples=200, deadline=None)
def test_the_lower_bound_holds_whatever_was_rounded(
    problem: ArgmaxProblem, seed: int, dtype: torch.dtype, few: int
) -> None:
    tokens = torch.arange(problem.v)
    points = points_for(problem, seed, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(witness, "_FEW", few)  # with and without a float32 product before the one in float64
        check = check_witnesses(problem, tokens, points, dtype=dtype)
    for t in range(problem.v):
        if torch.isfinite(check.lower[t]):
            truth = exact_margin_at(problem, t, points[t])
            assert Fraction(float(check.lower[t])) <= truth
            # Not merely true but of use: off by no more than it says.
            assert truth <= Fraction(float(check.lower[t])) + 2 * Fraction(float(check.error[t])) * Fraction(33, 32)


@pytest.mark.parametrize("crowd", [1, 40, 300])
@pytest.mark.parametrize("shrunk", [False, True])
def test_of_many_rivals_only_those_near_the_best_are_worked_out_in_float64(
    crowd: int, shrunk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `crowd` rows nearly tie at every point: up to a limit they are told apart one by one, beyond it by a product.
    generator = torch.Generator().manual_seed(crowd)
    rows = torch.randn((700, 12), generator=generator)
    rows[:crowd] = rows[0] + 1e-7 * torch.randn((crowd, 12), generator=generator)
    offsets = torch.randn(700, generator=generator)
    offsets[:crowd] = 1.0
    problem = ArgmaxProblem(rows, Ball(12.0), bias=offsets)
    points = Ball(12.0).pulled_in(Ball(12.0).stretch(problem.rows(slice(None)) + 0.3))
    points = points * 0.5 if shrunk else points.to(torch.float32).double()
    widths: list[int] = []
    product = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, **to: (widths.append(a.dtype.itemsize), product(a, b, **to))[1])
    tokens = torch.arange(700)
    screened = check_witnesses(problem, tokens, points, dtype=torch.float64)
    assert (8 in widths) == (crowd == 300)
    monkeypatch.setattr(witness, "_FEW", 10**9)
    plain = check_witnesses(problem, tokens, points, dtype=torch.float64)
    assert 4 in widths
    # Both are proved bounds, each no more than its own rounding below the truth.
    assert float((screened.lower - plain.lower).abs().max()) <= float((screened.error + plain.error).max())
    assert float(screened.error.max()) < 1e-12
    assert torch.equal(screened.lower > 0, plain.lower > 0)
    assert bool((screened.lower > 0).any())
    assert bool((screened.lower < 0).any())


@given(problem=problems(), seed=st.integers(0, 2**16), dtype=st.sampled_from(BOTH))
@settings(max_examples=60, deadline=None)
def test_each_logit_errs_by_no_more_than_its_bound(problem: ArgmaxProblem, seed: int, dtype: torch.dtype) -> None:
    points = points_for(problem, seed, dtype)
    rows = problem.working_rows() if dtype == torch.float32 else problem.rows(slice(None))
    computed = (points @ rows.T).add_(problem.offset.to(dtype))
    for i in range(problem.v):
        bound = logit_error(problem, float(points[i].double().norm()) * (1 + 1e-12), dtype)
        for j, truth in enumerate(exact_logits(problem, points[i])):
            if torch.isfinite(bound[j]):
                assert abs(Fraction(float(computed[i, j])) - truth) <= Fraction(float(bound[j]))


@given(problem=problems(domains=("ball", "box", "free-without-offsets")), seed=st.integers(0, 2**16))
@settings(max_examples=80, deadline=None)
def test_the_upper_bounds_are_above_every_margin_reached(problem: ArgmaxProblem, seed: int) -> None:
    tokens = torch.arange(problem.v)
    points = recipe_points(problem, "own-row", tokens)
    scale = points.double().norm(dim=1) / problem.row_norm.clamp(min=1e-300)
    check = check_witnesses(problem, tokens, points, own_scale=scale)
    random = points_for(problem, seed, torch.float64)
    if isinstance(problem.domain, Free):
        random = random / random.norm(dim=1, keepdim=True).clamp(min=1e-300) * (1 - 1e-12)
    for t in range(problem.v):
        reached = max(exact_margin_at(problem, t, point) for point in random)
        if torch.isfinite(check.upper[t]):
            assert reached <= Fraction(float(check.upper[t]))
            assert int(check.upper_row[t]) not in {t, -1}
        for j in range(problem.v):
            bound = single_competitor_bound(problem, torch.tensor([t]), torch.tensor([j]))
            assert reached <= (float("inf") if bound.isinf() else Fraction(float(bound)))


@pytest.mark.parametrize("case", [*known_answers.BALL, *known_answers.BOX], ids=known_answers.case_id)
def test_one_competitor_bounds_the_known_margins(case: known_answers.KnownAnswer) -> None:
    tokens = torch.arange(case.problem.v)
    points = recipe_points(case.problem, "own-row", tokens)
    scale = points.double().norm(dim=1) / case.problem.row_norm.clamp(min=1e-300)
    upper = check_witnesses(case.problem, tokens, points, own_scale=scale).upper
    for t, margin in enumerate(case.margins):
        assert margin is None or upper[t] >= margin - 1e-15 * abs(margin)


def test_with_one_competitor_the_bound_is_the_margin() -> None:
    case = next(case for case in known_answers.BALL if case.name == "two-tokens")
    bound = single_competitor_bound(case.problem, torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert bound.tolist() == pytest.approx([11, 9], rel=1e-13)
    assert (bound >= torch.tensor([11.0, 9.0])).all()


def test_a_row_is_not_its_own_competitor() -> None:
    case = known_answers.BALL[0]
    assert single_competitor_bound(case.problem, torch.tensor([1]), torch.tensor([1])).isinf().all()


@pytest.mark.parametrize("limit", [1, 100, 2**27])
@pytest.mark.parametrize("dtype", BOTH)
def test_small_blocks_change_nothing(limit: int, dtype: torch.dtype) -> None:
    problem = ArgmaxProblem(torch.randn((40, 3), generator=torch.Generator().manual_seed(5)), Ball(3.0))
    tokens = torch.arange(40)
    points = recipe_points(problem, "own-row", tokens).to(dtype)
    scale = points.double().norm(dim=1) / problem.row_norm
    whole = check_witnesses(problem, tokens, points, dtype=dtype, own_scale=scale)
    parts = check_witnesses(problem, tokens, points, dtype=dtype, own_scale=scale, limit=limit)
    assert torch.allclose(whole.lower, parts.lower, atol=1e-5)
    assert torch.equal(whole.runner_up, parts.runner_up)
    assert torch.allclose(whole.upper, parts.upper, rtol=1e-5)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_points_that_are_not_finite_prove_nothing(dtype: torch.dtype, bad: float) -> None:
    for domain in (Free(), Ball(4.0), Box([-9, -9], [9, 9])):
        problem = problem_of([[1, 0], [-1, 0]], domain)
        points = torch.tensor([[1.0, bad], [bad, 0.0]], dtype=dtype)
        check = check_witnesses(problem, torch.tensor([0, 0]), points, dtype=dtype)
        assert (check.lower == -torch.inf).all()
        assert not witness_beats(problem, 0, points[0], np.array([1])).any()


@pytest.mark.parametrize("dtype", BOTH)
def test_points_outside_the_domain_prove_nothing(dtype: torch.dtype) -> None:
    rows = [[1, 0], [-1, 0]]
    # ‖(3, 4)‖ = 5 exactly: on the rim of the open ball.
    points = torch.tensor([[3.0, 4.0], [3.0, 3.75], [5.5, 0.0]], dtype=dtype)
    tokens = torch.zeros(3, dtype=torch.int64)
    ball = check_witnesses(problem_of(rows, Ball(25.0)), tokens, points, dtype=dtype).lower
    assert ball[0] == ball[2] == -torch.inf
    assert ball[1] > 5.9
    box = check_witnesses(problem_of(rows, Box([-3, -4], [3, 3.9])), tokens, points, dtype=dtype).lower
    assert box[0] == box[2] == -torch.inf
    assert box[1] > 5.9


@pytest.mark.parametrize("dtype", BOTH)
def test_overflow_never_makes_a_competitor_disappear(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    huge = float(largest) / 4
    # Row 1 wins by 1, yet its offset (or its product) may read as −inf in the working precision.
    offsets = ArgmaxProblem(
        torch.zeros((2, 1), dtype=torch.float64), Free(), bias=torch.tensor([-1.0, -0.5], dtype=torch.float64) * 1e39
    )
    check = check_witnesses(offsets, torch.tensor([0]), torch.zeros((1, 1), dtype=dtype), dtype=dtype)
    assert check.lower[0] <= 0
    if dtype == torch.float32:
        rows = torch.tensor([[-1e39, 3e38], [0.0, 0.0]], dtype=torch.float64)
        point = torch.tensor([[1e-3, 1.0]])
        check = check_witnesses(ArgmaxProblem(rows, Free()), torch.tensor([1]), point)
        assert check.lower[0] <= 0
    point = torch.tensor([[huge]], dtype=dtype)
    check = check_witnesses(problem_of([[-64.0], [-63.0]]), torch.tensor([0]), point, dtype=dtype)
    assert check.lower[0] <= 0


def test_underflow_is_accounted_for() -> None:
    # In float64 the squares, and with them the norms, are 0; the rows differ all the same.
    rows = torch.tensor([[1e-170, 0.0], [0.0, 2e-170]], dtype=torch.float64)
    problem = ArgmaxProblem(rows, Free())
    point = torch.tensor([[1e-120, 1e-120]], dtype=torch.float64)
    assert check_witnesses(problem, torch.tensor([0]), point, dtype=torch.float64).lower[0] <= 0
    assert witness_beats(problem, 1, point[0], np.array([0])).all()


@pytest.mark.parametrize("newer_switches", [False, True])
def test_reduced_precision_is_switched_off_for_a_proof_and_back_on_after_it(newer_switches: bool) -> None:
    case = known_answers.FREE[0]
    points = torch.ones((1, 3))
    plain = check_witnesses(case.problem, torch.tensor([0]), points)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        if newer_switches:
            torch.backends.mkldnn.matmul.fp32_precision = "tf32"
        found = check_witnesses(case.problem, torch.tensor([0]), points)
        assert torch.backends.mkldnn.matmul.fp32_precision == ("tf32" if newer_switches else "bf16")
        assert found.lower[0] == plain.lower[0]
    finally:
        torch.set_float32_matmul_precision(before)


def test_products_that_stay_reduced_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "keeps_all_bits", lambda _: False)
    with pytest.raises(BadInput, match="float32 products on cpu are computed in reduced precision"):
        check_witnesses(known_answers.FREE[0].problem, torch.tensor([0]), torch.ones((1, 3)))


def test_the_probe_tells_short_products_from_full_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.keeps_all_bits("cpu")
    real = torch.mm
    for short in (torch.bfloat16, torch.float16):
        monkeypatch.setattr(torch, "mm", lambda a, b, short=short: real(a.to(short), b.to(short)).to(torch.float32))
        assert not precision.keeps_all_bits("cpu")
    # TF32 keeps 10 bits after the point.
    monkeypatch.setattr(torch, "mm", lambda a, b: real((a * 2**10).round() / 2**10, b))
    assert not precision.keeps_all_bits("cpu")


def test_the_error_bound_of_a_block_fits_its_longest_point() -> None:
    # Both lengths share a power of two, so both points are in one block, with one bound.
    case = known_answers.FREE[0]
    points, rows = torch.tensor([[1.0, 0, 0], [1.9, 0, 0]]), torch.tensor([0, 0])
    together = check_witnesses(case.problem, rows, points)
    for i in range(2):
        alone = check_witnesses(case.problem, rows[:1], points[i : i + 1])
        assert together.error[i] >= alone.error[0] > 0
        assert together.lower[i] <= alone.lower[0]


def test_without_rigour_nothing_is_subtracted() -> None:
    case = known_answers.FREE[0]
    plain = check_witnesses(case.problem, torch.tensor([0]), torch.tensor([[1.0, 0, 0]]), rigorous=False)
    assert plain.lower[0] == 1
    assert plain.error[0] == 0
    assert check_witnesses(case.problem, torch.tensor([0]), torch.tensor([[1.0, 0, 0]])).lower[0] < 1


def test_a_tie_is_no_win() -> None:
    problem = problem_of([[1, 0], [1, 0], [-1, 0]])
    point = torch.tensor([[1.0, 0.0]])
    for dtype in BOTH:
        assert check_witnesses(problem, torch.tensor([0]), point.to(dtype), dtype=dtype).lower[0] <= 0
    assert witness_beats(problem, 0, point[0], np.array([1, 2])).tolist() == [False, True]


def test_a_difference_in_the_last_place_is_decided_exactly() -> None:
    # 1 + 2⁻⁵² against 1: a win by one unit in the last place, lost in float32 and inside the float64 bound.
    problem = ArgmaxProblem(torch.tensor([[1 + 2.0**-52], [1.0], [-3.0]], dtype=torch.float64), Free())
    point = torch.tensor([1.0], dtype=torch.float64)
    check = check_witnesses(problem, torch.tensor([0]), point[None], dtype=torch.float64)
    assert check.lower[0] <= 0 < check.lower[0] + 2 * check.error[0]
    rivals = close_rivals(problem, 0, point)
    assert rivals.tolist() == [1]
    assert witness_beats(problem, 0, point, rivals).all()
    assert not witness_beats(problem, 1, point, np.array([0])).any()


@given(problem=problems(), seed=st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_close_rivals_hold_every_row_that_is_not_beaten(problem: ArgmaxProblem, seed: int) -> None:
    for t, point in enumerate(points_for(problem, seed, torch.float64)):
        logits = exact_logits(problem, point)
        unbeaten = {j for j in range(problem.v) if j != t and logits[j] >= logits[t]}
        assert unbeaten <= set(close_rivals(problem, t, point).tolist())


def test_computed_rows_widen_the_bounds() -> None:
    rows = torch.tensor([[1.0, 0], [0, 1]])
    exact = ArgmaxProblem(rows, Ball(1.0))
    rounded = ArgmaxProblem(rows, Ball(1.0), weight_error=torch.tensor([0.25, 0.125], dtype=torch.float64))
    point = torch.tensor([[0.5, 0.0]])
    sure = check_witnesses(exact, torch.tensor([0]), point).lower[0]
    unsure = check_witnesses(rounded, torch.tensor([0]), point).lower[0]
    # ‖z‖·(error of both rows) = ½·⅜ is the least that must be given up.
    assert sure - unsure >= 0.1875
    assert single_competitor_bound(rounded, torch.tensor([0]), torch.tensor([1]))[0] >= 2**0.5 + 0.375
