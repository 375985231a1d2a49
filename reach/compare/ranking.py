"""Which backend is strongest, and why: by what its share of solved and verified tokens is at least."""

from __future__ import annotations

import math
from collections.abc import Iterable

from reach.compare.record import Grade


def ranked(grades: Iterable[Grade]) -> list[Grade]:
    """Grades, the strongest backend first.

    The order is that of the lower ends of the 95 % intervals of the shares that were solved and verified: two of
    three say less than eleven of twenty, though their share is larger. Among equals the faster one (by its median)
    comes first.
    """
    return sorted(grades, key=lambda one: (-_least(one), -one.verified, _seconds(one), one.backend))


def strongest_words(grades: Iterable[Grade]) -> str:
    """One sentence: the strongest backend, its reason, and who comes next."""
    order = [one for one in ranked(grades) if one.verified]
    if not order:
        return "No backend solved and verified a token."
    best, *rest = order
    wrong = best.false_unspeakable + best.false_speakable
    claims = "no claim of it is false" if not wrong else f"{wrong} of its {best.claims} claims are false"
    said = (
        f"Strongest is {best.backend}: it solved and verified {best.verified} of {best.given} tokens, which shows "
        f"at least {_percent(best)} % (95 % interval), at a median of {_seconds(best):.3g} s per token, "
        f"and {claims}."
    )
    if not rest:
        return said
    equal = (rest[0].verified, rest[0].given) == (best.verified, best.given)
    how = (
        "as many, more slowly" if equal else f"{rest[0].verified} of {rest[0].given}, at least {_percent(rest[0])} %"
    )
    return f"{said} Next is {rest[0].backend} ({how})."


def _least(one: Grade) -> float:
    return 0.0 if one.verified_rate is None else one.verified_rate.low


def _percent(one: Grade) -> int:
    """Rounded down: a lower bound stays one."""
    return math.floor(100 * _least(one))


def _seconds(one: Grade) -> float:
    return float("inf") if one.seconds_median is None else one.seconds_median
