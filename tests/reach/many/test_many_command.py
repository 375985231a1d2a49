"""`reach scan` over many models: every one gets its run, what is there is skipped, what is broken stops no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from local_hub import COMMIT, point_at, serving
from reach_command import columns_of, reach
from tiny_models import V, build, edit_tensors

from reach.scanning.last import LastScan
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from solvers.domains import Ball
from solvers.problem import ArgmaxProblem

QUIET = ("--quiet", "--jobs", 1)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four checkpoints of a tiny GPT-2, each a little further from the first."""
    folder = tmp_path_factory.mktemp("family") / "seed-0"
    build("gpt2", folder / "checkpoint-0")
    for number in range(1, 4):
        target = folder / f"checkpoint-{number * 10}"
        shutil.copytree(folder / "checkpoint-0", target)
        torch.manual_seed(1)

        def moved(tensors: dict[str, torch.Tensor], number: int = number) -> None:
            for tensor in tensors.values():
                tensor.add_(torch.randn(tensor.shape), alpha=0.02 * number)

        edit_tensors(target, moved)
    yield folder


def scanned(checkpoints: Path, runs: Path, *more: object) -> list[Path]:
    outcome = reach("scan", checkpoints, "--runs", runs, *QUIET, *more)
    assert outcome.code == 0, outcome.err
    return [runs / "seed-0" / f"checkpoint-{step}" for step in (0, 10, 20, 30)]


def verdicts(run: Path) -> list[str]:
    found: list[str] = columns_of(run)["verdict"]
    return found


@pytest.mark.parametrize("margins", [(), ("--margins", 0.05)], ids=["verdicts", "margins"])
def test_certificates_of_the_checkpoint_before_change_no_verdict(
    checkpoints: Path, tmp_path: Path, margins: tuple[object, ...]
):
    warm = scanned(checkpoints, tmp_path / "warm", "--no-report", *margins)
    cold = scanned(checkpoints, tmp_path / "cold", "--no-report", "--cold", *margins)
    for one, other in zip(warm, cold, strict=True):
        assert verdicts(one) == verdicts(other)
        assert columns_of(one)["own_direction"] == columns_of(other)["own_direction"]
        assert reach("verify", one, "--quiet").code == 0
    funnels = [[row["stage"] for row in json.loads((run / "manifest.json").read_text())["funnel"]] for run in warm]
    assert ["earlier-run" in funnel for funnel in funnels] == [False, True, True, True]
    assert not any("earlier-run" in (run / "manifest.json").read_text() for run in cold)


