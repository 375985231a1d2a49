"""Builders of tiny random models, one per architecture, with norms and biases that matter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from safetensors.torch import load_file, save_file

V, D = 60, 16

_LLAMA = {
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GPT = {
    "vocab_size": V,
    "n_embd": D,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_OPT = {
    "vocab_size": V,
    "hidden_size": D,
    "ffn_dim": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "word_embed_proj_dim": D,
}
_VISION = {
    "hidden_size": D,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def _gemma3(**more: Any) -> hf.PreTrainedConfig:
    text = {**_LLAMA, **more}
    return hf.Gemma3Config(
        text_config=text, vision_config=_VISION, mm_tokens_per_image=4, image_token_index=5, **more
    )


CONFIGS: dict[str, Callable[..., hf.PreTrainedConfig]] = {
    "gpt2": lambda **more: hf.GPT2Config(**_GPT, **more),
    "ctrl": lambda **more: hf.CTRLConfig(**_GPT, dff=24, **more),
    "opt": lambda **more: hf.OPTConfig(**_OPT, **more),
    "opt-post-norm": lambda **more: hf.OPTConfig(**_OPT | {"do_layer_norm_before": False}, **more),
    "opt-350m": lambda **more: hf.OPTConfig(
        **_OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 8}, **more
    ),
    "opt-no-norm": lambda **more: hf.OPTConfig(**_OPT, _remove_final_layer_norm=True, **more),
    "opt-no-affine": lambda **more: hf.OPTConfig(**_OPT, layer_norm_elementwise_affine=False, **more),
    "gpt_neox": lambda **more: hf.GPTNeoXConfig(
        vocab_size=V,
        hidden_size=D,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        **more,
    ),
    "llama": lambda **more: hf.LlamaConfig(**_LLAMA, **more),
    "mistral": lambda **more: hf.MistralConfig(**_LLAMA, **more),
    "qwen2": lambda **more: hf.Qwen2Config(**_LLAMA, **more),
    "qwen3": lambda **more: hf.Qwen3Config(**_LLAMA, **more),
    "granite": lambda **more: hf.GraniteConfig(**_LLAMA, logits_scaling=4.0, **more),
    "mixtral": lambda **more: hf.MixtralConfig(**_LLAMA, num_local_experts=2, num_experts_per_tok=1, **more),
    "olmo2": lambda **more: hf.Olmo2Config(**_LLAMA, **more),
    "phi3": lambda **more: hf.Phi3Config(**_LLAMA, **more),
    "qwen3_moe": lambda **more: hf.Qwen3MoeConfig(
        **_LLAMA, moe_intermediate_size=8, num_experts=2, num_experts_per_tok=1, **more
    ),
    "gemma": lambda **more: hf.GemmaConfig(**_LLAMA, **more),
    "gemma2": lambda **more: hf.Gemma2Config(**_LLAMA, final_logit_softcapping=2.0, **more),
    "gemma3_text": lambda **more: hf.Gemma3TextConfig(**_LLAMA, **more),
    "gemma3": _gemma3,
}


def build(
    name: str, folder: Path, *, tied: bool = True, dtype: torch.dtype = torch.float32, shards: bool = False
) -> Path:
    """Save a tiny model of one architecture, in which every parameter is random, and give its folder back."""
    torch.manual_seed(len(name) + 7 * tied)
    config = CONFIGS[name](tie_word_embeddings=tied)
    live = (
        hf.Gemma3ForConditionalGeneration(config) if name == "gemma3" else hf.AutoModelForCausalLM.from_config(config)
    )
    with torch.no_grad():
        for key, parameter in live.named_parameters():
            if "vision" in key:
                continue
            # Norm factors and biases away from their 1 and 0, or folding them would show nothing.
            parameter.copy_(
                torch.randn_like(parameter) * (0.5 if parameter.ndim > 1 else 0.7) + (parameter.ndim == 1) * 0.3
            )
    live.to(dtype).save_pretrained(folder, max_shard_size="3KB" if shards else "1GB")
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    """Change entries of a saved config.json; a value of `...` removes the entry."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        if value is ...:
            config.pop(key, None)
        else:
            config[key] = value
    path.write_text(json.dumps(config))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors of a saved single-file model."""
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    path.unlink()  # a new file, for the old one may still be mapped
    save_file(tensors, path, metadata={"format": "pt"})
