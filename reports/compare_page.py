"""Several runs side by side as view rows."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.classes import CLASSES
from reach.runs.folder import RunFolder
from reach.verdicts import Verdicts
from reports import plain
from reports.answer import Counts, count_tokens
from reports.changes import Change, Comparison, compare_tokens
from reports.domain import domain_view
from reports.library import packed
from reports.overlay import overlays
from solvers.errors import BadInput

_MOST_CHANGES = 60


@dataclass(frozen=True)
class RunRow:
    """One run in the table of counts."""

    label: str
    model: str
    counts: Counts
    share: str
    domain: str
    evidence: str
    took: str
    fingerprint: str
    report: str | None


@dataclass(frozen=True)
class PairView:
    """One run against the first, ready for the template."""

    key: str
    first: str
    second: str
    lead: str
    kinds: tuple[str, ...]
    matrix: tuple[
        tuple[str, tuple[tuple[int, str], ...]], ...
    ]  # row name, then (count, how it differs) for each column
    legend: tuple[tuple[str, str], ...]  # how cells differ, and what that means
    changed: int
    changes: tuple[Change, ...]
    margins: str
    moves: tuple[Change, ...]
    comparable: bool  # whether the margins of both runs can be set against each other


@dataclass(frozen=True)
class ComparePage:
    """Everything that the template shows."""

    title: str
    lead: str
    notes: tuple[str, ...]
    runs: tuple[RunRow, ...]
    overlays: tuple[dict[str, Any], ...]
    no_overlay: str
    pairs: tuple[PairView, ...]
    data: str


def compare_page(runs: list[RunFolder], out: Path) -> ComparePage:
    """Build the page's content; `out` is where it will lie, for the links to the runs' own pages.

    Raises:
        BadInput: a run is no scan or damaged, or the same folder is named twice.
    """
    places = [run.path.resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise BadInput(f"{place}: named twice; give different runs to compare")
    tokens = [run.verdicts() for run in runs]
    labels = _labels(places)
    rows = tuple(_row(label, run, mine, out) for label, run, mine in zip(labels, runs, tokens, strict=True))
    found = [compare_tokens(tokens[0], other) for other in tokens[1:]]
    pairs = tuple(_pair(f"pair-{at}", labels[0], labels[at + 1], one) for at, one in enumerate(found))
    over = dict.fromkeys(row.domain for row in rows)
    drawn = overlays(labels, tokens) if len(over) == 1 else []
    plots = [_plot(view, one) for view, one in zip(pairs, found, strict=True) if view.comparable]
    data = json.dumps({"overlays": drawn, "pairs": plots, "classes": CLASSES}, allow_nan=False).encode("ascii")
    return ComparePage(
        title=f"{plain.plural(len(runs), 'run')} side by side",
        lead=" ".join(
            f"{row.label}: {row.counts.verdicts['unspeakable']:,} of {plain.plural(row.counts.asked, 'token')} "
            f"unspeakable ({row.share})."
            for row in rows
        ),
        notes=_notes(rows),
        runs=rows,
        overlays=tuple(drawn),
        no_overlay=_no_overlay(tuple(over)),
        pairs=pairs,
        data=packed(data),
    )


def _labels(places: list[Path]) -> list[str]:
    """Folder names, with as many parents as it takes to tell them apart."""
    for depth in range(1, 20):
        labels = ["/".join(place.parts[-depth:]) for place in places]
        if len(set(labels)) == len(labels):
            return labels
    return [str(place) for place in places]


def _row(label: str, run: RunFolder, tokens: Verdicts, out: Path) -> RunRow:
    counts, manifest = count_tokens(tokens), tokens.manifest
    page = run.path / "report.html"
    report = Path(os.path.relpath(page.resolve(), out.resolve().parent)).as_posix() if page.is_file() else None
    return RunRow(
        label=label,
        model=plain.text(manifest.model),
        counts=counts,
        share=plain.share(counts.verdicts["unspeakable"], counts.asked),
        domain=domain_view(manifest).words,
        evidence=", ".join(f"{value:,} {name}" for name, value in counts.evidence.items() if value) or "none",
        took=plain.seconds(manifest.seconds),
        fingerprint=plain.text(manifest.fingerprint),
        report=report,
    )


def _no_overlay(domains: tuple[str, ...]) -> str:
    """Why there is no plot of margins."""
    if len(domains) < 2:
        return "No margins were recorded."
    return (
        f"Margins are not drawn together: the runs range over different domains ({'; '.join(domains)}), and what is "
        "stored are bounds, each as tight as its verdict needed. A loose bound over a larger domain can lie below "
        "a tight one over a smaller domain, although no margin can."
    )


def _notes(rows: tuple[RunRow, ...]) -> tuple[str, ...]:
    notes = []
    prints, domains = {row.fingerprint for row in rows}, {row.domain for row in rows}
    if len(prints) == 1:
        notes.append(f"All runs are of the same head{', over different domains' if len(domains) > 1 else ''}.")
    elif len(domains) > 1:
        notes.append("The runs range over different domains. A smaller domain makes more tokens unspeakable.")
    notes.append(
        "Margins are bounds, as tight as the verdict needed: at least so much for speakable tokens, at most so much "
        "for unspeakable ones. Where sizes matter, scan with --margins."
    )
    return tuple(notes)


def _pair(key: str, first: str, second: str, found: Comparison) -> PairView:
    matrix = found.classes.matrix
    used = [at for at in range(len(CLASSES)) if matrix[at].any() or matrix[:, at].any()]
    return PairView(
        key=key,
        first=first,
        second=second,
        lead=found.words(first, second),
        kinds=tuple(CLASSES[at] for at in used),
        matrix=tuple((CLASSES[at], tuple((int(matrix[at, to]), _how(found, at, to)) for to in used)) for at in used),
        legend=_legend(found),
        changed=found.classes.changed,
        changes=found.changes(_MOST_CHANGES),
        margins=found.moves.words,
        moves=found.largest_moves(),
        comparable=found.moves.why_not is None,
    )


def _how(found: Comparison, before: int, after: int) -> str:
    """How tokens in a cell of the matrix differ: not (`same`), in the `verdict`, or only in their `way`."""
    if before == after:
        return "same"
    return "verdict" if found.classes.other_verdict(before, after) else "way"


def _legend(found: Comparison) -> tuple[tuple[str, str], ...]:
    """What the marked cells add up to."""
    classes = found.classes
    parts = [("verdict", f"{plain.plural(classes.verdict_changed, 'token')} with another verdict")]
    rest = (
        [f"{classes.way_changed:,} that moved between own-direction and hard-to-speak"] if classes.way_changed else []
    )
    rest += [f"{classes.asked_once:,} asked for on one side only"] if classes.asked_once else []
    parts += [("way", " and ".join(rest))] if rest else []
    return tuple(one for one in parts if classes.changed and (one[0] == "way" or classes.verdict_changed))


def _plot(view: PairView, found: Comparison) -> dict[str, Any]:
    """What the browser needs to draw one margin against the other."""
    at = found.dots
    named = set(found.named.tolist())
    ids = found.pairing.first[at]
    changed = found.of[0][at] != found.of[1][at]
    return {
        "key": view.key,
        "first": view.first,
        "second": view.second,
        "total": int((~(_nan(found.margins[0]) | _nan(found.margins[1]))).sum()),
        "x": found.margins[0][at].tolist(),
        "y": found.margins[1][at].tolist(),
        "id": ids.tolist(),
        "changed": changed.tolist(),
        "name": [found.first.name(int(token)) for token in ids],
        "named": [int(one) in named for one in at],
    }


def _nan(values: Any) -> Any:
    return values != values
