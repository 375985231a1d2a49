"""A language model's head: the final norm, the output matrix and the bias, as they are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reach.heads.adapter_merge import MergedAdapter
from reach.heads.norm_form import NormKind
from solvers.domains import Ball, Domain, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

if TYPE_CHECKING:
    from reach.heads.loading import Loading
    from reach.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Head:
    """The map from the last hidden state to logits: an optional norm, then `weight` and an optional bias.

    Attributes:
        weight: `(v, d)` output rows in the dtype of the file (float64 where a projection had to be folded in).
        bias: `(v,)` offsets in logits, or none.
        norm: the final norm; none where the head reads its hidden state as it is.
        gamma: `(d,)` factors that the norm multiplies by. For the 1+γ form (Gemma) this already is 1+γ.
        beta: `(d,)` vector that the norm adds, or none.
        eps: what the norm adds to the variance; none without a norm.
        model_id: the model as the user named it.
        folder: the folder with config and tokenizer, or none for a bare head.
        architecture: the architecture's name as the config gives it.
        tie: a sentence on how the output matrix relates to the input embedding.
        dtype: dtype of the stored output matrix, such as `bfloat16`; of the dequantised one, if it is quantised.
        tensors: role ("weight", "bias", "gamma", "beta", "projection") to the name of the tensor.
        revision: commit of a Hub model, or none.
        weight_error: `(v,)` bound on the distance between each row of `weight` and the row meant, or none if exact.
        source: `(v, k)` the stored rows that `weight` was computed from, where it had to be: those of the output
            matrix, and after them those of a low-rank change.
        own_domain: a domain that the user chose in place of the norm's, or none.
        logit_scale: positive factor that the model applies to its logits. It leaves the argmax as it is.
        softcap: cap s of s·tanh(logit/s) after the scale, or none. It leaves the argmax as it is.
        merged: the adapter that was merged into the head, or none.
        notes: what the user should know of how the head was read, one line each.
        found_by: how it is known where the head lies and what it does, for a person.
        loading: what finds the head again, or none where nothing does.
        vocabulary: the names of its tokens where no folder holds them, or none.
        file: the one file that holds the model, in place of a folder, or none.

    Raises:
        BadInput: eps is not > 0 under a norm, or the logit scale or the cap is not > 0.
    """

    weight: Float[Tensor, "v d"]
    bias: Float[Tensor, " v"] | None = None
    norm: NormKind | None = None
    gamma: Float[Tensor, " d"] | None = None
    beta: Float[Tensor, " d"] | None = None
    eps: float | None = None
    model_id: str = ""
    folder: Path | None = None
    architecture: str = ""
    tie: str = ""
    dtype: str = "float32"
    tensors: dict[str, str] = field(default_factory=dict)
    revision: str | None = None
    weight_error: Float64[Tensor, " v"] | None = None
    source: Float[Tensor, "v k"] | None = None
    own_domain: Domain | None = None
    logit_scale: float = 1.0
    softcap: float | None = None
    merged: MergedAdapter | None = None
    notes: tuple[str, ...] = ()
    found_by: str = "file"
    loading: Loading | None = None
    vocabulary: Vocabulary | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.norm is not None and not (self.eps is not None and math.isfinite(self.eps) and self.eps > 0):
            # With eps = 0 the norm's outputs fill the sphere, not the open ball, and other tokens can win.
            raise BadInput(f"{self.model_id}: the final norm has eps = {self.eps}, but it must be > 0: set --eps")
        if not (math.isfinite(self.logit_scale) and self.logit_scale > 0):
            raise BadInput(
                f"{self.model_id}: config.json scales the logits by {self.logit_scale:g}; only a factor > 0 keeps "
                "the order of the tokens"
            )
        if self.softcap is not None and not (math.isfinite(self.softcap) and self.softcap > 0):
            raise BadInput(f"{self.model_id}: config.json caps the logits at {self.softcap:g}; a cap must be > 0")

    @property
    def v(self) -> int:
        """Number of rows (tokens)."""
        return self.weight.shape[0]

    @property
    def d(self) -> int:
        """Number of columns (dimensions)."""
        return self.weight.shape[1]

    @property
    def domain(self) -> Domain:
        """The domain that verdicts are about: the user's, else the norm's open ball ‖z‖ < √d, else all of R^d."""
        if self.own_domain is not None:
            return self.own_domain
        return Free() if self.norm is None else Ball(squared_radius=float(self.d))

    def with_domain(self, domain: Domain) -> Head:
        """The same head, judged over another domain."""
        return replace(self, own_domain=domain)

    def problem(self, domain: Domain | None = None) -> ArgmaxProblem:
        """The argmax problem of this head, with the norm folded in.

        The norm maps z to γ ⊙ z + β, so A = W·diag(γ) and c = Wβ + b. A LayerNorm's z has mean 0, which the
        row-centring absorbs.

        Args:
            domain: judge over this domain instead of the head's own.

        Raises:
            BadInput: shapes disagree or a number is not finite.
        """
        return ArgmaxProblem(
            self.weight,
            self.domain if domain is None else domain,
            scale=self.gamma,
            shift=self.beta,
            bias=self.bias,
            centred=self.norm == "layernorm",
            weight_error=self.weight_error,
            source=self.source,
        )

    def normalise(self, hidden: Float[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """z of hidden states that enter the final norm: what lies in the domain. Without a norm, z is the state."""
        hidden = hidden.to(torch.float64)
        if self.norm is None:
            return hidden
        assert self.eps is not None
        if self.norm == "layernorm":
            hidden = hidden - hidden.mean(dim=1, keepdim=True)
        return hidden / (hidden.square().mean(dim=1, keepdim=True) + self.eps).sqrt()

    def normed(self, z: Float[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """γ ⊙ z + β: what the norm hands to the output matrix."""
        state = z.to(torch.float64)
        if self.gamma is not None:
            state = state * self.gamma.to(torch.float64)
        return state if self.beta is None else state + self.beta.to(torch.float64)

    def logits(self, z: Float[Tensor, "n d"]) -> Float64[Tensor, "n v"]:
        """Logits of points z of the domain in float64, before any logit scale or soft cap."""
        state = self.normed(z)
        out = torch.empty((len(state), self.v), dtype=torch.float64)
        step = max(1, 2**24 // self.d)
        for start in range(0, self.v, step):
            out[:, start : start + step] = state @ self.weight[start : start + step].to(torch.float64).T
        return out if self.bias is None else out + self.bias.to(torch.float64)

    def describe(self) -> str:
        """One line for a person."""
        norm = "no norm" if self.norm is None else f"{self.norm} (eps {self.eps:g})"
        bias = "no bias" if self.bias is None else "bias"
        return f"{self.architecture}: {self.v} tokens × {self.d} dimensions, {self.dtype}, {norm}, {bias}; {self.tie}"
