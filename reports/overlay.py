"""Margins of several runs on one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from reach.verdicts import Verdicts
from reports.histogram import Values, scale_for


def overlays(labels: list[str], runs: list[Verdicts]) -> list[dict[str, Any]]:
    """Histograms with a series for each run, as shares of its tokens: speakable and unspeakable ones."""
    speakable = [run.margin_lower[run.speakable] for run in runs]
    unspeakable = [run.margin_upper[run.unspeakable] for run in runs]
    return [
        drawn
        for drawn in (
            _overlay("unspeakable", "Unspeakable: how far below", labels, runs, unspeakable, negative=True),
            _overlay("speakable", "Speakable: how far above", labels, runs, speakable, negative=False),
        )
        if drawn
    ]


def _overlay(
    key: str, title: str, labels: list[str], runs: list[Verdicts], values: list[Values], *, negative: bool
) -> dict[str, Any] | None:
    sizes = [-v[v < 0] if negative else v[v > 0] for v in values]
    every = np.concatenate(sizes)
    if not len(every):
        return None
    scale = scale_for(every, mirrored=negative)
    edges = scale.edges()
    series = []
    for label, run, mine in zip(labels, runs, sizes, strict=True):
        counts, _ = np.histogram(np.clip(mine, edges[0], edges[-1]), edges)
        series.append(
            {"label": label, "counts": counts.tolist(), "shares": (100 * counts / max(1, len(run))).tolist()}
        )
    return {
        "key": key,
        "title": title,
        "axis": "margin at most, in logits" if negative else "margin at least, in logits",
        "log": scale.log,
        "negative": negative,
        "edges": edges.tolist(),
        "ticks": [(tick.value, tick.label) for tick in scale.ticks()],
        "series": series,
    }
