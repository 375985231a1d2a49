"""Tensors that lie beside the head and were not named are said, on the terminal and in the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reach_command import manifest_of, reach
from tiny_models import D, V, build, edit_config, edit_tensors

from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides

BIAS, BETA = {"lm_head.bias": torch.arange(float(V))}, {"model.norm.bias": torch.arange(float(D))}
LOGITS = {"final_logits_bias": torch.arange(float(V))[None]}
HANDS: dict[str, Any] = {"weight_tensor": "lm_head.weight", "norm": "layernorm", "gamma_tensor": "model.norm.weight"}


@pytest.fixture
def novel(tmp_path: Path) -> Path:
    """A model of a type that is not known, so that all of its head is named by hand."""
    folder = build("llama", tmp_path / "model", tied=False)
    edit_config(folder, model_type="novel")
    return folder


def store(folder: Path, *more: dict[str, torch.Tensor]) -> None:
    for part in more:
        edit_tensors(folder, lambda tensors, part=part: tensors.update(part))


def notes(folder: Path, **hands: Any) -> tuple[str, ...]:
    return load_head(str(folder), overrides=HeadOverrides(**hands)).notes


def test_siblings_that_were_not_named(novel: Path) -> None:
    store(novel, BIAS, BETA, LOGITS)
    head, norm = notes(novel, **HANDS)
    assert head == (
        f"{novel}: left out of the head, though stored with its output matrix: final_logits_bias, lm_head.bias; if "
        "the model uses this, every verdict is about another head: name its bias with --bias-tensor NAME, or say "
        "none if it has none"
    )
    assert "though stored with its final norm: model.norm.bias; if" in norm
    assert "name its shift with --beta-tensor NAME" in norm


def test_what_was_named_or_said_to_be_none_is_no_note(novel: Path) -> None:
    store(novel, BIAS, BETA)
    assert notes(novel, **HANDS, bias_tensor="lm_head.bias", beta_tensor="model.norm.bias") == ()
    assert notes(novel, **HANDS, bias_tensor="none", beta_tensor="none") == ()
    (only,) = notes(novel, **HANDS, bias_tensor="lm_head.bias")
    assert "model.norm.bias" in only


def test_one_bias_of_two_is_named(novel: Path) -> None:
    store(novel, BIAS, LOGITS)
    (only,) = notes(novel, **HANDS, bias_tensor="lm_head.bias")
    assert ": final_logits_bias;" in only
    assert notes(novel, **HANDS, bias_tensor="none") == ()


def test_a_factor_said_to_be_none(novel: Path) -> None:
    store(novel, BETA)
    hands = HANDS | {"gamma_tensor": "none", "beta_tensor": "model.norm.bias"}
    assert notes(novel, **hands) == ()
    assert notes(novel, **HANDS | {"norm": "none", "gamma_tensor": None}) == ()


def test_another_matrix_that_looks_like_a_head(novel: Path) -> None:
    """Pointed at the embedding by hand, while a head is stored."""
    (only,) = notes(novel, **HANDS | {"weight_tensor": "model.embed_tokens.weight"})
    assert "stored with its output matrix: lm_head.weight;" in only


def test_a_transform_before_the_matrix(novel: Path) -> None:
    """As masked models have it: what is read is not all that happens."""
    store(novel, {"cls.predictions.transform.dense.weight": torch.ones(D, D)})
    (only,) = notes(novel, **HANDS)
    assert ": cls.predictions.transform.dense.weight;" in only


def test_a_matrix_by_hand_that_an_adapter_changes(novel: Path) -> None:
    store(novel, {"lm_head.lora_A.weight": torch.ones(2, D), "lm_head.lora_B.weight": torch.ones(V, 2)})
    (only,) = notes(novel, **HANDS)
    assert ": lm_head.lora_A.weight, lm_head.lora_B.weight;" in only


def test_a_known_architecture_that_has_no_place_for_it(tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=False)
    assert notes(folder) == ()
    store(folder, BIAS, BETA)
    head, norm = notes(folder)
    assert "lm_head.bias" in head
    assert "model.norm.bias" in norm


@pytest.mark.parametrize("shape", [(V,), (1, V)], ids=str)
def test_a_bias_may_be_stored_as_a_row(shape: tuple[int, ...], novel: Path) -> None:
    store(novel, {"final_logits_bias": torch.arange(float(V)).reshape(shape)})
    head = load_head(str(novel), overrides=HeadOverrides(**HANDS, bias_tensor="final_logits_bias"))
    assert head.bias is not None
    assert head.bias.tolist() == list(range(V))


def test_the_notes_are_on_the_terminal_and_in_the_manifest(novel: Path, tmp_path: Path) -> None:
    store(novel, BIAS, BETA)
    hands = ("--weight-tensor", "lm_head.weight", "--norm", "layernorm", "--gamma-tensor", "model.norm.weight")
    outcome = reach("scan", novel, *hands, "--out", tmp_path / "run", "--quiet", "--no-report")
    assert outcome.code == 0, outcome.err
    warnings = manifest_of(tmp_path / "run")["warnings"]
    for part, name in (("output matrix", "lm_head.bias"), ("final norm", "model.norm.bias")):
        words = f"left out of the head, though stored with its {part}: {name};"
        assert f"reach: note: {novel}: {words}" in outcome.err
        assert any(words in warning for warning in warnings)
