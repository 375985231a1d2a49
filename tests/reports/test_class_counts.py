"""Real runs held against each other: every number in terminal, JSON and page adds up to one matrix."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reach.cli import main
from reach.runs.folder import RunFolder
from reports.compare_page import ComparePage, compare_page
from reports.compare_report import write_compare_report
from reports.diff_lines import diff_lines, diff_record

ROWS = 150


def scan(folder: Path, name: str, rows: np.ndarray, *options: str) -> Path:
    rng = np.random.default_rng(8)
    file = folder / f"{name}.npz"
    np.savez(file, W=rows.astype(np.float32), b=rng.standard_normal(len(rows)).astype(np.float32))
    with pytest.raises(SystemExit) as ended:
        main(["scan", "--head", str(file), "--out", str(folder / name), "--quiet", "--no-report", *options])
    assert ended.value.code == 0
    return folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One head over a ball, over a smaller one, another that differs in a few rows, and some tokens of the first."""
    folder = tmp_path_factory.mktemp("runs")
    rows = np.random.default_rng(7).standard_normal((ROWS, 6))
    other = rows.copy()
    other[:5] *= 3
    return [
        scan(folder, "first", rows, "--domain", "ball:2", "--margin-gap", "0.01"),
        scan(folder, "smaller", rows, "--domain", "ball:1"),
        scan(folder, "other", other, "--domain", "ball:2", "--margin-gap", "0.01"),
        scan(folder, "some", rows, "--domain", "ball:2", "--tokens", "0-99"),
    ]


@pytest.fixture(scope="module")
def record(runs: list[Path]) -> dict[str, Any]:
    return diff_record(runs)


@pytest.fixture(scope="module")
def page(runs: list[Path]) -> ComparePage:
    return compare_page([RunFolder.open(run) for run in runs], runs[0].parent / "compare.html")


def off_diagonal(matrix: list[list[int]]) -> int:
    return sum(count for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j)


def test_the_counts_are_the_matrix_off_its_diagonal(record: dict[str, Any]) -> None:
    smaller, other, some = record["against"]
    for one in record["against"]:
        assert one["compared"] == ROWS
        assert one["changed"] == off_diagonal(one["matrix"]) == len(one["changes"])
        assert one["changed"] == one["verdict_changed"] + one["way_changed"] + one["asked_once"]
        listed = [(change["before"], change["after"]) for change in one["changes"]]
        for i, before in enumerate(one["classes"]):
            for j, after in enumerate(one["classes"]):
                assert i == j or listed.count((before, after)) == one["matrix"][i][j]
    # Both kinds of change are there: a smaller ball takes reach away, and the way along the own row.
    assert smaller["verdict_changed"] > 0
    assert smaller["way_changed"] > 0
    assert other["changed"] > 0
    assert (some["changed"], some["asked_once"]) == (50, 50)


def test_the_classes_are_those_of_the_runs_themselves(runs: list[Path], record: dict[str, Any]) -> None:
    for run, one in zip(runs[1:], record["against"], strict=True):
        for side, path in ((1, runs[0]), (0, run)):
            totals = RunFolder.open(path).manifest["totals"]
            sums = dict(zip(one["classes"], np.sum(one["matrix"], axis=side).tolist(), strict=True))
            assert sums["own-direction"] == totals["own_direction"]
            assert sums["hard-to-speak"] == totals["hard_to_speak"]
            assert sums["unspeakable"] == totals["verdicts"]["unspeakable"]
            assert sums["not asked for"] == ROWS - totals["tokens"]


def test_terminal_and_page_say_what_the_record_says(
    runs: list[Path], record: dict[str, Any], page: ComparePage
) -> None:
    lines = diff_lines(record)
    for one, pair in zip(record["against"], page.pairs, strict=True):
        (said,) = [line for line in lines if line.startswith(f"{record['first']} and {one['run']} ")]
        sentence = said.partition(". ")[2]
        assert sentence.startswith(f"{one['changed']} ")
        assert pair.lead.partition(". ")[2] == sentence
        assert pair.changed == one["changed"]
        red = [count for _, row in pair.matrix for count, how in row if how == "verdict"]
        other = [count for _, row in pair.matrix for count, how in row if how == "way"]
        assert sum(red) == one["verdict_changed"]
        assert sum(red) + sum(other) == one["changed"]
        # What the legend says is what the cells add up to.
        said = dict(pair.legend)
        assert said.get("verdict", "0").startswith(f"{sum(red)}")
        assert sum(map(int, re.findall(r"\d+", said.get("way", "")))) == sum(other)
        assert pair.margins == one["margins"]["words"]
    cells = [re.match(r" +(\d+)  (\S.*) → (\S.*)", line) for line in lines]
    assert sum(int(cell[1]) for cell in cells if cell) == sum(one["changed"] for one in record["against"])


def test_the_written_page_adds_up(runs: list[Path], record: dict[str, Any], tmp_path: Path) -> None:
    text = write_compare_report(runs, tmp_path / "compare.html").read_text(encoding="utf-8")
    for at, one in enumerate(record["against"]):
        part = text.split(f'<section id="pair-{at}"')[1].split("</section>")[0]
        red, other = (re.findall(rf'<td class="num {kind}">([\d,]+)</td>', part) for kind in ("other", "way"))
        assert sum(int(count.replace(",", "")) for count in red) == one["verdict_changed"]
        assert sum(int(count.replace(",", "")) for count in [*red, *other]) == one["changed"]
        assert f"{one['changed']} are in another class:" in part


