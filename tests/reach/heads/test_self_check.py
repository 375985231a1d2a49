"""The self-check builds the class that the files are of, and passes only the head that this class has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from reach_command import change_manifest, manifest_of, reach
from tiny_models import V, build, edit_config, edit_tensors

from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from reach.heads.self_check import self_check
from reach.runs.manifest import as_manifest
from reports.method import method_view
from solvers.errors import BadInput

ENCODER_DECODERS = {
    "bart": (hf.BartConfig, hf.BartForConditionalGeneration, "model.decoder.layers.0.final_layer_norm"),
    "marian": (hf.MarianConfig, hf.MarianMTModel, "model.decoder.layers.0.final_layer_norm"),
    "mbart": (hf.MBartConfig, hf.MBartForConditionalGeneration, "model.decoder.layer_norm"),
}


def build_translator(name: str, folder: Path) -> Path:
    """A tiny encoder-decoder with a bias on its logits, whose file stores the output matrix as lm_head.weight too."""
    make_config, kind, _ = ENCODER_DECODERS[name]
    torch.manual_seed(3)
    more = {"decoder_vocab_size": V} if name == "marian" else {}
    config = make_config(
        vocab_size=V, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24, max_position_embeddings=64, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=2, **more,
    )  # fmt: skip
    live = kind(config)
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
        live.final_logits_bias.copy_(torch.randn(1, V))
    live.save_pretrained(folder)
    edit_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.shared.weight"].clone()}))
    return folder


def pointed_at(name: str, bias: str | None) -> HeadOverrides:
    norm = ENCODER_DECODERS[name][2]
    return HeadOverrides(
        weight_tensor="lm_head.weight",
        norm="layernorm",
        gamma_tensor=f"{norm}.weight",
        beta_tensor=f"{norm}.bias",
        bias_tensor=bias,
        eps=1e-5,
    )


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_a_bias_on_the_logits_belongs_to_the_head(name: str, tmp_path: Path) -> None:
    """The decoder alone, which reads the same file, drops `final_logits_bias`; the model itself adds it."""
    folder = build_translator(name, tmp_path)
    whole = load_head(str(folder), overrides=pointed_at(name, "final_logits_bias"))
    assert whole.bias is not None
    assert whole.bias.shape == (V,)
    assert self_check(whole, folder).ok
    for bias in (None, "none"):
        report = self_check(load_head(str(folder), overrides=pointed_at(name, bias)), folder)
        assert not report.ok
        assert "the bias that the live model adds is not the one that was read" in report.sentence


def test_a_small_difference_of_the_bias_is_found(tmp_path: Path) -> None:
    """Far below what the logits of one pass would show."""
    folder = build_translator("bart", tmp_path)
    whole = load_head(str(folder), overrides=pointed_at("bart", "final_logits_bias"))
    assert whole.bias is not None
    bias = whole.bias.clone()
    bias[7] = torch.nextafter(bias[7], torch.tensor(9.0))
    report = self_check(replace(whole, bias=bias), folder)
    assert not report.ok
    assert "1 of 60 entries differ, the first is that of token 7" in report.sentence


def test_a_small_difference_of_the_matrix_is_found(tmp_path: Path) -> None:
    folder = build("llama", tmp_path)
    head = load_head(str(folder))
    weight = head.weight.clone()
    weight[11, 3] = torch.nextafter(weight[11, 3], torch.tensor(9.0))
    report = self_check(replace(head, weight=weight), folder)
    assert not report.ok
    assert "output matrix is not the one that was read (the first other row is 11)" in report.sentence


@pytest.mark.parametrize(("name", "class_name"), [("gemma3_text", "Gemma3TextModel"), ("llama", "LlamaModel")])
def test_a_model_without_a_head_does_not_pass(name: str, class_name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path)
    edit_config(folder, architectures=[class_name])
    head = load_head(str(folder), overrides=HeadOverrides(weight_tensor="model.embed_tokens.weight"))
    with pytest.raises(BadInput, match=f"the live model, {class_name}, has no output matrix over the vocabulary"):
        self_check(head, folder)


def test_an_architecture_that_is_no_class_is_left_to_its_model_type(tmp_path: Path) -> None:
    """`llama` is a module of transformers, and `LLaMAForCausalLM` an old spelling."""
    folder = build("llama", tmp_path, tied=False)
    for names in (["LLaMAForCausalLM"], ...):
        edit_config(folder, architectures=names)
        assert self_check(load_head(str(folder)), folder).ok


def test_xlnet(tmp_path: Path) -> None:
    """It says −1 for the number of its positions, which are unlimited."""
    torch.manual_seed(0)
    config = hf.XLNetConfig(vocab_size=V, d_model=16, n_layer=1, n_head=2, d_inner=24)
    live = hf.XLNetLMHeadModel(config)
    with torch.no_grad():
        live.lm_loss.bias.copy_(torch.randn(V))
    live.save_pretrained(tmp_path)
    hands: dict[str, Any] = {"weight_tensor": "transformer.word_embedding.weight", "norm": "none"}
    head = load_head(str(tmp_path), overrides=HeadOverrides(**hands, bias_tensor="lm_loss.bias"))
    report = self_check(head, tmp_path)
    assert report.ok, report.sentence
    assert not self_check(load_head(str(tmp_path), overrides=HeadOverrides(**hands)), tmp_path).ok


def test_what_transformers_cannot_load_is_one_line(tmp_path: Path) -> None:
    folder = build("llama", tmp_path)
    head = load_head(str(folder))
    edit_config(folder, num_hidden_layers="many")
    with pytest.raises(BadInput, match="transformers cannot load the live model for the self-check"):
        self_check(head, folder)


# --- where the result is kept ---------------------------------------------------------------------------------------


def test_the_result_is_in_the_manifest_and_on_the_page(tmp_path: Path) -> None:
    folder, run = build("llama", tmp_path / "model"), tmp_path / "run"
    outcome = reach("scan", folder, "--out", run, "--self-check", "--quiet")
    assert outcome.code == 0, outcome.err
    kept = manifest_of(run)["self_check"]
    assert kept["ok"] is True
    assert kept["states"] == 31
    assert 0 <= kept["logit_deviation"] <= kept["logit_tolerance"]
    assert kept["logit_excess"] <= 1
    assert f"self-check: {kept['sentence']}" in outcome.err
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Self-check against the live model" in page
    assert "self-check passed: the logits differ" in page


def test_a_scan_without_a_self_check_says_so(tmp_path: Path) -> None:
    folder, run = build("llama", tmp_path / "model"), tmp_path / "run"
    assert reach("scan", folder, "--out", run, "--quiet", "--no-report").code == 0
    manifest = manifest_of(run)
    assert manifest["self_check"] is None
    assert dict(method_view(as_manifest(manifest, run), "run").head)["Self-check against the live model"] == "not run"
    del manifest["self_check"]
    assert (
        dict(method_view(as_manifest(manifest, run), "run").head)["Self-check against the live model"]
        == "not recorded"
    )


def test_a_failed_self_check_stops_the_scan(tmp_path: Path) -> None:
    folder, run = build_translator("bart", tmp_path / "model"), tmp_path / "run"
    hands = pointed_at("bart", "none")
    options = [
        part
        for name in ("weight_tensor", "norm", "gamma_tensor", "beta_tensor", "bias_tensor", "eps")
        for part in (f"--{name.replace('_', '-')}", getattr(hands, name))
    ]
    outcome = reach("scan", folder, *options, "--out", run, "--self-check", "--quiet")
    assert outcome.code == 2
    assert "the self-check failed" in outcome.err
    assert not run.exists()


def test_a_resumed_scan_keeps_the_self_check_of_its_beginning(tmp_path: Path) -> None:
    folder, run = build("llama", tmp_path / "model"), tmp_path / "run"
    assert reach("scan", folder, "--out", run, "--self-check", "--quiet", "--no-report").code == 0
    kept = manifest_of(run)["self_check"]
    change_manifest(run, status="running")
    assert reach("scan", folder, "--out", run, "--resume", "--quiet", "--no-report").code == 0
    assert manifest_of(run)["self_check"] == kept
