"""What a ball and a box share: the norm's ball with coordinates that are known to stay within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from solvers.domains.ball import Ball, radius_words, spoken_radius, squared_radius
from solvers.domains.base import INSIDE, JUST_INSIDE, Arrays, Domain, Shape
from solvers.domains.box import Box, bounds_words, spoken_number
from solvers.domains.region import Region, box_reach
from solvers.errors import BadInput


@dataclass(frozen=True, eq=False)
class BallBox(Domain):
    """‖z‖ < R and lo ≤ z ≤ hi: a ball and a box whose interiors meet."""

    word: ClassVar[str] = "ball-box"
    form: ClassVar[str] = "ball-box:RADIUS,LO,HI"
    shapes: ClassVar[tuple[Shape, ...]] = (Shape.BALL_BOX,)

    ball: Ball
    box: Box

    def __post_init__(self) -> None:
        nearest = float(np.linalg.norm(np.clip(0.0, self.box.lo, self.box.hi)))
        if not nearest < self.ball.radius * (1 - 2.0**-30):
            raise BadInput(f"the box lies outside the ball: it is {nearest:g} away from 0")

    def describe(self) -> str:
        """The words of the ball, then those of the box."""
        return f"ball-box:{radius_words(self.ball.squared_radius)},{bounds_words(self.box.lo, self.box.hi)}"

    @classmethod
    def parse(cls, numbers: str, d: int, arrays: Arrays) -> Self:
        """`R,LO,HI`, with R as for a ball."""
        radius, _, bounds = numbers.partition(",")
        return cls(Ball(squared_radius(radius)), Box.parse(bounds, d, arrays))

    @classmethod
    def spoken(cls, numbers: str) -> str:
        """For a person."""
        radius, lo, hi = (*numbers.split(",", 2), "", "")[:3]
        between = f"between {spoken_number(lo)} and {spoken_number(hi)}"
        return f"the part of the open ball of radius {spoken_radius(radius)} with coordinates {between}"

    @property
    def coordinates(self) -> int | None:
        """As many as the box has."""
        return self.box.coordinates

    @property
    def around_origin(self) -> bool:
        """Whether 0 lies inside the box."""
        return self.box.around_origin

    def gauge(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """The larger of both."""
        return torch.maximum(self.ball.gauge(points), self.box.gauge(points))

    def placed(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Near the sphere or the first face on the way."""
        far = box_reach(unit, *self.box.bounds()).clamp(max=self.ball.radius) * INSIDE
        return torch.where(far > 0, unit * far, 0.0)

    def _within(self, share: float) -> Region:
        """All but a share of it; a ball or box that never binds is left out, for its size would set the units."""
        (lo, hi), radius = self.box.bounds(share), self.ball.radius * share
        if float(torch.maximum(lo.abs(), hi.abs()).norm()) < radius * (1 - 2.0**-30):
            return Region(len(lo), None, lo, hi)
        if bool((lo <= -radius).all() and (hi >= radius).all()):
            return Region(len(lo), radius)
        return Region(len(lo), radius, lo, hi)

    def pulled_in(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Moved into the box, then towards a point well inside as far as the sphere asks for."""
        within, points = self._within(INSIDE), self.box.pulled_in(points)
        if within.radius is None:
            return points
        middle = within.interior
        step = points - middle
        # ‖middle + s·step‖ = radius
        square, product = (step**2).sum(dim=1).clamp(min=1e-300), step @ middle
        room = within.radius**2 - float(middle @ middle)
        share = (((product**2 + square * room).sqrt() - product) / square).clamp(max=1)
        return middle + share[:, None] * step

    def farthest(self, v: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Where the sphere and the faces together hold v."""
        return Region(len(self.box.lo), self.ball.radius * (1 - 2.0**-50), *self.box.bounds()).farthest(v)

    def region(self, d: int) -> Region:  # noqa: ARG002
        """All of it but a share of 2⁻⁴⁴."""
        return self._within(JUST_INSIDE)
