"""The start page as a zoo: models, families, domains, gates and years; its other forms; its writers."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import real_runs
from reach_command import reach
from report_builders import HOSTILE, hard_row, head, manifest, skipped_row, token_row, unspeakable_row, write_run

import reports.index_report
from reach.runs import folder as run_folder
from reach.trace.record import TraceRecord
from reports.index_page import IndexPage, index_page
from reports.index_report import CSV, MARKDOWN, write_index
from reports.index_runs import IndexedRun
from reports.write import write_reports
from solvers.errors import BadInput


def page_over(folder: Path) -> IndexPage:
    return index_page(folder, folder / "index.html")


def only(folder: Path) -> IndexedRun:
    """The only run of a folder, which can be read."""
    (row,) = page_over(folder).rows
    assert row.problem is None
    return row


def test_no_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "a", [token_row(), unspeakable_row()])

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a table was read")

    monkeypatch.setattr(run_folder, "read_table", refuse)
    assert only(tmp_path).verdicts["unspeakable"] == 1


def test_a_run_whose_manifest_counts_nothing_is_counted(tmp_path: Path):
    write_run(tmp_path / "a", [token_row(), unspeakable_row()], totals=None)
    assert (only(tmp_path).asked, only(tmp_path).verdicts["unspeakable"]) == (2, 1)


TOTALS = {
    "tokens": 2, "verdicts": {"speakable": 1, "unspeakable": 1}, "evidence": {}, "own_direction": 1,
    "hard_to_speak": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 3},
        {"tokens": 0, "verdicts": {}, "own_direction": 0},
        {"verdicts": {"speakable": 3, "unspeakable": -1}},
        {"verdicts": {"speakable": 1, "never": 1}},
        {"own_direction": 2},
        {"hard_to_speak": -1},
        {"nearly_never": {"float32": 1, "bfloat16": 0, "open": 0}},
        {"nearly_never": {"float32": 0, "bfloat16": 2, "open": 0}},
    ],
)
def test_counts_that_contradict_each_other_are_a_reason_and_no_row(tmp_path: Path, change: dict[str, Any]):
    write_run(tmp_path / "a", [token_row(), unspeakable_row()], totals=TOTALS)
    assert only(tmp_path).hard_to_speak == 0
    write_run(tmp_path / "a", [token_row(), unspeakable_row()], totals=TOTALS | change)
    (row,) = page_over(tmp_path).rows
    assert row.problem == "its counts of tokens contradict each other; the run is damaged, scan again"


def test_a_table_of_another_length_is_a_reason(tmp_path: Path):
    other = write_run(tmp_path / "other", [token_row()])
    write_run(tmp_path / "zoo" / "a", [token_row(), unspeakable_row()])
    shutil.copy(other / "verdicts.parquet", tmp_path / "zoo" / "a" / "verdicts.parquet")
    (row,) = page_over(tmp_path / "zoo").rows
    assert "1 rows, but the manifest says 2" in str(row.problem)


# --- what a run is ------------------------------------------------------------------------------------------


def test_a_model_is_named_by_its_family_tying_norm_and_format(tmp_path: Path):
    values = head(architecture="LlamaForCausalLM", tie="untied: x differs from y", norm="rmsnorm", dtype="bfloat16")
    write_run(tmp_path / "a", [token_row()], head=values)
    row = only(tmp_path)
    assert (row.family, row.tying, row.norm, row.dtype) == ("Llama", "untied", "RMSNorm", "bfloat16")
    write_run(tmp_path / "a", [token_row()], head=head(architecture=None, tie="as loaded", norm=None, dtype=None))
    row = only(tmp_path)
    assert (row.family, row.tying, row.norm, row.dtype) == ("", "", "", "")


def test_a_year_is_what_the_models_files_say(tmp_path: Path):
    for name, card in (("old", "Release date: 2019-02\n"), ("new", "Release date: May 2024\n"), ("mute", "text\n")):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "README.md").write_text(card)
        loading = manifest()["loading"] | {"model": str(tmp_path / "models" / name)}
        write_run(tmp_path / "runs" / name, [token_row(), unspeakable_row()], loading=loading, model=name)
    page = page_over(tmp_path / "runs")
    assert {row.name: row.year for row in page.rows} == {"old": 2019, "new": 2024, "mute": None}
    (question,) = page.questions
    assert [len(measure.charts) for measure in question.measures] == [5, 5]
    assert any("The year is not known of 1 of 3 models" in note for note in question.notes)
    assert "unknown" in write_index(tmp_path / "runs").read_text(encoding="utf-8")


def test_without_a_year_there_is_no_plot_against_it(tmp_path: Path):
    for name in "ab":
        write_run(tmp_path / name, [token_row(), unspeakable_row()])
    (question,) = page_over(tmp_path).questions
    titles = [chart.title for measure in question.measures for chart in measure.charts]
    assert titles == [
        f"{what} against {axis}" for what in ("Unspeakable", "Hard-to-speak") for axis in ("V", "d", "V/d", "tying")
    ]


def test_tokens_in_part_asked_for_are_shown_as_such_and_left_out_of_plots(tmp_path: Path):
    for name in "ab":
        write_run(tmp_path / name, [token_row(), unspeakable_row()])
    write_run(tmp_path / "c", [token_row(), skipped_row()])
    page = page_over(tmp_path)
    assert [row.whole for row in page.rows] == [True, True, False]
    assert any(note.startswith("1 scan asked about a part of the vocabulary") for note in page.notes)
    assert any("1 scan of a part of the vocabulary is left out" in note for note in page.questions[0].notes)
    chart = page.questions[0].measures[0].charts[0]
    assert sorted(shape.name[-1] for shape in chart.only("path") if shape.name) == ["a", "b"]
    assert "of 2: in part" in write_index(tmp_path).read_text(encoding="utf-8")


def test_domains_are_never_set_side_by_side(tmp_path: Path):
    rows = [token_row(), unspeakable_row()]
    for name in "ab":
        write_run(tmp_path / name, rows)
        write_run(tmp_path / f"{name}-free", rows, domain="free", squared_radius=None)
    page = page_over(tmp_path)
    assert any("2 kinds of domain" in note for note in page.notes)
    drawn = [
        {shape.name.partition(", ")[2] for shape in question.measures[0].charts[0].only("path") if shape.name}
        for question in page.questions
    ]
    assert sorted(map(sorted, drawn)) == [["a", "b"], ["a-free", "b-free"]]
    shutil.rmtree(tmp_path / "b-free")
    page = page_over(tmp_path)
    assert page.questions[-1].title == "Domains of a single scan"
    assert page.questions[-1].notes[0].startswith("a-free: over ")


def test_points_lie_where_the_numbers_say(tmp_path: Path):
    rows = [token_row(), unspeakable_row(), hard_row(), token_row()]
    write_run(tmp_path / "a", rows, d=2)
    write_run(tmp_path / "b", rows[:2], d=2)
    charts = {chart.title: chart for chart in page_over(tmp_path).questions[0].measures[0].charts}
    chart = charts["Unspeakable against V"]
    low, high = (float(end) for end in chart.y_scale.split()[1:3])
    for shape, share in zip([one for one in chart.only("path") if one.name], (25, 50), strict=True):
        y = float(shape.path.split()[1].partition("h")[0])
        assert low + (chart.floor - y) / (chart.floor - chart.top) * (high - low) == pytest.approx(share, abs=0.5)


def test_checkpoints_stand_for_one_model_by_their_last(tmp_path: Path):
    for step in (0, 9, 10):
        rows = [token_row(), *[unspeakable_row()] * (step + 1)]
        write_run(tmp_path / "s" / f"checkpoint-{step}", [*rows, *[token_row()] * (12 - len(rows))])
    write_run(tmp_path / "alone", [token_row(), unspeakable_row()])
    page = page_over(tmp_path)
    assert [row.name for row in page.rows] == ["alone", "s/checkpoint-0", "s/checkpoint-9", "s/checkpoint-10"]
    assert page.lead == "4 finished scans of 2 models."
    assert page.notes[0].startswith("3 scans are checkpoints of 1 training run.")
    assert [(card.title, card.chart is not None) for card in page.cards] == [("alone", False), ("s", True)]
    chart = page.cards[1].chart
    assert chart is not None
    assert chart.summary.startswith("Unspeakable: 8.3 % at first, 92 % at last.")


def test_traces_are_linked_to(tmp_path: Path):
    write_run(tmp_path / "a", [token_row()])
    for name in (TraceRecord.FILE, TraceRecord.PAGE):
        assert page_over(tmp_path).traces == ()
        (tmp_path / "over time").mkdir(exist_ok=True)
        (tmp_path / "over time" / name).write_text("{}")
    assert page_over(tmp_path).traces == (("over time", "over%20time/trace.html"),)
    assert 'href="over%20time/trace.html"' in write_index(tmp_path).read_text(encoding="utf-8")


# --- the gate -----------------------------------------------------------------------------------------------


def test_what_the_gate_said_is_counted(tmp_path: Path):
    run = real_runs.copied(real_runs.scanned(), tmp_path / "runs" / "a")
    said = reach("check", real_runs.tiny_model(), "--must", "20", "--json", "--quiet")
    record = json.loads(said.out)
    (run / "check.json").write_text(said.out, encoding="utf-8")
    must = [one for one in record["tokens"] if one["side"] == "must"]
    assert must
    gate = only(tmp_path / "runs").gate
    assert gate is not None
    assert (gate.asked, gate.failures) == (len(must), sum(one["fails"] is not None for one in must))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not readable as JSON"),
        ("[]", "another kind"),
        ('{"model": "m", "tokens": [{"side": 1}]}', "another kind"),
        ('{"model": "other/model", "tokens": []}', "about another model, other/model"),
    ],
)
def test_a_bad_record_of_the_gate_says_why_and_keeps_the_run(tmp_path: Path, text: str, why: str):
    (write_run(tmp_path / "a", [token_row()]) / "check.json").write_text(text)
    gate = only(tmp_path).gate
    assert gate is not None
    assert gate.failures is None
    assert why in gate.problem
    assert str(tmp_path) not in gate.problem
    assert why in dict(page_over(tmp_path).cards[0].facts)["Must be said"]


# --- other forms --------------------------------------------------------------------------------------------


def zoo(folder: Path) -> Path:
    rows = [token_row(), hard_row(), unspeakable_row()]
    write_run(folder / "a", rows)
    write_run(folder / "s" / "checkpoint-1", rows)
    write_run(folder / "s" / "checkpoint-2", [*rows[1:], unspeakable_row()])
    write_run(folder / "odd", rows, status="running")
    return folder


def test_csv_has_every_run_with_the_numbers_of_the_page(tmp_path: Path):
    file = write_index(zoo(tmp_path), form=CSV)
    assert file == tmp_path / "index.csv"
    lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    assert [line["run"] for line in lines] == ["a", "odd", "s/checkpoint-1", "s/checkpoint-2"]
    assert [line["hard_to_speak"] for line in lines] == ["1", "", "1", "1"]
    assert [line["checkpoint"] for line in lines] == ["", "", "1", "2"]
    assert [line["last_checkpoint"] for line in lines] == ["", "", "false", "true"]
    assert float(lines[3]["unspeakable_share"]) == 2 / 3
    assert "has not finished" in lines[1]["problem"]


def test_markdown_has_models_first_then_earlier_checkpoints_then_problems(tmp_path: Path):
    text = write_index(zoo(tmp_path), form=MARKDOWN).read_text(encoding="utf-8")
    models, earlier = text.split("### Earlier checkpoints")
    earlier, problems = earlier.split("### Runs that cannot be shown")
    assert ("`a`" in models, "`s/checkpoint-2`" in models, "`s/checkpoint-1`" in models) == (True, True, False)
    assert "`s/checkpoint-1`" in earlier
    assert "`odd`: the run has not finished" in problems
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert len(widths) == 1
    assert "| 1 (33.3 %) |" in models


def test_the_command_writes_all_three(tmp_path: Path):
    zoo(tmp_path)
    for option, name in ((None, "index.html"), ("--markdown", "index.md"), ("--csv", "index.csv")):
        said = reach("report", "--index", tmp_path, *([option] if option else []))
        assert (said.code, said.out.strip()) == (0, str(tmp_path / name))
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", ".", "--csv", "--markdown"], "choose one"),
        (["RUN", "--csv"], "name it with --index"),
        (["--csv"], "name it with --index"),
    ],
)
def test_forms_that_do_not_go_together_are_refused(tmp_path: Path, arguments: list[str], message: str):
    said = reach("report", *arguments)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_hostile_names_are_shown_by_signs_in_every_form(tmp_path: Path):
    for at, text in enumerate(HOSTILE):
        write_run(tmp_path / str(at), [token_row()], model=text, head=head(architecture=text, tie=text, dtype=text))
    write_run(tmp_path / "surrogate", [token_row()], model="a\ud800b")
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "</script><script>window" not in page
    assert "\u202e" not in page
    assert page.count("</script>") == 3
    assert "\x07" not in write_index(tmp_path, form=MARKDOWN).read_text(encoding="utf-8")
    text = write_index(tmp_path, form=CSV).read_text(encoding="utf-8")
    assert "'=1+1" in text
    assert ",=1+1" not in text


# --- writers ------------------------------------------------------------------------------------------------


def test_a_run_that_ends_while_the_page_is_written_is_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "a", [token_row()])
    write, written = reports.index_report.write_page, list[str]()

    def slowly(file: Path, text: str, **options: Any) -> None:
        if not written:
            write_run(tmp_path / "b", [token_row()])
        written.append(text)
        write(file, text, **options)

    monkeypatch.setattr(reports.index_report, "write_page", slowly)
    text = write_index(tmp_path).read_text(encoding="utf-8")
    assert len(written) == 2
    assert "2 finished scans" in text


_WRITER = """
import shutil, sys
from pathlib import Path
from reports.index_report import write_index
folder, model, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for at in range(8):
    shutil.copytree(model, folder / f".{name}-{at}")
    (folder / f".{name}-{at}").rename(folder / f"{name}-{at}")
    text = write_index(folder).read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>"), text[-20:]
