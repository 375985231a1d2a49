"""Runs held against each other in lines: who changed, and the exit code for a pipeline."""

import pytest
from report_builders import token_row, unspeakable_row, write_run

from reach.cli import main
from reports.diff_lines import diff_lines, diff_record
from solvers.errors import BadInput


def two_runs(tmp_path):
    plain = [token_row(token=name) for name in "abc"]
    first = write_run(tmp_path / "a", plain)
    changed = [plain[0], unspeakable_row(token="b"), plain[2]]
    second = write_run(tmp_path / "b", changed, [(1, 0, 0.5), (1, 2, 0.5)])
    return first, second


def test_given_one_changed_token_when_compared_then_it_is_named(tmp_path):
    record = diff_record(list(two_runs(tmp_path)))
    (one,) = record["against"]
    assert (one["compared"], one["changed"]) == (3, 1)
    assert [change["token_id"] for change in one["changes"]] == [1]
    (line,) = [line for line in diff_lines(record) if "(#1):" in line and "→" in line]
    assert "→ unspeakable" in line


def test_a_run_does_not_differ_from_itself(tmp_path, capsys):
    first, second = two_runs(tmp_path)
    codes = []
    for pair in ((first, first), (first, second)):
        with pytest.raises(SystemExit) as ended:
            main(["diff", *map(str, pair), "--fail-on-change"])
        codes.append(ended.value.code)
    assert codes == [0, 1]
    capsys.readouterr()


def test_one_run_alone_is_no_diff(tmp_path):
    with pytest.raises(BadInput, match="at least two"):
        diff_record([two_runs(tmp_path)[0]])
