"""Which norm a module is: told by what it makes of states of many sizes, not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from reach.heads.overrides import NormForm

_SIZES = (1.0, 1e-3, 1e-6, 1e3)
"""Factors on the states that it is tried with: eps shows at small ones only."""
_USUAL = (1e-5, 1e-6, 1e-12, 1e-8)
"""What eps may be where it is written into the code of a module instead of being a setting of it."""
ROOM = 5e-6
"""How far equal results may lie apart, relative to their size: many norms compute in float32 whatever they get."""


@dataclass(frozen=True)
class FoundNorm:
    """A norm over the whole last axis.

    Attributes:
        form: its form.
        eps: what it adds to the variance.
        gamma: name of its factors within the module; none where it has none.
        beta: name of its shift; none where it has none.
    """

    form: NormForm
    eps: float
    gamma: str | None
    beta: str | None


def norm_of(module: nn.Module, states: Float64[Tensor, "n d"], dtype: torch.dtype) -> FoundNorm | None:
    """What norm a module is, or none.

    Args:
        module: anything that takes one tensor.
        states: `(n, d)` what it is tried with, n > 1.
        dtype: of the module's parameters.
    """
    try:
        with torch.no_grad():
            pairs = [(size * states, module((size * states).to(dtype)).to(torch.float64)) for size in _SIZES]
    except Exception:  # takes something else: no norm
        return None
    if any(out.shape != given.shape or not torch.isfinite(out).all() for given, out in pairs):
        return None
    own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    vectors = {name: value.detach().double() for name, value in own.items() if value.shape == states.shape[1:]}
    for centred in (True, False):
        for eps in dict.fromkeys(_small_numbers(module, dtype)):
            z = torch.cat([normalised(given, eps, centred=centred) for given, _ in pairs])
            out = torch.cat([returned for _, returned in pairs])
            found = _affine(z, out, vectors)
            if found is not None:
                plus_one, gamma, beta = found
                kind: NormForm = "layernorm" if centred else "rmsnorm"
                form: NormForm = ("layernorm+1" if centred else "rmsnorm+1") if plus_one else kind
                return FoundNorm(form, eps, gamma, beta)
    return None


def normalised(states: Float64[Tensor, "n d"], eps: float, *, centred: bool) -> Float64[Tensor, "n d"]:
    """What a norm makes of states before its own factors and shift."""
    if centred:
        states = states - states.mean(dim=1, keepdim=True)
    return states / (states.square().mean(dim=1, keepdim=True) + eps).sqrt()


def _small_numbers(module: nn.Module, dtype: torch.dtype) -> Iterator[float]:
    """What may be eps: the module's settings between 0 and 1, those that are named so first."""
    numbers = {name: value for name, value in vars(module).items() if isinstance(value, float) and 0 < value < 1}
    yield from (value for name, value in numbers.items() if "eps" in name)
    yield from numbers.values()
    yield from _USUAL
    yield torch.finfo(dtype).eps


def _affine(
    z: Float64[Tensor, "n d"], out: Float64[Tensor, "n d"], vectors: dict[str, Tensor]
) -> tuple[bool, str | None, str | None] | None:
    """Which of a module's vectors are γ (or γ of 1+γ) and β in out = γ ⊙ z + β."""
    scale = float(out.abs().max())
    for plus_one in (False, True):
        for gamma in (*vectors, *(() if plus_one else (None,))):
            factor = 1.0 if gamma is None else vectors[gamma] + float(plus_one)
            rest = out - factor * z
            for beta in (None, *vectors):
                if beta is not None and beta == gamma:
                    continue
                left = rest if beta is None else rest - vectors[beta]
                if float(left.abs().max()) <= ROOM * scale:
                    return plus_one, gamma, beta
    return None
