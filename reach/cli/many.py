"""`reach scan` over many models: one run folder each, what is finished is skipped, the start page at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from reach.cli.say import EXIT_BAD_INPUT, EXIT_CONDITION, beside, page_of, say, say_json
from reach.cli.scan import ScanOptions, scan_one
from reach.engines.settings import EngineOptions
from reach.head_options import ManyHeadOptions, default_folder
from reach.options import OutputOptions
from reach.scanning.settings import ScanSettings
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.engines.base import Engine
    from reach.many.places import Place
    from reach.many.vocabularies import Vocabularies
    from reach.runs.folder import RunFolder
    from reach.scanning.last import LastScan

DEFAULT_RUNS = Path("runs")


@dataclass(frozen=True)
class _Order:
    """What is asked of every model alike."""

    root: Path
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
    from reports.index_report import write_index

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
            start, fault = page_of(lambda folder, **_: write_index(folder), root)
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


def _whom(head: ManyHeadOptions, run: ScanOptions, settings: ScanSettings) -> tuple[list[Place], Path]:
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


def _scanned(found: list[Place], order: _Order, engine: Engine) -> Iterator[_Outcome]:
    """Each model in turn, with the certificates of the one before in its series."""
    from reach.many.vocabularies import Vocabularies
    from reach.scanning.last import LastScan

    vocabularies, last = Vocabularies(), LastScan()
    series, earlier = None, None
    for place in found:
        if place.series != series or order.run.cold:
            series, earlier, last = place.series, None, LastScan()
        out = order.root / place.name
        record = {"model": place.model, "revision": place.revision, "run": str(out)}
        try:
            outcome, earlier = _scan_or_skip(place, out, record, order, engine, vocabularies, earlier, last)
        except BadInput as error:
            outcome = _Outcome(f"{place.shown}: {error}", {**record, "problem": str(error)}, FAILED)
        yield outcome


def _scan_or_skip(
    place: Place,
    out: Path,
    record: dict[str, Any],
    order: _Order,
    engine: Engine,
    vocabularies: Vocabularies,
    earlier: RunFolder | None,
    last: LastScan,
) -> tuple[_Outcome, RunFolder]:
    from reach.many.finished import run_there
    from reach.runs.folder import PAGE_FILE
    from reports.scan_report import write_scan_report

    run, began = order.run, time.perf_counter()
    one = order.head.of(place.model if order.head.models else None, place.revision)
    there = None if run.force else run_there(out, one.loading()[1], run.tokens, order.settings)
    if there is not None and there.finished:
        if not run.no_report and not (out / PAGE_FILE).exists():
            write_scan_report(out)
        return _Outcome(f"{out}: {_counts(there)} (was there)", {**record, "skipped": True}, THERE), there
    alone = replace(run, out=out, resume=there is not None)
    done = scan_one(
        one, alone, order.settings, order.output, out, engine, order.baseline, vocabularies, earlier, last
    )
    line = f"{out}: {_counts(done.run)} ({time.perf_counter() - began:.1f} s)"
    fault = None if done.fault is None else str(done.fault)
    return _Outcome(line, {**record, **done.record()}, SCANNED, tuple(done.failures()), fault), done.run


def _counts(run: RunFolder) -> str:
    totals = run.record.totals
    return ", ".join(f"{count:,} {name}" for name, count in (totals.verdicts if totals else {}).items() if count)
