"""What a domain is: a set of points, its geometry for searches, and its words.

Nothing here is a proof. Whether a point lies inside and how far a row may reach is decided by
`solvers.checks.domains` alone, which reads a domain's numbers and calls none of its methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from solvers.domains.region import Region

INSIDE = 1 - 2.0**-20
"""Points that are rounded to float32 are kept this far (relatively) inside an open ball or box."""

JUST_INSIDE = 1 - 2.0**-44
"""The same for points that stay in float64: what a search may use of the domain."""

Arrays = Callable[[str], Mapping[str, np.ndarray]]
"""Reads the arrays of a file that a domain's words name."""


class Shape(StrEnum):
    """The form in which searches meet a domain, after a change of variables. Backends say which they handle."""

    DIRECTIONS = "directions"
    """Only the direction of z counts: any bounded set around 0 will do."""
    UPWARD = "upward directions"
    """The same with one coordinate ≥ 0, which stands for the offsets."""
    BALL = "ball"
    BOX = "box"
    BALL_BOX = "ball and box"


class Domain(ABC):
    """A convex set that the point z of an argmax problem may range over.

    A further domain is a file beside this one, a line in the registry (`solvers.domains`), and its certified
    counterpart in `solvers.checks.domains`.
    """

    word: ClassVar[str]
    """Its name on the command line."""
    form: ClassVar[str]
    """How it is written there."""
    shapes: ClassVar[tuple[Shape, ...]]
    """The forms in which searches meet it: without offsets the first, with offsets the last."""
    bounded: ClassVar[bool] = True

    # --- words ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def describe(self) -> str:
        """The domain in the words of the command line; equal words mean equal domains."""

    @classmethod
    @abstractmethod
    def parse(cls, numbers: str, d: int, arrays: Arrays) -> Self:
        """The domain from what stands after its word and a colon.

        Raises:
            BadInput: the numbers make no domain.
            ValueError: they are no numbers, or too few or too many.
        """

    @classmethod
    def spoken(cls, numbers: str) -> str:
        """For a person, after "over": from the words of `describe`, without the word itself."""
        return f"the domain “{cls.word}:{numbers}”"

    # --- kind -------------------------------------------------------------------------------------------------------

    @property
    def coordinates(self) -> int | None:
        """How many coordinates it has; none where it is defined in any number."""
        return None

    @property
    @abstractmethod
    def around_origin(self) -> bool:
        """Whether 0 lies in its interior."""

    def shape(self, *, offsets: bool) -> Shape:
        """The form in which a search meets it, for a head with or without offsets."""
        return self.shapes[-1 if offsets else 0]

    @property
    def ball_radius_squared(self) -> float | None:
        """R² of a ball around 0, which √d is not exactly; none for other domains."""
        return None

    @property
    def isotropic_radius(self) -> float | None:
        """R where v·z reaches R·‖v‖ for every v (1 where only directions count); none where directions differ."""
        return None

    # --- geometry, in the coordinates of z --------------------------------------------------------------------------

    @abstractmethod
    def gauge(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """How far each point goes into the domain: 0 in the middle, below 1 inside."""

    def contains(self, points: Float64[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Which points lie inside, up to rounding."""
        return self.gauge(points) < 1

    def stretch(self, direction: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """The farthest point along each direction, just inside (0 where there is none).

        Where only the direction counts: length 1.
        """
        length = direction.norm(dim=1, keepdim=True)
        return self.placed(torch.where(length > 0, direction / length.clamp(min=1e-300), 0.0))

    @abstractmethod
    def placed(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """`stretch` for directions of length 1 (or 0)."""

    def longest(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """How far each direction of length 1 may be followed."""
        return self.stretch(unit).norm(dim=1)

    @abstractmethod
    def pulled_in(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """The points, those near the edge moved so far inside that float32 cannot round them out."""

    @abstractmethod
    def farthest(self, v: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """The points where v·z is largest, to the last digits of float64; NaN where there is no single one."""

    # --- for searches -----------------------------------------------------------------------------------------------

    @abstractmethod
    def region(self, d: int) -> Region:
        """What a search may use of the domain, in the coordinates x of `affine`."""

    @property
    def affine(self) -> tuple[Float64[Tensor, " d"], Float64[Tensor, "d d"]] | None:
        """μ and L with z = μ + L x; none where x is z."""
        return None


def exactly(value: float) -> str:
    """A number with as many digits as tell it from every other float64: equal words mean equal domains."""
    return repr(float(value) + 0.0).removesuffix(".0")  # −0 is 0
