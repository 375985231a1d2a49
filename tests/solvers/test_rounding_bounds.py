"""The rounding bounds at the sizes of real heads, on data whose errors come close to them, against exact sums.

Random rows of a few columns err by so little that a bound left out goes unnoticed. Here each bound is needed: every
test fails when the term that it is about is taken away, and most when it is a third of what it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from worst_rounding import (
    DIMENSIONS,
    DTYPES,
    PAIRS,
    SUMMED,
    UNIT,
    at_most,
    dyadic,
    exact_dot,
    exact_sum,
    losing_sum,
    one_by_one,
    summed_as_the_library_does,
    summed_one_by_one,
    swallowed,
)

from solvers.checks.exact import bound_by_weights, inside_domain
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import (
    beats_exactly,
    check_witnesses,
    close_rivals,
    logit_error,
    single_competitor_bound,
)
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem

Arithmetic = Callable[[], AbstractContextManager[None]]

each_size = pytest.mark.parametrize("d", DIMENSIONS)
each_precision = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
each_kind = pytest.mark.parametrize("kind", PAIRS)
each_order = pytest.mark.parametrize(("arithmetic", "lanes"), SUMMED.values(), ids=SUMMED)
each_size_and_scale = pytest.mark.parametrize(
    ("d", "power"), [(64, 0), (64, 60), (64, -60), (768, 0), (768, -60), (4096, 60), (16384, 0), (16384, -60)]
)
each_scale = pytest.mark.parametrize("power", [0, 60, -60], ids=["unscaled", "large", "small"])


def computed_dot(a: Tensor, z: Tensor) -> Fraction:
    """The product as it comes out when it is summed one by one."""
    return Fraction(float(one_by_one(a * z, 0)))


# --- witnesses -----------------------------------------------------------------------------------------------------


@each_size_and_scale
@each_precision
@each_kind
def test_the_logit_bound_holds_and_is_needed_in_the_worst_order(
    d: int, dtype: torch.dtype, kind: str, power: int
) -> None:
    a, z = PAIRS[kind](d, dtype)
    a, z = a * 2.0**power, z * 2.0 ** (-power // 2)
    problem = ArgmaxProblem(torch.stack([a, -a]), Free())
    radius = math.sqrt(float(exact_dot(z, z))) * (1 + 2.0**-50)
    bound = logit_error(problem, radius, dtype)
    for j, row in enumerate((a, -a)):
        error = abs(computed_dot(row, z) - exact_dot(row, z))
        assert error <= Fraction(float(bound[j]))
        # With a third of the bound it would not hold.
        assert error > Fraction(float(bound[j])) * (Fraction(4, 5) if kind == "same sign" else Fraction(2, 5))


def nearly_beaten(
    d: int, dtype: torch.dtype, kind: str, lanes: int, power: int, rivals: int = 1
) -> tuple[ArgmaxProblem, Tensor]:
    """Row 0 loses to its rivals at the point, by less than one unit; the rivals' logits are computed too low.

    Row 0 has one entry, so its own logit is exact.
    """
    a, z = PAIRS[kind](d, dtype, lanes)
    own = torch.zeros(d, dtype=dtype)
    own[0] = at_most(exact_dot(a, z), dtype)
    rows = torch.stack([own, *[a] * rivals]) * 2.0**power
    return ArgmaxProblem(rows, Free()), z * 2.0 ** (-power // 2)


@each_size_and_scale
@each_precision
@each_kind
@each_order
def test_no_witness_is_proved_by_what_rounding_swallowed(
    d: int, dtype: torch.dtype, kind: str, lanes: int, power: int, arithmetic: Arithmetic
) -> None:
    # A library sums in another order where there are enough rivals and points for it to work in blocks.
    many = 1 if arithmetic is summed_one_by_one else 15
    problem, z = nearly_beaten(d, dtype, kind, lanes, power, many)
    truth = exact_dot(problem.weight[0], z) - exact_dot(problem.weight[1], z)
    assert truth <= 0
    with arithmetic():
        check = check_witnesses(problem, torch.zeros(many, dtype=torch.int64), z.repeat(many, 1), dtype=dtype)
        assert (check.lower <= 0).all()
        assert all(Fraction(lower) <= truth for lower in check.lower.tolist())
        # … and says so without giving up more than its bound.
        highest = (check.lower + 2 * check.error).tolist()
        assert all(truth <= Fraction(value) for value in highest)
        if dtype == torch.float64:
            assert 1 in close_rivals(problem, 0, z)
            assert not beats_exactly(problem.restrict(torch.tensor([0, 1])), 0, z, float(check.lower[0]), 1)


@each_size
@each_precision
@each_kind
def test_floating_point_alone_would_prove_it(d: int, dtype: torch.dtype, kind: str) -> None:
    """The data above are what they are meant to be: without the bound, a row that loses passes as a winner."""
    problem, z = nearly_beaten(d, dtype, kind, 1, 0)
    with summed_one_by_one():
        plain = check_witnesses(problem, torch.tensor([0]), z[None], dtype=dtype, rigorous=False)
    assert float(plain.lower[0]) > 0.9 * (d - 4) * UNIT[dtype]


@each_size
@each_precision
def test_the_own_logit_is_lowered_too(d: int, dtype: torch.dtype) -> None:
    """Here it is the token's own product that comes out too high: −1 swallows the negative terms."""
    a, z = swallowed(d, dtype)
    rows = torch.stack([-a, torch.zeros(d, dtype=dtype)])
    lost = -at_most(exact_dot(a, z), torch.float64)
    problem = ArgmaxProblem(rows, Free(), bias=torch.tensor([0.0, lost], dtype=torch.float64))
    truth = exact_dot(-a, z) - Fraction(lost)
    assert truth <= 0
    with summed_one_by_one():
        tokens, points = torch.zeros(1, dtype=torch.int64), z[None]
        assert float(check_witnesses(problem, tokens, points, dtype=dtype, rigorous=False).lower[0]) > 0
        assert Fraction(float(check_witnesses(problem, tokens, points, dtype=dtype).lower[0])) <= truth
        if dtype == torch.float64:
            assert close_rivals(problem, 0, z).tolist() == [1]


