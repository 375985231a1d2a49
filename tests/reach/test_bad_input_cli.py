"""Bad input through the command itself: one line on stderr, exit code 2, and nothing half-written."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from reach_command import COMMAND, ROOT, columns_of, manifest_of, reach, reach_process, reach_within, save_head
from safetensors import SafetensorError
from safetensors.numpy import save_file

from reach.scanning import journal

V, D = 24, 4
PIECES = [f"piece{n}" for n in range(V)]


def save_model(folder: Path, pieces: list[str] | None = None, rows: np.ndarray | None = None) -> Path:
    """A tiny Llama: config, one file of weights, and a tokenizer with these pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((V, D)).astype(np.float32) if rows is None else rows
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": V, "hidden_size": D}
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5, "tie_word_embeddings": True}))
    tensors = {"model.embed_tokens.weight": rows, "model.norm.weight": np.ones(D, np.float32)}
    save_file(tensors, folder / "model.safetensors")
    if pieces is not None:
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        model = {"type": "BPE", "vocab": vocabulary, "merges": []}
        (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model", PIECES)


@pytest.fixture
def head(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    return save_head(tmp_path / "head.npz", rng.standard_normal((V, D)), gamma=np.ones(D))


def refused(tmp_path: Path, *arguments: object) -> str:
    """The complaint of a scan that must leave no run folder."""
    run = tmp_path / "run"
    message = reach("scan", *arguments, "--out", run, "--quiet").complaint
    assert not run.exists()
    return message


# --- models --------------------------------------------------------------------------------------------------------


def test_no_such_model(tmp_path: Path) -> None:
    assert refused(tmp_path, "no/such/model/at/all") == (
        "no/such/model/at/all: no such folder or file, and not a Hub id (org/name)"
    )


def test_no_such_head(tmp_path: Path) -> None:
    message = refused(tmp_path, "--head", tmp_path / "nothing.npz")
    assert message.endswith("nothing.npz: no such file; --head takes a .npz or .safetensors file")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "config.json is missing" in refused(tmp_path, tmp_path / "empty")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights(model: Path, tmp_path: Path, keep: int) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert "model.safetensors" in refused(tmp_path, model)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_rows_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    rows = np.random.default_rng(3).standard_normal((V, D)).astype(np.float32)
    rows[7, 1] = rows[11, 0] = value
    message = refused(tmp_path, save_model(tmp_path / "model", PIECES, rows))
    assert "model.embed_tokens.weight" in message
    assert "7, 11" in message
    message = refused(tmp_path, "--head", save_head(tmp_path / "bad.npz", rows), "--domain", "free")
    assert "W" in message
    assert "7, 11" in message


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"b": np.zeros(3)}, "b has shape (3,), but W asks for (24,)"),
        ({"gamma": np.zeros(3)}, "gamma has shape (3,), but W asks for (4,)"),
        ({"beta": np.zeros(D)}, "beta without gamma"),
        ({"bias": np.zeros(V)}, "holds bias, but a bare head has only"),
    ],
)
def test_a_head_of_the_wrong_shape(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    head = save_head(tmp_path / "bad.npz", np.ones((V, D)), **arrays)
    assert reason in refused(tmp_path, "--head", head, "--domain", "free")


@pytest.mark.parametrize("shape", [(1, 4), (4, 0), (0, 4), (4,)])
def test_a_head_without_a_choice_to_make(tmp_path: Path, shape: tuple[int, ...]) -> None:
    refused(tmp_path, "--head", save_head(tmp_path / "bad.npz", np.ones(shape)), "--domain", "free")


def test_a_truncated_head(head: Path, tmp_path: Path) -> None:
    head.write_bytes(head.read_bytes()[:-40])
    assert "is truncated or no .npz archive" in refused(tmp_path, "--head", head)


def test_an_architecture_that_nobody_knows(model: Path, tmp_path: Path) -> None:
    config = json.loads((model / "config.json").read_text()) | {"model_type": "megabrain"}
    (model / "config.json").write_text(json.dumps(config))
    message = refused(tmp_path, model)
    assert "megabrain" in message
    assert "--weight-tensor" in message


def test_a_tokenizer_that_is_truncated(model: Path, tmp_path: Path) -> None:
    file = model / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:60])
    assert "tokenizer.json is truncated or invalid" in refused(tmp_path, model)


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--fail-on", "unsayable"), "--fail-on: no verdict 'unsayable'; there are speakable, tied"),
        (("--fail-on", "tied,unsayable"), "--fail-on: no verdict 'unsayable'"),
        (("--domain", "sphere"), "--domain sphere: write norm, free, ball:RADIUS, "),
        (("--domain", "ball"), "--domain ball"),
        (("--domain", "ball:0"), "--domain ball:0"),
        (("--domain", "ball:-1"), "--domain ball:-1"),
        (("--domain", "ball:nan"), "--domain ball:nan"),
        (("--domain", "ball:inf"), "--domain ball:inf"),
        (("--domain", "box:1,-1"), "--domain box:1,-1"),
        (("--domain", "box:1"), "--domain box:1"),
        (("--domain", "box:0,0"), "--domain box:0,0"),
        (("--domain", ""), "--domain"),
        (("--jobs", 0), "--jobs must be at least 1, not 0"),
        (("--jobs", -3), "--jobs must be at least 1, not -3"),
        (("--margin-gap", 2), "--margins must lie between 0 and 1, not 2"),
        (("--margin-gap", 0), "--margins must lie between 0 and 1, not 0"),
        (("--margin-gap", "nan"), "--margins must lie between 0 and 1, not nan"),
        (("--tolerance", 0.5), "--tolerance must lie between 0 and 0.01, not 0.5"),
        (("--stage-seconds", 0), "--stage-seconds must be > 0, not 0"),
        (("--stage-seconds", "nan"), "--stage-seconds must be > 0, not nan"),
        (("--block-tokens", 0), "--block-tokens must be at least 1, not 0"),
        (("--device", "tpu"), "--device: 'tpu' is neither cpu nor cuda"),
        (("--tokens", "24"), "--tokens 24: the head has ids 0 to 23"),
        (("--tokens", "5-2"), "--tokens 5-2"),
        (("--tokens", ""), "--tokens"),
        (("--tokens", "@/no/such/file"), "--tokens @/no/such/file"),
        (("--tokens", "hello"), "comes without a tokenizer, so choose tokens by id"),
        (("--revision", "main"), "--revision main is for Hub models"),
        (("--norm", "batchnorm"), "batchnorm"),
        (("--eps", 0), "eps"),
        (("--eps", "nan"), "eps"),
        (("--bias-tensor", "b"), "--bias-tensor is for model folders"),
    ],
)
def test_an_option_that_makes_no_sense(head: Path, tmp_path: Path, options: tuple[object, ...], reason: str) -> None:
    assert reason in refused(tmp_path, "--head", head, *options)


