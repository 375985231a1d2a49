"""Nearest points: hand-made polytopes, equivalence with the interior point, rows deep inside."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from known_answers import problem_of
from proofs import proved

from solvers import registry
from solvers.attempt import Status
from solvers.backend import Backend, Budget
from solvers.backends.nearest_point import _affine_weights, _Corral
from solvers.backends.nearest_point_batched import _onto_simplex
from solvers.domains import Ball, Free
from solvers.problem import ArgmaxProblem


def prepared(name: str, problem: ArgmaxProblem) -> Backend:
    backend = registry.backend(name)()
    backend.prepare(problem)
    return backend


def gaussian(v: int, d: int, bias: float = 0.0) -> ArgmaxProblem:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn((v, d), generator=generator)
    offsets = bias * torch.randn(v, generator=generator, dtype=torch.float64)
    return ArgmaxProblem(weight, Ball(float(d)), bias=offsets)


def test_the_affine_point_of_a_segment() -> None:
    # The line through (1,1) and (1,−3) is nearest to 0 at (1,0) = ¾(1,1) + ¼(1,−3).
    assert _affine_weights(np.array([[1.0, 1.0], [1.0, -3.0]])) == pytest.approx([0.75, 0.25])


def test_the_affine_point_of_dependent_points() -> None:
    weights = _affine_weights(np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]))
    assert weights.sum() == pytest.approx(1)
    assert weights @ np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]) == pytest.approx([1, 0])


def test_a_corral_drops_the_point_that_does_not_help() -> None:
    # (1,0) is nearer to 0 than anything that (2,1) could bring.
    corral = _Corral()
    corral.add(7, np.array([2.0, 1.0]))
    corral.add(9, np.array([1.0, 0.0]))
    corral.shrink()
    assert corral.rows == [9]
    assert corral.weights.tolist() == [1.0]


@pytest.mark.parametrize(
    ("point", "nearest"),
    [([1.0, 0.0, 0.0], [1, 0, 0]), ([0.0, 0.0, 0.0], [1 / 3] * 3), ([2.0, 1.5, -9.0], [0.75, 0.25, 0])],
)
def test_onto_the_simplex(point: list[float], nearest: list[float]) -> None:
    found = _onto_simplex(torch.tensor([point], dtype=torch.float64), torch.ones((1, 3), dtype=torch.bool))
    assert found[0].tolist() == pytest.approx(nearest)


def test_padding_gets_no_weight() -> None:
    found = _onto_simplex(torch.tensor([[0.0, 5.0, 0.0]]).double(), torch.tensor([[True, False, True]]))
    assert found[0].tolist() == pytest.approx([0.5, 0, 0.5])


@pytest.mark.parametrize("name", ["nearest-point", "nearest-point-batched"])
def test_margins_agree_with_the_interior_point(name: str) -> None:
    problem = gaussian(300, 8)
    rows = torch.arange(0, 300, 10)
    budget = Budget(margin_gap=1e-3)
    mine, other = (
        prepared(name, problem).solve(rows, budget),
        prepared("batched-barrier", problem).solve(rows, budget),
    )
    assert mine.status == other.status
    wins = torch.tensor([status is Status.WITNESS for status in mine.status])
    assert torch.allclose(mine.lower[wins], other.lower[wins], rtol=3e-3)
    # A first-order method gets near the gap that was asked for, not always to it.
    room = 1.1e-3 if name == "nearest-point" else 1e-2
    assert ((mine.upper - mine.lower)[wins] <= room * mine.upper[wins] + 1e-9).all()


def test_margins_with_offsets_agree_with_the_interior_point() -> None:
    problem = gaussian(300, 8, bias=3.0)
    rows = torch.arange(0, 300, 10)
    mine = prepared("nearest-point-batched", problem).solve(rows, Budget())
    other = prepared("batched-barrier", problem).solve(rows, Budget())
    assert sum(a == b for a, b in zip(mine.status, other.status, strict=True)) >= 0.9 * len(rows)
    for i, status in enumerate(mine.status):
        if status in {Status.WITNESS, Status.NO_WITNESS}:
            assert status == other.status[i]


@pytest.mark.parametrize("name", ["nearest-point", "nearest-point-batched"])
def test_rows_deep_inside_are_proved(name: str) -> None:
    # A sixteenth of a Gaussian row lies well inside the hull of 200 others in 6 dimensions.
    generator = torch.Generator().manual_seed(0)
    outer = torch.randn((200, 6), generator=generator)
    problem = ArgmaxProblem(torch.cat([outer, outer[:8] / 16]), Free())
    attempts = prepared(name, problem).solve(torch.arange(200, 208), Budget())
    assert attempts.status == [Status.NO_WITNESS] * 8
    assert [proved(problem, attempts, i) for i in range(8)] == ["unspeakable"] * 8


def test_the_weights_sit_on_few_rows() -> None:
    problem = gaussian(300, 8)
    attempts = prepared("nearest-point", problem).solve(torch.arange(0, 300, 10), Budget(margin_gap=1e-6))
    assert all(len(pair[0]) <= 9 for i in range(30) if (pair := attempts.hulls.of(i)) is not None)


def test_a_margin_by_hand() -> None:
    # (2,2) is 2·√2·½ away from the line x+y = 2 through the others; R = 3.
    attempts = prepared("nearest-point", problem_of([[2, 2], [2, 0], [0, 2]], Ball(9))).solve(
        torch.tensor([0]), Budget(margin_gap=1e-9)
    )
    assert float(attempts.upper[0]) == pytest.approx(3 * sqrt(2), rel=1e-5)
    assert float(attempts.lower[0]) == pytest.approx(3 * sqrt(2), rel=1e-5)
