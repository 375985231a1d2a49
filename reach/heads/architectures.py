"""The known architectures: which tensors make the head, and which norm comes before it.

An entry is a layout, or a function from the config to one where a setting moves the norm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reach.heads.config import ModelConfig
from reach.heads.layout import HeadLayout
from solvers.errors import BadInput


def known_architectures() -> tuple[str, ...]:
    """The model types that have an entry, in alphabetical order."""
    return tuple(sorted(_ENTRIES))


def entries() -> list[dict[str, Any]]:
    """What each entry says, in plain types; where a setting moves the norm, what holds by default."""
    rows = []
    for model_type in known_architectures():
        entry = _ENTRIES[model_type]
        plain = {"num_hidden_layers": 1}
        layout = entry(ModelConfig(Path("config.json"), plain, plain)) if callable(entry) else entry
        eps = f"{layout.eps_keys[0] if layout.eps_keys else 'fixed'} or {layout.eps_default:g}"
        row = {"model_type": model_type, "norm": layout.norm, "eps": eps, "tied": layout.tied}
        rows.append({**row, "output": layout.output[0], "gamma": (*layout.gamma, "none")[0]})
    return rows


def layout_of(config: ModelConfig) -> HeadLayout | None:
    """The layout of a config's architecture, or none if it has no entry.

    Raises:
        BadInput: the config is of a model without a language-model head (a classifier).
    """
    for word in ("Classification", "QuestionAnswering"):
        if word in config.architecture:
            raise BadInput(
                f"{config.path}: {config.architecture} has no head over the vocabulary: give a causal language model"
            )
    entry = _ENTRIES.get(config.model_type)
    return entry(config) if callable(entry) else entry


def _names(tail: str, *prefixes: str) -> tuple[str, ...]:
    """The names of one tensor: with each prefix, then bare, as checkpoints of the model without head have it."""
    return (*(f"{prefix}.{tail}" for prefix in prefixes), tail)


_GPT2 = HeadLayout(
    embedding=_names("wte.weight", "transformer"),
    output=("lm_head.weight",),
    norm="layernorm",
    gamma=_names("ln_f.weight", "transformer"),
    beta=_names("ln_f.bias", "transformer"),
    eps_keys=("layer_norm_epsilon",),
    eps_default=1e-5,
    tied=True,
)

_CTRL = HeadLayout(
    embedding=_names("w.weight", "transformer"),
    output=("lm_head.weight",),
    bias=("lm_head.bias",),
    norm="layernorm",
    gamma=_names("layernorm.weight", "transformer"),
    beta=_names("layernorm.bias", "transformer"),
    eps_keys=("layer_norm_epsilon",),
    eps_default=1e-6,
    tied=True,
)

_GPT_NEOX = HeadLayout(
    embedding=_names("embed_in.weight", "gpt_neox"),
    output=("embed_out.weight", "lm_head.weight"),
    norm="layernorm",
    gamma=_names("final_layer_norm.weight", "gpt_neox"),
    beta=_names("final_layer_norm.bias", "gpt_neox"),
    eps_keys=("layer_norm_eps",),
    eps_default=1e-5,
)


def _opt(config: ModelConfig) -> HeadLayout:
    """OPT has its last norm after all layers, or (opt-350m) as the end of the last layer, or none at all."""
    norm_at: str | None = "final_layer_norm"
    if config.get("do_layer_norm_before") is False:
        layers = config.count("num_hidden_layers")
        if layers is None:
            raise BadInput(f"{config.path} has no num_hidden_layers, which says where the last norm is: add it")
        norm_at = f"layers.{layers - 1}.final_layer_norm"
    elif config.get("_remove_final_layer_norm"):
        norm_at = None
    affine = norm_at is not None and config.get("layer_norm_elementwise_affine") is not False
    width, inner = config.count("hidden_size"), config.count("word_embed_proj_dim")
    projected = width is not None and inner is not None and width != inner
    places = ("model.decoder", "decoder")
    return HeadLayout(
        embedding=_names("embed_tokens.weight", *places),
        output=("lm_head.weight",),
        norm="none" if norm_at is None else "layernorm",
        gamma=_names(f"{norm_at}.weight", *places) if affine else (),
        beta=_names(f"{norm_at}.bias", *places) if affine else (),
        projection=_names("project_out.weight", *places) if projected else (),
        eps_default=1e-5,  # OPT leaves eps to torch's LayerNorm; its config does not hold it
        tied=True,
    )


# The prefixed names belong to the text part of a model of several parts.
_LLAMA_PLACES = ("model", "language_model.model", "model.language_model")
_LLAMA = HeadLayout(
    embedding=_names("embed_tokens.weight", *_LLAMA_PLACES),
    output=("lm_head.weight", "language_model.lm_head.weight"),
    norm="rmsnorm",
    gamma=_names("norm.weight", *_LLAMA_PLACES),
    eps_keys=("rms_norm_eps",),
    eps_default=1e-6,
)

_LLAMA_1E5 = replace(_LLAMA, eps_default=1e-5)

_GEMMA = replace(_LLAMA, norm="rmsnorm+1", tied=True)
# A published Gemma 3 config leaves out entries that equal transformers' own defaults, vocab_size among them.
_GEMMA_3 = replace(_GEMMA, vocab_default=262_208)

_ENTRIES: dict[str, HeadLayout | Callable[[ModelConfig], HeadLayout]] = {
    "ctrl": _CTRL,
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3": _GEMMA_3,
    "gemma3_text": _GEMMA_3,
    "gpt2": _GPT2,
    "gpt_neox": _GPT_NEOX,
    "granite": _LLAMA,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA_1E5,
    "olmo2": _LLAMA_1E5,
    "opt": _opt,
    "phi3": _LLAMA_1E5,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "qwen3_moe": _LLAMA,
}
