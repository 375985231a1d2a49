"""Margins of several runs on one axis."""

from __future__ import annotations

import numpy as np

from reach.verdicts import Verdicts
from reports.charts.axes import linear_axis
from reports.charts.chart import DASHES, Chart, Line
from reports.charts.drawing import Drawing, draw
from reports.histogram import Values, scale_for


def overlays(labels: list[str], runs: list[Verdicts]) -> list[Drawing]:
    """Histograms with a line for each run, as shares of its tokens: speakable and unspeakable ones."""
    speakable = [run.margin_lower[run.speakable] for run in runs]
    unspeakable = [run.margin_upper[run.unspeakable] for run in runs]
    charts = (
        _overlay("unspeakable", "Unspeakable: how far below", labels, runs, unspeakable, negative=True),
        _overlay("speakable", "Speakable: how far above", labels, runs, speakable, negative=False),
    )
    return [draw(chart) for chart in charts if chart is not None]


def _overlay(
    key: str, title: str, labels: list[str], runs: list[Verdicts], values: list[Values], *, negative: bool
) -> Chart | None:
    sizes = [-v[v < 0] if negative else v[v > 0] for v in values]
    every = np.concatenate(sizes)
    if not len(every):
        return None
    scale = scale_for(every, mirrored=negative)
    edges = scale.edges()
    lines = []
    for at, (label, run, mine) in enumerate(zip(labels, runs, sizes, strict=True)):
        counts, _ = np.histogram(np.clip(mine, edges[0], edges[-1]), edges)
        shares = (100 * counts / max(1, len(run))).tolist()
        lines.append(
            Line(label, edges.tolist(), [*shares, shares[-1]], f"run-{at % 6}", DASHES[at % 6], "after", thick=True)
        )
    return Chart(
        key,
        title,
        scale.axis("margin at most, in logits" if negative else "margin at least, in logits"),
        linear_axis("% of the tokens", [share or 0.0 for line in lines for share in line.y], zero=True),
        tuple(lines),
        summary="One line for each run.",
    )
