"""Checks of a few witnesses against rows as they are stored: never more than is so, in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from solvers.checks.hull import hull_upper_bound
from solvers.checks.streamed import check_streamed, shared_hull_bounds
from solvers.checks.witness import check_witnesses, own_scales
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem
from solvers.recipes import recipe_points
from solvers.tilting import tilt

V, D = 70, 12
KINDS = {
    "plain": {},
    "norm": {"scale": True},
    "layernorm": {"scale": True, "centred": True, "shift": True},
    "offsets": {"bias": True},
}


def problem(kind: str, dtype: torch.dtype, domain: object = None) -> ArgmaxProblem:
    numbers = torch.Generator().manual_seed(4)
    given = KINDS[kind]
    rows = torch.randn(V, D, generator=numbers).to(dtype)
    rows[11] = rows[10]
    rows[12] = 0
    return ArgmaxProblem(
        rows, domain or Ball(squared_radius=float(D)),
        scale=torch.rand(D, generator=numbers) + 0.5 if given.get("scale") else None,
        shift=torch.randn(D, generator=numbers) / 8 if given.get("shift") else None,
        bias=torch.randn(V, generator=numbers) / 8 if given.get("bias") else None,
        centred=bool(given.get("centred")),
    )  # fmt: skip


def exact_margin(one: ArgmaxProblem, token: int, point: torch.Tensor, equal: set[int]) -> Fraction:
    """min over the rivals of (A[t]−A[j])·z + c[t]−c[j], with nothing rounded."""

    def number(values: torch.Tensor) -> list[Fraction]:
        return [Fraction(float(value)) for value in values.double()]

    z = number(point)
    if one.centred:
        mean = sum(z, Fraction()) / D
        z = [entry - mean for entry in z]
    scale = [Fraction(1)] * D if one.scale is None else number(one.scale)
    shift = [Fraction(0)] * D if one.shift is None else number(one.shift)

    def logit(row: int) -> Fraction:
        entries = number(one.weight[row])
        bias = Fraction(0) if one.bias is None else Fraction(float(one.bias[row]))
        # The shift is added after the norm, and is not centred.
        return sum((w * (s * x + b) for w, s, x, b in zip(entries, scale, z, shift, strict=True)), bias)

    return logit(token) - max(logit(row) for row in range(V) if row != token and row not in equal)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [None, 5])
def test_bounds_hold_exactly_and_are_close(kind: str, dtype: torch.dtype, columns: int | None) -> None:
    one = problem(kind, dtype)
    tokens = torch.tensor([0, 3, 10, 12, 69])
    points = recipe_points(one, "own-row", tokens)
    equal = {10: np.array([10, 11])}
    found = check_streamed(one, tokens, points, equal=equal, columns=columns)
    for at, token in enumerate(tokens.tolist()):
        if bool(torch.isfinite(points[at]).all()):
            exact = float(exact_margin(one, token, points[at], set(equal.get(token, ()))))
            assert found.lower[at] <= exact
            if columns is None:
                assert found.lower[at] > exact - 1e-3


def test_it_agrees_with_the_check_that_keeps_a_copy() -> None:
    one = problem("layernorm", torch.float32)
    tokens = torch.arange(13, V)
    points = recipe_points(one, "own-row", tokens)
    scales = own_scales(one, tokens, points)
    ours = check_streamed(one, tokens, points, own_scale=scales)
    theirs = check_witnesses(one, tokens, points, own_scale=scales)
    assert torch.allclose(ours.lower, theirs.lower, atol=1e-3)
    assert torch.equal(ours.lower > 0, theirs.lower > 0)
    assert bool((ours.upper >= ours.lower).all())
    assert torch.allclose(ours.upper, theirs.upper, rtol=0.2)


def test_equal_rows_and_rows_of_zeros() -> None:
    one = problem("plain", torch.bfloat16)
    tokens = torch.tensor([10, 11, 12])
    points = recipe_points(one, "own-row", tokens)
    alone = check_streamed(one, tokens, points, own_scale=own_scales(one, tokens, points))
    assert bool((alone.lower <= 0).all())
    assert alone.upper[:2].tolist() == [0.0, 0.0]
    assert alone.upper_row[:2].tolist() == [11, 10]
    # The shortest of the others is what a row of zeros is nearest to.
    norms = one.row_norm.clone()
    norms[12] = torch.inf
    assert int(alone.upper_row[2]) == int(norms.argmin())
    assert float(alone.upper[2]) >= float(norms.min()) * D**0.5


def test_what_is_no_point_of_the_domain_proves_nothing() -> None:
    for domain, outside in ((Ball(squared_radius=4.0), 3.0), (Box(-np.ones(D), np.ones(D)), 2.0)):
        one = problem("plain", torch.float32, domain)
        points = torch.zeros(3, D)
        points[0, 0], points[1, 0] = outside, torch.nan
        found = check_streamed(one, torch.tensor([0, 1, 2]), points)
        assert found.lower[:2].tolist() == [-float("inf")] * 2
        assert torch.isfinite(found.lower[2])


def test_numbers_beyond_float32_prove_nothing() -> None:
    rows = torch.eye(4, dtype=torch.float64) * 1e39
    one = ArgmaxProblem(rows, Free())
    found = check_streamed(one, torch.tensor([0]), torch.eye(4)[:1])
    assert found.lower.tolist() == [-float("inf")]
    tiny = ArgmaxProblem(torch.eye(4, dtype=torch.float64) * 1e-30, Free())
    assert check_streamed(tiny, torch.tensor([0]), torch.eye(4)[:1]).lower[0] <= 1e-30


@pytest.mark.parametrize("kind", KINDS)
def test_shared_weights_prove_what_single_ones_do(kind: str) -> None:
    one = problem(kind, torch.float32)
    rows, tokens = torch.arange(20, V), torch.tensor([0, 5, 12])
    weights = torch.rand(3, len(rows), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = shared_hull_bounds(one, tokens, rows, weights)
    for at, token in enumerate(tokens.tolist()):
        lam = (weights[at] / weights[at].sum()).numpy()
        theirs = hull_upper_bound(one, token, rows.numpy(), lam)
        assert ours[at] == pytest.approx(theirs, rel=1e-6)
        assert ours[at] >= hull_upper_bound(one, token, rows.numpy(), lam, rigorous=False) - 1e-12


def test_what_are_no_weights_bounds_nothing() -> None:
    one = problem("plain", torch.float32)
    weights = torch.ones(3, 10, dtype=torch.float64)
    weights[1, 0], weights[2] = -1.0, 0.0
    assert shared_hull_bounds(one, torch.tensor([30, 31, 32]), torch.arange(10), weights)[1:].tolist() == [np.inf] * 2
    assert shared_hull_bounds(one, torch.tensor([3]), torch.arange(10), weights[:1]).tolist() == [np.inf]
    twice = torch.cat([torch.arange(9), torch.tensor([0])])
    assert shared_hull_bounds(one, torch.tensor([30]), twice, weights[:1]).tolist() == [np.inf]


def test_tilting_finds_weights_within_and_directions_without() -> None:
    numbers = torch.Generator().manual_seed(1)
    rows = torch.randn(400, 20, generator=numbers)
    targets = torch.stack([torch.zeros(20), rows[:50].mean(dim=0), 3 * rows[7]])
    weights, ways = tilt(rows, targets, 1e-5)
    assert bool((weights >= 0).all())
    assert torch.allclose(weights.sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-5)
    reached = weights @ rows.double()
    assert bool(((reached - targets.double()).norm(dim=1)[:2] < 1e-4).all())
    assert float(targets[2] @ ways[2]) > float((rows @ ways[2]).max())
