"""Textbook programs through other people's libraries, and the common way to get them wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from known_answers import problem_of
from proofs import wins_exactly

from solvers import registry
from solvers.attempt import Attempts, Status
from solvers.backend import Budget
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem

LINE = [[-1], [0], [1]]


def solved(name: str, problem: ArgmaxProblem, budget: Budget | None = None) -> Attempts:
    reason = next(entry for entry in registry.entries() if entry.name == name).missing()
    if reason is not None:
        pytest.skip(reason)
    backend = registry.backend(name)()
    backend.prepare(problem)
    return backend.solve(torch.arange(problem.v), budget or Budget())


def test_the_feasibility_program_calls_rows_reachable_that_no_hidden_state_reaches() -> None:
    # 2z−8 > z needs z > 8, which |z| ≤ 100 allows and the ball of radius 2 does not.
    problem = problem_of([[1, 0], [2, 0]], Ball(4), [0, -8])
    attempts = solved("linprog-feasibility", problem)
    assert attempts.status == [Status.WITNESS, Status.WITNESS]
    assert not wins_exactly(problem, 1, attempts.points[1])
    assert attempts.hulls.of(1) is None


def test_the_feasibility_program_denies_a_row_whose_lead_is_small() -> None:
    # Within |z| ≤ 100 the middle leads by at most 2⁻¹² < 10⁻³: the program is infeasible, the row can win.
    problem = problem_of(LINE, offsets=[0, 2**-12, 0])
    assert solved("linprog-feasibility", problem).status[1] is Status.NO_WITNESS
    assert solved("linprog-highs-ds", problem).status[1] is Status.WITNESS


def test_the_feasibility_program_reads_its_own_limit_as_a_no() -> None:
    generator = torch.Generator().manual_seed(0)
    problem = ArgmaxProblem(torch.randn((300, 12), generator=generator), Free())
    attempts = solved("linprog-feasibility", problem, Budget(iterations=1))
    assert Status.NO_WITNESS in attempts.status
    assert "status 1 read as a no" in attempts.note
    honest = solved("linprog-highs-ds", problem, Budget(iterations=1))
    assert Status.NO_WITNESS not in honest.status


@pytest.mark.parametrize("name", ["linprog-highs-ds", "linprog-highs-ipm", "pdlp", "cvxpy:HIGHS", "cvxpy:SCIPY"])
def test_the_multipliers_are_hull_weights(name: str) -> None:
    # Half of each end is ½ above the middle everywhere.
    attempts = solved(name, problem_of(LINE, Box([-1], [1]), [0, -0.5, 0]))
    pair = attempts.hulls.of(1)
    assert pair is not None
    assert dict(zip(*(part.tolist() for part in pair), strict=True)) == pytest.approx({0: 0.5, 2: 0.5}, abs=1e-6)
    assert float(attempts.upper[1]) == pytest.approx(-0.5, abs=1e-6)


@pytest.mark.parametrize("name", ["cvxpy:CLARABEL", "cvxpy:SCS", "cvxpy:ECOS", "cvxpy:CVXOPT"])
def test_cones_give_the_margin_over_the_ball(name: str) -> None:
    # With one competitor the margin is R·‖a−b‖ + difference of offsets: 2·5 ± 1.
    attempts = solved(name, problem_of([[3, 0], [0, 4]], Ball(4), [0, -1]))
    assert attempts.lower.tolist() == pytest.approx([11, 9], rel=1e-4)
    assert attempts.upper.tolist() == pytest.approx([11, 9], rel=1e-4)


def test_no_seconds_left_is_a_limit() -> None:
    attempts = solved("linprog-highs-ds", problem_of(LINE), Budget(seconds=1e-9))
    assert set(attempts.status) == {Status.LIMIT}
    assert attempts.work["programs"] <= 1


def test_pdlp_and_highspy_live_side_by_side() -> None:
    # Loaded into one process their two libhighs.so.1 clash, in either order.
    problem = problem_of(LINE, Box([-1], [1]))
    assert solved("highs", problem).status == solved("pdlp", problem).status
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, solvers.backends.pdlp; sys.exit('ortools' in sys.modules)"], check=False
    )
    assert loaded.returncode == 0


def test_a_pdlp_process_that_died_is_started_again() -> None:
    problem = problem_of(LINE, Box([-1], [1]))
    before = solved("pdlp", problem).status
    from solvers.backends.pdlp import _WORKER

    process = _WORKER.start()
    process.kill()
    process.wait()
    assert solved("pdlp", problem).status == before


def test_a_solver_behind_cvxpy_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = registry.backend("cvxpy:CLARABEL")
    monkeypatch.setattr(kind, "solver", "NO_SUCH_SOLVER")
    attempts = solved("cvxpy:CLARABEL", problem_of(LINE))
    assert set(attempts.status) == {Status.FAILED}
    assert "NO_SUCH_SOLVER" in attempts.note
