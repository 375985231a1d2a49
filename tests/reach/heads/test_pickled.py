"""Weights that `torch.save` wrote: read where they are plain tensors, else refused in one line."""

from __future__ import annotations

import collections
import json
import logging
import os
import pickle
import random
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from local_hub import LocalHub, point_at, serving
from safetensors.torch import load_file, save_file
from tiny_models import V, build

from reach.heads import hub, hub_parts, pickled
from reach.heads.load import load_head
from reach.heads.weights import StoredTensors
from solvers.errors import BadInput

BIN = "pytorch_model.bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An untied model with its tensors in a .bin file."""
    folder = build("llama", tmp_path / "model", tied=False)
    torch.save(load_file(folder / "model.safetensors"), folder / BIN)
    (folder / "model.safetensors").rename(tmp_path / "right.safetensors")
    return folder


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder.parent / "right.safetensors")


def fingerprint(folder: Path | str) -> str:
    return load_head(str(folder)).problem().fingerprint


@pytest.fixture
def right(tmp_path: Path, folder: Path) -> str:
    """The fingerprint of the same model in safetensors."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    save_file(tensors_of(folder), other / "model.safetensors", metadata={"format": "pt"})
    return fingerprint(other)


def complaint(folder: Path | str) -> str:
    with pytest.raises(BadInput) as caught:
        load_head(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [BIN, "model.pt", "mine.pth"])
@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors, "epoch": 3, "optimizer": {"state": {}}},
        lambda tensors: {"model": {"module": tensors}},
        lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
        lambda tensors: collections.OrderedDict(tensors) | {"step": 7, "none": None},
        lambda tensors: {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()},
    ],
    ids=["plain", "checkpoint", "twice wrapped", "in parallel", "with others", "parameters"],
)
def test_every_form_is_the_same_head(
    folder: Path, right: str, name: str, old: bool, wrap: Callable[[Any], Any]
) -> None:
    (folder / BIN).unlink()
    torch.save(wrap(tensors_of(folder)), folder / name, _use_new_zipfile_serialization=not old)
    (folder / "optimizer.pt").write_bytes(b"of a training program, not looked at")
    head = load_head(str(folder))
    assert head.problem().fingerprint == right
    assert head.tensors["weight"] == "lm_head.weight"
    assert head.tie.startswith("untied")


def test_shards(folder: Path, right: str) -> None:
    """Only the shards with the head are opened."""
    weight_map = {}
    for number, (name, tensor) in enumerate(tensors_of(folder).items()):
        weight_map[name] = f"pytorch_model-{number:05}.bin"
        torch.save({name: tensor}, folder / weight_map[name])
    (folder / BIN).unlink()
    index = folder / f"{BIN}.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert fingerprint(folder) == right
    for name, file in weight_map.items():
        if name not in ("lm_head.weight", "model.norm.weight", "model.embed_tokens.weight"):
            (folder / file).write_bytes(b"damaged")
    assert fingerprint(folder) == right
    (folder / weight_map["lm_head.weight"]).unlink()
    assert f"which {BIN}.index.json names for lm_head.weight, is missing" in complaint(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weight_map, "../elsewhere.bin")}))
    assert "names a shard outside its folder (../elsewhere.bin)" in complaint(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weight_map, "model.safetensors")}))
    assert "names a shard that is no .bin file (model.safetensors)" in complaint(folder)
    index.write_text("{}")
    assert "is no index of bin shards" in complaint(folder)


def test_safetensors_come_first(folder: Path, right: str) -> None:
    save_file(tensors_of(folder), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / BIN).write_bytes(b"never looked at")
    assert fingerprint(folder) == right


def test_a_transposed_view_is_read_in_rows(folder: Path, right: str) -> None:
    tensors = tensors_of(folder)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].T.contiguous().T
    torch.save(tensors, folder / BIN)
    assert fingerprint(folder) == right


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is asked of Linux")
def test_weights_are_mapped_and_not_read(folder: Path, right: str) -> None:
    """300 MB of another layer cost neither time nor memory."""
    large = folder / BIN
    torch.save(tensors_of(folder) | {"model.layers.0.large": torch.zeros(75_000_000)}, large)
    assert large.stat().st_size > 3 * 10**8
    before = _resident()
    assert fingerprint(folder) == right
    assert _resident() - before < 10**8


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


# --- what is refused -----------------------------------------------------------------------------------------------


class Marker:
    """Leaves a trace where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_code_is_refused_by_name_and_never_run(folder: Path, old: bool, tmp_path: Path) -> None:
    torch.save(
        tensors_of(folder) | {"x": Marker(tmp_path / "ran")},
        folder / BIN,
        _use_new_zipfile_serialization=not old,
    )
    message = complaint(folder)
    assert message.startswith(f"{folder / BIN} holds Python objects ({os.mkdir.__module__}.mkdir)")
    assert "not only tensors, and that is never loaded: convert it with transformers'" in message
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_with_code(folder: Path, tmp_path: Path) -> None:
    (folder / BIN).write_bytes(pickle.dumps(Marker(tmp_path / "ran"), protocol=2))
    assert complaint(folder)
    assert not (tmp_path / "ran").exists()


