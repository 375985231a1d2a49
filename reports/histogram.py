"""Histograms of margins: which bins, which axes, which words. Drawing is left to the template."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reports import plain

_DECADES = 6  # values further below the largest one share the last bin: solvers leave dust near zero
_LOG_FROM = 30  # a log axis once the largest value is this many times the smallest

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """The drawing in pixels, and the plot inside it: from `left` to `right`, from `top` down to `floor`."""

    width: int = 440
    height: int = 250
    left: int = 54
    right: int = 414
    top: int = 14
    floor: int = 198


FRAME = Frame()


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in pixels and as the size that it stands for."""

    at: float
    label: str
    value: float = 0.0


@dataclass(frozen=True)
class Bar:
    """One bin: its rectangle in pixels, and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Histogram:
    """A drawn histogram, or (without bars) the note that says why there is none."""

    key: str
    title: str
    axis: str
    summary: str
    note: str
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    log: bool
    edges: tuple[float, ...] = ()  # of the bins, as sizes
    counts: tuple[int, ...] = ()  # tokens in each bin
    negative: bool = False  # the sizes stand for margins below zero
    control: tuple[int, ...] = ()  # tokens of the random control in each bin


@dataclass(frozen=True)
class Scale:
    """Sizes of margins on a horizontal axis, linear or logarithmic. `mirrored` puts the largest to the left."""

    lo: float
    hi: float
    log: bool
    mirrored: bool = False

    def pixel(self, value: float) -> float:
        """Where a size lies, in pixels."""
        lo, hi = (math.log10(self.lo), math.log10(self.hi)) if self.log else (self.lo, self.hi)
        place = math.log10(max(value, self.lo)) if self.log else value
        part = min(1.0, max(0.0, (place - lo) / (hi - lo)))
        part = 1 - part if self.mirrored else part
        return round(FRAME.left + part * (FRAME.right - FRAME.left), 2)

    def edges(self) -> Values:
        """Bin edges: eight or four to a decade, or about twenty-five round steps."""
        if self.log:
            decades = round(math.log10(self.hi / self.lo))
            bins = decades * (8 if decades <= 3 else 4)
            return np.logspace(math.log10(self.lo), math.log10(self.hi), bins + 1, dtype=np.float64)
        step = nice_step(self.hi - self.lo, 25)
        return self.lo + step * np.arange(round((self.hi - self.lo) / step) + 1, dtype=np.float64)

    def ticks(self) -> tuple[Tick, ...]:
        """Labelled places, with the sign that the margins have."""
        if self.log:
            values = [10.0**power for power in range(round(math.log10(self.lo)), round(math.log10(self.hi)) + 1)]
        else:
            step = nice_step(self.hi - self.lo, 5)
            values = [self.lo + index * step for index in range(int((self.hi - self.lo) / step + 1e-9) + 1)]
        sign = "−" if self.mirrored else ""
        return tuple(Tick(self.pixel(value), (sign if value else "") + f"{value:.6g}", value) for value in values)


def scale_for(sizes: Values, *, mirrored: bool = False) -> Scale:
    """An axis that holds all the sizes (all > 0)."""
    smallest, largest = float(sizes.min()), float(sizes.max())
    if largest > _LOG_FROM * smallest:
        hi = 10.0 ** math.ceil(math.log10(largest) - 1e-9)
        lo = 10.0 ** math.floor(math.log10(max(smallest, largest * 10.0**-_DECADES)) + 1e-9)
        return Scale(min(lo, hi / 10), hi, log=True, mirrored=mirrored)
    step = nice_step(largest, 25)
    return Scale(0.0, math.ceil(largest / step - 1e-9) * step, log=False, mirrored=mirrored)


def nice_step(span: float, about: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that cuts a span into about so many parts."""
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    return power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / rough)))


