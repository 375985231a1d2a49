"""How many reachable tokens are still unfound, at least: bounds that respect the nesting of the levels, or nothing.

The independent runs of one level say two things of their sample. Tokens that they found and the search had not show
how much the search missed; and Chao's estimate from how often the runs found the same tokens says how many more there
are that nobody found. Tokens differ in difficulty, so both are too low rather than too high: they bound from below.

A level's runs may speak only if

1. the weakest of them found at least half of the tokens of the sample that are known to be reachable (lower end of
   the 95 % Wilson interval), and
2. the 95 % interval of Chao's estimate reaches the number that is known: otherwise what is known refutes it; and
3. where they show nothing unfound, the search had found at least half of what planted random inputs of that level
   bring up (lower end of the interval, all lengths together).

Whatever meets a level meets every looser one, so the number of tokens that can be reached only grows from strict to
loose, and so do its lower bounds; and it is never more than the tokens that the verdicts leave open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reach.search.options import LEVELS
from reach.search.record import Planted, Runs, SearchRecord, Strength, Unfound
from reach.strength.rates import wilson

RECALL = 0.5
"""Runs that find less of what is known to be there are too weak to say what else is."""


def unfound(strength: Strength, found: Mapping[str, int], allowed: int) -> tuple[Unfound, ...]:
    """Bounds for every level searched, the loosest first.

    Args:
        strength: what was measured; older records lack `found_before`, and what all measuring brought is taken off
            instead.
        found: tokens found by level, now.
        allowed: tokens looked for that the verdicts leave open.
    """
    runs = {one.level: one for one in strength.runs}
    before = strength.found_before or {level: found[level] - strength.credited for level in found}
    rows: list[Unfound] = []
    best: tuple[int, int, str] | None = None  # of reachable tokens at least: estimate, lower end, whose
    for level in [level for level in reversed(LEVELS) if level in found]:
        have, run = found[level], runs.get(level)
        reason = "there was no time for independent runs" if run is None else _too_weak(run)
        if run is not None and reason is None:
            total = _reachable(run, before[level], allowed)
            if total[0] <= have:
                reason = _too_weak_for_none(level, strength.planted)
            if reason is None and (best is None or total[0] >= best[0]):
                best = (total[0], max(total[1], best[1] if best else 0), level)
        if have >= allowed:
            rows.append(Unfound(level, have, 0, 0, None, None))
        elif best is not None and (best[0] > have or reason is None):
            more = max(0, best[0] - have)
            rows.append(Unfound(level, have, more, max(0, best[1] - have), best[2] if more else level, None))
        else:
            rows.append(Unfound(level, have, None, None, None, reason))
    return tuple(reversed(rows))


def unfound_of(record: SearchRecord) -> tuple[Unfound, ...]:
    """What is still unfound by level; for records of older versions worked out from what they measured."""
    if record.strength is None:
        return ()
    if record.strength.unfound is not None:
        return record.strength.unfound
    rows = {row.level: row.tokens for row in record.funnel}
    return unfound(record.strength, {level: rows[level] for level in record.levels}, rows.get("head", rows["asked"]))


def _too_weak(run: Runs) -> str | None:
    """Why independent runs say nothing, or none."""
    known, least = max(run.known, run.union), min(run.found)
    if not known:
        return "neither the search nor the independent runs found any token of the sample"
    recall = wilson(least, known)
    if run.chao2 is None or recall.low < RECALL:
        cut = min(run.attempted or (run.sample,))
        why = "" if cut >= run.sample else f"; time let it try only {cut} of {run.sample}"
        return (
            f"one independent run found only {least} of the {known} tokens known to be reachable in its sample{why}"
        )
    if run.chao2.high is not None and run.chao2.high < known:
        return (
            f"the independent runs let one expect at most {run.chao2.high:.0f} reachable tokens in their sample, and "
            f"{known} are known"
        )
    return None


def _too_weak_for_none(level: str, planted: Sequence[Planted]) -> str | None:
    """Why runs that show nothing unfound must not be taken at their word, or none."""
    rates = [one.all for one in planted if one.level == level and one.all is not None]
    had, of = sum(rate.found for rate in rates), sum(rate.tried for rate in rates)
    if of and wilson(had, of).low < RECALL:
        return f"the search had found only {had} of {of} tokens that planted random inputs bring up"
    return None


def _reachable(run: Runs, before: int, allowed: int) -> tuple[int, int]:
    """Reachable tokens of all that are allowed, at least: the estimate and its lower end, rounded down."""
    assert run.chao2 is not None
    sample, known = run.sample, max(run.known, run.union)
    missed = len(run.missed_by_search) if run.confirmed is None else run.confirmed
    scale = allowed / sample
    missed_low = missed if sample >= allowed else sample * wilson(missed, sample).low
    more, more_low = (max(0.0, end - known) for end in (run.chao2.estimate, run.chao2.low))
    totals = (before + scale * (missed + more), before + scale * (missed_low + more_low))
    estimate, low = (math.floor(min(allowed, total + 1e-9)) for total in totals)
    return estimate, min(low, estimate)
