"""One suite for every backend: what it claims must be true, and what it finds must pass the checkers."""

from __future__ import annotations

import math
from collections.abc import Iterator

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
from solvers.domains import Free
from solvers.errors import BadInput, MissingExtra

SLACK = 4e-6
"""Relative to the size of the logits: float32 pricing, and searches keep 2⁻²⁰ away from the rim of a domain."""

GAP = 1e-3

TINY = (Budget(iterations=1), Budget(seconds=1e-9), Budget(iterations=1, seconds=1e-9))


def places() -> Iterator[tuple[registry.Entry, str, str | None]]:
    """Every registered backend on every device it runs on, and why it cannot be tested here (or None)."""
    for entry in registry.entries():
        missing = entry.missing()
        for device in ("cpu",) if missing else entry.load().capabilities.devices:
            absent = "no CUDA device" if device == "cuda" and not torch.cuda.is_available() else None
            yield entry, device, missing or absent


def marks(device: str, skip: str | None) -> list[pytest.MarkDecorator]:
    """GPU tests can be chosen by their mark; what cannot run says why."""
    return ([pytest.mark.gpu] if device == "cuda" else []) + ([pytest.mark.skip(reason=skip)] if skip else [])


def pairs(*, complete: bool = False) -> list[object]:
    """(backend, device, case) for all that a backend says it can do; one skipped entry where it cannot run."""
    found = []
    for entry, device, skip in places():
        if complete and not entry.missing() and not entry.load().capabilities.complete:
            continue
        for case in known_answers.ALL[:1] if skip else known_answers.ALL:
            if skip or entry.load().why_not(case.problem) is None:
                name = f"{entry.name}-{device}-{known_answers.case_id(case)}"
                found.append(pytest.param(entry.name, device, case, id=name, marks=marks(device, skip)))
    return found


def prepared(name: str, device: str, case: KnownAnswer) -> Backend:
    """The backend with the problem taken up."""
    backend = registry.backend(name)(device=device)
    backend.prepare(case.problem)
    return backend


every_backend = pytest.mark.parametrize(
    ("name", "device"),
    [
        pytest.param(entry.name, device, id=f"{entry.name}-{device}", marks=marks(device, skip))
        for entry, device, skip in places()
    ],
)
every_pair = pytest.mark.parametrize(("name", "device", "case"), pairs())
every_complete_pair = pytest.mark.parametrize(("name", "device", "case"), pairs(complete=True))


@every_pair
def test_nothing_false_is_claimed_or_accepted(name: str, device: str, case: KnownAnswer) -> None:
    backend = prepared(name, device, case)
    attempts = backend.solve(torch.arange(case.problem.v), Budget(margin_gap=GAP))
    assert_honest(case, attempts)
    assert attempts.seconds >= 0
    assert attempts.has_point.shape == (case.problem.v,)


@every_complete_pair
def test_complete_backends_settle_every_row(name: str, device: str, case: KnownAnswer) -> None:
    backend = prepared(name, device, case)
    attempts = backend.solve(torch.arange(case.problem.v), Budget())
    assert not attempts.note
    for i, verdict in enumerate(case.verdicts):
        expected = SPEAKABLE if verdict == SPEAKABLE else UNSPEAKABLE
        assert proved(case.problem, attempts, i) in {expected, touching(case, i)}, f"row {i}: {case.reason}"
        assert attempts.status[i] == (Status.WITNESS if verdict == SPEAKABLE else Status.NO_WITNESS)


@every_pair
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
def test_what_it_cannot_do_is_refused_with_the_reason(name: str, device: str) -> None:
    kind = registry.backend(name)
    for case in known_answers.ALL:
        reason = kind.why_not(case.problem)
        if reason is not None:
            with pytest.raises(BadInput) as caught:
                kind(device=device).prepare(case.problem)
            assert str(caught.value) == reason
            assert name in reason
    with pytest.raises(BadInput, match=f"{name} runs on cpu.*not on 'abacus'"):
        kind(device="abacus")
    with pytest.raises(RuntimeError, match="before prepare"):
        kind(device=device).solve(torch.arange(2), Budget())


def test_a_misspelt_backend_is_answered_with_near_names() -> None:
    with pytest.raises(BadInput, match=r"did you mean.*clarabel"):
        registry.backend("claribel")


def test_a_missing_package_is_answered_with_the_remedy() -> None:
    entry = registry.Entry("x", "no.such:Thing", needs=("no_such_package_at_all",), extra="token-reachability[x]")
    with pytest.raises(MissingExtra, match=r"x needs no_such_package_at_all: pip install 'token-reachability\[x\]'"):
        entry.load()


def something_for(name: str) -> KnownAnswer:
    """The first problem that a backend can do and that has rows of both verdicts."""
    kind = registry.backend(name)
    return next(
        case for case in known_answers.ALL if kind.why_not(case.problem) is None and len(set(case.verdicts)) > 1
    )


@every_backend
def test_some_rows_in_any_order(name: str, device: str) -> None:
    case = something_for(name)
    backend = prepared(name, device, case)
    rows = torch.tensor([case.problem.v - 1, 2, 0])
    attempts = backend.solve(rows, Budget())
    assert torch.equal(attempts.rows, rows)
    assert attempts.points.shape == (3, case.problem.d)
    for i, row in enumerate(rows.tolist()):
        won = wins_exactly(case.problem, row, attempts.points[i])
        assert won <= case.speakable[row]
        assert won or not backend.capabilities.complete or not case.speakable[row]


@every_backend
def test_no_rows_at_all(name: str, device: str) -> None:
    case = something_for(name)
    attempts = prepared(name, device, case).solve(torch.zeros(0, dtype=torch.int64), Budget())
    assert len(attempts.status) == 0
    assert attempts.points.shape == (0, case.problem.d)


@every_backend
def test_solving_again_gives_the_same(name: str, device: str) -> None:
    case = something_for(name)
    backend = prepared(name, device, case)
    rows = torch.arange(case.problem.v)
    first, second = backend.solve(rows, Budget()), backend.solve(rows, Budget())
    assert first.status == second.status
    assert torch.equal(first.points.nan_to_num(nan=7.0), second.points.nan_to_num(nan=7.0))


# --- the judge ----------------------------------------------------------------------------------------------------


def assert_honest(case: KnownAnswer, attempts: Attempts) -> None:
    """Claims hold within rounding; what the checkers re-derive holds exactly."""
    room = SLACK * case.scale
    rows = attempts.rows
    for dtype in (torch.float32, torch.float64):
        check = check_witnesses(case.problem, rows, attempts.points.to(dtype), dtype=dtype)
        for i in range(len(rows)):
            assert case.speakable[i] or check.lower[i] <= 0, f"row {i} passed for speakable: {case.reason}"
            margin = case.margins[i]
            # On Free the margin is that of the unit ball, while a point may be of any length.
            length = float(attempts.points[i].double().norm()) if isinstance(case.problem.domain, Free) else 1.0
            if margin is not None and check.lower[i] > 0:
                assert check.lower[i] / max(1.0, length) <= margin * (1 + 1e-15)
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
    """A margin of exactly 0 off the hull: floats come as close as they like, only exact weights prove it."""
    at_the_rim = case.name in {"two-tokens-touching", "ends-touching", "quadrant"} and case.margins[i] == 0
    return UNDECIDED if at_the_rim else ""
