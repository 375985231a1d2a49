"""An adapter in a folder of its own: merged into the head of the model that it is named beside, and found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reach_command import change_manifest, manifest_of, reach
from tiny_adapters import low_rank, save_adapter, whole
from tiny_models import D, V, build

import reach as library
from reach.heads.load import load_head
from reach.heads.self_check import self_check
from solvers.errors import BadInput

Q_PROJ = low_rank("model.layers.0.self_attn.q_proj", D, D)
HEAD = low_rank("lm_head", V, D)
NORM = whole("model.norm.weight", D)
CHEAP = ("--quiet", "--no-report")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build("llama", tmp_path / "base", tied=False)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    return folder


def complaint(folder: Path, adapter: Path | str) -> str:
    with pytest.raises(BadInput) as caught:
        load_head(str(folder), adapter=str(adapter))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "settings"),
    [
        (Q_PROJ | HEAD, {}),
        (HEAD | NORM, {"modules_to_save": ["norm"], "use_rslora": True}),
        (HEAD, {"r": 9, "rank_pattern": {"lm_head": 3}, "alpha_pattern": {"lm_.*": 12}}),
        (whole("lm_head.modules_to_save.weight", V, D), {"modules_to_save": ["lm_head"]}),
    ],
)
def test_it_is_merged_as_the_one_beside_the_model_is(
    tensors: dict[str, torch.Tensor], settings: dict[str, Any], model: Path, adapter: Path
) -> None:
    save_adapter(adapter, tensors, **settings)
    head = load_head(str(model), adapter=str(adapter))
    assert self_check(head, model).ok
    assert head.notes == ()
    save_adapter(model, tensors, **settings)
    beside = load_head(str(model), adapter="merge")
    assert head.problem().fingerprint == beside.problem().fingerprint
    assert head.tie == beside.tie
    assert load_head(str(model), adapter=str(model)).problem().fingerprint == beside.problem().fingerprint


def test_one_that_leaves_the_head_alone_is_a_note(model: Path, adapter: Path) -> None:
    save_adapter(adapter, Q_PROJ)
    head = load_head(str(model), adapter=str(adapter))
    assert head.merged is None
    assert head.problem().fingerprint == load_head(str(model)).problem().fingerprint
    assert head.notes == (f"{adapter}/adapter_config.json: the adapter does not change the head of {model}",)


def test_two_adapters(model: Path, adapter: Path) -> None:
    """The one beside the model counts too: it may leave the head alone, but not change it."""
    save_adapter(adapter, HEAD)
    save_adapter(model, Q_PROJ)
    head = load_head(str(model), adapter=str(adapter))
    assert head.merged is not None
    assert head.notes == (f"{model}/adapter_config.json: the adapter beside the model does not change its head",)
    save_adapter(model, NORM)
    message = complaint(model, adapter)
    assert "the adapter beside the model changes its head (base_model.model.model.norm.weight)" in message
    assert f"only one adapter can be merged here, so {adapter}/adapter_config.json cannot be as well" in message


def test_the_base_that_it_names(model: Path, adapter: Path) -> None:
    save_adapter(adapter, HEAD, base_model_name_or_path="org/Base")
    assert load_head(str(model), adapter=str(adapter)).notes == ()
    save_adapter(adapter, HEAD, base_model_name_or_path="org/other-7b/")
    (note,) = load_head(str(model), adapter=str(adapter)).notes
    assert f"says that its base is org/other-7b/, and is merged into the head of {model}" in note
    save_adapter(adapter, HEAD, base_model_name_or_path=None)
    assert load_head(str(model), adapter=str(adapter)).notes == ()


def test_one_of_another_model(model: Path, adapter: Path) -> None:
    save_adapter(adapter, low_rank("transformer.h.0.attn.c_attn", D, D), base_model_name_or_path="org/gpt")
    message = complaint(model, adapter)
    assert "which says that its base is org/gpt, was made for another model" in message
    assert "stores none of its 1 modules (transformer.h.0.attn.c_attn)" in message
    save_adapter(adapter, Q_PROJ | low_rank("model.layers.40.mlp.up_proj", D, D))
    note = load_head(str(model), adapter=str(adapter)).notes[-1]
    assert "1 of its 2 modules are not stored" in note
    assert "(model.layers.40.mlp.up_proj)" in note


REFUSED: dict[str, tuple[dict[str, torch.Tensor], dict[str, Any], str]] = {
    "DoRA": (
        HEAD | {"base_model.model.lm_head.lora_magnitude_vector": torch.ones(V)},
        {"use_dora": True},
        "use_dora",
    ),
    "another vocabulary": (low_rank("lm_head", V + 1, D), {}, "do not fit lm_head.weight (60, 16)"),
    "another kind": (HEAD, {"peft_type": "LOHA"}, "of the kind LOHA"),
    "no tensors for it": (Q_PROJ, {"target_modules": ["lm_head"]}, "but it holds no tensors for it"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_merged_says_so(form: str, model: Path, adapter: Path) -> None:
    tensors, settings, reason = REFUSED[form]
    save_adapter(adapter, tensors, **settings)
    message = complaint(model, adapter)
    assert f"{adapter}/adapter_config.json: this adapter cannot be merged into the head here" in message
    assert reason in message
    assert message.endswith("or leave --adapter out")


def _without_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def _config(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "adapter_config.json").write_text(text) and None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without_config, "the folder has no adapter_config.json: give that of an adapter of the PEFT library"),
        (_config("{"), "adapter_config.json is unreadable"),
        (_config("[]"), "adapter_config.json holds no JSON object: copy or download it again"),
        (
            lambda folder: (folder / "adapter_model.safetensors").unlink(),
            "save it as safetensors, or leave --adapter",
        ),
        (
            lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{"),
            "is truncated or damaged",
        ),
    ],
)
def test_a_folder_with_something_missing(
    change: Callable[[Path], None], reason: str, model: Path, adapter: Path
) -> None:
    save_adapter(adapter, HEAD)
    change(adapter)
    message = complaint(model, adapter)
    assert reason in message
    assert "--adapter ignore" not in message


def test_a_folder_with_only_an_adapter_says_what_to_do(adapter: Path, tmp_path: Path) -> None:
    save_adapter(adapter, HEAD)
    outcome = reach("scan", adapter, "--out", tmp_path / "run", *CHEAP)
    assert outcome.code == 2
    assert "holds an adapter of org/base and no model" in outcome.complaint
    assert outcome.complaint.endswith(f"or name the model and say --adapter {adapter}")


def test_a_bare_file_takes_none(adapter: Path, tmp_path: Path) -> None:
    save_adapter(adapter, HEAD)
    (tmp_path / "head.npz").write_bytes(b"")
    assert f"--adapter {adapter} is for model folders" in complaint(tmp_path / "head.npz", adapter)


# --- through the command --------------------------------------------------------------------------------------------


def test_scan_verify_and_resume_find_it_again(
    model: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_adapter(adapter, HEAD | NORM)
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    scanned = reach("scan", model, "--adapter", "adapter", "--out", run, *CHEAP)
    assert scanned.code == 0, scanned.err
    manifest = manifest_of(run)
    assert manifest["loading"]["adapter"] == str(adapter.resolve())
    assert "a LoRA of rank 3" in manifest["head"]["tie"]
    monkeypatch.chdir("/")
    change_manifest(run, status="running")
    resumed = reach("scan", "--resume", "--out", run, *CHEAP)
    assert resumed.code == 0, resumed.err
    assert manifest_of(run)["fingerprint"] == manifest["fingerprint"]
    # Which head is meant is for whoever verifies to say: the manifest's word is not enough.
    unsaid = reach("verify", run, "--quiet")
    assert unsaid.code == 1
    assert f"if this head is meant, say so with --adapter {adapter.resolve()}" in unsaid.out
    verified = reach("verify", run, "--quiet", "--adapter", adapter)
    assert verified.code == 0, verified.out + verified.err
    assert "this run is of another model" in reach("verify", run, "--quiet", "--adapter", "ignore").complaint
    adapter.rename(tmp_path / "moved")
    assert f"--adapter {adapter.resolve()}: no such folder" in reach("verify", run, "--quiet").complaint
    assert reach("verify", run, "--quiet", "--adapter", tmp_path / "moved").code == 0
    save_adapter(tmp_path / "moved", low_rank("lm_head", V, D) | whole("model.norm.weight", D), lora_alpha=7)
    assert "another model" in reach("verify", run, "--quiet", "--adapter", tmp_path / "moved").complaint


def test_one_that_changes_nothing_needs_no_word_from_whoever_verifies(
    model: Path, adapter: Path, tmp_path: Path
) -> None:
    save_adapter(adapter, Q_PROJ)
    run = tmp_path / "run"
    assert reach("scan", model, "--adapter", adapter, "--out", run, *CHEAP).code == 0
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 0, outcome.out
    assert "which change nothing: this is the model's own head" in outcome.out


def test_a_search_runs_the_model_alone(model: Path, adapter: Path, tmp_path: Path) -> None:
    save_adapter(adapter, HEAD)
    outcome = reach("search", model, "--out", tmp_path / "run", "--adapter", adapter, "--quiet")
    assert f"without the adapter in {adapter.resolve()}" in outcome.complaint


def test_from_python(model: Path, adapter: Path) -> None:
    save_adapter(adapter, HEAD)
    head = library.load(model, adapter=str(adapter))
    assert head.loading is not None
    assert head.loading.adapter == str(adapter.resolve())
    assert head.merged is not None
    with pytest.raises(BadInput, match="no such folder"):
        library.load(model, adapter=str(adapter) + "s")


def test_a_folder_called_merge(tmp_path: Path, model: Path) -> None:
    """It is named by a longer path."""
    folder = tmp_path / "merge"
    folder.mkdir()
    save_adapter(folder, HEAD)
    assert "has no adapter_config.json" in complaint(model, "merge")
    assert load_head(str(model), adapter=str(folder)).merged is not None
