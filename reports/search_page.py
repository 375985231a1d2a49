"""The page of a search: what its template shows, what its scripts draw, and the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reach.runs.atomic import RUN_AGAIN, write_page
from reach.search.options import WORDS
from reach.search.record import (
    PAGE_FILE,
    Contest,
    Planted,
    Recall,
    Repeat,
    Runs,
    SearchRecord,
    SearchResult,
    TokenColumns,
    Unfound,
)
from reach.search.record import FunnelRow as Left
from reach.search.summary import unchecked_words
from reach.search.unfound import unfound_of
from reports import plain
from reports.charts.drawing import Drawing
from reports.method import Facts
from reports.portable import portable
from reports.render import TABLE_SCRIPTS, render_page
from reports.scan_page import model_name
from reports.search_columns import pack_search
from reports.search_figures import (
    LEVEL_NAMES,
    ContestView,
    MarginRow,
    contest_figures,
    curve_figure,
    effort_figure,
    margin_rows,
    margins_figure,
)
from reports.site import Site, own_site

_SCRIPTS = (
    "decode.js", "marks.js", "numbers.js", "verdicts.js", "columns.js", "sidepanel.js", "searchdata.js",
    "searchpanel.js", "searchtable.js", *TABLE_SCRIPTS, "search.js",
)  # fmt: skip


@dataclass(frozen=True)
class FunnelRow:
    """One level of the funnel."""

    level: str
    words: str
    tokens: str
    share: float
    lost: str


@dataclass(frozen=True)
class FailedRow:
    """Tokens whose first failing level this is, some of them by name."""

    key: str
    level: str
    words: str
    count: str
    examples: tuple[tuple[int, str], ...]
    more: int


@dataclass(frozen=True)
class PlantedRow:
    """Recall of what the search was not told about."""

    level: str
    length: int
    found: str
    interval: str
    rare: str
    rare_interval: str


@dataclass(frozen=True)
class RunsRow:
    """Independent runs on one sample."""

    level: str
    length: int
    found: str
    recall: str
    interval: str
    known: str
    reachable: str
    reachable_interval: str


@dataclass(frozen=True)
class UnfoundRow:
    """How many reachable tokens are still unfound at a level, at least, and why more cannot be said."""

    level: str
    found: str
    at_least: str
    low: str  # the same at 95 %
    words: str


@dataclass(frozen=True)
class ContestRow:
    """What every method found of one sample in the same time: words, and whether nothing beat it."""

    level: str
    length: int
    sample: str
    found: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class RepeatRow:
    """One form of the repeat test."""

    name: str
    text: str
    passed: str


@dataclass(frozen=True)
class SearchPage:
    """Everything that the template shows."""

    title: str
    lead: str
    alarm: str | None
    has_verdicts: bool
    funnel: tuple[FunnelRow, ...]
    failed: tuple[FailedRow, ...]
    planted: tuple[PlantedRow, ...]
    runs: tuple[RunsRow, ...]
    unfound: tuple[UnfoundRow, ...]
    cut_short: bool  # time ran out before all that was planned was searched
    methods: tuple[str, ...]
    contests: tuple[ContestRow, ...]
    contest_plots: tuple[ContestView, ...]
    curve: Drawing | None
    margins: tuple[MarginRow, ...]
    margins_plot: Drawing | None
    effort: Drawing | None
    credited: int
    repeat: tuple[RepeatRow, ...]
    repeat_words: str | None
    notes: tuple[str, ...]
    replay: str
    run: Facts
    settings: Facts
    versions: Facts
    data: str


def write_search_report(
    run: Path, out: Path | None = None, *, force: bool = True, again: str = RUN_AGAIN, site: Site | None = None
) -> Path:
    """Write the page of `reach search`: `search.html` in the run folder, or `out`.

    `again` says what to do once the reason why it cannot be written is mended; `site`, which pages
    there are beside it.

    Raises:
        BadInput: the run holds no search, it is damaged or of another schema, or the page cannot be written.
    """
    file = run / PAGE_FILE if out is None else out
    page = search_page(SearchResult.read(run), run.resolve().name)
    write_page(
        file,
        render_page(
            "search.html",
            scripts=_SCRIPTS,
            page=page,
            site=site or own_site(run, file, SearchRecord.FILE),
        ),
        force=force,
        again=again,
    )
    return file


def search_page(found: SearchResult, run: str = "run") -> SearchPage:
    """Build the page's content; `run` is what downloads are called after."""
    record = found.record
    name = model_name(record.model)
    strength = record.strength
    curves = () if strength is None else strength.curves
    methods = tuple(dict.fromkeys(one.method for one in curves))
    margins = margin_rows(found.table.levels, record.levels)
    return SearchPage(
        title=f"What {name} can be made to say",
        lead=_lead(record),
        alarm=_alarm(record),
        has_verdicts=any(row.level == "head" for row in record.funnel),
        funnel=_funnel(record.funnel),
        failed=_failed(found),
        planted=() if strength is None else tuple(_planted(one) for one in strength.planted),
        runs=() if strength is None else tuple(_runs(one) for one in strength.runs),
        unfound=tuple(_unfound(one) for one in unfound_of(record)),
        cut_short=bool(record.incomplete),
        methods=methods,
        contests=_contests(curves, methods),
        contest_plots=contest_figures(curves),
        curve=curve_figure(record.curve, record.levels),
        margins=margins,
        margins_plot=margins_figure(margins),
        effort=effort_figure(found),
        credited=0 if strength is None else strength.credited,
        repeat=_repeat(record.repeat),
        repeat_words=_repeat_words(record.repeat),
        notes=_notes(record),
        replay=_replay(record),
        run=_run_facts(record),
        settings=tuple(plain.flat(record.settings.record(), texts=("prefix", "suffix"))),
        versions=tuple(plain.flat(record.versions)),
        data=pack_search(found, {"run": run}),
    )


