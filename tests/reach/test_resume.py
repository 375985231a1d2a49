"""A scan that is killed goes on where it was, and a run folder is never lost by accident."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from reach_command import change_manifest, columns_of, manifest_of, reach, save_head, start_reach
from safetensors import safe_open
from safetensors.numpy import save_file

from reach.runs.lock import LOCK_FILE
from solvers.checks.evidence import Evidence

WAIT = 60
"""Seconds after which a process that does not get there fails the test."""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A norm, offsets and pairs of equal rows: verdicts of every kind from all stages."""
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((300, 8)) * rng.uniform(0.5, 1.5, (300, 1))
    offsets = rng.standard_normal(300)
    rows[290:], offsets[290:] = rows[:10], offsets[:10]
    return save_head(tmp_path_factory.mktemp("head") / "head.npz", rows, gamma=rng.uniform(0.5, 1.5, 8), b=offsets)


@pytest.fixture(scope="module")
def uninterrupted(head: Path) -> dict[str, list]:
    """The verdicts of a run that nobody disturbed."""
    run = head.parent / "uninterrupted"
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--no-report").code == 0
    columns = columns_of(run)
    assert {"speakable", "tied", "unspeakable"} == set(columns["verdict"])
    return columns


def command(head: Path, run: Path, *options: object) -> tuple[object, ...]:
    return ("scan", "--head", head, "--out", run, "--quiet", "--no-report", *options)


def blocks_of(run: Path) -> list[Path]:
    return sorted((run / "blocks").glob("*.safetensors"))


def stopped(head: Path, run: Path, blocks: int, stop: signal.Signals, *options: object) -> subprocess.Popen[str]:
    """Start a scan and stop it as soon as its journal holds so many blocks."""
    process = start_reach(*command(head, run, "--block-tokens", 16, *options))
    end = time.monotonic() + WAIT
    while len(blocks_of(run)) < blocks and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(stop)
    process.out, process.err = process.communicate(timeout=WAIT)  # type: ignore[attr-defined]
    return process


@pytest.fixture(scope="module")
def killed(head: Path) -> Path:
    """A run that was killed in its first stages. Copy it."""
    run = head.parent / "killed"
    assert stopped(head, run, 12, signal.SIGKILL).returncode == -signal.SIGKILL
    assert manifest_of(run)["status"] == "running"
    assert not (run / "verdicts.parquet").exists()
    return run


@pytest.fixture
def unfinished(killed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed, tmp_path / "run"))


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file, but for the lock file that a killed scan leaves behind."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != LOCK_FILE)
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def same_verdicts(run: Path, truth: dict[str, list]) -> None:
    found = columns_of(run)
    for name in ("token_id", "verdict", "own_direction", "argmax_id", "row_norm"):
        assert found[name] == truth[name], name
    for mine, others in zip(found["evidence"], truth["evidence"], strict=True):
        assert Evidence(mine).rank >= Evidence(others).rank
    assert manifest_of(run)["status"] == "finished"
    assert not (run / "blocks").exists()
    assert sorted(file.name for file in run.iterdir() if file.name.startswith(".")) == []


# --- killed and resumed --------------------------------------------------------------------------------------------


def test_a_scan_killed_again_and_again_ends_with_the_same_verdicts(
    head: Path, uninterrupted: dict[str, list], tmp_path: Path
) -> None:
    """Killed in the first stage, in the next ones, and in the batched search; each time it goes on from there."""
    run = tmp_path / "run"
    reached = 0
    for blocks in (1, 25, 50):
        options = () if blocks == 1 else ("--resume",)
        assert stopped(head, run, blocks, signal.SIGKILL, *options).returncode == -signal.SIGKILL
        assert len(blocks_of(run)) >= max(blocks, reached)
        reached = len(blocks_of(run))
    before = {file.name: file.read_bytes() for file in blocks_of(run)}
    outcome = reach(*command(head, run, "--block-tokens", 16, "--resume"))
    assert outcome.code == 0, outcome.err
    same_verdicts(run, uninterrupted)
    assert manifest_of(run)["resumed"]
    assert len(before) == reached
    verified = reach("verify", run, "--quiet")
    assert verified.code == 0, verified.out
    assert "300 verdicts proved again" in verified.out


def test_a_resumed_scan_does_no_block_again(unfinished: Path, head: Path, uninterrupted: dict[str, list]) -> None:
    """The blocks that are there stay as they are, and rows that they settled are not taken in by a stage again."""
    done = len(blocks_of(unfinished))
    assert reach(*command(head, unfinished, "--block-tokens", 64, "--resume")).code == 0
    same_verdicts(unfinished, uninterrupted)
    funnel = {row["stage"]: row for row in manifest_of(unfinished)["funnel"]}
    assert funnel["own-row"]["rows_in"] == 290
    assert sum(row["settled"] for row in funnel.values()) == 300
    assert done >= 12