def test_the_very_same_head_is_not_searched_again(checkpoints: Path, tmp_path: Path):
    """Two checkpoints that differ beside their heads alone; then one of another head, and the first head again."""
    family = tmp_path / "seed-0"
    for step, source in ((0, 0), (10, 0), (20, 20), (30, 0)):
        shutil.copytree(checkpoints / f"checkpoint-{source}", family / f"checkpoint-{step}")
    inner = "transformer.h.0.mlp.c_fc.weight"
    edit_tensors(family / "checkpoint-10", lambda tensors: tensors[inner].add_(1.0))
    model = {"type": "WordLevel", "vocab": {f"word {number}": number for number in range(V)}, "unk_token": "word 0"}
    (family / "checkpoint-10" / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": []}))
    warm = scanned(family, tmp_path / "warm", "--no-report", "--ceilings", 0.05)
    cold = scanned(family, tmp_path / "cold", "--no-report", "--ceilings", 0.05, "--cold")
    manifests = [json.loads((run / "manifest.json").read_text()) for run in warm]
    assert [one.get("same_head_as") for one in manifests] == [None, "../checkpoint-0", None, None]
    assert not any("same_head_as" in json.loads((run / "manifest.json").read_text()) for run in cold)
    second, alone = warm[1], cold[1]
    tables = sorted(path.name for path in alone.iterdir() if path.suffix in (".parquet", ".safetensors"))
    assert len(tables) >= 4
    for table in tables:
        assert (second / table).read_bytes() == (alone / table).read_bytes(), table
    # What lies beside the head is its own.
    assert [columns_of(run)["token"][7] for run in warm[:2]] == [None, "word 7"]
    funnel, searched = manifests[1]["funnel"], json.loads((alone / "manifest.json").read_text())["funnel"]
    counts = [[(row["stage"], row["rows_in"], row["settled"]) for row in rows] for rows in (funnel, searched)]
    assert counts[0] == counts[1]
    assert sum(row["seconds"] for row in funnel if row["stage"] != "ceilings") == 0
    assert reach("verify", second, "--quiet").code == 0
    far = tmp_path / "far"
    assert reach("scan", family, "--runs", f"file://{far}", *QUIET, "--no-report", "--ceilings", 0.05).code == 0
    at_the_url = far / "seed-0" / "checkpoint-10"
    assert json.loads((at_the_url / "manifest.json").read_text())["same_head_as"] == "../checkpoint-0"
    assert (at_the_url / "verdicts.parquet").read_bytes() == (second / "verdicts.parquet").read_bytes()


def test_the_same_head_asked_otherwise_is_searched():
    """Tokens, settings, domain, and how exactly rows are known: with any of them another, nothing is taken over."""
    rows = torch.randn((20, 4), generator=torch.Generator().manual_seed(0))

    def problem(radius: float = 2.0, error: float = 0.0) -> ArgmaxProblem:
        return ArgmaxProblem(rows, Ball(radius), weight_error=torch.full((20,), error, dtype=torch.float64))

    last, settings = LastScan(), ScanSettings()
    found = scan(problem(), settings)
    last.keep(problem(), settings, None, found)
    assert last.again(problem(), settings, None) is None  # no run has been written
    last.run = Path("run")
    again = last.again(problem(), settings, None)
    assert again is not None
    assert again.state is not found.state
    assert again.state.lower.tobytes() == found.state.lower.tobytes()
    assert last.again(problem(), settings, np.arange(20)) is None
    assert last.again(problem(), ScanSettings(margin_gap=0.1), None) is None
    assert last.again(problem(3.0), settings, None) is None
    assert last.again(problem(error=1e-6), settings, None) is None
    last.keep(problem(), settings, None, replace(found, cut=True))
    last.run = Path("run")
    assert last.again(problem(), settings, None) is None


def test_what_is_finished_is_skipped_and_pages_are_completed(checkpoints: Path, tmp_path: Path):
    runs = tmp_path / "runs"
    found = scanned(checkpoints, runs)
    before = [(run / "manifest.json").stat().st_mtime_ns for run in found]
    shutil.rmtree(found[2])
    (found[1] / "report.html").unlink()
    outcome = reach("scan", checkpoints, "--runs", runs, *QUIET)
    assert outcome.code == 0
    assert "1 scanned, 3 there before, 0 could not be scanned" in outcome.out
    assert (found[1] / "report.html").is_file()
    assert (found[2] / "report.html").is_file()
    after = [(run / "manifest.json").stat().st_mtime_ns for run in found]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, True]
    start = (runs / "index.html").read_text()
    assert all(f"seed-0/checkpoint-{step}/report.html" in start for step in (0, 10, 20, 30))


def test_an_unfinished_run_is_gone_on_with(checkpoints: Path, tmp_path: Path):
    found = scanned(checkpoints, tmp_path / "runs", "--no-report")
    manifest = json.loads((found[1] / "manifest.json").read_text())
    unfinished = {**manifest, "status": "running", "finished": None}
    (found[1] / "manifest.json").write_text(json.dumps({k: v for k, v in unfinished.items() if v is not None}))
    before = verdicts(found[1])
    assert "1 scanned, 3 there before" in reach("scan", checkpoints, "--runs", tmp_path / "runs", *QUIET).out
    assert verdicts(found[1]) == before
    assert json.loads((found[1] / "manifest.json").read_text())["resumed"] is True


def test_a_broken_checkpoint_stops_no_other(checkpoints: Path, tmp_path: Path):
    family = tmp_path / "seed-0"
    shutil.copytree(checkpoints, family)
    (family / "checkpoint-10" / "config.json").unlink()  # half-written
    weights = family / "checkpoint-20" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    outcome = reach("scan", family, "--runs", tmp_path / "runs", "--no-report", *QUIET)
    assert outcome.code == 2
    assert "2 scanned, 0 there before, 2 could not be scanned" in outcome.out
    complaints = [line for line in outcome.err.splitlines() if "checkpoint-" in line and "note" not in line]
    assert len(complaints) == 2
    assert "checkpoint-10" in complaints[0]
    assert "config.json" in complaints[0]
    assert "checkpoint-20" in complaints[1]
    assert not (tmp_path / "runs" / "seed-0" / "checkpoint-10").exists()
    assert (tmp_path / "runs" / "index.html").is_file()


