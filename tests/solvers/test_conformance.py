"""One suite for every backend: what it claims must be true, and what it finds must pass the checkers."""

from __future__ import annotations

import math

import known_answers
import numpy as np
import pytest
import torch
from known_answers import SPEAKABLE, UNSPEAKABLE, KnownAnswer
from proofs import UNDECIDED, proved, wins_exactly

from solvers import registry
from solvers.attempt import Attempts, Status
from solvers.backend import Backend, Budget
from solvers.checks.exact import bound_by_weights, hull_membership
from solvers.checks.hull import hull_upper_bound, weights_fault
from solvers.checks.witness import check_witnesses

SLACK = 1e-6
"""Relative to the size of the logits: float32 pricing and the distance kept from the rim of an open ball."""

GAP = 1e-3

TINY = (Budget(iterations=1), Budget(seconds=1e-9), Budget(iterations=1, seconds=1e-9))


def backends() -> list[object]:
    """Every registered backend on every device it runs on, as pytest parameters."""
    parameters = []
    for entry in registry.entries():
        missing = entry.missing()
        devices = ("cpu",) if missing else entry.load().capabilities.devices
        for device in devices:
            marks = [pytest.mark.skip(reason=missing)] if missing else []
            if device == "cuda":
                absent = not torch.cuda.is_available()
                marks += [pytest.mark.gpu, pytest.mark.skipif(absent, reason="no CUDA device")]
            parameters.append(pytest.param(entry.name, device, id=f"{entry.name}-{device}", marks=marks))
    return parameters


def prepared(name: str, device: str, case: KnownAnswer) -> Backend:
    """The backend with the problem taken up; skips what it says it cannot do, which it must refuse."""
    backend = registry.backend(name)(device=device)
    reason = backend.why_not(case.problem)
    if reason is not None:
        with pytest.raises(ValueError, match="cannot|works on"):
            backend.prepare(case.problem)
        pytest.skip(reason)
    backend.prepare(case.problem)
    return backend


every_backend = pytest.mark.parametrize(("name", "device"), backends())
every_case = pytest.mark.parametrize("case", known_answers.ALL, ids=known_answers.case_id)


@every_backend
@every_case
def test_nothing_false_is_claimed_or_accepted(name: str, device: str, case: KnownAnswer) -> None:
    backend = prepared(name, device, case)
    attempts = backend.solve(torch.arange(case.problem.v), Budget(margin_gap=GAP))
    assert_honest(case, attempts)
    assert attempts.seconds >= 0
    assert attempts.has_point.shape == (case.problem.v,)


@every_backend
@every_case
def test_complete_backends_settle_every_row(name: str, device: str, case: KnownAnswer) -> None:
    backend = prepared(name, device, case)
    if not backend.capabilities.complete:
        pytest.skip(f"{name} does not promise to settle every row")
    attempts = backend.solve(torch.arange(case.problem.v), Budget())
    assert not attempts.note
    for i, verdict in enumerate(case.verdicts):
        expected = SPEAKABLE if verdict == SPEAKABLE else UNSPEAKABLE
        assert proved(case.problem, attempts, i) in {expected, touching(case, i)}, f"row {i}: {case.reason}"
        assert attempts.status[i] == (Status.WITNESS if verdict == SPEAKABLE else Status.NO_WITNESS)


@every_backend
@every_case
@pytest.mark.parametrize("budget", TINY, ids=["one-iteration", "no-time", "neither"])
def test_a_tiny_budget_yields_no_false_claim(name: str, device: str, case: KnownAnswer, budget: Budget) -> None:
    backend = prepared(name, device, case)
    attempts = backend.solve(torch.arange(case.problem.v), budget)
    assert_honest(case, attempts)
    if not backend.capabilities.complete:
        return  # closed forms have nothing to cut short, and their status is a hope
    for i, status in enumerate(attempts.status):
        if status is Status.WITNESS:
            assert wins_exactly(case.problem, i, attempts.points[i])
        if status is Status.NO_WITNESS:
            assert case.verdicts[i] != SPEAKABLE


@every_backend
def test_some_rows_in_any_order(name: str, device: str) -> None:
    case = next(case for case in known_answers.ALL if case.name == "cube-with-centre")
    backend = prepared(name, device, case)
    rows = torch.tensor([8, 3, 0])
    attempts = backend.solve(rows, Budget())
    assert torch.equal(attempts.rows, rows)
    assert len(attempts.status) == 3
    assert [wins_exactly(case.problem, int(row), attempts.points[i]) for i, row in enumerate(rows)] == [
        False,
        True,
        True,
    ]


@every_backend
def test_no_rows_at_all(name: str, device: str) -> None:
    backend = prepared(name, device, known_answers.FREE[0])
    attempts = backend.solve(torch.zeros(0, dtype=torch.int64), Budget())
    assert len(attempts.status) == 0
    assert attempts.points.shape == (0, 3)


@every_backend
def test_solving_again_gives_the_same(name: str, device: str) -> None:
    case = known_answers.BALL[0] if name != "highs" else known_answers.BOX[0]
    backend = prepared(name, device, case)
    rows = torch.arange(case.problem.v)
    first, second = backend.solve(rows, Budget()), backend.solve(rows, Budget())
    assert first.status == second.status
    assert torch.equal(first.points.nan_to_num(nan=7.0), second.points.nan_to_num(nan=7.0))


# --- the judge ------------------------------------------------------------------------------------------------------


def assert_honest(case: KnownAnswer, attempts: Attempts) -> None:
    """Claims hold within rounding; what the checkers re-derive holds exactly."""
    room = SLACK * case.scale
    rows = attempts.rows
    for dtype in (torch.float32, torch.float64):
        check = check_witnesses(case.problem, rows, attempts.points.to(dtype), dtype=dtype)
        for i in range(len(rows)):
            assert case.speakable[i] or check.lower[i] <= 0, f"row {i} passed for speakable: {case.reason}"
            margin = case.margins[i]
            assert margin is None or check.lower[i] <= margin + 4e-16 * abs(margin)
    for i in range(len(rows)):
        margin = case.margins[i]
        assert not math.isnan(attempts.lower[i])
        assert not math.isnan(attempts.upper[i])
        if margin is not None:
            assert attempts.lower[i] <= margin + room
            assert attempts.upper[i] >= margin - room
        assert case.speakable[i] or not wins_exactly(case.problem, i, attempts.points[i])
        pair = attempts.hulls.of(i)
        if pair is not None:
            assert_honest_weights(case, i, *pair)


def assert_honest_weights(case: KnownAnswer, i: int, rows: np.ndarray, weights: np.ndarray) -> None:
    assert weights_fault(case.problem, i, rows, weights) is None
    bound, margin = hull_upper_bound(case.problem, i, rows, weights), case.margins[i]
    if margin is not None:
        assert bound >= margin - 4e-16 * abs(margin)
    if case.speakable[i]:
        assert bound > 0
        assert not bound_by_weights(case.problem, i, rows, weights)
        assert hull_membership(case.problem, i, rows) is None


def touching(case: KnownAnswer, i: int) -> str:
    """A margin of exactly 0 off the hull: floats come as close as they like, but only exact weights would prove it."""
    at_the_rim = case.name in {"two-tokens-touching", "ends-touching", "quadrant"} and case.margins[i] == 0
    return UNDECIDED if at_the_rim else ""
