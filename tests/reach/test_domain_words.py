"""Domains are told apart by what they are: R² exactly, in words, manifests and comparisons."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reach_command import change_manifest, manifest_of, reach, save_head

from reach.heads.domain import parse_domain
from reach.runs.domain_words import domain_words
from reach.runs.folder import RunFolder
from reach.runs.summary import summary_lines
from reports.domain import domain_view
from solvers.domains import Ball, Box, Free

NEARLY = "ball:1.4142135623730951"  # √2 rounded; its square is 2.0000000000000004
ROWS = [[1, 0], [0, 1], [-1, -1], [0.1, 0.2]]


def scan(folder: Path, *options: str) -> Path:
    head = save_head(folder / "head.npz", ROWS, gamma=[1, 1], norm="rmsnorm")
    name = folder / "-".join(option.strip("-") for option in ("run", *options))
    ended = reach("scan", "--head", head, "--out", name, "--quiet", "--no-report", *options)
    assert ended.code == 0, ended.err
    return name


@given(st.floats(1e-300, 1e300))
def test_the_words_of_a_ball_give_the_same_ball_back_and_no_other(squared: float) -> None:
    words = Ball(squared).describe()
    assert parse_domain(words, 3) == Ball(squared)
    for other in (math.nextafter(squared, 0), math.nextafter(squared, math.inf)):
        assert Ball(other).describe() != words


@given(st.floats(1e-150, 1e150))
def test_a_radius_given_by_hand_comes_back_as_it_was_given(radius: float) -> None:
    ball = parse_domain(f"ball:{radius!r}", 3)
    assert isinstance(ball, Ball)
    assert ball.describe() == f"ball:{radius!r}".removesuffix(".0")


def test_words_of_other_domains() -> None:
    assert Free().describe() == "free"
    assert Box(np.array([-0.0, 0]), np.array([1.0, 1])).describe() == "box:0,1"
    assert Ball(64).describe() == "ball:8"
    assert Ball(384).describe() == "ball:sqrt(384)"


@pytest.mark.parametrize("text", ["ball:sqrt()", "ball:sqrt(x)", "ball:sqrt(-2)", "ball:sqrt(2", "ball:sqrt(nan)"])
def test_a_broken_square_is_refused(text: str) -> None:
    ended = reach("scan", "--domain", text)
    assert f"--domain {text}: " in ended.complaint


def test_the_norms_ball_and_its_rounded_radius_are_two_domains(tmp_path: Path) -> None:
    own, rounded = scan(tmp_path), scan(tmp_path, "--domain", NEARLY)
    assert manifest_of(own)["fingerprint"] == manifest_of(rounded)["fingerprint"]
    assert [manifest_of(run)["domain"] for run in (own, rounded)] == ["ball:sqrt(2)", NEARLY]
    assert [manifest_of(run)["squared_radius"] for run in (own, rounded)] == [2, 2.0000000000000004]
    said = [summary_lines(RunFolder.open(run).verdicts())[0] for run in (own, rounded)]
    assert [line.rpartition(" ")[2] for line in said] == ["ball:sqrt(2)", NEARLY]
    views = [domain_view(RunFolder.open(run).record) for run in (own, rounded)]
    assert views[0].words != views[1].words
    assert [view.whole for view in views] == [True, False]
    page = tmp_path / "compare.html"
    assert reach("report", own, rounded, "--out", page).code == 0
    assert "over different domains" in page.read_text(encoding="utf-8")


def test_a_run_over_one_of_them_does_not_verify_as_one_over_the_other(tmp_path: Path) -> None:
    own = scan(tmp_path)
    loading = manifest_of(own)["loading"]
    change_manifest(own, loading=loading | {"domain": NEARLY})
    ended = reach("verify", own, "--quiet")
    assert ended.code == 2
    assert "this run is over ball:sqrt(2), not ball:1.4142135623730951" in ended.complaint


@pytest.mark.parametrize(
    ("asked", "squared", "words"),
    [(None, 2.0, "ball:sqrt(2)"), ("norm", 2.0, "ball:sqrt(2)"), (NEARLY, 2.0000000000000004, NEARLY)],
)
def test_older_manifests_that_gave_the_rounded_radius_are_still_read(
    tmp_path: Path, asked: str | None, squared: float, words: str
) -> None:
    run = scan(tmp_path, *(() if asked is None else ("--domain", asked)))
    manifest = manifest_of(run)
    assert manifest.pop("squared_radius") == squared
    manifest["domain"] = NEARLY
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert domain_words(manifest) == words
    assert reach("verify", run, "--quiet").code == 0


@pytest.mark.parametrize("domain", [None, 3, "ball:x", "ball:sqrt(-1)", "ball:1e999", "ball:nan"])
def test_words_that_make_no_domain_are_passed_on(domain: object) -> None:
    found = domain_words({"domain": domain, "head": {"norm": "rmsnorm"}, "d": 2})
    assert found == (domain if isinstance(domain, str) else None)
