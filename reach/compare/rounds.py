"""Every backend gets the same tokens under the same budget, in a process of its own, and has the same judge."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from msgspec import structs
from torch import Tensor

from reach.compare.options import CompareSettings
from reach.compare.record import Row, read_rows, write_rows
from reach.compare.worker import Failure, IsolatedBackend, Limits
from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE, UNSPEAKABLE, ScanState
from solvers.attempt import Attempts, Status
from solvers.backend import Budget
from solvers.basis import candidate_supports
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.registry import Entry

_GIVE_UP_AFTER = 3
"""Failures of the process in a row after which a backend is given no more tokens."""

Progress = Callable[[str, int], object]


_RULES = 3
"""Changes when the same settings come to mean other budgets, or statuses other claims: older parts are not reused."""


@dataclass(frozen=True)
class Task:
    """Tokens of one problem to compare on.

    Attributes:
        problem: the argmax problem (equal rows merged).
        name: model, gaussian or covariance.
        rows: row numbers of `problem`, in random order, so that a prefix is a fair sample too.
        token_ids: the tokens that they stand for.
        strata: one name per row.
        truth: speakable, unspeakable or undecided, from proofs.
    """

    problem: ArgmaxProblem
    name: str
    rows: np.ndarray
    token_ids: np.ndarray
    strata: list[str]
    truth: list[str]


@dataclass(frozen=True)
class Round:
    """A task, the backends that are to do it, and under what settings."""

    task: Task
    entries: list[Entry]
    settings: CompareSettings


def compare_on(
    task: Task, entries: list[Entry], settings: CompareSettings, folder: Path, progress: Progress
) -> list[Row]:
    """Run every backend on a task; see `compare_rounds`."""
    return compare_rounds([Round(task, entries, settings)], folder, progress)[0]


def compare_rounds(rounds: list[Round], folder: Path, progress: Progress) -> list[list[Row]]:
    """Run the backends of each round on its task; results already on disk under the same key are taken from there.

    Each backend does all its rounds in one process, because starting one can take longer than a round.

    Args:
        rounds: what to solve, by which backends, with which budget and limits; device, seed and the number of
            backends side by side are those of the first.
        folder: where each backend's parts are kept.
        progress: called with (backend, tokens finished).

    Returns:
        The records of each round, backend after backend.
    """
    entries = list(dict.fromkeys(entry for one in rounds for entry in one.entries))

    def one(entry: Entry) -> list[list[Row]]:
        settings, problem = rounds[0].settings, rounds[0].task.problem
        with IsolatedBackend(entry, problem, device=settings.device, seed=settings.seed) as backend:
            return [
                _one_part(part.task, backend, part.settings, folder, progress) if entry in part.entries else []
                for part in rounds
            ]

    jobs = rounds[0].settings.jobs if rounds else 1
    if jobs > 1:
        with ThreadPoolExecutor(jobs) as pool:
            found = list(pool.map(one, entries))
    else:
        found = [one(entry) for entry in entries]
    return [[record for mine in found for record in mine[number]] for number in range(len(rounds))]


def _one_part(
    task: Task, backend: IsolatedBackend, settings: CompareSettings, folder: Path, progress: Progress
) -> list[Row]:
    entry = backend.entry
    version = _version(entry)
    path = folder / f"{part_name(task, entry, version, settings)}.parquet"
    if path.is_file():
        records = read_rows(path)
        progress(entry.name, len(task.rows))
        return records
    backend.pose(task.problem)
    backend.limits = Limits(
        memory_bytes=int(settings.memory_gib * 2**30),
        grace_seconds=min(Limits.grace_seconds, max(1.0, settings.backend_seconds)),
    )
    records = [
        structs.replace(row, problem=task.name, backend=entry.name, version=version, settings=settings.key())
        for row in _solve_task(task, backend, settings, progress)
    ]
    write_rows(path, records)
    return records


def part_name(task: Task, entry: Entry, version: str, settings: CompareSettings) -> str:
    """Name of a backend's part: changes with the backend, its version, the settings and the task."""
    identity = json.dumps(
        [
            _RULES,
            task.name,
            task.problem.fingerprint,
            task.problem.domain.describe(),
            task.token_ids.tolist(),
            entry.name,
            entry.where,
            version,
            _source_digest(entry),
            settings.key(),
        ]
    )
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in entry.name)
    return f"{task.name}-{safe}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _solve_task(task: Task, backend: IsolatedBackend, settings: CompareSettings, progress: Progress) -> Iterator[Row]:
    """Give tokens until none is left, or less time than one of them may take."""
    judging, entry = ScanSettings(), backend.entry
    size = settings.batch if _is_batched(entry) else 1
    # Starting the process and preparing the problem is not charged: importing a library says nothing of it.
    failure = backend.ready()
    started, failures = time.perf_counter(), 0
    for start in range(0, len(task.rows), size):
        part = slice(start, start + size)
        rows = row_tensor(task.rows[part].tolist())
        left = settings.backend_seconds - (time.perf_counter() - started)
        if start and left < settings.token_seconds:
            progress(entry.name, len(task.rows) - start)
            return
        seconds = min(settings.token_seconds * len(rows), left)
        budget = Budget(seconds=seconds, iterations=settings.iterations, tolerance=settings.tolerance)
        if failure is not None:
            answer: Attempts | Failure = failure
            failure = None
        elif failures < _GIVE_UP_AFTER:
            answer = backend.solve(rows, budget)
        else:
            answer = Failure("crashed", f"given up after {failures} failures in a row", 0.0)
        failures = failures + 1 if isinstance(answer, Failure) else 0
        for i, record in enumerate(records_of(task.problem, rows, answer, judging)):
            place = start + i
            yield structs.replace(
                record, token_id=int(task.token_ids[place]), stratum=task.strata[place], truth=task.truth[place]
            )
        progress(entry.name, len(rows))
        if isinstance(answer, Failure) and answer.kind == "refused":
            return


