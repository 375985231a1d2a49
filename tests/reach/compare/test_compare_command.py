"""`reach compare-solvers` through the real command line, on heads small enough for every backend."""

import json
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from reach.cli import main
from reach.compare import hidden
from reach.compare.hidden import measure_hidden
from reach.compare.record import SOLVERS
from solvers.domains import Free
from solvers.problem import ArgmaxProblem


@pytest.fixture
def head(tmp_path):
    """A 6-cube's corners shrunk at random with inner points: 40 rows in 4 dimensions, some of them in the hull."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.standard_normal((30, 4)), 0.2 * rng.standard_normal((10, 4))]).astype(np.float32)
    path = tmp_path / "head.npz"
    np.savez(path, W=rows)
    return path


def compare(head, out, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["compare-solvers", "--head", str(head), "--domain", "free", "--out", str(out), "--quiet", *arguments])
    assert ended.value.code in (0, None)


def failing(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["compare-solvers", *arguments])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_given_a_head_when_compared_then_tables_and_grades_agree(head, tmp_path, capsys):
    out = tmp_path / "run"
    names = "own-row,random-directions,batched-barrier,highs,linprog-feasibility"
    compare(head, out, "--backends", names, "--sample", "16", "--no-strength", "--json")
    result = json.loads(capsys.readouterr().out)
    table = pq.read_table(out / "solvers.parquet")
    assert table.schema.names == SOLVERS.names
    assert table.num_rows == 5 * 16
    grades = {grade["backend"]: grade for grade in result["problems"]["model"]["grades"]}
    assert set(grades) == set(names.split(","))
    for name in ("batched-barrier", "highs"):
        # Complete backends settle all 16 tokens, and the checkers accept all certificates.
        assert grades[name]["verified"] == grades[name]["right"] == grades[name]["claims"] == 16
    assert grades["own-row"]["claims"] == 0  # it evaluates nothing, so it claims nothing
    rows = table.to_pylist()
    verified = [r for r in rows if r["verified"] is not None]
    assert all(r["verified"] == r["truth"] for r in verified)
    assert json.loads((out / "solvers.json").read_text())["problems"].keys() == {"model"}


def test_given_a_finished_comparison_when_run_again_then_nothing_is_solved_twice(head, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ("--backends", "linprog-highs-ds,batched-barrier", "--sample", "8", "--no-strength")
    compare(head, out, *arguments)
    parts = {path: path.stat().st_mtime_ns for path in (out / "solvers").glob("*.parquet")}
    assert len(parts) == 2
    time.sleep(0.01)
    compare(head, out, *arguments)
    assert {path: path.stat().st_mtime_ns for path in (out / "solvers").glob("*.parquet")} == parts
    # Interrupted after one backend: only the missing part is made anew.
    next(iter(parts)).unlink()
    compare(head, out, *arguments)
    assert len(list((out / "solvers").glob("*.parquet"))) == 2
    compare(head, out, *arguments, "--seconds", "4")  # other settings: nothing is reused
    assert len(list((out / "solvers").glob("*.parquet"))) == 4
    capsys.readouterr()


def test_a_damaged_part_is_named(head, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ("--backends", "batched-barrier", "--sample", "8", "--no-strength")
    compare(head, out, *arguments)
    part = next((out / "solvers").glob("*.parquet"))
    part.write_bytes(b"PAR1")
    capsys.readouterr()
    line = failing(capsys, "--head", str(head), "--domain", "free", "--out", str(out), "--quiet", *arguments)
    assert part.name in line
    assert "delete it" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backends", "clarabell"), ("clarabell", "clarabel")),
        (("--backends", "highs", "--domain", "ball:2"), ("highs works on", "these can:", "clarabel")),
        (("--seconds", "0"), ("--seconds", "> 0")),
        (("--sample", "41"), ("--sample 41", "40")),
        (("--sample", "0"), ("--sample", "at least 1")),
        (("--tolerance", "1"), ("--tolerance",)),
    ],
)
def test_bad_input_is_one_clear_line(head, tmp_path, capsys, arguments, words):
    if "--domain" not in arguments:
        arguments = (*arguments, "--domain", "free")
    line = failing(capsys, "--head", str(head), "--out", str(tmp_path / "run"), *arguments)
    assert all(word in line for word in words), line
    assert not (tmp_path / "run").exists()


def test_the_run_of_another_model_is_refused(head, tmp_path, capsys):
    out = tmp_path / "run"
    compare(head, out, "--backends", "own-row", "--sample", "4", "--no-strength")
    other = tmp_path / "other.npz"
    np.savez(other, W=np.eye(5, dtype=np.float32))
    capsys.readouterr()
    line = failing(capsys, "--head", str(other), "--domain", "free", "--out", str(out), "--sample", "4")
    assert "another model" in line


def test_hidden_token_estimates_stand_beside_the_truth(monkeypatch):
    """Cross-polytope in 8 dimensions: 16 equally likely winners; the centre is never seen."""
    monkeypatch.setattr(hidden, "_SAMPLES", 2000)
    rows = torch.cat([torch.eye(8), -torch.eye(8), torch.zeros(1, 8)])
    truth = np.array(["speakable"] * 16 + ["unspeakable"], dtype=object)
    found = {r.method: r for r in measure_hidden(ArgmaxProblem(rows, Free()), truth, 0, lambda *_: None)}
    assert set(found) == {"random-directions", "reflection", "adam", "sgd", "lbfgs"}
    for result in found.values():
        assert result.wrong == 0
        assert result.found == result.truth == 16
        assert result.estimates[0].holds_truth
