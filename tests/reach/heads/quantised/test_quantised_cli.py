"""Quantised heads through the command: scanned, verified, told apart from others, refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from reach_command import manifest_of, reach
from safetensors.torch import load_file, save_file
from test_gptq_awq import AWQ, awq, entry, gptq
from test_refused_samples import folder_of, sample
from tiny_adapters import RANK, low_rank, save_adapter
from tiny_quantised import D, V, complaint, model_folder

from reach.heads.config import read_config
from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from reach.heads.quantised.mlx import refuse_shifted_norm
from reach.interference.matrices import EMBEDDING, spaces_of
from solvers.errors import BadInput

CHEAP = ("--quiet", "--no-report")


def mlx_tied(path: Path, **settings: Any) -> tuple[Path, torch.Tensor]:
    """A model whose input embedding is its head, quantised by MLX."""
    head, config, expected = sample("mlx-4-bit")
    folder = model_folder(path, {}, tuple(expected.shape), **config | {"tie_word_embeddings": True} | settings)
    tensors = load_file(folder / "model.safetensors")
    tensors |= {f"model.embed_tokens.{end}": tensor for end, tensor in head.items()}
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    return folder, expected


def folders(name: str, path: Path) -> Path:
    if name == "gptq":
        return model_folder(path, gptq(4)[0], **entry())
    if name == "awq":
        return model_folder(path, awq()[0], **AWQ)
    if name == "mlx-tied":
        return mlx_tied(path)[0]
    head, config, expected = sample(name)
    return folder_of(path, head, config, expected.shape)


@pytest.mark.parametrize(
    "name", ["gptq", "awq", "mlx-tied", "bitsandbytes-nf4-nested", "bitsandbytes-int8", "compressed-w4a16-asymmetric"]
)
def test_scan_and_verify(name: str, tmp_path: Path) -> None:
    model, run = folders(name, tmp_path / "model"), tmp_path / "run"
    scanned = reach("scan", model, "--out", run, *CHEAP)
    assert scanned.code == 0, scanned.err
    manifest = manifest_of(run)
    assert "dequantised to" in manifest["head"]["tie"]
    assert "every verdict is about the dequantised matrix" in scanned.err
    assert any("is stored quantised" in warning for warning in manifest["warnings"])
    verified = reach("verify", run, "--quiet")
    assert verified.code == 0, verified.out + verified.err


def test_a_run_is_of_these_numbers_and_no_others(tmp_path: Path) -> None:
    model, run = folders("gptq", tmp_path / "model"), tmp_path / "run"
    assert reach("scan", model, "--out", run, *CHEAP).code == 0
    path = model / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    tensors["lm_head.qweight"][0, 0] ^= 1
    path.unlink()
    save_file(tensors, path)
    assert "another model" in reach("verify", run, "--quiet").complaint


def test_an_embedding_that_is_the_head(tmp_path: Path) -> None:
    folder, expected = mlx_tied(tmp_path)
    head = load_head(str(folder))
    assert torch.equal(head.weight, expected)
    assert head.tie == (
        "tied: the file has no output matrix, the input embedding model.embed_tokens.weight serves: MLX 4 bit, "
        "groups of 64, dequantised to float32"
    )
    assert "ties its output matrix" in spaces_of(head).left_out[EMBEDDING]


@pytest.mark.parametrize("kind", ["gemma", "gemma3_text"])
def test_a_norm_that_adds_one(kind: str, tmp_path: Path) -> None:
    """Gemma's γ is stored as everywhere; others are converted with the 1 in it, and not guessed at."""
    folder, expected = mlx_tied(tmp_path, model_type=kind, architectures=["GemmaForCausalLM"])
    head = load_head(str(folder))
    assert torch.equal(head.weight, expected)
    config = read_config(folder / "config.json")
    refuse_shifted_norm(config, "rmsnorm+1")
    other = replace(config, whole=config.whole | {"model_type": "qwen3_next"})
    refuse_shifted_norm(other, "rmsnorm")
    with pytest.raises(BadInput, match="say --norm rmsnorm\\+1 or --norm rmsnorm"):
        refuse_shifted_norm(other, "rmsnorm+1")


