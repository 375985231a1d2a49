"""`reach scan` without its command line: a head in, a finished run folder out."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from reach.heads.head import Head
from reach.loading import Loading
from reach.runs.domain_words import domain_entries
from reach.runs.environment import hardware, package_versions, peak_memory_bytes
from reach.runs.folder import RunFolder
from reach.runs.lock import locked
from reach.runs.nearest import nearest_rows
from reach.runs.schema import SCHEMA_VERSION
from reach.runs.summary import TOTAL_COLUMNS, totals
from reach.runs.tables import build_tables
from reach.runs.writing import BLOCKS, finish, lacks_only_a_page, open_for_writing
from reach.scan.journal import Journal
from reach.scan.scan import scan
from reach.scan.settings import ScanSettings
from reach.vocabulary import Vocabulary
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class ScanOrder:
    """Everything that a run's manifest records of what was asked.

    Attributes:
        name: the model as the user named it.
        loading: what finds the same head again.
        tokens: the `--tokens` text, or none for all.
        command: the command line.
        warnings: one line each.
        self_check: what a self-check of the head found, or none where there was none.
    """

    name: str
    loading: Loading
    tokens: str | None = None
    command: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    self_check: dict[str, Any] | None = None


def scan_to_folder(
    head: Head,
    problem: ArgmaxProblem,
    vocabulary: Vocabulary,
    out: Path,
    settings: ScanSettings,
    order: ScanOrder,
    *,
    chosen: Int[np.ndarray, " n"] | None = None,
    resume: bool = False,
    force: bool = False,
    quiet: bool = False,
    page: str | None = None,
    note: Callable[[str], object] = lambda _: None,
) -> RunFolder:
    """Scan a head and write the run folder.

    Args:
        head: the head.
        problem: its argmax problem.
        vocabulary: its tokens.
        out: the run folder.
        settings: the scan's.
        order: what the manifest records of the question.
        chosen: ids of the tokens asked for; none means all.
        resume: go on with an unfinished run.
        force: overwrite a run that is there.
        quiet: no progress bars.
        page: file name of a page that the caller is going to write: a finished run that lacks it is not refused under
            `resume`, but returned as it is.
        note: told in one line about damaged parts of an unfinished run, which are done again.

    Raises:
        BadInput: the folder cannot be used (see `open_for_writing`), another process is writing to it, or a file
            cannot be written (see `why_unwritable`).
    """
    with locked(out):
        started = time.perf_counter()
        manifest = _manifest(head, problem, settings, order, chosen)
        if resume and not force and page is not None and lacks_only_a_page(out, page, manifest):
            return RunFolder.open(out)
        resumed = open_for_writing(out, manifest, resume=resume, force=force)
        if resumed:
            manifest["resumed"] = True
            if order.self_check is None:
                manifest["self_check"] = RunFolder.open(out, finished=False).manifest.get("self_check")
        about = f"{problem.fingerprint} {problem.domain.describe()}"
        journal = Journal(out / BLOCKS, of=about, note=note)
        result = scan(problem, settings, tokens=chosen, journal=journal, resume=resumed, quiet=quiet)
        tables = build_tables(problem, result, vocabulary)
        if result.problem is not problem:
            # Equal rows were merged: the neighbours are looked for among all rows, and two sets would not fit.
            result.problem.release_working_rows()
        tables = replace(tables, nearest=nearest_rows(problem, tables.verdicts, device=settings.device))
        columns = {name: tables.verdicts.column(name).to_pylist() for name in TOTAL_COLUMNS}
        before = sum(row.seconds for row in result.funnel) if resumed else 0.0
        manifest |= {
            "status": "finished",
            "finished": _now(),
            "seconds": max(time.perf_counter() - started, before),
            "peak_memory_bytes": peak_memory_bytes(),
            "funnel": [row.__dict__ for row in result.funnel],
            "totals": totals(columns),
        }
        finish(out, tables, manifest)
        return RunFolder.open(out)


def _manifest(
    head: Head,
    problem: ArgmaxProblem,
    settings: ScanSettings,
    order: ScanOrder,
    chosen: Int[np.ndarray, " n"] | None,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "kind": "scan",
        "status": "running",
        "model": order.name,
        "loading": order.loading.record(),
        "head": {
            "architecture": head.architecture,
            "norm": head.norm,
            "eps": head.eps,
            "tie": head.tie,
            "dtype": head.dtype,
            "tensors": head.tensors,
            "revision": head.revision,
        },
        "self_check": order.self_check,
        "fingerprint": problem.fingerprint,
        "v": problem.v,
        "d": problem.d,
        **domain_entries(problem.domain),
        "zero_offset": problem.zero_offset,
        "asked": {"tokens": order.tokens, "count": problem.v if chosen is None else len(chosen)},
        "settings": settings.record(),
        "command": list(order.command) or [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": package_versions(),
        "hardware": hardware(),
        "started": _now(),
        "warnings": list(order.warnings),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
