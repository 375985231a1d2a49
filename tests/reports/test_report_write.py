from __future__ import annotations

from pathlib import Path

import pytest
from report_builders import token_row, write_run

from reach.cli import main
from reports.write import write_reports
from solvers.errors import BadInput


def test_one_run_gets_its_report(tmp_path: Path):
    run = write_run(tmp_path / "run", [token_row()])
    assert write_reports([run]) == [run / "report.html"]


def test_several_runs_are_set_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = [write_run(tmp_path / name, [token_row()]) for name in "xy"]
    monkeypatch.chdir(tmp_path)
    assert write_reports(runs) == [Path("compare.html")]
    assert write_reports(runs, tmp_path / "other.html") == [tmp_path / "other.html"]


def test_markdown_is_written_for_each_run(tmp_path: Path):
    runs = [write_run(tmp_path / name, [token_row()]) for name in "xy"]
    assert write_reports(runs, markdown=True) == [run / "report.md" for run in runs]
    with pytest.raises(BadInput, match="one file per run"):
        write_reports(runs, tmp_path / "one.md", markdown=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report"], "name at least one run folder"),
        (["report", "absent"], "no run folder"),
        (["report", "absent", "--index", "."], "stands alone"),
        (["report", "--index", "absent"], "no such folder"),
    ],
)
def test_wrong_arguments_get_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list, message: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_the_command_says_where_the_page_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_run(tmp_path / "run", [token_row()])
    with pytest.raises(SystemExit) as caught:
        main(["report", "--index", str(tmp_path)])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "index.html")