@each_precision
@pytest.mark.parametrize("size", [1.0, 2.0**70, 2.0**-70])
def test_offsets_are_rounded_to_the_precision_of_the_product(dtype: torch.dtype, size: float) -> None:
    """The rival's offset lies just below the middle of two numbers and rounds down, past the token's own."""
    u = UNIT[dtype]
    base = 1.0 if dtype == torch.float32 else 1.0 - 2.0**-40
    rival, own = base + u * 0.96875, base + u * 0.5
    if dtype == torch.float64:
        rival, own = base, base  # in float64 there is nothing in between: a tie, which is no win
    bias = torch.tensor([own, rival], dtype=torch.float64) * size
    problem = ArgmaxProblem(torch.zeros((2, 3), dtype=torch.float64), Free(), bias=bias)
    check = check_witnesses(problem, torch.tensor([0]), torch.zeros((1, 3), dtype=dtype), dtype=dtype)
    assert Fraction(float(check.lower[0])) <= Fraction(own - rival) * Fraction(size)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@given(seed=st.integers(0, 2**32 - 1), d=st.sampled_from([3, 17, 64, 768]), power=st.integers(-40, 40))
@settings(max_examples=25, deadline=None)
def test_random_rows_of_every_size_stay_within_the_bound(dtype: torch.dtype, seed: int, d: int, power: int) -> None:
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], d) if seed % 2 else np.ones(d)
    base = rng.uniform(0.5, 1, d) * signs
    rows = torch.from_numpy(np.stack([base * (1 + 2.0**-20 * rng.standard_normal(d)) for _ in range(4)])).to(dtype)
    rows = rows * 2.0**power
    z = torch.from_numpy(rng.uniform(0.5, 1, d)).to(dtype)
    problem = ArgmaxProblem(rows, Free())
    logits = [exact_dot(row, z) for row in rows]
    with summed_one_by_one():
        check = check_witnesses(problem, torch.arange(4), z.repeat(4, 1), dtype=dtype)
    for t in range(4):
        truth = logits[t] - max(logit for j, logit in enumerate(logits) if j != t)
        assert Fraction(float(check.lower[t])) <= truth <= Fraction(float(check.lower[t] + 2 * check.error[t]))


# --- upper bounds --------------------------------------------------------------------------------------------------


def exceeds(bound: float, square: Fraction, delta: Fraction) -> bool:
    """Whether bound ≥ √square + delta, exactly."""
    room = Fraction(bound) - delta
    return room >= 0 and room * room >= square