def test_a_whole_module(folder: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), folder / BIN)
    assert "holds Python objects (torch.nn.modules.linear.Linear)" in complaint(folder)


def test_a_program(folder: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(folder / BIN))
    assert str(folder / BIN) in complaint(folder)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2], "holds no state dict, but list"),
        (torch.ones(3), "holds no state dict, but Tensor"),
        ({}, "holds no tensors (looked at its top and under state_dict"),
        ({"state_dict": {"state_dict": {"state_dict": {"state_dict": {"state_dict": {}}}}}}, "holds no tensors"),
        ({"model": {"a": torch.ones(2)}, "state_dict": {"a": torch.ones(2)}}, "several state dicts (state_dict,"),
        ({"lm_head.weight": torch.ones(1).expand(10**7, 10**5)}, "a tensor is larger than what is stored of it"),
        ({"lm_head.weight": torch.ones(V, 16, dtype=torch.int32)}, "stored as I32; a head must be one of"),
        ({"lm_head.weight": torch.ones(V, 16, dtype=torch.complex64)}, "stored as complex64; a head must be one of"),
        ({"lm_head.weight": torch.ones(V, 16).to_sparse()}, "lm_head.weight is sparse, quantised or without numbers"),
        ({"lm_head.weight": torch.ones(V, 16, device="meta")}, "is sparse, quantised or without numbers"),
        ({3: torch.ones(2)}, "has no output matrix and no input embedding"),
    ],
    ids=["list", "tensor", "empty", "too deep", "two", "expanded", "integers", "complex", "sparse", "meta", "3"],
)  # fmt: skip
def test_what_is_no_state_dict_of_a_head(folder: Path, content: Any, expected: str) -> None:
    torch.save(content, folder / BIN)
    assert expected in complaint(folder)


def test_several_files_of_other_names(folder: Path) -> None:
    for name in ("a.pt", "b.pth"):
        (folder / BIN).replace(folder / name) if name == "a.pt" else torch.save({}, folder / name)
    assert f"{folder} has a.pt, b.pth, and nothing says which is the model" in complaint(folder)


def test_old_files_are_read_whole_up_to_a_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(tensors_of(folder), folder / BIN, _use_new_zipfile_serialization=False)
    monkeypatch.setattr(pickled, "MOST_OLD", 1000)
    assert "has the form of PyTorch before 1.6, which has to be read whole" in complaint(folder)


def test_an_old_pytorch_is_asked_to_be_renewed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    assert "reading it safely needs PyTorch 2.6 or newer: pip install" in complaint(folder)


@pytest.mark.parametrize("kept", [0, 3, 100, 3000, -1])
@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_truncated(folder: Path, kept: int, old: bool) -> None:
    torch.save(tensors_of(folder), folder / BIN, _use_new_zipfile_serialization=not old)
    (folder / BIN).write_bytes((folder / BIN).read_bytes()[:kept])
    message = complaint(folder)
    assert message.startswith(f"{folder / BIN} is truncated or damaged (")
    assert message.endswith("copy or download it again")


def test_an_archive_that_is_packed(folder: Path) -> None:
    with zipfile.ZipFile(folder / BIN) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / BIN, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "is packed or too large" in complaint(folder)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_bytes_changed_anywhere(folder: Path, old: bool) -> None:
    """A head or one line, in bounded memory; numbers that differ are beyond what this format can tell."""
    torch.save(tensors_of(folder), folder / BIN, _use_new_zipfile_serialization=not old)
    good = (folder / BIN).read_bytes()
    dice = random.Random(11)
    tracemalloc.start()
    for _ in range(150):
        content = bytearray(good)
        # Most of a small file is its table of contents, which is at both ends.
        for _ in range(dice.randint(1, 3)):
            content[dice.choice([dice.randrange(len(good)), dice.randrange(2000), -dice.randrange(1, 2000)])] = (
                dice.randrange(256)
            )
        (folder / BIN).unlink()
        (folder / BIN).write_bytes(content)
        try:
            load_head(str(folder)).problem()
        except BadInput as error:
            assert "\n" not in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


# --- on the Hub ----------------------------------------------------------------------------------------------------


@pytest.fixture
def served(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr(hub_parts, "WAITS", ())
    with serving(folder) as local:
        point_at(local, monkeypatch, tmp_path / "cache")
        yield local


def test_the_whole_file_is_fetched_after_a_note(
    served: LocalHub, right: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LARGE", 1000)
    with caplog.at_level(logging.WARNING, logger="reach"):
        assert fingerprint("org/tiny") == right
        assert fingerprint("org/tiny") == right
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("reach")]
    assert lines == [f"org/tiny: {BIN} is fetched whole (0 MB): only safetensors files can be read in parts"]
    assert served.fetched.count(BIN) == 1
    assert StoredTensors(hub.CachedFiles("org/tiny")).names


def test_a_refusal_by_the_config_fetches_no_file(served: LocalHub, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "novel", "architectures": ["NovelForCausalLM"]})
    )
    assert "unknown architecture novel" in complaint("org/tiny")
    assert BIN not in served.fetched
