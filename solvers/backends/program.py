"""The program of a row against rivals, in units that every library gets along with: the one place that poses it.

max s  s.t.  D u + e ≥ s,  u in the region,  with D[j] = A[t] − A[j] and e[j] = c[t] − c[j] over a scale of their own,
and with u in units in which the region has radius 1, or is the box |u_i| ≤ 1. It is always feasible and always
bounded. A few rivals give a *restricted* program, whose bound holds for the whole problem; all of them give the
textbook one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from solvers.domains.region import Region
from solvers.search_space import SearchSpace


@dataclass(frozen=True)
class Program:
    """A batch of programs.

    Attributes:
        difference: `(b, k, e)` D; 0 where there is no rival.
        offset: `(b, k)` e; 0 where there is no rival.
        present: `(b, k)` where there is a rival.
        scale: `(b,)` logits that one unit of s is worth.
        region: what u ranges over.
        centre, half: `(e,)` with x = centre + half · u in the search space.
    """

    difference: Float64[Tensor, "b k e"]
    offset: Float64[Tensor, "b k"]
    present: Bool[Tensor, "b k"]
    scale: Float64[Tensor, " b"]
    region: Region
    centre: Float64[Tensor, " e"]
    half: Float64[Tensor, " e"]

    @classmethod
    def against(
        cls, space: SearchSpace, tokens: Int[Tensor, " b"], rivals: Int[Tensor, "b k"], least: float | None = None
    ) -> Program:
        """Each token against its rivals (−1 is padding), scaled as `pose` does."""
        index = rivals.clamp(min=0)
        others = space.rows(index.flatten()).reshape(*index.shape, space.e)
        difference = space.rows(tokens)[:, None, :] - others
        return cls.pose(space, difference, space.offset[tokens][:, None] - space.offset[index], rivals >= 0, least)

    @classmethod
    def pose(
        cls,
        space: SearchSpace,
        difference: Float64[Tensor, "b k e"],
        offset: Float64[Tensor, "b k"],
        present: Bool[Tensor, "b k"],
        least: float | None = None,
    ) -> Program:
        """From D and e of the search space.

        Args:
            space: the search space.
            difference: D.
            offset: e.
            present: where there is a rival.
            least: none scales the longest row of D, or the largest offset, to 1. A number scales the largest entry
                of D to 1, and offsets only where they are more than 1/`least` times larger: for libraries that
                drop small entries, such as HiGHS those below 1e-9.
        """
        centre, half, region = space.region.in_units()
        offset = offset + difference @ centre
        difference = difference * half
        if least is None:
            size = torch.maximum(difference.norm(dim=2), offset.abs())
        else:
            size = torch.maximum(difference.abs().amax(dim=2), least * offset.abs())
        scale = torch.where(present, size, 0.0).amax(dim=1).clamp(min=1e-300)
        difference = torch.where(present[:, :, None], difference / scale[:, None, None], 0.0)
        return cls(
            difference, torch.where(present, offset / scale[:, None], 0.0), present, scale, region, centre, half
        )

    def to_space(self, u: Float64[Tensor, "b e"]) -> Float64[Tensor, "b e"]:
        """Points of the search space."""
        return self.centre + u * self.half

    def reached(self, u: Float64[Tensor, "b e"]) -> Float64[Tensor, " b"]:
        """s at these points, logits."""
        value = torch.einsum("bke,be->bk", self.difference, u) + self.offset
        return torch.where(self.present, value, torch.inf).amin(dim=1) * self.scale

    def bound(self, weights: Float64[Tensor, "b k"]) -> Float64[Tensor, " b"]:
        """What weights that add up to 1 allow s to be, logits."""
        v = torch.einsum("bke,bk->be", self.difference, weights)
        return (self.region.support(v) + (weights * self.offset).sum(dim=1)) * self.scale

    # --- one program, for a library ---------------------------------------------------------------------------------

    @cached_property
    def matrix(self) -> Float64[np.ndarray, "k e"]:
        """D of the only program of a batch of one."""
        return self.difference[0, self.present[0]].numpy()

    @cached_property
    def right(self) -> Float64[np.ndarray, " k"]:
        """e of the only program."""
        return self.offset[0, self.present[0]].numpy()

    @property
    def box(self) -> tuple[Float64[np.ndarray, " e"], Float64[np.ndarray, " e"]]:
        """Finite bounds on u. Where only directions count they stand in for the ball: the sign of s is the same."""
        lo, hi = self.region.box
        return lo.numpy(), hi.numpy()


@dataclass(frozen=True)
class Answer:
    """What a library returned for one program.

    Attributes:
        state: "optimal" as far as the library says, "limit" when it stopped at its budget, else "failed".
        u: `(e,)` point, None for none.
        weights: `(k,)` multipliers of the rivals, ≥ 0 up to rounding (∂s/∂e: they add up to 1), None for none.
        iterations: of the library.
        note: its status, where that is not the best.
    """

    state: Literal["optimal", "limit", "failed"]
    u: Float64[np.ndarray, " e"] | None = None
    weights: Float64[np.ndarray, " k"] | None = None
    iterations: float = 0.0
    note: str = ""

    SMALL_WEIGHT: ClassVar[float] = 1e-12
    """A weight below this is a multiplier that the library meant to be 0."""

    def point(self, program: Program) -> Float64[Tensor, "one e"] | None:
        """The point, moved into the region; none where it is not finite."""
        if self.u is None or not np.isfinite(self.u).all():
            return None
        return program.region.project(torch.from_numpy(np.array(self.u, dtype=np.float64))[None, :])

    def convex(self, program: Program) -> Float64[Tensor, "one k"] | None:
        """The multipliers as weights that add up to 1, 0 for padding; none where they are no such thing."""
        found = self.weights
        if found is None or not np.isfinite(found).all() or not found.max(initial=0.0) > 0:
            return None
        weights = np.maximum(found, 0)
        weights = weights / weights.sum()
        weights[weights < self.SMALL_WEIGHT] = 0.0
        spread = torch.zeros(program.present.shape, dtype=torch.float64)
        spread[program.present] = torch.from_numpy(weights / weights.sum())
        return spread
