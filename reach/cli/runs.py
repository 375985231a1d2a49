"""Commands about runs that are there: `verify`, `report`, `diff` and `export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reach.cli.heads import self_checked
from reach.cli.say import EXIT_CONDITION, note, say, say_json, say_text
from reach.head_options import RunHeadOptions
from reach.options import Force, Option, Options, OutputOptions
from reach.progress import bars
from reach.runs.projections import NO_PROJECTION, PROJECTIONS
from solvers.errors import BadInput


@dataclass(frozen=True)
class VerifyOptions(Options):
    """What is to be proved again."""

    run: Annotated[Path, Option("", "Run folder.", url="read")]
    exact: Annotated[bool, Option("--exact", "Ask for exact evidence everywhere.")] = False


def verify(order: VerifyOptions, head: RunHeadOptions, output: OutputOptions) -> None:
    """Prove every verdict of a run again, from its certificates and the model. Uses no solver.

    The options that describe a head say which head is meant; the manifest may describe another than the model's own.
    """
    from reach.heads.adapter import adapter_choice
    from reach.runs.folder import RunFolder
    from reach.verify_command import VerifyOrder, verify_folder

    model = head.loading()[1].model if head.named else None
    asked = VerifyOrder(model, head.revision, head.domain, head.given(), adapter_choice(head.adapter), order.exact)
    found = verify_folder(RunFolder.open(order.run), asked, quiet=output.still)
    if head.self_check:
        self_checked(found.about.head, found.about.model)
    for remark in found.about.head.notes:
        note(remark)
    if output.as_json:
        say_json(found.record())
    else:
        say(*found.lines())
    if not found.ok:
        raise typer.Exit(EXIT_CONDITION)


@dataclass(frozen=True)
class ReportOptions(Options):
    """Which pages are to be written."""

    runs: Annotated[
        tuple[Path, ...],
        Option("", "Run folder, or a trace's. Several runs are set side by side.", metavar="RUN...", url="read"),
    ] = ()
    out: Annotated[
        Path | None, Option("--out", "File to write. Default: report.html in RUN, or compare.html here.")
    ] = None
    index: Annotated[
        Path | None,
        Option(
            "--index",
            "Write a start page over all runs in this folder instead: models, families, counts.",
            url="list",
        ),
    ] = None
    markdown: Annotated[
        bool,
        Option(
            "--markdown",
            "Write a short summary for a model card instead: RUN/report.md. With --index its table: index.md.",
        ),
    ] = False
    csv: Annotated[bool, Option("--csv", "With --index: write its table as CSV instead: index.csv.")] = False
    maps: Annotated[
        tuple[str, ...],
        Option(
            "--map",
            f"Projections for the map of the vocabulary: {', '.join(PROJECTIONS)}, or none to make nothing new. "
            "Default: pca, and those whose package is installed where they take no more than minutes.",
            choices=(*PROJECTIONS, NO_PROJECTION), noun="projection",
        ),
    ] = ()  # fmt: skip


def report(order: ReportOptions, output: OutputOptions) -> None:
    """Write the HTML report of a run, of several runs side by side, of a folder of runs, or of a trace."""
    from reach.maps.making import check_choice, completed_map
    from reports.write import write_reports

    check_choice(order.maps)
    if order.maps and (len(order.runs) != 1 or order.markdown or order.csv):
        raise BadInput("--map is about the page of a single run: leave it out, or name one run")
    with bars(quiet=output.still) as progress:
        written = write_reports(
            list(order.runs), order.out, index=order.index, markdown=order.markdown, csv=order.csv,
            map_of=lambda run: completed_map(run, order.maps, progress=progress, note=note),
        )  # fmt: skip
    if output.as_json:
        say_json({"written": [str(file) for file in written]})
    else:
        say(*map(str, written))


@dataclass(frozen=True)
class DiffOptions(Options):
    """Which runs are held against which."""

    runs: Annotated[tuple[Path, ...], Option("", "Run folders; each is held against the first.", url="read")]
    fail_on_change: Annotated[bool, Option("--fail-on-change", "Exit 1 if a token is in another class.")] = False


def diff(order: DiffOptions, output: OutputOptions) -> None:
    """Which tokens are in another class in another run? Tokens are matched by id, or by string."""
    from reports.diff_lines import diff_lines, diff_record

    record = diff_record(list(order.runs))
    if output.as_json:
        say_json(record)
    else:
        say(*diff_lines(record))
    if order.fail_on_change and any(one["changed"] for one in record["against"]):
        raise typer.Exit(EXIT_CONDITION)


@dataclass(frozen=True)
class ExportOptions(Options):
    """What form a run's tokens are to have, and where."""

    run: Annotated[Path, Option("", "Run folder.", url="read")]
    csv: Annotated[bool, Option("--csv", "Comma-separated, safe to open in a spreadsheet.")] = False
    parquet: Annotated[bool, Option("--parquet", "As a parquet file, which needs --out.")] = False
    out: Annotated[Path | None, Option("--out", "File to write. Default: standard output.")] = None
    force: Force = False


def export(order: ExportOptions, output: OutputOptions) -> None:
    """Write the tokens of a run, a row each with verdict, margin, blockers, categories: as CSV, JSON or parquet."""
    from reach.export import as_csv, as_json, tokens_table, write_parquet
    from reach.runs.atomic import write_page
    from reach.runs.folder import RunFolder

    if [order.csv, output.as_json, order.parquet].count(True) != 1:
        raise BadInput("say which form the tokens are to have: one of --csv, --json and --parquet")
    if order.parquet and order.out is None:
        raise BadInput("--parquet is no text for a terminal: name a file with --out")
    table = tokens_table(RunFolder.open(order.run))
    if order.out is None:
        say_text(as_csv(table) if order.csv else as_json(table))
        return
    if order.parquet:
        write_parquet(table, order.out, force=order.force)
    else:
        write_page(order.out, as_csv(table) if order.csv else as_json(table), force=order.force)
    say(f"{order.out}: {table.num_rows} tokens")