def test_a_model_and_a_head_at_once(model: Path, head: Path, tmp_path: Path) -> None:
    assert refused(tmp_path, model, "--head", head) == "give either MODEL or --head FILE, not both"


def test_a_head_without_a_norm_needs_a_domain(tmp_path: Path) -> None:
    head = save_head(tmp_path / "bare.npz", np.eye(3))
    assert "say what z ranges over: --domain free" in refused(tmp_path, "--head", head)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(head: Path, tmp_path: Path) -> None:
    for device in ("cuda", "cuda:1"):
        assert "--device cuda: this machine has no usable GPU" in refused(
            tmp_path, "--head", head, "--device", device
        )


def test_a_bad_option_in_a_process_of_its_own(tmp_path: Path) -> None:
    ended = reach_process("scan", "--margin-gap", 2, "--out", tmp_path / "run")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "reach: --margins must lie between 0 and 1, not 2\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "what", "about"),
    [
        (("scan", "--jobs", "abc"), "'--jobs'", "scan"),
        (("scan", "demo", "--jobs", "1.5"), "'--jobs'", "scan"),
        (("scan", "--margin-gap", "little"), "'--margin-gap'", "scan"),
        (("scan", "--jobs"), "'--jobs' requires an argument", "scan"),
        (("scan", "--marginal-gap", 1), "no such option: --marginal-gap", "scan"),
        (("check", "one", "two"), "unexpected extra argument", "check"),
        (("verify",), "missing argument 'run'", "verify"),
        (("verify", "--quick", "run"), "no such option: --quick", "verify"),
        (("diff",), "missing argument 'runs'", "diff"),
        (("interference", "--seeds", "many"), "'--seeds'", "interference"),
        (("compare-solvers", "--seconds", "long"), "'--seconds'", "compare-solvers"),
        (("search", "--steps", "few"), "'--steps'", "search"),
        (("solvers", "clarabel"), "unexpected extra argument", "solvers"),
    ],
)
def test_words_that_the_command_line_cannot_read(arguments: tuple[object, ...], what: str, about: str) -> None:
    message = reach(*arguments).complaint.lower()
    assert what in message
    assert message.endswith(f"; see 'reach {about} --help'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuch",), "no such command 'nosuch'; see 'reach --help'"),
        (("--nosuch",), "no such option: --nosuch; see 'reach --help'"),
    ],
)
def test_no_such_command(arguments: tuple[object, ...], message: str) -> None:
    assert reach(*arguments).complaint == message


