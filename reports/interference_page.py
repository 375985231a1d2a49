"""The page of a measurement of interference: `interference.html`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reach.interference.record import (
    Band,
    Beside,
    Case,
    Control,
    Dictionary,
    Indicator,
    Interference,
    Roc,
    Speakability,
    StatisticName,
    Subspaces,
    Theory,
)
from reach.interference.speakability import indicator_title
from reach.interference.summary import crowding, z_words
from reach.runs.atomic import RUN_AGAIN, write_page
from reports import plain
from reports.charts.drawing import Drawing
from reports.interference_figures import (
    dictionary_figures,
    roc_figures,
    scatter_figures,
    shape_figures,
    subspace_figures,
)
from reports.portable import portable, portable_command
from reports.render import render_page
from reports.site import Site, own_site

_SCRIPTS = ("start.js",)


@dataclass(frozen=True)
class StatisticRow:
    """One statistic of one matrix beside chance; `cells` are (mean, z) per control."""

    title: str
    words: str
    value: str
    chance: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CaseView:
    """One matrix."""

    key: str
    title: str
    headings: tuple[str, ...]
    headline: str
    sentences: tuple[str, ...]
    split: str
    rows: tuple[StatisticRow, ...]
    figures: tuple[Drawing, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class IndicatorRow:
    """How well one indicator tells, in words."""

    title: str
    unspeakable: str
    hard_to_speak: str
    correlation: str


@dataclass(frozen=True)
class BesideView:
    """Another run's numbers."""

    title: str
    rows: tuple[tuple[str, str], ...]
    indicators: tuple[IndicatorRow, ...]


@dataclass(frozen=True)
class InterferencePage:
    """Everything that the template shows."""

    title: str
    lead: str
    warnings: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    main: tuple[CaseView, ...]
    others: tuple[CaseView, ...]
    controls: tuple[tuple[str, str], ...]
    d: int
    bounds: tuple[tuple[str, str], ...]
    packing: tuple[tuple[str, str], ...]
    subspaces: str
    subspace_figures: tuple[Drawing, ...]
    dictionary: str
    dictionary_figures: tuple[Drawing, ...]
    speakability: tuple[str, ...]
    indicators: tuple[IndicatorRow, ...]
    roc_figures: tuple[Drawing, ...]
    scatter_figures: tuple[Drawing, ...]
    scatter_note: str
    beside: tuple[BesideView, ...]
    method: tuple[tuple[str, str], ...]


def write_interference_page(
    run: Path, out: Path | None = None, *, force: bool = True, again: str = RUN_AGAIN, site: Site | None = None
) -> Path:
    """Write the page of a measurement: `interference.html` in the run folder, or `out`.

    `again` says what to do once the reason why it cannot be written is mended; `site`, which pages
    there are beside it.

    Raises:
        BadInput: the run holds no measurement, or a damaged one, or the page cannot be written.
    """
    file = run / Interference.PAGE if out is None else out
    page = interference_page(run)
    write_page(
        file,
        render_page(
            "interference.html", scripts=_SCRIPTS, page=page, site=site or own_site(run, file, Interference.FILE)
        ),
        force=force,
        again=again,
    )
    return file


def interference_page(run: Path) -> InterferencePage:
    """Build the page's content from a run folder.

    Raises:
        BadInput: the run holds no measurement, or a damaged one.
    """
    return _page(Interference.read(run))


def _page(record: Interference) -> InterferencePage:
    cases = [_case(case, record) for case in record.cases]
    found = record.speakability
    subspaces = subspace_figures(record.theory.subspaces)
    dictionary = dictionary_figures(record.dictionary, record.title_of)
    roc, scatter = roc_figures(found), scatter_figures(found)
    short = plain.text(record.model).rpartition("/")[2] or plain.text(record.model)
    points = found.scatter
    return InterferencePage(
        title=f"How crowded is the output space of {short}?",
        lead=crowding(record),
        warnings=tuple(map(portable, record.warnings)),
        left_out=tuple((record.title_of(key), plain.text(why)) for key, why in record.left_out.items()),
        main=tuple(case for case in cases if case.key.startswith("A")),
        others=tuple(case for case in cases if not case.key.startswith("A")),
        controls=tuple((control.title, control.keeps) for control in record.controls.values()),
        d=record.d,
        bounds=_bounds(record.theory),
        packing=_packing(record.theory),
        subspaces=_subspaces(record.theory.subspaces),
        subspace_figures=tuple(subspaces),
        dictionary=_dictionary_sentence(record.dictionary),
        dictionary_figures=tuple(dictionary),
        speakability=tuple(_speakability_sentences(found)),
        indicators=tuple(_indicator(row) for row in found.indicators),
        roc_figures=tuple(roc),
        scatter_figures=tuple(scatter),
        scatter_note=f"{points.drawn:,} of {points.of:,} tokens with a margin are drawn." if points else "",
        beside=tuple(_beside(other, record.statistics) for other in record.beside),
        method=_method(record),
    )