@each_size_and_scale
@each_order
def test_a_norm_that_swallows_its_small_entries(d: int, lanes: int, power: int, arithmetic: Arithmetic) -> None:
    """R·‖v‖ comes out too low. The offset is chosen so that the margin is just positive, and computed as negative."""
    v = torch.full((d,), 2.0**-26.5 * (1 - 2.0**-20), dtype=torch.float64)  # the squares are just below u
    v[:lanes] = 1.0
    v = v * 2.0**power
    square = exact_dot(v, v) * 4
    delta = -math.nextafter(math.sqrt(float(square)), 0) * (1 - 2.0**-51)
    assert exceeds(0.0, square, -Fraction(-delta)) is False  # the margin is positive
    rows = torch.stack([v, torch.zeros(d, dtype=torch.float64)])
    problem = ArgmaxProblem(rows, Ball(4.0), bias=torch.tensor([delta, 0.0], dtype=torch.float64))
    one, lam = np.array([1]), np.ones(1)
    with arithmetic():
        bound = hull_upper_bound(problem, 0, one, lam)
        nearest = float(single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0])
        bare = ArgmaxProblem(rows, Ball(4.0))
        for value in (
            hull_upper_bound(bare, 0, one, lam),
            float(single_competitor_bound(bare, torch.tensor([0]), torch.tensor([1]))[0]),
        ):
            assert exceeds(value, square, Fraction(0)), "a bound below the true margin"
    for value in (bound, nearest):
        assert exceeds(value, square, Fraction(delta)), "a bound below the true margin"
        assert value > 0, "a proof that a token which can win never wins"
        assert value <= 2 * (d + 40) * 2.0**-53 * 4 * 2.0**power * math.sqrt(lanes + 1), "far too loose"


@pytest.mark.parametrize("k", [64, 1024, 4096])
@each_order
@each_scale
@pytest.mark.parametrize("kind", ["ball", "box"])
def test_many_weights_that_are_swallowed(k: int, lanes: int, power: int, kind: str, arithmetic: Arithmetic) -> None:
    """v = Σλ_j(A[t]−A[j]) comes out too small: the first `lanes` terms swallow the others."""
    terms = np.full(k, 2.0**-53)
    terms[:lanes] = 1.0
    rows = torch.from_numpy(np.concatenate([[0.0], -terms * k])[:, None]) * 2.0**power
    lam = np.full(k, 1.0 / k)
    v = -exact_sum(rows[:, 0]) / k
    delta = -at_most(v, torch.float64)
    if Fraction(delta) + v == 0:
        delta = math.nextafter(delta, 0)
    assert v + Fraction(delta) > 0
    bias = torch.zeros(k + 1, dtype=torch.float64)
    bias[0] = delta
    domain = Ball(1.0) if kind == "ball" else Box([-1.0], [1.0])
    problem = ArgmaxProblem(rows, domain, bias=bias)
    with arithmetic():
        bound = hull_upper_bound(problem, 0, np.arange(1, k + 1), lam)
        bare = hull_upper_bound(ArgmaxProblem(rows, domain), 0, np.arange(1, k + 1), lam)
    assert Fraction(bare) >= v
    assert Fraction(bound) >= v + Fraction(delta)
    assert bound > 0, "a proof that a token which can win never wins"
    assert bound <= 8 * (k + 40) * 2.0**-53 * lanes * 2.0**power, "far too loose"
    assert not bound_by_weights(problem, 0, np.arange(1, k + 1), lam)


@pytest.mark.parametrize("k", [64, 1024, 4096])
@each_order
@pytest.mark.parametrize("kind", ["ball", "box"])
def test_many_offsets_that_are_swallowed(k: int, kind: str, lanes: int, arithmetic: Arithmetic) -> None:
    """δ = Σλ_j(c[t]−c[j]) comes out too low: −1 swallows the small positive terms."""
    terms = np.full(k, 2.0**-54)
    terms[:lanes] = -1.0
    offsets = np.concatenate([[0.0], -terms * k])
    delta = -exact_sum(torch.from_numpy(offsets)) / k
    row = math.nextafter(-at_most(delta, torch.float64), 2.0 * k)  # R·‖v‖, just enough for the margin to be positive
    rows = torch.zeros((k + 1, 1), dtype=torch.float64)
    rows[0, 0] = row
    assert Fraction(row) + delta > 0
    domain = Ball(1.0) if kind == "ball" else Box([-1.0], [1.0])
    problem = ArgmaxProblem(rows, domain, bias=torch.from_numpy(offsets))
    equal = ArgmaxProblem(rows * 0, domain, bias=problem.bias)
    with arithmetic():
        bound = hull_upper_bound(problem, 0, np.arange(1, k + 1), np.full(k, 1.0 / k))
        bare = hull_upper_bound(equal, 0, np.arange(1, k + 1), np.full(k, 1.0 / k))
    assert Fraction(bare) >= delta
    assert Fraction(bound) >= Fraction(row) + delta
    assert bound > 0, "a proof that a token which can win never wins"
    assert bound <= 8 * (k + 40) * 2.0**-53 * lanes, "far too loose"


