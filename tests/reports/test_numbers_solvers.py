"""Every number on the page of solvers, counted again from its files; and a page of other files is found out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import real_runs
from page_text import Block, Bound, Ledger
from recount import Cells, Row, change_record, numbers, page_of, record_of, seconds, setting, wilson


def check_solvers(page: Path, run: Path) -> None:
    record, said = record_of(run, "solvers.json"), Ledger(page)
    problems = record["problems"]
    words = {
        "model": "the model's own head",
        "gaussian": "rows of the same size",
        "covariance": "same covariance and norms",
    }
    for at, (name, title) in enumerate(words.items()):
        problem = problems[name]
        grades = ranked(problem["grades"])
        constants = (95, 2, 3, 11, 20)
        said.says(
            "backends", f"^On .*{title}", problem["sample"]["size"], *problem["sample"]["strata"].values(), *constants
        )
        said.rows("backends", at, [grade_cells(one) for one in grades])
    first, second = ranked(problems["model"]["grades"])
    low, next_low = (wilson(one["verified"], one["given"])[0] for one in (first, second))
    said.says(
        "answer-title", "^2 backends were given", len(problems["model"]["grades"]),
        problems["model"]["sample"]["size"], first["verified"], first["given"], Bound(low), 95,
        first["seconds_median"],
        second["verified"], second["given"], Bound(next_low),
    )  # fmt: skip
    for one in (first, second):
        said.says("backends", rf"(^|that ){one['backend']} (gave up|called)", *told(one))
    # Who disagrees with whom
    apart = problems["model"]["disagreements"]
    table = [
        [None, *([] if a == b else [count] for b, count in enumerate(row))] for a, row in enumerate(apart["counts"])
    ]
    said.rows("disagreements", 0, table)
    # Planted heads
    detection = record["detection"]
    heads = {(one["v"], one["d"]) for one in detection}
    said.prose("limits", "^Heads were built")
    for block in said.blocks("limits", "p", "summary"):
        assert tuple(one.value for one in block.numbers) in heads
        said.agree(block, [one.value for one in block.numbers])
    cells: list[Cells] = []
    for one in detection:
        budget = [] if one["iterations"] is None else [one["iterations"]]
        both = [numbers(one[kind]["statement"]) for kind in ("speakable", "unspeakable")]
        assert all(limit_of(one[kind]) == one[kind]["limit"] for kind in ("speakable", "unspeakable"))
        cells.append([None, [one["v"], one["d"]], budget, [one["tried"], one["plants"]], *both, [one["misclaimed"]]])
    said.rows("limits", 0, sorted_like(said.parts["limits"].tables[0], cells))
    check_hidden(said, record["hidden"])
    said.says("time", "Tokens that every backend was given", problems["model"]["profile"]["tokens"])
    check_domains(said, record)
    # How it was done
    names = record["settings"]["backends"]
    options = [one for one in record["settings_map"] if one["backend"] in names]
    said.rows(
        "method",
        0,
        [[None, None, numbers(str(one["value"])), None, numbers(str(one["tightest"]))] for one in options],
    )
    known = [one for one in record["backends"] if one["name"] in names]
    said.rows("method", 1, [[None, None, None, None, None, numbers(one["note"] or "")] for one in known])
    said.facts("method", {
        "Fingerprint of A and c": record["fingerprint"], "Vocabulary × width": [record["v"], record["d"]],
        "Domain": record["domain"], "Started": record["started"], "Took": seconds(record["seconds"]),
        "At most, by its options": seconds(record["longest"]), "Cores": [record["hardware"]["cores"]],
        **{name: setting(value) for name, value in record["settings"].items()}, **record["versions"],
    })  # fmt: skip
    assert said.rest == []


def ranked(grades: list[Row]) -> list[Row]:
    """The strongest first: by what the share of solved and verified tokens is at least, then by time."""
    return sorted(grades, key=lambda one: (-wilson(one["verified"], one["given"])[0], one["seconds_median"]))


def grade_cells(one: Row) -> Cells:
    right = [one["right"], one["claims"], *wilson(one["right"], one["claims"])] if one["claims"] else None
    return [
        None, [one["verified"], one["given"], *wilson(one["verified"], one["given"])], right,
        [one["false_unspeakable"]],
        [one["false_speakable"]], [len(one["gave_up"]["proved_speakable"])], [one["limit_hit"]],
        list(one["failures"].values()) or [0], [one["seconds_median"]],
        None if one["gap_median"] is None else [one["gap_median"]],
    ]  # fmt: skip


def told(one: Row) -> list[float]:
    """The numbers of the sentence on a backend: of what it gave up on, or else called unspeakable."""
    left = [len(one["gave_up"][kind]) for kind in ("proved_speakable", "proved_unspeakable", "open")]
    if sum(left):
        return [sum(left), one["given"], *left]
    called = [len(one["called_unspeakable"][kind]) for kind in ("proved_speakable", "proved_unspeakable", "open")]
    return [sum(called), *called] if sum(called) else [one["given"]]


def limit_of(one: Row) -> float | None:
    """The smallest margin down to which nothing was missed."""
    limit = None
    for cell in sorted(one["recall"], key=lambda cell: -cell["level"]):
        if cell["found"] < cell["tried"]:
            return limit
        limit = cell["level"]
    return limit


def sorted_like(table: list[list[Block]], cells: list[Cells]) -> list[Cells]:
    """Rows in the order of a table that may sort them otherwise: by budget and size, which tell them apart."""
    found = [next((one for one in cells if fits(row, one)), None) for row in table if row[-1].tag == "td"]
    assert None not in found, table
    return [one for one in found if one is not None]


def fits(row: list[Block], cells: Cells) -> bool:
    said = [[one.value for one in cell.numbers] for cell in row]
    return all(
        values is None or len(found) == len(values) for found, values in zip(said, cells, strict=True)
    ) and all(
        one.stands_for(exact)
        for cell, values in zip(row, cells, strict=True)
        for one, exact in zip(cell.numbers, values or (), strict=True)
    )


def check_hidden(said: Ledger, hidden: list[Row]) -> None:
    cells: list[Cells] = []
    for one in hidden:
        (chao,) = one["estimates"]
        once, twice = chao["once"], chao["twice"]
        # Chao's lower bound, from what was found once and twice, corrected for bias
        rest = once * (once - 1) / (2 * (twice + 1)) * (chao["samples"] - 1) / chao["samples"]
        assert chao["estimate"] == pytest.approx(one["found"] + rest, rel=1e-3)
        cells.append([
            None, [one["restarts"], *numbers(one["budget"])], [one["found"]], [chao["estimate"]],
            [chao["low"], chao["high"]], [one["truth"]], None,
        ])  # fmt: skip
    said.rows("hidden", 0, cells)
    said.prose("hidden", "95 % interval")


def check_domains(said: Ledger, record: Row) -> None:
    domains = record["domains"]
    kinds = ["speakable", "own-direction", "hard-to-speak", "unspeakable"]
    words = {"free": [], "box:-100,100": [-100.0, 100.0], "ball:sqrt(8)": [8.0, math.sqrt(8)]}
    table = said.parts["domains"].tables[0]
    shown = [one.words for one in table[0]][1:]
    assert set(shown) <= {*kinds, "tied", "undecided"}
    verdicts = by_size(domains)
    said.rows("domains", 0, [[words[name], *([verdicts[name].get(kind, 0)] for kind in shown)] for name in verdicts])
    for pair in domains["pairs"]:
        matrix = np.array(pair["matrix"])
        changed = int(matrix.sum() - np.trace(matrix))
        assert changed == pair["changed"] == pair["verdict_changed"] + pair["way_changed"]
        parts = [pair["verdict_changed"], pair["way_changed"]]
        counts = [changed, *(part for part in parts if part)] if changed else []
        said.says("domains", "^From .* to ", *words[pair["first"]], *words[pair["second"]], *counts)
        mine = [one for one in domains["changes"] if (one["first"], one["second"]) == (pair["first"], pair["second"])]
        for one in mine:
            assert one["count"] == len(one["tokens"])
            said.says("domains", f"{one['before']}: {one['after']} over", one["count"], *words[one["second"]])


def by_size(domains: Row) -> Row:
    """Verdicts by domain, in the order of the page: from the largest domain to the smallest."""
    return {name: domains["verdicts"][name] for name in ("free", "box:-100,100", "ball:sqrt(8)")}


def test_the_page_of_solvers():
    run = real_runs.compared()
    check_solvers(page_of(run, "solvers.html"), run)


CHANGES: dict[str, Callable[[Path], None]] = {
    "what was verified": change_record("solvers.json", "problems", "gaussian", "grades", 0, "verified", by=-1),
    "a median time": change_record("solvers.json", "problems", "model", "grades", 0, "seconds_median", by=0.001),
    "a planted head's false claims": change_record("solvers.json", "detection", 3, "misclaimed", by=1),
    "an option": change_record("solvers.json", "settings", "sample", by=1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_page_of_other_numbers_is_found_out(tmp_path: Path, name: str):
    run = real_runs.copied(real_runs.compared(), tmp_path / "run")
    CHANGES[name](run)
    with pytest.raises(AssertionError):
        check_solvers(page_of(run, "solvers.html"), real_runs.compared())