def test_an_embedding_that_is_quantised_beside_a_plain_head(tmp_path: Path) -> None:
    folder, expected = mlx_tied(tmp_path, tie_word_embeddings=False)
    assert "has no output matrix" in complaint(folder)
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    save_file(tensors | {"lm_head.weight": expected}, folder / "model.safetensors")
    head = load_head(str(folder))
    assert head.tie == (
        "untied: lm_head.weight serves, as the config says; not compared with model.embed_tokens.weight"
    )
    assert head.notes == ()


def test_methods_of_linear_layers_do_not_quantise_an_embedding(tmp_path: Path) -> None:
    head, config, expected = sample("bitsandbytes-int8")
    folder = model_folder(tmp_path, {}, tuple(expected.shape), **config, tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors") | {f"model.embed_tokens.{end}": x for end, x in head.items()}
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    assert "model.embed_tokens.weight is not what the model computes with" in complaint(folder)


def test_a_class_whose_head_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its code says of the head holds for a quantised one too, of its own or as the embedding."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = transformers.SmolLM3Config(num_hidden_layers=1, pad_token_id=0).to_dict()
    config |= {"architectures": ["SmolLM3ForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "vocab_size": V}
    config |= {"hidden_size": D, "tie_word_embeddings": False}
    packed, expected = gptq(4)
    head = load_head(str(model_folder(tmp_path / "own", packed, **config | entry())))
    assert torch.equal(head.weight, expected)
    assert head.tie == "untied: lm_head.qweight serves: GPTQ 4 bit, groups of 32, dequantised to float16"
    tied = {"vocab_size": 24, "hidden_size": 128, "tie_word_embeddings": True}
    folder, expected = mlx_tied(tmp_path / "tied", **config | tied)
    head = load_head(str(folder))
    assert torch.equal(head.weight, expected)
    assert head.tie == (
        "tied: the input embedding model.embed_tokens.weight serves: MLX 4 bit, groups of 64, dequantised to float32"
    )


def test_a_matrix_named_by_hand_is_the_one_that_is_meant(tmp_path: Path) -> None:
    folder = folders("gptq", tmp_path)
    embedding = load_head(str(folder), overrides=HeadOverrides(weight_tensor="model.embed_tokens.weight"))
    assert embedding.tie == "chosen by hand: model.embed_tokens.weight"
    assert "lm_head.scales" in embedding.notes[0]
    packed = load_head(str(folder), overrides=HeadOverrides(weight_tensor="lm_head.qweight"))
    assert packed.problem().fingerprint == load_head(str(folder)).problem().fingerprint


def test_an_adapter_on_a_quantised_head(tmp_path: Path) -> None:
    head, expected = gptq(4)
    folder = model_folder(tmp_path, head, **entry())
    change = low_rank("lm_head", V, D)
    save_adapter(folder, change)
    merged = load_head(str(folder), adapter="merge")
    left, right = (change[f"base_model.model.lm_head.lora_{part}.weight"].double() for part in "BA")
    assert torch.allclose(merged.weight, expected.double() + 6 / RANK * left @ right, rtol=0, atol=1e-12)
    assert "a LoRA of rank 3 and scale 2 added to lm_head" in merged.tie


@pytest.mark.parametrize("method", ["exl3", "hqq", "quanto", "torchao", "aqlm", "mxfp4", "quark"])
def test_methods_that_are_not_known_are_refused_by_name(method: str, tmp_path: Path) -> None:
    head, _ = gptq(4)
    folder = model_folder(tmp_path, head, **entry(quant_method=method, lm_head=False))
    message = complaint(folder)
    assert "stores its head as lm_head.g_idx, lm_head.qweight" in message
    assert f"quantization_config of its config.json says {method}" in message


def test_nothing_is_written_of_a_head_that_cannot_be_read(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", gptq(4)[0], **entry(bits=3))
    outcome = reach("scan", folder, "--out", tmp_path / "run", *CHEAP)
    assert outcome.code == 2
    assert "the config says 3 bits, but it is stored in 4" in outcome.complaint
    assert not (tmp_path / "run").exists()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "quantization_config": {"bits": 4}}))
    assert (
        "stores its head as lm_head.g_idx, lm_head.qweight"
        in reach("scan", folder, "--out", tmp_path / "run", *CHEAP).complaint
    )
