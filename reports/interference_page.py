"""A stored measurement of interference in, one self-contained HTML page out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.interference.speakability import indicator_title
from reach.interference.stored import PAGE_FILE, read_result
from reach.runs.atomic import RUN_AGAIN, write_page
from reports import plain
from reports.interference_figures import (
    Figure,
    dictionary_figures,
    roc_figures,
    scatter_figures,
    shape_figures,
    subspace_figures,
)
from reports.interference_words import dictionary_sentence, sentences, speakability_sentences, split_sentence
from reports.library import packed
from reports.render import render_page
from solvers.errors import BadInput

_SCRIPTS = ("decode.js", "marks.js", "numbers.js", "plots.js", "theme-button.js", "interference.js", "start.js")


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
    sentences: tuple[str, ...]
    split: str
    rows: tuple[StatisticRow, ...]
    figures: tuple[Figure, ...]
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
    theory: tuple[tuple[str, str], ...]
    subspaces: str
    subspace_figures: tuple[Figure, ...]
    dictionary: str
    dictionary_figures: tuple[Figure, ...]
    speakability: tuple[str, ...]
    indicators: tuple[IndicatorRow, ...]
    roc_figures: tuple[Figure, ...]
    scatter_figures: tuple[Figure, ...]
    scatter_note: str
    beside: tuple[BesideView, ...]
    method: tuple[tuple[str, str], ...]
    data: str


def write_interference_page(
    run: Path, out: Path | None = None, *, force: bool = True, again: str = RUN_AGAIN
) -> Path:
    """Write the page of a measurement: `interference.html` in the run folder, or `out`.

    `again` says what to do once the reason why it cannot be written is mended.

    Raises:
        BadInput: the run holds no measurement, or a damaged one, or the page cannot be written.
    """
    file = run / PAGE_FILE if out is None else out
    page = interference_page(run)
    write_page(
        file, render_page("interference.html", scripts=_SCRIPTS, plots=True, page=page), force=force, again=again
    )
    return file


def interference_page(run: Path) -> InterferencePage:
    """Build the page's content from a run folder."""
    record = read_result(run)
    try:
        return _page(record)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadInput(
            f"{run / 'interference.json'}: an entry is missing or of another kind ({error}); measure again"
        ) from None


def _page(record: dict[str, Any]) -> InterferencePage:
    titles = {key: control["title"] for key, control in record["controls"].items()}
    cases = [_case(case, record["statistics"], titles) for case in record["cases"]]
    main = tuple(case for case in cases if case.key.startswith("A"))
    found = record["speakability"]
    subspaces = record["theory"]["subspaces"]
    dictionary, roc, scatter = (
        dictionary_figures(record["dictionary"], titles),
        roc_figures(found),
        scatter_figures(found),
    )
    drawn = [figure for case in cases for figure in case.figures]
    drawn += [*subspace_figures(subspaces), *dictionary, *roc, *scatter]
    model = plain.text(record["model"])
    short = model.rstrip("/").rpartition("/")[2] or model
    points = found.get("scatter", {})
    note = f"{points['drawn']:,} of {points['of']:,} tokens with a margin are drawn." if points else ""
    return InterferencePage(
        title=f"How crowded is the output space of {short}?",
        lead=_lead(record),
        warnings=tuple(plain.text(warning) for warning in record["warnings"]),
        left_out=tuple((titles.get(key, key), plain.text(why)) for key, why in record["left_out"].items()),
        main=main,
        others=tuple(case for case in cases if not case.key.startswith("A")),
        controls=tuple((control["title"], control["keeps"]) for control in record["controls"].values()),
        theory=_theory(record["theory"]),
        subspaces=_subspaces(subspaces),
        subspace_figures=tuple(subspace_figures(subspaces)),
        dictionary=dictionary_sentence(record["dictionary"]),
        dictionary_figures=tuple(dictionary),
        speakability=tuple(speakability_sentences(found)),
        indicators=tuple(_indicator(row) for row in found.get("indicators", ())),
        roc_figures=tuple(roc),
        scatter_figures=tuple(scatter),
        scatter_note=note,
        beside=tuple(_beside(other, record["statistics"]) for other in record["beside"]),
        method=_method(record),
        data=packed(json.dumps(drawn).encode()),
    )


def _lead(record: dict[str, Any]) -> str:
    packing = record["theory"]["packing"]
    size = f"{record['v']:,} token directions share {record['d']:,} dimensions."
    if packing["epsilon"] is not None:
        return f"{size} A Johnson–Lindenstrauss packing of so many has interference ε = {packing['epsilon']:.3f}."
    return (
        f"{size} That is past the range of the Johnson–Lindenstrauss relation, which ends at "
        f"{packing['tokens_at_range_end']:.3g} tokens here: strong interference is unavoidable."
    )


