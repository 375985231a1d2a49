"""The command from end to end on small heads: its files, its join with a scan, its refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import save_file

from reach.cli import main
from reach.interference.record import TABLE, Indicator, Interference, read_columns
from reach.interference.speakability import indicator_title
from reports.interference_page import interference_page
from solvers.errors import BadInput


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code: object = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return int(code or 0), out, err  # type: ignore[call-overload]


def complaint(result: tuple[int, str, str]) -> str:
    """The one line on stderr of a refused command."""
    code, _, err = result
    lines = [line for line in err.splitlines() if not line.startswith("reach: note: ")]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("reach: "), (code, err)
    return lines[0]


def head(folder: Path, rows: object, name: str = "head.npz", **more: object) -> Path:
    arrays = {key: np.asarray(value, np.float32) for key, value in more.items()}
    np.savez(folder / name, W=np.asarray(rows, np.float32), **arrays)
    return folder / name


def rows(v: int = 60, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((v, d))


QUICK = ("--domain", "free", "--quiet", "--jobs", "1", "--seeds", "2", "--without", "dictionary,blocks")


def test_joined_with_a_scan_in_the_same_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = rows()
    matrix[0] = matrix[1:].mean(axis=0)  # inside the hull of the others: unspeakable
    matrix[1] = (matrix[2] + matrix[3]) / 2
    file, out = head(tmp_path, matrix), tmp_path / "run"
    assert run(capsys, "scan", "--head", file, "--domain", "free", "--out", out, "--quiet", "--no-report")[0] == 0
    # The run knows its model, so it need not be named again.
    code, said, _ = run(capsys, "interference", "--out", out, *QUICK[2:])
    assert code == 0 and "area under the ROC" in said
    record = Interference.read(out)
    verdicts = pq.read_table(out / "verdicts.parquet").column("verdict").to_pylist()
    assert verdicts[0] == verdicts[1] == "unspeakable"
    assert record.speakability.counts.unspeakable == verdicts.count("unspeakable")
    areas = {row.indicator: row.unspeakable for row in record.speakability.indicators}
    assert areas["norm"].auc < 0.2 and areas["norm"].positives == verdicts.count("unspeakable")
    assert "offset" not in areas  # there are none
    # Two matrices have a strongest |cos|: wherever one of the areas stands, it says of which.
    page = interference_page(out)
    for centred, words in ((False, "A as it is"), (True, "A mean-centred")):
        area = areas["strongest_cos" + "_centred" * centred].auc
        (line,) = [line for line in said.splitlines() if f"strongest |cos|, {words}" in line]
        assert f"{area:.2f} (" in line
        (row,) = [row for row in page.indicators if row.title == f"strongest |cos|, {words}"]
        assert row.unspeakable.startswith(f"{area:.3f} (")
    assert "strongest |cos|" not in {row.title for row in page.indicators}
    # Records of older versions did not say: their pages do.
    older = Indicator("strongest_cos", "strongest |cos|", None, None, None)
    assert indicator_title(older) == "strongest |cos|, A as it is"
    cases = {(case.rows, case.centred): case for case in record.cases}
    assert set(cases) == {("A", False), ("A", True)}
    assert set(cases["A", True].controls) == {"gaussian", "covariance", "permuted"}
    band = cases["A", True].controls["gaussian"].statistics["mean"]
    own = cases["A", True].statistics["mean"]
    assert band.z == pytest.approx((own - band.mean) / band.sd) and band.low <= band.mean <= band.high
    assert "no config" in record.left_out["reinitialised"]
    table = read_columns(out)
    assert table.schema.equals(TABLE) and table.num_rows == 2 * 60
    raw = table.filter(np.logical_not(table.column("centred").to_numpy(zero_copy_only=False)))
    stored = np.asarray(matrix, np.float32).astype(float)
    unit = stored / np.linalg.norm(stored, axis=1, keepdims=True)
    cosine = np.abs(unit @ unit.T)
    np.fill_diagonal(cosine, -1)
    assert raw.column("strongest_id").to_pylist() == cosine.argmax(axis=1).tolist()
    assert raw.column("strongest_cos").to_numpy() == pytest.approx(cosine.max(axis=1))
    assert raw.column("norm").to_numpy() == pytest.approx(np.linalg.norm(stored, axis=1))
    assert raw.column("distance_from_mean").to_numpy() == pytest.approx(
        np.linalg.norm(stored - stored.mean(axis=0), axis=1)
    )
    page = (out / "interference.html").read_text(encoding="utf-8")
    assert "How crowded is the output space" in page and "http" not in page.replace("http-equiv", "")


def test_tensors_named_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As for a scan; and a scan that was told them tells them to the measurement, which may still say otherwise."""
    model, out = tmp_path / "model", tmp_path / "run"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "megabrain", "vocab_size": 60, "hidden_size": 6}))
    matrix, gamma = rows().astype(np.float32), np.linspace(0.5, 1.5, 6, dtype=np.float32)
    save_file({"out.w": matrix, "final.g": gamma, "other.g": 2 - gamma}, model / "model.safetensors")
    quick = QUICK[2:]
    words = complaint(run(capsys, "interference", model, "--out", out, *quick))
    assert "megabrain" in words and "--weight-tensor" in words
    named = ("--weight-tensor", "out.w", "--gamma-tensor", "final.g", "--norm", "rmsnorm", "--eps", "1e-6")
    assert run(capsys, "interference", model, "--out", out, *named, *quick)[0] == 0
    first = Interference.read(out)
    assert first.loading["overrides"] == {
        "weight_tensor": "out.w", "gamma_tensor": "final.g", "norm": "rmsnorm", "eps": 1e-6
    }  # fmt: skip
    assert first.norm == "rmsnorm" and {case.rows for case in first.cases} == {"W", "A"}
    scanned = tmp_path / "scanned"
    assert run(capsys, "scan", model, "--out", scanned, *named, "--quiet", "--no-report")[0] == 0
    assert run(capsys, "interference", "--out", scanned, *quick)[0] == 0
    assert Interference.read(scanned).fingerprint == first.fingerprint
    again = ("interference", "--out", scanned, "--force", "--gamma-tensor", "other.g", *quick)
    assert "a scan of another model or of other settings" in complaint(run(capsys, *again))


