"""A search over a model's inputs as view rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.search.levels import WORDS
from reach.search.stored import read_result, read_table
from reach.search.summary import unchecked_words, unfound_of
from reports import plain
from reports.library import packed
from reports.method import Facts
from reports.scan_page import model_name
from reports.search_data import search_data

_LEVEL_NAMES = {
    "head": "Head",
    "free": "Free embeddings",
    "norm": "Norm range",
    "hull": "Convex hull",
    "tokens": "Real tokens",
    "text": "Text",
}


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
    low: str
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
    methods: tuple[str, ...]
    contests: tuple[ContestRow, ...]
    credited: int
    repeat: tuple[RepeatRow, ...]
    repeat_words: str | None
    notes: tuple[str, ...]
    replay: str
    run: Facts
    settings: Facts
    versions: Facts
    data: str


def search_page(run: Path) -> SearchPage:
    """Build the page's content.

    Raises:
        BadInput: the folder holds no readable search.
    """
    found = read_result(run)
    columns = read_table(run).to_pydict()
    data = search_data(run, found, columns)
    name = model_name(found.get("model"))
    strength = plain.mapping(found["strength"])
    curves = strength.get("curves", [])
    methods = tuple(dict.fromkeys(one["method"] for one in curves))
    return SearchPage(
        title=f"What {name} can be made to say",
        lead=_lead(found),
        alarm=_alarm(found),
        has_verdicts=any(row["level"] == "head" for row in found["funnel"]),
        funnel=_funnel(found["funnel"]),
        failed=_failed(columns, found["levels"]),
        planted=tuple(_planted(one) for one in strength.get("planted", ())),
        runs=tuple(_runs(one) for one in strength.get("runs", ())),
        unfound=tuple(_unfound(one) for one in unfound_of(found)),
        methods=methods,
        contests=_contests(curves, methods),
        credited=int(strength.get("credited", 0)),
        repeat=_repeat(found["repeat"]),
        repeat_words=_repeat_words(found["repeat"]),
        notes=_notes(found),
        replay=_replay(found),
        run=_run_facts(found),
        settings=tuple(plain.flat(plain.mapping(found.get("settings")))),
        versions=tuple(plain.flat(plain.mapping(found.get("versions")))),
        data=packed(json.dumps(data, allow_nan=False).encode("ascii")),
    )


def _lead(found: Mapping[str, Any]) -> str:
    rows = {row["level"]: row["tokens"] for row in found["funnel"]}
    asked = rows["asked"]
    last = next((level for level in ("text", "tokens") if level in rows), None)
    start = f"Of {plain.plural(asked, 'token')}, "
    if "head" in rows:
        start += f"the head proves {plain.count(asked - rows['head'])} unspeakable. Of the others, "
    ends = [level for level in ("free", last) if level in rows and level is not None]
    parts = [f"{plain.count(rows[level])} were said after {WORDS[level]}" for level in ends]
    return start + (", ".join(parts) if parts else "none was searched for") + "."


def _alarm(found: Mapping[str, Any]) -> str | None:
    wrong = found["contradictions"]
    if not wrong:
        return None
    return (
        f"Contradiction: {plain.plural(len(wrong), 'hit')} of tokens that the head proves unspeakable (ids "
        f"{', '.join(str(one['token_id']) for one in wrong[:10])}). The proof, the head that was read, or the live "
        "model is wrong."
    )


def _funnel(rows: list[Mapping[str, Any]]) -> tuple[FunnelRow, ...]:
    top = max(1, rows[0]["tokens"])
    return tuple(
        FunnelRow(
            _LEVEL_NAMES.get(row["level"], "Asked for"),
            row["words"],
            plain.count(row["tokens"]),
            row["tokens"] / top,
            plain.count(row["lost"]),
        )
        for row in rows
    )


def _failed(columns: Mapping[str, list[Any]], levels: list[str]) -> tuple[FailedRow, ...]:
    rows = []
    for level in ("head", *levels):
        tokens = [token for token, first in enumerate(columns["first_failed"]) if first == level]
        shown = tuple((token, _name(columns, token)) for token in tokens[:60])
        words = "proved unspeakable" if level == "head" else f"not found with {WORDS[level]}"
        if level != "head" or tokens:
            more = len(tokens) - len(shown)
            rows.append(FailedRow(_LEVEL_NAMES[level], words, plain.count(len(tokens)), shown, more))
    return tuple(rows)


def _name(columns: Mapping[str, list[Any]], token: int) -> str:
    text = columns["text"][token]
    text = columns["token"][token] if text is None else text
    return f"#{token}" if text is None else str(text)


def _planted(one: Mapping[str, Any]) -> PlantedRow:
    words, interval = _rate(one["all"])
    rare, rare_interval = _rate(one["rare"])
    return PlantedRow(_LEVEL_NAMES[one["level"]], int(one["length"]), words, interval, rare, rare_interval)


def _rate(rate: Mapping[str, Any] | None) -> tuple[str, str]:
    if rate is None:
        return "–", ""
    return f"{rate['found']} of {rate['tried']}", f"{100 * rate['low']:.1f}–{100 * rate['high']:.1f} %"


def _runs(one: Mapping[str, Any]) -> RunsRow:
    words, interval = _rate(one["recall"])
    chao = one["chao2"]
    return RunsRow(
        level=_LEVEL_NAMES[one["level"]],
        length=int(one["length"]),
        found=f"{', '.join(map(str, one['found']))} of {one['sample']}",
        recall=words,
        interval=interval,
        known=plain.count(max(one["known"], one["union"])),
        reachable="–" if chao is None else f"{chao['estimate']:.0f}",
        reachable_interval="" if chao is None else f"{chao['low']:.0f}–{_most(chao['high'], one['sample'])}",
    )


def _unfound(one: Mapping[str, Any]) -> UnfoundRow:
    name = _LEVEL_NAMES[one["level"]]
    if one["at_least"] is None:
        return UnfoundRow(name, plain.count(one["found"]), "–", "–", f"Too weak to say: {one['too_weak']}.")
    if one["by"] is None:
        words = "All that the head allows are found."
    elif not one["at_least"]:
        words = "The runs show no sign of more."
    elif one["by"] == one["level"]:
        words = "By the independent runs."
    else:
        words = f"By the runs of “{_LEVEL_NAMES[one['by']]}”: what is reachable there is reachable here."
    return UnfoundRow(name, plain.count(one["found"]), plain.count(one["at_least"]), plain.count(one["low"]), words)


def _contests(curves: list[Mapping[str, Any]], methods: tuple[str, ...]) -> tuple[ContestRow, ...]:
    """One row per level and length, a cell per method."""
    places: dict[tuple[str, int], dict[str, int]] = {}
    sample = {}
    for one in curves:
        place = (one["level"], one["length"])
        places.setdefault(place, {})[one["method"]] = one["points"][-1][2]
        sample[place] = plain.count(one["sample"])
    rows = []
    for (level, length), found in places.items():
        best = max(found.values())
        cells = tuple(
            (plain.count(found[one]), found[one] == best) if one in found else ("–", False) for one in methods
        )
        rows.append(ContestRow(_LEVEL_NAMES[level], int(length), sample[level, length], cells))
    return tuple(rows)


def _most(value: float | None, limit: int) -> str:
    return str(limit) if value is None or value > limit else f"{value:.0f}"


def _repeat(found: Mapping[str, Any] | None) -> tuple[RepeatRow, ...]:
    if found is None:
        return ()
    asked = plain.count(found["asked"])
    return tuple(
        RepeatRow(form["name"], form["text"], f"{plain.count(found['top'][form['name']])} of {asked}")
        for form in found["forms"]
    )


def _repeat_words(found: Mapping[str, Any] | None) -> str | None:
    if found is None or found["failed_all"] is None:
        return None
    return (
        f"{plain.count(found['failed_all'])} of {plain.plural(found['asked'], 'token')} that the head allows are "
        "repeated in no form."
    )


def _replay(found: Mapping[str, Any]) -> str:
    one = found["replay"]
    text = (
        f"{plain.plural(one['replayed'], 'witness', 'witnesses')} run again alone, unbatched, in float32: "
        f"{plain.count(one['failed'])} did not replay and count for nothing."
    )
    if found["dtype"] != "float32":
        text += f" In {found['dtype']}, the model's own dtype, {plain.count(one['own_failed'])} do not hold."
    if one.get("unchecked"):
        text += f" {unchecked_words(one['unchecked'])}."
    return text


def _notes(found: Mapping[str, Any]) -> tuple[str, ...]:
    notes = [str(one) for one in found["warnings"]]
    if found["incomplete"]:
        notes.append(f"Time ran out in: {'; '.join(found['incomplete'])}.")
    if found["batch_shrunk"]:
        notes.append(f"Memory ran out {found['batch_shrunk']} times; smaller batches were used.")
    skipped = plain.mapping(plain.mapping(found["repeat"]).get("skipped"))
    return tuple(notes + [f"Repeat test, {name}: {reason}." for name, reason in skipped.items()])


def _run_facts(found: Mapping[str, Any]) -> Facts:
    hardware = plain.mapping(found.get("hardware"))
    return (
        ("Model", plain.text(found.get("model"))),
        ("Vocabulary × width of the input", f"{plain.count(found.get('v'))} × {plain.count(found.get('d'))}"),
        ("The model's own dtype", plain.text(found.get("dtype"))),
        ("Inputs tried", plain.count(sum(found["inputs"].values()))),
        ("Budget", plain.seconds(plain.mapping(found.get("settings")).get("budget"))),
        ("Search took", plain.seconds(found.get("search_seconds"))),
        ("All together", plain.seconds(found.get("seconds"))),
        ("Finished", plain.text(found.get("finished"))),
        ("Processor", plain.text(hardware.get("cpu"))),
        ("Cores", plain.count(hardware.get("cores"))),
        ("GPU", "none" if "gpu" in hardware and not hardware["gpu"] else plain.text(hardware.get("gpu"))),
    )
