"""The command `trace`: many runs over training and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tqdm import tqdm

from reach.cli.say import note, page_of, say, say_json
from reach.options import Force, NoReport, Option, Options, OutputOptions
from reach.progress import in_a_terminal
from reach.terminal import harmless
from reach.trace.options import TraceSettings


@dataclass(frozen=True)
class TraceOptions(Options):
    """Which runs are traced, and where the result goes."""

    runs: Annotated[
        tuple[Path, ...],
        Option("", "Finished run, or folder of runs, searched five levels deep.", metavar="RUNS...", url="runs"),
    ]
    plan: Annotated[
        Path | None,
        Option(
            "--plan", "CSV file that says where runs stand: run,series,step and a column for each further factor."
        ),
    ] = None
    out: Annotated[Path, Option("--out", "Folder for trace.json, trace.parquet and trace.html.", url="write")] = Path(
        "trace"
    )
    force: Force = False
    no_report: NoReport = False


def trace(order: TraceOptions, settings: TraceSettings, output: OutputOptions) -> None:
    """Follow every token over training steps and seeds, from finished runs alone."""
    from reach.trace.plan import read_plan
    from reach.trace.run import trace_to_folder
    from reach.trace.summary import summary_lines, summary_record
    from reports.trace_page import write_trace_page

    plan = () if order.plan is None else read_plan(order.plan)
    with tqdm(bar_format="{desc}", disable=output.still or not in_a_terminal(), leave=False) as line:
        record = trace_to_folder(
            order.runs, order.out, settings, plan=plan, force=order.force,
            say=lambda what: line.set_description_str(harmless(what)),
        )  # fmt: skip
    if record.left_out:
        note(f"left out {len(record.left_out)} of {len(record.left_out) + len(record.runs)} runs")
    page, fault = page_of(None if order.no_report else write_trace_page, order.out)
    if output.as_json:
        say_json({**summary_record(record), "folder": str(order.out), "page": page})
    else:
        say(*summary_lines(record), "", f"trace: {order.out}", *([] if page is None else [f"page: {page}"]))
    if fault is not None:
        raise fault
