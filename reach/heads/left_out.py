"""Stored tensors that look like parts of the head and were not read as such: said, so that none is lost unseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reach.heads.layout import HeadLayout
from reach.heads.overrides import NONE, HeadOverrides
from reach.heads.tensor_names import bare_path, in_module, is_head_like, module_of, some
from reach.heads.weights import StoredTensors

_LOGIT_BIAS = "logits_bias"


def left_out(
    stored: StoredTensors,
    layout: HeadLayout,
    overrides: HeadOverrides,
    tensors: Mapping[str, str],
    normed: bool,
) -> list[str]:
    """One line on the tensors around the output matrix, and one on those around the norm, that were not read.

    What the user said is `none` is left out on purpose, and so are other names of the same output matrix.

    Args:
        stored: the model's tensors.
        layout: where the head lies.
        overrides: what the user says by hand.
        tensors: role to name of what was read.
        normed: whether the head has a norm.
    """
    read = set(tensors.values())
    rest = [name for name in stored.names if name not in read]
    weight = module_of(tensors["weight"])
    head = [
        name
        for name in rest
        if (is_head_like(name) or in_module(name, weight) or bare_path(name)[-1].endswith(_LOGIT_BIAS))
        and name not in layout.output
        and name not in (() if layout.learnt is None else layout.learnt.beside)
        and not (overrides.bias_tensor == NONE and bare_path(name)[-1].endswith("bias"))
    ]
    norm = []
    if normed:
        modules = {module_of(tensors[role]) for role in ("gamma", "beta") if role in tensors}
        said = {"weight": overrides.gamma_tensor, "bias": overrides.beta_tensor}
        norm = [
            name
            for name in rest
            if any(in_module(name, module) for module in modules - {()}) and said.get(bare_path(name)[-1]) != NONE
        ]
    lines = []
    if head:
        lines.append(_line(stored, head, "output matrix", "its bias with --bias-tensor NAME"))
    if norm:
        lines.append(_line(stored, norm, "final norm", "its shift with --beta-tensor NAME"))
    return lines


def _line(stored: StoredTensors, names: Iterable[str], part: str, how: str) -> str:
    return (
        f"{stored.where}: left out of the head, though stored with its {part}: {some(names)}; if the model uses "
        f"this, every verdict is about another head: name {how}, or say none if it has none"
    )
