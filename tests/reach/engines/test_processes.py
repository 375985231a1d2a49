"""Processes of this machine: what they are given, how they end, and what their deaths cost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_heads import (
    KINDS,
    complain,
    die_always,
    die_once,
    files_of,
    plus_one,
    scanned,
    size_of,
)
from killing import scan_while_killing
from reach_command import manifest_of, reach, reach_within, save_head, start_reach

from reach.engines import processes
from reach.engines.processes import Processes
from solvers.errors import BadInput

WAIT = 90
"""Seconds after which what does not happen fails the test."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Processes]:
    with Processes(2) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_those_of_one_process(engine: Processes, kind: str) -> None:
    assert scanned(kind, 6, engine=engine) == scanned(kind, 6)


def test_tasks_share_one_object_and_are_an_executor(engine: Processes) -> None:
    rows = torch.ones((1000, 8), dtype=torch.bfloat16)
    shared = engine.share({"rows": rows})
    seen = list(engine.map(size_of, [shared] * 6))
    assert {total for _, total in seen} == {8000.0}
    assert os.getpid() not in {who for who, _ in seen}
    assert list(engine.map(plus_one, range(5))) == [1, 2, 3, 4, 5]
    shared.release()
    with pytest.raises(BadInput, match="not to my liking"):
        engine.submit(complain).result(WAIT)


def test_a_task_whose_worker_dies_is_started_again(tmp_path: Path) -> None:
    with Processes(2) as engine:
        died = engine.submit(die_once, str(tmp_path / "marker"))
        others = [engine.submit(plus_one, number) for number in range(8)]
        assert died.result(WAIT) == "done"
        assert [other.result(WAIT) for other in others] == list(range(1, 9))


def test_a_task_that_kills_every_worker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_MOST_LOSSES", 1)
    with Processes(1) as engine, pytest.raises(BadInput, match="workers died 2 times and finished nothing between"):
        engine.submit(die_always).result(WAIT)


def test_workers_killed_at_random_cost_nothing_but_time(tmp_path: Path) -> None:
    def workers() -> list[int]:
        """Once there is a block: no worker is killed while it starts."""
        return [child.pid or 0 for child in multiprocessing.active_children()] if blocks_of(tmp_path) else []

    with Processes(2) as engine:
        scan_while_killing(engine, tmp_path, workers, (0.5, 2.0))


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((240, 6)) * rng.uniform(0.2, 1.0, (240, 1))
    return save_head(tmp_path_factory.mktemp("head") / "head.npz", rows, gamma=np.ones(6))


@pytest.fixture(scope="module")
def alone(bare: Path) -> dict[str, str]:
    run = bare.parent / "alone"
    assert reach(*command(bare, run)).code == 0
    assert "engine" not in manifest_of(run)
    return files_of(run)


def command(bare: Path, run: Path, *options: object) -> tuple[object, ...]:
    return (
        "scan",
        "--head",
        bare,
        "--out",
        run,
        "--quiet",
        "--no-report",
        "--jobs",
        1,
        "--block-tokens",
        32,
        *options,
    )


def blocks_of(folder: Path) -> list[Path]:
    return list(folder.glob("[0-9]*.safetensors"))


def stopped(process: subprocess.Popen[str], run: Path, blocks: int, signals: signal.Signals) -> None:
    end = time.monotonic() + WAIT
    while len(blocks_of(run / "blocks")) < blocks and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(signals)
    process.communicate(timeout=WAIT)


def test_the_command_says_which_engine_it_used(bare: Path, alone: dict[str, str], tmp_path: Path) -> None:
    outcome = reach(*command(bare, tmp_path / "run", "--engine", "processes", "--workers", 2))
    assert outcome.code == 0, outcome.err
    assert files_of(tmp_path / "run") == alone
    assert manifest_of(tmp_path / "run")["engine"] == {"name": "processes", "cores": 1, "workers": 2}


def test_a_parent_that_is_killed_leaves_no_workers_and_can_be_resumed(
    bare: Path, alone: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resumed in this process: the engine is no part of what was asked."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = tmp_path / "run"
    process = start_reach(*command(bare, run, "--engine", "processes", "--workers", 2))
    stopped(process, run, 9, signal.SIGKILL)
    assert manifest_of(run)["status"] == "running"
    end = time.monotonic() + WAIT
    while list(tmp_path.glob("reach-engine-*")):  # the workers remove it when they end
        assert time.monotonic() < end
        time.sleep(0.05)
    assert reach(*command(bare, run, "--resume")).code == 0
    assert files_of(run) == alone


def test_ctrl_c_ends_the_workers_too(bare: Path, tmp_path: Path) -> None:
    process = start_reach(*command(bare, tmp_path / "run", "--engine", "processes", "--workers", 2))
    stopped(process, tmp_path / "run", 3, signal.SIGINT)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--engine", "cluster"), "--engine cluster: choose one of in-process, processes, ray"),
        (("--workers", 2), "--workers is of --engine processes"),
        (("--engine", "processes", "--workers", 0), "--workers must be at least 1"),
        (("--engine", "processes", "--address", "auto"), "--address is of --engine ray"),
        (("--engine", "ray", "--address", "auto", "--workers", 2), "a cluster has its own"),
    ],
)
def test_options_that_do_not_fit(bare: Path, tmp_path: Path, options: tuple[object, ...], reason: str) -> None:
    assert reason in reach(*command(bare, tmp_path / "run", *options)).complaint
    assert not (tmp_path / "run").exists()


def test_no_room_for_the_head(bare: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    (outcome,) = reach_within((4096, command(bare, tmp_path / "run", "--engine", "processes", "--workers", 1)))
    assert "reach-engine-" in outcome.complaint
    assert "File too large" in outcome.complaint
    assert "go on with --resume" in outcome.complaint


def test_without_ray_there_is_one_line(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    message = reach(*command(bare, tmp_path / "run", "--engine", "ray")).complaint
    assert message == "--engine ray: Ray is not installed; it is had with: pip install ray"
