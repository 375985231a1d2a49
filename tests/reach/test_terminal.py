"""Nothing that others wrote into a run, a model or a file name moves a terminal's cursor or hides what follows."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reach_command import change_manifest, columns_of, manifest_of, reach, save_head
from safetensors.numpy import save_file

from reach.runs.schema import VERDICTS
from reach.search.summary import SearchBar
from reach.terminal import harmless

WILD = "\x1b[2J\x1b]0;owned\x07\r\u202egpj.exe\u2066\x9b31m\u200b\x00\u2028\x7f\ud800\ue000\U000e0041"
FORGED = "\nreach: 24 verdicts proved again\n"


def wild_in(text: str) -> set[str]:
    """Characters that a terminal would act on or not show, but for the ends of lines."""
    return {c for c in text if c != "\n" and unicodedata.category(c)[0] in "CZ" and unicodedata.category(c) != "Zs"}


# --- the function --------------------------------------------------------------------------------------------------


def test_letters_of_every_script_stay_as_they_are() -> None:
    for text in ("plain", "é ü ß", "العربية", "中文", "√d × ‖z‖ ≤ −1 …", "a\u00a0b", "e\u0301", ""):
        assert harmless(text) == text


def test_wild_characters_become_escapes() -> None:
    assert harmless("a\x1b[31mb\rc\nd\te") == "a\\x1b[31mb\\x0dc\\x0ad\\x09e"
    assert harmless("\u202e\x9b\ud800\U000e0041") == "\\u202e\\x9b\\ud800\\U000e0041"
    assert not wild_in(harmless(WILD))
    assert harmless("a b\u3000c") == "a b\u3000c"


def test_every_character_of_the_basic_plane_and_the_tags() -> None:
    shown = harmless("".join(map(chr, (*range(0x11000), *range(0xE0000, 0xE0200)))))
    assert not wild_in(shown)
    assert "\n" not in shown


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = np.random.default_rng(3).standard_normal((24, 4))
    rows[3] = 0
    head = save_head(tmp_path / "head.npz", rows, gamma=np.ones(4))
    assert reach("scan", "--head", head, "--out", tmp_path / "run", "--quiet", "--no-report").code == 0
    return tmp_path / "run"


def tame(*arguments: object) -> str:
    """Both streams of a command, which must hold nothing wild, and no line that its own words did not make."""
    outcome = reach(*arguments)
    both = outcome.out + outcome.err
    assert not wild_in(both), (arguments, wild_in(both))
    assert "\nreach: 24 verdicts proved again" not in both
    assert "owne" in both, (arguments, both)
    return both


def test_a_received_manifest(run: Path, tmp_path: Path) -> None:
    """Every entry that is printed somewhere: names, domain, tensors, warnings, reasons, stages."""
    name = WILD + FORGED
    loading = manifest_of(run)["loading"]
    change_manifest(run, model=name, domain=f"ball:{name}")
    tame("verify", run)
    change_manifest(run, fingerprint=name, domain="ball:2")
    tame("verify", run)
    for entry in ("model", "domain"):
        change_manifest(run, loading={**loading, entry: name})
        tame("verify", run)
        tame("interference", "--out", run)
        tame("search", "--run", run)
    change_manifest(run, loading={**loading, "overrides": {name: name}})
    tame("verify", run)
    for schema in (name, 1):
        change_manifest(run, schema=schema, kind=name, status="finished")
        tame("report", run)


def test_faults_of_a_received_manifest(run: Path) -> None:
    name = WILD + FORGED
    change_manifest(run, kind=name, head={**manifest_of(run)["head"], "architecture": name, name: 1}, **{name: 1})
    assert "its kind is" in tame("verify", run, "--quiet")


def test_a_received_table(run: Path) -> None:
    name = WILD + FORGED
    for entry in ("verdict", "evidence", "witness", "token"):
        columns = columns_of(run)
        columns[entry][0] = name.replace("\ud800", "")
        pq.write_table(pa.table(columns, schema=VERDICTS), run / "verdicts.parquet")
        tame("verify", run, "--quiet")
    tame("diff", run, run)


def test_names_of_files_and_options(tmp_path: Path) -> None:
    name = (WILD + FORGED).replace("\x00", "").replace("\ud800", "")
    for arguments in (("scan", name), ("verify", tmp_path / name), ("report", tmp_path / name), ("diff", name, name)):
        tame(*arguments)
    tame("scan", "--head", tmp_path / name)
    tame("scan", "--domain", name)
    tame("scan", f"--{name}")
    tame(name)


def test_tensor_names_of_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"model_type": "llama\x1b[0m", "architectures": [f"owned{WILD}"], "vocab_size": 24}
    (folder / "config.json").write_text(json.dumps(config))
    name = f"owned{WILD}.weight".replace("\x00", "").replace("\ud800", "")
    tensors = {name: np.random.default_rng(3).standard_normal((24, 4)).astype(np.float32)}
    save_file(tensors, folder / "model.safetensors")
    tame("scan", folder, "--out", tmp_path / "run")
    tame("scan", folder, "--weight-tensor", "owned.weight", "--norm", "none", "--out", tmp_path / "run")
    by_hand = ("--weight-tensor", name, "--norm", "none")
    assert reach("scan", folder, *by_hand, "--out", tmp_path / "run", "--quiet", "--no-report").code == 0
    tame("verify", tmp_path / "run", "--quiet")


def test_a_summary_of_a_wild_model_name(run: Path, tmp_path: Path) -> None:
    """The page is written, and the summary printed, from the manifest that `--resume` finds."""
    change_manifest(run, model=f"owned{WILD}{FORGED}")
    head = manifest_of(run)["loading"]["model"]
    text = tame("scan", "--head", head, "--out", run, "--resume", "--quiet")
    assert text.count("24 tokens × 4 dimensions") == 1
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in page and "\u202e" not in page


def test_what_libraries_log_about_a_model(run: Path) -> None:
    """Such as transformers about a tensor that a model does not have."""
    before = logging.getLogRecordFactory()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        assert reach("report", run).code == 0
        logger.warning("not used: %s\nand %s", [f"owned{WILD}"], f"owned{WILD}")
    finally:
        logger.removeHandler(handler)
        logging.setLogRecordFactory(before)
    assert not wild_in(stream.getvalue())
    assert stream.getvalue().count("\n") == 2
    assert "and owned\\x1b[2J" in stream.getvalue()


def test_the_search_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with SearchBar(quiet=False) as bar:
        bar._bar.delay = 0
        bar.show(f"owned{WILD}", 3, 1)
        bar._bar.refresh()
    err = capsys.readouterr().err.replace("\r", "").replace("\x1b[A", "")  # of the bar itself
    assert "owned" in err
    assert not wild_in(err)
