"""The commands of the studies: `interference` and `search`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from reach.cli.heads import named_or_known, open_head, self_checked
from reach.cli.say import EXIT_CONDITION, beside, note, page_of, say, say_json
from reach.head_options import HeadOptions, default_folder
from reach.interference.options import InterferenceSettings
from reach.options import Force, NoReport, Option, Options, OutputOptions, Resume, Tokens
from reach.search.options import SearchSettings
from reach.terminal import harmless
from solvers.errors import BadInput


@dataclass(frozen=True)
class InterferenceOptions(Options):
    """Where a measurement goes, and what stands beside it."""

    out: Annotated[
        Path | None,
        Option("--out --run", "Run folder; a scan in it is joined. Default: that of the scan.", url="write"),
    ] = None
    beside: Annotated[
        tuple[Path, ...], Option("--beside", "Measured run of another checkpoint or seed; repeatable.", url="read")
    ] = ()
    force: Force = False


def interference(
    head: HeadOptions, run: InterferenceOptions, settings: InterferenceSettings, output: OutputOptions
) -> None:
    """Measure how crowded the output space is, and what chance would do."""
    from reach.interference.run import InterferenceOrder, interference_to_folder
    from reach.interference.summary import summary_lines, summary_record
    from reports.interference_page import write_interference_page

    opened = open_head(head, run.out)
    out = run.out or default_folder(opened.name, head)
    order = InterferenceOrder(opened.name, opened.loading, run.beside, opened.warnings)
    with tqdm(bar_format="{desc}", disable=output.still, leave=False, delay=0.1) as line:
        record = interference_to_folder(
            opened.head, opened.vocabulary, out, settings, order, force=run.force,
            say=lambda what: line.set_description_str(harmless(what)),
        )  # fmt: skip
    for warning in record.warnings:
        note(warning)
    page, fault = page_of(write_interference_page, out)
    if output.as_json:
        say_json({**summary_record(record), "page": page})
    else:
        say(*summary_lines(record), *([] if page is None else ["", f"page: {page}"]))
    if fault is not None:
        raise fault


@dataclass(frozen=True)
class SearchOptions(Options):
    """What is searched for, and where the result goes."""

    out: Annotated[
        Path | None,
        Option("--run --out", "Run folder; scanned first if need be. Default: that of the scan.", url="write"),
    ] = None
    tokens: Tokens = None
    resume: Resume = False
    force: Force = False
    no_report: NoReport = False


def search(head: HeadOptions, run: SearchOptions, settings: SearchSettings, output: OutputOptions) -> None:
    """Search for inputs: which tokens can the whole model be made to say?"""
    from reach.loading import load_again
    from reach.search.run import run_search
    from reach.search.summary import SearchBar, contradiction_line, summary_lines, summary_record
    from reports.search_page import write_search_report

    if head.head is not None:
        raise BadInput(f"--head {head.head}: a bare head has no model before it to search; name a model folder")
    name, loading, fetch = named_or_known(head, run.out)
    out = run.out or default_folder(name, head)
    if head.self_check:
        self_checked(load_again(loading, fetch=fetch), str(loading.model))
    with SearchBar(quiet=output.still) as bar:
        record = run_search(
            name, loading, out, settings, tokens=run.tokens, resume=run.resume, force=run.force, say=bar.show,
            fetch=fetch,
        )  # fmt: skip
    for warning in record.warnings:
        note(warning)
    page, fault = page_of(None if run.no_report else write_search_report, out)
    if output.as_json:
        say_json({**summary_record(record), "page": page})
    else:
        say(*summary_lines(record), "", f"run: {out}", *([] if page is None else [f"page: {page}"]))
    contradiction = contradiction_line(record)
    if contradiction is not None:
        beside(contradiction)
    if fault is not None:
        raise fault
    if contradiction is not None:
        raise typer.Exit(EXIT_CONDITION)
