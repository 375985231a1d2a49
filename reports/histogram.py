"""Histograms of margins: which bins, which axes, which words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reports import plain
from reports.charts.axes import Axis, linear_axis, nice_step, power_or_number
from reports.charts.chart import Bars, Chart, Line
from reports.charts.drawing import Drawing, draw

_DECADES = 6  # values further below the largest one share the last bin: solvers leave dust near zero
_LOG_FROM = 30  # a log axis once the largest value is this many times the smallest

_COLOURS = {"unspeakable": "never-fill", "hard": "hard-fill", "speakable": "own-fill"}

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """A histogram, or (without a drawing) the note that says why there is none."""

    key: str
    title: str
    axis: str
    summary: str
    note: str
    drawing: Drawing | None = None
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

    def edges(self) -> Values:
        """Bin edges: eight or four to a decade, or about twenty-five round steps."""
        if self.log:
            decades = round(math.log10(self.hi / self.lo))
            bins = decades * (8 if decades <= 3 else 4)
            return np.logspace(math.log10(self.lo), math.log10(self.hi), bins + 1, dtype=np.float64)
        step = nice_step(self.hi - self.lo, 25)
        return self.lo + step * np.arange(round((self.hi - self.lo) / step) + 1, dtype=np.float64)

    def axis(self, title: str) -> Axis:
        """The same with labels that have the sign of the margins."""
        if self.log:
            powers = range(round(math.log10(self.lo)), round(math.log10(self.hi)) + 1)
            values = [10.0**power for power in powers]
        else:
            step = nice_step(self.hi - self.lo, 5)
            values = [self.lo + index * step for index in range(int((self.hi - self.lo) / step + 1e-9) + 1)]
        sign = "−" if self.mirrored else ""
        ticks = tuple((value, (sign if value else "") + power_or_number(value)) for value in values)
        title += " (log scale)" if self.log else ""
        return Axis(title, self.lo, self.hi, "log" if self.log else "linear", ticks, mirrored=self.mirrored)


def scale_for(sizes: Values, *, mirrored: bool = False) -> Scale:
    """An axis that holds all the sizes (all > 0)."""
    smallest, largest = float(sizes.min()), float(sizes.max())
    if largest > _LOG_FROM * smallest:
        hi = 10.0 ** math.ceil(math.log10(largest) - 1e-9)
        lo = 10.0 ** math.floor(math.log10(max(smallest, largest * 10.0**-_DECADES)) + 1e-9)
        return Scale(min(lo, hi / 10), hi, log=True, mirrored=mirrored)
    step = nice_step(largest, 25)
    return Scale(0.0, math.ceil(largest / step - 1e-9) * step, log=False, mirrored=mirrored)


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
        return Histogram(key, title, axis, "", note)
    beside = np.empty(0) if control is None else _sizes(control, negative)
    scale = scale or scale_for(np.concatenate([sizes, beside]), mirrored=negative)
    edges = scale.edges()
    below = int((sizes < scale.lo).sum())
    if below:
        note = f"{note} The bin next to zero also holds {plain.plural(below, 'token')} closer to it.".strip()
    counts, _ = np.histogram(np.clip(sizes, edges[0], edges[-1]), edges)
    signed = np.sort(-sizes if negative else sizes)
    summary = (
        f"{plain.plural(len(sizes), 'token')}: from {plain.logits(float(signed[0]))} to "
        f"{plain.logits(float(signed[-1]))} logits, half of them below {plain.logits(float(np.median(signed)))}."
    )
    found = Histogram(
        key,
        title,
        axis,
        summary,
        note,
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        negative=negative,
        control=tuple(np.histogram(np.clip(beside, edges[0], edges[-1]), edges)[0].tolist()) if len(beside) else (),
    )
    return replace(found, drawing=draw(_chart(found, scale)))


def _chart(found: Histogram, scale: Scale) -> Chart:
    """Bars, and the control as steps over them, both in tokens."""
    words = []
    for low, high, count in zip(found.edges, found.edges[1:], found.counts, strict=False):
        near, far = (f"−{high:.3g}", f"−{low:.3g}") if found.negative else (f"{low:.3g}", f"{high:.3g}")
        words.append(f"{near} to {far} logits: {plain.plural(count, 'token')}")
    marks: list[Bars | Line] = [Bars("this model", found.edges, found.counts, words, _COLOURS[found.key])]
    if found.control:
        steps = (*found.control, found.control[-1])
        marks.append(Line("random control", found.edges, steps, dash="dot", step="after"))
    return Chart(
        found.key,
        found.title,
        scale.axis(found.axis),
        linear_axis("tokens", (*found.counts, *found.control), zero=True, whole=True, about=4),
        tuple(marks),
        summary=found.summary,
        legend=bool(found.control),
    )


def _sizes(margins: Values, negative: bool) -> Values:
    """How far margins lie below zero (with `negative`) or above it, of those that do."""
    known = margins[np.isfinite(margins)]
    return -known[known < 0] if negative else known[known > 0]


def _left_out(every: int, known: int, drawn: int, negative: bool) -> str:
    parts = []
    if known - drawn:
        where = "zero or above: their row lies in the hull of other rows" if negative else "zero or below"
        parts.append(f"{plain.plural(known - drawn, 'token')} with a bound of {where}.")
    if every - known:
        parts.append(f"{plain.plural(every - known, 'token')} without a recorded bound.")
    return " ".join(["Not drawn:", *parts]) if parts else ""
