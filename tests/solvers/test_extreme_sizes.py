"""Error bounds and equal rows where squares leave float64's range, against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from exact_truth import exact_balance, exact_row, fractions

from solvers.checks.equal_rows import equal_row_classes
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import single_competitor_bound
from solvers.domains import Ball, Box, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.rounding import gamma, row_lengths


def drawn(seed: int) -> ArgmaxProblem:
    """A small head whose parts have sizes from all over the range of float64."""
    draw = np.random.default_rng(seed)
    v, d = 5, int(draw.choice([1, 2, 7, 40]))
    size = 2.0 ** int(draw.integers(-560, 300))

    def part(shape: tuple[int, ...], most: int) -> torch.Tensor:
        spread = 2.0 ** draw.integers(-most, most + 1, shape).astype(float)
        return torch.from_numpy(draw.standard_normal(shape) * spread)

    radius_squared = 2.0 ** int(draw.integers(-40, 40))
    edge = 2.0 ** float(draw.integers(-20, 20))
    domains = [Ball(radius_squared), Free(), Box(np.full(d, -edge), np.full(d, edge * float(draw.uniform(0.1, 5))))]
    return ArgmaxProblem(
        part((v, d), 8) * size,
        domains[seed % 3],
        scale=part((d,), 3) if draw.random() < 0.7 else None,
        shift=part((d,), 60) if draw.random() < 0.7 else None,
        bias=part((v,), 4) * size if draw.random() < 0.5 else None,
        centred=bool(draw.random() < 0.5),
    )


def wide(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def length_squared(row: list[Fraction]) -> Fraction:
    return sum((x * x for x in row), Fraction(0))


@pytest.mark.parametrize("seed", range(60))
def test_rows_and_offsets_lie_within_their_error_bounds(seed: int) -> None:
    problem = drawn(seed)
    rows = problem.rows(torch.arange(problem.v))
    for t in range(problem.v):
        row, offset = exact_row(problem, t)
        off = [Fraction(float(x)) - y for x, y in zip(rows[t], row, strict=True)]
        assert length_squared(off) <= Fraction(float(problem.row_error[t])) ** 2
        assert abs(Fraction(float(problem.offset[t])) - offset) <= Fraction(float(problem.offset_error[t]))


def test_an_offset_of_tiny_rows_and_a_huge_shift_has_an_error_bound() -> None:
    # ‖row‖² underflows to 0, yet W·β is 1e-152·(1 + 3⁻¹ + …): rounded, by far more than 0.
    draw = np.random.default_rng(3)
    weight, shift = torch.from_numpy(draw.random((4, 20)) * 1e-165), torch.from_numpy(draw.random(20) * 1e13)
    problem = ArgmaxProblem(weight, Ball(1.0), shift=shift)
    exact = [sum(x * y for x, y in zip(fractions(row), fractions(shift), strict=True)) for row in weight]
    off = [abs(Fraction(float(c)) - e) for c, e in zip(problem.offset, exact, strict=True)]
    assert max(off) > 0
    assert all(x <= Fraction(float(bound)) for x, bound in zip(off, problem.offset_error, strict=True))
    assert float(problem.offset_error.max()) < 1e-13 * float(problem.offset.max())


@pytest.mark.parametrize("seed", range(60))
def test_upper_bounds_are_never_too_low(seed: int) -> None:
    problem = drawn(seed)
    if isinstance(problem.domain, Free):
        problem = problem.over(Ball(1.0))
    weights = np.random.default_rng(seed).dirichlet(np.ones(3))
    for rows, lam in ((np.array([1]), np.ones(1)), (np.array([1, 2, 4]), weights)):
        v, delta = exact_balance(problem, 0, rows, lam)
        bounds = [hull_upper_bound(problem, 0, rows, lam)]
        if len(rows) == 1:
            bounds.append(float(single_competitor_bound(problem, torch.tensor([0]), torch.from_numpy(rows))[0]))
        for bound in bounds:
            room = Fraction(bound) - delta
            if isinstance(problem.domain, Box):
                lo, hi = (
                    fractions(torch.from_numpy(problem.domain.lo)),
                    fractions(torch.from_numpy(problem.domain.hi)),
                )
                assert room >= sum((max(a * x, b * x) for a, b, x in zip(lo, hi, v, strict=True)), Fraction(0))
            else:
                assert room >= 0
                assert room**2 >= Fraction(problem.domain.squared_radius) * length_squared(v)


@pytest.mark.parametrize("d", [1, 3, 300])
@pytest.mark.parametrize("exponent", [-1060, -1000, -511, -300, 0, 300, 511, 1000])
def test_lengths_of_rows_whose_squares_leave_the_range(d: int, exponent: int) -> None:
    draw = np.random.default_rng(d)
    rows = torch.from_numpy(np.ldexp(draw.standard_normal((20, d)) * 2.0 ** draw.integers(-9, 9, (20, d)), exponent))
    for row, length in zip(rows, row_lengths(rows), strict=True):
        exact = length_squared(fractions(row))
        most = Fraction(1 + gamma(d + 2)) * Fraction(float(length)) + Fraction(2) ** -1074
        least = Fraction(1 - gamma(d + 2)) * Fraction(float(length)) - Fraction(2) ** -1074
        assert max(least, Fraction(0)) ** 2 <= exact <= most**2


def test_lengths_of_rows_without_any_or_without_a_finite_one() -> None:
    rows = torch.tensor([[0.0, 0], [1.5e308, 1.5e308], [np.inf, 1], [np.nan, 1]], dtype=torch.float64)
    lengths = row_lengths(rows)
    assert lengths[0] == 0
    assert not torch.isfinite(lengths[1:]).any()


@pytest.mark.parametrize("exponent", [0, -500, -1000])
def test_rows_that_centring_makes_equal_are_merged_at_any_scale(exponent: int) -> None:
    first = np.random.default_rng(1).integers(-99, 99, 30)
    other = first + np.eye(30, dtype=int)[7]
    rows = np.array([first, other, first + 5, other - 11, first + 60]) * 2.0**exponent
    problem = ArgmaxProblem(torch.from_numpy(rows), Ball(30.0), centred=True)
    assert equal_row_classes(problem).tolist() == [0, 1, 0, 1, 0]


def test_large_finite_rows_are_not_called_nan_or_inf() -> None:
    problem = ArgmaxProblem(wide([[1e160, 0], [0, 1e160], [-1e160, -1e160]]), Ball(2.0))
    assert problem.row_norm.tolist() == pytest.approx([1e160, 1e160, 1e160 * 2**0.5])


def test_rows_beyond_float64_are_named_as_such() -> None:
    with pytest.raises(BadInput, match=r"rows or offsets are too large for float64: 1; scale the head down"):
        ArgmaxProblem(wide([[1, 0], [1.5e308, 1.5e308]]), Ball(2.0))
    with pytest.raises(BadInput, match=r"rows hold NaN or Inf: 1$"):
        ArgmaxProblem(wide([[1, 0], [float("nan"), 1]]), Ball(2.0))