def _lead(found: SearchRecord) -> str:
    rows = {row.level: row.tokens for row in found.funnel}
    asked = rows["asked"]
    last = next((level for level in ("text", "tokens") if level in rows), None)
    start = f"Of {plain.plural(asked, 'token')}, "
    if "head" in rows:
        start += f"the head proves {plain.count(asked - rows['head'])} unspeakable. Of the others, "
    ends = [level for level in ("free", last) if level in rows and level is not None]
    parts = [f"{plain.count(rows[level])} were said after {WORDS[level]}" for level in ends]
    return start + (", ".join(parts) if parts else "none was searched for") + "."


def _alarm(found: SearchRecord) -> str | None:
    wrong = found.contradictions
    if not wrong:
        return None
    return (
        f"Contradiction: {plain.plural(len(wrong), 'hit')} of tokens that the head proves unspeakable (ids "
        f"{', '.join(str(one.token_id) for one in wrong[:10])}). The proof, the head that was read, or the live "
        "model is wrong."
    )


def _funnel(rows: Sequence[Left]) -> tuple[FunnelRow, ...]:
    top = max(1, rows[0].tokens)
    return tuple(
        FunnelRow(
            LEVEL_NAMES.get(row.level, "Asked for"),
            _words(row),
            plain.count(row.tokens),
            row.tokens / top,
            plain.count(row.lost),
        )
        for row in rows
    )


def _words(row: Left) -> str:
    """What a row of the funnel counts, in today's words: records of older versions hold others."""
    return f"said after {WORDS[row.level]}" if row.level in WORDS else row.words


def _failed(found: SearchResult) -> tuple[FailedRow, ...]:
    rows = []
    for level in ("head", *found.record.levels):
        tokens = [token for token, first in enumerate(found.table.tokens.first_failed) if first == level]
        shown = tuple((token, _name(found.table.tokens, token)) for token in tokens[:60])
        words = "proved unspeakable, so not searched for" if level == "head" else "not found"
        if level != "head" or tokens:
            more = len(tokens) - len(shown)
            rows.append(FailedRow(level, LEVEL_NAMES[level], words, plain.count(len(tokens)), shown, more))
    return tuple(rows)


def _name(tokens: TokenColumns, token: int) -> str:
    text = tokens.text[token]
    text = tokens.token[token] if text is None else text
    return f"#{token}" if text is None else str(text)


def _planted(one: Planted) -> PlantedRow:
    words, interval = _rate(one.all)
    rare, rare_interval = _rate(one.rare)
    return PlantedRow(LEVEL_NAMES[one.level], int(one.length), words, interval, rare, rare_interval)


def _rate(rate: Recall | None) -> tuple[str, str]:
    if rate is None:
        return "–", ""
    return f"{rate.found} of {rate.tried}", f"{100 * rate.low:.1f}–{100 * rate.high:.1f} %"


