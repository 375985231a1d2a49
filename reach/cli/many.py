"""`reach scan` over many models: one run folder each, what is finished is skipped, the start page at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from reach.cli.say import EXIT_BAD_INPUT, EXIT_CONDITION, beside, page_of, say, say_json
from reach.cli.scan import ScanOptions, scan_one
from reach.engines.settings import EngineOptions
from reach.head_options import HeadOptions, ManyHeadOptions, default_folder
from reach.names import named, with_names
from reach.options import OutputOptions
from reach.runs.remote import RemoteFolder
from reach.scanning.settings import ScanSettings
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.engines.base import Engine
    from reach.many.places import Place
    from reach.many.vocabularies import Vocabularies
    from reach.runs.folder import RunFolder
    from reach.scanning.last import LastScan

DEFAULT_RUNS = Path("runs")
_MOST_ROUNDS = 10


@dataclass(frozen=True)
class _Order:
    """What is asked of every model alike."""

    root: Path | RemoteFolder
    head: ManyHeadOptions
    run: ScanOptions
    settings: ScanSettings
    output: OutputOptions
    baseline: RunFolder | None


@dataclass(frozen=True)
class _Outcome:
    """What became of one model, in plain types: it may have been scanned in another process.

    Attributes:
        line: for a person.
        record: for a program.
        how: `scanned`, `there before`, or `could not be scanned`.
        failures: of `--fail-on`, a line each.
        fault: why a scanned one has no page though it should.
    """

    line: str
    record: dict[str, Any]
    how: str
    failures: tuple[str, ...] = ()
    fault: str | None = None


SCANNED, THERE, FAILED = "scanned", "there before", "could not be scanned"


def scan_many(
    head: ManyHeadOptions,
    run: ScanOptions,
    settings: ScanSettings,
    engines: EngineOptions,
    output: OutputOptions,
    baseline: RunFolder | None,
) -> None:
    """Scan models one after the other. What cannot be scanned is named, and keeps no other from it.

    Raises:
        BadInput: an option is about a single model, or a list cannot be read.
        Exit: with 2 where a model could not be scanned, with 1 where a condition of `--fail-on` is met.
    """
    found, root = _whom(head, run, settings)
    order = _Order(root, head, run, settings, output, baseline)
    outcomes: list[_Outcome] = []
    start, fault = None, None
    try:
        with engines.open(settings.jobs, settings.device) as engine:
            for outcome in _outcomes(found, order, engine):
                outcomes.append(outcome)
                if outcome.how == FAILED:
                    beside(outcome.line)
                elif not output.as_json:
                    say(outcome.line)
    finally:
        if any(one.how != FAILED for one in outcomes):
            start, fault = _start_page(root)
    if output.as_json:
        say_json({"runs": [one.record for one in outcomes], "start_page": start})
    else:
        counts = (f"{sum(one.how == how for one in outcomes)} {how}" for how in (SCANNED, THERE, FAILED))
        say("", ", ".join(counts), *([] if start is None else [f"start page: {start}"]))
    for one in outcomes:
        for line in one.failures:
            beside(f"{one.record['run']}: {line}")
    if fault is not None:
        raise fault
    for one in outcomes:
        if one.fault is not None:
            raise BadInput(one.fault)
    if any(one.how == FAILED for one in outcomes):
        raise typer.Exit(EXIT_BAD_INPUT)
    if any(one.failures for one in outcomes):
        raise typer.Exit(EXIT_CONDITION)


def _whom(head: ManyHeadOptions, run: ScanOptions, settings: ScanSettings) -> tuple[list[Place], Path | RemoteFolder]:
    """The models, and the folder of their runs."""
    from reach.many.places import places

    for flag, value in (("--out", run.out), ("--junit", run.junit)):
        if value is not None:
            raise BadInput(f"{flag} is about the run of one model; runs of several, and a start page, go to --runs")
    if head.head is not None and head.models:
        raise BadInput("--head is about one bare head; leave it out, or name no other model")
    if head.revisions is not None and head.revision is not None:
        raise BadInput("--revision is one of --revisions: leave it out")
    if not head.models:
        return [_unnamed(head)], run.runs or DEFAULT_RUNS
    root = run.runs
    if root is None:
        # What shapes the results is part of the folder's name, as it is for a single model.
        root = DEFAULT_RUNS / default_folder("many", head, run, settings).name.removeprefix("many").lstrip("-")
    return places(head.models, head.revisions), root


def _unnamed(head: ManyHeadOptions) -> Place:
    from reach.many.places import Place

    name, _ = head.of(None).loading()
    return Place(name, None, PurePosixPath(default_folder(name).name), "")


def _outcomes(found: list[Place], order: _Order, engine: Engine) -> Iterator[_Outcome]:
    """Every model; where there are several series and an engine for them, each series is a task of it."""
    series = list(_series(found).values())
    if engine.here or len(series) == 1:
        yield from _scanned(found, order, engine)
        return
    settings = replace(order.settings, jobs=engine.jobs)
    quiet = replace(order, settings=settings, output=replace(order.output, quiet=True))
    for _, outcomes in engine.as_done(series, lambda places: engine.submit(_scan_series, places, quiet)):
        yield from outcomes


def _series(found: list[Place]) -> dict[str, list[Place]]:
    several: dict[str, list[Place]] = {}
    for place in found:
        several.setdefault(place.series, []).append(place)
    return several


def _scan_series(found: list[Place], order: _Order) -> list[_Outcome]:
    """A task: models one after the other, in whichever process this is called."""
    from reach.engines.base import InProcess

    return list(_scanned(found, order, InProcess()))


@dataclass
class _Before:
    """What the models before leave to the next one.

    Attributes:
        vocabularies: those that have been read.
        run: the last one of the series, or its URL.
        last: what its scan found, should the next have the very same head.
    """

    vocabularies: Vocabularies
    run: RunFolder | RemoteFolder | None
    last: LastScan


def _scanned(found: list[Place], order: _Order, engine: Engine) -> Iterator[_Outcome]:
    """Each model in turn, with the certificates of the one before in its series."""
    from reach.many.vocabularies import Vocabularies
    from reach.scanning.last import LastScan

    before = _Before(Vocabularies(), None, LastScan())
    series = None
    for place in found:
        if place.series != series or order.run.cold:
            series, before.run, before.last = place.series, None, LastScan()
        out = order.root / place.name
        record = {"model": place.model, "revision": place.revision, "run": str(out)}
        try:
            outcome, before.run = _scan_or_skip(place, out, record, order, engine, before)
        except BadInput as error:
            outcome = _Outcome(f"{place.shown}: {error}", {**record, "problem": str(error)}, FAILED)
        yield outcome


def _scan_or_skip(
    place: Place,
    out: Path | RemoteFolder,
    record: dict[str, Any],
    order: _Order,
    engine: Engine,
    before: _Before,
) -> tuple[_Outcome, RunFolder | RemoteFolder]:
    """One model, whose run is on this machine or at a URL: what came of it, and the run or its URL."""
    from reach.runs.contents import Wanted
    from reach.runs.folder import PAGE_FILE, RunFolder
    from reach.runs.mirror import mirrored

    if isinstance(out, Path):
        return _scan_or_skip_here(place, out, record, order, engine, before)
    with mirrored(out, Wanted(outline=True)) as folder:
        there = _there(place, folder, order)
        done = there is not None and there.finished
        if there is not None and done and (order.run.no_report or (folder / PAGE_FILE).exists()):
            return _was_there(there, out, record), out
    with ExitStack() as stack:
        folder, earlier = stack.enter_context(mirrored(out, alone=True)), None
        if isinstance(before.run, RemoteFolder) and not done:
            earlier = RunFolder.open(stack.enter_context(mirrored(before.run, Wanted(journals=False))))
        here = replace(before, run=earlier)
        outcome, _ = _scan_or_skip_here(place, folder, record, order, engine, here)
        # The folder has the URL's name in here alone, and another process may be the one to say what came of it.
        line, failures = with_names(outcome.line), tuple(map(with_names, outcome.failures))
        fault = None if outcome.fault is None else with_names(outcome.fault)
        return replace(outcome, line=line, record=named(outcome.record), failures=failures, fault=fault), out


def _scan_or_skip_here(
    place: Place, out: Path, record: dict[str, Any], order: _Order, engine: Engine, before: _Before
) -> tuple[_Outcome, RunFolder]:
    from reach.runs.folder import PAGE_FILE, RunFolder
    from reports.scan_report import write_scan_report

    run, began = order.run, time.perf_counter()
    there = _there(place, out, order)
    if there is not None and there.finished:
        if not run.no_report and not (out / PAGE_FILE).exists():
            write_scan_report(out)
        return _was_there(there, out, record), there
    alone = replace(run, out=out, resume=there is not None)
    earlier = before.run if isinstance(before.run, RunFolder) else None
    done = scan_one(
        _one(place, order), alone, order.settings, order.output, out, engine, order.baseline,
        before.vocabularies, earlier, before.last,
    )  # fmt: skip
    line = f"{out}: {_counts(done.run)} ({time.perf_counter() - began:.1f} s)"
    fault = None if done.fault is None else str(done.fault)
    return _Outcome(line, {**record, **done.record()}, SCANNED, tuple(done.failures()), fault), done.run


def _one(place: Place, order: _Order) -> HeadOptions:
    return order.head.of(place.model if order.head.models else None, place.revision)


def _there(place: Place, out: Path, order: _Order) -> RunFolder | None:
    """The run that a folder holds, where it answers the question or can be gone on with."""
    from reach.many.finished import run_there

    if order.run.force:
        return None
    return run_there(out, _one(place, order).loading()[1], order.run.tokens, order.settings)


def _was_there(there: RunFolder, out: Path | RemoteFolder, record: dict[str, Any]) -> _Outcome:
    return _Outcome(f"{out}: {_counts(there)} (was there)", {**record, "skipped": True}, THERE)


def _start_page(root: Path | RemoteFolder) -> tuple[str | None, BadInput | None]:
    """Write the start page over all runs: its place, or why it is not there."""
    from reports.index_report import write_index

    if isinstance(root, Path):
        return page_of(lambda folder, **_: write_index(folder), root)
    from reach.runs.contents import LISTED
    from reach.runs.mirror import mirrored, seen_at

    try:
        for _ in range(_MOST_ROUNDS):
            before = seen_at(root)
            with mirrored(root, LISTED) as folder:
                page = with_names(str(write_index(folder)))
            # As `write_index` does here: another command may have put a run there meanwhile.
            if seen_at(root) == before:
                break
        return page, None
    except BadInput as fault:
        return None, fault


def _counts(run: RunFolder) -> str:
    totals = run.record.totals
    return ", ".join(f"{count:,} {name}" for name, count in (totals.verdicts if totals else {}).items() if count)
