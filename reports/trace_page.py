"""The page of a trace: what its template shows, what its scripts draw, and the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reach.runs.atomic import RUN_AGAIN, write_page
from reach.runs.manifest import Span
from reach.trace.findings import Finding, findings, percent, span, words
from reach.trace.record import (
    FactorRecord,
    GroupRecord,
    NamedToken,
    PairRecord,
    SeriesRecord,
    TraceRecord,
    TraceResult,
)
from reach.trace.summary import cautions, lead, one_sided
from reports import plain
from reports.charts.drawing import Drawing
from reports.method import Facts
from reports.portable import portable, portable_command
from reports.render import TABLE_SCRIPTS, render_page
from reports.trace_columns import pack_trace, shades, shown_rows
from reports.trace_figures import PairView, Strip, pair_figures, split_figure, step_figures, strip
from solvers.domains import spoken

_SCRIPTS = (
    "decode.js", "marks.js", "numbers.js", "verdicts.js", "columns.js", "sidepanel.js", "tracedata.js",
    "tracestrip.js", "tracepanel.js", "tracetable.js", *TABLE_SCRIPTS, "trace.js",
)  # fmt: skip
_NAMED = 15
_MOST_RUNS = 200
_MOST_PAIRS = 60


@dataclass(frozen=True)
class StepRow:
    """A checkpoint of a series: cells in the order of the table's head."""

    step: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class SeriesView:
    """A series: its checkpoints, and what was matched."""

    name: str
    words: str
    rows: tuple[StepRow, ...]


@dataclass(frozen=True)
class NamedRow:
    """A token that stands out, with its strip; `row` is its place in the page's table, if it is there."""

    row: int | None
    token: str
    series: str
    value: str
    strip: Strip


@dataclass(frozen=True)
class NamedList:
    """Tokens that stand out in one way."""

    title: str
    words: str
    filter: str
    total: str
    head: str
    rows: tuple[NamedRow, ...]
    more: int


@dataclass(frozen=True)
class TracePage:
    """Everything that the template shows."""

    title: str
    lead: str
    domain: str
    alarm: str | None
    findings: tuple[Finding, ...]
    cautions: tuple[str, ...]
    step_charts: tuple[Drawing, ...]
    series: tuple[SeriesView, ...]
    lists: tuple[NamedList, ...]
    legend: tuple[tuple[str, str], ...]
    split: Drawing | None
    groups: tuple[tuple[str, ...], ...]
    pair_charts: tuple[PairView, ...]
    pairs: tuple[tuple[str, ...], ...]
    more_pairs: int
    factors: tuple[tuple[str, tuple[tuple[str, ...], ...], str], ...]
    controls: tuple[str, ...]
    runs: tuple[tuple[str, str, str], ...]
    more_runs: int
    left_out: tuple[tuple[str, str], ...]
    facts: Facts
    settings: Facts
    versions: Facts
    kept: tuple[str, str] | None  # rows in the page and in the trace, where these are not the same
    data: str


def write_trace_page(folder: Path, out: Path | None = None, *, force: bool = True, again: str = RUN_AGAIN) -> Path:
    """Write the page of a trace: `trace.html` in its folder, or `out`.

    Raises:
        BadInput: the folder holds no trace, it is damaged or of another schema, or the page cannot be written.
    """
    file = folder / TraceRecord.PAGE if out is None else out
    page = trace_page(TraceResult.read(folder), folder.resolve().name)
    write_page(file, render_page("trace.html", scripts=_SCRIPTS, page=page), force=force, again=again)
    return file


def trace_page(result: TraceResult, name: str = "trace") -> TracePage:
    """Build the page's content; `name` is what downloads are called after."""
    record = result.record
    ends, rows = shades(result), shown_rows(result)
    places = {row: place for place, row in enumerate(rows.tolist())}
    pairs = sorted(record.pairs, key=lambda one: (one.differ != ["seed"], len(one.differ)))
    return TracePage(
        title=_title(record),
        lead=lead(record),
        domain=spoken(record.domain) or f"the domain “{plain.text(record.domain)}”",
        findings=findings(record),
        alarm=_sentence(one_sided(record)),
        cautions=tuple(portable(one) for one in cautions(record) if one != one_sided(record)),
        step_charts=step_figures(record),
        series=tuple(_series(one) for one in record.series),
        lists=_lists(result, ends, places),
        legend=_legend(ends),
        split=split_figure(record.groups, [_called(one) for one in record.groups]),
        groups=tuple(_group(one) for one in record.groups if one.split is not None),
        pair_charts=pair_figures(result, places),
        pairs=tuple(_pair(one) for one in pairs[:_MOST_PAIRS]),
        more_pairs=max(0, len(pairs) - _MOST_PAIRS),
        factors=tuple(_factor(one) for one in record.factors),
        controls=_controls(record),
        runs=tuple((one.series, plain.count(one.step), plain.text(one.run)) for one in record.runs[:_MOST_RUNS]),
        more_runs=max(0, len(record.runs) - _MOST_RUNS),
        left_out=tuple((plain.text(one.run), portable(one.why)) for one in record.left_out[:_MOST_RUNS]),
        facts=_facts(record),
        settings=tuple(plain.flat(record.settings.record())),
        versions=tuple(plain.flat(record.versions)),
        kept=None
        if len(rows) == result.table.num_rows
        else (plain.count(len(rows)), plain.count(result.table.num_rows)),
        data=pack_trace(TraceResult(record, result.table.take(rows)), {"name": name}),
    )


