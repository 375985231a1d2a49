"""`reach scan`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reach.cli.heads import open_head
from reach.cli.say import EXIT_CONDITION, beside, note, page_of, say, say_json
from reach.engines.settings import EngineOptions
from reach.head_options import HeadOptions, ManyHeadOptions, default_folder
from reach.names import command_line
from reach.options import Force, NoReport, Option, Options, OutputOptions, Resume, Tokens
from reach.runs.remote import RemoteFolder
from reach.scanning.settings import MARGIN_GAP_UNUSED, ScanSettings
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.cli.fail_on import Finding
    from reach.engines.base import Engine
    from reach.many.vocabularies import Vocabularies
    from reach.runs.folder import RunFolder
    from reach.scanning.last import LastScan


@dataclass(frozen=True)
class ScanOptions(Options):
    """What a scan is of, and what becomes of it."""

    out: Annotated[
        Path | None,
        Option(
            "--out",
            "Run folder, or a URL such as s3://bucket/run. Default: runs/MODEL, with what else shapes the result.",
            url="write",
        ),
    ] = None
    runs: Annotated[
        Path | RemoteFolder | None,
        Option(
            "--runs",
            "Folder of runs, or a URL: every model gets its folder there, and the start page is written anew. "
            "Default where several models are named: runs.",
            url="place",
        ),
    ] = None
    cold: Annotated[
        bool, Option("--cold", "Of several models: do not begin with the certificates of the one before.")
    ] = False
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
        Path | None,
        Option("--baseline", "Finished run; --fail-on fails only on tokens that are new since then.", url="read"),
    ] = None
    junit: Annotated[Path | None, Option("--junit", "Also write what --fail-on found as JUnit XML to this file.")] = (
        None
    )
    no_report: NoReport = False


def scan(
    head: ManyHeadOptions,
    run: ScanOptions,
    settings: ScanSettings,
    engines: EngineOptions,
    output: OutputOptions,
) -> None:
    """Settle every token of a model: speakable with a witness, or unspeakable with a proof. Several, one by one."""
    from reach.cli.fail_on import write_junit
    from reach.cli.many import scan_many
    from reach.many.places import several

    baseline = _check_fail_on(run, settings)
    if run.runs is not None or several(head.models, head.revisions):
        scan_many(head, run, settings, engines, output, baseline)
        return
    one = head.of(head.models[0] if head.models else None)
    with engines.open(settings.jobs, settings.device) as engine:
        done = scan_one(one, run, settings, output, run.out, engine, baseline)
    if output.as_json:
        say_json(done.record())
    else:
        say(*done.lines())
    if run.junit is not None:
        write_junit(run.junit, done.run, list(done.found))
    if done.fault is not None:
        raise done.fault
    failed = done.failures()
    for line in failed:
        beside(line)
    if failed:
        raise typer.Exit(EXIT_CONDITION)


@dataclass(frozen=True)
class Done:
    """A scan that has been made.

    Attributes:
        run: its folder.
        found: what `--fail-on` found.
        report: the place of its page, where there is one.
        fault: why there is none though there should be.
    """

    run: RunFolder
    found: tuple[Finding, ...]
    report: str | None
    fault: BadInput | None

    def record(self) -> dict[str, Any]:
        """What came of it, in plain types."""
        from reach.runs.summary import summary_record

        kinds = {one.condition: {"tokens": one.tokens, "new": one.new} for one in self.found}
        return {**summary_record(self.run.verdicts()), "report": self.report, "fail_on": kinds}

    def lines(self) -> list[str]:
        """The same for a person."""
        from reach.runs.summary import summary_lines

        page = [] if self.report is None else [f"report: {self.report}"]
        return [*summary_lines(self.run.verdicts()), "", f"run:    {self.run.path}", *page]

    def failures(self) -> list[str]:
        """A line for each condition of `--fail-on` that is met."""
        return [f"--fail-on: {one.words}" for one in self.found if one.new]


def scan_one(
    head: HeadOptions,
    run: ScanOptions,
    settings: ScanSettings,
    output: OutputOptions,
    out: Path | None,
    engine: Engine,
    baseline: RunFolder | None,
    vocabularies: Vocabularies | None = None,
    earlier: RunFolder | None = None,
    last: LastScan | None = None,
) -> Done:
    """Scan one model, and write its run folder and its page.

    Args:
        head, run, settings, output: as asked for.
        out: the run folder; none takes the default.
        engine: where blocks are computed.
        baseline: what `--fail-on` is held against; none for nothing.
        vocabularies: those of models before.
        earlier: the finished run of a similar model, whose certificates are tried first.
        last: what the scan before found, should this be the same head.
    """
    from reach.cli.fail_on import findings
    from reach.runs.folder import PAGE_FILE
    from reach.scan_command import ScanOrder, scan_to_folder
    from reach.token_choice import choose_tokens
    from reports.scan_report import write_scan_report

    opened = open_head(head, out if run.resume else None, vocabularies)
    problem = opened.head.problem()
    unused = settings.margin_gap is not None and not problem.margin_bounded
    warnings = (*opened.warnings, *([MARGIN_GAP_UNUSED] if unused else []))
    for warning in warnings:
        note(warning)
    order = ScanOrder(opened.name, opened.loading, run.tokens, command_line(), warnings, opened.checked)
    tokens = None if run.tokens is None else choose_tokens(run.tokens, opened.vocabulary, opened.head.v)
    done = scan_to_folder(
        opened.head, problem, opened.vocabulary, out or default_folder(opened.name, head, run, settings),
        settings, order, chosen=tokens, resume=run.resume, force=run.force, quiet=output.still,
        page=None if run.no_report else PAGE_FILE, note=note, engine=engine, earlier=earlier,
        last=last,
    )  # fmt: skip
    report, fault = page_of(None if run.no_report else partial(write_scan_report, read=done), done.path)
    found = tuple(findings(done, run.fail_on, baseline))
    return Done(done, found, report, fault)


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
