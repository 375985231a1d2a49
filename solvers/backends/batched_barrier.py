"""Column generation over the batched interior-point method: whole vocabularies, on CPU or GPU."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from solvers import options
from solvers.backend import Budget, Capabilities
from solvers.backends import barrier
from solvers.backends.column_generation import ColumnGeneration, RestrictedResult
from solvers.backends.spanning import in_span


class BatchedBarrier(ColumnGeneration):
    """Many rows at once by a primal–dual interior point in float64. Prefer it when more than a few rows are open."""

    name = "batched-barrier"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batched=True,
        devices=("cpu", "cuda"),
        proves_negative=True,
        complete=True,
        note="the default for rows that the closed forms leave: any domain, many rows at once",
    )

    def restricted(
        self,
        tokens: Int[Tensor, " b"],
        rivals: Int[Tensor, "b k"],
        upper: Float64[Tensor, " b"],
        budget: Budget,
    ) -> RestrictedResult:
        """Solve each token against its rivals."""
        space = self.space
        present = rivals >= 0
        index = rivals.clamp(min=0)
        difference = space.rows(tokens)[:, None, :] - space.rows(index.flatten()).reshape(*index.shape, space.e)
        offset = space.offset[tokens][:, None] - space.offset[index]
        # Change variables so that the domain becomes the unit ball or the box |z_i| ≤ 1.
        if space.radius is not None:
            centre, half = (
                torch.zeros(space.e, dtype=torch.float64),
                torch.full((space.e,), space.radius, dtype=torch.float64),
            )
        else:
            assert space.lo is not None and space.hi is not None
            centre, half = (space.lo + space.hi) / 2, (space.hi - space.lo) / 2
        offset = offset + difference @ centre
        difference = difference * half
        size = torch.maximum(difference.norm(dim=2), offset.abs())
        scale = torch.where(present, size, 0.0).amax(dim=1).clamp(min=1e-300)
        difference = torch.where(present[:, :, None], difference / scale[:, None, None], 0.0)
        offset = torch.where(present, offset / scale[:, None], 1.0)
        takes_s = present.to(torch.float64)
        rows, constants, takes_s, start = self._with_domain(difference, offset, takes_s)
        ball = space.radius is not None
        rows, start = rows.to(self.device), start.to(self.device)
        smaller = in_span(rows) if ball else None
        if smaller is not None:
            rows, start = smaller[0], (start[:, None, :] @ smaller[1])[:, 0, :]
        problem = barrier.Restricted(rows, constants.to(self.device), takes_s.to(self.device), start, ball=ball)
        gap = self.gaps(upper, budget)
        self.effective_options = dict(options.values(self.name, budget))
        solution = barrier.solve(
            problem,
            relative_gap=gap.to(self.device),
            tolerance=options.number(self.name, "tolerance", budget),
            iterations=int(options.number(self.name, "newton_steps", budget)),
        )
        z = solution.z if smaller is None else (smaller[1] @ solution.z[:, :, None])[:, :, 0]
        z = z.cpu()
        weights = solution.multipliers.cpu()[:, : rivals.shape[1]] * present
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-300)
        v = torch.einsum("bke,bk->be", difference, weights)
        constant = (weights * torch.where(present, offset, 0.0)).sum(dim=1)
        bound = (self._support(v) + constant) * scale
        value = torch.einsum("bke,be->bk", difference, z) + offset
        reached = torch.where(present, value, torch.inf).amin(dim=1) * scale
        return RestrictedResult(centre + z * half, reached, bound, weights, solution.iterations * len(tokens))

    def _support(self, v: Float64[Tensor, "b e"]) -> Float64[Tensor, " b"]:
        """sup of v·z over the unit ball (upper half of it when lifted) or the box |z_i| ≤ 1."""
        if self.space.radius is None:
            return v.abs().sum(dim=1)
        if self.space.lifted:
            v = torch.cat([v[:, :-1], v[:, -1:].clamp(min=0)], dim=1)
        return v.norm(dim=1)

    def _with_domain(self, difference: Tensor, offset: Tensor, takes_s: Tensor) -> tuple[Tensor, ...]:
        """Append the constraints of the domain that are not the ball: ζ ≥ 0, or the faces of the box."""
        b, e = len(difference), self.space.e
        start = torch.zeros((b, e), dtype=torch.float64)
        if self.space.radius is None:
            faces = torch.cat([torch.eye(e), -torch.eye(e)]).to(torch.float64)
            constants = torch.ones(2 * e, dtype=torch.float64)
        elif self.space.lifted:
            faces = torch.zeros((1, e), dtype=torch.float64)
            faces[0, -1] = 1.0
            constants = torch.zeros(1, dtype=torch.float64)
            start[:, -1] = 0.5
        else:
            return difference, offset, takes_s, start
        return (
            torch.cat([difference, faces.expand(b, -1, -1)], dim=1),
            torch.cat([offset, constants.expand(b, -1)], dim=1),
            torch.cat([takes_s, torch.zeros((b, len(faces)), dtype=torch.float64)], dim=1),
            start,
        )
