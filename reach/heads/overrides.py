"""What a user may say by hand about where a model keeps its head."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from reach.options import Option, Options
from solvers.errors import BadInput

NormForm = Literal["layernorm", "layernorm+1", "rmsnorm", "rmsnorm+1", "none"]

NORM_FORMS: tuple[NormForm, ...] = ("layernorm", "layernorm+1", "rmsnorm", "rmsnorm+1", "none")

NONE = "none"
"""Given as the name of a bias, gamma or beta tensor, it means that the head has none."""

HOW_BY_HAND = (
    "--weight-tensor NAME --norm layernorm|layernorm+1|rmsnorm|rmsnorm+1|none, and where the head has them "
    "--gamma-tensor NAME --beta-tensor NAME --bias-tensor NAME --eps NUMBER"
)


class UnknownArchitecture(BadInput):
    """The model's architecture has no entry: only somebody who knows the model can point at its head by hand."""


@dataclass(frozen=True)
class HeadOverrides(Options):
    """Tensor names and norm settings that win over what the architecture's entry says; none leaves the entry's.

    `weight_tensor` is a `(v, d)` matrix, `bias_tensor` a `(v,)` vector, `gamma_tensor` and `beta_tensor` are `(d,)`.

    Raises:
        BadInput: `norm` is none of the four forms, or `eps` is not > 0.
    """

    weight_tensor: Annotated[str | None, Option("--weight-tensor", "Name of the output matrix.", shapes=True)] = None
    bias_tensor: Annotated[str | None, Option("--bias-tensor", "Name of the output bias, or none.", shapes=True)] = (
        None
    )
    gamma_tensor: Annotated[
        str | None, Option("--gamma-tensor", "Name of the norm's factors, or none.", shapes=True)
    ] = None
    beta_tensor: Annotated[str | None, Option("--beta-tensor", "Name of the norm's shift, or none.", shapes=True)] = (
        None
    )
    norm: Annotated[
        str | None,
        Option(
            "--norm",
            "layernorm, rmsnorm, either with +1 (multiplies by 1 + gamma), or none.",
            choices=NORM_FORMS,
            shapes=True,
        ),
    ] = None
    eps: Annotated[float | None, Option("--eps", "What the norm adds to the variance.", above=0, shapes=True)] = None

    def given(self) -> dict[str, Any]:
        """What was said by hand, by name."""
        said = {field.name: getattr(self, field.name) for field in fields(HeadOverrides)}
        return {name: value for name, value in said.items() if value is not None}
