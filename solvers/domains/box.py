"""The box: a hidden state after tanh or a sigmoid, or bounds that were measured."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from solvers.domains.base import INSIDE, JUST_INSIDE, Arrays, Domain, Shape, exactly
from solvers.domains.region import Region, box_reach
from solvers.errors import BadInput


@dataclass(frozen=True, eq=False)
class Box(Domain):
    """The box lo ≤ z ≤ hi, coordinate by coordinate (the same verdicts hold for the open box)."""

    word: ClassVar[str] = "box"
    form: ClassVar[str] = "box:LO,HI"
    shapes: ClassVar[tuple[Shape, ...]] = (Shape.BOX,)

    lo: Float[np.ndarray, " d"]
    hi: Float[np.ndarray, " d"]

    def __post_init__(self) -> None:
        lo, hi = checked_bounds(self.lo, self.hi)
        object.__setattr__(self, "lo", lo)
        object.__setattr__(self, "hi", hi)

    def describe(self) -> str:
        """`box:LO,HI` where all coordinates share their bounds, else with a digest of them."""
        return f"box:{bounds_words(self.lo, self.hi)}"

    @classmethod
    def parse(cls, numbers: str, d: int, arrays: Arrays) -> Self:  # noqa: ARG003
        """`LO,HI`, for each coordinate the same."""
        lo, hi = (float(number) for number in numbers.split(","))
        return cls(np.full(d, lo), np.full(d, hi))

    @classmethod
    def spoken(cls, numbers: str) -> str:
        """For a person."""
        lo, _, hi = numbers.partition(",")
        return f"the box with coordinates between {spoken_number(lo)} and {spoken_number(hi)}"

    @property
    def coordinates(self) -> int | None:
        """As many as it has bounds."""
        return len(self.lo)

    @property
    def around_origin(self) -> bool:
        """Whether every coordinate may take either sign."""
        return bool((self.lo < 0).all() and (self.hi > 0).all())

    def gauge(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """The largest share of the way from the middle to a face."""
        lo, hi = self.bounds()
        return ((points - (lo + hi) / 2).abs() / ((hi - lo) / 2)).max(dim=1).values

    def bounds(self, share: float = 1.0) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
        """The bounds, every side shorter by 1 − share at either end."""
        lo, hi = torch.from_numpy(self.lo), torch.from_numpy(self.hi)
        return (lo, hi) if share == 1 else (lo + (hi - lo) * (1 - share), hi - (hi - lo) * (1 - share))

    def placed(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Near the first face on the way."""
        farthest = box_reach(unit, *self.bounds()) * INSIDE
        return torch.where((farthest > 0) & torch.isfinite(farthest), unit * farthest, 0.0)

    def pulled_in(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Moved to a box that is a little smaller."""
        return points.clamp(*self.bounds(INSIDE))

    def farthest(self, v: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """A corner, or the middle of a face."""
        return Region(len(self.lo), None, *self.bounds()).farthest(v)

    def region(self, d: int) -> Region:
        """All of it but a share of 2⁻⁴⁴."""
        return Region(d, None, *self.bounds(JUST_INSIDE))


def checked_bounds(
    lo: Float[np.ndarray, " d"], hi: Float[np.ndarray, " d"]
) -> tuple[Float64[np.ndarray, " d"], Float64[np.ndarray, " d"]]:
    """Bounds of a box as float64.

    Raises:
        BadInput: they are none.
    """
    lo, hi = np.asarray(lo, dtype=np.float64), np.asarray(hi, dtype=np.float64)
    if lo.shape != hi.shape or lo.ndim != 1:
        raise BadInput(f"a box needs two vectors of equal length, not shapes {lo.shape} and {hi.shape}")
    if not (np.isfinite(lo).all() and np.isfinite(hi).all() and (lo < hi).all()):
        raise BadInput("a box needs finite bounds with lo < hi in every coordinate")
    return lo, hi


def bounds_words(lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> str:
    """Bounds in words; a digest tells apart those that differ between coordinates."""
    if np.ptp(lo) == 0 and np.ptp(hi) == 0:
        return f"{exactly(lo[0])},{exactly(hi[0])}"
    digest = hashlib.sha256(lo.tobytes() + hi.tobytes()).hexdigest()
    return f"{lo.min():g}..{lo.max():g},{hi.min():g}..{hi.max():g} ({digest})"


def spoken_number(text: str) -> str:
    """A number for a person."""
    return text.replace("-", "−")
