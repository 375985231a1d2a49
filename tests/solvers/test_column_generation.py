"""The outer loop: rivals in and out, limits, and margins that agree between backends and with a plain solver."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_answers import problem_of
from proofs import wins_exactly
from scipy.optimize import linprog, minimize

from solvers import registry
from solvers.attempt import Attempts, Status
from solvers.backend import Budget
from solvers.backends import column_generation, spanning
from solvers.backends.batched_barrier import BatchedBarrier
from solvers.backends.column_generation import ColumnGeneration, _Rows, _widen, _without_repeats
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import check_witnesses
from solvers.domains import Ball, Box, Domain, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

GAP = 1e-3


def gaussian(v: int, d: int, domain: Domain, *, offsets: bool = True, seed: int = 0) -> ArgmaxProblem:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((v, d), generator=generator)
    bias = torch.randn(v, generator=generator, dtype=torch.float64) * 0.5 if offsets else None
    return ArgmaxProblem(rows, domain, bias=bias)


def solved(name: str, problem: ArgmaxProblem, budget: Budget) -> Attempts:
    backend = registry.backend(name)()
    backend.prepare(problem)
    return backend.solve(torch.arange(problem.v), budget)


def derived_bounds(problem: ArgmaxProblem, attempts: Attempts) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds as the checkers work them out, never as the backend claims them."""
    points = attempts.points.to(torch.float64)
    lower = check_witnesses(problem, attempts.rows, points, dtype=torch.float64).lower.numpy()
    pairs = [attempts.hulls.of(i) for i in range(len(attempts.rows))]
    upper = [
        np.inf if pair is None else hull_upper_bound(problem, i, *pair)
        for i, pair in zip(attempts.rows.tolist(), pairs, strict=True)
    ]
    return lower, np.array(upper)


def plain_margin(problem: ArgmaxProblem, t: int) -> float:
    """The margin by scipy over all rivals at once: SLSQP on balls, a linear program on boxes."""
    rows, offset = problem.rows(slice(None)).numpy(), problem.offset.numpy()
    others = np.delete(np.arange(problem.v), t)
    lead, head_start = rows[t] - rows[others], offset[t] - offset[others]
    goal = np.append(np.zeros(problem.d), -1.0)
    if isinstance(problem.domain, Box):
        limits = [*zip(problem.domain.lo, problem.domain.hi, strict=True), (None, None)]
        return -linprog(goal, A_ub=np.hstack([-lead, np.ones((len(lead), 1))]), b_ub=head_start, bounds=limits).fun
    radius = problem.domain.radius if isinstance(problem.domain, Ball) else 1.0
    jacobian = np.hstack([lead, -np.ones((len(lead), 1))])
    result = minimize(
        lambda x: -x[-1],
        np.append(np.zeros(problem.d), head_start.min()),
        jac=lambda _: goal,
        constraints=[
            {"type": "ineq", "fun": lambda x: jacobian @ x + head_start, "jac": lambda _: jacobian},
            {
                "type": "ineq",
                "fun": lambda x: radius**2 - x[:-1] @ x[:-1],
                "jac": lambda x: np.append(-2 * x[:-1], 0.0),
            },
        ],
        method="SLSQP",
        options={"ftol": 1e-10, "maxiter": 500},
    )
    assert result.status in {0, 8}, result.message  # 8: no more to gain at this precision
    return -result.fun


# --- margins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        pytest.param(gaussian(40, 3, Ball(3.0)), ("batched-barrier", "clarabel"), id="ball-offsets"),
        pytest.param(gaussian(30, 6, Ball(6.0), offsets=False), ("batched-barrier", "clarabel"), id="ball"),
        pytest.param(gaussian(20, 4, Free(), offsets=False), ("batched-barrier", "clarabel"), id="free"),
        pytest.param(gaussian(40, 3, Box([-1] * 3, [1] * 3)), ("batched-barrier", "highs"), id="box-offsets"),
        pytest.param(gaussian(30, 4, Box([0.5] * 4, [2] * 4)), ("batched-barrier", "highs"), id="box-off-centre"),
    ],
)
def test_margins_agree_with_each_other_and_with_a_plain_solver(
    problem: ArgmaxProblem, names: tuple[str, ...]
) -> None:
    truth = np.array([plain_margin(problem, t) for t in range(problem.v)])
    size = np.abs(truth).max()
    for name in names:
        lower, upper = derived_bounds(problem, solved(name, problem, Budget(margin_gap=GAP)))
        assert (lower <= truth + 1e-6 * size).all()
        assert (upper >= truth - 1e-6 * size).all()
        sure = truth > 1e-4 * size
        assert sure.sum() >= 3
        assert ((upper - lower)[sure] <= 1.01 * GAP * upper[sure]).all(), name
        negative = truth < -1e-4 * size
        assert (upper[negative] < 0).all()


