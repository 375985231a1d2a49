"""The head of a TransformerLens `HookedTransformer`, which keeps it under names and forms of its own.

Its weights may have been processed: the norm's factors folded into `W_U`, rows of `W_U` centred. What is read is the
head that the object computes with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reach.heads.head import Head
from reach.heads.norm_form import factors, norm_kind
from reach.heads.twin.norms import norm_of
from solvers.errors import BadInput

_STATES = 5


def is_hooked(model: object) -> bool:
    """Whether an object is such a model: it has an `unembed` with `W_U`."""
    return isinstance(getattr(getattr(model, "unembed", None), "W_U", None), Tensor)


def hooked_head(model: Any) -> Head:
    """The head of a HookedTransformer: `ln_final`, `W_U`, `b_U` and the cap of its config.

    Args:
        model: the object.

    Raises:
        BadInput: `ln_final` does not do what a norm does, or shapes disagree.
    """
    matrix, offset, config = model.unembed.W_U, getattr(model.unembed, "b_U", None), getattr(model, "cfg", None)
    name = str(getattr(config, "model_name", "") or type(model).__name__)
    cap = float(getattr(config, "output_logits_soft_cap", 0) or 0)
    norm, gamma, beta, eps, tensors = None, None, None, None, {"weight": "unembed.W_U"}
    final = getattr(model, "ln_final", None)
    if final is not None:
        states = torch.randn((_STATES, matrix.shape[0]), generator=torch.Generator().manual_seed(0))
        found = norm_of(final, states.double().to(matrix.device), matrix.dtype)
        if found is None:
            raise BadInput(
                f"{name}: ln_final, a {type(final).__name__}, does not do what a norm does: give the arrays"
            )
        norm, eps = norm_kind(found.form), found.eps
        gamma, beta = factors(found.form, _vector(final, found.gamma)), _vector(final, found.beta)
        tensors |= {r: f"ln_final.{n}" for r, n in (("gamma", found.gamma), ("beta", found.beta)) if n is not None}
    return Head(
        weight=matrix.detach().cpu().T.contiguous(),
        bias=None if offset is None else offset.detach().cpu().clone(),
        norm=norm,
        gamma=gamma,
        beta=beta,
        eps=eps,
        model_id=name,
        architecture=type(model).__name__,
        tie="unembed.W_U of a live model",
        dtype=str(matrix.dtype).removeprefix("torch."),
        tensors=tensors if offset is None else {**tensors, "bias": "unembed.b_U"},
        softcap=cap if cap > 0 else None,
        found_by="live model",
    )


def _vector(module: Any, name: str | None) -> Tensor | None:
    return None if name is None else getattr(module, name).detach().cpu().clone()
