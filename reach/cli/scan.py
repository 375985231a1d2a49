"""`reach scan`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reach.cli.heads import open_head
from reach.cli.say import EXIT_CONDITION, note, page_of, say, say_json
from reach.head_options import HeadOptions, default_folder
from reach.options import Force, NoReport, Option, Options, OutputOptions, Resume, Tokens
from reach.scanning.settings import MARGIN_GAP_UNUSED, ScanSettings
from solvers.errors import BadInput


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
            "Exit 1 if there are such tokens: unspeakable,undecided,tied,nearly-never,nearly-never-float32.",
        ),
    ] = ()
    no_report: NoReport = False


def scan(head: HeadOptions, run: ScanOptions, settings: ScanSettings, output: OutputOptions) -> None:
    """Settle every token of a model: speakable with a witness, or unspeakable with a proof."""
    from reach.runs.folder import PAGE_FILE
    from reach.runs.summary import conditions, summary_lines, summary_record
    from reach.scan_command import ScanOrder, scan_to_folder
    from reach.token_choice import choose_tokens
    from reports.scan_report import write_scan_report

    failing = _fail_on(run.fail_on)
    opened = open_head(head, run.out if run.resume else None)
    problem = opened.head.problem()
    unused = settings.margin_gap is not None and not problem.margin_bounded
    warnings = (*opened.warnings, *([MARGIN_GAP_UNUSED] if unused else []))
    for warning in warnings:
        note(warning)
    order = ScanOrder(opened.name, opened.loading, run.tokens, ("reach", *sys.argv[1:]), warnings, opened.checked)
    tokens = None if run.tokens is None else choose_tokens(run.tokens, opened.vocabulary, opened.head.v)
    done = scan_to_folder(
        opened.head, problem, opened.vocabulary, run.out or default_folder(opened.name, head, run, settings),
        settings, order, chosen=tokens, resume=run.resume, force=run.force, quiet=output.still,
        page=None if run.no_report else PAGE_FILE, note=note,
    )  # fmt: skip
    report, fault = page_of(None if run.no_report else write_scan_report, done.path)
    verdicts = done.verdicts()
    if output.as_json:
        say_json({**summary_record(verdicts), "report": report})
    else:
        say(*summary_lines(verdicts), "", f"run:    {done.path}", *([] if report is None else [f"report: {report}"]))
    if fault is not None:
        raise fault
    counts = conditions(verdicts.totals)
    if any(counts[condition] for condition in failing):
        raise typer.Exit(EXIT_CONDITION)


def _fail_on(names: tuple[str, ...]) -> tuple[str, ...]:
    from reach.runs.summary import CONDITIONS

    for name in names:
        if name not in CONDITIONS:
            raise BadInput(f"--fail-on: no verdict {name!r}; there are {', '.join(CONDITIONS)}")
    return names
