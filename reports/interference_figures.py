"""The plots of the interference page as plain data: lines, bands and points. Drawing is left to the browser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reach.interference.record import Case, Curves, Dictionary, ShapeBands, Shapes, Speakability, Subspaces
from reach.interference.speakability import indicator_title

Figure = dict[str, Any]

_COLOURS = {"gaussian": "run-1", "covariance": "run-2", "permuted": "run-3", "reinitialised": "run-4"}
_BESIDE = "run-5"
"""Of a control that another version has made."""


def shape_figures(case: Case, title_of: Callable[[str], str]) -> list[Figure]:
    """The distributions of one matrix with the controls' bands behind them."""
    own, cosines = case.shapes, len(case.shapes.cosines)
    density = [(i + 0.5) / cosines for i in range(cosines)]

    def drawn(
        shape: str, title: str, x_title: str, y_title: str, x: list[float], of: Callable[[Shapes], tuple[float, ...]],
        beside: Callable[[ShapeBands], Curves], *, log: bool,
    ) -> Figure:  # fmt: skip
        bands = [
            {"name": title_of(kind), "colour": _COLOURS.get(kind, _BESIDE), **_band(x, beside(control.shapes), log)}
            for kind, control in case.controls.items()
        ]
        figure_id = f"plot-{shape}-{case.rows}-{'centred' if case.centred else 'raw'}"
        line = {"name": "this model", "colour": "text", "x": x, "y": _rounded(of(own), log)}
        return _figure(figure_id, title, (x_title, False), (y_title, log), lines=[line], bands=bands)

    percentiles = "percentile of tokens"
    return [
        drawn(
            "cosines", "|cos| of all pairs", "|cos|", "density (log scale)", density,
            lambda one: one.cosines, lambda one: one.cosines, log=True,
        ),
        drawn(
            "strongest", "Strongest interferer", percentiles, "|cos|", [*map(float, range(len(own.strongest)))],
            lambda one: one.strongest, lambda one: one.strongest, log=False,
        ),
        drawn(
            "dimensionality", "Dimensionality", percentiles, "dimensionality (log scale)",
            [*map(float, range(len(own.dimensionality)))],
            lambda one: one.dimensionality, lambda one: one.dimensionality, log=True,
        ),
    ]  # fmt: skip


def subspace_figures(found: Subspaces) -> list[Figure]:
    """Loss over k, one line per exponent."""
    if found.reason is not None:
        return []
    loss = [
        {"name": f"α = {c.alpha:g}", "colour": f"run-{i % 6}", "x": found.k, "y": _rounded(c.loss, log=False)}
        for i, c in enumerate(found.curves)
    ]
    best = {
        "name": "optimum",
        "colour": "text",
        "symbol": "circle-open",
        "x": [c.optimum.k for c in found.curves],
        "y": [c.optimum.loss for c in found.curves],
    }
    title = "Loss of k orthogonal subspaces"
    return [_figure("plot-subspaces", title, ("k", True), ("L(k)/L(1)", True), lines=loss, points=[best])]


def dictionary_figures(found: Dictionary, title_of: Callable[[str], str]) -> list[Figure]:
    """Reconstruction against sparsity."""
    own = found.model
    if own is None:
        return []
    s = own.sparsity
    lines: list[Figure] = [
        {"name": f"dictionary, {own.atoms} atoms", "colour": "text", "x": s, "y": own.dictionary},
        {"name": f"SVD, {own.svd_directions} directions, best per row", "colour": "text", "dash": "dash", "x": s,
         "y": own.svd},
        {"name": "SVD, first directions", "colour": "text", "dash": "dot", "x": s, "y": own.svd_fixed},
    ]  # fmt: skip
    for kind, draws in found.controls.items():
        for words, dash, curves in (
            ("dictionary", "solid", [draw.dictionary for draw in draws]),
            ("SVD", "dash", [draw.svd for draw in draws]),
        ):
            mean = [sum(values) / len(values) for values in zip(*curves, strict=True)]
            colour = _COLOURS.get(kind, _BESIDE)
            lines.append({"name": f"{title_of(kind)}: {words}", "colour": colour, "dash": dash, "x": s, "y": mean})
    axis = ("coefficients per row", True)
    return [_figure("plot-dictionary", "Reconstruction against sparsity", axis, ("explained", False), lines=lines)]