def _case(case: Case, record: Interference) -> CaseView:
    rows = []
    for statistic in record.statistics:
        if statistic.key not in case.statistics:
            continue
        cells = tuple(_cell(control.statistics.get(statistic.key)) for control in case.controls.values())
        value, chance = _number(case.statistics[statistic.key]), _number(case.chance.get(statistic.key))
        rows.append(StatisticRow(statistic.title, statistic.words, value, chance, cells))
    notes = [f"No arrangement of {case.n:,} rows can have a coherence below {case.least_coherence:.3f}."]
    if case.epsilon is not None:
        notes.append(f"{case.tokens_above_epsilon or 0:,} tokens have an interferer above ε = {case.epsilon:.3f}.")
    notes.append(
        f"{case.tokens_above_chance:,} tokens have an interferer above {case.strongest_by_chance:.3f}, what a "
        "token's strongest is expected to be by chance."
    )
    return CaseView(
        key=case.rows + ("-centred" if case.centred else ""),
        title=case.title[:1].upper() + case.title[1:],
        headings=tuple(record.title_of(kind) for kind in case.controls),
        headline=_headline(case),
        sentences=tuple(_sentences(case)),
        split=_split_sentence(case),
        rows=tuple(rows),
        figures=tuple(shape_figures(case, record.title_of)),
        notes=tuple(notes),
    )


def _cell(band: Band | None) -> tuple[str, str]:
    if band is None:
        return "–", ""
    if band.z is None:
        return _number(band.mean), "one draw" if band.sd is None else "all draws agree"
    return _number(band.mean), f"z {z_words(band.z)}"


def _packing(found: Theory) -> tuple[tuple[str, str], ...]:
    packing = found.packing
    rows = [
        (
            "interference ε(V, d)",
            f"{packing.epsilon:.4f}" if packing.epsilon is not None else "out of range: says nothing",
        ),
        ("the same without the cubic term", f"{packing.uncorrected:.4f}"),
        ("end of the range", f"{_number(packing.tokens_at_range_end)} tokens in {found.d:,} dimensions"),
        ("sufficient for ε < 1", f"{_number(packing.dimensions_at_range_end)} dimensions for {found.n:,} tokens"),
    ]
    for row in packing.at_epsilon:
        words = f"{_number(row.dimensions_needed)} dimensions suffice for {found.n:,} tokens"
        # Fewer than d rows can be orthogonal: no need of a guarantee.
        if row.tokens_that_fit is not None and row.tokens_that_fit > found.d:
            words += f"; {_number(math.floor(row.tokens_that_fit))} are sure to fit into {found.d:,}"
        rows.append((f"sufficient for ε = {row.epsilon:g}", words))
    return tuple(rows)


def _bounds(found: Theory) -> tuple[tuple[str, str], ...]:
    bounds = found.bounds
    named = {
        "Welch": bounds.welch,
        "orthoplex": bounds.orthoplex,
        "Levenshtein": bounds.levenshtein,
        "Welch (best order)": bounds.sidelnikov,
    }
    rows = [(f"{name} bound on coherence", f"{value:.4f}") for name, value in named.items()]
    rows.append(("coherence of random directions", f"{found.chance.coherence:.4f}"))
    rows.append(("a random token's strongest |cos|", f"{found.chance.strongest:.4f}"))
    return tuple(rows)


def _subspaces(found: Subspaces) -> str:
    if found.reason is not None:
        return f"{found.reason[:1].upper()}{found.reason[1:]}."
    if found.transition is None or not found.reaches_one:
        return (
            f"So few tokens leave so much room that interference never reaches 1; the range of k ends at "
            f"{_digits(found.k_end, '.4g')}, where a subspace holds e tokens."
        )
    return (
        f"The range of k ends at {_digits(found.k_end, '.4g')}. The interior optimum is the lowest point up to α = "
        f"{_digits(found.transition.lowest, '.3f')} and disappears at α = "
        f"{_digits(found.transition.vanishes, '.3f')}; beyond, k = 1 is best."
    )


