"""The head that is scanned is the one that the model uses, or the folder is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import D, V, build, edit_config, edit_tensors

from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from solvers.errors import BadInput

Tensors = dict[str, torch.Tensor]
EMBEDDING = "model.embed_tokens.weight"


def complaint(folder: Path, **options: Any) -> str:
    """The message that loading gives; it must be one line."""
    with pytest.raises(BadInput) as caught:
        load_head(str(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def stored_as(*ends: str, keep: bool = False, under: str = "lm_head") -> Callable[[Tensors], None]:
    """Put other tensors in the place of (or beside) the head's matrix, as a quantiser or an adapter leaves them."""

    def change(tensors: Tensors) -> None:
        if not keep:
            tensors.pop("lm_head.weight", None)
        for end in ends:
            whole = end.endswith((".base_layer.weight", ".original_module.weight"))
            tensors[under + end] = torch.ones(V, D) if whole else torch.ones(2, 3, dtype=torch.int32)

    return change


FORMS = {
    "GPTQ": (".qweight", ".qzeros", ".scales", ".g_idx"),
    "AWQ": (".qweight", ".qzeros", ".scales"),
    "compressed-tensors": (".weight_packed", ".weight_scale", ".weight_shape"),
    "quanto": (".weight._data", ".weight._scale"),
    "EXL3": (".trellis", ".suh", ".svh"),
    "EXL2": (".q_weight", ".q_scale", ".q_groups", ".q_invperm"),
    "HQQ": (".W_q", ".meta"),
    "torchao": (".weight:_data", ".weight:scale"),
    "AQLM": (".codes", ".codebooks", ".scales"),
    "LoRA": (".base_layer.weight", ".lora_A.default.weight", ".lora_B.default.weight"),
    "modules to save": (".original_module.weight", ".modules_to_save.default.weight"),
    "weight norm": (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
}


@pytest.mark.parametrize("config", [False, ..., True], ids=["untied", "silent", "tied"])
@pytest.mark.parametrize("form", FORMS)
def test_a_head_that_is_stored_otherwise_is_never_replaced_by_the_embedding(
    form: str, config: Any, tmp_path: Path
) -> None:
    folder = build("llama", tmp_path, tied=False)
    edit_tensors(folder, stored_as(*FORMS[form]))
    edit_config(folder, tie_word_embeddings=config)
    message = complaint(folder)
    assert "stores its head as lm_head." in message
    assert all(f"lm_head{end}" in message for end in FORMS[form])
    assert ("merge it into the model" if form in ("LoRA", "modules to save") else "dequantise the model") in message
    assert "--weight-tensor NAME" in message
    by_hand = load_head(str(folder), overrides=HeadOverrides(weight_tensor=EMBEDDING))
    assert by_hand.tensors["weight"] == EMBEDDING


@pytest.mark.parametrize("name", ["gpt2", "gemma", "gpt_neox"])
@pytest.mark.parametrize("under", ["base_model.model.lm_head", "lm_head", "module.lm_head", "embed_out", "output"])
def test_neither_where_tied_is_the_default_nor_under_other_prefixes(name: str, under: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path, tied=True)
    edit_tensors(folder, stored_as(".qweight", ".scales", under=under))
    assert f"stores its head as {under}.qweight" in complaint(folder)


def test_the_quantiser_that_the_config_names_is_in_the_message(tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=False)
    edit_tensors(folder, stored_as(".qweight", ".scales"))
    edit_config(folder, quantization_config={"quant_method": "awq", "bits": 4})
    assert "quantization_config of its config.json says awq" in complaint(folder)


QUANTISED = {
    "gptq": {"quant_method": "gptq", "bits": 4, "lm_head": True},
    "awq": {"quant_method": "awq", "bits": 4, "lm_head": True},
    "auto-round": {"quant_method": "auto-round", "bits": 4, "extra_config": {"lm_head": {"bits": 4}}},
    "exl3": {"quant_method": "exl3", "bits": 4.0, "head_bits": 6},
    "compressed-tensors": {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4}}},
        "ignore": [],
    },
}


@pytest.mark.parametrize("method", QUANTISED)
def test_a_config_that_says_the_head_is_quantised_is_believed(method: str, tmp_path: Path) -> None:
    """Even if a float matrix is stored too: the two contradict each other, and a person must say which counts."""
    folder = build("llama", tmp_path, tied=False)
    edit_config(folder, quantization_config=QUANTISED[method])
    assert f"the head is quantised: quantization_config ({method})" in complaint(folder)
    by_hand = load_head(str(folder), overrides=HeadOverrides(weight_tensor="lm_head.weight"))
    assert by_hand.tensors["weight"] == "lm_head.weight"


@pytest.mark.parametrize(
    "entry",
    [
        {"quant_method": "gptq", "bits": 4, "lm_head": False},
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "exl3", "bits": 4.0, "head_bits": 16},
        {"quant_method": "auto-round", "bits": 4, "extra_config": {"lm_head": {"bits": 16}}},
        QUANTISED["compressed-tensors"] | {"ignore": ["lm_head"]},
        QUANTISED["compressed-tensors"] | {"ignore": ["re:.*lm_head"]},
        QUANTISED["compressed-tensors"]
        | {"config_groups": {"group_0": {"targets": ["re:.*self_attn.*"], "weights": {"num_bits": 4}}}},
        None,
    ],
)
def test_a_float_head_of_a_model_quantised_elsewhere_is_read(entry: dict[str, Any] | None, tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=False)
    whole = load_head(str(folder)).problem().fingerprint
    edit_config(folder, quantization_config=entry)
    edit_tensors(
        folder,
        lambda tensors: tensors.update({"model.layers.0.mlp.up_proj.qweight": torch.ones(2, dtype=torch.int32)}),
    )
    assert load_head(str(folder)).problem().fingerprint == whole


