"""The comparison: every backend gets the same tokens under the same budget, in a process of its own."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reach.compare.records import SOLVERS, records_of, row_tensor
from reach.compare.settings import CompareSettings
from reach.compare.worker import Failure, IsolatedBackend, Limits
from reach.runs.atomic import RUN_AGAIN, write_whole
from reach.scan.settings import ScanSettings
from solvers.backend import Budget
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.registry import Entry

PARTS = "solvers"
_GIVE_UP_AFTER = 3
"""Failures of the process in a row after which a backend is given no more tokens."""

Progress = Callable[[str, int], object]


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


def compare_on(
    task: Task, entries: list[Entry], settings: CompareSettings, folder: Path, progress: Progress
) -> list[dict[str, Any]]:
    """Run every backend on a task; results already on disk under the same key are taken from there.

    Args:
        task: what to solve.
        entries: the backends.
        settings: budget and limits.
        folder: where each backend's part is kept.
        progress: called with (backend, tokens finished).
    """

    def one(entry: Entry) -> list[dict[str, Any]]:
        return _one_backend(task, entry, settings, folder, progress)

    if settings.jobs > 1:
        with ThreadPoolExecutor(settings.jobs) as pool:
            found = list(pool.map(one, entries))
    else:
        found = [one(entry) for entry in entries]
    return [record for records in found for record in records]


def _one_backend(
    task: Task, entry: Entry, settings: CompareSettings, folder: Path, progress: Progress
) -> list[dict[str, Any]]:
    version = _version(entry)
    path = folder / f"{part_name(task, entry, version, settings)}.parquet"
    if path.is_file():
        try:
            records: list[dict[str, Any]] = pq.read_table(path, schema=SOLVERS).to_pylist()
        except (pa.ArrowInvalid, OSError, KeyError) as error:
            raise BadInput(f"{path}: not readable ({error}); delete it and run the comparison again") from None
        progress(entry.name, len(task.rows))
        return records
    records = list(_solve_task(task, entry, settings, progress))
    for record in records:
        record |= {"problem": task.name, "backend": entry.name, "version": version, "settings": settings.key()}
    table = pa.Table.from_pylist(records, schema=SOLVERS)
    write_whole(path, lambda partial: pq.write_table(table, partial), again=RUN_AGAIN)
    return records


def part_name(task: Task, entry: Entry, version: str, settings: CompareSettings) -> str:
    """Name of a backend's part: changes with the backend, its version, the settings and the task."""
    identity = json.dumps(
        [
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


def _solve_task(task: Task, entry: Entry, settings: CompareSettings, progress: Progress) -> Iterator[dict[str, Any]]:
    limits = Limits(memory_bytes=int(settings.memory_gib * 2**30))
    judging = ScanSettings()
    batched = _is_batched(entry)
    size = settings.batch if batched else 1
    started = time.perf_counter()
    failures = 0
    with IsolatedBackend(entry, task.problem, device=settings.device, seed=settings.seed, limits=limits) as backend:
        for start in range(0, len(task.rows), size):
            part = slice(start, start + size)
            rows = row_tensor(task.rows[part].tolist())
            if start and time.perf_counter() - started > settings.backend_seconds:
                progress(entry.name, len(task.rows) - start)
                return
            budget = Budget(
                seconds=settings.seconds * len(rows), iterations=settings.iterations, tolerance=settings.tolerance
            )
            if failures < _GIVE_UP_AFTER:
                answer = backend.solve(rows, budget)
            else:
                answer = Failure("crashed", f"given up after {failures} failures in a row", 0.0)
            failures = failures + 1 if isinstance(answer, Failure) else 0
            for i, record in enumerate(records_of(task.problem, rows, answer, judging)):
                place = start + i
                yield record | {
                    "token_id": int(task.token_ids[place]),
                    "stratum": task.strata[place],
                    "truth": task.truth[place],
                }
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
