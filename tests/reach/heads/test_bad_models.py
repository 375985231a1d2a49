"""Every bad model folder gets one line that says what, where and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import D, V, build, edit_config, edit_tensors

from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from solvers.errors import BadInput

Tensors = dict[str, torch.Tensor]


def complaint(folder: Path | str, **options) -> str:
    """The message that loading gives; it must be one line."""
    with pytest.raises(BadInput) as caught:
        load_head(str(folder), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    return build("gpt2", tmp_path / "model")


@pytest.fixture
def untied(tmp_path: Path) -> Path:
    return build("llama", tmp_path / "model", tied=False)


# --- folders, configs, files ---------------------------------------------------------------------------------------


def test_no_such_folder() -> None:
    assert complaint("/no/such/model") == "/no/such/model: no such folder or file, and not a Hub id (org/name)"


def test_a_revision_of_a_local_folder(gpt2: Path) -> None:
    assert "--revision main is for Hub models" in complaint(gpt2, revision="main")


def test_no_config(gpt2: Path) -> None:
    (gpt2 / "config.json").unlink()
    assert complaint(gpt2) == f"{gpt2}/config.json is missing: give a model folder that holds config.json"


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_an_unreadable_config(gpt2: Path, text: str) -> None:
    (gpt2 / "config.json").write_text(text)
    message = complaint(gpt2)
    assert message.startswith(f"{gpt2}/config.json ")
    assert message.endswith("copy or download it again")


def test_no_vocab_size(gpt2: Path) -> None:
    edit_config(gpt2, vocab_size=...)
    assert "config.json has no vocab_size: add it, or choose the head with --weight-tensor" in complaint(gpt2)


@pytest.mark.parametrize(
    ("key", "value"), [("vocab_size", "many"), ("vocab_size", 0), ("layer_norm_epsilon", "1e-5")]
)
def test_a_setting_of_the_wrong_kind(gpt2: Path, key: str, value: object) -> None:
    edit_config(gpt2, **{key: value})
    assert f"config.json: {key} is {value!r}, but must be a" in complaint(gpt2)


def test_a_classifier(gpt2: Path) -> None:
    edit_config(gpt2, architectures=["GPT2ForSequenceClassification"])
    assert "GPT2ForSequenceClassification has no head over the vocabulary" in complaint(gpt2)


def test_no_weights_at_all(gpt2: Path) -> None:
    (gpt2 / "model.safetensors").unlink()
    assert "has neither model.safetensors nor model.safetensors.index.json" in complaint(gpt2)


@pytest.mark.parametrize("kept", [4, 200, -1])
def test_truncated_weights(gpt2: Path, kept: int) -> None:
    path = gpt2 / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:kept])
    message = complaint(gpt2)
    assert message.startswith(f"{path} is truncated or damaged")
    assert message.endswith("copy or download it again")


@pytest.fixture
def sharded(tmp_path: Path) -> tuple[Path, Path]:
    """A sharded model, and its shard with the output matrix."""
    folder = build("llama", tmp_path / "model", shards=True)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return folder, folder / index["weight_map"]["model.embed_tokens.weight"]


def test_a_missing_shard(sharded: tuple[Path, Path]) -> None:
    folder, shard = sharded
    shard.unlink()
    assert (
        f"{shard.name}, which model.safetensors.index.json names for model.embed_tokens.weight, is missing"
        in complaint(folder)
    )


def test_a_truncated_shard(sharded: tuple[Path, Path]) -> None:
    folder, shard = sharded
    shard.write_bytes(shard.read_bytes()[:-10])
    assert complaint(folder).startswith(f"{shard} is truncated or damaged")


@pytest.mark.parametrize("text", ["{", "{}", '{"weight_map": 3}'])
def test_a_damaged_index(sharded: tuple[Path, Path], text: str) -> None:
    folder, _ = sharded
    (folder / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json is no index of safetensors shards" in complaint(folder)


def test_an_index_that_leaves_its_folder(sharded: tuple[Path, Path]) -> None:
    folder, _ = sharded
    index = {"weight_map": {"model.embed_tokens.weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names a shard outside its folder (../elsewhere.safetensors)" in complaint(folder)


def test_an_index_that_names_the_wrong_shard(sharded: tuple[Path, Path]) -> None:
    folder, shard = sharded
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.norm.weight"] = shard.name
    path.write_text(json.dumps(index))
    assert "has no tensor model.norm.weight, though model.safetensors.index.json says so" in complaint(folder)


# --- tensors ------------------------------------------------------------------------------------------------------


def _set(name: str, tensor: torch.Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda tensors: tensors.pop("transformer.ln_f.bias"),
            "has no beta of the head (looked for transformer.ln_f.bias",
        ),
        (
            lambda tensors: tensors.pop("transformer.wte.weight"),
            "has no output matrix and no input embedding (looked for",
        ),
        (
            _set("transformer.ln_f.weight", torch.ones(D + 1)),
            f"ln_f.weight has shape ({D + 1},), but transformer.wte",
        ),
        (_set("transformer.wte.weight", torch.ones(V)), f"wte.weight has shape ({V},), but a matrix is needed"),
        (_set("transformer.wte.weight", torch.ones(V + 4, D)), f"wte.weight has {V + 4} rows, but"),
        (
            _set("transformer.wte.weight", torch.ones(V, D, dtype=torch.int8)),
            "stored as I8; a head must be one of float16",
        ),
        (
            _set("transformer.wte.weight", torch.ones(V, D).to(torch.float8_e4m3fn)),
            "stored as F8_E4M3; a head must be one of float16",
        ),
        (
            _set("transformer.wte.weight", torch.ones(V, D).index_fill(0, torch.tensor([3, 9]), torch.nan)),
            "transformer.wte.weight holds NaN or Inf in rows 3, 9:",
        ),
        (
            _set("transformer.wte.weight", torch.ones(V, D).index_fill(0, torch.arange(20), torch.inf)),
            "holds NaN or Inf in rows 0, 1, 2, 3, 4, 5, 6, 7 and 12 more:",
        ),
        (
            _set("transformer.ln_f.bias", torch.ones(D).index_fill(0, torch.tensor([2]), -torch.inf)),
            "transformer.ln_f.bias holds NaN or Inf in entries 2:",
        ),
    ],
)
def test_bad_tensors(gpt2: Path, change: Callable[[Tensors], None], expected: str) -> None:
    edit_tensors(gpt2, change)
    message = complaint(gpt2)
    assert expected in message
    assert str(gpt2) in message


def test_nan_is_found_beyond_the_first_block(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reach.heads.weights.BLOCK_ELEMENTS", 7 * D)
    edit_tensors(
        gpt2, _set("transformer.wte.weight", torch.ones(V, D).index_fill(0, torch.tensor([V - 1]), torch.nan))
    )
    assert f"holds NaN or Inf in rows {V - 1}:" in complaint(gpt2)


def test_a_bias_of_the_wrong_length(tmp_path: Path) -> None:
    folder = build("ctrl", tmp_path)
    edit_tensors(folder, _set("lm_head.bias", torch.zeros(V - 1)))
    assert f"lm_head.bias has shape ({V - 1},), but transformer.w.weight asks for ({V},)" in complaint(folder)


def test_a_projection_that_does_not_fit(tmp_path: Path) -> None:
    folder = build("opt-350m", tmp_path)
    edit_tensors(folder, _set("model.decoder.project_out.weight", torch.ones(9, D)))
    assert "project_out.weight has 9 rows, but model.decoder.embed_tokens.weight has 8 columns" in complaint(folder)


# --- tied or not --------------------------------------------------------------------------------------------------


def test_tied_by_the_config_but_not_by_the_tensors(untied: Path) -> None:
    edit_config(untied, tie_word_embeddings=True)
    assert complaint(untied) == (
        f"{untied}/config.json sets tie_word_embeddings, yet lm_head.weight and model.embed_tokens.weight differ "
        "(first in row 0): choose the head with --weight-tensor lm_head.weight or --weight-tensor "
        "model.embed_tokens.weight"
    )
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        head = load_head(str(untied), overrides=HeadOverrides(weight_tensor=name))
        assert head.tensors["weight"] == name
        assert head.tie == f"chosen by hand: {name}"


def test_tied_by_default_but_not_by_the_tensors(gpt2: Path) -> None:
    """GPT-2 without the entry is tied; one row apart is enough."""

    def last_row_apart(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
        tensors["lm_head.weight"][V - 1, 0] += 1

    edit_tensors(gpt2, last_row_apart)
    edit_config(gpt2, tie_word_embeddings=...)
    assert (
        f"leaves gpt2 tied, its default, yet lm_head.weight and transformer.wte.weight differ (first in row {V - 1})"
        in (complaint(gpt2))
    )


def test_untied_by_the_config_but_equal(untied: Path) -> None:
    edit_tensors(
        untied, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()})
    )
    assert load_head(str(untied)).tie == "tied: lm_head.weight equals model.embed_tokens.weight"


def test_only_an_output_matrix(untied: Path) -> None:
    edit_tensors(untied, lambda tensors: tensors.pop("model.embed_tokens.weight"))
    assert "no input embedding to compare it with" in load_head(str(untied)).tie


# --- unknown architectures and hands ------------------------------------------------------------------------------


def test_an_unknown_architecture_says_where_it_looked(untied: Path) -> None:
    edit_config(untied, model_type="novel", architectures=["NovelForCausalLM"])
    message = complaint(untied)
    assert "unknown architecture novel (NovelForCausalLM): transformers" in message
    assert "has no class NovelForCausalLM; looked for lm_head.weight, embed_out.weight" in message
    assert "of which lm_head.weight, model.embed_tokens.weight is stored" in message
    for option in ("--weight-tensor", "--bias-tensor", "--gamma-tensor", "--beta-tensor", "--norm", "--eps"):
        assert option in message


def test_an_unknown_architecture_by_hand(untied: Path) -> None:
    known = load_head(str(untied))
    edit_config(untied, model_type="novel", architectures=...)
    by_hand: dict[str, str | float] = {"weight_tensor": "lm_head.weight"}
    assert "say which norm comes last" in complaint(untied, overrides=HeadOverrides(**by_hand))
    by_hand["norm"] = "rmsnorm"
    assert "name the norm's factors with --gamma-tensor" in complaint(untied, overrides=HeadOverrides(**by_hand))
    by_hand["gamma_tensor"] = "model.norm.weight"
    assert (
        load_head(str(untied), overrides=HeadOverrides(**by_hand)).problem().fingerprint
        == known.problem().fingerprint
    )
    edit_config(untied, rms_norm_eps=...)
    assert "no eps of the final norm (looked for layer_norm_eps" in complaint(
        untied, overrides=HeadOverrides(**by_hand)
    )
    assert load_head(str(untied), overrides=HeadOverrides(**by_hand, eps=0.5)).eps == 0.5


def test_a_name_that_is_not_stored_names_others(untied: Path) -> None:
    message = complaint(untied, overrides=HeadOverrides(weight_tensor="head.weight"))
    assert "has no tensor head.weight; it has lm_head.weight, model.embed_tokens.weight, model.norm.weight" in message


def test_none_drops_a_part(gpt2: Path) -> None:
    assert load_head(str(gpt2), overrides=HeadOverrides(beta_tensor="none")).beta is None
    assert load_head(str(gpt2), overrides=HeadOverrides(norm="none")).norm is None


def test_hands_that_contradict_themselves(gpt2: Path) -> None:
    message = complaint(gpt2, overrides=HeadOverrides(norm="none", gamma_tensor="transformer.ln_f.weight"))
    assert "belong to a norm" in message
    with pytest.raises(BadInput, match=r"--norm batchnorm: choose one of layernorm, layernorm\+1, rmsnorm"):
        HeadOverrides(norm="batchnorm")


# --- settings that would change the question ----------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0, -1e-5])
def test_eps_must_be_positive(gpt2: Path, eps: float) -> None:
    """With eps = 0 the norm fills a sphere, not an open ball."""
    edit_config(gpt2, layer_norm_epsilon=eps)
    assert "the final norm has eps" in complaint(gpt2)
    assert load_head(str(gpt2), overrides=HeadOverrides(eps=1e-5)).eps == 1e-5


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("logit_scale", -1.0, "scales the logits by -1; only a factor > 0"),
        ("logit_scale", 0, "scales the logits by 0; only a factor > 0"),
        ("logits_scaling", 0, "logits_scaling is 0"),
        ("final_logit_softcapping", 0.0, "caps the logits at 0; a cap must be > 0"),
    ],
)
def test_logit_settings_that_reorder_tokens(gpt2: Path, key: str, value: float, expected: str) -> None:
    edit_config(gpt2, **{key: value})
    assert expected in complaint(gpt2)


def test_the_domain_of_a_norm_that_is_not_there(tmp_path: Path) -> None:
    folder = build("opt-no-norm", tmp_path)
    assert "has no final norm; use free, ball:R or box:LO,HI" in complaint(folder, domain="norm")
