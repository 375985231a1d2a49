"""From a config and stored tensors to a head."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reach.heads.architectures import known_architectures, layout_of
from reach.heads.config import ModelConfig
from reach.heads.head import Head, NormKind
from reach.heads.layout import HeadLayout
from reach.heads.overrides import HOW_BY_HAND, NONE, HeadOverrides, UnknownArchitecture
from reach.heads.projection import fold_projection
from reach.heads.tying import output_matrix
from reach.heads.weights import StoredTensors
from solvers.errors import BadInput

_COMMON_OUTPUTS = ("lm_head.weight", "embed_out.weight", "output.weight", "model.embed_tokens.weight", "wte.weight")
_COMMON_EPS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon")


def assemble(model_id: str, config: ModelConfig, stored: StoredTensors, overrides: HeadOverrides) -> Head:
    """Read the tensors of a head and check that they fit together.

    Args:
        model_id: the model as the user named it.
        config: its settings.
        stored: its tensors.
        overrides: what the user says by hand; wins over the architecture's entry.

    Raises:
        BadInput: the architecture is unknown and not described by hand, or a tensor or setting is missing or wrong.
    """
    known = layout_of(config)
    layout = _by_hand(config, stored, overrides) if known is None else known
    tensors: dict[str, str] = {}

    if overrides.weight_tensor is not None:
        name, tie = overrides.weight_tensor, f"chosen by hand: {overrides.weight_tensor}"
        matrix = stored.matrix(name)
    else:
        name, matrix, tie = output_matrix(stored, layout, config)
        _check_rows(name, matrix.shape[0], config, layout)
    tensors["weight"] = name
    dtype = str(matrix.dtype).removeprefix("torch.")

    weight, weight_error = matrix, None
    if layout.projection:
        tensors["projection"] = _required(stored, layout.projection, "projection")
        projection = stored.matrix(tensors["projection"])
        if projection.shape[0] != matrix.shape[1]:
            raise BadInput(
                f"{stored.where}: {tensors['projection']} has {projection.shape[0]} rows, but {name} has "
                f"{matrix.shape[1]} columns: the files do not belong together"
            )
        weight, weight_error = fold_projection(matrix, projection)
    v, d = weight.shape

    form = overrides.norm or layout.norm
    norm: NormKind | None = {"layernorm": "layernorm", "rmsnorm": "rmsnorm", "rmsnorm+1": "rmsnorm"}.get(form)  # type: ignore[assignment]
    if norm is None and (_given(overrides.gamma_tensor) or _given(overrides.beta_tensor)):
        raise BadInput("--gamma-tensor and --beta-tensor belong to a norm, but the head has none: say --norm too")
    gamma = beta = bias = None
    if norm is not None:
        gamma = _vector(stored, "gamma", overrides.gamma_tensor, layout.gamma, d, name, tensors)
        beta = _vector(stored, "beta", overrides.beta_tensor, layout.beta, d, name, tensors)
    if form == "rmsnorm+1" and gamma is not None:
        # Rounded to float32 as the model rounds it: this, not the exact 1+γ, is what the hidden state is multiplied
        # by, and its products with float32 weights are exact in float64.
        gamma = 1.0 + gamma.to(torch.float32)
    bias = _vector(stored, "bias", overrides.bias_tensor, layout.bias, v, name, tensors)

    return Head(
        weight=weight,
        bias=bias,
        norm=norm,
        gamma=gamma,
        beta=beta,
        eps=None if norm is None else _eps(config, layout, overrides),
        model_id=model_id,
        architecture=config.architecture,
        tie=tie,
        dtype=dtype,
        tensors=tensors,
        weight_error=weight_error,
        source=None if weight_error is None else matrix,
        logit_scale=_logit_scale(config),
        softcap=config.number("final_logit_softcapping"),
    )


def _by_hand(config: ModelConfig, stored: StoredTensors, overrides: HeadOverrides) -> HeadLayout:
    """The layout of an unknown architecture, which the user must have described."""
    kind = config.model_type or "without a model_type"
    if overrides.weight_tensor is None:
        found = [name for name in _COMMON_OUTPUTS if name in stored]
        raise UnknownArchitecture(
            f"{config.path}: unknown architecture {kind} ({config.architecture or 'no architectures entry'}); looked "
            f"for {', '.join(_COMMON_OUTPUTS)}, of which {', '.join(found) or 'none'} is stored; known are "
            f"{', '.join(known_architectures())}; point at the head by hand with {HOW_BY_HAND}"
        )
    if overrides.norm is None:
        raise UnknownArchitecture(
            f"{config.path}: unknown architecture {kind}: say which norm comes last with {HOW_BY_HAND}"
        )
    if overrides.norm != "none" and overrides.gamma_tensor is None:
        raise UnknownArchitecture(
            f"{config.path}: unknown architecture {kind}: name the norm's factors with --gamma-tensor NAME (or "
            "--gamma-tensor none, if it has none)"
        )
    return HeadLayout(embedding=(), output=(), norm="none", eps_keys=_COMMON_EPS)


def _check_rows(name: str, rows: int, config: ModelConfig, layout: HeadLayout) -> None:
    vocab_size = config.count("vocab_size") or layout.vocab_default
    if vocab_size is None:
        raise BadInput(f"{config.path} has no vocab_size: add it, or choose the head with --weight-tensor {name}")
    if rows != vocab_size:
        raise BadInput(
            f"{name} has {rows} rows, but {config.path} says vocab_size {vocab_size}: mend the config, or choose the "
            f"head with --weight-tensor {name}"
        )


def _vector(
    stored: StoredTensors,
    role: str,
    by_hand: str | None,
    candidates: tuple[str, ...],
    length: int,
    weight_name: str,
    tensors: dict[str, str],
) -> Float[Tensor, " n"] | None:
    """One vector of the head; notes its name in `tensors`."""
    if by_hand == NONE or (by_hand is None and not candidates):
        return None
    name = by_hand if by_hand is not None else _required(stored, candidates, role)
    tensors[role] = name
    return stored.vector(name, length, weight_name)


def _required(stored: StoredTensors, candidates: tuple[str, ...], role: str) -> str:
    name = stored.first(candidates)
    if name is None:
        looked = f"{stored.where} has no {role} of the head (looked for {', '.join(candidates)})"
        if role == "projection":
            raise BadInput(f"{looked}: copy or download the model again")
        raise BadInput(f"{looked}: name it with --{role}-tensor NAME, or none if the head has none")
    return name


def _eps(config: ModelConfig, layout: HeadLayout, overrides: HeadOverrides) -> float:
    if overrides.eps is not None:
        return overrides.eps
    for key in layout.eps_keys:
        value = config.number(key)
        if value is not None:
            return value
    if layout.eps_default is None:
        raise BadInput(f"{config.path} has no eps of the final norm (looked for {', '.join(layout.eps_keys)}): --eps")
    return layout.eps_default


def _logit_scale(config: ModelConfig) -> float:
    """The factor on the logits: some models multiply by `logit_scale`, some divide by `logits_scaling`."""
    factor, divisor = config.number("logit_scale"), config.number("logits_scaling")
    if divisor == 0:
        raise BadInput(f"{config.path}: logits_scaling is 0, by which no logit can be divided")
    return (1.0 if factor is None else factor) / (1.0 if divisor is None else divisor)


def _given(name: str | None) -> bool:
    return name is not None and name != NONE