def test_fail_on_change_counts_the_same(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for against, code in ((runs[0], 0), (runs[1], 1), (runs[3], 1)):
        with pytest.raises(SystemExit) as ended:
            main(["diff", str(runs[0]), str(against), "--fail-on-change", "--json"])
        assert ended.value.code == code
        (one,) = json.loads(capsys.readouterr().out)["against"]
        assert (one["changed"] > 0) == (code == 1)


# --- margins -------------------------------------------------------------------------------------------------------


def test_margins_that_moved_are_those_whose_bounds_do_not_overlap(runs: list[Path], record: dict[str, Any]) -> None:
    margins = record["against"][1]["margins"]
    first, other = (RunFolder.open(runs[at]).verdicts() for at in (0, 2))
    moved = {
        t
        for t in range(ROWS)
        if other.margin_lower[t] > first.margin_upper[t] or other.margin_upper[t] < first.margin_lower[t]
    }
    assert margins["why_not"] is None
    assert margins["compared"] == ROWS
    assert margins["moved"] == len(moved) > 0
    assert {change["token_id"] for change in margins["largest"]} <= moved
    shifts = [abs(change["by_at_least"]) for change in margins["largest"]]
    assert shifts == sorted(shifts, reverse=True)
    for change in margins["largest"]:
        before, after, by = change["margin_before"], change["margin_after"], change["by_at_least"]
        if by > 0:
            assert by == after["at_least"] - before["at_most"] > 0
        else:
            assert by == after["at_most"] - before["at_least"] < 0
    # A row three times as long wins by far more: the five changed rows are among the largest shifts.
    assert {0, 1, 2, 3, 4} & {change["token_id"] for change in margins["largest"][:5]}


def test_loose_bounds_are_no_change(tmp_path: Path, runs: list[Path]) -> None:
    """One head scanned twice, with wide bounds and narrow ones: the numbers differ, the margins do not."""
    rows = np.random.default_rng(7).standard_normal((ROWS, 6))
    wide = scan(tmp_path, "wide", rows, "--domain", "ball:2")
    (one,) = diff_record([runs[0], wide])["against"]
    narrow, loose = (RunFolder.open(run).verdicts() for run in (runs[0], wide))
    assert (narrow.margin_lower - loose.margin_lower > 0.1).any()
    assert (one["changed"], one["margins"]["moved"], one["margins"]["largest"]) == (0, 0, [])
    assert one["margins"]["words"] == f"No margin has certainly moved: the bounds of all {ROWS} tokens overlap."


def test_loose_bounds_over_other_domains_are_not_drawn_as_margins(
    runs: list[Path], page: ComparePage, tmp_path: Path
) -> None:
    # Of the second run the domain is another: its bounds are neither overlaid nor set against the first's.
    assert [pair.plot is not None for pair in page.pairs] == [False, True, True]
    assert page.overlays == ()
    assert (
        "the runs range over different domains (the open ball of radius 2; the open ball of radius 1)"
        in page.no_overlay
    )
    text = write_compare_report(runs, tmp_path / "compare.html").read_text(encoding="utf-8")
    assert page.no_overlay in text
    assert ['id="plot-pair-' + str(at) in text for at in range(3)] == [False, True, True]
    # Over one domain they are.
    alike = compare_page([RunFolder.open(run) for run in (runs[0], runs[2])], tmp_path / "alike.html")
    assert alike.overlays
    assert 'id="plot-pair-0"' in write_compare_report([runs[0], runs[2]], tmp_path / "alike.html").read_text("utf-8")


def test_margins_over_other_domains_are_not_compared(record: dict[str, Any], page: ComparePage) -> None:
    margins = record["against"][0]["margins"]
    assert (margins["compared"], margins["moved"], margins["largest"]) == (0, 0, [])
    assert margins["why_not"] == "one run is over ball:2, the other over ball:1, and margins depend on the domain"
    assert page.pairs[0].moves == ()
    assert page.pairs[0].margins == f"Margins are not compared: {margins['why_not']}."


def test_margins_without_a_limit_are_not_compared(tmp_path: Path) -> None:
    rows = np.random.default_rng(7).standard_normal((40, 3))
    free = [scan(tmp_path, name, part, "--domain", "free") for name, part in (("a", rows), ("b", 2 * rows))]
    (one,) = diff_record(free)["against"]
    assert "margins without a limit" in one["margins"]["why_not"]


def test_margins_that_cannot_both_be_true_are_called_so(tmp_path: Path, runs: list[Path]) -> None:
    """The same head and domain, and bounds that exclude each other: not a change, but a fault."""
    rows = np.random.default_rng(7).standard_normal((ROWS, 6))
    again = scan(tmp_path, "again", 1.5 * rows, "--domain", "ball:2", "--margin-gap", "0.01")
    manifest = json.loads((again / "manifest.json").read_text(encoding="utf-8"))
    manifest["fingerprint"] = RunFolder.open(runs[0]).manifest["fingerprint"]
    (again / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (one,) = diff_record([runs[0], again])["against"]
    assert one["margins"]["moved"] > 0
    assert one["margins"]["words"].endswith("where margins cannot differ: verify both, one is wrong.")