def test_json_and_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert run(capsys, "interference", "--head", head(tmp_path, rows()), "--out", one, *QUICK)[0] == 0
    other = head(tmp_path, rows(seed=1), "other.npz")
    code, said, _ = run(capsys, "interference", "--head", other, "--out", two, "--beside", one, "--json", *QUICK)
    record = json.loads(said)
    assert code == 0 and record["beside"][0]["model"].endswith("head.npz")
    assert record["speakability"]["reason"].startswith("there is no scan")
    assert "Beside it" in (two / "interference.html").read_text(encoding="utf-8")


def test_wide_enough_heads_get_an_epsilon_and_an_exponent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    arguments = (
        "--out",
        out,
        "--alpha",
        "1,2",
        "--domain",
        "free",
        "--quiet",
        "--jobs",
        "1",
        "--seeds",
        "0",
        "--without",
        "dictionary",
    )
    code, said, _ = run(capsys, "interference", "--head", head(tmp_path, rows(300, 200)), *arguments)
    assert code == 0 and "Johnson–Lindenstrauss interference" in said
    record = Interference.read(out)
    case = record.cases[0]
    assert case.epsilon == pytest.approx(record.theory.packing.epsilon)
    assert [curve.alpha for curve in record.theory.subspaces.curves] == [1, 2]
    assert case.blocks.k == 1 and case.controls == {}
    assert set(read_columns(out).column("above_epsilon").to_pylist()) == {0}


def test_notes_on_rows_that_need_care(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix = rows(8, 12)
    matrix[3], matrix[5] = 0, matrix[4]
    result = run(capsys, "interference", "--head", head(tmp_path, matrix), "--out", tmp_path / "run", *QUICK)
    code, _, err = result
    assert code == 0
    assert "8 rows in 12 dimensions (V ≤ d)" in err
    assert "1 row is equal to an earlier row" in err
    assert "1 rows are zero and have no direction (the first is row 3)" in err
    table = read_columns(tmp_path / "run").to_pydict()
    assert table["strongest_id"][3] is None and np.isnan(table["strongest_cos"][3])
    assert table["strongest_id"][5] == 4 and table["strongest_cos"][5] == pytest.approx(1)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.ones((5, 1)) * np.arange(1, 6)[:, None], "d = 1"),
        (np.ones((5, 3)), "all rows are equal"),
        (np.zeros((5, 3)), "all rows but one are zero"),
        (np.array([[1, np.nan], [2, 1], [0, 1]]), "NaN"),
    ],
)
def test_matrices_that_cannot_be_measured(
    matrix: np.ndarray, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert words in complaint(run(capsys, "interference", "--head", head(tmp_path, matrix), "--out", out, *QUICK))
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--alpha", "0"), "exponent must be a finite number > 0"),
        (("--alpha", "nan"), "exponent must be a finite number > 0"),
        (("--alpha", "1,x"), "give numbers, separated by commas"),
        (("--seeds", "-1"), "--seeds must lie between"),
        (("--jobs", "0"), "--jobs must be at least 1"),
        (("--without", "magic"), "there is no part 'magic'"),
        (("--beside", "nowhere"), "no such run folder"),
    ],
)
def test_options_out_of_range(
    options: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = head(tmp_path, rows())
    given = ("interference", "--head", file, "--domain", "free", "--out", tmp_path / "run", *options)
    assert words in complaint(run(capsys, *given))


def test_a_result_is_kept_and_another_models_scan_is_not_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = head(tmp_path, rows()), tmp_path / "run"
    assert run(capsys, "interference", "--head", file, "--out", out, *QUICK)[0] == 0
    assert "exists already; overwrite it with --force" in complaint(
        run(capsys, "interference", "--head", file, "--out", out, *QUICK)
    )
    scanned = tmp_path / "scanned"
    assert run(capsys, "scan", "--head", file, "--domain", "free", "--out", scanned, "--quiet", "--no-report")[0] == 0
    other = head(tmp_path, rows(seed=3), "other.npz")
    words = complaint(run(capsys, "interference", "--head", other, "--out", scanned, *QUICK))
    assert "a scan of another model" in words
    assert not (scanned / "interference.json").exists()


def test_damaged_results_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="missing; make it with"):
        Interference.read(tmp_path)
    (tmp_path / "interference.json").write_text("{")
    with pytest.raises(BadInput, match="not readable as JSON"):
        Interference.read(tmp_path)
    (tmp_path / "interference.json").write_text('{"schema": 99}')
    with pytest.raises(BadInput, match="schema 99"):
        Interference.read(tmp_path)
    (tmp_path / "interference.parquet").write_text("no table")
    with pytest.raises(BadInput, match="not readable"):
        read_columns(tmp_path)


