"""The nested levels of freedom that an input can have, and how an optimiser's variables become embeddings."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CONTINUOUS = ("free", "norm", "hull")

_PEAK = 0.5
"""Weight of the chosen row at the start of a hull attempt. Nearer to 1, the softmax has hardly any slope left."""
_EDGE = 1e-5
"""Relative distance kept from both ends of the norm range, so that rounding cannot leave it."""


@dataclass(frozen=True)
class NormRange:
    """Smallest and largest norm of the model's own input embeddings."""

    low: float
    high: float

    @classmethod
    def of(cls, rows: Float[Tensor, "n d"]) -> NormRange:
        """The range of a matrix of rows."""
        norms = rows.double().norm(dim=1)
        return cls(float(norms.min()), float(norms.max()))

    def holds(self, points: Float[Tensor, "*batch d"]) -> Bool[Tensor, "*batch"]:
        """Which points lie in the range."""
        norms = points.double().norm(dim=-1)
        return (norms >= self.low * (1 - 1e-9)) & (norms <= self.high * (1 + 1e-9))


class Freedom(ABC):
    """How variables x become embeddings at one level.

    Attributes:
        name: of the level.
        width: numbers per position.
        scale: typical size of one variable, which step sizes are relative to.
    """

    name: str
    width: int
    scale: float

    def __init__(self, rows: Float[Tensor, "v d"]) -> None:
        self.rows = rows
        self.range = NormRange.of(rows)

    @abstractmethod
    def embed(self, x: Float[Tensor, "b k w"]) -> Float[Tensor, "b k d"]:
        """Embeddings, differentiable in x."""

    @abstractmethod
    def from_ids(self, ids: Int[Tensor, "b k"]) -> Float[Tensor, "b k w"]:
        """Variables of real tokens, or near them."""

    def legal(self, e: Float[Tensor, "b k d"]) -> Bool[Tensor, "b k"] | None:
        """At which positions the whole input so far meets the level; none means at all."""
        del e
        return None

    def penalty(self, e: Float[Tensor, "b k d"]) -> Float[Tensor, " b"] | None:
        """Added to the loss to lead back to where the level is met."""
        del e
        return None


class Free(Freedom):
    """Level 1: anything."""

    name = "free"

    def __init__(self, rows: Float[Tensor, "v d"]) -> None:
        super().__init__(rows)
        self.width = rows.shape[1]
        self.scale = float(rows.norm(dim=1).median()) / math.sqrt(rows.shape[1])

    def embed(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """The variables themselves."""
        return x

    def from_ids(self, ids: Int[Tensor, "b k"]) -> Float[Tensor, "b k d"]:
        """The rows of these tokens."""
        return self.rows[ids]


class InNormRange(Free):
    """Level 2: rescaled into the range of norms."""

    name = "norm"

    def embed(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """x, with its length cut to the range."""
        norms = x.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        return x * (norms.clamp(self.range.low * (1 + _EDGE), self.range.high * (1 - _EDGE)) / norms)


class InHull(Freedom):
    """Level 3: softmax(x)-weighted means of the model's own rows. They can be too short for level 2: those do not
    count."""

    name = "hull"

    def __init__(self, rows: Float[Tensor, "v d"]) -> None:
        super().__init__(rows)
        self.width = len(rows)
        self.scale = 1.5

    def embed(self, x: Float[Tensor, "b k v"]) -> Float[Tensor, "b k d"]:
        """Means of rows."""
        return x.softmax(dim=-1) @ self.rows

    def from_ids(self, ids: Int[Tensor, "b k"]) -> Float[Tensor, "b k v"]:
        """Half the weight on the tokens given, the other half spread evenly."""
        x = torch.zeros((*ids.shape, self.width), device=self.rows.device)
        peak = math.log(_PEAK / (1 - _PEAK) * max(1, self.width - 1))
        return x.scatter_(2, ids[..., None], peak)

    def legal(self, e: Float[Tensor, "b k d"]) -> Bool[Tensor, "b k"]:
        """Up to the first position that is too short."""
        return (e.norm(dim=-1) >= self.range.low * (1 + _EDGE)).cummin(dim=1).values

    def penalty(self, e: Float[Tensor, "b k d"]) -> Float[Tensor, " b"]:
        """How much too short, in units of the shortest row."""
        low = max(self.range.low, 1e-30)
        return ((self.range.low * (1 + 2 * _EDGE) - e.norm(dim=-1)).clamp_min(0) / low).sum(dim=1)


def freedom(level: str, rows: Float[Tensor, "v d"]) -> Freedom:
    """The freedom of a continuous level."""
    return {"free": Free, "norm": InNormRange, "hull": InHull}[level](rows)
