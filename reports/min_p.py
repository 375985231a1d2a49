"""What samplers can return, for the page and the summary: the curve of min-p, ceilings, single silencers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reach.runs.manifest import HeadRecord
from reach.runs.summary import ceiling_record
from reach.samplers import (
    THRESHOLDS,
    SamplerPoint,
    has_floor,
    recorded_curve,
    recorded_temperature,
    sampler_curve,
    signed_brackets,
)
from reach.verdicts import Verdicts
from reports import plain
from reports.charts.axes import Axis, linear_axis
from reports.charts.chart import Band, Chart, Line, Mark, Points
from reports.charts.drawing import Drawing, draw
from reports.control import Control

_BETWEEN = 120
"""Thresholds that the line is drawn through, beside those of the table."""
_LABELS = (0.95, 0.9, 0.8, 0.7, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
_APART = 0.1
"""Least distance of two labels, as a share of the axis."""


@dataclass(frozen=True)
class CurveRow:
    """The curve at one threshold, in words."""

    p: str
    out: str
    open: str
    control: str


@dataclass(frozen=True)
class Curve:
    """Tokens out of reach and open along the thresholds `p`; `listed` are the places of those in the table."""

    p: tuple[float, ...]
    out: tuple[int, ...]
    open: tuple[int, ...]
    listed: tuple[int, ...]
    control: tuple[int, ...]  # rows of the random control out of reach


@dataclass(frozen=True)
class SamplerView:
    """What a run says of samplers.

    Attributes:
        words: sentences on min-p; alone, they say why there is no curve.
        rows: the curve as a table; none where there is nothing to draw.
        open: whether the curve leaves tokens open somewhere.
        control: what stands beside it, or empty.
        further: sentences on ceilings and silencers.
        curve: the points that the drawing goes through.
        drawing: the curve.
    """

    words: tuple[str, ...]
    rows: tuple[CurveRow, ...] = ()
    open: bool = False
    control: str = ""
    further: tuple[str, ...] = ()
    curve: Curve | None = None
    drawing: Drawing | None = None


def sampler_view(tokens: Verdicts, control: Control | None) -> SamplerView:
    """Say what samplers can return, as far as the run knows."""
    further = (*_ceilings(tokens), *_silencers(tokens))
    curve = recorded_curve(tokens)
    if curve is None:
        return SamplerView((_no_curve(tokens.manifest.head),), further=further)
    if not _telling(tokens, curve):
        return SamplerView((_too_wide(tokens),), further=further)
    asked = tokens.totals.tokens
    beside = None if control is None else _control_curve(tokens, control, THRESHOLDS)
    if _first_free(curve[1:], beside and beside[1:]) == 0:
        return SamplerView((_all_within(tokens, asked),), further=further)
    line = _curve(tokens, control, curve, beside)
    return SamplerView(
        words=(_result(curve, tokens.totals.verdicts["tied"]),),
        rows=tuple(_rows(curve, beside)),
        open=any(point.open for point in curve),
        control=""
        if control is None
        else f"Control: {control.name}, {plain.plural(len(control.verdict), 'row')}, drawn as counted.",
        further=further,
        curve=line,
        drawing=draw(_chart(line)),
    )


def _telling(tokens: Verdicts, curve: Sequence[SamplerPoint]) -> bool:
    """Whether the curve below greedy settles more than it leaves open, of the tokens that are not speakable."""
    hard = tokens.totals.tokens - tokens.totals.verdicts["speakable"]
    return 2 * sum(point.open for point in curve[1:]) <= hard * (len(curve) - 1)


def _control_curve(tokens: Verdicts, control: Control, thresholds: Sequence[float]) -> list[SamplerPoint]:
    ends = signed_brackets(control.lower, control.upper, control.verdict, floor=has_floor(tokens.manifest))
    return sampler_curve(*ends, thresholds=thresholds, temperature=recorded_temperature(tokens.manifest) or 1.0)


# --- words ---


def _no_curve(head: HeadRecord | None) -> str:
    if head is not None and head.softcap is not None:
        return "This model caps its logits. Under a cap margins do not say what min-p keeps, so there is no curve."
    return (
        "This run does not record what its head does to the logits, so nothing is said about min-p. A scan with "
        "--margins 0.01 by this version says it."
    )


def _too_wide(tokens: Verdicts) -> str:
    said = "The margins of the tokens that are not speakable are not known closely enough to say what min-p keeps"
    manifest = tokens.manifest
    if (manifest.domain or "").startswith("free") and not manifest.zero_offset:
        return f"{said}: on an unbounded domain with offsets they may have no bound."
    return f"{said}." if manifest.settings.get("margin_gap") else f"{said}. A scan with --margins 0.01 brings them."


def _all_within(tokens: Verdicts, asked: int) -> str:
    who = "the token" if asked == 1 else f"each of the {asked:,} tokens"
    why = " Without offsets all logits are equal where z is 0." if has_floor(tokens.manifest) else ""
    return f"Min-p keeps {who} at some point of the domain, whatever its threshold.{why}"


def _result(curve: Sequence[SamplerPoint], tied: int) -> str:
    """The ends of the curve and one point between them."""
    greedy, *later = curve
    among = f" ({tied:,} tied {'one' if tied == 1 else 'ones'} among them, never alone on top)" if tied else ""
    parts = [f"Greedy decoding keeps out {plain.plural(greedy.out_of_reach, 'token')}{among}"]
    some = [point for point in later if point.out_of_reach]
    if some:
        middle = some[len(some) // 2]
        parts.append(f"min-p {middle.p:g} keeps out {middle.out_of_reach:,}")
    free = next((point for point in later if not point.out_of_reach and not point.open), None)
    if free is not None:
        parts.append(f"from min-p {free.p:g} down every token is within reach somewhere")
    said = f"{parts[0]}; {'; '.join(parts[1:])}." if len(parts) > 1 else f"{parts[0]}."
    left = max(point.open for point in curve)
    if left:
        said += f" The bounds on margins leave at most {plain.plural(left, 'token')} open at one threshold."
    return said


def _ceilings(tokens: Verdicts) -> list[str]:
    found = ceiling_record(tokens)
    if found is None:
        return []
    low = [
        f"{count:,} {'is' if count == 1 else 'are'} nowhere more probable than {100 * float(p):g} %"
        for p, count in found["at_most"].items()
        if count
    ]
    said = ", ".join(low) if low else "each of them is more probable than 10 % somewhere, or may be"
    return [f"Ceilings of {plain.plural(found['tokens'], 'token')} are known: {said}."]


def _silencers(tokens: Verdicts) -> list[str]:
    if tokens.silenced is None:
        return []
    count = len(tokens.silenced.token)
    if count == 0:
        return ["No token is kept from the top by a single other one alone."]
    if count == 1:
        return ["1 token is kept from the top by single others, each of them alone. Open it to see which."]
    return [f"{count:,} tokens are kept from the top by single others, each of them alone. Open one to see which."]


# --- numbers ---


def _first_free(curve: Sequence[SamplerPoint], control: Sequence[SamplerPoint] | None) -> int:
    """The first threshold at which all is within reach, and so at all below it; else the last one.

    Of the control, nothing proved out of reach is enough: its margins may be known from one side alone.
    """
    beside: Sequence[SamplerPoint | None] = control or [None] * len(curve)
    for at, (point, other) in enumerate(zip(curve, beside, strict=True)):
        if not (point.out_of_reach or point.open or (other is not None and other.out_of_reach)):
            return at
    return len(curve) - 1


def _rows(curve: Sequence[SamplerPoint], control: Sequence[SamplerPoint] | None) -> list[CurveRow]:
    """One row to a threshold; the last ones are one row where all is within reach from there on down."""
    done = _first_free(curve, control)
    beside: Sequence[SamplerPoint | None] = control or [None] * len(curve)
    rows = []
    for at, (point, other) in enumerate(zip(curve[: done + 1], beside, strict=False)):
        name = "greedy" if point.p == 1 else f"{point.p:g}"
        if at == done and done < len(curve) - 1:
            name += " and below"
        said = "" if other is None else f"{other.out_of_reach:,}" + (f" ({other.open:,} open)" if other.open else "")
        rows.append(CurveRow(name, f"{point.out_of_reach:,}", f"{point.open:,}", said))
    return rows


def _curve(
    tokens: Verdicts, control: Control | None, curve: Sequence[SamplerPoint], beside: Sequence[SamplerPoint] | None
) -> Curve:
    """Points along the curve, from greedy down to where all is within reach."""
    end = curve[_first_free(curve, beside)].p
    listed = [p for p in THRESHOLDS if p >= end]
    between = np.exp(np.linspace(0.0, math.log(end), _BETWEEN + 2))[1:-1].tolist()
    thresholds = sorted({*listed, *between}, reverse=True)
    dense = recorded_curve(tokens, thresholds=thresholds) or []
    random = _control_curve(tokens, control, thresholds) if control is not None and len(control.verdict) else []
    return Curve(
        p=tuple(thresholds),
        out=tuple(point.out_of_reach for point in dense),
        open=tuple(point.open for point in dense),
        listed=tuple(thresholds.index(p) for p in listed),
        control=tuple(point.out_of_reach for point in random),
    )


def _chart(curve: Curve) -> Chart:
    """Tokens out of reach by threshold, what is open above them as a band, and the control."""
    end = curve.p[-1]
    top = [out + more for out, more in zip(curve.out, curve.open, strict=True)]
    marks: list[Mark] = []
    if any(curve.open):
        marks.append(Band("open", curve.p, curve.out, top, "never-fill"))
    marks.append(Line("this model", curve.p, curve.out, "never-fill", thick=True))
    dots = [(curve.p[at], curve.out[at]) for at in curve.listed]
    marks.append(Points("", [p for p, _ in dots], [out for _, out in dots], "never-fill"))
    if curve.control:
        marks.append(Line("random control", curve.p, curve.control, dash="dot"))
    return Chart(
        "samplers",
        "Tokens out of reach of min-p",
        # A little more than from greedy to the end, so that no dot is cut.
        Axis("min-p (log scale)", end**1.03, end**-0.02, "log", _ticks(end), mirrored=True),
        linear_axis("tokens", (*top, *curve.control), zero=True, whole=True, about=4, room=0.04),
        tuple(marks),
        summary="Tokens proved out of reach, by the threshold of min-p. The table beside it holds the same numbers.",
        legend=len(marks) > 2,
    )


def _ticks(end: float) -> tuple[tuple[float, str], ...]:
    """Labels from greedy to the end of the axis, none so near another that they touch."""
    place = {p: math.log(p) / math.log(end) for p in (1.0, *_LABELS, end) if p >= end}
    kept = [1.0, end]
    for p in _LABELS:
        if p in place and all(abs(place[p] - place[other]) >= _APART for other in kept):
            kept.append(p)
    return tuple((p, "greedy" if p == 1 else f"{p:g}") for p in sorted(kept, reverse=True))
