"""The charts and strips of the page of a trace."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reach.trace.factors import without_seed
from reach.trace.matching import unique_names
from reach.trace.naming import SEED
from reach.trace.record import GroupRecord, PairRecord, SeriesRecord, StepCounts, TraceRecord, TraceResult
from reports.charts.axes import Axis, linear_axis, named_axis, signed_axis
from reports.charts.chart import DASHES, Chart, Label, Line, Mark, Points, Symbol
from reports.charts.drawing import Drawing, draw

_MOST_LINES = 36
_MOST_DOTS = 800
_MOST_PAIRS = 12
_NAMED, _LONGEST = 8, 16
_APART = 0.3, 0.14
"""Shares of the axes that labels keep from each other."""
_WIDE = 20.0
CELL, HEAT, LANE = 14, 14, 5
"""Pixels of a strip: width of a cell, height of its colour, and of the lane below with the marks of verdicts."""
_WIDEST = 240
_MARKED = {"unspeakable": "never", "tied": "tie", "undecided": "open", "not asked for": "open"}


# --- strips ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strip:
    """A token's margins over the steps as cells side by side: paths by style, and the same in words."""

    width: float
    height: int
    paths: tuple[tuple[str, str], ...]
    words: str


def strip(
    classes: Sequence[str],
    margins: Sequence[float | None],
    steps: Sequence[int],
    ends: tuple[list[float], list[float]],
) -> Strip:
    """Draw one; `templates/tracestrip.js` follows the same rules in the browser."""
    width = min(CELL, max(2.0, round(_WIDEST / max(1, len(steps)), 2)))
    paths: dict[str, str] = {}
    for at, (of, margin) in enumerate(zip(classes, margins, strict=True)):
        x = round(at * width, 2)
        paths[shade(margin, ends)] = paths.get(shade(margin, ends), "") + f"M{x:g} 0h{width:g}v{HEAT}h-{width:g}z"
        mark = _MARKED.get(of)
        if mark is not None:
            paths[f"lane-{mark}"] = paths.get(f"lane-{mark}", "") + f"M{x:g} {HEAT + 1}h{width:g}v{LANE}h-{width:g}z"
    return Strip(width * len(steps), HEAT + LANE + 1, tuple(paths.items()), history(classes, steps))


def shade(margin: float | None, ends: tuple[list[float], list[float]]) -> str:
    """The style of a margin's cell."""
    if margin is None or math.isnan(margin):
        return "heat-none"
    side, name = (ends[0], "up") if margin >= 0 else (ends[1], "down")
    return f"heat-{name}-{bisect_left(side, abs(margin))}"


def history(classes: Sequence[str], steps: Sequence[int]) -> str:
    """Verdicts over the steps in words: 'unspeakable at 0, speakable 2 to 2,500'."""
    said = []
    start = 0
    words = ["speakable" if one in ("own-direction", "hard-to-speak") else one for one in classes]
    for at in range(1, len(words) + 1):
        if at == len(words) or words[at] != words[start]:
            ends = f"{steps[start]:,}" if at - 1 == start else f"{steps[start]:,} to {steps[at - 1]:,}"
            said.append(f"{words[start]} {'at' if at - 1 == start else 'from'} {ends}")
            start = at
    return ", ".join(said)


# --- over the steps -------------------------------------------------------------------------------------------------


def step_axis(steps: Sequence[float]) -> Axis:
    """Steps of training: logarithmic where they span much, with 0 in its place."""
    axis = signed_axis("training step", steps, room=0.02)
    title = "training step" + (", log scale from 0" if axis.kind == "signed" else "")
    return replace(axis, title=title)


