from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from report_builders import token_row, write_run

import reports.write
from reach.cli import main
from reports.site import SCAN
from reports.write import write_reports
from solvers.errors import BadInput

WRITERS = dict(reports.write._WRITERS)


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """The pages of further commands that are asked for, with their run; their writers are left out."""
    found: list[tuple[str, Path]] = []

    def writer(record: str):
        def write(run: Path, page: Path, **_: object) -> Path:
            found.append((record, run))
            page.write_text(record)
            return page

        return write

    further = {record: writer(record) for record in WRITERS if record != SCAN}
    monkeypatch.setattr(reports.write, "_WRITERS", {SCAN: WRITERS[SCAN], **further})
    return found


def test_pages_of_further_commands_are_written_again(tmp_path: Path, asked: list):
    # Given a run with the records of three further commands
    run = write_run(tmp_path / "run", [token_row()])
    for name in ("solvers", "interference", "search"):
        (run / f"{name}.json").write_text("{}")
    # When the run is reported elsewhere
    (tmp_path / "there").mkdir()
    pages = write_reports([run], tmp_path / "there" / "page.html")
    # Then all pages lie beside each other
    names = ["page.html", "solvers.html", "interference.html", "search.html"]
    assert pages == [tmp_path / "there" / name for name in names]
    assert asked == [(f"{name}.json", run) for name in ("solvers", "interference", "search")]


def test_a_folder_without_a_scan_gets_the_pages_of_what_it_holds(tmp_path: Path, asked: list):
    (tmp_path / "interference.json").write_text("{}")
    assert write_reports([tmp_path]) == [tmp_path / "interference.html"]
    # The only page goes where --out says, under that very name.
    assert write_reports([tmp_path], tmp_path / "mine.html") == [tmp_path / "mine.html"]
    (tmp_path / "search.json").write_text("{}")
    assert write_reports([tmp_path]) == [tmp_path / "interference.html", tmp_path / "search.html"]
    assert not (tmp_path / "report.html").exists()


def test_two_pages_do_not_go_to_one_place(tmp_path: Path, asked: list):
    run = write_run(tmp_path, [token_row()])
    (run / "search.json").write_text("{}")
    with pytest.raises(BadInput, match="a further page"):
        write_reports([run], run / "search.html")
    assert not asked


@pytest.mark.parametrize("name", ["solvers", "interference", "search"])
def test_a_damaged_record_is_one_line_and_keeps_no_other_page_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: list
):
    run = write_run(tmp_path / "run", [token_row()])
    others = {"solvers", "interference", "search"} - {name}
    for other in others:
        (run / f"{other}.json").write_text("{}")
    (run / f"{name}.json").write_text("{")
    monkeypatch.setitem(reports.write._WRITERS, f"{name}.json", WRITERS[f"{name}.json"])
    with pytest.raises(BadInput, match=rf"{name}\.json: not readable as JSON") as caught:
        write_reports([run])
    assert "\n" not in str(caught.value)
    assert "written all the same: report.html, " in str(caught.value)
    assert all((run / f"{other}.html").is_file() for other in others)
    assert (run / "report.html").is_file()
    assert not (run / f"{name}.html").exists()


def test_an_unfinished_scan_keeps_no_other_page_back(tmp_path: Path, asked: list):
    run = write_run(tmp_path, [token_row()], status="running")
    (run / "interference.json").write_text("{}")
    with pytest.raises(BadInput, match=r"has not finished.*\(written all the same: interference\.html\)"):
        write_reports([run])
    assert (run / "interference.html").is_file()


@pytest.mark.parametrize("text", ['{"schema": 1}', '{"schema": 1, "levels": 3, "funnel": [], "strength": []}'])
def test_a_search_that_lacks_entries_is_one_line(tmp_path: Path, text: str):
    run = write_run(tmp_path, [token_row()])
    (run / "search.json").write_text(text)
    shutil.copy(run / "verdicts.parquet", run / "search.parquet")
    with pytest.raises(BadInput, match=r"search\.json: an entry is missing or of another kind"):
        write_reports([run])
    assert (run / "report.html").is_file()
