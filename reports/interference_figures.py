"""The plots of the interference page as plain data: lines, bands and points. Drawing is left to the browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reach.interference.speakability import indicator_title

Figure = dict[str, Any]

_COLOURS = {"gaussian": "run-1", "covariance": "run-2", "permuted": "run-3", "reinitialised": "run-4"}
_SHAPES = {
    "cosines": ("|cos| of all pairs", "|cos|", "density (log scale)"),
    "strongest": ("Strongest interferer", "percentile of tokens", "|cos|"),
    "dimensionality": ("Dimensionality", "percentile of tokens", "dimensionality (log scale)"),
}


def shape_figures(case: Mapping[str, Any], titles: Mapping[str, str]) -> list[Figure]:
    """The distributions of one matrix with the controls' bands behind them."""
    found = []
    for shape, (title, x_title, y_title) in _SHAPES.items():
        own = case["shapes"][shape]
        x = [(i + 0.5) / len(own) if shape == "cosines" else float(i) for i in range(len(own))]
        log = shape != "strongest"
        bands = [
            {"name": titles[kind], "colour": _COLOURS[kind], **_band(x, control["shapes"][shape], log)}
            for kind, control in case["controls"].items()
        ]
        figure_id = f"plot-{shape}-{case['rows']}-{'centred' if case['centred'] else 'raw'}"
        line = {"name": "this model", "colour": "text", "x": x, "y": _rounded(own, log)}
        found.append(_figure(figure_id, title, (x_title, False), (y_title, log), lines=[line], bands=bands))
    return found


def subspace_figures(found: Mapping[str, Any]) -> list[Figure]:
    """Loss and slope over k, one line per exponent."""
    if found.get("reason"):
        return []
    loss = [
        {
            "name": f"α = {c['alpha']:g}",
            "colour": f"run-{i % 6}",
            "x": found["k"],
            "y": _rounded(c["loss"], log=False),
        }
        for i, c in enumerate(found["curves"])
    ]
    best = {
        "name": "optimum",
        "colour": "text",
        "symbol": "circle-open",
        "x": [c["optimum"]["k"] for c in found["curves"]],
        "y": [c["optimum"]["loss"] for c in found["curves"]],
    }
    title = "Loss of k orthogonal subspaces"
    return [_figure("plot-subspaces", title, ("k", True), ("L(k)/L(1)", True), lines=loss, points=[best])]


def dictionary_figures(found: Mapping[str, Any], titles: Mapping[str, str]) -> list[Figure]:
    """Reconstruction against sparsity."""
    if found.get("reason"):
        return []
    own = found["model"]
    s = own["sparsity"]
    lines = [
        {"name": f"dictionary, {own['atoms']} atoms", "colour": "text", "x": s, "y": own["dictionary"]},
        {"name": f"SVD, {own['svd_directions']} directions, best per row", "colour": "text", "dash": "dash", "x": s,
         "y": own["svd"]},
        {"name": "SVD, first directions", "colour": "text", "dash": "dot", "x": s, "y": own["svd_fixed"]},
    ]  # fmt: skip
    for kind, draws in found["controls"].items():
        for part, dash in (("dictionary", "solid"), ("svd", "dash")):
            mean = [sum(draw[part][i] for draw in draws) / len(draws) for i in range(len(s))]
            name = f"{titles[kind]}: {'dictionary' if part == 'dictionary' else 'SVD'}"
            lines.append({"name": name, "colour": _COLOURS[kind], "dash": dash, "x": s, "y": mean})
    axis = ("coefficients per row", True)
    return [_figure("plot-dictionary", "Reconstruction against sparsity", axis, ("explained", False), lines=lines)]


def roc_figures(found: Mapping[str, Any]) -> list[Figure]:
    """One ROC plot per question, one line per indicator."""
    if found.get("reason"):
        return []
    figures = []
    for question, title in (("unspeakable", "ROC for unspeakable"), ("hard_to_speak", "ROC for hard-to-speak")):
        lines = [
            {
                "name": indicator_title(row),
                "colour": f"run-{i % 6}",
                "dash": "dot" if row["indicator"] == "offset" else "solid",
                "x": row[question]["false_rate"],
                "y": row[question]["true_rate"],
            }
            for i, row in enumerate(found["indicators"])
            if row[question]
        ]
        if lines:
            lines.append({"name": "coin", "colour": "soft", "dash": "dash", "x": [0, 1], "y": [0, 1]})
            axes = ("false positives", False), ("true positives", False)
            figures.append(_figure(f"plot-roc-{question}", title, *axes, lines=lines))
    return figures


def scatter_figures(found: Mapping[str, Any]) -> list[Figure]:
    """Each indicator against the margin, coloured by verdict."""
    if found.get("reason"):
        return []
    scatter = found["scatter"]
    titles = {row["indicator"]: indicator_title(row) for row in found["indicators"]}
    figures = []
    for key, values in scatter["indicators"].items():
        points = []
        for kind, colour in (
            ("own-direction", "own-fill"),
            ("hard-to-speak", "hard-fill"),
            ("unspeakable", "never-fill"),
        ):
            at = [i for i, name in enumerate(scatter["kind"]) if name == kind and values[i] is not None]
            points.append(
                {
                    "name": kind,
                    "colour": colour,
                    "x": [values[i] for i in at],
                    "y": [scatter["margin"][i] for i in at],
                    "token": [scatter["token_id"][i] for i in at],
                }
            )
        log = key.startswith("dimensionality")
        x_title = titles[key] + (" (log scale)" if log else "")
        figures.append(
            _figure(f"plot-scatter-{key}", titles[key], (x_title, log), ("margin, logits", False), points=points)
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


def _band(x: list[float], curves: Mapping[str, list[float]], log: bool) -> Figure:
    """The band as one unbroken shape. On a log axis it ends where no draw has anything; 0 is its floor."""
    low, high = curves["low"], curves["high"]
    if log:
        at = [i for i, value in enumerate(high) if value > 0]
        floor = min((high[i] for i in at), default=0.0)
        x, low, high = [x[i] for i in at], [max(low[i], floor) for i in at], [high[i] for i in at]
    return {"x": x, "low": _rounded(low, log), "high": _rounded(high, log)}


def _rounded(values: list[float], log: bool) -> list[float | None]:
    """Five digits; on a log axis nothing at or below zero can be drawn."""
    return [None if value is None or (log and value <= 0) else float(f"{value:.5g}") for value in values]
