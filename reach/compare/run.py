"""`reach compare-solvers` without its command line: a head in, solvers.parquet and solvers.json out.

What a comparison may take follows from its options alone. With B = `--backend-seconds`, N backends and J jobs,
r = ⌈N/J⌉ of them one after the other, the tokens of the model take at most r·B. The strength takes, besides,

    r · 2 · B/4     the random controls, each backend on each
    r · 8 · B/4     the planted heads, each backend on each (4) under each number of iterations (2)
    5 · B           hidden tokens, five methods: a quick one leaves its time to the next
    4 · B           scans of the controls (2) and of the head over other domains (2)

which makes r·B in all without the strength, and 3.5·r·B + 9·B with it. Not in this are the start of a backend's
process (up to three for each, importing its library and preparing the problems), what a backend takes beyond the
seconds it was given (it is stopped after as many again, at least one and at most ten), and reading and writing.
"""

from __future__ import annotations

import datetime
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from msgspec import structs
from tqdm import tqdm

from reach.compare import detection, hidden
from reach.compare.controls import CONTROLS, control_table, scan_quietly
from reach.compare.detection import measure_detection
from reach.compare.domains import compare_domains
from reach.compare.grade import disagreements, grade, profile, sentence
from reach.compare.hidden import measure_hidden
from reach.compare.options import CompareSettings
from reach.compare.record import Ability, Comparison, Outcome, Row, Sampled, write_rows
from reach.compare.rounds import Round, Task, compare_rounds
from reach.compare.sample import Judged, judged_from_scan, judged_from_table, task_from, task_from_scan
from reach.heads.head import Head
from reach.runs.atomic import RUN_AGAIN, write_whole
from reach.runs.domain_words import domain_entries
from reach.runs.environment import hardware, package_versions
from reach.runs.folder import RunFolder
from reach.runs.lock import locked
from reach.scan_command import ScanOrder, scan_to_folder
from reach.scanning.settings import ScanSettings
from reach.studies import Study
from reach.vocabulary import Vocabulary
from solvers import options
from solvers.checks.equal_rows import equal_row_classes
from solvers.domains import DOMAINS, Shape
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.registry import Entry, backend, entries

PARTS = "solvers"
"""The folder of a run that each backend's finished parts go to."""
_CONTROL_PART = 1 / 4
"""Of a backend's seconds, for its tokens of one control."""
_OTHER_DOMAINS = 2
"""How many domains the head is scanned over, besides its own."""


def choose_backends(names: tuple[str, ...], problem: ArgmaxProblem) -> list[Entry]:
    """The backends to compare: those named, or where none is all that are installed and can do the problem.

    Raises:
        BadInput: a name is unknown, not installed, or cannot do this problem (the message says which can).
    """
    known = {entry.name: entry for entry in entries()}
    if not names:
        return [e for e in known.values() if e.missing() is None and e.load().why_not(problem) is None]
    chosen = []
    for name in names:
        reason = backend(name).why_not(problem)
        if reason is not None:
            able = [e.name for e in known.values() if e.missing() is None and e.load().why_not(problem) is None]
            raise BadInput(f"{reason}; these can: {', '.join(able)}")
        chosen.append(known[name])
    return chosen


def longest(settings: CompareSettings) -> float:
    """Seconds that a comparison with these settings takes at most, starts and overruns aside."""
    rounds = math.ceil(len(settings.backends) / settings.jobs)
    parts = 1.0 * rounds
    if settings.strength:
        parts += rounds * len(CONTROLS) * _CONTROL_PART
        parts += rounds * len(detection.SHAPES) * len(detection.BUDGETS) * detection.PART
        parts += len(hidden.METHODS) + len(CONTROLS) + _OTHER_DOMAINS
    return parts * settings.backend_seconds


