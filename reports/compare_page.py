"""Several runs side by side as view rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.classes import CLASSES
from reach.names import is_called
from reach.runs.folder import RunFolder
from reach.verdicts import Verdicts
from reports import plain
from reports.answer import Counts, count_tokens
from reports.changes import Change, Comparison, compare_tokens
from reports.charts.axes import signed_axis
from reports.charts.chart import Chart, Label, Line, Points, Symbol
from reports.charts.drawing import Drawing, draw
from reports.domain import domain_view
from reports.marks import visible
from reports.overlay import overlays
from solvers.errors import BadInput

_MOST_CHANGES = 60
_LONGEST_LABEL = 16


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
    plot: Drawing | None  # where the margins of both runs can be set against each other
    plot_note: str


@dataclass(frozen=True)
class ComparePage:
    """Everything that the template shows."""

    title: str
    lead: str
    notes: tuple[str, ...]
    runs: tuple[RunRow, ...]
    overlays: tuple[Drawing, ...]
    no_overlay: str
    pairs: tuple[PairView, ...]


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
    linked = page.is_file() and not is_called(page)  # the page of a run at a URL is nowhere near this one
    report = Path(os.path.relpath(page.resolve(), out.resolve().parent)).as_posix() if linked else None
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
    matrix, comparable = found.classes.matrix, found.moves.why_not is None
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
        plot=_plot(key, first, second, found) if comparable and len(found.dots) else None,
        plot_note=_plot_note(found) if comparable else "",
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


def _plot(key: str, first: str, second: str, found: Comparison) -> Drawing:
    """One margin against the other. Tokens whose margins have certainly moved are named."""
    at = found.dots
    changed = found.of[0][at] != found.of[1][at]
    x, y = (found.margins[side][at] for side in (0, 1))
    ids = found.pairing.first[at]
    values = [*x.tolist(), *y.tolist()]
    across = signed_axis(f"bound on the margin in {first}, logits", values)
    down = signed_axis(f"bound on the margin in {second}, logits", values)
    groups: tuple[tuple[str, Any, str, Symbol, bool], ...] = (
        ("same class", ~changed, "own-fill", "circle", False),
        ("another class", changed, "never-fill", "cross", True),
    )
    ends = [across.low, across.high]
    diagonal = Line("", ends, ends, "soft", "dot")
    return draw(
        Chart(
            key,
            "Bound against bound",
            across,
            down,
            (
                diagonal,
                *(
                    Points(
                        name,
                        x[mine].tolist(),
                        y[mine].tolist(),
                        colour,
                        symbol,
                        tuple(ids[mine].tolist()),
                        large=large,
                    )
                    for name, mine, colour, symbol, large in groups
                    if mine.any()
                ),
            ),
            labels=tuple(
                Label(
                    _short(found.first.name(int(found.pairing.first[one])), int(found.pairing.first[one])),
                    float(found.margins[0][one]),
                    float(found.margins[1][one]),
                )
                for one in found.named.tolist()
            ),
            summary=f"Margins in {second} against those in {first}; what has certainly moved is in a table below.",
            wide=True,
        )
    )


def _short(name: str | None, token: int) -> str:
    if name is None:
        return f"#{token}"
    shown = visible(name, _LONGEST_LABEL)
    return "".join(piece.text for piece in shown.pieces) + ("…" if shown.hidden else "")


def _plot_note(found: Comparison) -> str:
    total = int((~(_nan(found.margins[0]) | _nan(found.margins[1]))).sum())
    if not len(found.dots):
        return "No token has a recorded margin in both runs."
    count = len(found.named)
    named = (
        ""
        if not count
        else " Named: the token whose margin has certainly moved."
        if count == 1
        else f" Named: {count} whose margins have certainly moved."
    )
    return (
        f"{plain.plural(total, 'token')}, {plain.plural(len(found.dots), 'dot')} drawn: lower bounds where a point "
        "was found, else upper bounds. How far a dot lies from the dotted line says nothing by itself." + named
    )


def _nan(values: Any) -> Any:
    return values != values
