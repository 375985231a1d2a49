"""Commands about the backends: `solvers` and `compare-solvers`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from reach.cli.heads import Opened, open_head
from reach.cli.say import note, pages_of, say, say_json
from reach.compare.settings import CompareSettings
from reach.head_options import HeadOptions, default_folder
from reach.options import Option, Options, OutputOptions
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.runs.folder import RunFolder


def solvers(output: OutputOptions) -> None:
    """List the solver backends: what they can do, their versions, and why one is missing."""
    from reach.compare_command import describe_backends

    rows = describe_backends()
    if output.as_json:
        say_json(rows)
        return
    say(f"{'backend':<23}{'version':<31}{'domains':<17}{'batched':<8}{'device':<11}{'proves no':<10}complete")
    for row in rows:
        if "missing" in row:
            say(f"{row['name']:<23}missing: {row['missing']}")
        else:
            say(
                f"{row['name']:<23}{row['version']:<31}{', '.join(row['domains']):<17}{_yes(row['batched']):<8}"
                f"{', '.join(row['devices']):<11}{_yes(row['proves_negative']):<10}{_yes(row['complete'])}"
            )


@dataclass(frozen=True)
class CompareOptions(Options):
    """Where a comparison goes."""

    out: Annotated[
        Path | None, Option("--out --run", "Run folder; scanned first if need be. Default: that of the scan.")
    ] = None


def compare_solvers(head: HeadOptions, run: CompareOptions, settings: CompareSettings, output: OutputOptions) -> None:
    """Give the same tokens to every solver backend and let the proofs say which of them was right."""
    from reach.compare.summary import comparison_lines
    from reach.compare_command import choose_backends, compare_solvers
    from reach.runs.lock import locked
    from reports.write import write_reports

    opened = open_head(head, run.out)
    problem = opened.head.problem()
    chosen = choose_backends(list(settings.backends) or None, problem)
    settings = replace(settings, backends=tuple(entry.name for entry in chosen))
    if settings.sample > problem.v:
        raise BadInput(f"--sample {settings.sample}: the vocabulary has only {problem.v} tokens")
    out = run.out or default_folder(opened.name, head)
    with locked(out):
        scanned = _scanned(out, opened, settings, output)
        result = compare_solvers(scanned, problem, settings, quiet=output.still)
    # The scan's own page too: it shows the margins of the random control now.
    pages, fault = pages_of(lambda again: write_reports([scanned.path], again=again), scanned.path)
    if output.as_json:
        say_json(result)
    else:
        written = f"comparison: {scanned.path / 'solvers.json'}, {scanned.path / 'solvers.parquet'}"
        say(*comparison_lines(result), "", written, *(f"report: {page}" for page in pages or ()))
    if fault is not None:
        raise fault


def _scanned(out: Path, opened: Opened, settings: CompareSettings, output: OutputOptions) -> RunFolder:
    """The finished scan in a folder, which is made where there is none yet."""
    from reach.runs.folder import RunFolder
    from reach.scan.settings import ScanSettings
    from reach.scan_command import ScanOrder, scan_to_folder

    begun = (out / "manifest.json").is_file()
    if begun:
        run = RunFolder.open(out, finished=False)
        if run.manifest.get("status") == "finished":
            return run
    command = ("reach", *sys.argv[1:])
    order = ScanOrder(opened.name, opened.loading, None, command, opened.warnings, opened.checked)
    scanning = ScanSettings(jobs=settings.jobs, device=settings.device)
    return scan_to_folder(
        opened.head, opened.head.problem(), opened.vocabulary, out, scanning, order, resume=begun,
        quiet=output.still, note=note,
    )  # fmt: skip


def _yes(flag: bool) -> str:
    return "yes" if flag else "-"