def step_figures(record: TraceRecord) -> tuple[Drawing, ...]:
    """Unspeakable tokens, the median margin, and how much of the final order is there, over the steps."""
    shown = record.series[:_MOST_LINES]
    wanted: tuple[tuple[str, str, str, Callable[[StepCounts], float | None], str], ...] = (
        (
            "unspeakable", "Unspeakable tokens", "tokens", lambda one: float(one.classes.get("unspeakable", 0)),
            "Unspeakable tokens at each checkpoint of each series; the tables below hold the numbers.",
        ),
        (
            "median", "Median margin", "logits", lambda one: one.median_margin,
            "The median of the proved margins at each checkpoint of each series; the tables below hold the numbers.",
        ),
        (
            "order", "How much of the final order is there", "rank correlation with the last checkpoint",
            lambda one: one.with_last,
            "Rank correlation of the margins at each checkpoint with those at the last one, series by series.",
        ),
    )  # fmt: skip
    found = []
    for key, title, unit, value, summary in wanted:
        x, y, marks = [], [], []
        for one, (colour, dash) in zip(shown, _looks(shown), strict=True):
            steps, values = [float(step.step) for step in one.steps], [value(step) for step in one.steps]
            x += steps
            y += [number for number in values if number is not None]
            marks.append(Line(one.name, steps, values, colour, DASHES[dash % len(DASHES)], symbol="circle"))
        if y and any(len(one.steps) > 1 for one in shown):
            across, down = step_axis(x), linear_axis(unit, y, zero=key != "median", whole=key == "unspeakable")
            found.append(draw(Chart(key, title, across, down, tuple(marks), summary, wide=True)))
    return tuple(found)


def _looks(series: Sequence[SeriesRecord]) -> list[tuple[str, int]]:
    """A colour for each kind of training run, and a dash for each seed of it."""
    kinds: dict[object, int] = {}
    seeds: dict[object, int] = {}
    found = []
    for one in series:
        kind: object = without_seed(one.factors) if SEED in one.factors else one.name
        kinds.setdefault(kind, len(kinds))
        seeds[kind] = seeds.get(kind, -1) + 1
        found.append((f"run-{kinds[kind] % 6}", seeds[kind]))
    return found


# --- token and seed -------------------------------------------------------------------------------------------------


def split_figure(groups: Sequence[GroupRecord], called: Sequence[str]) -> Drawing | None:
    """The token's share of the variance with its interval, at the end and at the start, and of shuffled tokens."""
    shown = [(name, one) for name, one in zip(called, groups, strict=True) if one.split is not None]
    if not shown:
        return None
    marks: list[Mark] = []
    names = [name for name, _ in shown]
    for key, title, colour, symbol, off in (
        ("split", "at the last common step", "run-0", "circle", -0.15),
        ("initial", "of the initialised models", "run-1", "diamond", 0.1),
    ):
        known = [(at, getattr(one, key)) for at, (_, one) in enumerate(shown) if getattr(one, key) is not None]
        if known:
            marks.append(
                Points(
                    title, [one.token.value for _, one in known], [at + off for at, _ in known], colour,
                    "circle" if symbol == "circle" else "diamond",
                    ends=tuple((one.token.low, one.token.high) for _, one in known), large=True,
                )
            )  # fmt: skip
    shuffled = [one.split.shuffled_token for _, one in shown if one.split is not None]
    marks.append(
        Points("shuffled tokens, 19 in 20 below", shuffled, [at + 0.3 for at in range(len(shown))], "soft", "cross",
               large=True)
    )  # fmt: skip
    summary = "The token's share of the variance of the margins, with 95 % intervals; the table holds the numbers."
    axis = linear_axis("share of the variance that the token explains", [0.0, 1.0], zero=True)
    return draw(Chart("split", "Token or seed", axis, named_axis("", names), tuple(marks), summary, wide=True))


@dataclass(frozen=True)
class PairView:
    """Two series against each other."""

    words: str
    drawing: Drawing


def pair_figures(result: TraceResult, places: dict[int, int]) -> tuple[PairView, ...]:
    """Margins of one series against those of another at their last common step, the seeds' first.

    `places` are those of the table's rows in the page; only rows that have one are drawn.
    """
    rows, values = _by_series(result)
    steps = {one.name: [step.step for step in one.steps] for one in result.record.series}
    pairs = sorted(result.record.pairs, key=lambda one: (one.differ != [SEED], len(one.differ)))
    found = []
    for at, one in enumerate(pairs[:_MOST_PAIRS]):
        view = _pair(
            one,
            rows,
            values,
            (steps[one.one].index(one.step), steps[one.other].index(one.step)),
            places,
            f"pair-{at}",
        )
        if view is not None:
            found.append(view)
    return tuple(found)


