"""The plots of the interference page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reach.interference.record import Case, Curves, Dictionary, ShapeBands, Shapes, Speakability, Subspaces
from reach.interference.speakability import indicator_title
from reports.charts.axes import Axis, linear_axis, log_axis
from reports.charts.chart import Band, Chart, Dash, Line, Mark, Numbers, Points
from reports.charts.drawing import Drawing, draw

_COLOURS = {"gaussian": "run-1", "covariance": "run-2", "permuted": "run-3", "reinitialised": "run-4"}
_BESIDE = "run-5"
"""Of a control that another version has made."""


def shape_figures(case: Case, title_of: Callable[[str], str]) -> list[Drawing]:
    """The distributions of one matrix with the controls' bands behind them."""
    own, cosines = case.shapes, len(case.shapes.cosines)
    density = [(i + 0.5) / cosines for i in range(cosines)]

    def drawn(
        shape: str, title: str, x_title: str, y_title: str, x: list[float], of: Callable[[Shapes], tuple[float, ...]],
        beside: Callable[[ShapeBands], Curves], *, log: bool,
    ) -> Drawing:  # fmt: skip
        marks: list[Mark] = [
            _band(title_of(kind), _COLOURS.get(kind, _BESIDE), x, beside(control.shapes), log)
            for kind, control in case.controls.items()
        ]
        marks.append(Line("this model", x, of(own), thick=True))
        key = f"{shape}-{case.rows}-{'centred' if case.centred else 'raw'}"
        return _figure(key, title, (x_title, False), (y_title, log), marks)

    percentiles = "percentile of tokens"
    return [
        drawn(
            "cosines", "|cos| of all pairs", "|cos|", "density", density,
            lambda one: one.cosines, lambda one: one.cosines, log=True,
        ),
        drawn(
            "strongest", "Strongest interferer", percentiles, "|cos|", [*map(float, range(len(own.strongest)))],
            lambda one: one.strongest, lambda one: one.strongest, log=False,
        ),
        drawn(
            "dimensionality", "Dimensionality", percentiles, "dimensionality",
            [*map(float, range(len(own.dimensionality)))],
            lambda one: one.dimensionality, lambda one: one.dimensionality, log=True,
        ),
    ]  # fmt: skip


def subspace_figures(found: Subspaces) -> list[Drawing]:
    """Loss over k, one line per exponent."""
    if found.reason is not None:
        return []
    marks: list[Mark] = [
        Line(f"α = {c.alpha:g}", [float(k) for k in found.k], c.loss, f"run-{i % 6}", thick=True)
        for i, c in enumerate(found.curves)
    ]
    best_k = [float(c.optimum.k) for c in found.curves]
    marks.append(Points("optimum", best_k, [c.optimum.loss for c in found.curves], symbol="open-circle", large=True))
    return [
        _figure("subspaces", "Loss of k orthogonal subspaces", ("k", True), ("L(k)/L(1)", True), marks, wide=True)
    ]


def dictionary_figures(found: Dictionary, title_of: Callable[[str], str]) -> list[Drawing]:
    """Reconstruction against sparsity."""
    own = found.model
    if own is None:
        return []
    s = [float(one) for one in own.sparsity]
    marks: list[Mark] = [
        Line(f"dictionary, {own.atoms} atoms", s, own.dictionary, thick=True),
        Line(f"SVD, {own.svd_directions} directions, best per row", s, own.svd, dash="dash", thick=True),
        Line("SVD, first directions", s, own.svd_fixed, dash="dot", thick=True),
    ]
    ways: tuple[tuple[str, Dash], ...] = (("dictionary", "solid"), ("SVD", "dash"))
    for kind, draws in found.controls.items():
        curves = ([draw.dictionary for draw in draws], [draw.svd for draw in draws])
        for (words, dash), of in zip(ways, curves, strict=True):
            mean = [sum(values) / len(values) for values in zip(*of, strict=True)]
            marks.append(Line(f"{title_of(kind)}: {words}", s, mean, _COLOURS.get(kind, _BESIDE), dash))
    axis = ("coefficients per row", True)
    return [_figure("dictionary", "Reconstruction against sparsity", axis, ("explained", False), marks, wide=True)]