def test_more_rows_than_a_batch_holds_and_two_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = gaussian(600, 8, Ball(8.0))
    rows = torch.arange(0, 600, 4)
    outcome = []
    for jobs in (1, 2):
        backend = BatchedBarrier(jobs=jobs)
        backend.prepare(problem)
        monkeypatch.setattr(backend, "size_of_batch", lambda _: 37)
        attempts = backend.solve(rows, Budget(margin_gap=GAP))
        outcome.append([status.value for status in attempts.status])
        for i, row in enumerate(rows.tolist()):
            assert wins_exactly(problem, row, attempts.points[i]) == (attempts.status[i] is Status.WITNESS)
    assert outcome[0] == outcome[1]


# --- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batched-barrier", "clarabel", "highs"])
def test_a_budget_that_runs_out_is_called_a_limit(name: str) -> None:
    domain: Domain = Box([-1] * 5, [1] * 5) if name == "highs" else Ball(5.0)
    # Rows near 0 among many on the sphere: none of them wins, and one round is not enough to know.
    problem = gaussian(400, 5, domain, seed=2)
    attempts = solved(name, problem, Budget(seconds=1e-9))
    truth = solved(name, problem, Budget())
    assert Status.LIMIT in attempts.status
    for i, status in enumerate(attempts.status):
        if status is Status.WITNESS:
            assert wins_exactly(problem, i, attempts.points[i])
        if status is Status.NO_WITNESS:
            assert truth.status[i] is Status.NO_WITNESS
    assert attempts.work["rounds"] == 1


def test_progress_counts_every_row_once() -> None:
    problem = gaussian(50, 3, Ball(3.0))
    counts: list[int] = []
    backend = BatchedBarrier()
    backend.prepare(problem)
    backend.solve(torch.arange(50), Budget(progress=lambda _, n: counts.append(n)))
    assert sum(counts) == 50


@pytest.mark.parametrize("bad", [{"seconds": 0}, {"seconds": -1.0}, {"seconds": float("nan")}, {"iterations": 0}])
def test_an_empty_budget_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="more than 0 seconds"):
        Budget(**bad)  # type: ignore[arg-type]


# --- rivals in and out --------------------------------------------------------------------------------------------


