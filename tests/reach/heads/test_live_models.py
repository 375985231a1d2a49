"""For every architecture: the head read from files is the head of the live model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import CONFIGS, D, V, build, edit_config, edit_tensors
from tokenizers import Tokenizer

from reach.heads.head import Head
from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from reach.heads.self_check import SelfCheckReport, self_check
from solvers.domains import Ball, Box, Free
from solvers.rounding import gamma

RMS_PLUS_ONE = {"gemma", "gemma2", "gemma3", "gemma3_text"}
RMS = {"llama", "mistral", "qwen2", "qwen3", "granite", "mixtral", "olmo2", "phi3", "qwen3_moe"} | RMS_PLUS_ONE


def checked(folder: Path) -> tuple[Head, SelfCheckReport]:
    head = load_head(str(folder))
    return head, self_check(head, folder)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_domain_equal_the_live_models(name: str, tied: bool, tmp_path: Path) -> None:
    head, report = checked(build(name, tmp_path, tied=tied))
    assert report.ok, report.sentence
    assert report.same_argmax == 1
    assert report.states == 31
    assert head.tie.startswith("tied" if tied else "untied")
    if name == "opt-no-norm":
        assert head.norm is None
        assert head.domain == Free()
    else:
        assert head.norm == ("rmsnorm" if name in RMS else "layernorm")
        assert head.domain == Ball(squared_radius=D)
        assert 0.5 < report.domain_reach < 1


@pytest.mark.parametrize("name", CONFIGS)
def test_the_problem_gives_the_heads_logits(name: str, tmp_path: Path) -> None:
    """A z + c of the folded problem is what the head computes, for z in the domain (mean 0 under a LayerNorm)."""
    head = load_head(str(build(name, tmp_path)))
    problem = head.problem()
    z = head.normalise(torch.randn(5, head.d, generator=torch.Generator().manual_seed(3)))
    folded = z @ problem.rows(slice(None)).T + problem.offset
    assert torch.allclose(folded, head.logits(z), rtol=0, atol=1e-12)
    assert (problem.v, problem.d) == (V, D)
    assert problem.zero_offset == (name in RMS or name in {"opt-no-norm", "opt-no-affine"})


@pytest.mark.parametrize("shards", [False, True], ids=["single", "sharded"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "opt-350m"])
def test_16_bit_weights_stay_16_bit(name: str, dtype: torch.dtype, shards: bool, tmp_path: Path) -> None:
    head, report = checked(build(name, tmp_path, dtype=dtype, shards=shards))
    assert report.ok, report.sentence
    assert head.dtype == str(dtype).removeprefix("torch.")
    assert head.weight.dtype == (torch.float64 if name == "opt-350m" else dtype)
    assert (tmp_path / "model.safetensors.index.json").is_file() == shards


def test_only_the_shards_of_the_head_are_opened(tmp_path: Path) -> None:
    """Given shards, when all but the head's are destroyed, then the head still loads."""
    build("llama", tmp_path, shards=True)
    whole = load_head(str(tmp_path))
    needed = {"model.embed_tokens.weight", "model.norm.weight"}
    kept = 0
    for path in tmp_path.glob("model-*.safetensors"):
        header = path.read_bytes()[: 8 + int.from_bytes(path.read_bytes()[:8], "little")].decode("latin-1")
        if any(f'"{name}"' in header for name in needed):
            kept += 1
        else:
            path.unlink()
    assert 1 <= kept <= 2
    assert torch.equal(load_head(str(tmp_path)).weight, whole.weight)


def test_names_of_checkpoints_without_the_head_model(tmp_path: Path) -> None:
    """Old Hub checkpoints of GPT-2 hold `wte.weight`, not `transformer.wte.weight`."""
    build("gpt2", tmp_path)
    whole = load_head(str(tmp_path))
    edit_tensors(tmp_path, lambda tensors: _rename(tensors, lambda name: name.removeprefix("transformer.")))
    head, report = checked(tmp_path)
    assert head.tensors == {"weight": "wte.weight", "gamma": "ln_f.weight", "beta": "ln_f.bias"}
    assert torch.equal(head.weight, whole.weight)
    assert report.ok, report.sentence


def test_names_of_gemma_3_in_the_newer_layout(tmp_path: Path) -> None:
    build("gemma3", tmp_path)
    edit_tensors(
        tmp_path,
        lambda tensors: _rename(tensors, lambda name: name.replace("language_model.model.", "model.language_model.")),
    )
    assert load_head(str(tmp_path)).tensors["gamma"] == "model.language_model.norm.weight"


def _rename(tensors: dict[str, torch.Tensor], new_name) -> None:
    for name in list(tensors):
        tensors[new_name(name)] = tensors.pop(name)