def test_a_resumed_scan_may_use_other_blocks_and_cores(
    unfinished: Path, head: Path, uninterrupted: dict[str, list]
) -> None:
    assert reach(*command(head, unfinished, "--block-tokens", 4096, "--jobs", 1, "--resume")).code == 0
    same_verdicts(unfinished, uninterrupted)
    assert reach("verify", unfinished, "--quiet").code == 0


def test_half_a_block_that_a_kill_left_behind_is_ignored(
    unfinished: Path, head: Path, uninterrupted: dict[str, list]
) -> None:
    (unfinished / "blocks" / ".000099.safetensors.123.part").write_bytes(b"half")
    (unfinished / ".verdicts.parquet.123.part").write_bytes(b"half")
    assert reach(*command(head, unfinished, "--resume")).code == 0
    same_verdicts(unfinished, uninterrupted)


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_says_how_to_go_on(head: Path, uninterrupted: dict[str, list], tmp_path: Path, ignored: bool) -> None:
    """Also where the tests themselves run with SIGINT ignored, as they do in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else signal.getsignal(signal.SIGINT)
    try:
        process = stopped(head, tmp_path / "run", 5, signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.returncode == 130
    lines = [line for line in process.err.splitlines() if line and not line.startswith("reach: note: ")]  # type: ignore[attr-defined]
    assert len(lines) == 1
    assert lines[0].startswith("reach: interrupted; what was finished is kept")
    assert "--resume" in lines[0]
    assert manifest_of(tmp_path / "run")["status"] == "running"
    assert reach(*command(head, tmp_path / "run", "--resume")).code == 0
    same_verdicts(tmp_path / "run", uninterrupted)


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param((), "holds an unfinished run; go on with --resume, or start over with --force", id="no resume"),
        pytest.param(("--resume", "--domain", "ball:3"), "is of another model (domain", id="domain"),
        pytest.param(("--resume", "--domain", "free"), "is of another model (domain", id="free"),
        pytest.param(("--resume", "--tokens", "1-20"), "has other settings", id="tokens"),
        pytest.param(("--resume", "--exact"), "has other settings", id="exact"),
        pytest.param(("--resume", "--margin-gap", "0.1"), "has other settings", id="margin gap"),
        pytest.param(("--resume", "--tolerance", "1e-6"), "has other settings", id="tolerance"),
        pytest.param(("--resume", "--stage-seconds", "9"), "has other settings", id="seconds"),
    ],
)
def test_an_unfinished_run_is_not_mixed_with_another(
    unfinished: Path, head: Path, options: tuple[object, ...], reason: str
) -> None:
    before = files_of(unfinished)
    assert reason in reach(*command(head, unfinished, *options)).complaint
    assert files_of(unfinished) == before


def test_an_unfinished_run_of_another_model(unfinished: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    other = save_head(tmp_path / "other.npz", rng.standard_normal((300, 8)), gamma=np.ones(8))
    before = files_of(unfinished)
    assert "is of another model (fingerprint" in reach(*command(other, unfinished, "--resume")).complaint
    assert files_of(unfinished) == before


def test_an_unfinished_run_is_no_finished_one(unfinished: Path) -> None:
    for name in ("verify", "report"):
        assert "the run has not finished; go on with" in reach(name, unfinished).complaint


def test_an_unfinished_run_of_another_schema(unfinished: Path, head: Path) -> None:
    change_manifest(unfinished, schema=99)
    assert "schema 99, but this version reads 1" in reach(*command(head, unfinished, "--resume")).complaint
    assert reach(*command(head, unfinished, "--force")).code == 0


def test_an_unfinished_run_can_be_started_over(unfinished: Path, head: Path, uninterrupted: dict[str, list]) -> None:
    assert reach(*command(head, unfinished, "--force")).code == 0
    assert "resumed" not in manifest_of(unfinished)
    same_verdicts(unfinished, uninterrupted)


def test_a_finished_run_is_not_overwritten(head: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert reach(*command(head, run, "--tokens", "0-20")).code == 0
    before = files_of(run)
    for options in ((), ("--resume",)):
        message = reach(*command(head, run, "--tokens", "0-20", *options)).complaint
        assert "holds a finished run; overwrite it with --force, or choose another --out" in message
    assert files_of(run) == before
    assert reach(*command(head, run, "--tokens", "0-10", "--force")).code == 0
    assert manifest_of(run)["asked"]["tokens"] == "0-10"
    assert reach("verify", run, "--quiet").code == 0


def test_nothing_to_resume(head: Path, tmp_path: Path) -> None:
    assert (
        "nothing to resume there; leave --resume out" in reach(*command(head, tmp_path / "run", "--resume")).complaint
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="truncated"),
        pytest.param(lambda content: content[:0], id="empty"),
        pytest.param(lambda content: b"\0" * len(content), id="zeros"),
        pytest.param(lambda _: (2).to_bytes(8, "little") + b"{}", id="without its arrays"),
    ],
)
def test_a_damaged_block_is_named_and_done_again(
    unfinished: Path, head: Path, uninterrupted: dict[str, list], damage
) -> None:
    block = blocks_of(unfinished)[-1]
    block.write_bytes(damage(block.read_bytes()))
    outcome = reach(*command(head, unfinished, "--resume"))
    assert outcome.code == 0, outcome.err
    assert notes(outcome.err, "damaged block") == [f"{block}: a damaged block of the journal"]
    same_verdicts(unfinished, uninterrupted)


def test_edited_blocks_are_not_published(unfinished: Path, head: Path, uninterrupted: dict[str, list]) -> None:
    """One margin raised, one verdict changed, all else in the files as it was: both blocks are named and redone."""
    one, two = blocks_of(unfinished)[2], blocks_of(unfinished)[5]
    raised, _ = edit(one, "lower", lambda lower: lower + 1.0)
    taken, _ = edit(two, "verdict", lambda _: 0)
    outcome = reach(*command(head, unfinished, "--resume"))
    assert outcome.code == 0, outcome.err
    named = notes(outcome.err, "damaged block")
    assert named == [f"{one}: a damaged block of the journal", f"{two}: a damaged block of the journal"]
    same_verdicts(unfinished, uninterrupted)
    margins = columns_of(unfinished)["margin_lower"]
    for token in (raised, taken):
        assert abs(margins[token] - uninterrupted["margin_lower"][token]) < 1e-3
    funnel = {row["stage"]: row for row in manifest_of(unfinished)["funnel"]}
    assert funnel["own-row"]["rows_in"] == 290
    assert reach("verify", unfinished, "--quiet").code == 0


def test_blocks_that_changed_places_are_damaged(
    unfinished: Path, head: Path, uninterrupted: dict[str, list], tmp_path: Path
) -> None:
    one, two = blocks_of(unfinished)[2:4]
    one.rename(tmp_path / "kept")
    two.rename(one)
    (tmp_path / "kept").rename(two)
    outcome = reach(*command(head, unfinished, "--resume"))
    assert len(notes(outcome.err, "damaged block")) == 2
    same_verdicts(unfinished, uninterrupted)


def edit(block: Path, name: str, change: Callable[[np.generic], object]) -> tuple[int, object]:
    """Change one entry of one array for a row that was settled, and nothing else; gives back the row's token."""
    with safe_open(block, "np") as file:
        arrays, about = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    at = int(np.flatnonzero(arrays["verdict"])[0])
    arrays[name][at] = change(arrays[name][at])
    save_file(arrays, block, metadata=about)
    return int(arrays["row"][at]), arrays[name][at]