def _case(case: dict[str, Any], statistics: list[dict[str, str]], titles: dict[str, str]) -> CaseView:
    rows = []
    for statistic in statistics:
        key = statistic["key"]
        if key not in case["statistics"]:
            continue
        cells = tuple(_cell(control["statistics"].get(key)) for control in case["controls"].values())
        value, chance = _number(case["statistics"][key]), _number(case["chance"].get(key))
        rows.append(StatisticRow(statistic["title"], statistic["words"], value, chance, cells))
    notes = [f"No arrangement of {case['n']:,} rows can have a coherence below {case['least_coherence']:.3f}."]
    if case["epsilon"] is not None:
        notes.append(f"{case['tokens_above_epsilon']:,} tokens have an interferer above ε = {case['epsilon']:.3f}.")
    notes.append(
        f"{case['tokens_above_chance']:,} tokens have an interferer above {case['strongest_by_chance']:.3f}, what a "
        "token's strongest is expected to be by chance."
    )
    return CaseView(
        key=case["rows"] + ("-centred" if case["centred"] else ""),
        title=case["title"][0].upper() + case["title"][1:],
        headings=tuple(titles[kind] for kind in case["controls"]),
        sentences=tuple(sentences(case)),
        split=split_sentence(case),
        rows=tuple(rows),
        figures=tuple(shape_figures(case, titles)),
        notes=tuple(notes),
    )


def _cell(band: dict[str, Any] | None) -> tuple[str, str]:
    if band is None:
        return "–", ""
    if band["z"] is None:
        return _number(band["mean"]), "all draws agree"
    size = band["z"]
    words = f"{size:+.1f}" if abs(size) < 100 else f"{size:+.0f}"
    return _number(band["mean"]), f"z {words}".replace("-", "−")


def _theory(found: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    packing, bounds = found["packing"], found["bounds"]
    rows = [
        (
            "interference ε(V, d)",
            f"{packing['epsilon']:.4f}" if packing["epsilon"] is not None else "none: out of range",
        ),
        ("the same without the cubic term", f"{packing['uncorrected']:.4f}"),
        ("end of the range", f"{_number(packing['tokens_at_range_end'])} tokens in {found['d']:,} dimensions"),
        ("dimensions for ε < 1", f"{_number(packing['dimensions_at_range_end'])} for {found['n']:,} tokens"),
    ]
    rows += [
        (
            f"at ε = {row['epsilon']:g}",
            f"{_number(row['dimensions_needed'])} dimensions needed; {_number(row['tokens_that_fit'])} tokens fit",
        )
        for row in packing["at_epsilon"]
    ]
    names = {
        "welch": "Welch",
        "orthoplex": "orthoplex",
        "levenshtein": "Levenshtein",
        "sidelnikov": "Welch, best order",
    }
    rows += [(f"{names[key]} bound on coherence", f"{value:.4f}") for key, value in bounds.items()]
    rows.append(("coherence of random directions", f"{found['chance']['coherence']:.4f}"))
    rows.append(("a random token's strongest |cos|", f"{found['chance']['strongest']:.4f}"))
    return tuple(rows)


def _subspaces(found: dict[str, Any]) -> str:
    if found.get("reason"):
        return f"{found['reason'][0].upper()}{found['reason'][1:]}."
    transition = found["transition"]
    if not found["reaches_one"]:
        return (
            f"So few tokens leave so much room that interference never reaches 1; the range of k ends at "
            f"{found['k_end']:.4g}, where a subspace holds e tokens."
        )
    return (
        f"The range of k ends at {found['k_end']:.4g}. The interior optimum is the lowest point up to α = "
        f"{transition['lowest']:.3f} and disappears at α = {transition['vanishes']:.3f}; beyond, k = 1 is best."
    )


def _indicator(row: dict[str, Any]) -> IndicatorRow:
    rho = row["correlation"]
    words = "–" if rho is None else f"{rho['rho']:+.2f} ({rho['low']:+.2f} to {rho['high']:+.2f})".replace("-", "−")
    return IndicatorRow(indicator_title(row), _area(row["unspeakable"]), _area(row["hard_to_speak"]), words)


def _area(found: dict[str, Any] | None) -> str:
    return "–" if found is None else f"{found['auc']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _beside(other: dict[str, Any], statistics: list[dict[str, str]]) -> BesideView:
    case = next(case for case in other["cases"] if case["rows"] == "A" and case["centred"])
    rows = tuple((s["title"], _number(case["statistics"].get(s["key"]))) for s in statistics)
    indicators = tuple(_indicator(row) for row in other["speakability"].get("indicators", ()))
    return BesideView(f"{plain.text(other['model'])} ({plain.text(other['run'])})", rows, indicators)


def _method(record: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("model", plain.text(record["model"])),
        ("fingerprint", plain.text(record["fingerprint"])),
        ("draws of each control", plain.text(record["settings"]["seeds"])),
        ("left out", plain.text(record["settings"]["without"])),
        ("time", plain.seconds(record["seconds"])),
        ("peak memory", plain.size(record["peak_memory_bytes"])),
        ("finished", plain.text(record["finished"])),
        ("command", " ".join(record["command"])),
        ("versions", plain.text(record["versions"])),
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1e4 and abs(value) < 1e9 else f"{value:.4g}".replace("-", "−")
