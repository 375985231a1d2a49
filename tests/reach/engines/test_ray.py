"""A real Ray cluster of two workers on this machine: the same tables, and what deaths in it cost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_bench import descendants
from engine_heads import complain, die_once, files_of, plus_one, scanned, size_of
from killing import scan_while_killing
from reach_command import manifest_of, reach, save_head, start_reach

from reach.engines.cluster import Ray
from solvers.errors import BadInput

ray = pytest.importorskip("ray", reason="needs Ray: pip install ray")

WAIT = 90
"""Seconds after which what does not happen fails the test."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Ray]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the workers
        with Ray(workers=2) as made:
            yield made


@pytest.mark.parametrize("kind", ["cone inside a ball", "ball", "box"])
def test_tables_are_those_of_one_process(engine: Ray, kind: str) -> None:
    assert scanned(kind, 6, engine=engine) == scanned(kind, 6)


def test_tasks_share_one_object_and_are_an_executor(engine: Ray, tmp_path: Path) -> None:
    shared = engine.share({"rows": torch.ones((1000, 8), dtype=torch.bfloat16)})
    seen = list(engine.map(size_of, [shared] * 6))
    assert {total for _, total in seen} == {8000.0}
    assert os.getpid() not in {who for who, _ in seen}
    assert list(engine.map(plus_one, range(5))) == [1, 2, 3, 4, 5]
    with pytest.raises(BadInput, match=r"^this head is not to my liking$"):
        engine.submit(complain).result(WAIT)
    assert engine.submit(die_once, str(tmp_path / "marker")).result(WAIT) == "done"


def test_an_object_store_that_is_full_is_one_line(engine: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray makes room on the disk first; what it says when that is full, too."""

    def full(_: object) -> None:
        raise ray.exceptions.OutOfDiskError("Local disk is full\nThe object cannot be created")

    monkeypatch.setattr(ray, "put", full)
    with pytest.raises(BadInput, match=r"^--engine ray: the object store is full"):
        engine.share(torch.zeros(2**10))


def test_workers_killed_at_random_cost_nothing_but_time(engine: Ray, tmp_path: Path) -> None:
    def workers() -> list[int]:
        return [pid for pid, name in descendants(os.getpid()).items() if name.startswith("ray::_call")]

    scan_while_killing(engine, tmp_path, workers, (0.3, 1.0))


def test_a_head_node_that_is_killed_is_one_line_and_the_scan_goes_on_without(tmp_path: Path) -> None:
    """The command starts a cluster of its own, whose head is killed; the rest is done by the engine in process."""
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((240, 6)) * rng.uniform(0.2, 1.0, (240, 1))
    bare = save_head(tmp_path / "head.npz", rows, gamma=np.ones(6))
    command = ("scan", "--head", bare, "--quiet", "--no-report", "--jobs", 1, "--block-tokens", 32, "--out")
    assert reach(*command, tmp_path / "alone").code == 0
    run = tmp_path / "run"
    process: subprocess.Popen[str] = start_reach(*command, run, "--engine", "ray", "--workers", 2)
    end = time.monotonic() + WAIT
    while len(list((run / "blocks").glob("[0-9]*.safetensors"))) < 10:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.005)
    below = descendants(process.pid)
    workers = [pid for pid, name in below.items() if name.startswith("ray::")]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # or they might be done before anybody looks
    os.kill(next(pid for pid, name in below.items() if "gcs_server" in name), signal.SIGKILL)
    _, err = process.communicate(timeout=WAIT)
    lines = [line for line in err.splitlines() if line.startswith("reach: ") and "note:" not in line]
    assert process.returncode == 2, err
    assert len(lines) == 1
    assert "the head node at" in lines[0] and "go on with --resume" in lines[0]
    assert manifest_of(run)["status"] == "running"
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + WAIT
    while left := [pid for pid in below if Path(f"/proc/{pid}").exists()]:  # all of the cluster ends with the command
        assert time.monotonic() < end, [below[pid] for pid in left]
        time.sleep(0.1)
    assert reach(*command, run, "--resume").code == 0
    assert files_of(run) == files_of(tmp_path / "alone")


def test_addresses_at_which_nobody_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address, reason in (
        (f"127.0.0.1:{port}", "nobody answers there"),
        ("127.0.0.1", "write HOST:PORT"),
        ("nowhere:99999999", "write HOST:PORT"),
    ):
        outcome = reach("scan", "--out", tmp_path / "run", "--engine", "ray", "--address", address, "--quiet")
        assert reason in outcome.complaint
        assert not (tmp_path / "run").exists()
