"""Every number on the page of interference, held against its file; and a page of another file is found out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import real_runs
from page_text import Block, Ledger, memory
from recount import Row, change_record, numbers, page_of, record_of, seconds


def check_interference(page: Path, run: Path) -> None:
    record, said = record_of(run, "interference.json"), Ledger(page)
    v, d = record["v"], record["d"]
    theory, cases = record["theory"], record["cases"]
    plain = next(case for case in cases if case["rows"] == "A" and not case["centred"])
    floor, chance = theory["bounds"]["levenshtein"], theory["chance"]["coherence"]
    said.says("answer-title", "^70 token directions", v, d, v / d, floor, chance, plain["statistics"]["coherence"])
    indicators = record["speakability"]["indicators"]
    for kind, name in (("unspeakable", "unspeakable"), ("hard-to-speak", "hard_to_speak")):
        # An area below one half tells as well as its mirror image
        areas = sorted(
            ((auc if auc >= 0.5 else 1 - auc), *((low, high) if auc >= 0.5 else (1 - high, 1 - low)))
            for auc, low, high in ((one[name]["auc"], one[name]["low"], one[name]["high"]) for one in indicators)
        )
        most, low, high = areas[-1]
        equal = [area for area, *_ in areas if area >= low]
        count = indicators[0][name]["positives"]
        said.says(
            "answer-title", f"{kind} tokens equally well", len(equal), count, equal[0], most, 95, low, high, 0.5, 1
        )
    for warning in record["warnings"]:
        said.says("answer-title", re.escape(warning[-60:]), *numbers(warning.rpartition("/")[2]))
    said.prose("chance", "none is given beyond 100")
    controls = list(record["controls"])
    titles = [one["title"] for one in record["statistics"]]
    order = sorted(cases, key=lambda case: ["A", "W", "E"].index(case["rows"]))
    for case in order:
        check_case(said, case, record["statistics"], controls)
    tables = [table for table in said.parts["chance"].tables if len(table[0]) > 2]
    assert len(tables) == len(cases)
    for case, table in zip(order, tables, strict=True):
        check_statistics(said, case, record["statistics"], controls, table[1:])
    # Theory
    bounds = theory["bounds"]
    packing = theory["packing"]
    end, needed = packing["tokens_at_range_end"], packing["dimensions_at_range_end"]
    assert bounds["welch"] == pytest.approx(math.sqrt((v - d) / (d * (v - 1))))
    said.facts("theory", {
        "Welch bound on coherence": [bounds["welch"]], "orthoplex bound on coherence": [1 / math.sqrt(d)],
        "Levenshtein bound on coherence": [floor], "Welch (best order) bound on coherence": [bounds["sidelnikov"]],
        "coherence of random directions": [chance],
        "a random token's strongest |cos|": [theory["chance"]["strongest"]],
        "the same without the cubic term": [packing["uncorrected"]], "end of the range": [end, d],
        "sufficient for ε < 1": [needed, v],
        **{f"sufficient for ε = {one['epsilon']:g}": [one["dimensions_needed"], v] for one in packing["at_epsilon"]},
    })  # fmt: skip
    names = [
        row[0] for table in said.parts["theory"].tables for row in table if row[0].words.startswith("sufficient")
    ]
    for name, epsilon in zip(names, [1, *(one["epsilon"] for one in packing["at_epsilon"])], strict=True):
        said.agree(name, [epsilon])
    said.says("theory", "^This relation is a sufficient condition", d, d)
    said.says("theory", "^The subspace model has no valid k", *numbers(theory["subspaces"]["reason"]))
    assert numbers(theory["subspaces"]["reason"])[:2] == [v, d]
    check_dictionary(said, record["dictionary"])
    check_speakability(said, record, titles)
    said.facts("method", {
        "fingerprint": record["fingerprint"], "draws of each control": [record["settings"]["seeds"]],
        "time": seconds(record["seconds"]), "peak memory": memory(record["peak_memory_bytes"]),
        "finished": record["finished"],
        "versions": ", ".join(f"{name}: {version}" for name, version in record["versions"].items()),
        "command": [part for word in record["command"] if "/" not in word for part in numbers(word)],
    })  # fmt: skip
    assert said.rest == []


def check_case(said: Ledger, case: Row, statistics: list[Row], controls: list[str]) -> None:
    own, chance = case["statistics"], case["chance"]
    both = ("mean", "mean_strongest")
    said.says("chance", "^On average two tokens overlap", *(of[key] for key in both for of in (own, chance)))
    starts = {
        "gaussian": "of the same shape",
        "covariance": "mean, covariance and",
        "permuted": "columns, each",
        "reinitialised": "before",
    }
    for kind in controls:
        drawn = case["controls"][kind]["statistics"]
        said.says(
            "chance", f"^Against .*{starts[kind]}", *(one for key in both for one in (own[key], drawn[key]["mean"]))
        )
    if (excess := explained(case)) is not None:
        said.says("chance", "^Of the mean .cos. in excess", *excess)
    said.says("chance", "^No arrangement of", case["n"], case["least_coherence"])
    said.says("chance", "have an interferer above", case["tokens_above_chance"], case["strongest_by_chance"])
    blocks, fit = case["blocks"], case["subspaces"]
    assert blocks["k"] == 1
    said.says(
        "chance",
        "^No split:",
        blocks["rows"],
        blocks["connectivity"],
        0,
        fit["k_moments"],
        1,
        *numbers(fit["reason"]),
    )


def explained(case: Row) -> list[float] | None:
    """The share of the excess over Gaussian rows that their covariance makes, where the excess is certain."""
    gaussian, covariance = (case["controls"][kind]["statistics"]["mean"] for kind in ("gaussian", "covariance"))
    if gaussian["z"] is None or gaussian["z"] < 3 or case["statistics"]["mean"] <= gaussian["mean"]:
        return None
    part = (covariance["mean"] - gaussian["mean"]) / (case["statistics"]["mean"] - gaussian["mean"])
    return [100 * part] if part < 0.995 else []


def check_statistics(
    said: Ledger, case: Row, statistics: list[Row], controls: list[str], rows: list[list[Block]]
) -> None:
    assert [row[0].words for row in rows] == [one["title"] for one in statistics]
    for one, (title, own, chance, *drawn) in zip(statistics, rows, strict=True):
        said.agree(title, numbers(one["title"]))
        for cell, source in ((own, case["statistics"]), (chance, case["chance"])):
            value = source.get(one["key"])
            said.agree(cell, [] if value is None else [value])
        for kind, cell in zip(controls, drawn, strict=True):
            band = case["controls"][kind]["statistics"].get(one["key"])
            z = [] if band is None or band["z"] is None else [math.copysign(min(abs(band["z"]), 100), band["z"])]
            said.agree(cell, [] if band is None else [band["mean"], *z])


def check_dictionary(said: Ledger, found: Row) -> None:
    own, drawn = found["model"], found["controls"]["covariance"]
    at = len(own["sparsity"]) // 2
    means = [100 * np.mean([one[kind][at] for one in drawn]) for kind in ("dictionary", "svd")]
    said.says(
        "dictionary", "^With", own["sparsity"][at], own["atoms"], 100 * own["dictionary"][at], own["svd_directions"],
        100 * own["svd"][at], *means,
    )  # fmt: skip
    said.says("dictionary", "^dictionary,", own["atoms"])
    said.says("dictionary", "^SVD,", own["svd_directions"])


def check_speakability(said: Ledger, record: Row, titles: list[str]) -> None:
    found = record["speakability"]
    said.prose("speakability", "^An area of 1 means")

    def area(one: Row) -> list[float]:
        return [one["auc"], one["low"], one["high"]]

    said.rows("speakability", 0, [
        [
            None, area(one["unspeakable"]), area(one["hard_to_speak"]),
            [one["correlation"][key] for key in ("rho", "low", "high")],
        ]
        for one in found["indicators"]
    ])  # fmt: skip
    scatter = found["scatter"]
    assert len(scatter["token_id"]) == scatter["drawn"]
    said.says("speakability", "tokens with a margin are drawn", scatter["drawn"], scatter["of"])
    (other,) = record["beside"]
    case = next(case for case in other["cases"] if case["rows"] == "A" and case["centred"])
    values = {one["title"]: case["statistics"].get(one["key"]) for one in record["statistics"]}
    said.facts("speakability", {title: "–" if value is None else [value] for title, value in values.items()})
    assert titles == list(values)


def test_the_page_of_interference():
    run = real_runs.measured()
    check_interference(page_of(run, "interference.html"), run)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a mean cosine": change_record("interference.json", "cases", 3, "statistics", "mean", by=0.001),
    "a control's mean": change_record(
        "interference.json", "cases", 1, "controls", "permuted", "statistics", "q99", "mean", by=0.001
    ),
    "an area": change_record("interference.json", "speakability", "indicators", 4, "hard_to_speak", "auc", by=0.002),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_page_of_other_numbers_is_found_out(tmp_path: Path, name: str):
    run = real_runs.copied(real_runs.measured(), tmp_path / "run")
    CHANGES[name](run)
    with pytest.raises(AssertionError):
        check_interference(page_of(run, "interference.html"), real_runs.measured())