def _version(entry: Entry) -> str:
    reason = entry.missing()
    if reason is not None:
        raise BadInput(reason)
    return entry.load().version()


def _source_digest(entry: Entry) -> str:
    """Digest of the backend's own file: a mended backend is a new one, whatever its library's version."""
    source = inspect.getsourcefile(entry.load())
    return "" if source is None else hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16]


def _is_batched(entry: Entry) -> bool:
    return entry.load().capabilities.batched


# --- the judge ---

_CLAIMS = {Status.WITNESS: "speakable", Status.NO_WITNESS: "unspeakable"}


def records_of(
    problem: ArgmaxProblem, rows: Int[Tensor, " n"], answer: Attempts | Failure, settings: ScanSettings
) -> list[Row]:
    """Judge one answer: a record for each row (without the columns that only the caller knows)."""
    n = len(rows)
    if isinstance(answer, Failure):
        share = answer.seconds / max(1, n)
        return [Row(status=answer.kind, seconds=share, note=answer.note) for _ in range(n)]
    if answer.rows.tolist() != rows.tolist():
        return [
            Row(status="error", seconds=answer.seconds / n, note="it answered about other rows") for _ in range(n)
        ]
    try:
        state = judged(problem, answer, settings)
    except (ValueError, IndexError, RuntimeError) as error:
        # What a backend hands over may be misshapen; that is its failure.
        note = f"its answer cannot be read: {' '.join(str(error).split())[:200]}"
        return [Row(status="error", seconds=answer.seconds / n, note=note) for _ in range(n)]
    work = json.dumps({key: float(value) for key, value in answer.work.items() if math.isfinite(value)})
    records = []
    for i, row in enumerate(rows.tolist()):
        verified = {SPEAKABLE: "speakable", UNSPEAKABLE: "unspeakable"}.get(int(state.verdict[row]))
        records.append(
            Row(
                status=str(answer.status[i]),
                claim=_CLAIMS.get(answer.status[i]),
                verified=verified,
                lower=_finite(state.lower[row]),
                upper=_finite(state.upper[row]),
                claimed_lower=_finite(float(answer.lower[i])),
                claimed_upper=_finite(float(answer.upper[i])),
                seconds=answer.seconds / n,
                work=work,
                note=answer.note or None,
            )
        )
    return records


def judged(problem: ArgmaxProblem, answer: Attempts, settings: ScanSettings) -> ScanState:
    """What the checkers prove from an answer's certificates alone, exact hull membership included."""
    state = ScanState(problem.v)
    judge = Judge(problem, state, settings)
    judge.witnesses(answer, 0, credit=False)
    judge.inside(answer, 0)
    judge.hulls(answer, 0)
    if problem.cone or not problem.margin_bounded:
        for row, hull in list(state.candidates.items()):
            any(judge.exact_hull(row, support, 0) for support in candidate_supports(problem, row, hull.rows))
    return state


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def row_tensor(rows: list[int]) -> Int[Tensor, " n"]:
    """Row numbers as the backends take them."""
    return torch.tensor(rows, dtype=torch.int64)
