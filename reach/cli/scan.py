"""`reach scan`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reach.cli.heads import open_head
from reach.cli.say import EXIT_CONDITION, beside, note, page_of, say, say_json
from reach.engines.settings import EngineOptions
from reach.head_options import HeadOptions, default_folder
from reach.options import Force, NoReport, Option, Options, OutputOptions, Resume, Tokens
from reach.scanning.settings import MARGIN_GAP_UNUSED, ScanSettings
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.runs.folder import RunFolder


@dataclass(frozen=True)
class ScanOptions(Options):
    """What a scan is of, and what becomes of it."""

    out: Annotated[
        Path | None, Option("--out", "Run folder. Default: runs/MODEL, with what else shapes the result.")
    ] = None
    tokens: Tokens = None
    resume: Resume = False
    force: Force = False
    fail_on: Annotated[
        tuple[str, ...],
        Option(
            "--fail-on",
            "Exit 1 if there are such tokens: unspeakable,undecided,tied,hard-to-speak,nearly-never[-float32], "
            "and of --arithmetic such as never-bfloat16.",
        ),
    ] = ()
    baseline: Annotated[
        Path | None, Option("--baseline", "Finished run; --fail-on fails only on tokens that are new since then.")
    ] = None
    junit: Annotated[Path | None, Option("--junit", "Also write what --fail-on found as JUnit XML to this file.")] = (
        None
    )
    no_report: NoReport = False


def scan(
    head: HeadOptions, run: ScanOptions, settings: ScanSettings, engines: EngineOptions, output: OutputOptions
) -> None:
    """Settle every token of a model: speakable with a witness, or unspeakable with a proof."""
    from reach.cli.fail_on import findings, write_junit
    from reach.runs.folder import PAGE_FILE
    from reach.runs.summary import summary_lines, summary_record
    from reach.scan_command import ScanOrder, scan_to_folder
    from reach.token_choice import choose_tokens
    from reports.scan_report import write_scan_report

    baseline = _check_fail_on(run, settings)
    opened = open_head(head, run.out if run.resume else None)
    problem = opened.head.problem()
    unused = settings.margin_gap is not None and not problem.margin_bounded
    warnings = (*opened.warnings, *([MARGIN_GAP_UNUSED] if unused else []))
    for warning in warnings:
        note(warning)
    order = ScanOrder(opened.name, opened.loading, run.tokens, ("reach", *sys.argv[1:]), warnings, opened.checked)
    tokens = None if run.tokens is None else choose_tokens(run.tokens, opened.vocabulary, opened.head.v)
    with engines.open(settings.jobs, settings.device) as engine:
        done = scan_to_folder(
            opened.head, problem, opened.vocabulary, run.out or default_folder(opened.name, head, run, settings),
            settings, order, chosen=tokens, resume=run.resume, force=run.force, quiet=output.still,
            page=None if run.no_report else PAGE_FILE, note=note, engine=engine,
        )  # fmt: skip
    report, fault = page_of(None if run.no_report else write_scan_report, done.path)
    verdicts = done.verdicts()
    found = findings(done, run.fail_on, baseline)
    if output.as_json:
        kinds = {one.condition: {"tokens": one.tokens, "new": one.new} for one in found}
        say_json({**summary_record(verdicts), "report": report, "fail_on": kinds})
    else:
        say(*summary_lines(verdicts), "", f"run:    {done.path}", *([] if report is None else [f"report: {report}"]))
    if run.junit is not None:
        write_junit(run.junit, done, found)
    if fault is not None:
        raise fault
    failed = [one for one in found if one.new]
    for one in failed:
        beside(f"--fail-on: {one.words}")
    if failed:
        raise typer.Exit(EXIT_CONDITION)


def _check_fail_on(run: ScanOptions, settings: ScanSettings) -> RunFolder | None:
    """The baseline; refuses what could only be refused after the scan.

    Raises:
        BadInput: a condition is unknown, none is named, or a place or a run is not what it must be.
    """
    from reach.cli.fail_on import CONDITIONS, SERVED_CONDITIONS
    from reach.runs.atomic import check_place
    from reach.runs.folder import RunFolder

    for name in run.fail_on:
        if name not in CONDITIONS:
            raise BadInput(f"--fail-on: no verdict {name!r}; there are {', '.join(CONDITIONS)}")
        if name in SERVED_CONDITIONS and SERVED_CONDITIONS[name][1] not in settings.arithmetic:
            raise BadInput(f"--fail-on {name}: also ask for it, with --arithmetic {SERVED_CONDITIONS[name][1]}")
    for flag, value in (("--baseline", run.baseline), ("--junit", run.junit)):
        if value is not None and not run.fail_on:
            raise BadInput(f"{flag} is about the tokens of --fail-on: say which, such as --fail-on unspeakable")
    if run.junit is not None:
        check_place(run.junit, force=True)
    return None if run.baseline is None else RunFolder.open(run.baseline)
