"""What a chart shows: marks between two axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.charts.axes import Axis

Numbers = Sequence[float | None]
"""Values of a mark; where one is None or cannot be shown on the axis, the mark has a gap."""
Dash = Literal["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"]
Symbol = Literal["circle", "open-circle", "square", "diamond", "triangle", "cross", "bar"]
Step = Literal["", "after", "before"]

DASHES: tuple[Dash, ...] = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS: tuple[Symbol, ...] = ("circle", "square", "diamond", "triangle", "cross", "open-circle")


@dataclass(frozen=True)
class Line:
    """A line through points; as steps, a value holds `after` its place or `before` it."""

    name: str
    x: Numbers
    y: Numbers
    colour: str = "text"
    dash: Dash = "solid"
    step: Step = ""
    symbol: Symbol | None = None
    thick: bool = False


@dataclass(frozen=True)
class Band:
    """All between two lines."""

    name: str
    x: Numbers
    low: Numbers
    high: Numbers
    colour: str = "text"


@dataclass(frozen=True)
class Points:
    """Single points; `ids` are the tokens that they stand for, `ends` the reach of each to the left and right."""

    name: str
    x: Numbers
    y: Numbers
    colour: str = "text"
    symbol: Symbol = "circle"
    ids: tuple[int, ...] = ()
    ends: tuple[tuple[float, float] | None, ...] = ()
    large: bool = False


@dataclass(frozen=True)
class Bars:
    """Counts between edges, from 0 up. `words` say what each bar stands for."""

    name: str
    edges: Sequence[float]
    counts: Sequence[int]
    words: Sequence[str]
    colour: str = "own-fill"


@dataclass(frozen=True)
class Label:
    """A few words beside a point."""

    words: str
    x: float
    y: float


Mark = Line | Band | Points | Bars


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        key: its name in the page.
        title: stands over it.
        summary: what it says, for those who do not see it.
        marks: later ones lie over earlier ones.
        legend: whether the names of the marks are shown.
        wide: wants a line of its own.
        small: one of many beside each other, or of few lines.
    """

    key: str
    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    summary: str = ""
    labels: tuple[Label, ...] = ()
    legend: bool = True
    wide: bool = False
    small: bool = False
