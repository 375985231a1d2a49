"""The plots of the search page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reach.search.record import Contest, CurvePoint, LevelColumns, SearchResult
from reports.charts.axes import linear_axis, log_axis, named_axis
from reports.charts.chart import DASHES, Chart, Line, Mark, Points, Symbol
from reports.charts.drawing import Drawing, draw

LEVEL_NAMES = {
    "head": "Head",
    "free": "Free embeddings",
    "norm": "Norm range",
    "hull": "Convex hull",
    "tokens": "Real tokens",
    "text": "Text",
}
_CURVE_POINTS = 600
_MOST_DOTS = 1500


@dataclass(frozen=True)
class MarginRow:
    """How the margins of the witnesses of a level are spread, logits: the least, quartiles, the largest."""

    level: str
    count: int
    ends: tuple[float, float, float, float, float]


def curve_figure(curve: Sequence[CurvePoint], levels: Sequence[str]) -> Drawing | None:
    """What was found against work. Lengths and optimisers follow each other on one line for each level."""
    kept = curve[:: max(1, len(curve) // _CURVE_POINTS)]
    if not kept:
        return None
    marks: list[Mark] = []
    for at, level in enumerate(levels):
        points = [one for one in kept if one.level == level]
        if points:
            x, y = [float(one.inputs) for one in points], [float(one.found) for one in points]
            marks.append(Line(LEVEL_NAMES[level], x, y, f"run-{at % 6}", DASHES[at % 6], symbol="circle"))
    return draw(
        Chart(
            "curve",
            "Found against work",
            linear_axis("inputs tried", [float(one.inputs) for one in kept], zero=True, whole=True),
            linear_axis("tokens found", [float(one.found) for one in kept], zero=True, whole=True),
            tuple(marks),
            summary="Tokens found for each level against inputs tried; the funnel gives the last values.",
            wide=True,
        )
    )


@dataclass(frozen=True)
class ContestView:
    """Methods against each other at one level and length."""

    level: str
    length: int
    drawing: Drawing


def contest_figures(contests: Sequence[Contest]) -> tuple[ContestView, ...]:
    """What every method found of one sample against inputs tried, for each level and length."""
    views: list[ContestView] = []
    for level, length in dict.fromkeys((one.level, one.length) for one in contests):
        runs = [one for one in contests if (one.level, one.length) == (level, length)]
        marks: list[Mark] = []
        values: tuple[list[float], list[float]] = ([], [])
        for at, one in enumerate(runs):
            x, y = [float(point[0]) for point in one.points], [float(point[2]) for point in one.points]
            values[0].extend(x)
            values[1].extend(y)
            marks.append(Line(one.method, x, y, f"run-{at % 6}", DASHES[at % 6], "after", symbol="circle"))
        name = LEVEL_NAMES[level]
        chart = Chart(
            f"contest-{len(views)}",
            f"{name}, length {length}",
            linear_axis("inputs tried", values[0], zero=True, whole=True),
            linear_axis(f"tokens found, of {runs[0].sample}", values[1], zero=True, whole=True),
            tuple(marks),
            summary="Tokens found by each method against inputs tried; the table gives the last values.",
            wide=True,
        )
        views.append(ContestView(name, int(length), draw(chart)))
    return tuple(views)


def margin_rows(levels: dict[str, LevelColumns], shown: Sequence[str]) -> tuple[MarginRow, ...]:
    """The spread of the witnesses' margins, level by level."""
    rows = []
    for level in shown:
        margins = sorted(one for one in levels[level].margin if one is not None and one > 0 and math.isfinite(one))
        if margins:
            last = len(margins) - 1
            least, low, middle, high, most = (margins[round(last * share)] for share in (0, 0.25, 0.5, 0.75, 1))
            rows.append(MarginRow(LEVEL_NAMES[level], len(margins), (least, low, middle, high, most)))
    return tuple(rows)


def margins_figure(rows: Sequence[MarginRow]) -> Drawing | None:
    """Medians, quartiles and ends of the margins of each level."""
    if not rows:
        return None
    places = [float(at) for at in range(len(rows))]
    medians = [row.ends[2] for row in rows]
    marks = (
        Points("least to largest", medians, places, "soft", "bar", ends=tuple((r.ends[0], r.ends[4]) for r in rows)),
        Points("middle half", medians, places, "own-fill", "bar", ends=tuple((r.ends[1], r.ends[3]) for r in rows),
               large=True),
        Points("median", medians, places, "own", large=True),
    )  # fmt: skip
    across = log_axis("margin, logits (log scale)", [end for row in rows for end in row.ends], room=0.02)
    down = named_axis("", [row.level for row in rows])
    summary = "The spread of margins for each level; the table below holds the numbers."
    return draw(
        Chart("margins", "Margins of the replayed witnesses, by level", across, down, marks, summary, wide=True)
    )


def effort_figure(found: SearchResult) -> Drawing | None:
    """The margin at the head against the steps spent on a token, by how far it was reached."""
    tokens, levels = found.table.tokens, [found.table.levels[level] for level in found.record.levels]
    names = list(found.record.levels)
    groups: dict[str, list[int]] = {"text": [], "tokens": [], "some": [], "none": []}
    for token, (asked, head) in enumerate(zip(tokens.asked, tokens.head_margin, strict=True)):
        if not asked or head is None or not head > 0:
            continue
        reached = next((at for at in reversed(range(len(levels))) if levels[at].margin[token] is not None), None)
        if reached is None:
            groups["none"].append(token)
        else:
            groups[names[reached] if names[reached] in groups else "some"].append(token)
    looks: tuple[tuple[str, str, str, Symbol], ...] = (
        ("text", "reached by text", "run-0", "circle"),
        ("tokens", "reached by real tokens only", "run-1", "diamond"),
        ("some", "reached by embeddings only", "run-2", "square"),
        ("none", "not found", "run-3", "cross"),
    )
    marks: list[Mark] = []
    values: tuple[list[float], list[float]] = ([], [])
    for key, name, colour, symbol in looks:
        kept = _thinned(groups[key], 4 * _MOST_DOTS if key == "none" else _MOST_DOTS)
        x = [1.0 + tokens.steps[token] for token in kept]
        y = [float(tokens.head_margin[token] or 0.0) for token in kept]
        values[0].extend(x)
        values[1].extend(y)
        if kept:
            marks.append(Points(name, x, y, colour, symbol, tuple(kept)))
    if not marks:
        return None
    return draw(
        Chart(
            "effort",
            "Margin at the head against steps spent on the token",
            log_axis("1 + optimisation steps spent on the token, all levels (log scale)", values[0], room=0.02),
            log_axis("margin at the head, logits (log scale)", values[1], room=0.02),
            tuple(marks),
            summary="A token is a dot; the table holds the same numbers.",
            wide=True,
        )
    )


def _thinned(tokens: list[int], most: int) -> list[int]:
    """Evenly spread ones of many: they are drawn one by one."""
    if len(tokens) <= most:
        return tokens
    return [tokens[at * len(tokens) // most] for at in range(most)]