"""


def test_two_writers_at_once_leave_a_page_with_every_run(tmp_path: Path):
    model = write_run(tmp_path / "model", [token_row()])
    folder = tmp_path / "runs"
    folder.mkdir()
    command = [sys.executable, "-c", _WRITER, str(folder), str(model)]
    writers = [subprocess.Popen([*command, name], cwd=Path(__file__).parents[2]) for name in ("one", "two")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert "16 finished scans" in (folder / "index.html").read_text(encoding="utf-8")
    assert not list(folder.glob(".index*"))


def test_a_page_that_cannot_be_written_leaves_the_one_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "a", [token_row()])
    before = write_index(tmp_path).read_text(encoding="utf-8")
    write_run(tmp_path / "b", [token_row()])

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BadInput, match="the disk is full"):
        write_index(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == before


def test_a_page_of_somebody_else_is_not_replaced(tmp_path: Path):
    write_run(tmp_path / "a", [token_row()])
    (tmp_path / "index.html").write_text("<title>mine</title>")
    with pytest.raises(BadInput, match="no start page over runs; move it"):
        write_index(tmp_path)
    assert (tmp_path / "index.html").read_text() == "<title>mine</title>"
    assert write_index(tmp_path, tmp_path / "runs.html").is_file()
    (tmp_path / "index.html").unlink()
    assert write_index(write_index(tmp_path).parent) == tmp_path / "index.html"


def test_pages_of_runs_find_their_way_back(tmp_path: Path):
    run = write_run(tmp_path / "s" / "checkpoint-1", [token_row()])
    write_index(tmp_path)
    write_reports([run])
    write_index(tmp_path)
    assert 'href="../../index.html"' in (run / "report.html").read_text(encoding="utf-8")
    assert 'href="s/checkpoint-1/report.html"' in (tmp_path / "index.html").read_text(encoding="utf-8")
