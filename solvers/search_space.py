"""The form of a problem that searches work on: always feasible, always bounded.

On `Ball` and `Box` it is the problem itself. On `Free` with c = 0 only the direction counts, so z is kept in the
unit ball. On `Free` with offsets the rows are lifted to (A[t], κ·c[t]) and the point to (z, ζ) with ζ ≥ 0 in the unit
ball: dividing by κ·ζ gives a point of the original problem, and a positive lifted margin means that one exists.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem
from solvers.recipes import JUST_INSIDE, shrunk_box, stretch


class SearchSpace:
    """Rows, offsets and a bounded domain to search in.

    Attributes:
        rows32: `(v, e)` float32 rows on the device (e = d, or d+1 when lifted).
        offset: `(v,)` float64 offsets, less their mean (which no argmax depends on).
        radius: radius of the ball, or None for a box.
        lo, hi: `(e,)` box bounds, or None for a ball.
        lifted: whether the last coordinate is ζ ≥ 0.
        square_norm32: `(v,)` squared norms of the rows, float32 on the device.
    """

    def __init__(self, problem: ArgmaxProblem, device: torch.device | str = "cpu") -> None:
        self.problem, self.device = problem, device
        self.lifted = isinstance(problem.domain, Free) and not problem.zero_offset
        self.radius: float | None = 1.0
        self.lo: Float64[Tensor, " e"] | None = None
        self.hi: Float64[Tensor, " e"] | None = None
        if isinstance(problem.domain, Ball):
            self.radius = problem.domain.radius * JUST_INSIDE
        elif isinstance(problem.domain, Box):
            self.radius = None
            self.lo, self.hi = shrunk_box(problem.domain, JUST_INSIDE)
        offset = problem.offset - problem.offset.mean()
        self.kappa = 1.0
        rows = problem.working_rows(device)
        if self.lifted:
            if float(offset.max() - offset.min()) > 0:  # offsets that are all equal are no offsets
                self.kappa = float(problem.row_norm.median() / offset.abs().max()) or 1.0
            column = (self.kappa * offset).to(device, torch.float32)
            self.rows32: Float32[Tensor, "v e"] = torch.cat([rows, column[:, None]], dim=1)
            self.offset: Float64[Tensor, " v"] = torch.zeros_like(offset)
            self._column = self.kappa * offset
        else:
            self.rows32, self.offset = rows, offset
        self.offset32 = self.offset.to(device, torch.float32)
        square = problem.row_norm**2 + (self._column**2 if self.lifted else 0.0)
        self.square_norm32 = square.to(device, torch.float32)

    @property
    def e(self) -> int:
        """Number of coordinates searched over."""
        return self.rows32.shape[1]

    def rows(self, index: Int[Tensor, " n"]) -> Float64[Tensor, "n e"]:
        """Rows in float64."""
        rows = self.problem.rows(index)
        return torch.cat([rows, self._column[index][:, None]], dim=1) if self.lifted else rows

    @property
    def row_norm(self) -> Float64[Tensor, " v"]:
        """Length of each row of the search space."""
        norm = self.problem.row_norm
        return torch.hypot(norm, self._column) if self.lifted else norm

    def support(self, v: Float64[Tensor, "n e"]) -> Float64[Tensor, " n"]:
        """sup of v·z over the domain searched."""
        if self.radius is None:
            assert self.lo is not None and self.hi is not None
            return torch.maximum(self.lo * v, self.hi * v).sum(dim=1)
        if self.lifted:
            v = torch.cat([v[:, :-1], v[:, -1:].clamp(min=0)], dim=1)
        return self.radius * v.norm(dim=1)

    def along(self, direction: Float64[Tensor, "n e"]) -> Float64[Tensor, "n e"]:
        """A point of the search space far out along each direction, or near it where the space holds none."""
        if self.lifted:
            upward = torch.cat([direction[:, :-1], direction[:, -1:].clamp(min=0)], dim=1)
            return upward / upward.norm(dim=1, keepdim=True).clamp(min=1e-300)
        point = stretch(self.problem.domain, direction)
        return point if self.lo is None else point.clamp(self.lo, self.hi)

    def to_points(self, z: Float64[Tensor, "n e"]) -> Float64[Tensor, "n d"]:
        """Points of the original problem. A lifted ζ near 0 stands for a point far out in that direction."""
        if not self.lifted:
            return z
        zeta = torch.maximum(z[:, -1:], 1e-7 * z.norm(dim=1, keepdim=True)).clamp(min=1e-30)
        return z[:, :-1] / (self.kappa * zeta)

    def from_points(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n e"]:
        """Points to search from, for points of the original problem."""
        if not self.lifted:
            return points
        lifted = torch.cat([points, torch.full((len(points), 1), 1 / self.kappa, dtype=points.dtype)], dim=1)
        return lifted / lifted.norm(dim=1, keepdim=True)