def compare_to_folder(
    head: Head,
    vocabulary: Vocabulary,
    out: Path,
    settings: CompareSettings,
    order: ScanOrder,
    *,
    quiet: bool = False,
    note: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Compare backends on a head; its scan in the run folder is the truth, and is made or finished where need be.

    Args:
        head: the head.
        vocabulary: its tokens.
        out: the run folder.
        settings: the comparison's.
        order: what the manifest of a scan that is made here records of the question.
        quiet: no progress bars.
        note: told in one line about damaged parts of an unfinished scan, which are done again.

    Raises:
        BadInput: the folder's run is of another model, or the sample is larger than what it judged.
    """
    problem = head.problem()
    chosen = choose_backends(settings.backends, problem)
    settings = replace(settings, backends=tuple(entry.name for entry in chosen))
    if settings.sample > problem.v:
        raise BadInput(f"--sample {settings.sample}: the vocabulary has only {problem.v} tokens")
    with locked(out):
        begun = (out / "manifest.json").is_file()
        run = RunFolder.open(out, finished=False) if begun else None
        if run is None or not run.finished:
            scanning = ScanSettings(jobs=settings.jobs, device=settings.device)
            run = scan_to_folder(
                head, problem, vocabulary, out, scanning, order, resume=begun, quiet=quiet, note=note
            )
        return compare_solvers(run, problem, settings, quiet=quiet)


def compare_solvers(run: RunFolder, problem: ArgmaxProblem, settings: CompareSettings, *, quiet: bool) -> Comparison:
    """Compare backends on the head of a finished scan; writes RUN/solvers.parquet and RUN/solvers.json.

    Raises:
        BadInput: the run is of another model, or the sample is larger than what it judged.
    """
    if run.manifest["fingerprint"] != problem.fingerprint:
        raise BadInput(f"{run.path}: this run is of another model; give another --out")
    began, started = datetime.datetime.now(datetime.UTC), time.perf_counter()
    first_of = equal_row_classes(problem).numpy()
    token_of = np.unique(first_of)
    merged = problem if len(token_of) == problem.v else problem.restrict(torch.from_numpy(token_of))
    judged = judged_from_table(run.verdicts().table)
    row_of = np.searchsorted(token_of, first_of)
    task = task_from("model", merged, judged, row_of, settings.sample, settings.seed)
    chosen = [entry for entry in entries() if entry.name in settings.backends]
    names = _names(run)
    (rows,) = _compare([Round(task, chosen, settings)], run.path / PARTS, quiet)
    found = Comparison(
        model=run.manifest["model"],
        fingerprint=run.manifest["fingerprint"],
        v=problem.v,
        d=problem.d,
        **domain_entries(problem.domain),
        settings=settings,
        longest=longest(settings),
        backends=describe_backends(),
        settings_map=tuple(options.settings_map()),
        versions=package_versions(),
        hardware=hardware(),
        started=began.isoformat(timespec="seconds"),
        problems={"model": _outcome(task, rows, settings, names, judged)},
        tokens={str(t): names[t] for t in task.token_ids.tolist()},
    )
    if settings.strength:
        found, more = _strength(found, merged, judged.merged(token_of), chosen, run, quiet)
        rows += more
    write_rows(run.path / "solvers.parquet", rows)
    found = structs.replace(found, seconds=time.perf_counter() - started)
    found.write(run.path)
    return found


def _strength(
    found: Comparison, merged: ArgmaxProblem, judged: Judged, chosen: list[Entry], folder: RunFolder, quiet: bool
) -> tuple[Comparison, list[Row]]:
    """The comparison with controls, domains, hidden tokens and detection limits, and the controls' rows."""
    settings, run = found.settings, folder.path
    # Read beside the model's own margins, a control's must be known as closely.
    gap = folder.manifest["settings"].get("margin_gap")
    smaller = replace(settings.share(_CONTROL_PART), sample=max(4, settings.sample // 2))
    tables: list[pa.Table] = []
    rounds: list[Round] = []
    beside: list[Judged] = []
    for name, build in CONTROLS.items():
        control = build(merged, settings.seed)
        scanned = scan_quietly(control, settings.jobs, settings.backend_seconds, gap)
        mine = judged_from_scan(control, scanned)
        tables.append(control_table(name, control, scanned))
        size = min(smaller.sample, control.v - mine.open)
        if size:
            rounds.append(Round(task_from_scan(name, control, scanned, size, settings.seed), chosen, smaller))
            beside.append(mine)
    problems, rows = dict(found.problems), []
    for one, mine, said in zip(rounds, beside, _compare(rounds, run / PARTS, quiet), strict=True):
        problems[one.task.name] = _outcome(one.task, said, smaller, {}, mine)
        rows += said
    margins = pa.concat_tables(tables)
    write_whole(run / "controls.parquet", lambda partial: pq.write_table(margins, partial), again=RUN_AGAIN)
    domains = compare_domains(merged, settings.jobs, judged, settings.backend_seconds)
    truth = np.array([str(verdict) for verdict in judged.verdict], dtype=object)
    restarts = len(hidden.METHODS) * hidden.RESTARTS
    with tqdm(total=restarts, desc="hidden tokens", unit="restart", disable=quiet, dynamic_ncols=True) as bar:
        missed = measure_hidden(merged, truth, settings.seed, lambda _, n: bar.update(n), settings.backend_seconds)
    with tqdm(desc="detection limits", unit="plant", disable=quiet, dynamic_ncols=True) as bar:
        limits = measure_detection(chosen, settings, run / PARTS, lambda _, n: bar.update(n))
    more = structs.replace(found, problems=problems, domains=domains, hidden=tuple(missed), detection=tuple(limits))
    return more, rows


def _compare(rounds: list[Round], folder: Path, quiet: bool) -> list[list[Row]]:
    total = sum(len(one.entries) * len(one.task.rows) for one in rounds)
    words = f"backends on {', '.join(one.task.name for one in rounds)}"
    with tqdm(total=total, desc=words, unit="token", disable=quiet, dynamic_ncols=True) as bar:

        def progress(name: str, tokens: int) -> None:
            bar.set_postfix_str(name)
            bar.update(tokens)

        return compare_rounds(rounds, folder, progress)


def _outcome(
    task: Task, rows: list[Row], settings: CompareSettings, names: dict[int, str], judged: Judged
) -> Outcome:
    grades = grade(rows, settings.token_seconds)
    return Outcome(
        sample=Sampled(size=len(task.rows), strata=dict(Counter(task.strata))),
        grades=tuple(structs.replace(one, sentence=sentence(one, names)) for one in grades),
        disagreements=disagreements(rows),
        profile=profile(rows, settings.token_seconds),
        verdicts=judged.counts,
    )


def _ability(entry: Entry) -> Ability:
    reason = entry.missing()
    if reason is not None:
        return Ability(name=entry.name, missing=reason)
    kind = entry.load()
    can = kind.capabilities
    return Ability(
        name=entry.name,
        version=kind.version(),
        domains=tuple(kind.__name__ for kind in DOMAINS.values() if can.handles(kind)),
        offsets_on_free=can.offsets and Shape.UPWARD in can.shapes,
        batched=can.batched,
        devices=tuple(can.devices),
        proves_negative=can.proves_negative,
        complete=can.complete,
        note=getattr(can, "note", ""),
    )


def describe_backends() -> tuple[Ability, ...]:
    """All backends, with capabilities and versions, or with the reason why one is missing."""
    return tuple(_ability(entry) for entry in entries())


def _names(run: RunFolder) -> dict[int, str]:
    verdicts = run.verdicts()
    return {i: verdicts.label(i) for i in range(len(verdicts))}


STUDY = Study(
    name="compare-solvers",
    options=CompareSettings,
    run=compare_to_folder,
    record=Comparison,
    page="reports.solvers_page:write_solvers_page",
)
