"""`reach scan` without its command line: a head in, a finished run folder out."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from reach.categorise import categories
from reach.ceilings import ceiling_scale
from reach.engines.base import Engine
from reach.engines.settings import record_of
from reach.few_blockers import few_blockers
from reach.heads.head import Head
from reach.heads.loading import Loading
from reach.maps.making import vocabulary_map
from reach.names import command_line, with_names
from reach.progress import Progress, bars, silent
from reach.runs.domain_words import domain_entries
from reach.runs.environment import hardware, package_versions, peak_memory_bytes
from reach.runs.folder import RunFolder
from reach.runs.lock import locked
from reach.runs.manifest import Asked, Hardware, HeadRecord, Manifest
from reach.runs.nearest import nearest_rows
from reach.runs.writing import BLOCKS, finish, lacks_only_a_page, open_for_writing
from reach.scanning.ceilings import CeilingWork, scan_ceilings
from reach.scanning.journal import Journal
from reach.scanning.last import LastScan
from reach.scanning.scan import ScanResult, scan
from reach.scanning.served import scan_served
from reach.scanning.settings import ScanSettings
from reach.scanning.tables import build_tables
from reach.served import check_served_head
from reach.silencers import silencer_table
from reach.verdicts import RunTables, Verdicts
from reach.vocabulary import Vocabulary
from solvers.parallel import threads
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
    earlier: RunFolder | None = None,
    engine: Engine | None = None,
    last: LastScan | None = None,
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
        earlier: a finished run of a similar model, whose certificates are tried first.
        engine: where blocks are computed; by default in this process.
        last: what the scan before found, which is taken over where the head is the very same; it keeps what this one
            finds.

    Raises:
        BadInput: the folder cannot be used (see `open_for_writing`), another process is writing to it, or a file
            cannot be written (see `why_unwritable`).
    """
    scale = 1.0 if settings.ceilings is None else ceiling_scale(head, problem)
    check_served_head(head, settings.record(), problem)
    with locked(out):
        manifest = new_manifest(head, problem, settings, order, chosen).but(engine=record_of(engine))
        if resume and not force and page is not None and lacks_only_a_page(out, page, manifest):
            return RunFolder.open(out)
        resumed = open_for_writing(out, manifest, resume=resume, force=force)
        if resumed:
            manifest = manifest.but(resumed=True)
            if order.self_check is None:
                manifest = manifest.but(self_check=RunFolder.open(out, finished=False).record.self_check)
        about = f"{problem.fingerprint} {problem.domain.describe()}"
        journal = Journal(out / BLOCKS, of=about, note=note)
        found = None if last is None or resumed else last.again(problem, settings, chosen)
        if last is not None and last.run is not None and found is not None:
            manifest = manifest.but(same_head_as=os.path.relpath(last.run, _place(out)))
        with bars(quiet=quiet) as progress:
            tables, manifest = scan_in_memory(
                problem, vocabulary, settings, manifest, chosen=chosen, progress=progress, journal=journal,
                resume=resumed, logit_scale=scale, head=head, engine=engine,
                earlier=None if earlier is None or found is not None else earlier.verdicts(), found=found, last=last,
            )  # fmt: skip
            with threads(settings.jobs):
                tables = replace(tables, map=vocabulary_map(problem, progress=progress))
        finish(out, tables, manifest)
        if last is not None:
            last.run = _place(out)
        return RunFolder.open(out)


