"""`reach scan --arithmetic`: what a run then holds, that `verify` proves it again, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reach_command import ROOT, change_manifest, manifest_of, reach, save_head
from safetensors.numpy import load_file, save_file

import reach as api
from reach.runs.schema import SERVED, SERVED_NAMES, SERVED_WEIGHTS
from reach.scanning import served as scanning
from reach.served import served_class
from solvers.errors import BadInput

FORMATS = ("float32", "bfloat16", "float16")
FAR, NEAR, FIRST, LAST, WINNER = 10, 11, 20, 95, 40
"""Tokens that lose by much, by little, two that bfloat16 cannot tell apart, and one that wins by far."""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((100, 6)) + 2
    offsets = 0.1 * rng.standard_normal(100)
    rows[WINNER] *= 3
    rows[FAR], offsets[FAR] = rows[50:90].mean(axis=0), -3.0
    rows[NEAR], offsets[NEAR] = rows[60:63].mean(axis=0), offsets[60:63].mean() - 1e-4
    rows[LAST] = rows[FIRST] * (1 + 2.0**-14)
    offsets[LAST] = offsets[FIRST]
    gamma = rng.uniform(0.5, 1.5, 6)
    return save_head(tmp_path_factory.mktemp("head") / "head.npz", rows, gamma=gamma, b=offsets, norm="rmsnorm")


@pytest.fixture(scope="module")
def run(head: Path) -> Path:
    folder = head.parent / "run"
    outcome = reach("scan", "--head", head, "--out", folder, "--arithmetic", ",".join(FORMATS), "--quiet")
    assert outcome.code == 0
    assert "as served (ties go to the first id, the bias is added before the sum is rounded), in every" in outcome.out
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def rows_of(folder: Path, arithmetic: str) -> list[dict[str, Any]]:
    rows = pq.read_table(folder / "served.parquet").to_pylist()
    return [row for row in rows if row["arithmetic"] == arithmetic]


def test_planted_tokens_are_told(run: Path) -> None:
    for name in FORMATS:
        rows = rows_of(run, name)
        assert [row["token_id"] for row in rows] == list(range(100))
        assert rows[WINNER]["served"] == "every-order" and rows[FAR]["served"] == "never"
        assert all(row["served"] == served_class(row["returned"], row["barred"]) for row in rows)
    fine, coarse = rows_of(run, "float32"), rows_of(run, "bfloat16")
    # In bfloat16 the two rows are one: nobody can tell them apart but by the order of summation.
    assert coarse[FIRST]["barred"] == "not-alone" and coarse[LAST]["barred"] == "not-every-order"
    assert coarse[FIRST]["served"] in ("tie", "undecided") and coarse[LAST]["served"] in ("order", "undecided")
    assert fine[LAST]["served"] == "every-order"
    classes = [row["served"] for row in fine]
    assert classes.count("undecided") <= 5


def test_verify_proves_it_again(run: Path) -> None:
    assert reach("verify", run, "--quiet").code == 0


def test_what_is_said_of_it(run: Path, head: Path, tmp_path: Path) -> None:
    verdicts = api.open(run)
    assert list(verdicts.served) == list(FORMATS)
    assert SERVED_NAMES[verdicts.served["bfloat16"][FAR]] == "never"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="served-title">As served</h2>' in page
    assert reach("report", run, "--markdown", "--out", tmp_path / "card.md").code == 0
    markdown = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "### As served" in markdown and "| bfloat16 |" in markdown
    table = list(csv.DictReader(io.StringIO(reach("export", run, "--csv").out)))
    assert table[FAR]["served_float16"] == "never" and table[WINNER]["served_bfloat16"] == "every-order"
    plain = tmp_path / "plain"
    assert reach("scan", "--head", head, "--out", plain, "--quiet").code == 0
    assert not list(plain.glob("served*")) and api.open(plain).served == {}
    assert "As served</h2>" not in (plain / "report.html").read_text(encoding="utf-8")


def test_conditions_for_a_pipeline(head: Path, tmp_path: Path) -> None:
    common = ("--head", head, "--quiet", "--no-report")
    outcome = reach(
        "scan", *common, "--out", tmp_path / "a", "--arithmetic", "bfloat16", "--fail-on", "never-bfloat16", "--json"
    )
    assert (outcome.code == 1 and f"(#{FAR})" in outcome.err) or f"#{FAR}" in outcome.err
    record = json.loads(outcome.out)
    assert FAR in record["fail_on"]["never-bfloat16"]["tokens"]
    assert record["served"][0]["arithmetic"] == "bfloat16" and record["served"][0]["never"] >= 1
    assert (
        "with --arithmetic bfloat16"
        in reach("scan", *common, "--out", tmp_path / "b", "--fail-on", "never-bfloat16").complaint
    )
    assert not (tmp_path / "b").exists()


def test_what_python_says() -> None:
    verdicts = api.prove(np.eye(4), domain="ball:2", arithmetic=("bfloat16",), tokens=[0, 2])
    assert verdicts.served["bfloat16"].tolist() == [0, 255, 0, 255]
    assert verdicts.verify().ok
    free = api.prove(np.eye(4), arithmetic="float16", ties="last")
    assert free.served["float16"].tolist() == [0, 0, 0, 0] and free.verify().ok
    equal = api.prove(np.ones((3, 2)), domain="box:-1,1", arithmetic=FORMATS)
    assert equal.verify().ok and not {*equal.served["bfloat16"].tolist()} & {0, 3}
    assert api.prove(np.eye(3)).served == {}


@pytest.mark.parametrize("ties", ["first", "last"])
def test_equal_rows_share_by_the_rule(ties: str) -> None:
    rows = np.concatenate([np.eye(3), np.eye(3)[:1]])
    verdicts = api.prove(rows, domain="ball:2", arithmetic="bfloat16", ties=ties)
    returned, other = (0, 3) if ties == "first" else (3, 0)
    names = [SERVED_NAMES[code] for code in verdicts.served["bfloat16"]]
    assert names[returned] == "tie" and names[other] in ("order", "undecided")
    assert names[1] == names[2] == "every-order" and verdicts.verify().ok


def changed(token: int, **values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        rows = pq.read_table(folder / "served.parquet").to_pylist()
        for row in rows:
            row.update(values if row["token_id"] == token and row["arithmetic"] == "bfloat16" else {})
        pq.write_table(pa.Table.from_pylist(rows, schema=SERVED), folder / "served.parquet")

    return apply


def weights_changed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        rows = pq.read_table(folder / "served_weights.parquet").to_pylist()
        rows = [change(row) if (row["arithmetic"], row["token_id"]) == ("bfloat16", FAR) else row for row in rows]
        pq.write_table(pa.Table.from_pylist(rows, schema=SERVED_WEIGHTS), folder / "served_weights.parquet")

    return apply


def _fewer(folder: Path) -> None:
    table = pq.read_table(folder / "served.parquet")
    pq.write_table(table.slice(1), folder / "served.parquet")


def _other_point(folder: Path) -> None:
    arrays = load_file(folder / "served_points.safetensors")
    arrays["point.bfloat16"] = -arrays["point.bfloat16"]
    save_file(arrays, folder / "served_points.safetensors")


def _no_point(folder: Path) -> None:
    arrays = load_file(folder / "served_points.safetensors")
    kept = {name: array[1:].copy() if name.endswith(".bfloat16") else array for name, array in arrays.items()}
    save_file(kept, folder / "served_points.safetensors")


def _said_to_win_without_weights(folder: Path) -> None:
    changed(FAR, **WON)(folder)
    rows = pq.read_table(folder / "served_weights.parquet").to_pylist()
    kept = [row for row in rows if (row["arithmetic"], row["token_id"]) != ("bfloat16", FAR)]
    pq.write_table(pa.Table.from_pylist(kept, schema=SERVED_WEIGHTS), folder / "served_weights.parquet")


WON = {"served": "every-order", "returned": "alone", "barred": None, "point": "own-row"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(FAR, **WON), "weights are stored for it that prove nothing"),
        (_said_to_win_without_weights, "its point does not prove that it is returned"),
        (changed(FAR, served="every-order"), "does not follow from its proofs"),
        (changed(WINNER, served="never", returned=None, barred="never", point=None), "but its weights prove nothing"),
        (changed(WINNER, point=None), "do not fit each other"),
        (changed(WINNER, point="oath"), "unknown kind 'oath'"),
        (changed(WINNER, point="stored"), "does not prove that it is returned"),
        (changed(WINNER, returned="twice", served="undecided"), "does not prove that it is returned: 'twice'"),
        (changed(WINNER, returned="one-order", served="undecided", orders="pairs/by heart"), "does not prove"),
        (changed(FAR, barred="not-alone", served="undecided"), "but its weights prove never"),
        (changed(FAR, barred=None, served="undecided"), "weights are stored for it that prove nothing"),
        (weights_changed(lambda row: row | {"weight": -row["weight"]}), "but its weights prove nothing"),
        (weights_changed(lambda row: row | {"token_id": WINNER}), "but its weights prove nothing"),
        (_fewer, "does not hold one row of"),
        (_other_point, "does not prove that it is returned"),
        (_no_point, "does not prove that it is returned"),
    ],
)
def test_what_was_changed_is_named(copy: Path, change: Callable[[Path], None], said: str) -> None:
    change(copy)
    outcome = reach("verify", copy, "--quiet", "--json")
    failed = json.loads(outcome.out)["failed"]
    assert outcome.code == 1 and any(said in one["reason"] for one in failed), failed


def test_what_the_manifest_says_is_held_against_it(copy: Path) -> None:
    settings = manifest_of(copy)["settings"]
    change_manifest(copy, settings=settings | {"arithmetic": []})
    assert "not asked about, yet served.parquet is there" in reach("verify", copy, "--quiet").out
    change_manifest(copy, settings=settings | {"arithmetic": ["float32"]})
    assert "was not asked about 'bfloat16'" in reach("verify", copy, "--quiet").out
    change_manifest(copy, settings=settings | {"ties": "any"})
    assert "its settings.ties is 'any'" in reach("verify", copy, "--quiet").complaint
    change_manifest(copy, settings=settings | {"arithmetic": ["float64"]})
    assert "which names no formats" in reach("verify", copy, "--quiet").complaint
    change_manifest(copy, settings=settings, head=manifest_of(copy)["head"] | {"softcap": 30.0})
    assert "nothing is proved of servers" in reach("verify", copy, "--quiet").out
    change_manifest(copy, head=manifest_of(copy)["head"] | {"softcap": None})
    (copy / "served.parquet").unlink()
    assert "asked about, yet served.parquet is missing" in reach("verify", copy, "--quiet").out


def test_damaged_points_are_one_line(copy: Path) -> None:
    arrays = load_file(copy / "served_points.safetensors")
    save_file(
        {**arrays, "token_id.bfloat16": arrays["token_id.bfloat16"][1:].copy()}, copy / "served_points.safetensors"
    )
    assert "do not fit each other" in reach("verify", copy, "--quiet").complaint


def test_what_no_server_does_is_refused(head: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert (
        "there is no format 'float8'"
        in reach("scan", "--head", head, "--out", run, "--arithmetic", "float8").complaint
    )
    assert "choose one of first, last" in reach("scan", "--head", head, "--out", run, "--ties", "any").complaint
    large = save_head(tmp_path / "large.npz", 1e5 * np.eye(3), gamma=np.ones(3), norm="rmsnorm")
    assert (
        "beyond the largest float16"
        in reach("scan", "--head", large, "--out", run, "--arithmetic", "float16").complaint
    )
    assert not run.exists()
    loaded = api.load({"W": np.eye(3)}, domain="ball:1")
    for odd, word in (({"softcap": 30.0}, "caps"), ({"logit_scale": 2.0}, "scales")):
        with pytest.raises(BadInput, match=f"{word} its logits"):
            api.scan(replace(loaded, **odd), arithmetic="bfloat16")


def test_a_scan_that_is_interrupted_keeps_the_formats_that_are_done(
    head: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done = tmp_path / "run", []
    search = scanning._Search.run

    def interrupted(self, tokens):
        done.append(self.head.form.name)
        if len(done) == 3:
            raise KeyboardInterrupt
        return search(self, tokens)

    monkeypatch.setattr(scanning._Search, "run", interrupted)
    command = ("scan", "--head", head, "--out", folder, "--arithmetic", ",".join(FORMATS), "--quiet", "--no-report")
    assert reach(*command).code == 130 and done == list(FORMATS)
    points = folder / "blocks" / "served-bfloat16" / "served_points.safetensors"
    save_file({name: -array if "point" in name else array for name, array in load_file(points).items()}, points)
    outcome = reach(*command, "--resume")
    assert outcome.code == 0 and done[3:] == ["bfloat16", "float16"] and "it is done again" in outcome.err
    assert pq.read_table(folder / "served.parquet").equals(pq.read_table(run / "served.parquet"))
    assert not (folder / "blocks").exists() and reach("verify", folder, "--quiet").code == 0


def test_replays_in_real_arithmetic_contradict_nothing(run: Path, head: Path) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from served_replays import replay
    finally:
        sys.path.pop(0)
    for tally in replay(api.open(run), api.load(str(head)).problem(), points=2000).values():
        assert len(tally.replays) == 9 and min(tally.replays.values()) > 2000 and not tally.wrong