def roc_figures(found: Speakability) -> list[Drawing]:
    """One ROC plot per question, one line per indicator."""
    figures = []
    for question, title, areas in (
        ("unspeakable", "ROC for unspeakable", [(row, row.unspeakable) for row in found.indicators]),
        ("hard_to_speak", "ROC for hard-to-speak", [(row, row.hard_to_speak) for row in found.indicators]),
    ):
        marks: list[Mark] = [
            Line(
                indicator_title(row), area.false_rate, area.true_rate, f"run-{i % 6}",
                "dot" if row.indicator == "offset" else "solid",
            )
            for i, (row, area) in enumerate(areas)
            if area is not None
        ]  # fmt: skip
        if marks:
            marks.append(Line("coin", (0.0, 1.0), (0.0, 1.0), "soft", "dash"))
            axes = ("false positives", False), ("true positives", False)
            figures.append(_figure(f"roc-{question}", title, *axes, marks))
    return figures


def scatter_figures(found: Speakability) -> list[Drawing]:
    """Each indicator against the margin, coloured by verdict."""
    scatter = found.scatter
    if scatter is None:
        return []
    titles = {row.indicator: indicator_title(row) for row in found.indicators}
    figures = []
    for key, values in scatter.indicators.items():
        marks: list[Mark] = []
        for kind, colour in (
            ("own-direction", "own-fill"),
            ("hard-to-speak", "hard-fill"),
            ("unspeakable", "never-fill"),
        ):
            at = [i for i, name in enumerate(scatter.kind) if name == kind and values[i] is not None]
            margins = [scatter.margin[i] for i in at]
            ids = tuple(scatter.token_id[i] for i in at)
            if at:
                marks.append(Points(kind, [values[i] for i in at], margins, colour, ids=ids))
        if marks:
            x = (titles.get(key, key), key.startswith("dimensionality"))
            figures.append(_figure(f"scatter-{key}", x[0], x, ("margin, logits", False), marks))
    return figures


def _figure(
    key: str,
    title: str,
    x: tuple[str, bool],
    y: tuple[str, bool],
    marks: Sequence[Mark],
    *,
    wide: bool = False,
) -> Drawing:
    """The common form; an axis is its title and whether it is logarithmic."""
    values: tuple[list[float], list[float]] = ([], [])
    for mark in marks:
        for side, numbers in zip(values, _numbers(mark), strict=True):
            side.extend(value for one in numbers for value in one if value is not None)
    across, down = (_axis(*named, side) for named, side in zip((x, y), values, strict=True))
    return draw(Chart(key, title, across, down, tuple(marks), wide=wide))


def _axis(title: str, log: bool, values: list[float]) -> Axis:
    return log_axis(f"{title} (log scale)", values, room=0.02) if log else linear_axis(title, values, room=0.02)


def _numbers(mark: Mark) -> tuple[tuple[Numbers, ...], tuple[Numbers, ...]]:
    if isinstance(mark, Band):
        return (mark.x,), (mark.low, mark.high)
    return ((mark.x,), (mark.y,)) if isinstance(mark, Line | Points) else ((), ())


def _band(name: str, colour: str, x: Sequence[float], curves: Curves, log: bool) -> Band:
    """The band as one unbroken shape. On a log axis it ends where no draw has anything; 0 is its floor."""
    low, high = curves.low, curves.high
    if log:
        at = [i for i, value in enumerate(high) if value > 0]
        floor = min((high[i] for i in at), default=0.0)
        x, low, high = [x[i] for i in at], tuple(max(low[i], floor) for i in at), tuple(high[i] for i in at)
    return Band(name, x, low, high, colour)
