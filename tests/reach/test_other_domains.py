"""Ellipsoids and balls cut by boxes from the command line to the page: scan, verify, manifest, report, comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from reach_command import manifest_of, reach, save_head

from solvers.checks.evidence import Evidence
from solvers.domains import parse

CUT = "ball-box:1.5,-0.5,1"


def rows(seed: int = 0) -> np.ndarray:
    """Gaussian rows, a copy, and a mean of four others."""
    found = np.random.default_rng(seed).standard_normal((30, 5)).astype(np.float32)
    found[5], found[7] = found[6], found[8:12].mean(axis=0)
    return found


@pytest.fixture
def ellipsoid(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    factor = np.eye(5) + 0.2 * rng.standard_normal((5, 5))
    np.savez(tmp_path / "states.npz", mu=0.3 * rng.standard_normal(5), L=factor, r=1.5)
    return tmp_path / "states.npz"


def verdicts(run: Path) -> dict[str, list[str]]:
    table = pq.read_table(run / "verdicts.parquet", columns=["verdict", "evidence"])
    return table.to_pydict()


@pytest.mark.parametrize("offsets", [False, True], ids=["no-offsets", "offsets"])
@pytest.mark.parametrize("kind", ["ellipsoid", "ball-box"])
def test_scanned_verified_and_told(tmp_path: Path, ellipsoid: Path, kind: str, offsets: bool) -> None:
    bias = {"b": 0.3 * np.random.default_rng(2).standard_normal(30)} if offsets else {}
    if offsets:
        bias["b"][7] = bias["b"].min()
    head = save_head(tmp_path / "head.npz", rows(), **bias)
    words, run = (f"ellipsoid:{ellipsoid}" if kind == "ellipsoid" else CUT), tmp_path / "run"
    ended = reach("scan", "--head", head, "--domain", words, "--out", run, "--quiet", "--exact")
    assert ended.code == 0, ended.err
    found = verdicts(run)
    assert "undecided" not in found["verdict"]
    assert set(found["evidence"]) == {str(Evidence.EXACT)}
    assert found["verdict"][7] == "unspeakable"  # the mean of four others
    assert found["verdict"].count("speakable") > 15
    manifest = manifest_of(run)
    assert manifest["squared_radius"] is None
    if kind == "ball-box":
        assert manifest["domain"] == CUT
        assert parse(CUT, 5).describe() == CUT
    else:
        assert manifest["domain"].startswith("ellipsoid:d=5,r=1.5 (")
    verified = reach("verify", run, "--quiet")
    assert verified.code == 0, verified.err
    page = (run / "report.html").read_text(encoding="utf-8")
    said = "an ellipsoid (d = 5, r = 1.5, " if kind == "ellipsoid" else "the part of the open ball of radius 1.5"
    assert said in page


def test_another_ellipsoid_in_the_file_is_another_domain(tmp_path: Path, ellipsoid: Path) -> None:
    head, run = save_head(tmp_path / "head.npz", rows()), tmp_path / "run"
    words = f"ellipsoid:{ellipsoid}"
    assert reach("scan", "--head", head, "--domain", words, "--out", run, "--quiet", "--no-report").code == 0
    held = dict(np.load(ellipsoid))
    np.savez(ellipsoid, **held | {"r": 1.5000001})
    assert "this run is over ellipsoid:d=5,r=1.5 (" in reach("verify", run, "--quiet").complaint
    ellipsoid.unlink()
    assert f"--domain {words}: {ellipsoid} is no file" in reach("verify", run, "--quiet").complaint


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"mu": np.zeros(5), "L": np.eye(5)}, "has no r"),
        ({"mu": np.zeros(5), "L": np.eye(4), "r": 1.0}, "the rows ask for mu (5,)"),
        ({"mu": np.zeros(5), "L": np.array(["a"] * 5), "r": 1.0}, "is stored as <U1"),
        ({"mu": np.zeros(5), "L": np.array([None] * 5), "r": 1.0}, "is no .npz archive that can be read"),
        ({"mu": np.zeros(5), "L": np.zeros((200, 200)), "r": 1.0}, "more than a domain of this head can need"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    head, file = save_head(tmp_path / "head.npz", rows()), tmp_path / "states.npz"
    np.savez(file, **arrays)
    ended = reach("scan", "--head", head, "--domain", f"ellipsoid:{file}", "--out", tmp_path / "run")
    assert reason in ended.complaint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_archive_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    head, file = save_head(tmp_path / "head.npz", rows()), tmp_path / "states.npz"
    file.write_bytes(content)
    ended = reach("scan", "--head", head, "--domain", f"ellipsoid:{file}", "--out", tmp_path / "run")
    assert f"{file} is no .npz archive that can be read" in ended.complaint


@pytest.mark.parametrize("kind", ["ellipsoid", "ball-box"])
def test_the_comparison_takes_them(tmp_path: Path, ellipsoid: Path, kind: str) -> None:
    head = save_head(tmp_path / "head.npz", rows())
    words = f"ellipsoid:{ellipsoid}" if kind == "ellipsoid" else CUT
    names = "own-row,reflection,batched-barrier,clarabel"
    asked = ("--head", head, "--domain", words, "--backends", names, "--sample", "10", "--no-strength")
    ended = reach("compare-solvers", *asked, "--out", tmp_path / "out", "--quiet", "--json")
    assert ended.code == 0, ended.err
    grades = {one["backend"]: one for one in json.loads(ended.out)["problems"]["model"]["grades"]}
    for name in ("batched-barrier", "clarabel"):
        assert grades[name]["right"] == grades[name]["claims"] >= 8
    refused = reach("compare-solvers", *asked[:4], "--backends", "highs", "--no-strength", "--out", tmp_path / "no")
    assert "highs works on Free, Box, not on " in refused.complaint
