"""Numbers and settings as a person reads them. Anything a run did not record says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from decimal import Decimal
from typing import Any

from reports.portable import portable

NOT_RECORDED = "not recorded"
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def count(value: Any) -> str:
    """A whole number with thousands separators: 16377 is '16,377'."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else NOT_RECORDED


def plural(value: int, one: str, many: str | None = None) -> str:
    """The count and its noun: '1 token', '16,377 tokens'."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def seconds(value: Any) -> str:
    """A duration: '0.41 s', '12.3 s', '3 min 20 s', '2 h 5 min'."""
    number = finite(value)
    if number is None or number < 0:
        return NOT_RECORDED
    if number < 99.95:
        return f"{number:.2f} s" if number < 9.995 else f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(value: Any) -> str:
    """A number of bytes in binary units: '1.5 GiB'."""
    number = finite(value)
    if number is None or number < 0:
        return NOT_RECORDED
    unit = 0
    while number >= 1024 and unit < len(_BYTE_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return f"{number:.0f} {_BYTE_UNITS[unit]}" if unit == 0 else f"{number:.1f} {_BYTE_UNITS[unit]}"


def share(part: int, whole: int) -> str:
    """A percentage that never rounds to 0 % or 100 % unless it is exactly that."""
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent % 1 else f"{percent:.0f} %"


def logits(value: float) -> str:
    """A margin to three digits, for axis ends and summaries."""
    return "0" if value == 0 else f"{value:.3g}".replace("-", "−")


def at_least(value: float, digits: int = 3) -> str:
    """A lower bound to so many digits, rounded down: what is said is never more than what is known."""
    return _rounded(value, digits, math.floor)


def at_most(value: float, digits: int = 3) -> str:
    """An upper bound to so many digits, rounded up."""
    return _rounded(value, digits, math.ceil)


def bound(value: float, towards: int) -> str:
    """A bound to four digits as the page's table writes it, rounded down (`towards` −1) or up (1)."""
    if value == 0 or not math.isfinite(value):
        return logits(value)
    power = math.floor(math.log10(abs(value)))
    scaled = Decimal(repr(float(value))).scaleb(3 - power)
    kept = Decimal(math.floor(scaled) if towards < 0 else math.ceil(scaled)).scaleb(power - 3)
    if -7 < kept.adjusted() < 4:
        written = f"{kept:.{3 - kept.adjusted()}f}"
    else:
        digits, _, exponent = f"{kept:.3e}".partition("e")
        written = f"{digits}e{int(exponent):+d}"
    return written.replace("-", "−")


def _rounded(value: float, digits: int, towards: Callable[[Decimal], int]) -> str:
    if value == 0 or not math.isfinite(value):
        return logits(value)
    places = digits - 1 - math.floor(math.log10(abs(value)))
    scaled = Decimal(repr(value)).scaleb(places)  # as short as the number is written: 0.3 stays 0.3
    return f"{float(Decimal(towards(scaled)).scaleb(-places)):.{digits}g}".replace("-", "−")


def text(value: Any) -> str:
    """Any JSON value on one line, without the folders of the machine that made it."""
    if value is None or value == "":
        return NOT_RECORDED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value) if value else "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {text(item)}" for name, item in value.items()) if value else "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # manifests hold whole numbers as they were written by whoever wrote them
    return portable(value) if isinstance(value, str) else str(value)


def finite(value: Any) -> float | None:
    """The value as a float, or None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is a JSON object, else an empty one: manifests are read, never trusted."""
    return value if isinstance(value, Mapping) else {}


def flat(settings: Mapping[str, Any], prefix: str = "", *, texts: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names and one-line values, in their own order.

    `texts` are the names whose values are a person's own words: shown as they are, even where they look like paths.
    """
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.", texts=texts)
        elif value and isinstance(value, str) and f"{prefix}{name}" in texts:
            yield f"{prefix}{name}", value
        else:
            # An empty string is a choice too: no prefix, say.
            yield f"{prefix}{name}", "none" if value is None or value == "" else text(value)
