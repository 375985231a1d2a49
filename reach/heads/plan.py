"""What a config alone decides, before any weight is looked at: where the head lies, or why there is none to read."""

from __future__ import annotations

from reach.heads.architectures import layout_of
from reach.heads.config import ModelConfig
from reach.heads.files import ModelFiles
from reach.heads.head_class import has_head
from reach.heads.layout import HeadLayout
from reach.heads.overrides import HOW_BY_HAND, HeadOverrides, UnknownArchitecture
from reach.heads.quantised.read import unreadable_head
from reach.heads.weights import MOST_FOR_A_MESSAGE, peek_names
from solvers.errors import BadInput

_COMMON_OUTPUTS = ("lm_head.weight", "embed_out.weight", "output.weight", "model.embed_tokens.weight", "wte.weight")
_COMMON_EPS = ("layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps", "norm_eps", "norm_epsilon")


def plan_head(config: ModelConfig, overrides: HeadOverrides, files: ModelFiles) -> HeadLayout:
    """Where to look for the head.

    Args:
        config: the model's settings.
        overrides: what the user says by hand; with a matrix named, neither the class nor a quantiser is asked.
        files: the model's files, of which only the names of tensors are read, and only for a message.

    Raises:
        BadInput: the architecture is unknown and not described by hand, its class has no head, or its config says
            that the head is quantised in a way that cannot be read.
    """
    if overrides.weight_tensor is not None and layout_of(config) is None:
        return _by_hand(config, overrides)
    known = known_layout(config, files)
    if overrides.weight_tensor is None:
        if known.learnt is None and has_head(config.class_name) is False:
            raise BadInput(
                f"{config.path}: {config.class_name} is a model without a head over the vocabulary: give the "
                "causal language model that it is part of, or name the matrix that reads it out with "
                "--weight-tensor NAME"
            )
        why = unreadable_head(config)
        if why is not None:
            raise BadInput(
                f"{config.path}: the head is quantised: {why}: dequantise the model, or point at a stored matrix "
                "with --weight-tensor NAME"
            )
    return known


def known_layout(config: ModelConfig, files: ModelFiles) -> HeadLayout:
    """The layout of an architecture: its entry, or what a tiny model of its class shows.

    Raises:
        BadInput: neither is there, or the class has no head.
    """
    return layout_of(config) or _learnt(config, files)


def _learnt(config: ModelConfig, files: ModelFiles) -> HeadLayout:
    """The layout of an architecture without an entry, from a tiny model of its class."""
    from reach.heads.twin.layout import NotLearnt, class_of, twin_layout

    names = None
    try:
        class_of(config)  # before anything is fetched for it
        names = peek_names(files)
        return twin_layout(config, names)
    except NotLearnt as error:
        names = peek_names(files, MOST_FOR_A_MESSAGE) if names is None else names
        found = [name for name in _COMMON_OUTPUTS if name in (names or ())]
        stored = "" if names is None else f", of which {', '.join(found) or 'none'} is stored"
        kind = config.model_type or "without a model_type"
        raise UnknownArchitecture(
            f"{config.path}: unknown architecture {kind} ({config.class_name or 'no architectures entry'}): {error}; "
            f"looked for {', '.join(_COMMON_OUTPUTS)}{stored}; point at the head by hand with {HOW_BY_HAND}"
        ) from None


def _by_hand(config: ModelConfig, overrides: HeadOverrides) -> HeadLayout:
    """The layout of an unknown architecture whose matrix the user has named, and must have described."""
    kind = config.model_type or "without a model_type"
    if overrides.norm is None:
        raise UnknownArchitecture(
            f"{config.path}: unknown architecture {kind}: say which norm comes last with {HOW_BY_HAND}"
        )
    if overrides.norm != "none" and overrides.gamma_tensor is None:
        raise UnknownArchitecture(
            f"{config.path}: unknown architecture {kind}: name the norm's factors with --gamma-tensor NAME (or "
            "--gamma-tensor none, if it has none)"
        )
    return HeadLayout(embedding=(), output=(), norm="none", eps_keys=_COMMON_EPS, found_by="by hand")
