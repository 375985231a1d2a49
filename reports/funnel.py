"""The stage funnel: what each stage of a scan was given, settled and cost."""

from __future__ import annotations

from dataclasses import dataclass

from reach.runs.manifest import FunnelRow
from reports import plain

_MEASURING = ("margins", "resolution")
"""How the names of stages begin that narrow bounds."""


@dataclass(frozen=True)
class FunnelStage:
    """One stage. Shares are fractions in [0, 1] for the bars, None where a number is missing."""

    stage: str
    rows_in: str
    settled: str
    settled_share: float | None
    settled_words: str
    seconds: str
    seconds_share: float | None


@dataclass(frozen=True)
class Funnel:
    """All stages in the order in which they ran, and what all of them together left open."""

    rows: tuple[FunnelStage, ...]
    left: str | None
    measures: bool  # one of them only narrows margins
    seconds: str


def funnel_view(stages: list[FunnelRow], total_seconds: float | None, undecided: int | None = None) -> Funnel:
    """Build the funnel from a manifest's list of stages.

    Args:
        stages: the list.
        total_seconds: of the scan.
        undecided: tokens without a verdict. The last stage does not tell: one that measures margins settles nothing.
    """
    spent = [max(0.0, stage.seconds or 0.0) for stage in stages]
    whole = sum(spent)
    rows = []
    for stage, seconds in zip(stages, spent, strict=True):
        rows_in, settled = stage.rows_in, stage.settled
        known = rows_in is not None and settled is not None
        rows.append(
            FunnelStage(
                stage=plain.text(stage.stage),
                rows_in=plain.count(rows_in),
                settled=plain.count(settled),
                settled_share=min(1.0, settled / rows_in) if known and rows_in and settled is not None else None,
                settled_words=plain.share(settled or 0, rows_in or 0) if known else "–",
                seconds=plain.seconds(stage.seconds),
                seconds_share=seconds / whole if whole else None,
            )
        )
    left = None if undecided is None or not rows else plain.plural(undecided, "token")
    return Funnel(
        tuple(rows), left, any(row.stage.startswith(_MEASURING) for row in rows), plain.seconds(total_seconds)
    )