def _indicator(row: Indicator) -> IndicatorRow:
    rho = row.correlation
    words = "–" if rho is None else f"{rho.rho:+.2f} ({rho.low:+.2f} to {rho.high:+.2f})".replace("-", "−")
    return IndicatorRow(indicator_title(row), _area(row.unspeakable), _area(row.hard_to_speak), words)


def _area(found: Roc | None) -> str:
    return "–" if found is None else f"{found.auc:.3f} ({found.low:.3f} to {found.high:.3f})"


def _beside(other: Beside, statistics: tuple[StatisticName, ...]) -> BesideView:
    case = next(case for case in other.cases if case.rows == "A" and case.centred)
    rows = tuple((one.title, _number(case.statistics.get(one.key))) for one in statistics)
    indicators = tuple(_indicator(row) for row in other.speakability.indicators)
    return BesideView(f"{plain.text(other.model)} ({plain.text(other.run)})", rows, indicators)


def _method(record: Interference) -> tuple[tuple[str, str], ...]:
    return (
        ("model", plain.text(record.model)),
        ("fingerprint", plain.text(record.fingerprint)),
        ("draws of each control", plain.text(record.settings.seeds)),
        ("left out", plain.text(record.settings.without)),
        ("time", plain.seconds(record.seconds)),
        ("peak memory", plain.size(record.peak_memory_bytes)),
        ("finished", plain.text(record.finished)),
        ("command", portable_command(record.command)),
        ("versions", plain.text(record.versions)),
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1e4 and abs(value) < 1e9 else f"{value:.4g}".replace("-", "−")


def _digits(value: float | None, digits: str) -> str:
    return "–" if value is None else format(value, digits)


# --- what a measurement says, in sentences ---

_FAR = 3.0
"""A z-score beyond this is called outside the band; with few draws no finer statement is honest."""

_SAYS = {
    "gaussian": "Gaussian rows of the same shape",
    "covariance": "Gaussian rows with the model's mean, covariance and lengths",
    "permuted": "the model's columns, each shuffled",
    "reinitialised": "the same architecture before training",
}


def _headline(case: Case) -> str:
    """One matrix in one sentence."""
    return (
        f"On average two tokens overlap by |cos| {_value(case, 'mean'):.3f} (random directions: "
        f"{case.chance['mean']:.3f}), a token and its strongest interferer by {_value(case, 'mean_strongest'):.3f} "
        f"({case.chance['mean_strongest']:.3f})."
    )


def _sentences(case: Case) -> list[str]:
    """What the comparison with each control says about one matrix."""
    said = [_against(kind, case.controls[kind], case) for kind in _SAYS if kind in case.controls]
    part = _explained(case)
    if part is not None:
        share = (
            f"for {part:.0%}; the rest is arrangement that these do not contain" if part < 0.995 else "for all of it"
        )
        said.append(
            f"Of the mean |cos| in excess of Gaussian rows, mean, covariance and row lengths alone account {share}."
        )
    return said


def _value(case: Case, key: str) -> float:
    """A statistic that every case has."""
    return case.statistics[key] or 0.0


def _explained(case: Case) -> float | None:
    """Share of the excess mean |cos| over Gaussian rows that the covariance control reproduces."""
    gaussian, covariance = (
        case.controls[kind].statistics.get("mean") if kind in case.controls else None
        for kind in ("gaussian", "covariance")
    )
    if gaussian is None or covariance is None or gaussian.z is None or gaussian.z < _FAR:
        return None
    excess = _value(case, "mean") - gaussian.mean
    return None if excess <= 0 else (covariance.mean - gaussian.mean) / excess


def _against(kind: str, control: Control, case: Case) -> str:
    parts = [
        _compared(control.statistics.get("mean"), _value(case, "mean"), "on average"),
        _compared(
            control.statistics.get("mean_strongest"),
            _value(case, "mean_strongest"),
            "at each token's strongest interferer",
        ),
    ]
    return f"Against {_SAYS[kind]}: " + "; ".join(part for part in parts if part) + "."


def _compared(band: Band | None, value: float, where: str) -> str:
    if band is None:
        return ""
    beside = f"({value:.3f} to {band.mean:.3f})"
    if band.z is None:
        return f"|cos| {value:.3f} {where}, {band.mean:.3f} there, without a spread of draws to judge it by"
    if abs(band.z) < _FAR:
        return f"no more and no less interference {where} than chance leaves open {beside}"
    return f"{'more' if band.z > 0 else 'less'} interference {where} {beside}"


def _split_sentence(case: Case) -> str:
    """Whether the rows fall into orthogonal groups, and what the subspace model would have said."""
    blocks, fit = case.blocks, case.subspaces
    if blocks is None:
        return "Orthogonal groups were not looked for."
    if blocks.k == 1:
        said = f"No split: the |cos| graph of {blocks.rows:,} rows is one piece (connectivity "
        said += f"{blocks.connectivity:.2f}; 0 would mean orthogonal groups)."
    else:
        inside, between = _digits(blocks.within, ".3f"), _digits(blocks.between, ".3f")
        said = f"{blocks.k} groups, with mean |cos| {inside} inside them and {between} between."
    if fit is None:
        return said
    said += f" The moments of |cos| suggest k = {fit.k_moments:.2f} (1 by chance)."
    if fit.alpha is None:
        return f"{said} The subspace model itself makes no prediction here: {fit.reason}."
    best = _digits(fit.k, ".2f")
    return f"{said} The exponent that prefers this k is α = {fit.alpha:.2f}, whose optimum is k = {best}."


def _dictionary_sentence(found: Dictionary) -> str:
    """Dictionary against SVD, and the same comparison for chance."""
    own = found.model
    if own is None:
        return f"No dictionary was learned: {found.reason}."
    at = len(own.sparsity) // 2
    said = (
        f"With {own.sparsity[at]} coefficients per row, {own.atoms} learned atoms explain "
        f"{own.dictionary[at]:.1%} of rows they were not learned from, the {own.svd_directions} singular "
        f"directions {own.svd[at]:.1%}."
    )
    draws = found.controls.get("covariance")
    if draws:
        dictionary = sum(draw.dictionary[at] for draw in draws) / len(draws)
        svd = sum(draw.svd[at] for draw in draws) / len(draws)
        said += f" Gaussian rows with the same covariance and lengths: {dictionary:.1%} and {svd:.1%}."
    return said


def _speakability_sentences(found: Speakability) -> list[str]:
    """Which indicator tells best, and what that does not mean."""
    if found.reason is not None:
        return [f"Not compared with verdicts: {found.reason}."]
    said = []
    for words, areas in (
        ("unspeakable", [(row, row.unspeakable) for row in found.indicators]),
        ("hard-to-speak", [(row, row.hard_to_speak) for row in found.indicators]),
    ):
        known = [(row, area) for row, area in areas if area is not None]
        if not known:
            said.append(f"There are no {words} tokens, or nothing to tell them from.")
            continue
        said.append(_tells(words, known))
    said.append("An indicator that tells is no cause, and which side it tells on may differ from model to model.")
    return said


def _tells(words: str, known: Sequence[tuple[Indicator, Roc]]) -> str:
    """Which indicators tell such tokens best. Those within the 95 % interval of the best one tell equally well."""
    ranked = sorted(known, key=lambda one: -_turned(one[1])[1])
    low, most, high = _turned(ranked[0][1])
    equal = [(row, area) for row, area in ranked if _turned(area)[1] >= low]
    named = [f"{indicator_title(row)} ({'high' if area.auc >= 0.5 else 'low'} values)" for row, area in equal]
    tokens = plain.plural(ranked[0][1].positives, f"{words} token")
    coin = "0.5 is a coin, 1 is certain"
    if low <= 0.5:
        return f"No indicator certainly tells the {tokens}: best area {most:.3f} ({low:.3f} to {high:.3f}; {coin})."
    if len(equal) == 1:
        return f"The {tokens} are told best by {named[0]}: area {most:.3f} ({low:.3f} to {high:.3f}; {coin})."
    least = _turned(equal[-1][1])[1]
    said = f"Areas {least:.3f} to {most:.3f}" if f"{least:.3f}" != f"{most:.3f}" else f"Areas of {most:.3f}"
    return (
        f"{len(equal)} indicators tell the {tokens} equally well, as far as so many can say: {'; '.join(named)}. "
        f"{said}, within the 95 % interval of the best, {low:.3f} to {high:.3f} ({coin})."
    )


def _turned(area: Roc) -> tuple[float, float, float]:
    """Lower end, area and upper end, turned round where low values tell."""
    return (area.low, area.auc, area.high) if area.auc >= 0.5 else (1 - area.high, 1 - area.auc, 1 - area.low)
