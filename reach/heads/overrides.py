"""What a user may say by hand about where a model keeps its head."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from solvers.errors import BadInput

NormForm = Literal["layernorm", "rmsnorm", "rmsnorm+1", "none"]

NORM_FORMS: tuple[NormForm, ...] = ("layernorm", "rmsnorm", "rmsnorm+1", "none")

NONE = "none"
"""Given as the name of a bias, gamma or beta tensor, it means that the head has none."""

HOW_BY_HAND = (
    "--weight-tensor NAME --norm layernorm|rmsnorm|rmsnorm+1|none, and where the head has them --gamma-tensor NAME "
    "--beta-tensor NAME --bias-tensor NAME --eps NUMBER"
)


class UnknownArchitecture(BadInput):
    """The model's architecture has no entry: only somebody who knows the model can point at its head by hand."""


@dataclass(frozen=True)
class HeadOverrides:
    """Tensor names and norm settings that win over what the architecture's entry says; none leaves the entry's.

    Attributes:
        weight_tensor: name of the `(v, d)` output matrix.
        bias_tensor: name of the `(v,)` output bias, or `none`.
        gamma_tensor: name of the `(d,)` norm factors, or `none`.
        beta_tensor: name of the `(d,)` norm shift, or `none`.
        norm: form of the final norm; `rmsnorm+1` multiplies by 1+γ.
        eps: what the norm adds to the variance, > 0.

    Raises:
        BadInput: `norm` is none of the four forms.
    """

    weight_tensor: str | None = None
    bias_tensor: str | None = None
    gamma_tensor: str | None = None
    beta_tensor: str | None = None
    norm: str | None = None
    eps: float | None = None

    def __post_init__(self) -> None:
        if self.norm is not None and self.norm not in NORM_FORMS:
            raise BadInput(f"--norm {self.norm}: choose one of {', '.join(NORM_FORMS)}")

    def given(self) -> dict[str, Any]:
        """What was said by hand, by name."""
        said = {field.name: getattr(self, field.name) for field in fields(HeadOverrides)}
        return {name: value for name, value in said.items() if value is not None}
