"""Margins by active sets: the compiled kernels by hand, brackets proved in rationals, odd heads, the pool of rows."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
import torch
from exact_truth import bound_exceeds_dual, exact_balance, exact_margin_at
from hypothesis import given, settings
from hypothesis import strategies as st
from known_answers import problem_of

from solvers import registry
from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Budget
from solvers.backends import active_set, margin_kernel, wolfe_kernel
from solvers.backends.active_set import ActiveSet
from solvers.backends.margin_kernel import Scratch, strongest
from solvers.backends.wolfe_kernel import Corral, nearest
from solvers.checks.exact import bound_by_weights
from solvers.checks.hull import hull_upper_bound, weights_fault
from solvers.checks.witness import check_witnesses
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem

GAP = 1e-3


def brackets(problem: ArgmaxProblem, budget: Budget | None = None, rows: torch.Tensor | None = None) -> Attempts:
    backend = ActiveSet()
    backend.prepare(problem)
    chosen = torch.arange(problem.v) if rows is None else rows
    return backend.solve(chosen, Budget(margin_gap=GAP) if budget is None else budget)


def gaussian(v: int, d: int, bias: float = 0.0, seed: int = 3) -> ArgmaxProblem:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn((v, d), generator=generator)
    offsets = bias * torch.randn(v, generator=generator, dtype=torch.float64)
    return ArgmaxProblem(weight, Ball(float(d)), bias=offsets)


# --- small programs -------------------------------------------------------------------------------------------------


def solved(points: list[list[float]], linear: list[float], tau: float = 1.0) -> tuple[np.ndarray, float, float]:
    """Weights, ‖v‖ + h·λ and what the point reaches, from all weight on the first point."""
    D, h = np.array(points), np.array(linear)
    square = float((D**2).sum(axis=1).mean())
    weights = np.eye(len(D))[0].copy()
    flat = not h.any()
    found = nearest(D @ D.T + square, h, square, len(D), weights, tau, flat, 1e-10, Corral.room(len(D)))
    return weights, float(np.linalg.norm(weights @ D) + h @ weights), float(found[1])


def test_the_nearest_point_of_a_segment() -> None:
    # The line through (1,1) and (1,−3) is nearest to 0 at (1,0) = ¾(1,1) + ¼(1,−3).
    weights, upper, reached = solved([[1, 1], [1, -3]], [0, 0])
    assert weights == pytest.approx([0.75, 0.25])
    assert (upper, reached) == pytest.approx((1, 1))


def test_a_point_that_does_not_help_leaves() -> None:
    # (1,0) is nearer to 0 than anything that (2,1) could bring.
    assert solved([[2, 1], [1, 0]], [0, 0])[0].tolist() == [0, 1]


def test_a_triangle_around_0() -> None:
    # 0 = ½(1,0) + ½(−1,0), or with the third point: v is 0 whichever is found.
    weights, upper, _ = solved([[2, 1], [-1, 1], [-1, -2]], [0, 0, 0])
    # 0 = a(2,1) + b(−1,1) + c(−1,−2): b + c = 2a and a + b = 2c, so all are ⅓.
    assert weights == pytest.approx([1 / 3] * 3)
    assert upper == pytest.approx(0, abs=1e-12)


def test_two_points_with_a_linear_term() -> None:
    # D = ±1 on a line, h = (½, −¼): with λ on the first, |2λ − 1| + ½λ − ¼(1 − λ) has slopes −1¼ and 2¾: λ = ½, ⅛.
    weights, upper, reached = solved([[1], [-1]], [0.5, -0.25])
    assert weights == pytest.approx([0.5, 0.5], abs=1e-6)
    assert (upper, reached) == pytest.approx((0.125, 0.125), abs=1e-6)


def test_a_steep_linear_term_takes_the_lowest_point() -> None:
    # The second point's −10 outweighs any length: 2 − 10.
    weights, upper, reached = solved([[1, 0], [0, 2]], [0, -10])
    assert weights.tolist() == [0, 1]
    assert (upper, reached) == pytest.approx((-8, -8))


def test_a_dependent_point_with_a_lower_linear_term_replaces_another() -> None:
    # (1,0) is the middle of (1,1) and (1,−1), and 1 lower in h: it takes all the weight, 1 + 0 − 1.
    weights, upper, _ = solved([[1, 1], [1, -1], [1, 0]], [0, 0, -1])
    assert weights == pytest.approx([0, 0, 1])
    assert upper == pytest.approx(0)


def test_an_equal_point_with_a_lower_linear_term_replaces_the_only_one() -> None:
    weights, upper, reached = solved([[1], [1]], [0.5, 0])
    assert weights.tolist() == [0, 1]
    assert (upper, reached) == pytest.approx((1, 1))


def test_equal_points_and_zero_points() -> None:
    weights, upper, _ = solved([[1, 0], [1, 0], [1, 0]], [0, 0, 0])
    assert (weights.sum(), upper) == pytest.approx((1, 1))
    weights, upper, _ = solved([[3, 4], [0, 0], [0, 0]], [0, 0, 0])
    assert (weights[0], upper) == pytest.approx((0, 0), abs=1e-12)


def test_the_factor_follows_points_that_join_and_leave() -> None:
    rng = np.random.default_rng(5)
    D, h = rng.standard_normal((9, 12)), rng.standard_normal(9)
    gram, corral, size = D @ D.T + 1.0, Corral.room(9), 0
    for j in (3, 1, 7, 8, 0, 2):
        assert wolfe_kernel._append(gram, h, corral, size, j)
        size += 1
    for position in (5, 0, 2):
        size = wolfe_kernel._remove(corral, size, position)
    order = corral.order[:size]
    assert order.tolist() == [1, 7, 0]
    factor = np.tril(corral.factor[:size, :size])
    assert factor @ factor.T == pytest.approx(gram[np.ix_(order, order)])
    assert factor @ corral.ones[:size] == pytest.approx(np.ones(size))
    assert factor @ corral.slopes[:size] == pytest.approx(-h[order])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_small_programs_are_solved_to_optimality(seed: int, k: int, e: int, flat: bool) -> None:
    rng = np.random.default_rng(seed)
    D = rng.integers(-3, 4, (k, e)).astype(float)
    h = np.zeros(k) if flat else rng.integers(-3, 4, k) / 2
    _, upper, reached = solved(D.tolist(), h.tolist())
    # Whatever reaches the bound from above within rounding is the optimum, by duality.
    assert reached <= upper + 1e-7
    assert upper - reached <= 3e-6 * max(1.0, abs(upper)) or (flat and upper <= 1e-7)


# --- the strongest rows ---------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.integers(1, 60), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_strongest_are_found(seed: int, v: int, most: int, ties: bool, above: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal(v).astype(np.float32)
    if ties:
        scores = np.round(scores)
    scores[rng.random(v) < 0.1] = -np.inf
    level = 0.5 if above else -np.inf
    scratch = Scratch.room(4, 1, v, most)
    size, largest = strongest(scores, level, most, scratch)
    wanted = np.sort(scores[scores > level])[::-1][:most]
    found = scratch.found[:size]
    assert np.sort(scores[found])[::-1].tolist() == wanted.tolist()
    assert len(set(found.tolist())) == size
    assert largest == scores.max()


def test_a_cluster_of_neighbours_does_not_crowd_out_the_rest() -> None:
    scores = np.zeros(1000, dtype=np.float32)
    scores[64:128], scores[[5, 700]] = 1.0, 2.0
    scratch = Scratch.room(4, 1, 1000, 8)
    size, _ = strongest(scores, 0.0, 8, scratch)
    assert size == 8
    assert {5, 700} < set(scratch.found[:8].tolist())
    assert all(64 <= j < 128 for j in set(scratch.found[:8].tolist()) - {5, 700})


# --- brackets -------------------------------------------------------------------------------------------------------


def test_margins_by_hand() -> None:
    # (2,2) is 2·√2·½ away from the line x+y = 2 through the others; R = 3.
    found = brackets(problem_of([[2, 2], [2, 0], [0, 2]], Ball(9)), Budget(margin_gap=1e-9))
    assert float(found.upper[0]) == pytest.approx(3 * sqrt(2))
    assert float(found.lower[0]) == pytest.approx(3 * sqrt(2))


def test_margins_with_offsets_by_hand() -> None:
    # Half of each end of a line is always ½ above the middle; an end leads it by 1 + ½ at z = ±1.
    found = brackets(problem_of([[-1.0], [0.0], [1.0]], Ball(1), [0, -0.5, 0]))
    assert found.upper.tolist() == pytest.approx([1.5, -0.5, 1.5])
    assert found.lower.tolist() == pytest.approx([1.5, -0.5, 1.5])
    assert found.status == [Status.WITNESS, Status.NO_WITNESS, Status.WITNESS]
    # An upper bound below zero is a proof, in rationals too.
    assert bound_by_weights(problem_of([[-1.0], [0.0], [1.0]], Ball(1), [0, -0.5, 0]), 1, *found.hulls.of(1))


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_brackets_agree_with_a_cone_program(bias: float) -> None:
    problem, rows = gaussian(300, 8, bias), torch.arange(0, 300, 6)
    other = registry.backend("clarabel")()
    other.prepare(problem)
    truth = other.solve(rows, Budget(margin_gap=1e-7))
    found = brackets(problem, rows=rows)
    room = 1e-6 * (1 + truth.upper.abs())
    assert (found.lower <= truth.upper + room).all()
    assert (found.upper >= truth.lower - room).all()
    assert (found.upper - found.lower <= GAP * found.upper.abs() + 1e-6).sum() >= len(rows) - int(
        (found.upper <= 1e-6).sum()
    )
    assert found.status == truth.status


def test_brackets_agree_with_the_nearest_point_row_by_row() -> None:
    problem, rows = gaussian(300, 8), torch.arange(0, 300, 6)
    other = registry.backend("nearest-point")()
    other.prepare(problem)
    truth = other.solve(rows, Budget(margin_gap=1e-6))
    found = brackets(problem, rows=rows)
    assert found.status == truth.status
    assert torch.allclose(found.upper, truth.upper, rtol=GAP, atol=1e-6)


@pytest.mark.parametrize("bias", [0.0, 4.0])
def test_the_checkers_prove_both_ends(bias: float) -> None:
    problem = gaussian(400, 16, bias)
    found = brackets(problem)
    check = check_witnesses(problem, found.rows, found.points, dtype=torch.float64)
    speakable = found.upper > 1e-6
    assert int(speakable.sum()) > 100
    assert torch.allclose(check.lower[speakable], found.lower[speakable], rtol=1e-5, atol=1e-5)
    for i in range(problem.v):
        rows, weights = found.hulls.of(i)
        assert weights_fault(problem, i, rows, weights) is None
        assert hull_upper_bound(problem, i, rows, weights) == pytest.approx(float(found.upper[i]), abs=1e-9, rel=1e-9)
    wide = found.upper - found.lower > GAP * found.upper.abs() + 1e-9
    assert not bool((wide & speakable).any())


def test_the_corral_has_at_most_one_row_more_than_dimensions() -> None:
    found = brackets(gaussian(300, 8), Budget(margin_gap=1e-6))
    assert max(len(found.hulls.of(i)[0]) for i in range(300)) <= 9


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(1, 4), st.booleans(), st.integers(1, 9))
@settings(max_examples=120, deadline=None)
def test_brackets_of_integer_heads_hold_exactly(seed: int, v: int, d: int, offsets: bool, square: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(-3, 4, (v, d)).tolist()
    bias = (rng.integers(-4, 5, v) / 2).tolist() if offsets else None
    problem = problem_of(rows, Ball(float(square)), bias)
    found, room = brackets(problem), Fraction(1, 10**6) * 40
    for t in range(v):
        # The point proves the lower end in rationals, the weights the upper one: the margin lies between.
        at = exact_margin_at(problem, t, found.points[t])
        assert Fraction(float(found.lower[t])) <= at + room
        v_, delta = exact_balance(problem, t, *found.hulls.of(t))
        assert bound_exceeds_dual(float(found.upper[t]) + float(room), problem, v_, delta)
        lower, upper = float(found.lower[t]), float(found.upper[t])
        # Where the margin is 0 no point but 0 reaches it: only the upper end says so.
        assert upper - lower <= GAP * abs(upper) + 1e-5 or (not offsets and upper <= 1e-7)


# --- odd heads ------------------------------------------------------------------------------------------------------


def test_rows_inside_the_hull_end_with_weights_that_leave_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    outer = torch.randn((400, 12), generator=generator)
    problem = ArgmaxProblem(torch.cat([outer, outer[:8] / 64]), Free())
    found = brackets(problem, rows=torch.arange(400, 408))
    assert found.status == [Status.NO_WITNESS] * 8
    assert float(found.upper.max()) < 1e-9
    for i in range(8):
        assert hull_upper_bound(problem, 400 + i, *found.hulls.of(i)) < 1e-6


def test_corrals_larger_than_the_first_room() -> None:
    # A row well inside needs all d + 1 = 181 rows, and more than 160 do not fit at first.
    generator = torch.Generator().manual_seed(1)
    outer = torch.randn((1500, 180), generator=generator)
    problem = ArgmaxProblem(torch.cat([outer, outer[:2] / 64]), Free())
    found = brackets(problem, rows=torch.tensor([1500, 3, 1501]))
    assert found.status == [Status.NO_WITNESS, Status.WITNESS, Status.NO_WITNESS]
    assert len(found.hulls.of(0)[0]) > active_set._ROOM[0]
    assert float(found.upper[0]) < 1e-7 < float(found.lower[1])


@pytest.mark.parametrize("exponent", [-100, 100])
@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_scales_do_not_matter(exponent: int, bias: float) -> None:
    # A power of two rounds nothing, so brackets are multiplied by it and nothing else.
    plain = gaussian(120, 6, bias)
    scaled = ArgmaxProblem(
        plain.weight * 2.0**exponent,
        plain.domain,
        bias=None if plain.bias is None else plain.bias * 2.0**exponent,
    )
    one, other = brackets(plain), brackets(scaled)
    assert one.status == other.status
    wins = torch.tensor([status is Status.WITNESS for status in one.status])
    assert torch.allclose(other.upper[wins] / 2.0**exponent, one.upper[wins], rtol=2 * GAP)
    assert torch.allclose(other.lower[wins] / 2.0**exponent, one.lower[wins], rtol=2 * GAP)


def test_zero_rows_duplicates_and_ties() -> None:
    rows = [[0, 0], [0, 0], [1, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [0, 2]]
    found = brackets(problem_of(rows, Ball(4.0)))
    # Only −e₁, −e₂ and 2e₂ are corners that stand alone: −e₁ is 1 from (0,·); the triangle's sides face the others.
    alone = {4, 6, 7}
    assert {i for i, status in enumerate(found.status) if status is Status.WITNESS} == alone
    assert float(found.upper[[0, 1, 2, 3, 5]].abs().max()) < 1e-9
    # (−1,0) faces the segment x = 0 from (0,−1) to (0,2) at distance 1; R = 2.
    assert float(found.upper[4]) == pytest.approx(2)


def test_all_rows_equal() -> None:
    found = brackets(problem_of([[1.0, 2.0]] * 5, Ball(1.0)))
    assert found.status == [Status.NO_WITNESS] * 5
    assert found.upper.tolist() == [0.0] * 5
    found = brackets(problem_of([[0.0]] * 3, Ball(1.0), [0, 0, 1]))
    assert found.upper.tolist() == pytest.approx([-1, -1, 1])


def test_one_dimension_and_two_rows() -> None:
    found = brackets(problem_of([[2.0], [5.0]], Ball(4.0), [1, 0]))
    # |2 − 5|·2 ± 1.
    assert found.lower.tolist() == pytest.approx([7, 5])
    assert found.upper.tolist() == pytest.approx([7, 5])


def test_offsets_far_larger_than_any_logit() -> None:
    found = brackets(problem_of([[1.0, 0], [0, 1], [1, 1]], Ball(1.0), [0, 1e12, -1e12]))
    assert found.upper.tolist() == pytest.approx([-1e12, 1e12, -2e12])
    assert found.status == [Status.NO_WITNESS, Status.WITNESS, Status.NO_WITNESS]


def test_rows_beyond_float32_fail_with_the_reason() -> None:
    problem = ArgmaxProblem(torch.tensor([[1e160, 0], [0, 1e160]], dtype=torch.float64), Ball(1.0))
    found = brackets(problem)
    assert found.status == [Status.FAILED] * 2
    assert "too large for float32" in found.note
    assert not bool(found.has_point.any())


def test_rows_that_float32_rounds_have_upper_bounds_from_float64() -> None:
    weight = torch.randn((60, 5), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    problem = ArgmaxProblem(weight, Ball(5.0), scale=torch.full((5,), 1 / 3, dtype=torch.float64), centred=True)
    found = brackets(problem)
    for i in range(60):
        assert hull_upper_bound(problem, i, *found.hulls.of(i)) == pytest.approx(float(found.upper[i]), abs=1e-10)


def test_other_domains_are_refused() -> None:
    rows = [[1.0, 0.0], [0.0, 1.0]]
    assert ActiveSet.why_not(problem_of(rows, Box([-1, -1], [1, 1]))) == (
        "active-set works on Free, Ball, Ellipsoid, not on Box"
    )
    assert ActiveSet.why_not(problem_of(rows, Free(), [0, 1])) == "active-set cannot do Free with offsets"


# --- the pool -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_rows_that_wait_and_many_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, bias: float) -> None:
    problem = gaussian(500, 8, bias)
    whole = brackets(problem)
    monkeypatch.setattr(active_set, "BLOCK_BYTES", 4 * 500 * 7)  # seven rows at a time
    backend = ActiveSet(jobs=3)
    backend.prepare(problem)
    seen: list[int] = []
    budget = Budget(margin_gap=GAP, progress=lambda _, n: seen.append(n))
    few = backend.solve(torch.arange(500), budget)
    assert few.status == whole.status
    assert sum(seen) == 500
    assert torch.allclose(few.upper, whole.upper, rtol=2 * GAP, atol=1e-6)
    assert few.work["rounds"] > 500 / 7
    assert whole.work["rounds"] < few.work["rounds"]


def test_without_a_gap_a_row_ends_with_its_sign() -> None:
    problem = gaussian(400, 16, 4.0)
    signs, bracketed = brackets(problem, Budget()), brackets(problem)
    assert signs.status == bracketed.status
    assert signs.work["pricings"] < bracketed.work["pricings"]
    wins = torch.tensor([status is Status.WITNESS for status in signs.status])
    assert (signs.lower[wins] > 0).all()
    assert (signs.upper[~wins] < 0).all()


def test_a_budget_that_is_spent_leaves_rows_open() -> None:
    problem = gaussian(400, 16)
    found = brackets(problem, Budget(iterations=1, margin_gap=1e-9))
    assert Status.LIMIT in found.status or (found.upper - found.lower > 1e-9 * found.upper).any()
    assert found.work["pricings"] <= 2 * 400
    none = brackets(problem, Budget(seconds=1e-9, margin_gap=1e-9))
    assert none.work["rounds"] == 1
    truth = brackets(problem, Budget(margin_gap=1e-6))
    assert (none.lower <= truth.upper + 1e-6).all()


def test_counters_add_up() -> None:
    found = brackets(gaussian(300, 8))
    assert 300 < found.work["pricings"] < 10 * 300
    assert found.work["support"] == sum(len(found.hulls.of(i)[0]) for i in range(300))
    assert found.work["candidates"] >= found.work["support"]


def test_rivals_without_weight_make_room_for_others() -> None:
    slots = margin_kernel.Slots.room(1, 6, 2)
    D = np.array([[1.0, 0.0], [5.0, 1.0], [1.0, 1.0], [9.0, 9.0], [2.0, -1.0], [3.0, 3.0]])
    slots.known[0], slots.square[0] = 6, 1.0
    slots.rival[0], slots.weight[0] = np.arange(10, 16), [0.5, 0, 0.5, 0, 0, 0]
    slots.gram[0] = D @ D.T + 1.0
    # v = (1, ½): the products with v are 1, 5½, 1½, 13½, 1½, 4½; the two with weight stay, and the least of the rest.
    assert margin_kernel._drop(slots, 0, 3, Corral.room(6)) == 3
    assert slots.rival[0, :3].tolist() == [10, 12, 14]
    assert slots.weight[0, :3].tolist() == [0.5, 0.5, 0.0]
    kept = D[[0, 2, 4]]
    assert slots.gram[0, :3, :3].tolist() == (kept @ kept.T + 1.0).tolist()
    assert margin_kernel._drop(slots, 0, 1, Corral.room(6)) == -1


# --- programs that begin with given rivals --------------------------------------------------------------------------


def moved(problem: ArgmaxProblem, by: float) -> ArgmaxProblem:
    generator = torch.Generator().manual_seed(9)
    weight = problem.weight + by * torch.randn(problem.weight.shape, generator=generator)
    return ArgmaxProblem(weight, problem.domain, bias=problem.offset)


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_rivals_of_a_problem_nearly_like_it_save_products(bias: float) -> None:
    problem = gaussian(600, 24, bias)
    near = moved(problem, 0.02)
    rivals = brackets(problem).hulls
    cold, warm = brackets(near), brackets(near, Budget(margin_gap=GAP, rivals=rivals))
    assert warm.work["pricings"] < 0.8 * cold.work["pricings"]
    # Both brackets hold the margin, so they overlap.
    assert bool((warm.lower <= cold.upper + 1e-6).all())
    assert bool((cold.lower <= warm.upper + 1e-6).all())
    for attempts in (cold, warm):
        assert bool((attempts.upper - attempts.lower <= 1.5 * GAP * attempts.upper.abs() + 1e-6).all())


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_rivals_that_mean_nothing_do_no_harm(data: st.DataObject) -> None:
    """Rows that there are not, the row itself, a row twice, weights of 0 and below, no rivals at all."""
    problem = gaussian(40, 6, data.draw(st.sampled_from([0.0, 0.5])))
    sizes = data.draw(st.lists(st.integers(0, 70), min_size=40, max_size=40))
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = generator.integers(-3, 44, start[-1])
    weights = generator.choice([-1.0, 0.0, 1e-12, 0.3, 1.0], start[-1])
    attempts = brackets(problem, Budget(margin_gap=GAP, rivals=Hulls(start, rows, weights)))
    for token in range(problem.v):
        assert float(attempts.lower[token]) <= float(attempts.upper[token]) + 1e-6
        pair = attempts.hulls.of(token)
        assert pair is not None
        assert weights_fault(problem, token, *pair) is None
        assert hull_upper_bound(problem, token, *pair) >= float(attempts.lower[token]) - 1e-6
    truth = brackets(problem)
    assert bool((attempts.lower <= truth.upper + 1e-6).all())
    assert bool((attempts.upper >= truth.lower - 1e-6).all())


def test_rivals_beyond_the_room_are_the_lightest() -> None:
    """A program has room for so many less those that a product adds; the heaviest are kept."""
    problem = gaussian(900, 6)
    many = np.arange(1, 800)
    weights = np.linspace(1.0, 2.0, len(many))
    rivals = Hulls(np.array([0, len(many)]), many, weights)
    attempts = brackets(problem, Budget(margin_gap=GAP, rivals=rivals), torch.tensor([0]))
    alone = brackets(problem, None, torch.tensor([0]))
    assert abs(float(attempts.upper[0] - alone.upper[0])) <= 2 * GAP * float(alone.upper[0].abs()) + 1e-6
