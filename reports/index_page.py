"""A start page over the runs of a folder: a zoo of models, one card each, and all its runs in a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from markupsafe import Markup

from reports import plain
from reports.charts.drawing import Drawing
from reports.index_figures import Question, questions, trajectory
from reports.index_runs import IndexedRun, Pages, address_of, read_run, runs_below, traces_below
from reports.index_series import Place, places_of
from reports.index_table import COLUMNS, runs_table
from reports.scan_page import model_name
from reports.site import TRACE
from solvers.errors import BadInput


@dataclass(frozen=True)
class Bar:
    """A count of tokens with its share of those asked for; None where it is not known."""

    name: str
    kind: str
    count: int | None
    share: float
    words: str


@dataclass(frozen=True)
class Card:
    """A model: one run, or the last checkpoint of a series.

    Attributes:
        at: its row in the table.
        title, model: of the series or run, and of the model.
        pages: those of the run.
        facts: name and value.
        bars: what came of its tokens.
        chart: a series over its checkpoints.
    """

    at: int
    title: str
    model: str
    pages: Pages
    facts: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...]
    chart: Drawing | None


@dataclass(frozen=True)
class IndexPage:
    """Everything that the template shows.

    Attributes:
        title, lead: what there is.
        notes: what a reader should know before comparing.
        traces: name and address of pages that follow tokens over training.
        rows, places: the runs, and where they stand in a series.
        cards: the models.
        questions: the plots, domain by domain.
        data: the same rows for the page's scripts.
    """

    title: str
    lead: str
    notes: tuple[str, ...]
    traces: Pages
    rows: tuple[IndexedRun, ...]
    places: tuple[Place | None, ...]
    cards: tuple[Card, ...]
    questions: tuple[Question, ...]
    data: Markup

    @property
    def table(self) -> pa.Table:
        """The rows as `reports.index_table` has them."""
        return runs_table(self.rows, self.places)


def index_page(folder: Path, out: Path) -> IndexPage:
    """Read the runs in a folder, up to three levels down, by their manifests; `out` is where the page will lie.

    Raises:
        BadInput: no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; --index takes the folder that holds the runs")
    found = runs_below(folder)
    if not found:
        raise BadInput(f"{folder}: holds no run; make one with 'reach scan MODEL --out {folder / 'NAME'}'")
    rows = tuple(read_run(path, folder, out) for path in found)
    places = tuple(places_of(rows))
    models = [
        run for run, place in zip(rows, places, strict=True) if run.problem is None and (place is None or place.last)
    ]
    return IndexPage(
        title=f"Runs in {folder.resolve().name}",
        lead=_lead(rows, places),
        notes=_notes(rows, places),
        traces=tuple(
            (
                "trace" if path == folder else path.relative_to(folder).as_posix(),
                address_of(path / TRACE[1], out),
            )
            for path in traces_below(folder)
        ),
        rows=rows,
        places=places,
        cards=_cards(rows, places),
        questions=questions(models),
        data=_data(runs_table(rows, places)),
    )


def _lead(rows: Sequence[IndexedRun], places: Sequence[Place | None]) -> str:
    """Checkpoints of one training run are one model."""
    known = [(run, place) for run, place in zip(rows, places, strict=True) if run.problem is None]
    readable = [run for run, _ in known]
    models = len({run.place if place is None else place.key for run, place in known})
    lead = f"{plain.plural(len(readable), 'finished scan')} of {plain.plural(models, 'model')}."
    if len(readable) < len(rows):
        lead += f" {plain.plural(len(rows) - len(readable), 'run')} cannot be shown; the list says why."
    return lead


def _notes(rows: Sequence[IndexedRun], places: Sequence[Place | None]) -> tuple[str, ...]:
    notes = []
    series = [place.key for place in places if place is not None]
    if series:
        notes.append(
            f"{len(series):,} scans are checkpoints of {plain.plural(len(set(series)), 'training run')}. "
            "Cards and plots show the last of each."
        )
    groups = {run.group for run in rows if run.problem is None}
    if len(groups) > 1:
        notes.append(
            f"The scans are over {len(groups)} kinds of domain. Over another domain “never” says something else: "
            "compare counts within one kind only. The table names the domain of each, and plots keep them apart."
        )
    partial = sum(run.problem is None and not run.whole for run in rows)
    if partial:
        notes.append(
            f"{plain.plural(partial, 'scan')} asked about a part of the vocabulary: counts and shares are of that "
            "part."
        )
    return tuple(notes)


def _cards(rows: Sequence[IndexedRun], places: Sequence[Place | None]) -> tuple[Card, ...]:
    cards = []
    for at, (run, place) in enumerate(zip(rows, places, strict=True)):
        if run.problem is not None or (place is not None and not place.last):
            continue
        chart = None
        if place is not None:
            steps = sorted(
                (one.step, other) for other, one in enumerate(places) if one is not None and one.key == place.key
            )
            chart = trajectory(f"series-{at}", [step for step, _ in steps], [rows[other] for _, other in steps])
        title = run.name if place is None else place.series
        cards.append(Card(at, title, model_name(run.recorded), run.pages, _facts(run, place), _bars(run), chart))
    return tuple(cards)


def _facts(run: IndexedRun, place: Place | None) -> tuple[tuple[str, str], ...]:
    shape = f"{_count(run.v)} × {_count(run.d)}"
    found = [
        ("Family", run.family or "not known"),
        ("V × d", shape),
        ("Head", ", ".join(part for part in (run.tying, run.norm or "no norm", run.dtype) if part)),
        ("Domain", run.domain),
        ("Year", "unknown" if run.year is None else str(run.year)),
        ("Scanned", run.started),
    ]
    if place is not None:
        found.insert(0, ("Checkpoint", f"{place.step}, the last"))
    if not run.whole:
        found.append(("Asked for", f"{run.asked:,} of {_count(run.v)} tokens"))
    if run.gate is not None:
        found.append(("Must be said", run.gate.problem or f"{run.gate.failures} of {run.gate.asked} fail"))
    return tuple(found)


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _bars(run: IndexedRun) -> tuple[Bar, ...]:
    nearly = run.totals.nearly_never
    counts = (
        ("unspeakable", "never", run.verdicts.get("unspeakable", 0)),
        ("hard-to-speak", "hard", run.hard_to_speak),
        ("own-direction", "settled", run.totals.own_direction),
        ("nearly never in bfloat16", "hard", None if nearly is None else nearly.bfloat16),
        ("nearly never in float32", "hard", None if nearly is None else nearly.float32),
        ("tied", "tied", run.verdicts.get("tied", 0)),
        ("undecided", "time", run.verdicts.get("undecided", 0)),
    )
    return tuple(
        Bar(name, kind, count, (count or 0) / run.asked, "–" if count is None else plain.share(count, run.asked))
        for name, kind, count in counts
    )


_KINDS = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "double", pa.bool_(): "boolean"}


def _data(table: pa.Table) -> Markup:
    """The table as JSON that ends no script: what opens markup is written as an escape."""
    columns = [[one.name, _KINDS[one.kind]] for one in COLUMNS]
    content = {"columns": columns, "values": [column.to_pylist() for column in table.columns]}
    text = json.dumps(content, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
