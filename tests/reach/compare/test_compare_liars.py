"""Given backends that lie, crash, hang or eat memory, when they are compared, then each is graded for what it is."""

from pathlib import Path

import liars
import numpy as np
import pytest
import torch

from reach.compare.grade import disagreements, grade, sentence
from reach.compare.options import CompareSettings
from reach.compare.record import Grade
from reach.compare.rounds import Task, compare_on, records_of, row_tensor
from reach.compare.worker import Failure, IsolatedBackend, Limits
from reach.scanning.settings import ScanSettings
from solvers.backend import Budget
from solvers.domains import Free
from solvers.problem import ArgmaxProblem
from solvers.registry import Entry

# A square with its centre: rows 0-3 are corners (speakable), row 4 is their mean (unspeakable).
SQUARE = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])
TRUTH = ["speakable"] * 4 + ["unspeakable"]


def square() -> ArgmaxProblem:
    return ArgmaxProblem(SQUARE, Free())


def entry(kind: type[liars.Liar]) -> Entry:
    return Entry(kind.name, f"liars:{kind.__name__}")


def task() -> Task:
    rows = np.arange(5)
    return Task(square(), "model", rows, rows, ["corner"] * 4 + ["centre"], TRUTH)


def graded(kind: type[liars.Liar], folder: Path) -> Grade:
    settings = CompareSettings(backends=(kind.name,), seconds=1.0)
    records = compare_on(task(), [entry(kind)], settings, folder, lambda *_: None)
    return grade(records, settings.seconds)[0]


def test_a_backend_that_calls_everything_unspeakable_is_wrong_four_times_and_verified_never(tmp_path):
    found = graded(liars.SaysUnspeakable, tmp_path)
    assert (found.given, found.claims, found.right) == (5, 5, 1)
    assert found.false_unspeakable == 4  # the four corners
    assert found.false_unspeakable_rate.rate == 1.0
    assert found.verified == 0  # its single blocker proves nothing
    assert found.wrong_tokens == (0, 1, 2, 3)
    assert found.called_unspeakable.proved_unspeakable == (4,)
    assert "4 are proved speakable (its errors: #0, #1, #2, #3), 1 is" in sentence(found, {})


def test_a_backend_that_claims_a_witness_everywhere_is_wrong_about_the_centre(tmp_path):
    found = graded(liars.SaysSpeakable, tmp_path)
    assert found.false_speakable == 1
    assert found.verified == 0  # at the origin all rows tie


def test_nan_witnesses_verify_nothing(tmp_path):
    assert graded(liars.ReturnsNaN, tmp_path).verified == 0


@pytest.mark.parametrize(("kind", "failure"), [(liars.Segfaults, "crashed"), (liars.Raises, "error")])
def test_crashes_are_failures_of_that_backend(kind, failure, tmp_path):
    found = graded(kind, tmp_path)
    assert found.failures == {failure: 5}
    assert found.claims == found.verified == 0
    assert found.seconds_median == 1.0  # charged the limit


def test_the_signal_that_killed_a_backend_is_named():
    with IsolatedBackend(entry(liars.Segfaults), square()) as backend:
        answer = backend.solve(row_tensor([0]), Budget(seconds=1))
    assert isinstance(answer, Failure)
    assert "SIGSEGV" in answer.note


def test_a_backend_that_never_answers_is_killed():
    limits = Limits(grace_seconds=0.5)
    with IsolatedBackend(entry(liars.Sleeps), square(), limits=limits) as backend:
        answer = backend.solve(row_tensor([0]), Budget(seconds=0.5))
    assert isinstance(answer, Failure)
    assert answer.kind == "hung"


def test_a_backend_that_eats_memory_is_killed():
    limits = Limits(memory_bytes=800 * 2**20)
    with IsolatedBackend(entry(liars.EatsMemory), square(), limits=limits) as backend:
        answer = backend.solve(row_tensor([0]), Budget(seconds=60))
    assert isinstance(answer, Failure)
    assert answer.kind == "memory"


def test_a_worker_starts_again_after_a_crash():
    with IsolatedBackend(entry(liars.Segfaults), square()) as backend:
        kinds = [backend.solve(row_tensor([0]), Budget(seconds=1)).kind for _ in range(2)]
    assert kinds == ["crashed", "crashed"]


@pytest.mark.parametrize("kind", [liars.AnswersOthers, liars.HandsOverRubbish])
def test_answers_that_cannot_be_read_are_errors(kind):
    backend = kind()
    backend.prepare(square())
    rows = row_tensor([0, 4])
    records = records_of(square(), rows, backend.solve(rows, Budget()), ScanSettings())
    assert [r.verified for r in records] == [None, None]
    if kind is liars.AnswersOthers:
        assert {r.status for r in records} == {"error"}


def test_disagreements_name_the_tokens_and_who_said_what(tmp_path):
    settings = CompareSettings(backends=("a", "b"), seconds=1.0)
    kinds = [entry(liars.SaysUnspeakable), entry(liars.SaysSpeakable)]
    found = disagreements(compare_on(task(), kinds, settings, tmp_path, lambda *_: None))
    assert found.backends == ("says-speakable", "says-unspeakable")
    assert found.counts == ((0, 5), (5, 0))
    assert [t.truth for t in found.tokens] == TRUTH


def test_results_are_reused_under_the_same_settings_and_not_under_others(tmp_path):
    calls = []
    for seconds in (1.0, 1.0, 2.0):
        settings = CompareSettings(backends=("says-unspeakable",), seconds=seconds)
        compare_on(task(), [entry(liars.SaysUnspeakable)], settings, tmp_path, lambda *_: None)
        calls.append(len(list(tmp_path.glob("*.parquet"))))
    assert calls == [1, 1, 2]
