"""A trace for the terminal and for programs."""

from __future__ import annotations

from typing import Any

from reach.trace.findings import count, findings
from reach.trace.record import TraceRecord

_SHOWN = 5


def lead(record: TraceRecord) -> str:
    """What was traced, in a sentence."""
    tokens = sorted({one.tokens for one in record.series})
    vocabulary = f"{tokens[0]:,}" if len(tokens) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
    said = (
        f"{count(len(record.runs), 'run')} of {count(len(record.series), 'series', 'series')}, "
        f"{vocabulary} tokens{' each' if len(record.series) > 1 else ''}."
    )
    if record.left_out:
        said += f" {count(len(record.left_out), 'run')} could not be used."
    return said


def one_sided(record: TraceRecord) -> str | None:
    """What follows where margins are bounded from one side only, or none where both ends are there."""
    if record.margins is not None:
        return None
    return (
        "margins are bounded from one side only, so they also say how far the scan happened to look: correlations "
        "and the token's share come out too small, and movements too large; scan with --margins 0.05 for both ends"
    )


def cautions(record: TraceRecord) -> list[str]:
    """What weakens the findings, one line each."""
    weak = one_sided(record)
    found = [*([] if weak is None else [weak]), *record.notes]
    for one in record.series:
        if not one.by_id:
            found.append(
                f"{one.name}: its runs have other vocabularies; {one.tokens:,} tokens match by string, at most "
                f"{one.ambiguous:,} of a run have no string of their own and {one.missing:,} no partner"
            )
        if one.undecided:
            found.append(
                f"{one.name}: {count(one.undecided, 'token')} undecided at some step, and counted as neither"
            )
    if other := [one for one in record.pairs if not one.by_id]:
        least = min(other, key=lambda one: one.matched)
        found.append(
            f"{count(len(other), 'pair')} of series with other vocabularies, matched by string: at least "
            f"{least.matched:,} tokens ({least.one} and {least.other}; {max(least.ambiguous):,} ambiguous, "
            f"{max(least.missing):,} missing)"
        )
    return found


def summary_lines(record: TraceRecord) -> list[str]:
    """For a person."""
    lines = [lead(record)]
    for one in findings(record):
        lines += ["", one.title, *(f"  {line}" for line in one.lines)]
    further = [f"note: {one}" for one in cautions(record)]
    further += [f"left out: {one.run}: {one.why}" for one in record.left_out[:_SHOWN]]
    if len(record.left_out) > _SHOWN:
        further.append(f"left out: … and {len(record.left_out) - _SHOWN} more, see {record.FILE}")
    return [*lines, *([""] if further else []), *further]


def summary_record(record: TraceRecord) -> dict[str, Any]:
    """For a program."""
    return {
        "runs": len(record.runs),
        "left_out": [{"run": one.run, "why": one.why} for one in record.left_out],
        "series": [
            {
                "name": one.name,
                "factors": one.factors,
                "steps": [step.step for step in one.steps],
                "unspeakable": [step.classes.get("unspeakable", 0) for step in one.steps],
            }
            for one in record.series
        ],
        "findings": [{"key": one.key, "title": one.title, "lines": list(one.lines)} for one in findings(record)],
        "notes": cautions(record),
    }