def _sentence(words: str | None) -> str | None:
    return None if words is None else f"{words[:1].upper()}{words[1:]}."


def _title(record: TraceRecord) -> str:
    if any(len(one.steps) > 1 for one in record.series):
        return "Tokens over training"
    return "Tokens over seeds" if len(record.series) > 1 else "Tokens at a single checkpoint"


# --- series ---------------------------------------------------------------------------------------------------------


def _series(one: SeriesRecord) -> SeriesView:
    before = {part.by: part for part in one.intervals}
    rows = []
    for step in one.steps:
        part = before.get(step.step)
        rows.append(
            StepRow(
                plain.count(step.step),
                (
                    *(plain.count(step.classes.get(key, 0)) for key in ("unspeakable", "hard-to-speak", "tied",
                                                                          "undecided")),
                    "–" if part is None else f"{part.became:,}",
                    "–" if part is None else f"{part.stopped:,}",
                    _or_dash(step.low_margin, plain.logits),
                    _or_dash(step.median_margin, plain.logits),
                    _or_dash(step.high_margin, plain.logits),
                    _or_dash(step.with_last, _two),
                ),
            )
        )  # fmt: skip
    factors = ", ".join(f"{words(key)} {value}" for key, value in one.factors.items())
    said = f"{plain.plural(one.tokens, 'token')} in {plain.plural(len(one.steps), 'checkpoint')}"
    return SeriesView(one.name, f"{said}{f'; {factors}' if factors else ''}", tuple(rows))


def _or_dash(value: float | None, write: object) -> str:
    return "–" if value is None else str(write(value))  # type: ignore[operator]