@each_size_and_scale
@each_order
def test_a_box_whose_corners_are_swallowed(d: int, lanes: int, power: int, arithmetic: Arithmetic) -> None:
    """Σ max(lo·v, hi·v) comes out too low."""
    a, reach = swallowed(d, torch.float64, lanes)
    rows = torch.stack([a * 2.0**power, torch.zeros(d, dtype=torch.float64)])
    highest = exact_dot(rows[0], reach)
    delta = -at_most(highest, torch.float64)
    if highest + Fraction(delta) == 0:
        delta = math.nextafter(delta, 0)
    problem = ArgmaxProblem(
        rows, Box(-2 * reach.numpy(), reach.numpy()), bias=torch.tensor([delta, 0.0], dtype=torch.float64)
    )
    # The other corner: −2·reach on the columns that are negative.
    mirrored = ArgmaxProblem(
        -rows, Box(-reach.numpy(), 2 * reach.numpy()), bias=torch.tensor([delta, 0.0], dtype=torch.float64)
    )
    for case in (problem, mirrored):
        with arithmetic():
            bound = hull_upper_bound(case, 0, np.array([1]), np.ones(1))
        assert Fraction(bound) >= highest + Fraction(delta) > 0
        assert bound <= 4 * (d + 40) * 2.0**-53 * lanes * 2.0**power, "far too loose"


@each_size
@each_order
def test_one_competitor_in_a_box_far_from_zero(d: int, lanes: int, arithmetic: Arithmetic) -> None:
    """(A[t]−A[j])·centre comes out too low. The box is narrow, and as wide in each column as the rows differ."""
    a, centre = swallowed(d, torch.float64, lanes)
    half = a * 2.0**-40
    domain = Box((centre - half).numpy(), (centre + half).numpy())
    lo, hi = torch.from_numpy(domain.lo), torch.from_numpy(domain.hi)
    problem = ArgmaxProblem(torch.stack([a, torch.zeros(d, dtype=torch.float64)]), domain)
    with arithmetic():
        bound = single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0]
        opposite = single_competitor_bound(problem, torch.tensor([1]), torch.tensor([0]))[0]
    assert Fraction(float(bound)) >= exact_dot(a, hi)
    assert Fraction(float(opposite)) >= -exact_dot(a, lo)


@pytest.mark.parametrize("size", [1.0, 2.0**300, 2.0**-300])
def test_the_last_additions_are_rounded_too(size: float) -> None:
    """R·‖v‖ and δ are exact here; the sum of several blockers' offsets is what rounds."""
    rng = np.random.default_rng(4)
    for _ in range(300):
        radius, row = 2.0 ** rng.integers(-3, 4), rng.uniform(1, 2) * size
        delta = -row * radius * (1 + 2.0**-52 * rng.integers(-3, 4))
        problem = ArgmaxProblem(
            torch.tensor([[row], [0.0]], dtype=torch.float64),
            Ball(radius**2),
            bias=torch.tensor([delta, 0.0], dtype=torch.float64),
        )
        truth = Fraction(radius) * Fraction(row) + Fraction(delta)
        assert Fraction(hull_upper_bound(problem, 0, np.array([1]), np.ones(1))) >= truth
        assert Fraction(float(single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0])) >= truth


# --- rows and offsets ----------------------------------------------------------------------------------------------


def exact_row_distance(problem: ArgmaxProblem, t: int, computed: Tensor) -> Fraction:
    """The squared distance between a row as computed and as defined: centre(weight·scale)."""
    raw, p = dyadic(problem.weight[t])
    if problem.scale is not None:
        scale, q = dyadic(problem.scale)
        raw, p = [x * y for x, y in zip(raw, scale, strict=True)], p + q
    total = sum(raw) if problem.centred else 0
    got, q = dyadic(computed)
    # Everything over d·2**shift.
    shift, d = max(p, q), problem.d
    parts = (((x * d - total) << (shift - p)) - (y * d << (shift - q)) for x, y in zip(raw, got, strict=True))
    return Fraction(sum(x * x for x in parts), (d << shift) ** 2)


@each_size_and_scale
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "γ"])
@pytest.mark.parametrize("arithmetic", [summed_one_by_one, summed_as_the_library_does])
def test_the_mean_that_is_subtracted_is_rounded(d: int, power: int, scaled: bool, arithmetic: Arithmetic) -> None:
    row = losing_sum(d) * 2.0**power
    rng = np.random.default_rng(d)
    scale = torch.from_numpy(rng.choice([0.3, 1.7, 3.1], d)) if scaled else None
    rows = torch.stack([row, -row, row * torch.from_numpy(rng.uniform(0.5, 1, d)), row.flip(0)])
    with arithmetic():
        problem = ArgmaxProblem(rows, Ball(float(d)), scale=scale, centred=True)
        computed, error = problem.rows(slice(None)), problem.row_error
    for t in range(4):
        assert exact_row_distance(problem, t, computed[t]) <= Fraction(float(error[t])) ** 2


