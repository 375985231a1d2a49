"""The batched interior point on input at the edge: never a NaN that passes for a point."""

from __future__ import annotations

import pytest
import torch
from proofs import wins_exactly

from solvers.attempt import Attempts, Status
from solvers.backend import Budget
from solvers.backends import barrier
from solvers.backends.batched_barrier import BatchedBarrier
from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem


def domains(d: int) -> list[tuple[str, Domain, bool]]:
    return [
        ("free", Free(), False),
        ("free-offsets", Free(), True),
        ("ball", Ball(float(d)), False),
        ("ball-offsets", Ball(float(d)), True),
        ("box", Box([-1.0] * d, [1.0] * d), False),
        ("box-offsets", Box([-1.0] * d, [2.0] * d), True),
    ]


def shapes() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    random = torch.randn((12, 3), generator=generator, dtype=torch.float64)
    return {
        "identical-rivals": torch.tensor([[1.0, 0, 0]] + [[0.0, 1, 0]] * 9, dtype=torch.float64),
        "all-identical": torch.ones((5, 3), dtype=torch.float64),
        "all-zero": torch.zeros((5, 3), dtype=torch.float64),
        "a-zero-row": torch.cat([random, torch.zeros((1, 3), dtype=torch.float64)]),
        "one-dimension": random[:, :1].clone(),
        "fewer-rivals-than-dimensions": torch.randn((3, 12), generator=generator, dtype=torch.float64),
        "two-rows": random[:2].clone(),
        "on-a-line": random[:, :1] * torch.tensor([[1.0, 2.0, -1.0]], dtype=torch.float64),
        "one-large-row": torch.cat([random, 1e8 * random[:1]]),
        "nearly-equal": torch.cat([random, random * (1 + 1e-12)]),
    }


def sound(problem: ArgmaxProblem, attempts: Attempts) -> None:
    for i, status in enumerate(attempts.status):
        if status is Status.WITNESS:
            assert torch.isfinite(attempts.points[i]).all()
        assert not torch.isnan(attempts.lower[i])
        assert not torch.isnan(attempts.upper[i])
        pair = attempts.hulls.of(i)
        if pair is not None:
            assert (pair[1] >= 0).all()
            assert abs(pair[1].sum() - 1) < 1e-12
            assert i not in pair[0]


@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1.0, 1e8, 1e18])
@pytest.mark.parametrize("name", list(shapes()))
def test_degenerate_rows_give_no_nan(name: str, scale: float) -> None:
    rows = shapes()[name] * scale
    generator = torch.Generator().manual_seed(2)
    for _, domain, offsets in domains(rows.shape[1]):
        bias = torch.randn(len(rows), generator=generator, dtype=torch.float64) * scale if offsets else None
        problem = ArgmaxProblem(rows, domain, bias=bias)
        backend = BatchedBarrier()
        backend.prepare(problem)
        sound(problem, backend.solve(torch.arange(problem.v), Budget()))


@pytest.mark.parametrize("ratio", [1e-20, 1e-10, 1e10, 1e20])
def test_offsets_far_from_the_size_of_the_rows(ratio: float) -> None:
    rows = shapes()["a-zero-row"]
    bias = torch.linspace(-1, 1, len(rows), dtype=torch.float64) * ratio
    for _, domain, offsets in domains(3):
        if offsets:
            problem = ArgmaxProblem(rows, domain, bias=bias)
            backend = BatchedBarrier()
            backend.prepare(problem)
            attempts = backend.solve(torch.arange(problem.v), Budget())
            sound(problem, attempts)
            if ratio >= 1e10 and not isinstance(domain, Free):
                winners = [i for i, status in enumerate(attempts.status) if status is Status.WITNESS]
                assert winners == [problem.v - 1]
                assert wins_exactly(problem, winners[0], attempts.points[winners[0]])


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e18])
@pytest.mark.parametrize("offsets", [False, True])
def test_the_size_of_the_logits_does_not_matter(scale: float, offsets: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn((60, 3), generator=generator, dtype=torch.float64)
    bias = torch.randn(60, generator=generator, dtype=torch.float64)
    statuses = []
    for factor in (1.0, scale):
        problem = ArgmaxProblem(rows * factor, Ball(3.0), bias=bias * factor if offsets else None)
        backend = BatchedBarrier()
        backend.prepare(problem)
        statuses.append(backend.solve(torch.arange(60), Budget()).status)
    assert statuses[0] == statuses[1]


def restricted(rows: list[list[float]], offsets: list[float]) -> barrier.Restricted:
    difference = torch.tensor([rows], dtype=torch.float64)
    return barrier.Restricted(
        difference,
        torch.tensor([offsets], dtype=torch.float64),
        torch.ones((1, len(rows)), dtype=torch.float64),
        torch.zeros((1, difference.shape[2]), dtype=torch.float64),
        ball=True,
    )


@pytest.mark.parametrize(
    ("rows", "offsets", "margin"),
    [
        pytest.param([[1.0, 0.0]], [0.0], 1.0, id="one-rival"),
        pytest.param([[1.0, 0.0], [1.0, 0.0]], [0.0, 0.5], 1.0, id="two-equal-directions"),
        pytest.param([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0], 0.5**0.5, id="right-angle"),
        pytest.param([[1.0, 0.0], [-1.0, 0.0]], [0.25, 0.25], 0.25, id="opposite"),
        pytest.param([[0.0, 0.0]], [-1.0], -1.0, id="no-direction"),
    ],
)
def test_restricted_problems_solved_by_hand(rows: list[list[float]], offsets: list[float], margin: float) -> None:
    gap = torch.full((1,), 1e-9, dtype=torch.float64)
    solution = barrier.solve(restricted(rows, offsets), relative_gap=gap, tolerance=1e-10)
    assert solution.s[0] == pytest.approx(margin, abs=1e-7)
    assert solution.z.norm() <= 1 + 1e-12
    assert (solution.multipliers >= 0).all()


def test_one_iteration_still_gives_a_point_of_the_domain() -> None:
    gap = torch.full((1,), 1e-9, dtype=torch.float64)
    solution = barrier.solve(restricted([[1.0, 0.0]], [0.0]), relative_gap=gap, tolerance=1e-10, iterations=1)
    assert solution.iterations == 1
    assert torch.isfinite(solution.z).all()
    assert solution.z.norm() <= 1
    assert torch.isfinite(solution.s).all()
