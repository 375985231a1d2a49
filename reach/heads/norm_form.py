"""What the name of a norm's form says: which norm it is, and what it multiplies by."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

NormKind = Literal["layernorm", "rmsnorm"]

_SHIFTED = "+1"


def norm_kind(form: str) -> NormKind | None:
    """The norm of a form, such as layernorm for `layernorm+1`; none for `none`."""
    kinds: dict[str, NormKind] = {"layernorm": "layernorm", "rmsnorm": "rmsnorm"}
    return kinds.get(form.removesuffix(_SHIFTED))


def is_shifted(form: str) -> bool:
    """Whether a norm of this form multiplies by 1 + γ."""
    return form.endswith(_SHIFTED)


def factors(form: str, gamma: Float[Tensor, " d"] | None) -> Float[Tensor, " d"] | None:
    """What a norm of this form multiplies by: γ as it is stored, or 1 + γ.

    The sum is rounded to float32 as the models of this form round it: this, not the exact 1 + γ, is what the hidden
    state is multiplied by, and its products with float32 weights are exact in float64.
    """
    return 1.0 + gamma.to(torch.float32) if gamma is not None and is_shifted(form) else gamma
