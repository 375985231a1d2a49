from __future__ import annotations

from pathlib import Path

import pytest
from report_builders import HOSTILE, token_row, unspeakable_row, write_run

from reach.runs.folder import RunFolder
from reports.compare_page import compare_page
from reports.compare_report import write_compare_report
from solvers.errors import BadInput


def test_each_run_has_its_counts_and_each_further_run_is_held_against_the_first(tmp_path: Path):
    runs = [write_run(tmp_path / name, [token_row(token="a"), unspeakable_row(token="b")]) for name in "xyz"]
    page = compare_page([RunFolder.open(run) for run in runs], tmp_path / "out.html")
    assert [row.label for row in page.runs] == ["x", "y", "z"]
    assert page.lead.startswith("x: 1 of 2 tokens unspeakable (50 %).")
    assert [(pair.first, pair.second, pair.changed) for pair in page.pairs] == [("x", "y", 0), ("x", "z", 0)]
    assert page.notes[0] == "All runs are of the same head."


def test_equal_folder_names_get_their_parents(tmp_path: Path):
    runs = [write_run(tmp_path / name / "run", [token_row()]) for name in ("one", "two")]
    page = compare_page([RunFolder.open(run) for run in runs], tmp_path / "out.html")
    assert [row.label for row in page.runs] == ["one/run", "two/run"]


def test_runs_link_to_their_own_pages_where_there_are_any(tmp_path: Path):
    runs = [write_run(tmp_path / name, [token_row()]) for name in "xy"]
    (runs[0] / "report.html").write_text("page")
    page = compare_page([RunFolder.open(run) for run in runs], tmp_path / "deep" / "out.html")
    assert [row.report for row in page.runs] == ["../x/report.html", None]


def test_vocabularies_without_a_common_token_say_so(tmp_path: Path):
    runs = [write_run(tmp_path / name, [token_row(token=name)]) for name in "xy"]
    page = compare_page([RunFolder.open(run) for run in runs], tmp_path / "out.html")
    assert page.pairs[0].lead == "x and y share no token: none can be compared."


def test_the_same_folder_twice_is_refused(tmp_path: Path):
    run = write_run(tmp_path / "x", [token_row()])
    with pytest.raises(BadInput, match="named twice"):
        write_compare_report([run, run], tmp_path / "out.html")


def test_an_unfinished_run_leaves_nothing_behind(tmp_path: Path):
    runs = [write_run(tmp_path / "x", [token_row()]), write_run(tmp_path / "y", [token_row()], status="running")]
    with pytest.raises(BadInput, match="has not finished"):
        write_compare_report(runs, tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_hostile_tokens_stay_text(tmp_path: Path):
    one = write_run(tmp_path / "x", [token_row(token=t) for t in HOSTILE])
    other = write_run(tmp_path / "<img src=x>", [unspeakable_row(token=t) for t in HOSTILE])
    text = write_compare_report([one, other], tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "window.owned=1</script>" not in text
