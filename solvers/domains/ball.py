"""The open ball: what a final LayerNorm or RMSNorm fills."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

from jaxtyping import Float64
from torch import Tensor

from solvers.domains.base import INSIDE, JUST_INSIDE, Arrays, Domain, Shape, exactly
from solvers.domains.region import Region
from solvers.errors import BadInput
from solvers.rounding import row_lengths


@dataclass(frozen=True)
class Ball(Domain):
    """The open Euclidean ball ‖z‖ < radius.

    The radius is given by its square, because √d is irrational for most d while d is exact.
    """

    word: ClassVar[str] = "ball"
    form: ClassVar[str] = "ball:RADIUS"
    shapes: ClassVar[tuple[Shape, ...]] = (Shape.BALL,)

    squared_radius: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.squared_radius) and self.squared_radius > 0):
            raise BadInput(f"a ball needs a finite radius > 0, not radius² = {self.squared_radius}")

    @property
    def radius(self) -> float:
        """The radius, rounded to float64."""
        return math.sqrt(self.squared_radius)

    def describe(self) -> str:
        """`ball:R` where R·R is this very R², else `ball:sqrt(R²)`."""
        return f"ball:{radius_words(self.squared_radius)}"

    @classmethod
    def parse(cls, numbers: str, d: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """`R` or `sqrt(R²)`."""
        return cls(squared_radius(numbers))

    @classmethod
    def spoken(cls, numbers: str) -> str:
        """For a person, with all digits: balls that differ in the last one are different domains."""
        return f"the open ball of radius {spoken_radius(numbers)}"

    @property
    def around_origin(self) -> bool:
        """It is."""
        return True

    @property
    def ball_radius_squared(self) -> float | None:
        """R²."""
        return self.squared_radius

    @property
    def isotropic_radius(self) -> float | None:
        """R."""
        return self.radius

    def gauge(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """‖z‖/R."""
        return points.norm(dim=1) / self.radius

    def placed(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Near the sphere."""
        return unit * self.radius * INSIDE

    def pulled_in(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Shortened where they are too long."""
        most = self.radius * INSIDE
        return points * (most / points.norm(dim=1, keepdim=True).clamp(min=most))

    def farthest(self, v: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Along v."""
        return v / row_lengths(v)[:, None] * (self.radius * (1 - 2.0**-50))

    def region(self, d: int) -> Region:
        """All of it but a share of 2⁻⁴⁴."""
        return Region(d, radius=self.radius * JUST_INSIDE)


def squared_radius(text: str) -> float:
    """R² of a radius in words: `R` or `sqrt(R²)`.

    Raises:
        ValueError: the text is neither.
    """
    if text.startswith("sqrt(") and text.endswith(")"):
        return float(text.removeprefix("sqrt(").removesuffix(")"))
    radius = float(text)
    return math.copysign(radius * radius, radius)


def radius_words(squared: float) -> str:
    """A radius in words from its square: the other way round."""
    radius = math.sqrt(squared)
    return exactly(radius) if radius * radius == squared else f"sqrt({exactly(squared)})"


def spoken_radius(text: str) -> str:
    """A radius in words for a person: a root with what it amounts to."""
    squared = text.removeprefix("sqrt(").removesuffix(")")
    try:
        return text if squared == text else f"√{squared} ≈ {math.sqrt(float(squared)):.6g}"
    except ValueError:
        return text