def test_a_misspelt_command_in_a_process_of_its_own() -> None:
    ended = reach_process("scna")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("reach: no such command 'scna'")
    assert "'scan'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_help_is_no_bad_input() -> None:
    for arguments in (("--help",), ("scan", "--help"), ("interference", "--help")):
        outcome = reach(*arguments)
        assert (outcome.code, outcome.err) == (0, "")
        assert "Usage: reach" in outcome.out
        assert len(outcome.out.splitlines()) > 10
    bare = reach()
    assert bare.code == 2
    assert "compare-solvers" in bare.out + bare.err


@pytest.mark.parametrize(
    ("options", "noted"),
    [
        (("--domain", "free", "--margin-gap", 0.1), True),
        (("--domain", "free"), False),
        (("--domain", "ball:2", "--margin-gap", 0.1), False),
        (("--margin-gap", 0.1), False),
    ],
)
@pytest.mark.parametrize("offsets", [True, False])
def test_a_margin_gap_without_effect_is_noted(
    tmp_path: Path, options: tuple[object, ...], noted: bool, offsets: bool
) -> None:
    rng = np.random.default_rng(3)
    more = {"b": rng.standard_normal(V)} if offsets else {}
    head = save_head(tmp_path / "head.npz", rng.standard_normal((V, D)), gamma=np.ones(D), **more)
    run = tmp_path / "run"
    outcome = reach("scan", "--head", head, "--out", run, "--quiet", "--no-report", *options)
    assert outcome.code == 0
    notes = [line for line in outcome.err.splitlines() if "--margins has no effect here" in line]
    assert len(notes) == (noted and offsets)
    assert [f"reach: note: {warning}" for warning in manifest_of(run)["warnings"]] == outcome.err.splitlines()


# --- where a run goes ----------------------------------------------------------------------------------------------