def test_missing_scikit_learn_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sklearn", "sklearn.decomposition", "sklearn.cluster", "sklearn.linear_model"):
        monkeypatch.setitem(sys.modules, name, None)
    file, plain = head(tmp_path, rows(200, 4)), ("--domain", "free", "--quiet", "--jobs", "1", "--seeds", "0")
    words = complaint(run(capsys, "interference", "--head", file, "--out", tmp_path / "run", *plain))
    assert "scikit-learn is not installed: pip install scikit-learn" in words and "--without" in words
    assert not (tmp_path / "run").exists()
    assert run(capsys, "interference", "--head", file, "--out", tmp_path / "run", *QUICK)[0] == 0


def test_scikit_learn_is_looked_for_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)  # used only once a dictionary has been learned
    monkeypatch.setattr("reach.interference.run.measure", lambda *_, **__: pytest.fail("measured before the check"))
    file, plain = head(tmp_path, rows(200, 4)), ("--domain", "free", "--quiet", "--jobs", "1", "--seeds", "0")
    words = complaint(run(capsys, "interference", "--head", file, "--out", tmp_path / "run", *plain))
    assert "scikit-learn is not installed" in words


def test_what_was_measured_is_kept_where_the_dictionary_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("no room for the codes")

    monkeypatch.setattr("reach.interference.run.dictionary_curve", fails)
    out, plain = tmp_path / "run", ("--domain", "free", "--quiet", "--jobs", "1", "--seeds", "1")
    code, _, err = run(capsys, "interference", "--head", head(tmp_path, rows()), "--out", out, *plain)
    record = Interference.read(out)
    assert code == 0 and "no room for the codes" in err
    assert record.dictionary.model is None and "MemoryError" in str(record.dictionary.reason)
    assert record.cases[0].controls["gaussian"].draws == 1 and record.cases[0].blocks is not None
    assert "No dictionary was learned" in (out / "interference.html").read_text(encoding="utf-8")


def test_the_number_of_threads_is_left_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    options = (*QUICK[:2], "--quiet", "--jobs", "3", "--seeds", "0", "--without", "dictionary,blocks")
    assert run(capsys, "interference", "--head", head(tmp_path, rows()), "--out", tmp_path / "run", *options)[0] == 0
    assert torch.get_num_threads() == before == 1


def test_the_demo_model_meets_every_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """transformers builds the model afresh; its rows are Gaussian in all but name."""
    pytest.importorskip("transformers")
    options = ("--quiet", "--jobs", "1", "--seeds", "2", "--without", "dictionary,blocks")
    assert run(capsys, "interference", "--out", tmp_path / "run", *options)[0] == 0
    record = Interference.read(tmp_path / "run")
    assert record.left_out == {"E": "the same as W: the model ties its output matrix to its input embedding"}
    case = next(case for case in record.cases if case.rows == "W" and case.centred)
    fresh, gaussian = (case.controls[kind].statistics for kind in ("reinitialised", "gaussian"))
    assert fresh["mean"].mean == pytest.approx(gaussian["mean"].mean, rel=1e-2)
    assert case.statistics["mean"] > 1.5 * fresh["mean"].mean  # training made the rows crowded
    # Lengths are the model's own, so this one number cannot differ by construction.
    lengths = case.controls["covariance"].statistics["features_per_dimension"].mean
    assert lengths > 0
    assert pq.read_table(tmp_path / "run" / "interference.parquet").num_rows == 4 * record.v
