"""Two commands that would write into one run folder at once: the second is refused, and nothing outlives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reach_command import ROOT, columns_of, manifest_of, reach, save_head, start_reach

from reach.runs.lock import LOCK_FILE, locked
from solvers.errors import BadInput

HOLD = """
import sys
from pathlib import Path
from reach.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def head(tmp_path: Path) -> Path:
    return save_head(tmp_path / "head.npz", np.random.default_rng(3).standard_normal((200, 6)), gamma=np.ones(6))


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that has the lock until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = hold(tmp_path / "run")
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("scan", "--quiet"), id="scan"),
        pytest.param(("scan", "--quiet", "--force"), id="scan --force"),
        pytest.param(("scan", "--quiet", "--resume"), id="scan --resume"),
        pytest.param(("interference", "--quiet", "--seeds", 0, "--without", "dictionary"), id="interference"),
        pytest.param(("compare-solvers", "--quiet", "--no-strength", "--sample", 2), id="compare-solvers"),
    ],
)
def test_a_second_writer_is_refused(
    holder: subprocess.Popen[str], head: Path, tmp_path: Path, command: tuple[object, ...]
) -> None:
    run = tmp_path / "run"
    assert reach(*command, "--head", head, "--out", run).complaint == (
        f"{run}: another reach (process {holder.pid}) is writing to this run folder; wait until it has ended, or "
        "choose another --out"
    )
    assert [file.name for file in run.iterdir()] == [LOCK_FILE]


def test_a_killed_holder_blocks_nobody(holder: subprocess.Popen[str], head: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (run / LOCK_FILE).exists()
    assert "nothing to resume there" in reach("scan", "--head", head, "--out", run, "--resume").complaint
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--no-report").code == 0
    assert not (run / LOCK_FILE).exists()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot halt a process")
def test_two_scans_at_once(head: Path, tmp_path: Path) -> None:
    """The second is refused while the first is halted; the first then ends as if nothing had been."""
    run = tmp_path / "run"
    command = ("scan", "--head", head, "--out", run, "--quiet", "--no-report", "--block-tokens", 4)
    first = start_reach(*command)
    end = time.monotonic() + 60
    while not list((run / "blocks").glob("*.safetensors")):
        assert first.poll() is None and time.monotonic() < end
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)
    try:
        for option in ("--resume", "--force"):
            assert f"another reach (process {first.pid})" in reach(*command, option).complaint
    finally:
        first.send_signal(signal.SIGCONT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    assert manifest_of(run)["status"] == "finished"
    assert len(columns_of(run)["verdict"]) == 200
    assert sorted(file.name for file in run.iterdir() if file.name.startswith(".")) == []


def test_within_one_process_blocks_are_nested(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        with locked(tmp_path / "run"):
            pass
        assert (tmp_path / "run" / LOCK_FILE).exists()
    assert not (tmp_path / "run").exists()


def test_folders_that_were_made_for_nothing_go_again(tmp_path: Path) -> None:
    def fail() -> None:
        with locked(tmp_path / "a" / "b"):
            raise BadInput("no")

    with pytest.raises(BadInput, match="no"):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").write_text("kept")
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["file"]
