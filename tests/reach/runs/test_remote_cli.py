"""The command as a person runs it, on `file://`: killed, gone on with elsewhere, and in several processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from reach_command import manifest_of, reach_process, start_reach
from tiny_models import build, edit_tensors

SCAN = ("scan", "demo", "--tokens", "0-47", "--block-tokens", 12, "--jobs", 1, "--quiet", "--no-report")


def machine(tmp_path: Path, name: str) -> dict[str, str]:
    """The environment of a machine: its cache folder is its own."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / name)}


def results(run: Path) -> dict[str, bytes]:
    files = {
        str(file.relative_to(run)): file for file in run.rglob("*") if file.suffix in (".parquet", ".safetensors")
    }
    assert "verdicts.parquet" in files
    return {name: file.read_bytes() for name, file in files.items()}


def test_killed_on_one_machine_and_gone_on_with_on_another(tmp_path: Path) -> None:
    local, far = tmp_path / "local", tmp_path / "far" / "run"
    url = f"file://{far}"
    done = reach_process(*SCAN, "--out", local, env=machine(tmp_path, "cache"))
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
        process = start_reach(*SCAN, "--out", url)
    while len(list(far.glob("blocks/*.safetensors"))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert manifest_of(far)["status"] == "running"
    refused = reach_process(*SCAN, "--out", url, env=machine(tmp_path, "one"))
    assert refused.returncode == 2
    assert f"{url}: holds an unfinished run; go on with --resume" in refused.stderr
    before = {file.name: file.stat().st_mtime_ns for file in far.glob("blocks/*.safetensors")}
    done = reach_process(*SCAN, "--out", url, "--resume", env=machine(tmp_path, "two"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"run:    {url}\n")
    assert len(before) >= 3
    assert manifest_of(far)["resumed"] is True
    assert results(far) == results(local)
    assert sorted(file.name for file in far.iterdir()) == sorted(file.name for file in local.iterdir())
    assert not (tmp_path / "two").exists()
    checked = reach_process("verify", url, "--quiet", "--json", env=machine(tmp_path, "two"))
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["run"] == url


def test_two_on_one_machine_are_one_too_many(tmp_path: Path) -> None:
    far = tmp_path / "far"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
        process = start_reach(*SCAN, "--out", f"file://{far}")
    while not (far / "manifest.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    try:
        refused = reach_process(*SCAN, "--out", f"file://{far}", "--resume", env=machine(tmp_path, "one"))
    finally:
        process.send_signal(signal.SIGCONT)
    assert refused.returncode == 2
    assert f"file://{far}: another reach (process {process.pid}) is writing to this run folder" in refused.stderr
    out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    assert manifest_of(far)["status"] == "finished"


def test_series_in_other_processes_write_to_the_url(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for seed in (0, 1):
        first = models / f"seed-{seed}" / "checkpoint-0"
        build("gpt2", first)
        second = shutil.copytree(first, first.with_name("checkpoint-10"))
        edit_tensors(second, lambda tensors, by=0.01 * (seed + 1): [tensor.add_(by) for tensor in tensors.values()])
    # One thread each, as a task has; certificates of the checkpoint before are tried in both.
    scan = (
        "scan",
        models,
        "--tokens",
        "0-23",
        "--no-report",
        "--quiet",
        "--jobs",
        1,
        "--engine",
        "processes",
        "--workers",
        2,
    )
    outcomes: list[subprocess.CompletedProcess[str]] = [
        reach_process(*scan, "--runs", runs, env=machine(tmp_path, "cache"))
        for runs in (tmp_path / "local", f"file://{tmp_path}/far")
    ]
    assert [one.returncode for one in outcomes] == [0, 0], [one.stderr for one in outcomes]
    names = [f"models/seed-{seed}/checkpoint-{step}" for seed in (0, 1) for step in (0, 10)]
    for name in names:
        assert results(tmp_path / "far" / name) == results(tmp_path / "local" / name)
        assert f"file://{tmp_path}/far/{name}: " in outcomes[1].stdout
        funnel = [row["stage"] for row in manifest_of(tmp_path / "far" / name)["funnel"]]
        assert ("earlier-run" in funnel) is name.endswith("-10")
    assert f"start page: file://{tmp_path}/far/index.html" in outcomes[1].stdout
    assert str(tmp_path / "cache") not in outcomes[1].stdout + outcomes[1].stderr
    assert not list((tmp_path / "far").rglob(".*"))
