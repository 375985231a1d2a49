"""What the names of stored tensors say: which are a head, in whatever form, and which belong to the same module."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WRAPPERS = ("base_model", "model", "transformer", "language_model", "module", "_orig_mod")
"""First parts of a name that say who saved the tensor (a whole model, its base, PEFT, a compiler), not what it is."""

_HEAD = re.compile(
    r"\w*lm_head\w*|embed_out|output_projection|output_layer|lm_loss|lm_predictions?|output_embeddings?"
)
_HEAD_AT_THE_TOP = ("head", "output", "logits", "proj_out")
"""Too common inside a model to mean anything there."""

_ADAPTER = re.compile(r"lora_|base_layer|original_module|modules_to_save|token_adapter|adapter")


def bare_path(name: str) -> tuple[str, ...]:
    """The parts of a tensor's or module's name, without those that only say who saved it.

    `base_model.model.lm_head.weight` and `lm_head.weight` are one place: `("lm_head", "weight")`.
    """
    parts = re.split(r"[.:]", name)
    while len(parts) > 1 and parts[0] in _WRAPPERS:
        parts = parts[1:]
    return tuple(parts)


def module_of(name: str) -> tuple[str, ...]:
    """The bare path of the module that a parameter belongs to."""
    return bare_path(name)[:-1]


def is_head_like(name: str) -> bool:
    """Whether a tensor is named as (a part of) an output matrix over the vocabulary, in whatever form it is stored.

    So are `lm_head.weight`, and what quantisers and adapters make of it: `lm_head.qweight`, `lm_head.weight_packed`,
    `lm_head.weight._data`, `lm_head.trellis`, `base_model.model.lm_head.base_layer.weight`.
    """
    parts = bare_path(name)
    if len(parts) > 1 and parts[0] in _HEAD_AT_THE_TOP:
        return True
    before = ""
    for part in parts:
        if part.isdigit():
            return False  # inside a layer
        if _HEAD.fullmatch(part) or (before, part) == ("cls", "predictions"):
            return True
        before = part
    return False


def in_module(name: str, module: tuple[str, ...]) -> bool:
    """Whether a tensor lies in a module (given by its bare path), or in something that wraps it."""
    return bare_path(name)[: len(module)] == module


def beside(names: Iterable[str], name: str) -> tuple[str, ...]:
    """The other stored tensors of a parameter's module, its plain `bias` left out.

    A plain layer or norm has none. Whatever they are (an adapter, scales of a quantiser), the parameter alone is then
    not what the model computes with.
    """
    module = module_of(name)
    if not module:
        return ()
    plain = {(*module, "weight"), (*module, "bias")}
    return tuple(other for other in names if in_module(other, module) and bare_path(other) not in plain)


def of_an_adapter(names: Iterable[str]) -> bool:
    """Whether some of the tensors are an adapter's that was not merged."""
    return any(_ADAPTER.search(name) for name in names)


def some(names: Iterable[str], most: int = 4) -> str:
    """The first few names, for a message."""
    names = tuple(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
