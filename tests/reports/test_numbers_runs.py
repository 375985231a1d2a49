"""Every number on the pages of several runs, counted again from their files."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import real_runs
from page_text import Bound, Ledger
from recount import Cells, Row, Scan, change_record, numbers, percent, seconds

from reports.write import write_reports


def check_index(page: Path, runs: list[Path]) -> None:
    """Of whole vocabularies over all that the norm can put out, each run by itself."""
    said = Ledger(page)
    scans = [Scan(run) for run in runs]
    models = {scan.record["model"] for scan in scans}
    said.says("answer-title", "finished scans", len(scans), len(models))
    cells: list[Cells] = []
    for scan in scans:
        record, counts, asked = scan.record, scan.counts, len(scan.asked)
        cells.append([
            None, None, [record["v"]], [record["d"]], None, [asked],
            [counts["unspeakable"], percent(counts["unspeakable"], asked)], [counts["hard-to-speak"]],
            [counts["nearly never"], finest(scan)], [counts["tied"]], [counts["undecided"]], None, radius(record),
            numbers(started(record)),
        ])  # fmt: skip
    said.rows("runs", 0, cells)
    said.says("families", "scans over all that", len(scans))
    open_ones = sum(scan.counts["undecided"] > 0 for scan in scans)
    if open_ones:
        said.says("families", "with undecided tokens", open_ones)
    said.says("families", "The year is not known", len(scans), len(scans))
    for scan in scans:
        check_card(said, scan)
    assert said.rest == []


def check_card(said: Ledger, scan: Scan) -> None:
    record, asked = scan.record, len(scan.asked)
    counts = scan.counts | {
        "nearly never in bfloat16": scan.counts["nearly never"], "nearly never in float32": finest(scan),
    }  # fmt: skip
    for name, count in counts.items():
        if name != "nearly never":
            said.says("models", f"^{name} [0-9]", count, percent(count, asked))
    said.says("models", "[0-9] × ", record["v"], record["d"])
    said.says("models", "open ball of radius", *radius(record))
    said.says("models", started(record)[:10], *numbers(started(record)))


def finest(scan: Scan) -> int:
    return sum(row["nearly_never"] == "float32" for row in scan.asked)


def radius(record: Any) -> list[float]:
    return [record["squared_radius"], math.sqrt(record["squared_radius"])]


def started(record: Any) -> str:
    return str(record["started"]).replace("T", " ")[:16]


def class_of(row: Row) -> str:
    if row["verdict"] == "speakable":
        return "own-direction" if row["own_direction"] else "hard-to-speak"
    return row["verdict"] or "not asked for"


CLASSES = ["own-direction", "hard-to-speak", "tied", "unspeakable", "undecided", "not asked for"]


def check_compare(page: Path, runs: list[Path]) -> None:
    said = Ledger(page)
    scans = [Scan(run) for run in runs]
    said.says("", "runs side by side", len(runs))
    said.says("answer-title", "runs side by side", len(runs))
    never = [(len(scan.of("unspeakable")), len(scan.asked)) for scan in scans]
    said.says(
        "answer-title",
        "tokens unspeakable",
        *(part for count, of in never for part in (count, of, percent(count, of))),
    )
    cells: list[Cells] = []
    for scan in scans:
        counts, record = scan.counts, scan.record
        evidence = Counter(row["evidence"] for row in scan.asked if row["evidence"] is not None)
        cells.append([
            None, [len(scan.asked)], [counts["unspeakable"], percent(counts["unspeakable"], len(scan.asked))],
            [counts["hard-to-speak"]], [counts["own-direction"]], [counts["nearly never"], finest(scan)],
            [counts["tied"]], [counts["undecided"]], radius(record),
            [evidence[name] for name in ("float64", "rigorous", "exact") if evidence[name]],
            seconds(record["seconds"]),
        ])  # fmt: skip
    said.rows("counts", 0, cells)
    for at, other in enumerate(scans[1:]):
        check_pair(said, f"pair-{at}", scans[0], other)
    assert said.rest == []


def check_pair(said: Ledger, part: str, first: Scan, other: Scan) -> None:
    pairs = list(zip(first.rows, other.rows, strict=True))
    moved = [(one, two) for one, two in pairs if class_of(one) != class_of(two)]
    verdict = [pair for pair in moved if pair[0]["verdict"] != pair[1]["verdict"]]
    way = len(moved) - len(verdict)
    lead = [len(pairs), *([len(moved)] if moved else []), *(part for part in (len(verdict), way) if part)]
    for where in ("answer-title", part):
        said.says(where, "have the same vocabulary", *lead)
    matrix = Counter((class_of(one), class_of(two)) for one, two in pairs)
    seen = [name for name in CLASSES if any(name in pair for pair in matrix)]
    said.rows(part, 0, [[None, *([matrix[one, two]] for two in seen)] for one in seen])
    if verdict:
        said.says(part, "^Red:", len(verdict))
    margins = sum(
        all(row["margin_lower"] is not None or row["margin_upper"] is not None for row in pair) for pair in pairs
    )
    said.says(part, "dots drawn", margins, margins)
    said.says(part, "No margin has certainly moved", margins)
    if moved:
        ends = [
            [[Bound(end) for end in (row["margin_lower"], row["margin_upper"]) if end is not None] for row in pair]
            for pair in verdict
        ]
        said.rows(
            part,
            1,
            [[[first.rows.index(one)], None, None, *both] for (one, _), both in zip(verdict, ends, strict=True)],
        )


def written(target: Path, *runs: Path) -> Path:
    """A page of several runs."""
    return write_reports(list(runs), target)[0]


def test_the_page_of_several_runs(tmp_path: Path):
    runs = [real_runs.scanned_with_margins(), real_runs.scanned(), real_runs.scanned_in_no_time()]
    check_compare(written(tmp_path / "compare.html", *runs), runs)


def test_the_index(tmp_path: Path):
    made = [real_runs.scanned_with_margins(), real_runs.scanned_in_no_time()]
    runs = [real_runs.copied(run, tmp_path / "runs" / name) for name, run in zip("ab", made, strict=True)]
    check_index(write_reports([], tmp_path / "index.html", index=tmp_path / "runs")[0], runs)


def test_a_page_of_other_runs_is_found_out(tmp_path: Path):
    made = [real_runs.scanned_with_margins(), real_runs.scanned_in_no_time()]
    runs = [real_runs.copied(run, tmp_path / "runs" / name) for name, run in zip("ab", made, strict=True)]
    change_record("manifest.json", "seconds", by=1.0)(runs[1])
    with pytest.raises(AssertionError):
        check_compare(written(tmp_path / "compare.html", *runs), made)
    with pytest.raises(AssertionError):
        check_index(write_reports([], tmp_path / "index.html", index=tmp_path / "runs")[0], made[:1] * 2)
