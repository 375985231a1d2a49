"""The figure of docs/samplers.md: tokens out of reach of min-p, model and random control. Needs plotly and Chromium.

Every count is proved: the heads are scanned with margins first. With `--table` the numbers are printed too, as the
Markdown tables of the same page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import plotly.graph_objects as go
import typer
from interference_figure import photograph
from plotly.subplots import make_subplots

from reach.api import load
from reach.compare.controls import gaussian_like
from reach.demo import DEMO_NAME, demo_model
from reach.heads.head import Head
from reach.options import default_jobs
from reach.samplers import THRESHOLDS, SamplerPoint, checked_temperature, sampler_curve
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.tables import margins
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

COLOURS = ("#1b63b8", "#b3561e", "#2b7a3f", "#7a3fb3")
WIDTH, HEIGHT = 900, 520


@dataclass(frozen=True)
class Curves:
    """The curves of one model and its control."""

    name: str
    tokens: int
    model: list[SamplerPoint]
    control: list[SamplerPoint]


def main(
    models: Annotated[list[str], typer.Argument(help="Model folders, or demo.")],
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("docs/images/samplers.png"),
    table: Annotated[bool, typer.Option("--table", help="Print the tables too.")] = False,
    gap: Annotated[float, typer.Option(help="Relative gap of the margins.")] = 0.01,
    temperature: Annotated[float, typer.Option(help="T.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the controls.")] = 0,
) -> None:
    try:
        found = [curves(name, gap, checked_temperature(temperature), seed) for name in models]
    except BadInput as error:
        typer.echo(f"sampler_figure: {error}", err=True)
        raise typer.Exit(2) from None
    if table:
        typer.echo("\n\n".join(markdown(one) for one in found))
    photograph(figure(found, temperature), out)
    typer.echo(str(out))


def curves(name: str, gap: float, temperature: float, seed: int) -> Curves:
    head: Head = load(str(demo_model()) if name == DEMO_NAME else name)
    if head.softcap is not None:
        raise BadInput(f"{name}: this model caps its logits; margins do not say what min-p keeps")
    problem, heat = head.problem(), temperature / head.logit_scale
    both = [curve_of(one, gap, heat) for one in (problem, gaussian_like(problem, seed))]
    return Curves(Path(name).name, problem.v, *both)


def curve_of(problem: ArgmaxProblem, gap: float, temperature: float) -> list[SamplerPoint]:
    result = scan(problem, ScanSettings(margin_gap=gap, jobs=default_jobs()))
    lower, upper = margins(result)
    # At 0 all logits without offsets are equal, and no margin is below 0.
    return sampler_curve(lower.clip(min=0) if problem.cone else lower, upper, temperature=temperature)


def markdown(found: Curves) -> str:
    lines = [
        f"{found.name}, {found.tokens} tokens:", "",
        "| min-p | out of reach | open | control: out of reach | open |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for model, control in zip(found.model, found.control, strict=True):
        p = "greedy" if model.p == 1 else f"{model.p:g}"
        lines.append(f"| {p} | {model.out_of_reach} | {model.open} | {control.out_of_reach} | {control.open} |")
    return "\n".join(lines)


def figure(found: list[Curves], temperature: float) -> go.Figure:
    drawn = make_subplots(rows=1, cols=len(found), subplot_titles=[f"{one.name} ({one.tokens:,})" for one in found])
    at = list(range(len(THRESHOLDS)))
    for col, one in enumerate(found, start=1):
        sides = (("model", one.model, "solid"), ("Gaussian control", one.control, "dash"))
        for (name, points, dash), colour in zip(sides, COLOURS, strict=False):
            count = [point.out_of_reach for point in points]
            room = [point.open for point in points]
            drawn.add_scatter(
                x=at, y=count, name=name, mode="lines+markers", line={"color": colour, "dash": dash, "width": 2},
                error_y={"type": "data", "array": room, "arrayminus": [0] * len(at)},
                showlegend=col == 1,
                row=1, col=col,
            )  # fmt: skip
    words = ["greedy" if p == 1 else f"{p:g}" for p in THRESHOLDS]
    drawn.update_xaxes(tickvals=at, ticktext=words, title="min-p threshold")
    drawn.update_yaxes(title="tokens proved out of reach", rangemode="tozero")
    title = f"What min-p can never return at temperature {temperature:g} (bars: open)"
    font = {"family": "DejaVu Sans, Arial, sans-serif", "size": 14}
    drawn.update_layout(
        template="plotly_white", width=WIDTH, height=HEIGHT, font=font, title={"text": title, "x": 0.02}
    )
    return drawn


if __name__ == "__main__":
    typer.run(main)