def _two(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _lists(
    result: TraceResult, ends: tuple[list[float], list[float]], places: dict[int, int]
) -> tuple[NamedList, ...]:
    """Tokens that leap, that are far from the others, and that go back and forth, over all series."""
    series = result.record.series
    found = []
    for title, said, shown_by, head, named, total in (
        (
            "Sudden", "Still, then out of line in one interval, beyond what all tokens do there: largest first.",
            "flag-sudden", "Leap", [(one, one.sudden.named) for one in series if one.sudden is not None],
            sum(one.sudden.sudden for one in series if one.sudden is not None),
        ),
        (
            "Outliers", "Far from the middle trajectory of tokens that are of the same class at the end.",
            "flag-outlier", "Distance, z", [(one, one.outliers) for one in series],
            sum(one.outlying for one in series),
        ),
        (
            "Back and forth", "Turned more than once between speakable and not.",
            "history-back", "Turns", [(one, one.oscillators) for one in series],
            sum(one.oscillating for one in series),
        ),
    ):  # fmt: skip
        every = sorted(
            ((one.name, token) for one, tokens in named for token in tokens), key=lambda pair: -pair[1].value
        )[:_NAMED]
        rows = tuple(_named(result, name, token, ends, places) for name, token in every)
        if total:
            found.append(NamedList(title, said, shown_by, plain.count(total), head, rows, total - len(rows)))
    return tuple(found)


def _named(
    result: TraceResult,
    series: str,
    token: NamedToken,
    ends: tuple[list[float], list[float]],
    places: dict[int, int],
) -> NamedRow:
    row = result.table.slice(token.row, 1).to_pylist()[0] if 0 <= token.row < result.table.num_rows else None
    drawn = strip([], [], [], ends) if row is None else strip(row["class"], row["margin"], row["steps"], ends)
    value = f"{token.value:.0f}" if float(token.value).is_integer() else f"{token.value:.2f}"
    return NamedRow(places.get(token.row), token.token, series, value, drawn)


def _legend(ends: tuple[list[float], list[float]]) -> tuple[tuple[str, str], ...]:
    """Shades and what they stand for, the lowest first."""
    above, below = ends
    found = []
    for at in reversed(range(len(below) + 1)):
        told = (
            f"below {plain.logits(-below[at - 1])}"
            if at
            else f"{plain.logits(-below[0])} to 0"
            if below
            else "below 0"
        )
        found.append((f"heat-down-{at}", told))
    for at in range(len(above) + 1):
        if at == len(above):
            told = f"above {plain.logits(above[-1])}" if above else "above 0"
        else:
            told = f"to {plain.logits(above[at])}"
        found.append((f"heat-up-{at}", told))
    return (*found, ("heat-none", "not known"))


# --- token and seed -------------------------------------------------------------------------------------------------


def _called(group: GroupRecord) -> str:
    return ", ".join(group.factors.values()) or "all seeds"


def _group(group: GroupRecord) -> tuple[str, ...]:
    found = group.split
    assert found is not None
    return (
        _called(group), plain.count(found.seeds), plain.count(group.step), plain.count(found.tokens),
        percent(found.token), percent(found.seed), percent(found.rest), f"{100 * found.shuffled_token:.1f} %",
        "–" if group.initial is None else percent(group.initial.token),
        "–" if group.ranked is None else percent(group.ranked.token),
    )  # fmt: skip


def _pair(pair: PairRecord) -> tuple[str, ...]:
    sets = pair.unspeakable
    return (
        f"{pair.one} – {pair.other}",
        ", ".join(words(one) for one in pair.differ) or "–",
        plain.count(pair.step),
        plain.count(pair.matched),
        "–" if pair.rho is None else span(pair.rho.rho),
        "–" if pair.rho is None else f"{_two(pair.rho.shuffled_low)} to {_two(pair.rho.shuffled_high)}",
        "–" if pair.initial is None else span(pair.initial.rho),
        "–" if sets is None else f"{sets.both:,} of {sets.one:,} and {sets.other:,}",
        "–" if sets is None else f"{sets.expected:.2g} (p {sets.p:.2g})",
        "–" if sets is None or sets.kappa is None else span(sets.kappa),
    )


def _factor(factor: FactorRecord) -> tuple[str, tuple[tuple[str, ...], ...], str]:
    first = factor.levels[0].level
    rows = tuple(
        (
            one.level,
            plain.count(len(one.series)),
            _spread([float(value) for value in one.unspeakable], ".0f"),
            _spread([value for value in one.median_margin if value is not None], ".3g"),
            _difference(one.against, one.pairs),
            _difference(one.margin_against, one.pairs),
        )
        for one in factor.levels
    )
    along = (
        f"Changes together with {' and '.join(words(one) for one in factor.along)}: which of them matters cannot be "
        "told."
        if factor.along
        else ""
    )
    title = f"{words(factor.name).capitalize()}, at step {factor.step:,}; differences against {first}"
    return title, rows, along


def _difference(value: Span | None, pairs: int) -> str:
    return "–" if value is None else f"{span(value, '+.3g')}, {plain.plural(pairs, 'seed')}"


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    mean, low, high = (
        format(one, form).replace("-", "−") for one in (sum(values) / len(values), min(values), max(values))
    )
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


# --- how it was done ------------------------------------------------------------------------------------------------


def _controls(record: TraceRecord) -> tuple[str, ...]:
    """Which controls stand beside the findings, and which are missing."""
    start = [one for one in record.series if one.steps and one.steps[0].step == 0 and len(one.steps) > 1]
    random = [one for one in record.series if one.control is not None]
    return (
        f"The initialised model (step 0) is among the checkpoints of {len(start)} of "
        f"{plain.plural(len(record.series), 'series', 'series')}: what was there before any training is read off it.",
        f"Random heads of the same shape are there for {len(random)} of them (controls.parquet, from "
        "'reach compare-solvers'): what chance does without a model."
        if random
        else "No run holds random heads of the same shape; 'reach compare-solvers' makes them.",
        "Tokens are shuffled for every rank correlation, every variance split and every test of suddenness.",
    )


def _facts(record: TraceRecord) -> Facts:
    return (
        ("Runs", plain.count(len(record.runs))),
        ("Left out", plain.count(len(record.left_out))),
        ("Margins", "one bound each" if record.margins is None else f"from both sides, gap {record.margins:g}"),
        ("Finished", plain.text(record.finished)),
        ("Took", plain.seconds(record.seconds)),
        ("Command", portable_command(record.command)),
    )
