"""`reach scan` over many models: every one gets its run, what is there is skipped, what is broken stops no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from local_hub import COMMIT, point_at, serving
from reach_command import columns_of, reach
from tiny_models import V, build, edit_tensors

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