def test_out_is_a_file(head: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert (
        "is a file, but a run is a folder; choose another --out"
        in reach("scan", "--head", head, "--out", file).complaint
    )
    assert "cannot be written" in reach("scan", "--head", head, "--out", file / "run").complaint
    assert file.read_text() == "mine"


def test_out_cannot_be_made(head: Path) -> None:
    assert "/proc/none/run" in reach("scan", "--head", head, "--out", "/proc/none/run").complaint


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_out_may_not_be_written_to(head: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    assert "cannot be written: Permission denied" in reach("scan", "--head", head, "--out", folder / "run").complaint


@pytest.mark.parametrize("command", ["verify", "report"])
def test_no_run_there(command: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("nothing", "empty", "file"):
        assert f"{tmp_path / name}: no run folder" in reach(command, tmp_path / name).complaint


@pytest.fixture
def run(head: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "done"
    assert reach("scan", "--head", head, "--out", folder, "--quiet", "--no-report").code == 0
    assert not (folder / "report.html").exists()
    return folder


def test_a_report_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "none" / "x.html", tmp_path / "file" / "x.html", tmp_path):
        assert str(out) in reach("report", run, "--out", out).complaint
    assert reach("report", run, "--out", tmp_path / "x.html").code == 0
    assert (tmp_path / "x.html").stat().st_size > 1000


# --- a full disk ---------------------------------------------------------------------------------------------------


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_from_the_start(head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", full)
    message = reach("scan", "--head", head, "--out", tmp_path / "deep" / "run", "--quiet").complaint
    assert "manifest.json: cannot be written: the disk is full" in message
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="OSError"),
        pytest.param(OSError(errno.EDQUOT, "Disk quota exceeded"), id="quota"),
        pytest.param(SafetensorError("I/O error: No space left on device (os error 28)"), id="safetensors"),
    ],
)
def test_a_disk_that_fills_up_in_the_middle(
    head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The blocks that were written stay, and the scan goes on from there once there is room."""
    written = 0

    def save(arrays: Any, file: Path, **more: Any) -> None:
        nonlocal written
        written += 1
        save_file(arrays, file, **more)
        if written > 2:
            raise error

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(journal, "save_file", save)
        outcome = reach("scan", "--head", head, "--out", run, "--quiet", "--block-tokens", 8)
    assert "the disk is full; free some space and go on with --resume" in outcome.complaint
    assert sorted(file.name for file in (run / "blocks").iterdir()) == ["000000.safetensors", "000001.safetensors"]
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--resume", "--no-report").code == 0
    assert reach("verify", run, "--quiet").code == 0


def test_a_disk_that_fills_up_at_the_end(head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(pq, "write_table", full)
        message = reach("scan", "--head", head, "--out", run, "--quiet").complaint
    assert "verdicts.parquet: cannot be written: the disk is full" in message
    assert manifest_of(run)["status"] == "running"
    assert not (run / "verdicts.parquet").exists()
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--resume", "--no-report").code == 0
    assert reach("verify", run, "--quiet").code == 0


def test_a_disk_that_has_no_room_for_the_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", full)
    message = reach("report", run).complaint
    assert "report.html: cannot be written: the disk is full; free some space and run the command again" in message
    assert not (run / "report.html").exists()


# --- other reasons why nothing can be written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(OSError(errno.EFBIG, "File too large"), "File too large for the limit on file sizes", id="size"),
        pytest.param(SafetensorError("I/O error: File too large (os error 27)"), "File too large", id="size, Rust"),
        pytest.param(OSError("[Errno 27] Error writing bytes. Detail: [errno 27] File too large"), "File too large",
                     id="size, Arrow"),
        pytest.param(OSError(errno.EDQUOT, "Disk quota exceeded"), "the quota on this disk is used up", id="quota"),
        pytest.param(OSError(errno.EROFS, "Read-only file system"), "Read-only file system; choose another", id="ro"),
        pytest.param(OSError(errno.EACCES, "Permission denied"), "Permission denied; choose another", id="access"),
        pytest.param(OSError(errno.EPERM, "Operation not permitted"), "Operation not permitted; choose", id="perm"),
        pytest.param(OSError(errno.EIO, "Input/output error"), "Input/output error: the disk or its", id="I/O"),
        pytest.param(SafetensorError("I/O error: Input/output (os error 5)"), "the disk or its", id="I/O, Rust"),
        pytest.param(OSError(errno.ENAMETOOLONG, "File name too long"), "File name too long", id="another"),
    ],
)  # fmt: skip
def test_every_reason_is_one_line_that_says_what_to_do(
    head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def save(*_: Any, **__: Any) -> None:
        raise error

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(journal, "save_file", save)
        message = reach("scan", "--head", head, "--out", run, "--quiet").complaint
    assert f"{run / 'blocks' / '000000.safetensors'}: cannot be written: " in message
    assert reason in message
    if "too long" not in reason:
        assert "and go on with --resume" in message
    assert list((run / "blocks").iterdir()) == []
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--resume", "--no-report").code == 0


def test_an_error_that_is_none_of_the_disks_is_not_taken_for_one(
    head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: Any, **__: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(journal, "save_file", save)
    with pytest.raises(RuntimeError, match="a mistake"):
        reach("scan", "--head", head, "--out", tmp_path / "run", "--quiet")


@pytest.fixture
def long_head(tmp_path: Path) -> Path:
    """Enough tokens that blocks, tables and pages differ in size."""
    rng = np.random.default_rng(3)
    return save_head(tmp_path / "long.npz", rng.standard_normal((400, 24)), gamma=np.ones(24), b=np.ones(400))


@pytest.mark.skipif(os.name != "posix", reason="this system limits no file sizes")
def test_a_limit_on_file_sizes_from_file_to_file(long_head: Path, tmp_path: Path) -> None:
    """The manifest, a block, a table, the page: each is the first that is too large; raised, the scan goes on."""
    run = tmp_path / "run"
    command = ("scan", "--head", long_head, "--out", run, "--quiet")
    again = (*command, "--resume")
    *stopped, last = reach_within((500, command), (5000, command), (20_000, again), (100_000, again))
    files = ("manifest.json", "blocks/000000.safetensors", "verdicts.parquet")
    for outcome, file in zip(stopped, files, strict=True):
        next_time = "run the command again" if file == "manifest.json" else "go on with --resume"
        assert outcome.complaint == (
            f"{run / file}: cannot be written: File too large for the limit on file sizes ('ulimit -f') or for the "
            f"disk; raise the limit and {next_time}"
        )
        assert outcome.out == ""
    assert "400 tokens × 24 dimensions" in last.out
    assert last.out.endswith(f"\nrun:    {run}\n")
    assert last.complaint == (
        f"{run / 'report.html'}: cannot be written: File too large for the limit on file sizes ('ulimit -f') or for "
        f"the disk; raise the limit and write the page with 'reach report {run}' (all the rest is finished and kept)"
    )
    assert not list(tmp_path.rglob("*.part"))
    assert manifest_of(run)["status"] == "finished"
    outcome = reach(*command, "--resume")
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith(f"\nreport: {run / 'report.html'}\n")
    assert reach("verify", run, "--quiet").code == 0


def test_a_disk_that_is_full_when_the_page_is_written(
    head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan is finished and says so, in words and as JSON; the line says that the page is what is missing."""
    write_text = Path.write_text

    def write(self: Path, *arguments: Any, **options: Any) -> int:
        if "report.html" in self.name:
            full()
        return write_text(self, *arguments, **options)

    for options in ((), ("--json",)):
        run = tmp_path / f"run{len(options)}"
        with monkeypatch.context() as patched:
            patched.setattr(Path, "write_text", write)
            outcome = reach("scan", "--head", head, "--out", run, "--quiet", *options)
        assert outcome.complaint == (
            f"{run / 'report.html'}: cannot be written: the disk is full; free some space and write the page with "
            f"'reach report {run}' (all the rest is finished and kept)"
        )
        if options:
            assert json.loads(outcome.out)["report"] is None
        else:
            assert outcome.out.endswith(f"\nrun:    {run}\n")
        assert manifest_of(run)["status"] == "finished"
        assert reach("report", run).code == 0


def test_resume_writes_the_page_that_a_finished_scan_lacks(run: Path, head: Path) -> None:
    """And nothing else: the verdicts stay as they are. With its page, or asked for another run, it is finished."""
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    command = ("scan", "--head", head, "--out", run, "--quiet")
    for other in (("--exact",), ("--tokens", "1-3"), ("--domain", "free"), ("--no-report",)):
        assert "holds a finished run; overwrite it with --force" in reach(*command, "--resume", *other).complaint
    assert "holds a finished run; overwrite it with --force" in reach(*command).complaint
    assert not (run / "report.html").exists()
    outcome = reach(*command, "--resume", "--fail-on", "speakable")
    assert outcome.code == 1
    assert f"{V} tokens × {D} dimensions" in outcome.out
    assert (run / "report.html").stat().st_size > 1000
    for name, content in before.items():
        assert (run / name).read_bytes() == content, name
    assert "holds a finished run; overwrite it with --force" in reach(*command, "--resume").complaint


def test_a_folder_that_cannot_be_cleared(run: Path, head: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlink(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        message = reach("scan", "--head", head, "--out", run, "--quiet", "--force").complaint
    assert message.startswith(f"{run}: cannot be written: Read-only file system; choose another place")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_standard_output_that_is_full(run: Path) -> None:
    with Path("/dev/full").open("w") as nowhere:
        ended = subprocess.run(
            [*COMMAND, "diff", str(run), str(run)], stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False,
            cwd=ROOT,
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == (
        "reach: standard output: cannot be written: the disk is full; free some space and run the command again\n"
    )


def test_a_manifest_can_hold_any_name(tmp_path: Path, head: Path) -> None:
    """A file name that is no UTF-8 reaches Python with lone surrogates, which no file can hold as they are."""
    odd = Path(shutil.copy(head, tmp_path / "odd\udcff.npz"))
    run = tmp_path / "run"
    assert reach("scan", "--head", odd, "--out", run, "--quiet").code == 0
    assert manifest_of(run)["loading"]["model"] == str(odd)
    assert reach("verify", run, "--quiet").code == 0


# --- tokenizers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "warning"),
    [
        (PIECES[:20], "4 of the head's 24 rows have no token (the first is row 20)"),
        ([*PIECES, "more", "and more"], "2 tokens have no row in the head of 24 (the first is id 24)"),
        (None, "has no tokenizer: tokens are shown by their ids"),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_one_warning(tmp_path: Path, pieces: list[str] | None, warning: str) -> None:
    run = tmp_path / "run"
    outcome = reach("scan", save_model(tmp_path / "model", pieces), "--out", run, "--quiet")
    assert outcome.code == 0
    lines = outcome.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("reach: note: ")
    assert warning in lines[0]
    assert warning in manifest_of(run)["warnings"][0]
    assert reach("verify", run, "--quiet").code == 0
    kept = [None] * V if pieces is None else (pieces + [None] * V)[:V]
    assert columns_of(run)["token"] == kept


def test_a_tokenizer_that_fits_needs_no_warning(model: Path, tmp_path: Path) -> None:
    outcome = reach("scan", model, "--out", tmp_path / "run", "--quiet", "--tokens", "piece3,7", "--no-report")
    assert outcome.code == 0
    assert outcome.err == ""


HOSTILE = [
    "<script>alert(1)</script>", "</script><!--", "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "{% raw %}", "&lt;",
    "\u202egnitirw\u202c", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\x00", "\x1b[31mred\x1b[0m", "\r\n", "\t",
    "\ud800", "\udfff x", "\ud83d\ude00", "long " * 2000, "`${alert(1)}`", "\u2028", "\ufeff", "'\"\\",
    "e\u0301" * 50, "\U000e0041", " ", "piece",
]  # fmt: skip


def test_hostile_token_strings_survive_everything(tmp_path: Path) -> None:
    """Scan, summary, JSON, verify and report; even where every token is unspeakable and so gets listed."""
    assert len(set(HOSTILE)) == V
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((V, D)).astype(np.float32)
    rows[1::2] = 0.25 * rows[::2]  # half of them are dragged into the hull
    model = save_model(tmp_path / "model", HOSTILE, rows)
    run = tmp_path / "run"
    outcome = reach("scan", model, "--out", run, "--quiet")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    columns = columns_of(run)
    assert columns["verdict"].count("unspeakable") >= 3
    assert columns["token"][0] == HOSTILE[0]
    assert columns["token"][12:15] == ["\\ud800", "\\udfff x", "\U0001f600"]
    assert columns["token"][15] == HOSTILE[15]
    for harm in ("\x00", "\x1b", "\r", "\u202e", "\u2028", "long " * 10):
        assert harm not in outcome.out
    found = json.loads(reach("scan", model, "--out", run, "--json", "--force").out)
    assert {row["token"] for row in found["tokens"]} <= {*HOSTILE, *columns["token"]}
    page = (run / "report.html").read_text(encoding="utf-8")
    for harm in ("<script>alert", "onerror=alert", "</script><!--", "\x00", "\u202e", "long " * 10):
        assert harm not in page
    assert reach("verify", run, "--quiet").code == 0
    assert reach("report", run).code == 0


def test_hostile_strings_are_shown_harmlessly_where_verify_names_them(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", HOSTILE)
    run = tmp_path / "run"
    assert reach("scan", model, "--out", run, "--quiet").code == 0
    shutil.rmtree(run / "witnesses")
    file = run / "verdicts.parquet"
    table = pq.read_table(file)
    column = table.column_names.index("witness")
    pq.write_table(table.set_column(column, "witness", [["stored"] * V]), file)
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1
    assert "'<script>alert(1)</script>'" in outcome.out
    for harm in ("\x00", "\x1b", "\r", "\u202e", "\u2028"):
        assert harm not in outcome.out


def test_a_terminal_that_knows_ascii_only(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", HOSTILE)
    ended = reach_process(
        "scan", model, "--out", tmp_path / "run", "--quiet", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()
    assert "domain ball:2" in ended.stdout