def at_work(rivals: list[list[int]], multipliers: list[list[float]] | None = None) -> tuple[ColumnGeneration, _Rows]:
    backend = BatchedBarrier()
    backend.prepare(gaussian(30, 1, Ball(1.0)))
    table = torch.tensor(rivals)
    weights = torch.zeros(table.shape, dtype=torch.float64)
    if multipliers is not None:
        weights = torch.tensor(multipliers, dtype=torch.float64)
    n = len(table)
    point, bound = torch.zeros((n, 1), dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    return backend, _Rows(
        torch.arange(n), table, point, bound, point, bound, torch.zeros_like(weights), table, weights
    )


def test_new_rivals_are_added_once_and_padding_moves_last() -> None:
    backend, live = at_work([[5, 7, -1], [9, -1, -1]])
    added = backend._add_rivals(live, torch.tensor([[7, 8], [9, 9]]))
    assert added.tolist() == [True, False]
    assert live.rivals.tolist() == [[8, 7, 5], [9, -1, -1]]
    assert backend._add_rivals(live, torch.tensor([[8, 7], [1, 2]])).tolist() == [False, True]
    assert live.rivals.tolist() == [[8, 7, 5], [9, 2, 1]]


def test_pruning_keeps_the_rivals_that_matter_and_never_padding_before_them() -> None:
    # One dimension: above 4 rivals, the 3 with the largest multipliers stay.
    backend, live = at_work([[9, 8, 7, 6, 5], [4, 3, -1, -1, -1]], [[0.1, 0, 0.5, 0.4, 0], [0.0, 1.0, 9, 9, 9]])
    backend._prune(live, early=True)
    assert live.rivals.shape == (2, 3)
    assert sorted(live.rivals[0].tolist()) == [6, 7, 9]
    assert sorted(live.rivals[1].tolist()) == [-1, 3, 4]
    backend, live = at_work([[9, 8, 7, 6]])
    backend._prune(live, early=True)
    assert live.rivals.tolist() == [[9, 8, 7, 6]]


def test_late_rounds_prune_only_where_memory_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, live = at_work([[9, 8, 7, 6, 5]], [[0.1, 0, 0.5, 0.4, 0]])
    backend._prune(live, early=False)
    assert live.rivals.shape == (1, 5)
    monkeypatch.setattr(column_generation, "_RIVAL_BYTES", 8 * 3)
    backend._prune(live, early=False)
    assert sorted(live.rivals[0].tolist()) == [7, 9] or sorted(live.rivals[0].tolist()) == [6, 7]


@pytest.mark.parametrize("name", ["batched-barrier", "clarabel"])
@pytest.mark.parametrize("domain", [Ball(2.0), Free()], ids=["ball", "free"])
@pytest.mark.parametrize("offsets", [False, True], ids=["no-offsets", "offsets"])
def test_few_rivals_in_many_dimensions_need_no_more_dimensions_than_rivals(
    name: str, domain: Domain, offsets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = gaussian(12, 40, domain, offsets=offsets, seed=2)
    problem.weight[3] = problem.weight[4:7].mean(dim=0)
    problem.weight[5] = problem.weight[6]
    problem = ArgmaxProblem(problem.weight, domain, bias=problem.bias)
    plain = solved(name, problem, Budget(margin_gap=GAP))
    sizes = []

    def noted(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        smaller = spanning.in_span(rows)
        assert smaller is not None
        assert torch.allclose(smaller[0] @ smaller[1].transpose(1, 2), rows, atol=1e-12)
        sizes.append(smaller[0].shape[2])
        return smaller

    monkeypatch.setattr(spanning, "_FEWEST_DIMENSIONS", 1)
    monkeypatch.setattr(f"solvers.backends.{name.replace('-', '_')}.in_span", noted)
    spanned = solved(name, problem, Budget(margin_gap=GAP))
    assert sizes and max(sizes) <= 2 * 11 + 1  # the strongest and the nearest, repeats as padding, and ζ ≥ 0
    assert spanned.status == plain.status
    for one, two in zip(derived_bounds(problem, spanned), derived_bounds(problem, plain), strict=True):
        assert np.allclose(one, two, rtol=5 * GAP, atol=1e-6)


def test_large_batches_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = gaussian(60, 6, Ball(2.0))
    usual = solved("batched-barrier", problem, Budget(margin_gap=GAP))
    monkeypatch.setattr(column_generation, "_TOGETHER_BYTES", 1)
    monkeypatch.setattr(column_generation, "map_single_threaded", None)
    again = solved("batched-barrier", problem, Budget(margin_gap=GAP))
    assert again.status == usual.status
    assert torch.equal(again.lower, usual.lower)


def test_what_is_too_large_for_clarabel_is_a_failure_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solvers.backends.clarabel._MOST_NUMBERS", 5)
    attempts = solved("clarabel", gaussian(20, 3, Ball(2.0)), Budget(margin_gap=GAP))
    assert set(attempts.status) <= {Status.FAILED, Status.WITNESS}
    assert Status.FAILED in attempts.status
    assert "take too much memory" in attempts.note


def test_repeats_become_padding() -> None:
    assert _without_repeats(torch.tensor([[3, 1, 3, 1], [4, 5, 6, 7]])).tolist() == [[3, 1, -1, -1], [7, 6, 5, 4]]


def test_widening_fills_on_the_right() -> None:
    assert _widen(torch.tensor([[1.0]]), 3, -1.0).tolist() == [[1, -1, -1]]


def test_weights_survive_pruning() -> None:
    # Many rivals and few dimensions, so that rivals come and go: weights must still belong to the rows they name.
    problem = gaussian(500, 2, Ball(2.0), seed=4)
    attempts = solved("batched-barrier", problem, Budget(margin_gap=1e-6))
    for i in range(problem.v):
        pair = attempts.hulls.of(i)
        assert pair is not None
        assert hull_upper_bound(problem, i, *pair) == pytest.approx(float(attempts.upper[i]), abs=1e-4)


@pytest.mark.parametrize("name", ["batched-barrier", "clarabel"])
def test_equal_rivals_by_the_dozen(name: str) -> None:
    problem = problem_of([[1, 0], *[[0, 1]] * 30, [-1, -1], *[[0, 0]] * 20], Ball(1.0))
    attempts = solved(name, problem, Budget())
    assert attempts.status[0] is Status.WITNESS
    assert attempts.status[31] is Status.WITNESS
    assert {status for i, status in enumerate(attempts.status) if i not in {0, 31}} == {Status.NO_WITNESS}