def scan_in_memory(
    problem: ArgmaxProblem,
    vocabulary: Vocabulary,
    settings: ScanSettings,
    manifest: Manifest,
    *,
    chosen: Int[np.ndarray, " n"] | None = None,
    progress: Progress = silent,
    journal: Journal | None = None,
    resume: bool = False,
    logit_scale: float = 1.0,
    head: Head | None = None,
    earlier: Verdicts | None = None,
    engine: Engine | None = None,
    found: ScanResult | None = None,
    last: LastScan | None = None,
) -> tuple[RunTables, Manifest]:
    """Scan a problem: the tables of the run, and its manifest with what came of it.

    `logit_scale` is what the head multiplies its logits by, which counts for ceilings alone; `head` is the
    problem's own, whose files say what tokens are for; `earlier`, verdicts about a similar problem to begin with;
    `engine` computes the blocks of the scan; `found` is what a scan of an equal problem has found, so that none is
    needed; `last` keeps what this one finds.
    """
    started = time.perf_counter()
    result = found or scan(
        problem, settings, tokens=chosen, journal=journal, resume=resume, progress=progress, earlier=earlier,
        engine=engine,
    )  # fmt: skip
    if last is not None and found is None:
        last.keep(problem, settings, chosen, result)
    tables = build_tables(problem, result, vocabulary)
    told = categories(problem, result.merged, vocabulary, tables.verdicts, head, device=settings.device)
    tables = replace(tables, categories=told.categories, suspects=told.suspects)
    if result.merged.problem is not problem:
        # Equal rows were merged: the neighbours are looked for among all rows, and two sets would not fit.
        result.merged.problem.release_working_rows()
    tables = replace(tables, nearest=nearest_rows(problem, tables.verdicts, device=settings.device))
    tables = replace(tables, silencers=silencer_table(problem, tables.verdicts))
    tables = replace(tables, few_blockers=few_blockers(problem, tables.verdicts, tables.hull_weights))
    if settings.ceilings is not None:
        work = CeilingWork(problem, result.merged, result.asked, Verdicts(tables, manifest).margin_lower, logit_scale)
        ceilings, row = scan_ceilings(
            work, settings, folder=None if journal is None else journal.folder, resume=resume, progress=progress,
            **({} if journal is None else {"note": journal.note}),
        )  # fmt: skip
        tables = replace(tables, ceilings=ceilings)
        result.funnel.append(row)
    if settings.arithmetic:
        served, rows = scan_served(
            problem, result, settings, folder=None if journal is None else journal.folder, resume=resume,
            progress=progress, **({} if journal is None else {"note": journal.note}),
        )  # fmt: skip
        tables = replace(tables, served=served)
        result.funnel.extend(rows)
    before = sum(row.seconds or 0.0 for row in result.funnel) if resume else 0.0
    done = manifest.but(
        status="finished",
        finished=_now(),
        seconds=max(time.perf_counter() - started, before),
        peak_memory_bytes=peak_memory_bytes(),
        funnel=result.funnel,
        categories=told.record,
    )
    return tables, done.but(totals=Verdicts(tables, done).totals)


def new_manifest(
    head: Head,
    problem: ArgmaxProblem,
    settings: ScanSettings,
    order: ScanOrder,
    chosen: Int[np.ndarray, " n"] | None = None,
) -> Manifest:
    """What is known of a run before it begins."""
    return Manifest(
        status="running",
        model=order.name,
        loading=order.loading,
        head=HeadRecord(
            architecture=head.architecture,
            norm=head.norm,
            eps=head.eps,
            tie=head.tie,
            found_by=head.found_by,
            dtype=head.dtype,
            tensors=dict(head.tensors),
            revision=head.revision,
            logit_scale=head.logit_scale,
            softcap=head.softcap,
        ),
        self_check=order.self_check,
        fingerprint=problem.fingerprint,
        v=problem.v,
        d=problem.d,
        **domain_entries(problem.domain),
        zero_offset=problem.zero_offset,
        asked=Asked(order.tokens, problem.v if chosen is None else len(chosen)),
        settings=settings.record(),
        command=list(order.command) or [Path(sys.argv[0]).name, *command_line()[1:]],
        versions=package_versions(),
        hardware=Hardware(**hardware()),
        started=_now(),
        warnings=list(order.warnings),
        margins_certified=True,
    )


def _place(out: Path) -> str:
    """Where a run is: the URL, where its folder is the copy of one."""
    return with_names(str(out.absolute()))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
