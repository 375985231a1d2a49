from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_builders import hard_row, tied_row, token_row, unspeakable_row, write_run

from reports.index_page import index_page
from reports.index_report import write_index
from solvers.errors import BadInput


def test_every_run_below_the_folder_is_listed_with_its_counts(tmp_path: Path):
    write_run(tmp_path / "b", [token_row(), hard_row(), unspeakable_row()])
    write_run(tmp_path / "a" / "deep", [tied_row()])
    page = index_page(tmp_path, tmp_path / "index.html")
    assert [row.name for row in page.rows] == ["a/deep", "b"]
    assert (page.rows[1].asked, page.rows[1].verdicts["unspeakable"], page.rows[1].hard_to_speak) == (3, 1, 1)
    assert page.lead == "2 finished scans of 1 model."


@pytest.mark.parametrize(
    ("values", "why"),
    [({"status": "running"}, "has not finished"), ({"schema": 99}, "schema 99"), ({"kind": "other"}, "is no scan")],
)
def test_a_run_that_cannot_be_read_says_why_in_the_list(tmp_path: Path, values: dict, why: str):
    write_run(tmp_path / "good", [token_row()])
    write_run(tmp_path / "odd", [token_row()], **values)
    page = index_page(tmp_path, tmp_path / "index.html")
    assert why in page.rows[1].problem
    assert page.lead.endswith("1 run cannot be shown; the list says why.")


def test_a_damaged_table_does_not_hide_the_others(tmp_path: Path):
    (write_run(tmp_path / "odd", [token_row()]) / "verdicts.parquet").write_text("no Parquet")
    write_run(tmp_path / "good", [token_row()])
    page = index_page(tmp_path, tmp_path / "index.html")
    assert [row.problem is None for row in page.rows] == [True, False]


def test_hostile_runs_are_listed_with_the_reason(tmp_path: Path):
    """Deep nesting, endless numbers, a short file that stands for 10⁷ rows, a pipe, a large file, half a file."""
    rows = [token_row(), unspeakable_row()]
    for name in "abcdef":
        write_run(tmp_path / name, rows)
    (tmp_path / "a" / "manifest.json").write_text("[" * 10**5)
    (tmp_path / "b" / "manifest.json").write_text('{"schema": 1' + "0" * 5000 + "}")
    pq.write_table(pa.table({"verdict": pa.array(np.zeros(10**7, np.int8))}), tmp_path / "c" / "verdicts.parquet")
    (tmp_path / "d" / "verdicts.parquet").unlink()
    os.mkfifo(tmp_path / "d" / "verdicts.parquet")
    with (tmp_path / "e" / "manifest.json").open("r+b") as stream:
        stream.truncate(2**30)
    weights = tmp_path / "f" / "hull_weights.parquet"
    weights.write_bytes(weights.read_bytes()[:-20])
    write_run(tmp_path / "good", rows)
    page = index_page(tmp_path, tmp_path / "index.html")
    assert [row.name for row in page.rows if row.problem is None] == ["good"]
    reasons = ["nested too deeply", "5001 digits", "10000000 rows", "no regular file", "too large", "not readable"]
    for row, reason in zip(page.rows, reasons, strict=False):
        assert reason in str(row.problem)


def test_runs_with_a_page_are_linked_to(tmp_path: Path):
    run = write_run(tmp_path / "a b#c", [token_row()])
    (run / "report.html").write_text("page")
    text = write_index(tmp_path).read_text(encoding="utf-8")
    assert 'href="a%20b%23c/report.html"' in text


def test_a_folder_without_runs_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="holds no run"):
        write_index(tmp_path)
    with pytest.raises(BadInput, match="no such folder"):
        write_index(tmp_path / "absent")
