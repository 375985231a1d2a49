"""The figure of docs/comparing-solvers.md: detection limits and hidden-token estimates from a RUN/solvers.json.

Needs plotly and Chromium. With `--table` the numbers are printed as the Markdown tables of the same page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import plotly.graph_objects as go
import typer
from interference_figure import photograph
from plotly.subplots import make_subplots

from reach.compare.ranking import ranked
from reach.compare.record import Comparison, Detection, Hidden, Limit

SHOWN = {
    "own-row": "#565962",
    "random-directions": "#b3261e",
    "lbfgs": "#b3561e",
    "adam": "#d08a1e",
    "reflection": "#7a9a1e",
    "nearest-point-batched": "#2b7a3f",
    "batched-barrier": "#3f8fd0",
    "clarabel": "#1b63b8",
}
HEAD = (64, 600, False)
"""Dimensions, rows and offsets of the planted head that is shown."""


def main(
    run: Annotated[Path, typer.Argument(help="Run folder with solvers.json.")] = Path("runs/demo"),
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("docs/images/solver-strength.png"),
    table: Annotated[bool, typer.Option("--table", help="Print the tables instead.")] = False,
) -> None:
    found = Comparison.read(run)
    if table:
        typer.echo("\n\n".join([grades(found), limits(found), hidden(found)]))
        return
    photograph(figure(found), out)
    typer.echo(str(out))


def _planted(found: Comparison, backend: str) -> Detection | None:
    wanted = (*HEAD, backend, None)
    return next(
        (one for one in found.detection or () if (one.d, one.v, one.offsets, one.backend, one.iterations) == wanted),
        None,
    )


def figure(found: Comparison) -> go.Figure:
    titles = (
        "Detection: share of planted speakable rows that are found, by margin",
        "What a search has not found: estimate with 95 % interval, and the proved truth",
    )
    shown = make_subplots(rows=2, cols=1, vertical_spacing=0.16, subplot_titles=titles)
    for backend, colour in SHOWN.items():
        result = _planted(found, backend)
        if result is None or result.speakable is None:
            continue
        cells = result.speakable.recall
        shown.add_scatter(
            x=[cell.level for cell in cells],
            y=[cell.rate for cell in cells],
            name=backend,
            line={"color": colour, "width": 2},
            row=1,
            col=1,
        )
    _hidden_tokens(shown, [one for one in found.hidden or () if one.best is not None])
    shown.update_xaxes(
        type="log",
        autorange="reversed",
        exponentformat="e",
        dtick=1,
        title="margin relative to the row norm",
        row=1,
        col=1,
    )
    shown.update_yaxes(title="share found", range=[-0.03, 1.05], row=1, col=1)
    shown.update_yaxes(title="speakable tokens", row=2, col=1)
    shown.update_layout(
        template="plotly_white", width=900, height=760, legend={"x": 1.01, "y": 1}, margin={"t": 40, "b": 30}
    )
    return shown


def _hidden_tokens(shown: go.Figure, hidden: list[Hidden]) -> None:
    names, below = [one.method for one in hidden], {"row": 2, "col": 1}
    estimates = [one.estimates[0] for one in hidden]
    ends = {
        "array": [(e.high or e.estimate) - e.estimate for e in estimates],
        "arrayminus": [max(0.0, e.estimate - e.low) for e in estimates],
    }
    shown.add_bar(x=names, y=[one.found for one in hidden], name="found", marker={"color": "#9fb6cd"}, **below)
    for name, y, marker, more in (
        ("estimate", [e.estimate for e in estimates], {"color": "#b3561e", "size": 10}, {"error_y": ends}),
        (
            "truth (proved)",
            [one.truth for one in hidden],
            {"color": "black", "symbol": "line-ew-open", "size": 34, "line": {"width": 3}},
            {},
        ),
    ):
        shown.add_scatter(x=names, y=y, mode="markers", name=name, marker=marker, **more, **below)


def grades(found: Comparison) -> str:
    lines = [
        "| backend | given | verified | claims | right | false *unspeakable* | false *speakable* | missed "
        "| median s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rows = found.main.grades
    for g in ranked(rows):
        lines.append(
            f"| `{g.backend}` | {g.given} | {g.verified} | {g.claims} | {g.right} | "
            f"{g.false_unspeakable} | {g.false_speakable} | {g.missed} | {g.seconds_median or 0.0:.3g} |"
        )
    return "\n".join(lines)


def limits(found: Comparison) -> str:
    lines = [
        "| backend | tried | finds 99 % of witnesses down to | proves 99 % of negatives down to |",
        "|---|---|---|---|",
    ]
    for backend in dict.fromkeys(one.backend for one in found.detection or ()):
        result = _planted(found, backend)
        if result is not None:
            sides = [_limit(result.speakable), _limit(result.unspeakable)]
            lines.append(f"| `{backend}` | {result.tried} of {result.plants} | {sides[0]} | {sides[1]} |")
    return "\n".join(lines)


def _limit(side: Limit | None) -> str:
    return "–" if side is None or side.limit is None else f"{side.limit:.0e}"


def hidden(found: Comparison) -> str:
    lines = ["| method | found | estimate (95 %) | truth | interval holds it |", "|---|---|---|---|---|"]
    for result in found.hidden or ():
        for e in result.estimates:
            estimate = f"{e.estimate:.0f} ({e.low:.0f}–{'' if e.high is None else f'{e.high:.0f}'})"
            holds = "yes" if e.holds_truth else "no"
            lines.append(f"| `{result.method}` | {result.found} | {estimate} | {result.truth} | {holds} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
