"""All of R^d: a model without a final norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Float64
from torch import Tensor

from solvers.domains.base import INSIDE, Arrays, Domain, Shape
from solvers.domains.region import Region
from solvers.rounding import row_lengths


@dataclass(frozen=True)
class Free(Domain):
    """All of R^d. Without offsets only the direction of z counts, and margins are taken at length 1."""

    word: ClassVar[str] = "free"
    form: ClassVar[str] = "free"
    shapes: ClassVar[tuple[Shape, ...]] = (Shape.DIRECTIONS, Shape.UPWARD)
    bounded: ClassVar[bool] = False

    def describe(self) -> str:
        """The word alone."""
        return self.word

    @classmethod
    def parse(cls, numbers: str, d: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """Nothing stands after the word."""
        if numbers:
            raise ValueError(numbers)
        return cls()

    @classmethod
    def spoken(cls, numbers: str) -> str:  # noqa: ARG003
        """For a person."""
        return "all final hidden states"

    @property
    def around_origin(self) -> bool:
        """It is."""
        return True

    @property
    def isotropic_radius(self) -> float | None:
        """Margins are taken at length 1."""
        return 1.0

    def gauge(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """0: there is no edge."""
        return torch.zeros(len(points), dtype=torch.float64)

    def placed(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """At length 1."""
        return unit

    def longest(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """Without end."""
        return torch.full((len(unit),), torch.inf, dtype=torch.float64)

    def pulled_in(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """The points as they are."""
        return points

    def farthest(self, v: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Along v, just short of length 1, at which margins are taken."""
        return v / row_lengths(v)[:, None] * INSIDE

    def region(self, d: int) -> Region:
        """The unit ball, which has every direction."""
        return Region(d, radius=1.0)
