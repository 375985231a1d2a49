"""Where a search may go: a ball around 0, a box, or what they share. Bounded, and never empty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

_HALVINGS = 60
"""Steps of bisection: they leave a factor of 1 ± 2⁻⁵³ between the ends, from a range of 2¹²⁸."""


@dataclass(frozen=True, eq=False)
class Region:
    """{‖x‖ ≤ radius} ∩ {lo ≤ x ≤ hi}; either part may be missing, and single bounds may be infinite.

    Attributes:
        e: number of coordinates.
        radius: of the ball, none for a box alone.
        lo, hi: `(e,)` bounds, none for a ball alone. Without a radius they are finite.
    """

    e: int
    radius: float | None = None
    lo: Float64[Tensor, " e"] | None = None
    hi: Float64[Tensor, " e"] | None = None

    # --- kind and size ----------------------------------------------------------------------------------------------

    @cached_property
    def _conic(self) -> bool:
        """Whether the bounds allow all multiples of what they allow: each is 0 or infinite, or there is none."""
        return self.lo is None or all(bool(((b == 0) | b.isinf()).all()) for b in self._bounds)

    @cached_property
    def _bounds(self) -> tuple[Float64[Tensor, " e"], Float64[Tensor, " e"]]:
        infinite = torch.full((self.e,), torch.inf, dtype=torch.float64)
        return (-infinite if self.lo is None else self.lo), (infinite if self.hi is None else self.hi)

    @cached_property
    def box(self) -> tuple[Float64[Tensor, " e"], Float64[Tensor, " e"]]:
        """Finite bounds of a box around the region."""
        lo, hi = self._bounds
        return (lo, hi) if self.radius is None else (lo.clamp(min=-self.radius), hi.clamp(max=self.radius))

    @cached_property
    def half_width(self) -> Float64[Tensor, " e"]:
        """Half the width per coordinate (for a ball its radius over √e, which a typical coordinate has)."""
        lo, hi = self.box
        half = (hi - lo) / 2
        return half if self.radius is None else half.clamp(max=self.radius / math.sqrt(self.e))

    @cached_property
    def size(self) -> float:
        """Radius of the smallest ball around the middle that holds the region."""
        lo, hi = self.box
        around = float(((hi - lo) / 2).norm())
        return around if self.radius is None else min(self.radius, around)

    @cached_property
    def mirror(self) -> Float64[Tensor, " e"] | None:
        """s such that x ↦ s − x maps the region onto itself; none where there is no such s."""
        if self.radius is None:
            return self._bounds[0] + self._bounds[1]
        return torch.zeros(self.e, dtype=torch.float64) if self.lo is None else None

    @cached_property
    def interior(self) -> Float64[Tensor, " e"]:
        """A point strictly inside, well away from every face and from the sphere."""
        lo, hi = self._bounds
        step = 0.5 * (self.radius or 0.0)
        middle = torch.where(lo.isinf(), hi - step, torch.where(hi.isinf(), lo + step, lo / 2 + hi / 2))
        middle = torch.where(lo.isinf() & hi.isinf(), 0.0, middle)
        nearest = torch.zeros(self.e, dtype=torch.float64).clamp(lo, hi)
        if self.radius is None:
            return middle
        most = (float(nearest.norm()) + self.radius) / 2
        share = 1.0
        while float((nearest + share * (middle - nearest)).norm()) > most:
            share /= 2
        return nearest + share * (middle - nearest)

    def in_units(self) -> tuple[Float64[Tensor, " e"], Float64[Tensor, " e"], Region]:
        """A middle, half widths and a region with x = middle + half · u: of radius 1, or the box |u_i| ≤ 1."""
        lo, hi = self._bounds
        if self.radius is None:
            one = torch.ones(self.e, dtype=torch.float64)
            return lo / 2 + hi / 2, (hi - lo) / 2, Region(self.e, None, -one, one)
        half = torch.full((self.e,), self.radius, dtype=torch.float64)
        bounded = None not in (self.lo, self.hi)
        unit = Region(self.e, 1.0, lo / self.radius, hi / self.radius) if bounded else Region(self.e, 1.0)
        return torch.zeros(self.e, dtype=torch.float64), half, unit

    def faces(self) -> tuple[Float64[Tensor, "m e"], Float64[Tensor, " m"]]:
        """The finite bounds as rows F and constants f with F x + f ≥ 0."""
        lo, hi = self._bounds
        below, above = torch.isfinite(lo), torch.isfinite(hi)
        identity = torch.eye(self.e, dtype=torch.float64)
        return torch.cat([identity[below], -identity[above]]), torch.cat([0.0 - lo[below], hi[above]])

    # --- points -----------------------------------------------------------------------------------------------------

    def _clipped(self, x: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
        if self.lo is None:
            return x
        lo, hi = self._bounds
        return x.clamp(lo.to(x.device, x.dtype), hi.to(x.device, x.dtype))

    def _into_ball(self, x: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
        radius = self.radius or math.inf
        return x * (radius / x.norm(dim=1, keepdim=True).clamp(min=radius))

    def project(self, x: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
        """The nearest points of the region."""
        clipped = self._clipped(x)
        if self.radius is None:
            return clipped
        if self._conic:
            return self._into_ball(clipped)
        # Where the ball binds, the nearest point is the clipped multiple t·x, t < 1, that lies on the sphere.
        outside = clipped.norm(dim=1) > self.radius
        if bool(outside.any()):
            wide = x[outside].double()
            clipped = clipped.clone()
            clipped[outside] = self._clipped(self._share(wide).clamp(max=1) * wide).to(x.dtype)
        return clipped

    def _share(self, x: Float64[Tensor, "n e"]) -> Float64[Tensor, "n 1"]:
        """The largest t with ‖clip(t·x)‖ ≤ radius, infinite where all are. The norm never falls as t grows."""
        assert self.radius is not None
        size = x.abs().amax(dim=1, keepdim=True).clamp(min=1e-300)
        low = torch.full_like(size, -64.0) + math.log2(self.radius) - torch.log2(size)
        high = low + 128
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            short = self._clipped(torch.exp2(middle) * x).norm(dim=1, keepdim=True) <= self.radius
            low, high = torch.where(short, middle, low), torch.where(short, high, middle)
        share = torch.exp2(low)
        corner = self._clipped(torch.where(x == 0, x, torch.copysign(torch.tensor(torch.inf), x)))
        # A corner of the box inside the ball is where every long multiple ends.
        return torch.where(corner.norm(dim=1, keepdim=True) <= self.radius, torch.inf, share)

    def farthest(self, v: Float64[Tensor, "n e"]) -> Float64[Tensor, "n e"]:
        """A point where v·x is largest."""
        lo, hi = self._bounds
        if self.radius is None:
            return torch.where(v > 0, hi, torch.where(v < 0, lo, lo / 2 + hi / 2))
        if self._conic:
            inward = self._clipped(v)
            return inward * (self.radius / inward.norm(dim=1, keepdim=True).clamp(min=1e-300))
        share = self._share(v)
        far = torch.where(v == 0, v, torch.where(share.isinf(), torch.copysign(share, v), share.nan_to_num() * v))
        return self._clipped(far)

    def support(self, v: Float64[Tensor, "n e"]) -> Float64[Tensor, " n"]:
        """sup of v·x over the region, from above: radius·‖v − w‖ + sup of w·x over the box holds for every w."""
        lo, hi = self._bounds
        if self.radius is None:
            return torch.maximum(lo * v, hi * v).sum(dim=1)
        if self._conic:
            return self.radius * self._clipped(v).norm(dim=1)
        at, share = self.farthest(v), self._share(v)
        # Multipliers of the faces: what v has beyond the multiple of the point that the sphere accounts for.
        face = torch.where((at <= lo) | (at >= hi), v - at / share, 0.0)
        reach = torch.where(face == 0, 0.0, torch.maximum(lo * face, hi * face))
        return self.radius * (v - face).norm(dim=1) + reach.sum(dim=1)

    def along(self, direction: Float64[Tensor, "n e"]) -> Float64[Tensor, "n e"]:
        """A point far out along each direction, or near it where the region holds none."""
        inward = self._clipped(direction) if self._conic else direction
        length = inward.norm(dim=1, keepdim=True)
        unit = torch.where(length > 0, inward / length.clamp(min=1e-300), 0.0)
        if self._conic:
            return unit if self.radius is None else unit * self.radius
        lo, hi = self._bounds
        far = box_reach(unit, lo, hi)
        if self.radius is not None:
            far = far.clamp(max=self.radius)
        return self.project(torch.where((far > 0) & torch.isfinite(far), unit * far, 0.0))

    def sample(self, n: int, generator: torch.Generator) -> Float32[Tensor, "n e"]:
        """Points at random: on the sphere (moved to the nearest that the bounds allow), uniform in a box alone."""
        device = generator.device
        if self.radius is None:
            share = torch.rand((n, self.e), generator=generator, device=device)
            lo, hi = (bound.to(share.device, share.dtype) for bound in self._bounds)
            return lo + (hi - lo) * share
        x = torch.randn((n, self.e), generator=generator, device=device)
        if self._conic and self.lo is not None:
            # Mirrored rather than clipped, so that the sphere is covered evenly.
            lo, hi = (bound.to(device) for bound in self._bounds)
            x = torch.where(lo == 0, x.abs(), torch.where(hi == 0, -x.abs(), x))
        x = x * (self.radius / x.norm(dim=1, keepdim=True).clamp(min=1e-30))
        return x if self._conic else self.project(x)


def box_reach(
    unit: Float64[Tensor, "n e"], lo: Float64[Tensor, " e"], hi: Float64[Tensor, " e"]
) -> Float64[Tensor, "n 1"]:
    """How far from 0 the last face of a box lies along each direction that it bounds (below 0: behind)."""
    reach = torch.where(unit > 0, hi / unit, torch.where(unit < 0, lo / unit, torch.inf))
    return reach.amin(dim=1, keepdim=True)
