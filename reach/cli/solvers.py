"""Commands about the backends: `solvers` and `compare-solvers`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import to_builtins

from reach.cli.heads import open_head
from reach.cli.say import note, pages_of, say, say_json
from reach.compare.options import CompareSettings
from reach.head_options import HeadOptions, default_folder
from reach.names import command_line
from reach.options import Option, Options, OutputOptions


def solvers(output: OutputOptions) -> None:
    """List the solver backends: what they can do, their versions, and why one is missing."""
    from reach.compare.run import describe_backends

    rows = describe_backends()
    if output.as_json:
        say_json(to_builtins(rows))
        return
    say(f"{'backend':<23}{'version':<31}{'domains':<17}{'batched':<8}{'device':<11}{'proves no':<10}complete")
    for row in rows:
        if row.missing is not None:
            say(f"{row.name:<23}missing: {row.missing}")
        else:
            say(
                f"{row.name:<23}{row.version:<31}{', '.join(row.domains or ()):<17}{_yes(row.batched):<8}"
                f"{', '.join(row.devices or ()):<11}{_yes(row.proves_negative):<10}{_yes(row.complete)}"
            )


@dataclass(frozen=True)
class CompareOptions(Options):
    """Where a comparison goes."""

    out: Annotated[
        Path | None,
        Option("--out --run", "Run folder; scanned first if need be. Default: that of the scan.", url="write"),
    ] = None


def compare_solvers(head: HeadOptions, run: CompareOptions, settings: CompareSettings, output: OutputOptions) -> None:
    """Give the same tokens to every solver backend and let the proofs say which of them was right."""
    from reach.compare.run import compare_to_folder
    from reach.compare.summary import comparison_lines
    from reach.scan_command import ScanOrder
    from reports.write import write_reports

    opened = open_head(head, run.out)
    out = run.out or default_folder(opened.name, head)
    order = ScanOrder(
        opened.name, opened.loading, None, command_line(), opened.warnings, opened.checked
    )  # fmt: skip
    result = compare_to_folder(opened.head, opened.vocabulary, out, settings, order, quiet=output.still, note=note)
    # The scan's own page too: it shows the margins of the random control now.
    pages, fault = pages_of(lambda again: write_reports([out], again=again), out)
    if output.as_json:
        say_json(result.plain())
    else:
        written = f"comparison: {out / result.FILE}, {out / 'solvers.parquet'}"
        say(*comparison_lines(result), "", written, *(f"report: {page}" for page in pages or ()))
    if fault is not None:
        raise fault


def _yes(flag: bool | None) -> str:
    return "yes" if flag else "-"