def test_gemma_multiplies_by_one_plus_gamma_rounded_to_float32(tmp_path: Path) -> None:
    head = load_head(str(build("gemma", tmp_path, dtype=torch.bfloat16)))
    assert head.gamma is not None
    assert head.gamma.dtype == torch.float32
    stored = load_file(tmp_path / "model.safetensors")["model.norm.weight"]
    assert head.gamma.tolist() == [float(np.float32(1) + np.float32(entry)) for entry in stored.tolist()]


def test_the_folded_projection_is_within_its_bound(tmp_path: Path) -> None:
    """The reference is W·P in exact integers: float32 entries scaled by a power of two."""
    head = load_head(str(build("opt-350m", tmp_path)))
    tensors = load_file(tmp_path / "model.safetensors")
    weight, projection = (
        [[int(entry * 2**60) for entry in row] for row in tensors[name].double().tolist()]
        for name in ("model.decoder.embed_tokens.weight", "model.decoder.project_out.weight")
    )
    assert head.weight_error is not None
    for row in range(0, V, 7):
        squared = 0
        for column in range(D):
            exact = sum(weight[row][k] * projection[k][column] for k in range(len(projection)))
            squared += (exact - int(head.weight[row, column].item() * 2**120)) ** 2
        assert squared**0.5 / 2**120 <= float(head.weight_error[row]) < 1e-13
    assert head.problem().row_error.min() > 2 * gamma(2)


@pytest.mark.parametrize(
    "fault",
    [
        lambda head: replace(head, weight=_one_changed(head.weight)),
        lambda head: replace(head, weight=head.weight.roll(1, dims=0)),
        lambda head: replace(head, gamma=_one_changed(head.gamma)),
        lambda head: replace(head, beta=None),
        lambda head: replace(head, norm="rmsnorm"),
        lambda head: replace(head, eps=1e-2),
    ],
    ids=["one weight", "rows shifted", "one gamma", "no beta", "wrong norm", "wrong eps"],
)
def test_a_corrupted_head_fails_the_self_check(fault, tmp_path: Path) -> None:
    folder = build("gpt2", tmp_path)
    report = self_check(fault(load_head(str(folder))), folder)
    assert not report.ok
    assert "FAILED" in report.sentence


def _one_changed(tensor: torch.Tensor) -> torch.Tensor:
    """One entry off by a part in a thousand."""
    changed = tensor.clone()
    changed.view(-1)[5] *= 1.001
    return changed


def test_a_box_that_is_too_small_fails_the_self_check(tmp_path: Path) -> None:
    folder = build("llama", tmp_path)
    report = self_check(load_head(str(folder), domain="box:-0.1,0.1"), folder)
    assert report.outside == report.states
    assert "outside the domain" in report.sentence


def test_a_missing_output_matrix_is_named_by_the_self_check(tmp_path: Path) -> None:
    """Without a stored matrix an untied model is half random, which the file cannot show."""
    folder = build("llama", tmp_path, tied=False)
    edit_tensors(folder, lambda tensors: tensors.pop("lm_head.weight"))
    head = load_head(str(folder), overrides=HeadOverrides(weight_tensor="model.embed_tokens.weight"))
    report = self_check(head, folder)
    assert not report.ok
    assert "transformers found no lm_head.weight in the files" in report.sentence


def test_an_architecture_by_hand_checks_out_too(tmp_path: Path) -> None:
    """Given a model that divides its logits and whose name is not known, when it is pointed at by hand."""
    folder = build("granite", tmp_path)
    head = load_head(str(folder))
    edit_config(folder, model_type="novel")
    by_hand = HeadOverrides(
        weight_tensor="model.embed_tokens.weight", norm="rmsnorm", gamma_tensor="model.norm.weight"
    )
    again = load_head(str(folder), overrides=by_hand)
    assert head.logit_scale == again.logit_scale == 0.25
    assert again.problem().fingerprint == head.problem().fingerprint
    edit_config(folder, model_type="granite")
    report = self_check(again, folder)
    assert report.ok, report.sentence


@pytest.mark.parametrize(("name", "rows"), [("stories260k", 512), ("onmt-lm", 16377)])
def test_real_models(name: str, rows: int, real_models: Path) -> None:
    folder = real_models / name
    head = load_head(str(folder))
    assert (head.v, head.d) == (rows, 64)
    report = self_check(head, folder, Tokenizer.from_file(str(folder / "tokenizer.json")))
    assert report.ok, report.sentence
    assert report.states > 31


def test_a_domain_can_be_chosen(tmp_path: Path) -> None:
    build("gpt2", tmp_path)
    assert load_head(str(tmp_path), domain="free").problem().domain == Free()
    boxed = load_head(str(tmp_path), domain="box:-2,3").problem().domain
    assert isinstance(boxed, Box)
    assert (boxed.lo == -2).all()
    assert (boxed.hi == 3).all()
    assert load_head(str(tmp_path), domain="norm").problem().domain == Ball(squared_radius=D)
    edit_config(tmp_path, layer_norm_epsilon=0.25)
    assert load_head(str(tmp_path)).eps == 0.25
