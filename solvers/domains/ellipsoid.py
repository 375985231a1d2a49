"""The open ellipsoid: hidden states within so many standard deviations of their mean, say."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from solvers.domains.base import INSIDE, JUST_INSIDE, Arrays, Domain, Shape, exactly
from solvers.domains.region import Region
from solvers.errors import BadInput
from solvers.rounding import row_lengths

_THINNEST = 2.0**-10
"""The largest share of the radius that rounding in float64 may take."""


@dataclass(frozen=True, eq=False)
class Ellipsoid(Domain):
    """The open ellipsoid ‖L⁻¹(z − μ)‖ < r, that is z = μ + L x with ‖x‖ < r.

    With L a Cholesky factor of a covariance, r counts standard deviations. Searches work on x, where it is a ball.
    """

    word: ClassVar[str] = "ellipsoid"
    form: ClassVar[str] = "ellipsoid:FILE"
    shapes: ClassVar[tuple[Shape, ...]] = (Shape.BALL,)

    mu: Float[np.ndarray, " d"]
    factor: Float[np.ndarray, "d d"]
    """L."""
    radius: float

    def __post_init__(self) -> None:
        mu, factor = (np.ascontiguousarray(part, dtype=np.float64) for part in (self.mu, self.factor))
        if mu.ndim != 1 or factor.shape != (len(mu), len(mu)) or not len(mu):
            raise BadInput(f"an ellipsoid needs mu (d,) and L (d, d), not shapes {mu.shape} and {factor.shape}")
        if not (np.isfinite(mu).all() and np.isfinite(factor).all()):
            raise BadInput("an ellipsoid needs finite numbers in mu and L")
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise BadInput(f"an ellipsoid needs a finite r > 0, not {self.radius}")
        object.__setattr__(self, "mu", mu)
        object.__setattr__(self, "factor", factor)
        if not self._rounding < _THINNEST:
            raise BadInput("the ellipsoid is flat, or too thin or too far off for float64: widen the least axis of L")

    # --- words ------------------------------------------------------------------------------------------------------

    def describe(self) -> str:
        """Its size, and a digest of μ and L."""
        digest = hashlib.sha256(self.mu.tobytes() + self.factor.tobytes()).hexdigest()
        return f"ellipsoid:d={len(self.mu)},r={exactly(self.radius)} ({digest})"

    @classmethod
    def parse(cls, numbers: str, d: int, arrays: Arrays) -> Self:
        """The name of a file with `mu` (d,), `L` (d, d), or (d,) for axes along the coordinates, and `r`."""
        if not numbers:
            raise ValueError(numbers)
        found = arrays(numbers)
        _check_names(numbers, found)
        mu, factor, radius = (np.asarray(found[name]) for name in ("mu", "L", "r"))
        if mu.shape != (d,) or factor.shape not in ((d,), (d, d)) or radius.size != 1:
            shapes = ", ".join(f"{name} {np.shape(found[name])}" for name in ("mu", "L", "r"))
            raise BadInput(f"{numbers} holds {shapes}, but the rows ask for mu ({d},), L ({d}, {d}) and one number r")
        return cls(mu, np.diag(factor) if factor.ndim == 1 else factor, float(radius.reshape(())))

    @classmethod
    def spoken(cls, numbers: str) -> str:
        """For a person."""
        size, _, digest = numbers.partition(" ")
        return f"an ellipsoid ({size.replace(',', ', ').replace('=', ' = ')}, {digest.strip('()')[:8]})"

    # --- kind -------------------------------------------------------------------------------------------------------

    @property
    def coordinates(self) -> int | None:
        """As many as μ has."""
        return len(self.mu)

    @property
    def around_origin(self) -> bool:
        """Whether 0 lies inside, clearly."""
        return float(self.gauge(torch.zeros((1, len(self.mu)), dtype=torch.float64))[0]) < 1 - self._rounding

    # --- geometry ---------------------------------------------------------------------------------------------------

    @property
    def affine(self) -> tuple[Float64[Tensor, " d"], Float64[Tensor, "d d"]] | None:
        """μ and L."""
        return torch.from_numpy(self.mu), torch.from_numpy(self.factor)

    @cached_property
    def _inverse(self) -> Float64[Tensor, "d d"]:
        try:
            return torch.from_numpy(np.linalg.inv(self.factor))
        except np.linalg.LinAlgError:
            return torch.full(self.factor.shape, torch.nan, dtype=torch.float64)

    @cached_property
    def _leverage(self) -> float:
        """How far x moves, as a multiple of r, when every coordinate of a point z moves by itself."""
        size = np.abs(self.mu) + self.radius * np.linalg.norm(self.factor, axis=1)
        found = float(np.linalg.norm(np.abs(self._inverse.numpy()) @ size)) / self.radius
        return found if math.isfinite(found) else math.inf

    @property
    def _rounding(self) -> float:
        """What rounding may make of a point's place, as a share of r."""
        return max(1 - JUST_INSIDE, (len(self.mu) + 4) * 2.0**-50 * self._leverage)

    @property
    def _inside(self) -> float:
        """The share of r that points may use which are then rounded to float32."""
        return max(min(INSIDE, 1 - 2.0**-23 * self._leverage), 0.5)

    def _to_x(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        return (points - torch.from_numpy(self.mu)) @ self._inverse.T

    def _to_z(self, x: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        return torch.from_numpy(self.mu) + x @ torch.from_numpy(self.factor).T

    def gauge(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """‖x‖/r."""
        return self._to_x(points).norm(dim=1) / self.radius

    def placed(self, unit: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Near the second crossing of the surface."""
        step, back = unit @ self._inverse.T, self._inverse @ torch.from_numpy(self.mu)
        # ‖s·step − back‖ = r
        square, product = (step**2).sum(dim=1), step @ back
        root = product**2 - square * (float(back @ back) - self.radius**2)
        middle, half = product / square, root.clamp(min=0).sqrt() / square
        first, last = (middle - half).clamp(min=0), middle + half
        far = last - (last - first) * (1 - self._inside)
        fits = (square > 0) & (root > 0) & (last > 0)
        return torch.where(fits[:, None], unit * far.nan_to_num()[:, None], 0.0)

    def pulled_in(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Moved towards μ where they are too far out."""
        x, most = self._to_x(points), self.radius * self._inside
        length = x.norm(dim=1, keepdim=True)
        return torch.where(length > most, self._to_z(x * (most / length.clamp(min=most))), points)

    def farthest(self, v: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """Along Lᵀv, in x."""
        along = v @ torch.from_numpy(self.factor)
        return self._to_z(along / row_lengths(along)[:, None] * (self.radius * (1 - self._rounding)))

    def region(self, d: int) -> Region:
        """The ball ‖x‖ < r but what rounding may take."""
        return Region(d, radius=self.radius * (1 - self._rounding))


def _check_names(file: str, found: Mapping[str, Any]) -> None:
    missing = [name for name in ("mu", "L", "r") if name not in found]
    unknown = [name for name in found if name not in ("mu", "L", "r")]
    if missing or unknown:
        wrong = f"has no {missing[0]}" if missing else f"holds {unknown[0]}"
        raise BadInput(f"{file} {wrong}: an ellipsoid is given by mu, L and r")
