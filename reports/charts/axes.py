"""Axes of charts: where a value lies, and which places are labelled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["linear", "log", "signed"]
Ticks = tuple[tuple[float, str], ...]

_LOG_FROM = 30.0
"""A signed axis is logarithmic where its largest size is so many times the smallest."""
_FACTORS = (
    (1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0),
)  # fmt: skip
"""Labelled multiples of powers of ten on a logarithmic axis, from the fewest."""
_DECADES = 6
"""A signed axis shows so many powers of ten below its largest size; what is nearer to zero lies near zero."""


@dataclass(frozen=True)
class Axis:
    """An axis from `low` to `high`.

    Attributes:
        kind: `linear`; `log`; or `signed`, the inverse hyperbolic sine of value / `unit`: logarithmic on both sides
            of zero, linear next to it.
        ticks: labelled values.
        mirrored: the largest value comes first.
    """

    title: str
    low: float
    high: float
    kind: Kind = "linear"
    ticks: Ticks = ()
    unit: float = 1.0
    mirrored: bool = False

    def share(self, value: float) -> float:
        """The place of a value: 0 at the start of the axis, 1 at its end. Values beyond the ends lie at the ends."""
        low, high = self._bent(self.low), self._bent(self.high)
        if high <= low:
            return 0.5
        # At or below zero there is nothing on a logarithmic axis.
        bent = low if self.kind == "log" and value <= 0 else self._bent(value)
        part = min(1.0, max(0.0, (bent - low) / (high - low)))
        return 1.0 - part if self.mirrored else part

    def holds(self, value: float) -> bool:
        """Whether the axis can show a value at all."""
        return math.isfinite(value) and (self.kind != "log" or value > 0)

    def _bent(self, value: float) -> float:
        if self.kind == "log":
            return math.log10(value)
        return math.asinh(value / self.unit) if self.kind == "signed" else value


def linear_axis(
    title: str, values: Iterable[float], *, zero: bool = False, whole: bool = False, about: int = 5, room: float = 0.0
) -> Axis:
    """An axis in even steps that holds all values.

    Args:
        title: with units.
        values: what it must hold; those that are not finite count for nothing.
        zero: start (or end) at 0: for counts and shares.
        whole: no step below 1.
        about: how many labels.
        room: a share of the length that is left free at both ends.
    """
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high <= low:
        spread = abs(low) * 0.1 or 1.0
        low, high = (low if zero else low - spread), high + spread
    # Ends so large that their distance overflows: halves of them do not.
    spare = room * high - room * low
    low, high = (low if zero and low == 0 else low - spare), (high if zero and high == 0 else high + spare)
    step = nice_step(high / about - low / about, 1)
    step = max(1.0, round(step)) if whole else step
    first = math.ceil(low / step - 1e-9)
    values_at = [step * at for at in range(first, math.floor(high / step + 1e-9) + 1)]
    return Axis(title, low, high, ticks=_distinct((value, number(value, step)) for value in values_at))


def log_axis(title: str, values: Iterable[float], *, room: float = 0.0) -> Axis:
    """A logarithmic axis that holds all values above 0. Labelled are powers of ten, and more where they are few."""
    known = [value for value in values if math.isfinite(value) and value > 0]
    low, high = (min(known), max(known)) if known else (0.1, 1.0)
    if high / low < 1.5:
        low, high = low / 1.5, high * 1.5
    spread = (high / low) ** room if high / low < 1e300 else 1.0
    low, high = low / spread, high * spread
    return Axis(title, low, high, "log", _log_ticks(low, high))


def _log_ticks(low: float, high: float) -> Ticks:
    """Powers of ten; with numbers between them where few would be left in sight."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = last - first
    coarsest = 0 if decades > 3 else 1 if decades > 1 else 2
    every = max(1, math.ceil(decades / 8))
    places: list[float] = []
    for factors in _FACTORS[coarsest:]:
        places = [
            factor * 10.0**power for power in range(first, last + 1) for factor in factors if power % every == 0
        ]
        places = [place for place in places if low * (1 - 1e-9) <= place <= high * (1 + 1e-9)]
        if len(places) > 1:
            break
    return _distinct((place, power_or_number(place)) for place in places)


def signed_axis(title: str, values: Iterable[float], *, room: float = 0.04) -> Axis:
    """An axis for margins: logarithmic on both sides of zero where they span much, else linear."""
    known = [value for value in values if math.isfinite(value)]
    sizes = sorted(abs(value) for value in known if value)
    if not sizes or sizes[-1] <= _LOG_FROM * sizes[0]:
        return linear_axis(title, known, room=room)
    unit = max(sizes[0], sizes[-1] * 10.0**-_DECADES)
    low, high = min(known), max(known)
    ends = math.asinh(low / unit), math.asinh(high / unit)
    spare = room * (ends[1] - ends[0])
    powers = range(math.ceil(math.log10(unit)), math.floor(math.log10(sizes[-1])) + 1)
    every = max(1, math.ceil(len(powers) * ((low < 0) + (high > 0)) / 8))
    shown = [10.0**power for power in powers if (powers[-1] - power) % every == 0] if powers else []
    places = (
        [-place for place in reversed(shown) if -place >= low] + [0.0] + [place for place in shown if place <= high]
    )
    if low > 0 or high < 0:
        places.remove(0.0)
    return Axis(
        f"{title} (signed log scale)",
        unit * math.sinh(ends[0] - spare),
        unit * math.sinh(ends[1] + spare),
        "signed",
        tuple((place, power_or_number(place)) for place in places),
        unit=unit,
    )


def named_axis(title: str, names: Sequence[str]) -> Axis:
    """One place for each name, the first on top of a vertical axis."""
    ticks = tuple((float(at), name) for at, name in enumerate(names))
    return Axis(title, -0.6, len(names) - 0.4, ticks=ticks, mirrored=True)


def nice_step(span: float, about: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that cuts a span into about so many parts."""
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    return power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / rough)))


def number(value: float, step: float) -> str:
    """A label among labels that are `step` apart: as many digits as tell them apart."""
    if value == 0:
        return "0"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if digits > 4 or abs(value) >= 1e6:
        return _scientific(value, 2)
    return f"{value:,.{digits}f}".replace("-", "−")


def power_or_number(value: float) -> str:
    """A label of a logarithmic axis: plain between a thousandth and ten thousand, else as 1e−6."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:,.6g}".replace("-", "−")
    return _scientific(value, 1)


def _scientific(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def _distinct(ticks: Iterable[tuple[float, str]]) -> Ticks:
    """Without those whose labels are there already: values so close that no label tells them apart."""
    found: dict[str, float] = {}
    for value, label in ticks:
        found.setdefault(label, value)
    return tuple((value, label) for label, value in found.items())