@pytest.mark.parametrize(
    "end", [".lora_A.weight", ".base_layer.weight", ".weight_scale", ".qzeros", ".weight.absmax", ".input_scale"]
)
@pytest.mark.parametrize("tied", [True, False])
def test_a_float_head_that_other_tensors_change_is_refused(end: str, tied: bool, tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=False)
    if tied:
        edit_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": tensors[EMBEDDING].clone()}))
        edit_config(folder, tie_word_embeddings=True)
    edit_tensors(folder, stored_as(end, keep=True))
    message = complaint(folder)
    assert f"lm_head.weight is not what the model computes with: lm_head{end}" in message


@pytest.mark.parametrize("name", ["model.embed_tokens.lora_embedding_A", "model.embed_tokens.weight_scale"])
def test_a_tied_embedding_that_other_tensors_change_is_refused(name: str, tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=True)
    edit_tensors(folder, lambda tensors: tensors.update({name: torch.ones(2, 3)}))
    assert f"{EMBEDDING} is not what the model computes with: {name}" in complaint(folder)


@pytest.mark.parametrize("name", ["model.norm.original_module.weight", "base_model.model.model.norm.ia3_l"])
def test_a_norm_that_other_tensors_change_is_refused(name: str, tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=True)
    edit_tensors(folder, lambda tensors: tensors.update({name: torch.ones(D)}))
    message = complaint(folder)
    assert f"model.norm.weight is not what the model computes with: {name}" in message
    assert "--gamma-tensor" in message


@pytest.mark.parametrize("said", [False, ...], ids=["says so", "by default"])
def test_an_untied_model_without_its_head(said: Any, tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=False)
    edit_tensors(folder, lambda tensors: tensors.pop("lm_head.weight"))
    edit_config(folder, tie_word_embeddings=said)
    message = complaint(folder)
    assert (
        "has no output matrix (looked for lm_head.weight, language_model.lm_head.weight), and config.json" in message
    )
    assert ("sets tie_word_embeddings to false" if said is False else "does not say tied, nor does llama") in message
    assert message.endswith(f"say --weight-tensor {EMBEDDING}")


@pytest.mark.parametrize("name", ["LlamaModel", "MistralModel", "GPT2Model", "Gemma3TextModel", "OPTModel"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_bare_layers_have_no_head(name: str, tied: bool, tmp_path: Path) -> None:
    kind = {"LlamaModel": "llama", "MistralModel": "mistral", "GPT2Model": "gpt2", "OPTModel": "opt"}.get(
        name, "gemma3_text"
    )
    folder = build(kind, tmp_path, tied=tied)
    edit_config(folder, architectures=[name])
    message = complaint(folder)
    assert f"{name} is a model without a head over the vocabulary" in message
    assert "--weight-tensor NAME" in message


@pytest.mark.parametrize("names", [..., [], ["Novel"]], ids=["no entry", "empty", "unheard of"])
def test_a_class_that_is_not_known_to_have_a_head(names: Any, tmp_path: Path) -> None:
    """Tied, but nothing says that there is a head at all; where one is stored, that says it."""
    folder = build("llama", tmp_path / "tied", tied=True)
    edit_config(folder, architectures=names)
    assert "so nothing says that the model has a head" in complaint(folder)
    stored = build("llama", tmp_path / "untied", tied=False)
    edit_config(stored, architectures=names)
    assert load_head(str(stored)).tensors["weight"] == "lm_head.weight"


def test_parts_that_contradict_each_other_are_not_tied(tmp_path: Path) -> None:
    folder = build("gemma3", tmp_path, tied=True)
    edit_config(folder, tie_word_embeddings=False)
    assert "config.json sets tie_word_embeddings to false" in complaint(folder)


@pytest.mark.parametrize("value", ["false", 1, []])
def test_tied_is_true_or_false(value: Any, tmp_path: Path) -> None:
    folder = build("llama", tmp_path, tied=True)
    edit_config(folder, tie_word_embeddings=value)
    assert f"tie_word_embeddings is {value!r}, but must be true or false" in complaint(folder)


def test_two_heads_under_two_names_must_be_one(tmp_path: Path) -> None:
    """GPT-NeoX calls its head embed_out or lm_head, depending on the version that saved it."""
    folder = build("gpt_neox", tmp_path, tied=False)
    head = load_head(str(folder))
    other = "lm_head.weight" if head.tensors["weight"] == "embed_out.weight" else "embed_out.weight"
    edit_tensors(folder, lambda tensors: tensors.update({other: tensors[head.tensors["weight"]].clone()}))
    assert load_head(str(folder)).problem().fingerprint == head.problem().fingerprint
    edit_tensors(folder, lambda tensors: tensors[other].add_(1))
    assert "has both embed_out.weight and lm_head.weight, and they differ" in complaint(folder)