def roc_figures(found: Speakability) -> list[Figure]:
    """One ROC plot per question, one line per indicator."""
    figures = []
    for question, title, areas in (
        ("unspeakable", "ROC for unspeakable", [(row, row.unspeakable) for row in found.indicators]),
        ("hard_to_speak", "ROC for hard-to-speak", [(row, row.hard_to_speak) for row in found.indicators]),
    ):
        lines = [
            {
                "name": indicator_title(row),
                "colour": f"run-{i % 6}",
                "dash": "dot" if row.indicator == "offset" else "solid",
                "x": area.false_rate,
                "y": area.true_rate,
            }
            for i, (row, area) in enumerate(areas)
            if area is not None
        ]
        if lines:
            lines.append({"name": "coin", "colour": "soft", "dash": "dash", "x": (0, 1), "y": (0, 1)})
            axes = ("false positives", False), ("true positives", False)
            figures.append(_figure(f"plot-roc-{question}", title, *axes, lines=lines))
    return figures


def scatter_figures(found: Speakability) -> list[Figure]:
    """Each indicator against the margin, coloured by verdict."""
    scatter = found.scatter
    if scatter is None:
        return []
    titles = {row.indicator: indicator_title(row) for row in found.indicators}
    figures = []
    for key, values in scatter.indicators.items():
        points = []
        for kind, colour in (
            ("own-direction", "own-fill"),
            ("hard-to-speak", "hard-fill"),
            ("unspeakable", "never-fill"),
        ):
            at = [i for i, name in enumerate(scatter.kind) if name == kind and values[i] is not None]
            points.append(
                {
                    "name": kind,
                    "colour": colour,
                    "x": [values[i] for i in at],
                    "y": [scatter.margin[i] for i in at],
                    "token": [scatter.token_id[i] for i in at],
                }
            )
        log, title = key.startswith("dimensionality"), titles.get(key, key)
        x_title = title + (" (log scale)" if log else "")
        figures.append(
            _figure(f"plot-scatter-{key}", title, (x_title, log), ("margin, logits", False), points=points)
        )
    return figures


def _figure(
    figure_id: str,
    title: str,
    x: tuple[str, bool],
    y: tuple[str, bool],
    *,
    lines: list[Figure] | None = None,
    bands: list[Figure] | None = None,
    points: list[Figure] | None = None,
) -> Figure:
    """The common form; an axis is its title and whether it is logarithmic."""
    return {
        "id": figure_id,
        "title": title,
        "x": {"title": x[0], "log": x[1]},
        "y": {"title": y[0], "log": y[1]},
        "lines": lines or [],
        "bands": bands or [],
        "points": points or [],
    }


def _band(x: Sequence[float], curves: Curves, log: bool) -> Figure:
    """The band as one unbroken shape. On a log axis it ends where no draw has anything; 0 is its floor."""
    low, high = curves.low, curves.high
    if log:
        at = [i for i, value in enumerate(high) if value > 0]
        floor = min((high[i] for i in at), default=0.0)
        x, low, high = [x[i] for i in at], tuple(max(low[i], floor) for i in at), tuple(high[i] for i in at)
    return {"x": x, "low": _rounded(low, log), "high": _rounded(high, log)}


def _rounded(values: Iterable[float | None], log: bool) -> list[float | None]:
    """Five digits; on a log axis nothing at or below zero can be drawn."""
    return [None if value is None or (log and value <= 0) else float(f"{value:.5g}") for value in values]
