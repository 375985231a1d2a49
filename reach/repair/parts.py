"""Which numbers of a head may change for a token, and what a change of them does to its logit.

A token's own row w and offset b enter its logit alone, as w·x + b, where x = γ ⊙ z + β is what the norm hands over.
The numbers that may change are θ, added along fixed directions of length 1, so that ‖θ‖ is the Frobenius norm of the
change; the logit grows by θ·f with f the *features* of z.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from reach.heads.head import Head
from solvers.checks.domains import enclosing_ball
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


class Parts(StrEnum):
    """What may change."""

    ALL = "all"
    """The row, and the offset where the head has one."""
    ROWS = "rows"
    """The row, in any direction."""
    STRETCH = "stretch"
    """The length of the row."""
    OFFSETS = "offsets"
    """The offset."""


@dataclass(frozen=True)
class Change:
    """New numbers for some tokens.

    Attributes:
        tokens: `(n,)` ids.
        rows: `(n, d)` what is added to their rows, as stored.
        offsets: `(n,)` what is added to their offsets, logits.
    """

    tokens: Int[Tensor, " n"]
    rows: Float64[Tensor, "n d"]
    offsets: Float64[Tensor, " n"]

    @property
    def size(self) -> Float64[Tensor, " n"]:
        """The Frobenius norm of each token's change."""
        return (self.rows.square().sum(dim=1) + self.offsets.square()).sqrt()


class Space:
    """The numbers of some tokens that may change.

    Args:
        head: the head.
        tokens: `(n,)` ids.
        parts: what may change.

    Raises:
        BadInput: only offsets may change, and the head has none; or a row of length 0 is to be stretched.
    """

    def __init__(self, head: Head, tokens: Int[Tensor, " n"], parts: Parts) -> None:
        self.head, self.tokens, self.parts = head, tokens, parts
        if parts is Parts.OFFSETS and head.bias is None:
            raise BadInput("--change offsets: this head has no offsets; change rows, or stretch them")
        self.own = head.weight[tokens].to(torch.float64)
        length = self.own.norm(dim=1, keepdim=True)
        if parts is Parts.STRETCH and bool((length == 0).any()):
            first = int(tokens[int(length.argmin())])
            raise BadInput(f"--change stretch: the row of token {first} is 0, and stays so however it is stretched")
        self._along = self.own / length.clamp(min=1e-300)
        self._offset = parts is Parts.OFFSETS or (parts is Parts.ALL and head.bias is not None)

    def features(self, z: Float[Tensor, "n d"]) -> Float64[Tensor, "n k"]:
        """What a unit of each number adds to the logit of its token at z, one point per token."""
        x, found = self.head.normed(z), []
        if self.parts in (Parts.ALL, Parts.ROWS):
            found.append(x)
        elif self.parts is Parts.STRETCH:
            found.append((x * self._along).sum(dim=1, keepdim=True))
        if self._offset:
            found.append(torch.ones((len(x), 1), dtype=torch.float64))
        return torch.cat(found, dim=1)

    def change(self, theta: Float64[Tensor, "n k"]) -> Change:
        """The change that numbers stand for."""
        n, d = self.own.shape
        offsets = theta[:, -1] if self._offset else torch.zeros(n, dtype=torch.float64)
        if self.parts is Parts.OFFSETS:
            rows = torch.zeros((n, d), dtype=torch.float64)
        else:
            rows = theta[:, :1] * self._along if self.parts is Parts.STRETCH else theta[:, :d]
        return Change(self.tokens, rows.clone(), offsets.clone())

    def towards(self, row: Float64[Tensor, " d"], offset: float, below: float) -> Float64[Tensor, "n k"] | None:
        """The numbers that put every token's row at this one, its offset `below` under that one; none if they cannot.

        Args:
            row, offset: of the head, as stored.
            below: logits; counts only where offsets may change.
        """
        if self.parts not in (Parts.ALL, Parts.ROWS):
            return None
        theta = row - self.own
        if self._offset:
            assert self.head.bias is not None
            down = offset - below - self.head.bias[self.tokens].to(torch.float64)
            theta = torch.cat([theta, down[:, None]], dim=1)
        return theta

    def reach(self, problem: ArgmaxProblem) -> float:
        """The longest feature vector in the domain, from above: no change of size 1 moves a margin by more."""
        centre, radius = enclosing_ball(problem)
        if not problem.domain.bounded:
            radius = 1.0  # margins of directions are taken at length 1
        gamma = 1.0 if self.head.gamma is None else float(self.head.gamma.to(torch.float64).abs().max())
        far = float(self.head.normed(centre[None]).norm()) + radius * gamma
        if self.parts is Parts.OFFSETS:
            return 1.0
        return (far**2 + 1.0) ** 0.5 if self._offset else far
