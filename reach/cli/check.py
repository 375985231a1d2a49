"""`reach check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reach.cli.heads import open_head
from reach.cli.say import EXIT_CONDITION, note, say, say_json
from reach.gate.settings import GateSettings
from reach.head_options import HeadOptions
from reach.options import Force, Option, Options, OutputOptions


@dataclass(frozen=True)
class CheckOptions(Options):
    """What else becomes of the result."""

    junit: Annotated[Path | None, Option("--junit", "Also write the result as JUnit XML to this file.")] = None
    paste: Annotated[
        Path | None,
        Option("--paste", "Write into this new folder how to mask what can come out and must not, ready to be used."),
    ] = None
    force: Force = False


def check(head: HeadOptions, gate: GateSettings, also: CheckOptions, output: OutputOptions) -> None:
    """The release gate: prove that what must be said can be, and what must not come out cannot. Exit 1 if not."""
    from reach.gate.junit import write_junit
    from reach.gate.paste import check_folder, write_paste
    from reach.gate.run import run_gate
    from reach.progress import bars
    from reach.runs.atomic import check_place

    if also.junit is not None:
        check_place(also.junit, force=True)
    if also.paste is not None:
        check_folder(also.paste, force=also.force)
    opened = open_head(head)
    for warning in opened.warnings:
        note(warning)
    with bars(quiet=output.still) as progress:
        result = run_gate(
            opened.name, opened.head, opened.vocabulary, gate, warnings=opened.warnings, progress=progress, note=note
        )
    if output.as_json:
        say_json(result.record())
    else:
        say(*result.lines())
    if also.junit is not None:
        write_junit(also.junit, result)
    if also.paste is not None:
        written = write_paste(also.paste, result, force=also.force)
        if not output.as_json:
            say(f"paste: {written}")
    if not result.ok:
        raise typer.Exit(EXIT_CONDITION)
