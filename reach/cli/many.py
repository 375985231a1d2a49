"""`reach scan` over many models: one run folder each, what is finished is skipped, the start page at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from reach.cli.say import EXIT_BAD_INPUT, EXIT_CONDITION, beside, page_of, say, say_json
from reach.cli.scan import Done, ScanOptions, scan_one
from reach.engines.settings import EngineOptions
from reach.head_options import ManyHeadOptions, default_folder
from reach.options import OutputOptions
from reach.scanning.settings import ScanSettings
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.many.places import Place
    from reach.many.vocabularies import Vocabularies
    from reach.runs.folder import RunFolder

DEFAULT_RUNS = Path("runs")


@dataclass
class _Outcome:
    """What became of one model: scanned now, there before, or why it could not be scanned."""

    place: Place
    out: Path
    seconds: float = 0.0
    done: Done | None = None
    there: RunFolder | None = None
    problem: str | None = None

    @property
    def run(self) -> RunFolder | None:
        return self.there if self.done is None else self.done.run

    def record(self) -> dict[str, Any]:
        said = {"model": self.place.model, "revision": self.place.revision, "run": str(self.out)}
        if self.done is not None:
            return {**said, **self.done.record()}
        return {**said, "skipped": True} if self.there is not None else {**said, "problem": self.problem}

    def line(self) -> str:
        if self.run is None:
            return f"{self.place.shown}: {self.problem}"
        totals = self.run.record.totals
        counts = {} if totals is None else totals.verdicts
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        how = f"{self.seconds:.1f} s" if self.there is None else "was there"
        return f"{self.out}: {said} ({how})"


def scan_many(
    head: ManyHeadOptions,
    run: ScanOptions,
    settings: ScanSettings,
    engines: EngineOptions,
    output: OutputOptions,
) -> None:
    """Scan models one after the other. What cannot be scanned is said at the end, and keeps no other from it.

    Raises:
        BadInput: an option is about a single model, or a list cannot be read.
        Exit: with 2 where a model could not be scanned, with 1 where a condition of `--fail-on` is met.
    """
    from reports.index_report import write_index

    found, root = _whom(head, run, settings)
    outcomes: list[_Outcome] = []
    try:
        for outcome in _scanned(found, root, head, run, settings, engines, output):
            outcomes.append(outcome)
            if outcome.run is None:
                beside(outcome.line())
            elif not output.as_json:
                say(outcome.line())
    finally:
        some = any(one.run is not None for one in outcomes)
        start, fault = page_of(lambda folder, **_: write_index(folder), root) if some else (None, None)
    failed = [one for one in outcomes if one.run is None]
    if output.as_json:
        say_json({"runs": [one.record() for one in outcomes], "start_page": start})
    else:
        there = sum(one.there is not None for one in outcomes)
        done = len(outcomes) - there - len(failed)
        say("", f"{done} scanned, {there} there before, {len(failed)} could not be scanned")
        say(*([] if start is None else [f"start page: {start}"]))
    met = [(one.out, line) for one in outcomes if one.done is not None for line in one.done.failures()]
    for out, line in met:
        beside(f"{out}: {line}")
    if fault is not None:
        raise fault
    faults = [one.done.fault for one in outcomes if one.done is not None and one.done.fault is not None]
    if faults:
        raise faults[0]
    if failed or met:
        raise typer.Exit(EXIT_BAD_INPUT if failed else EXIT_CONDITION)


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


def _scanned(
    found: list[Place],
    root: Path,
    head: ManyHeadOptions,
    run: ScanOptions,
    settings: ScanSettings,
    engines: EngineOptions,
    output: OutputOptions,
) -> Iterator[_Outcome]:
    """Each model in turn, with the certificates of the one before in its series."""
    from reach.many.vocabularies import Vocabularies

    vocabularies = Vocabularies()
    before: _Outcome | None = None
    for place in found:
        outcome, began = _Outcome(place, root / place.name), time.perf_counter()
        fits = before is not None and before.place.series == place.series and not run.cold
        earlier = before.run if fits and before is not None else None
        try:
            _scan_or_skip(outcome, head, run, settings, engines, output, vocabularies, earlier)
        except BadInput as error:
            outcome.problem = str(error)
        outcome.seconds = time.perf_counter() - began
        if outcome.run is not None:
            before = outcome
        yield outcome


def _scan_or_skip(
    outcome: _Outcome,
    head: ManyHeadOptions,
    run: ScanOptions,
    settings: ScanSettings,
    engines: EngineOptions,
    output: OutputOptions,
    vocabularies: Vocabularies,
    earlier: RunFolder | None,
) -> None:
    from reach.many.finished import finished_run, is_unfinished
    from reach.runs.folder import PAGE_FILE
    from reports.scan_report import write_scan_report

    out = outcome.out
    one = head.of(outcome.place.model if head.models else None, outcome.place.revision)
    outcome.there = None if run.force else finished_run(out, one.loading()[1], run.tokens, settings)
    if outcome.there is None:
        order = replace(run, out=out, resume=not run.force and is_unfinished(out))
        outcome.done = scan_one(one, order, settings, engines, output, out, vocabularies, earlier)
    elif not run.no_report and not (out / PAGE_FILE).exists():
        write_scan_report(out)