def _runs(one: Runs) -> RunsRow:
    words, interval = _rate(one.recall)
    chao = one.chao2
    return RunsRow(
        level=LEVEL_NAMES[one.level],
        length=int(one.length),
        found=f"{', '.join(map(str, one.found))} of {one.sample}",
        recall=words,
        interval=interval,
        known=plain.count(max(one.known, one.union)),
        reachable="–" if chao is None else f"{chao.estimate:.0f}",
        reachable_interval="" if chao is None else f"{chao.low:.0f}–{_most(chao.high, one.sample)}",
    )


def _unfound(one: Unfound) -> UnfoundRow:
    name = LEVEL_NAMES[one.level]
    if one.at_least is None:
        return UnfoundRow(name, plain.count(one.found), "–", "–", f"Too weak to say: {one.too_weak}.")
    if one.by is None:
        return UnfoundRow(name, plain.count(one.found), "0", "0", "All that the head allows are found.")
    if not one.at_least:
        words = "The runs show no sign of more, and rule none out."
    elif one.by == one.level:
        words = "By the independent runs."
    else:
        words = f"By the runs of “{LEVEL_NAMES[one.by]}”: what is reachable there is reachable here."
    least, low = (f"at least {plain.count(number)}" for number in (one.at_least, one.low))
    return UnfoundRow(name, plain.count(one.found), least, low, words)


def _contests(curves: Sequence[Contest], methods: tuple[str, ...]) -> tuple[ContestRow, ...]:
    """One row per level and length, a cell per method."""
    places: dict[tuple[str, int], dict[str, int]] = {}
    sample = {}
    for one in curves:
        place = (one.level, one.length)
        places.setdefault(place, {})[one.method] = one.points[-1][2]
        sample[place] = plain.count(one.sample)
    rows = []
    for (level, length), found in places.items():
        best = max(found.values())
        cells = tuple(
            (plain.count(found[one]), found[one] == best) if one in found else ("–", False) for one in methods
        )
        rows.append(ContestRow(LEVEL_NAMES[level], int(length), sample[level, length], cells))
    return tuple(rows)


def _most(value: float | None, limit: int) -> str:
    return str(limit) if value is None or value > limit else f"{value:.0f}"


def _repeat(found: Repeat | None) -> tuple[RepeatRow, ...]:
    if found is None:
        return ()
    asked = plain.count(found.asked)
    return tuple(
        RepeatRow(form.name, form.text, f"{plain.count(found.top[form.name])} of {asked}") for form in found.forms
    )


def _repeat_words(found: Repeat | None) -> str | None:
    if found is None or found.failed_all is None:
        return None
    return (
        f"{plain.count(found.failed_all)} of {plain.plural(found.asked, 'token')} that the head allows are "
        "repeated in no form."
    )


def _replay(found: SearchRecord) -> str:
    one = found.replay
    text = (
        f"{plain.plural(one.replayed, 'witness', 'witnesses')} run again alone, unbatched, in float32: "
        f"{plain.count(one.failed)} did not replay and count for nothing."
    )
    if found.dtype != "float32":
        text += f" In {found.dtype}, the model's own dtype, {plain.count(one.own_failed)} do not hold."
    if one.unchecked:
        text += f" {unchecked_words(one.unchecked)}."
    return text


def _notes(found: SearchRecord) -> tuple[str, ...]:
    notes = [portable(warning) for warning in found.warnings]
    if found.incomplete:
        notes.append(f"Time ran out in: {'; '.join(found.incomplete)}.")
    if found.batch_shrunk:
        notes.append(f"Memory ran out {found.batch_shrunk} times; smaller batches were used.")
    skipped = {} if found.repeat is None else found.repeat.skipped
    return tuple(notes + [f"Repeat test, {name}: {reason}." for name, reason in skipped.items()])


def _run_facts(found: SearchRecord) -> Facts:
    hardware = found.hardware
    return (
        ("Model", plain.text(found.model)),
        ("Vocabulary × width of the input", f"{plain.count(found.v)} × {plain.count(found.d)}"),
        ("The model's own dtype", plain.text(found.dtype)),
        ("Inputs tried", plain.count(sum(found.inputs.values()))),
        ("Budget", plain.seconds(found.settings.budget)),
        ("Search took", plain.seconds(found.search_seconds)),
        ("All together", plain.seconds(found.seconds)),
        ("Finished", plain.text(found.finished)),
        ("Processor", plain.text(hardware.get("cpu"))),
        ("Cores", plain.count(hardware.get("cores"))),
        ("GPU", "none" if "gpu" in hardware and not hardware["gpu"] else plain.text(hardware.get("gpu"))),
    )
