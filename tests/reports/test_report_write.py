from __future__ import annotations

from pathlib import Path

import pytest
from report_builders import token_row, write_run

import reports.write
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


def test_pages_of_further_commands_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Given a run with the records of three further commands
    run = write_run(tmp_path / "run", [token_row()])
    for name in ("solvers", "interference", "search"):
        (run / f"{name}.json").write_text("{}")
    asked = []

    def writer(record: str):
        return lambda folder, page: asked.append((record, folder)) or page

    further = tuple((record, page, writer(record)) for record, page, _ in reports.write._FURTHER)
    monkeypatch.setattr("reports.write._FURTHER", further)
    # When the run is reported elsewhere
    (tmp_path / "there").mkdir()
    pages = write_reports([run], tmp_path / "there" / "page.html")
    # Then all pages lie beside each other
    names = ["page.html", "solvers.html", "interference.html", "search.html"]
    assert pages == [tmp_path / "there" / name for name in names]
    assert asked == [(f"{name}.json", run) for name in ("solvers", "interference", "search")]


def test_a_damaged_record_is_one_line_and_leaves_the_pages_before_it(tmp_path: Path):
    run = write_run(tmp_path / "run", [token_row()])
    (run / "search.json").write_text("{")
    with pytest.raises(BadInput, match=r"search\.json"):
        write_reports([run])
    assert (run / "report.html").is_file()
    assert not (run / "search.html").exists()
