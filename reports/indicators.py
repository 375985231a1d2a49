"""The indicators of under-trained tokens, for a reader: what each found of what was proved, and what chance would."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from reach.interference.matrices import TITLES
from reach.runs.manifest import IndicatorCut, IndicatorRecord, Indicators, Manifest, Span
from reports import plain
from reports.plain import plural


@dataclass(frozen=True)
class IndicatorRow:
    """One indicator: what its most suspect tokens hold, at two lengths of the list, and how its ranking fares."""

    title: str
    matrix: str
    first: str
    second: str
    precision: str
    auc: str
    rho: str
    fresh: str


@dataclass(frozen=True)
class IndicatorsView:
    """The section on indicators; no rows where the run measured none."""

    words: tuple[str, ...] = ()
    first: str = ""
    second: str = ""
    rows: tuple[IndicatorRow, ...] = ()
    left_out: tuple[str, ...] = ()


def indicators_view(manifest: Manifest) -> IndicatorsView:
    """What a run says of indicators."""
    about = manifest.categories
    found = None if about is UNSET else about.indicators
    if found is None or not found.rows:
        return IndicatorsView()
    second = next((at for at in _lengths(found) if at != found.positives and at >= round(0.02 * found.tokens)), None)
    rows = tuple(_row(one, found.positives, second) for one in found.rows)
    left_out = tuple(f"{plain.text(line)}." for line in found.left_out)
    return IndicatorsView(_words(found), f"Top {found.positives:,}", f"Top {second or 0:,}", rows, left_out)


def indicator_sentence(found: Indicators) -> str:
    """What the best indicator finds, in one sentence; empty where there is nothing to find."""
    ranked = [(cut, one) for one in found.rows if (cut := _cut(one, found.positives)) is not None]
    if not ranked:
        return ""
    cut, best = max(
        ranked, key=lambda pair: (pair[0].hits, pair[1].average_precision.value if pair[1].average_precision else 0)
    )
    name = f"{plain.text(best.title)} ({plain.text(TITLES.get(best.matrix, best.matrix))})"
    if cut.hits <= cut.chance_high:
        return f"None of the indicators finds more {found.target} tokens than a random ranking could."
    return (
        f"The indicator that finds most here, {name}, has {cut.hits:,} of the {found.positives:,} {found.target} "
        f"tokens among its {cut.k:,} most suspect: a precision of {_percent(cut.precision)}, where a random ranking "
        f"finds {cut.chance_low:,} to {cut.chance_high:,}."
    )


def _words(found: Indicators) -> tuple[str, ...]:
    measured = (
        f"{plural(found.unused, 'token')} of this model {'is' if found.unused == 1 else 'are'} known to be unused, "
        "and distances are measured from the mean of their rows; they are ranked as well, each against the others."
    )
    sentence = indicator_sentence(found)
    return tuple(part for part in (sentence, measured if found.unused else "") if part)


def _lengths(found: Indicators) -> list[int]:
    return sorted({cut.k for one in found.rows for cut in one.cuts})


def _row(one: IndicatorRecord, first: int, second: int | None) -> IndicatorRow:
    fresh = "–" if one.fresh_auc is None else f"{one.fresh_auc:.2f}"
    return IndicatorRow(
        plain.text(one.title), plain.text(one.matrix), _hits(_cut(one, first)), _hits(_cut(one, second)),
        _span(one.average_precision), _span(one.auc), _span(one.rho), fresh,
    )  # fmt: skip


def _cut(one: IndicatorRecord, k: int | None) -> IndicatorCut | None:
    return next((cut for cut in one.cuts if cut.k == k), None)


def _hits(cut: IndicatorCut | None) -> str:
    return "–" if cut is None else f"{cut.hits:,}: {_percent(cut.precision)}"


def _percent(span: Span) -> str:
    return f"{100 * span.value:.0f} % ({100 * span.low:.0f}–{100 * span.high:.0f} %)"


def _span(span: Span | None) -> str:
    return "–" if span is None else f"{span.value:.2f} ({span.low:.2f} to {span.high:.2f})".replace("-", "−")