def histogram(
    margins: Values,
    *,
    key: str,
    title: str,
    axis: str,
    negative: bool = False,
    scale: Scale | None = None,
    control: Values | None = None,
) -> Histogram:
    """Bin margins. With `negative`, only what lies below zero is drawn; else only what lies above.

    A `control` is binned alike, and the axis holds both.
    """
    known = margins[np.isfinite(margins)]
    sizes = _sizes(margins, negative)
    note = _left_out(len(margins), len(known), len(sizes), negative)
    if not len(sizes):
        return Histogram(key, title, axis, "", note, (), (), (), log=False)
    beside = np.empty(0) if control is None else _sizes(control, negative)
    scale = scale or scale_for(np.concatenate([sizes, beside]), mirrored=negative)
    edges = scale.edges()
    below = int((sizes < scale.lo).sum())
    if below:
        note = f"{note} The bin next to zero also holds {plain.plural(below, 'token')} closer to it.".strip()
    counts, _ = np.histogram(np.clip(sizes, edges[0], edges[-1]), edges)
    top = int(counts.max())
    bars = tuple(
        _bar(scale, float(edges[index]), float(edges[index + 1]), int(counts[index]), top)
        for index in range(len(counts))
        if counts[index]
    )
    signed = np.sort(-sizes if negative else sizes)
    summary = (
        f"{plain.plural(len(sizes), 'token')}: from {plain.logits(float(signed[0]))} to "
        f"{plain.logits(float(signed[-1]))} logits, half of them below {plain.logits(float(np.median(signed)))}."
    )
    return Histogram(
        key,
        title,
        axis,
        summary,
        note,
        bars,
        scale.ticks(),
        _count_ticks(top),
        log=scale.log,
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        negative=negative,
        control=tuple(np.histogram(np.clip(beside, edges[0], edges[-1]), edges)[0].tolist()) if len(beside) else (),
    )


def figure(drawn: Histogram) -> dict[str, Any]:
    """What the browser needs to draw a histogram from the same bins."""
    return {
        "key": drawn.key,
        "title": drawn.title,
        "axis": drawn.axis,
        "log": drawn.log,
        "negative": drawn.negative,
        "edges": drawn.edges,
        "counts": drawn.counts,
        "control": drawn.control,
        "ticks": [(tick.value, tick.label) for tick in drawn.x_ticks],
    }


def _sizes(margins: Values, negative: bool) -> Values:
    """How far margins lie below zero (with `negative`) or above it, of those that do."""
    known = margins[np.isfinite(margins)]
    return -known[known < 0] if negative else known[known > 0]


def _bar(scale: Scale, low: float, high: float, tokens: int, top: int) -> Bar:
    left, right = sorted((scale.pixel(low), scale.pixel(high)))
    height = max(1.5, (FRAME.floor - FRAME.top) * tokens / top)  # a single token among thousands must stay visible
    near, far = (f"−{high:.3g}", f"−{low:.3g}") if scale.mirrored else (f"{low:.3g}", f"{high:.3g}")
    return Bar(
        x=round(left + 0.5, 2),
        y=round(FRAME.floor - height, 2),
        width=round(max(0.5, right - left - 1), 2),
        height=round(height, 2),
        words=f"{near} to {far} logits: {plain.plural(tokens, 'token')}",
    )


def _count_ticks(top: int) -> tuple[Tick, ...]:
    step = max(1, round(nice_step(top, 4)))
    unit = (FRAME.floor - FRAME.top) / top
    return tuple(Tick(round(FRAME.floor - unit * value, 2), f"{value:,}") for value in range(0, top + 1, step))


def _left_out(every: int, known: int, drawn: int, negative: bool) -> str:
    parts = []
    if known - drawn:
        where = "zero or above: their row lies in the hull of other rows" if negative else "zero or below"
        parts.append(f"{plain.plural(known - drawn, 'token')} with a bound of {where}.")
    if every - known:
        parts.append(f"{plain.plural(every - known, 'token')} without a recorded bound.")
    return " ".join(["Not drawn:", *parts]) if parts else ""
