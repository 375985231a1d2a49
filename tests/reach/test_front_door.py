"""What a new user meets first: help, versions, default folders, summaries, exports, and conditions for a pipeline."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from reach_command import ROOT, change_verdict, columns_of, hulls_of, reach, save_head

from reach.cli.app import COMMANDS
from reach.export import is_formula
from reach.head_options import HeadOptions, default_folder
from reach.options import Options, OutputOptions, options_of
from reach.scanning.settings import ScanSettings
from solvers.errors import BadInput

# Token 4 is the mean of the others: unspeakable. Tokens 5 and 6 are equal.
ROWS = [[3.0, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0], [0.0, 0.0], [2.5, 2.5], [2.5, 2.5]]
NAMES = [function.__name__.replace("_", "-") for function in COMMANDS]


def scanned(folder: Path, rows: Any = ROWS, *more: object, **arrays: Any) -> Path:
    """A scan of a bare head over the unit ball."""
    head = save_head(folder / f"head{len(list(folder.iterdir()))}.npz", rows, **arrays)
    run = folder / f"run{len(list(folder.iterdir()))}"
    outcome = reach("scan", "--head", head, "--domain", "ball:1", "--out", run, "--quiet", "--no-report", *more)
    assert outcome.code in (0, 1), outcome.err
    return run


# --- help -----------------------------------------------------------------------------------------------------------


def test_the_version_and_the_module() -> None:
    for arguments in (["-m", "reach", "--version"], ["-m", "reach.cli", "--version"]):
        ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT)
        assert ended.stdout.startswith("reach 0.")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_short_help_and_says_how_much_it_says(name: str) -> None:
    outcome = reach(name, "-h")
    assert outcome.code == 0
    for option in ("--quiet", "--verbose", "--json", "-v", "-q"):
        assert option in outcome.out


def test_completion_is_offered() -> None:
    assert "--install-completion" in reach("-h").out


@pytest.mark.parametrize("name", ["scan", "verify", "search", "interference", "compare-solvers"])
def test_commands_about_a_head_take_the_same_options(name: str) -> None:
    shown = reach(name, "-h").out
    for field in options_of(HeadOptions):
        if field.option.flags:
            assert field.shown in shown, field.shown


def test_defaults_ranges_and_words_come_from_the_settings_class() -> None:
    shown = " ".join(reach("scan", "-h").out.replace("│", " ").split())
    assert f"Default: {ScanSettings().block_tokens}." in shown
    fields = {field.name: field for field in options_of(ScanSettings)}
    assert fields["margin_gap"].option.help in shown
    for settings in ({"margin_gap": 1.0}, {"tolerance": 0.0}, {"jobs": 0}, {"jobs": 10**6}, {"stage_seconds": -1.0}):
        with pytest.raises(BadInput, match=r"^--"):
            ScanSettings(**settings)  # type: ignore[arg-type]
    assert isinstance(OutputOptions(), Options)


def test_v_says_what_was_read(tmp_path: Path) -> None:
    head = save_head(tmp_path / "head.npz", ROWS)
    common = ("scan", "--head", head, "--domain", "free", "--quiet", "--no-report")
    assert "bare head" not in reach(*common, "--out", tmp_path / "still").err
    assert "bare head, 7 tokens × 2 dimensions" in reach(*common, "--out", tmp_path / "run", "-v").err


# --- heads ----------------------------------------------------------------------------------------------------------


def test_a_matrix_alone_is_a_head(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    np.save(file, np.asarray(ROWS, np.float32))
    for where in (("--head", file), (file,)):
        run = tmp_path / f"run{len(where)}"
        assert reach("scan", *where, "--domain", "ball:1", "--out", run, "--quiet", "--no-report").code == 0
        assert columns_of(run)["verdict"][4] == "unspeakable"


@pytest.mark.parametrize("command", ["scan", "search", "interference", "compare-solvers"])
def test_a_run_in_the_place_of_a_model_is_recognised(command: str, tmp_path: Path) -> None:
    run = scanned(tmp_path)
    message = reach(command, run).complaint
    assert message == f"{run} is a run folder, not a model: name its model, and the folder with --out {run}"


def test_a_search_of_a_bare_head_is_refused(tmp_path: Path) -> None:
    assert "no model before it" in reach("search", "--head", save_head(tmp_path / "head.npz", ROWS)).complaint


# --- where runs go --------------------------------------------------------------------------------------------------


def test_another_question_goes_to_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_head(tmp_path / "head.npz", ROWS, gamma=np.ones(2))
    monkeypatch.chdir(tmp_path)
    for options, folder in (
        ((), "head.npz"),
        (("--domain", "free"), "head.npz--free"),
        (("--domain", "ball:2", "--exact"), "head.npz--ball-2--exact"),
        (("--tokens", "0-3"), "head.npz--tokens-0-3"),
        (("--margin-gap", "0.5"), "head.npz--margins-0.5"),
    ):
        outcome = reach("scan", "head.npz", "--quiet", "--no-report", *options)
        assert (outcome.code, outcome.out.splitlines()[-1]) == (0, f"run:    runs/{folder}"), outcome.err
    assert "holds a finished run" in reach("scan", "head.npz", "--quiet", "--no-report").complaint


def test_folders_of_other_choices_have_other_names() -> None:
    choices = ["a", '"a"', "'a'", "a ", "A", "x" * 500, "x" * 501, "1,2", "1--2", "\udcff"]
    folders = {default_folder("demo", HeadOptions(domain=choice)) for choice in choices}
    assert len(folders) == len(choices)
    assert all(len(folder.name.encode("utf-8", "surrogateescape")) < 255 for folder in folders)


# --- summaries ------------------------------------------------------------------------------------------------------


def test_padding_rows_are_ranges(tmp_path: Path) -> None:
    rows = [*ROWS, *([[-2.5, 2.5]] * 5)]
    head = save_head(tmp_path / "head.npz", rows)
    common = ("scan", "--head", head, "--domain", "ball:1", "--quiet", "--no-report")
    said = reach(*common, "--out", tmp_path / "run").out
    assert "    #7–11 equal\n" in said
    assert "    #5–6 equal\n" in said
    assert "#7 = #7" not in said
    alone = reach(*common, "--tokens", "7", "--out", tmp_path / "alone").out
    assert "#7 equals rows that were not asked for" in alone


# --- export ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = scanned(tmp_path_factory.mktemp("hostile"))
    for token, text in enumerate(["=1+1", 'a,"b"', "line\nend", " @x", "", "plain"]):
        change_verdict(run, token, text=text)
    return run


def test_csv_is_safe_to_open_and_can_be_read_back(hostile: Path) -> None:
    outcome = reach("export", hostile, "--csv")
    assert outcome.code == 0
    rows = list(csv.DictReader(io.StringIO(outcome.out, newline="")))
    columns = columns_of(hostile)
    assert [row["text"] for row in rows[:6]] == ["'=1+1", 'a,"b"', "line\nend", "' @x", "", "plain"]
    assert [row["verdict"] for row in rows] == columns["verdict"]
    assert [float(row["row_norm"]) for row in rows] == columns["row_norm"]
    blockers = hulls_of(hostile)[4]
    assert {int(token) for token in rows[4]["blockers"].split()} == set(blockers)


def test_json_and_parquet_say_the_same(hostile: Path, tmp_path: Path) -> None:
    told = json.loads(reach("export", hostile, "--json").out)
    file = tmp_path / "tokens.parquet"
    assert reach("export", hostile, "--parquet", "--out", file).code == 0
    assert pq.read_table(file).to_pylist() == told
    weights = dict(zip(told[4]["blockers"], told[4]["blocker_weights"], strict=True))
    assert weights == hulls_of(hostile)[4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "one of --csv, --json and --parquet"),
        (("--csv", "--json"), "one of --csv, --json and --parquet"),
        (("--parquet",), "name a file with --out"),
        (("--csv", "--out", "."), "is a folder"),
        (("--csv", "--out", "no/such/folder/x"), "no folder"),
    ],
)
def test_an_export_that_cannot_be(hostile: Path, options: tuple[str, ...], words: str) -> None:
    assert words in reach("export", hostile, *options).complaint


@pytest.mark.parametrize(
    ("text", "formula"),
    [("=x", True), ("'=x", True), ("\u200b+x", True), ("\tx", True), ("\uff1dx", True), ("x=", False), ("", False)],
)
def test_what_a_spreadsheet_would_calculate(text: str, formula: bool) -> None:
    assert is_formula(text) is formula


# --- conditions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "code"), [("unspeakable", 1), ("tied", 1), ("undecided", 0), ("hard-to-speak", 0)]
)
def test_fail_on(condition: str, code: int, tmp_path: Path) -> None:
    head = save_head(tmp_path / "head.npz", ROWS)
    common = ("scan", "--head", head, "--domain", "ball:1", "--out", tmp_path / "run", "--quiet", "--no-report")
    outcome = reach(*common, "--fail-on", condition)
    assert outcome.code == code
    assert (f"are {condition}" in outcome.err or f"is {condition}" in outcome.err) is bool(code)


def test_hard_to_speak_is_a_condition(tmp_path: Path) -> None:
    # Along its own row token 1 is beaten by token 0; where z points the other way from there, it wins.
    run = scanned(tmp_path, [[2.0, 0.0], [1.0, 0.5], [-1.0, 0.0]], "--fail-on", "hard-to-speak")
    assert columns_of(run)["own_direction"][1] is False
    head = save_head(tmp_path / "h.npz", [[2.0, 0.0], [1.0, 0.5], [-1.0, 0.0]])
    common = ("--domain", "ball:1", "--quiet", "--no-report", "--fail-on", "hard-to-speak")
    outcome = reach("scan", "--head", head, "--out", tmp_path / "again", *common)
    assert outcome.code == 1
    assert "--fail-on: 1 token is hard-to-speak: #1" in outcome.err


def test_a_baseline_forgives_what_was_there(tmp_path: Path) -> None:
    before = scanned(tmp_path)
    rows = np.array(ROWS)
    head = save_head(tmp_path / "next.npz", rows)
    common = ("scan", "--head", head, "--domain", "ball:1", "--quiet", "--no-report", "--fail-on", "unspeakable,tied")
    assert reach(*common, "--baseline", before, "--out", tmp_path / "same").code == 0
    rows[2] = [0.1, 0.0]
    save_head(head, rows)
    outcome = reach(*common, "--baseline", before, "--out", tmp_path / "worse", "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["fail_on"]["unspeakable"] == {"tokens": [2, 4], "new": [2]}
    assert f"2 tokens are unspeakable, 1 of them not in {before}: #2" in outcome.err


def test_junit_says_which_tokens(tmp_path: Path) -> None:
    head = save_head(tmp_path / "head.npz", ROWS)
    file, common = tmp_path / "junit.xml", ("scan", "--head", head, "--domain", "ball:1", "--quiet", "--no-report")
    options = ("--fail-on", "unspeakable,undecided", "--junit", file)
    assert reach(*common, "--out", tmp_path / "run", *options).code == 1
    suite = ElementTree.parse(file).getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")
    cases = {case.attrib["name"]: [one.text for one in case] for case in suite}
    assert cases == {"no token is unspeakable": ["#4"], "no token is undecided": []}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--junit", "x.xml"), "--junit is about the tokens of --fail-on"),
        (("--baseline", "x"), "--baseline is about the tokens of --fail-on"),
        (("--fail-on", "tied", "--junit", "no/such/x.xml"), "no folder"),
        (("--fail-on", "tied", "--baseline", "nowhere"), "no run folder"),
    ],
)
def test_conditions_that_cannot_be_are_refused_before_the_scan(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    head = save_head(tmp_path / "head.npz", ROWS)
    assert words in reach("scan", "--head", head, "--domain", "free", "--out", tmp_path / "run", *options).complaint
    assert not (tmp_path / "run").exists()