def notes(err: str, about: str) -> list[str]:
    """What the notes on stderr that speak of something begin with, up to the reason in brackets."""
    lines = [line.removeprefix("reach: note: ") for line in err.splitlines() if about in line]
    assert all("); its tokens are done again" in line for line in lines)
    return [line.split(" (")[0] for line in lines]


def test_a_block_from_the_middle_may_be_deleted_too(
    unfinished: Path, head: Path, uninterrupted: dict[str, list]
) -> None:
    blocks_of(unfinished)[3].unlink()
    assert reach(*command(head, unfinished, "--resume")).code == 0
    same_verdicts(unfinished, uninterrupted)
    assert reach("verify", unfinished, "--quiet").code == 0


@pytest.mark.parametrize("options", [(), ("--resume",), ("--force",)])
@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"thesis.tex": "years of work"}, id="files"),
        pytest.param({"blocks/photo.jpg": "family", "verdicts.parquet": "mine"}, id="names like ours"),
        pytest.param({"manifest.json": '{"name": "web app", "icons": []}', "report.html": "mine"}, id="web manifest"),
        pytest.param({"manifest.json": "{", "verdicts.parquet": "mine"}, id="broken manifest"),
    ],
)
def test_a_folder_of_other_things_is_left_alone(
    head: Path, tmp_path: Path, files: dict[str, str], options: tuple[str, ...]
) -> None:
    folder = tmp_path / "folder"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = files_of(folder)
    message = reach(*command(head, folder, *options)).complaint
    assert str(folder) in message
    assert files_of(folder) == before


def test_force_removes_the_runs_own_files_alone(head: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert reach(*command(head, run, "--tokens", "0-20")).code == 0
    (run / "notes.md").write_text("mine")
    assert reach(*command(head, run, "--tokens", "0-10", "--force")).code == 0
    assert (run / "notes.md").read_text() == "mine"
    assert json.loads((run / "manifest.json").read_text())["asked"]["tokens"] == "0-10"
