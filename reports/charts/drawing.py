"""Charts as shapes in pixels. The template writes them down; colours and dashes are classes of the style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from reports.charts.axes import Axis
from reports.charts.chart import Band, Bars, Chart, Label, Line, Mark, Numbers, Points, Step, Symbol

_SIZE_OF = {False: (480, 290), True: (260, 170)}
"""Width and height of charts that are not small, and of those that are."""
_TOP, _RIGHT, _BELOW = 26, 14, 44
_LETTER = 8.0
"""Width of a letter of a label, in pixels: most are narrower."""
_SIZE = 3.4
"""Half the width of a symbol, in pixels."""
_MOST_LABEL = 22

Place = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A path. `name` and `ids` are for who points at it."""

    style: str
    path: str
    name: str = ""
    ids: str = ""


@dataclass(frozen=True)
class Rect:
    """A bar: what it stands for, and its place among the bars."""

    style: str
    x: float
    y: float
    width: float
    height: float
    words: str
    at: int


@dataclass(frozen=True)
class Tick:
    """A label of an axis and its place in pixels."""

    at: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Text:
    """Words beside a point, and the line that leads to them."""

    words: str
    x: float
    y: float
    anchor: str
    path: str


@dataclass(frozen=True)
class Entry:
    """A line of the legend."""

    name: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Drawing:
    """All that the template needs. `scales` tells scripts how pixels and values go together."""

    key: str
    title: str
    summary: str
    width: int
    height: int
    left: float
    right: float
    top: float
    floor: float
    shapes: tuple[Shape | Rect, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    texts: tuple[Text, ...]
    legend: tuple[Entry, ...]
    x_scale: str
    y_scale: str
    wide: bool

    def only(self, kind: str) -> tuple[Shape | Rect, ...]:
        """Its shapes of one kind: "path" or "rect"."""
        return tuple(one for one in self.shapes if isinstance(one, Rect) == (kind == "rect"))


@dataclass(frozen=True)
class _Frame:
    """Places of values in pixels."""

    x: Axis
    y: Axis
    left: float
    right: float
    top: float
    floor: float

    def across(self, value: float) -> float:
        return round(self.left + self.x.share(value) * (self.right - self.left), 2)

    def down(self, value: float) -> float:
        return round(self.floor - self.y.share(value) * (self.floor - self.top), 2)

    def runs(self, x: Numbers, y: Numbers) -> Iterator[list[Place]]:
        """Stretches without a gap."""
        run: list[Place] = []
        for a, b in zip(x, y, strict=True):
            if a is None or b is None or not self.x.holds(a) or not self.y.holds(b):
                if run:
                    yield run
                run = []
            else:
                run.append((self.across(a), self.down(b)))
        if run:
            yield run


def draw(chart: Chart) -> Drawing:
    """Lay out a chart."""
    width, height = _SIZE_OF[chart.small]
    widest = max((len(_short(label)) for _, label in chart.y.ticks), default=1)
    frame = _Frame(chart.x, chart.y, round(14 + _LETTER * widest), width - _RIGHT, _TOP, height - _BELOW)
    shapes = [shape for mark in chart.marks for shape in _shapes(mark, frame)]
    named = [mark for mark in chart.marks if mark.name] if chart.legend else []
    return Drawing(
        key=chart.key,
        title=chart.title,
        summary=chart.summary,
        width=width,
        height=height,
        left=frame.left,
        right=frame.right,
        top=frame.top,
        floor=frame.floor,
        shapes=tuple(shapes),
        x_ticks=_x_ticks(chart.x, frame),
        y_ticks=tuple(Tick(frame.down(value), _short(label)) for value, label in chart.y.ticks),
        x_title=chart.x.title,
        y_title=chart.y.title,
        texts=tuple(_text(label, at, frame) for at, label in enumerate(chart.labels)),
        legend=tuple(Entry(mark.name, _sample(mark)) for mark in named),
        x_scale=_scale(chart.x),
        y_scale=_scale(chart.y),
        wide=chart.wide,
    )


def _scale(axis: Axis) -> str:
    parts = (axis.kind, repr(axis.low), repr(axis.high), repr(axis.unit), "mirrored" if axis.mirrored else "")
    return " ".join(parts).strip()


def _short(label: str) -> str:
    return label if len(label) <= _MOST_LABEL else label[: _MOST_LABEL - 1] + "…"


def _x_ticks(axis: Axis, frame: _Frame) -> tuple[Tick, ...]:
    """Labels from the end of the axis back, those left out that would touch another."""
    kept: list[Tick] = []
    taken = math.inf
    for value, label in sorted(axis.ticks, key=lambda tick: -frame.across(tick[0])):
        at, half = frame.across(value), _LETTER * len(label) / 2
        # At the ends labels would reach out of the picture.
        at_end = at + half > frame.right + _RIGHT - 1
        reach = (at - 2 * half, at) if at_end else (at - half, at + half)
        if reach[1] < taken - 4:
            kept.append(Tick(at, label, "end" if at_end else "middle"))
            taken = reach[0]
    return tuple(reversed(kept))


def _shapes(mark: Mark, frame: _Frame) -> Iterator[Shape | Rect]:
    if isinstance(mark, Bars):
        yield from _bars(mark, frame)
    elif isinstance(mark, Band):
        yield from _band(mark, frame)
    elif isinstance(mark, Line):
        yield from _line(mark, frame)
    else:
        yield from _points(mark, frame)


def _bars(mark: Bars, frame: _Frame) -> Iterator[Rect]:
    for at, count in enumerate(mark.counts):
        if not count:
            continue
        left, right = sorted((frame.across(mark.edges[at]), frame.across(mark.edges[at + 1])))
        # A single token among thousands must stay visible.
        height = max(1.5, frame.floor - frame.down(count))
        width = round(max(0.5, right - left - 1), 2)
        yield Rect(
            f"bin f-{mark.colour}", round(left + 0.5, 2), round(frame.floor - height, 2), width, round(height, 2),
            mark.words[at], at,
        )  # fmt: skip


def _band(mark: Band, frame: _Frame) -> Iterator[Shape]:
    upper, lower = list(frame.runs(mark.x, mark.high)), list(frame.runs(mark.x, mark.low))
    for above, below in zip(upper, lower, strict=False):
        yield Shape(
            f"band f-{mark.colour} s-{mark.colour}", f"{_through(above)}{_through(below[::-1]).replace('M', 'L')}Z"
        )


def _line(mark: Line, frame: _Frame) -> Iterator[Shape]:
    runs = list(frame.runs(mark.x, mark.y))
    if not runs:
        return
    style = f"line s-{mark.colour} d-{mark.dash}" + (" thick" if mark.thick else "")
    yield Shape(style, "".join(_through(_stepped(run, mark.step)) for run in runs), mark.name)
    if mark.symbol is not None:
        dots = "".join(_symbol(mark.symbol, at, 0.75) for run in runs for at in run)
        yield Shape(_dots(mark.symbol, mark.colour, 0.75), dots)


def _points(mark: Points, frame: _Frame) -> Iterator[Shape]:
    places = [
        (at, (frame.across(a), frame.down(b)))
        for at, (a, b) in enumerate(zip(mark.x, mark.y, strict=True))
        if a is not None and b is not None and frame.x.holds(a) and frame.y.holds(b)
    ]
    if not places:
        return
    reach = [
        f"M{frame.across(ends[0])} {place[1]}H{frame.across(ends[1])}"
        for at, place in places
        if mark.ends and (ends := mark.ends[at]) is not None
    ]
    if reach:
        yield Shape(f"line s-{mark.colour} d-solid", "".join(reach))
    ids = " ".join(str(mark.ids[at]) for at, _ in places) if mark.ids else ""
    size = 1.5 if mark.large else 1.0
    path = "".join(_symbol(mark.symbol, place, size) for _, place in places)
    yield Shape(_dots(mark.symbol, mark.colour, size), path, mark.name, ids)


def _through(places: Sequence[Place]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)


def _stepped(places: list[Place], step: Step) -> list[Place]:
    """A line that only goes across and down."""
    if not step:
        return places
    found = places[:1]
    for (x, y), (after_x, after_y) in pairwise(places):
        found += [(after_x, y) if step == "after" else (x, after_y), (after_x, after_y)]
    return found


def _symbol(symbol: Symbol, place: Place, size: float) -> str:
    """One symbol as a path that begins at its centre."""
    x, y = place
    r = round(_SIZE * size, 2)
    start = f"M{x:g} {y:g}"
    if symbol == "circle":
        return f"{start}h0"  # a round end of a line without length
    if symbol == "open-circle":
        return f"{start}m{-r} 0a{r} {r} 0 1 0 {2 * r:g} 0a{r} {r} 0 1 0 {-2 * r:g} 0"
    return (
        start
        + {
            "square": f"m{-r} {-r}h{2 * r:g}v{2 * r:g}h{-2 * r:g}z",
            "diamond": f"m0 {-1.3 * r:g}l{1.3 * r:g} {1.3 * r:g}l{-1.3 * r:g} {1.3 * r:g}l{-1.3 * r:g} {-1.3 * r:g}z",
            "triangle": f"m0 {-1.2 * r:g}l{1.2 * r:g} {2.1 * r:g}h{-2.4 * r:g}z",
            "cross": f"m{-r} {-r}l{2 * r:g} {2 * r:g}m{-2 * r:g} 0l{2 * r:g} {-2 * r:g}",
            "bar": f"m0 {-2.4 * r:g}v{4.8 * r:g}",
        }[symbol]
    )


def _dots(symbol: Symbol, colour: str, size: float) -> str:
    """The classes of symbols: whether their inside has the colour, or their outline."""
    if symbol == "circle":
        return f"dots round{'-small' if size < 1 else '-large' if size > 1 else ''} s-{colour}"
    return f"dots {'s' if symbol in ('cross', 'open-circle', 'bar') else 'f'}-{colour}"


def _sample(mark: Mark) -> tuple[Shape, ...]:
    """What stands for a mark in the legend, 24 × 12 pixels."""
    if isinstance(mark, Bars):
        return (Shape(f"bin f-{mark.colour}", "M4 1h16v10h-16z"),)
    if isinstance(mark, Band):
        return (Shape(f"band f-{mark.colour}", "M0 1h24v10h-24z"),)
    if isinstance(mark, Points):
        return (Shape(_dots(mark.symbol, mark.colour, 1.0), _symbol(mark.symbol, (12.0, 6.0), 1.0)),)
    thick = " thick" if mark.thick else ""
    found = [Shape(f"line s-{mark.colour} d-{mark.dash}{thick}", "M0 6H24")]
    if mark.symbol is not None:
        found.append(Shape(_dots(mark.symbol, mark.colour, 0.75), _symbol(mark.symbol, (12.0, 6.0), 0.75)))
    return tuple(found)


def _text(label: Label, at: int, frame: _Frame) -> Text:
    """Words beside a point, now above and now below it, so that neighbours do not collide too often."""
    x, y = frame.across(label.x), frame.down(label.y)
    rise = 14 + 9 * (at % 4)
    above = (at % 2 == 0 and y - rise > frame.top + 8) or y + rise > frame.floor - 4
    to = y - rise if above else y + rise
    leftwards = x + 10 + _LETTER * len(label.words) > frame.right + _RIGHT
    edge = x - 8 if leftwards else x + 8
    path = f"M{x:g} {y:g}L{edge:g} {to:g}"
    return Text(
        label.words,
        round(edge + (-2 if leftwards else 2), 2),
        round(to + 4, 2),
        "end" if leftwards else "start",
        path,
    )
