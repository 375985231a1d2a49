"""The sets that the point z of an argmax problem may range over."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from solvers.errors import BadInput


@dataclass(frozen=True)
class Free:
    """All of R^d."""

    def describe(self) -> str:
        """The domain in the words of the command line."""
        return "free"


@dataclass(frozen=True)
class Ball:
    """The open Euclidean ball ‖z‖ < radius.

    The radius is given by its square, because √d is irrational for most d while d is exact.
    """

    squared_radius: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.squared_radius) and self.squared_radius > 0):
            raise BadInput(f"a ball needs a finite radius > 0, not radius² = {self.squared_radius}")

    @property
    def radius(self) -> float:
        """The radius, rounded to float64."""
        return math.sqrt(self.squared_radius)

    def describe(self) -> str:
        """The domain in the words of the command line: `ball:R` where R·R is this very R², else `ball:sqrt(R²)`."""
        if self.radius * self.radius == self.squared_radius:
            return f"ball:{_exactly(self.radius)}"
        return f"ball:sqrt({_exactly(self.squared_radius)})"


@dataclass(frozen=True)
class Box:
    """The box lo ≤ z ≤ hi, coordinate by coordinate (the same verdicts hold for the open box)."""

    lo: Float[np.ndarray, " d"]
    hi: Float[np.ndarray, " d"]

    def __post_init__(self) -> None:
        lo, hi = np.asarray(self.lo, dtype=np.float64), np.asarray(self.hi, dtype=np.float64)
        if lo.shape != hi.shape or lo.ndim != 1:
            raise BadInput(f"a box needs two vectors of equal length, not shapes {lo.shape} and {hi.shape}")
        if not (np.isfinite(lo).all() and np.isfinite(hi).all() and (lo < hi).all()):
            raise BadInput("a box needs finite bounds with lo < hi in every coordinate")
        object.__setattr__(self, "lo", lo)
        object.__setattr__(self, "hi", hi)

    def describe(self) -> str:
        """The domain in the words of the command line."""
        if np.ptp(self.lo) == 0 and np.ptp(self.hi) == 0:
            return f"box:{_exactly(self.lo[0])},{_exactly(self.hi[0])}"
        digest = hashlib.sha256(self.lo.tobytes() + self.hi.tobytes()).hexdigest()
        return f"box:{self.lo.min():g}..{self.lo.max():g},{self.hi.min():g}..{self.hi.max():g} ({digest})"


def _exactly(value: float) -> str:
    """A number with as many digits as tell it from every other float64: equal words mean equal domains."""
    return repr(float(value) + 0.0).removesuffix(".0")  # −0 is 0


Domain = Free | Ball | Box