_Rows = dict[str, dict[object, int]]


def _by_series(result: TraceResult) -> tuple[_Rows, list[list[float | None]]]:
    """By series and token its row, and the margins of all rows."""
    table = result.table
    of, pieces, texts, ids = (table.column(name).to_pylist() for name in ("series", "token", "text", "token_id"))
    same = len({one.tokens for one in result.record.series}) == 1 and all(one.by_id for one in result.record.pairs)
    mine: dict[str, list[int]] = {}
    for row, name in enumerate(of):
        mine.setdefault(name, []).append(row)
    found: _Rows = {}
    for name, rows in mine.items():
        if same:
            found[name] = {ids[row]: row for row in rows}
        else:
            unique = unique_names([pieces[row] if texts[row] is None else texts[row] for row in rows])
            found[name] = {string: rows[at] for string, at in unique.items()}
    return found, table.column("margin").to_pylist()


def _pair(
    pair: PairRecord,
    rows: _Rows,
    values: list[list[float | None]],
    steps: tuple[int, int],
    places: dict[int, int],
    key: str,
) -> PairView | None:
    mine, theirs = rows[pair.one], rows[pair.other]
    at, there = steps
    dots = []
    for name, row in mine.items():
        if name in theirs and row in places:
            x, y = values[row][at], values[theirs[name]][there]
            if x is not None and y is not None:
                dots.append((row, x, y))
    if len(dots) < 4:
        return None
    named = {one.row: one for one in pair.outliers}
    few = dots[:: max(1, len(dots) // _MOST_DOTS)]
    special = [(row, x, y) for row, x, y in dots if row in named]
    special.sort(key=lambda dot: -abs(named[dot[0]].value))
    marks = (_dots("tokens", few, places, "own-fill", "open-circle"),
             _dots("ranks farthest apart", special, places, "run-1", "diamond", large=True))  # fmt: skip
    across = _margin_axis(f"margin in {pair.one}, logits", [dot[1] for dot in dots])
    down = _margin_axis(f"in {pair.other}", [dot[2] for dot in dots])
    labels = _labels([(named[row].token, a, b) for row, a, b in special], across, down)
    rho = "" if pair.rho is None else f" Rank correlation {pair.rho.rho.value:.2f}."
    chart = Chart(
        key, f"{pair.one} and {pair.other}, step {pair.step:,}",
        across, down, marks,
        f"A token is a dot; those whose ranks differ most are named.{rho}", labels, wide=True,
    )  # fmt: skip
    return PairView(f"{pair.one} – {pair.other}", draw(chart))


def _dots(
    name: str,
    dots: Sequence[tuple[int, float, float]],
    places: dict[int, int],
    colour: str,
    symbol: Symbol,
    *,
    large: bool = False,
) -> Points:
    x, y = [dot[1] for dot in dots], [dot[2] for dot in dots]
    return Points(name, x, y, colour, symbol, tuple(places[dot[0]] for dot in dots), large=large)


def _margin_axis(title: str, values: Sequence[float]) -> Axis:
    """An even axis; where a few margins are many times the usual one, one that is logarithmic on both sides of 0."""
    sizes = sorted(abs(value) for value in values)
    usual = sizes[len(sizes) // 2]
    if sizes[-1] <= _WIDE * usual or not usual:
        return linear_axis(title, values, room=0.04)
    # What is a hundredth of the usual size lies near 0, else the few smallest margins would take most of the axis.
    return signed_axis(title, [math.copysign(max(abs(value), usual / 100), value) for value in values])


def _labels(named: Sequence[tuple[str, float, float]], across: Axis, down: Axis) -> tuple[Label, ...]:
    """The first few whose places leave room for their words."""
    found: list[tuple[str, float, float]] = []
    for words, x, y in named:
        places = [(abs(across.share(x) - across.share(a)), abs(down.share(y) - down.share(b))) for _, a, b in found]
        if len(found) < _NAMED and all(right > _APART[0] or up > _APART[1] for right, up in places):
            found.append((words[:_LONGEST], x, y))
    return tuple(Label(*one) for one in found)