def test_another_vocabulary_in_the_series_begins_with_nothing(checkpoints: Path, tmp_path: Path):
    family = tmp_path / "seed-0"
    shutil.copytree(checkpoints, family)
    shutil.rmtree(family / "checkpoint-10")
    build("llama", family / "checkpoint-10")
    outcome = reach("scan", family, "--runs", tmp_path / "runs", "--no-report", "--json", *QUIET)
    assert outcome.code == 0, outcome.err
    record = json.loads(outcome.out)
    assert len(record["runs"]) == 4
    for one in record["runs"]:
        assert sum(one["totals"]["verdicts"].values()) == V
        assert reach("verify", one["run"], "--quiet").code == 0


def test_finished_runs_with_other_settings_are_refused(checkpoints: Path, tmp_path: Path):
    scanned(checkpoints, tmp_path / "runs", "--no-report")
    outcome = reach("scan", checkpoints, "--runs", tmp_path / "runs", "--no-report", "--margins", 0.1, *QUIET)
    assert outcome.code == 2
    assert outcome.err.count("holds a finished run with other settings") == 4
    again = reach(
        "scan", checkpoints, "--runs", tmp_path / "runs", "--no-report", "--margins", 0.1, "--force", *QUIET
    )
    assert "4 scanned" in again.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "x"), "--out is about the run of one model"),
        (("--fail-on", "unspeakable", "--junit", "x.xml"), "--junit is about the run of one model"),
        (("--head", "x.npz"), "--head is about one bare head"),
    ],
)
def test_options_of_a_single_model(checkpoints: Path, arguments: tuple[str, ...], said: str):
    assert said in reach("scan", checkpoints, *arguments).complaint


def test_conditions_hold_for_every_model(checkpoints: Path, tmp_path: Path):
    outcome = reach(
        "scan", checkpoints, "--runs", tmp_path / "runs", "--no-report", "--fail-on", "speakable", *QUIET
    )  # fmt: skip
    assert outcome.code == 1
    assert outcome.err.count("--fail-on: ") == 4


def test_a_single_model_joins_the_runs_of_others(checkpoints: Path, tmp_path: Path):
    runs = tmp_path / "runs"
    scanned(checkpoints, runs, "--no-report")
    build("llama", tmp_path / "newcomer")
    assert reach("scan", tmp_path / "newcomer", "--runs", runs, "--no-report", *QUIET).code == 0
    assert (runs / "newcomer" / "manifest.json").is_file()
    assert "newcomer" in (runs / "index.html").read_text()


def test_revisions_of_a_hub_model(checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with serving(checkpoints / "checkpoint-0") as hub:
        later = f"{1:040x}"
        hub.branches = {"main": COMMIT, "step0": COMMIT, "step20": later}
        hub.commits = {later: checkpoints / "checkpoint-20"}
        point_at(hub, monkeypatch, tmp_path / "cache")
        outcome = reach(
            "scan", "org/tiny", "--revisions", "step*", "--runs", tmp_path / "runs", "--no-report", *QUIET
        )  # fmt: skip
    assert outcome.code == 0, outcome.err
    local = scanned(checkpoints, tmp_path / "local", "--no-report")
    for revision, run in (("step0", local[0]), ("step20", local[2])):
        there = tmp_path / "runs" / "org--tiny" / revision
        prints = [json.loads((one / "manifest.json").read_text())["fingerprint"] for one in (there, run)]
        assert prints[0] == prints[1]
        assert verdicts(there) == verdicts(run)


def test_series_are_scanned_side_by_side(checkpoints: Path, tmp_path: Path):
    """Each in a process of its own; the tables are those of one process, to the byte."""
    family = tmp_path / "family"
    for seed in (0, 1):
        shutil.copytree(checkpoints, family / f"seed-{seed}")
    (family / "seed-1" / "checkpoint-20" / "config.json").unlink()
    outcomes = {
        name: reach("scan", family, "--runs", tmp_path / name, "--no-report", "--quiet", *engine)
        for name, engine in (
            ("here", ("--jobs", 1)),
            ("apart", ("--engine", "processes", "--workers", 2, "--jobs", 2)),
        )
    }  # fmt: skip
    assert [one.code for one in outcomes.values()] == [2, 2]
    for outcome in outcomes.values():
        assert "7 scanned, 0 there before, 1 could not be scanned" in outcome.out
        assert "checkpoint-20: " in outcome.err
    tables = sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.parquet"))
    assert len(tables) >= 7 * 3
    for table in tables:
        assert (tmp_path / "here" / table).read_bytes() == (tmp_path / "apart" / table).read_bytes(), table