@each_size
def test_the_error_of_the_mean_comes_close_to_its_bound(d: int) -> None:
    with summed_one_by_one():
        problem = ArgmaxProblem(losing_sum(d).repeat(2, 1), Ball(float(d)), centred=True)
        computed, error = problem.rows(slice(None)), problem.row_error
    assert exact_row_distance(problem, 0, computed[0]) > (Fraction(float(error[0])) / 10) ** 2


@each_size
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_product_with_the_scale_is_rounded(d: int, dtype: torch.dtype) -> None:
    """One rounding for each entry; the largest there is, at every entry, where the weights have 53 bits."""
    rng = np.random.default_rng(d)
    rows = torch.from_numpy(rng.uniform(-1, 1, (2, d))).to(dtype)
    rows[0] = 1 + 2.0**-7  # (1 + 2⁻⁷)(1 + 2⁻⁴⁶) is 2⁻⁵³ above a float64
    scale = torch.full((d,), 1 + 2.0**-46, dtype=torch.float64)
    problem = ArgmaxProblem(rows, Ball(float(d)), scale=scale)
    computed = problem.rows(slice(None))
    for t in range(2):
        assert exact_row_distance(problem, t, computed[t]) <= Fraction(float(problem.row_error[t])) ** 2
    assert exact_row_distance(problem, 0, computed[0]) > (Fraction(float(problem.row_error[0])) / 2) ** 2


@each_size_and_scale
@each_kind
@each_order
@pytest.mark.parametrize("bias", [None, -1.0])
def test_offsets_from_a_large_shift(
    d: int, kind: str, power: int, lanes: int, bias: float | None, arithmetic: Arithmetic
) -> None:
    a, beta = PAIRS[kind](d, torch.float64, lanes)
    rows = torch.stack([a, -a, a * 0.75, a.flip(0)])
    beta = beta * 2.0**power
    biases = None if bias is None else torch.full((4,), bias * 2.0**power * lanes, dtype=torch.float64)
    if biases is not None:
        biases[1] += 2.0**power / 3
    with arithmetic():
        problem = ArgmaxProblem(rows, Ball(float(d)), shift=beta, bias=biases)
        offset, error = problem.offset, problem.offset_error
    for t in range(4):
        truth = exact_dot(rows[t], beta) + (0 if biases is None else Fraction(float(biases[t])))
        assert abs(Fraction(float(offset[t])) - truth) <= Fraction(float(error[t]))
    if kind == "same sign" and lanes == 1:
        with summed_one_by_one():
            worst = ArgmaxProblem(rows, Ball(float(d)), shift=beta)
            lost = exact_dot(rows[0], beta) - Fraction(float(worst.offset[0]))
            assert lost > Fraction(float(worst.offset_error[0])) * Fraction(2, 3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_bias_that_swallows_the_product_with_the_shift(sign: float) -> None:
    rows = torch.tensor([[2.0**-54 * 1.9375], [0.0]], dtype=torch.float64)
    problem = ArgmaxProblem(
        rows,
        Ball(1.0),
        shift=torch.tensor([sign], dtype=torch.float64),
        bias=torch.tensor([sign, 0.0], dtype=torch.float64),
    )
    truth = Fraction(sign) * (1 + Fraction(float(rows[0, 0])))
    assert abs(Fraction(float(problem.offset[0])) - truth) <= Fraction(float(problem.offset_error[0]))
    assert Fraction(float(problem.offset[0])) != truth


# --- domains -------------------------------------------------------------------------------------------------------


@each_size_and_scale
@each_precision
@each_order
def test_points_just_outside_the_ball(
    d: int, dtype: torch.dtype, power: int, lanes: int, arithmetic: Arithmetic
) -> None:
    z = torch.full((d,), 2.0**-26.5 * (1 - 2.0**-20), dtype=dtype)
    z[:lanes] = 1.0
    z = z * 2.0**power
    square = exact_dot(z, z)
    rim = at_most(square, torch.float64)
    with arithmetic():
        assert inside_domain(Ball(rim), z[None]).tolist() == [False]
        assert inside_domain(Ball(math.nextafter(rim, math.inf)), z[None]).tolist() == [True]
