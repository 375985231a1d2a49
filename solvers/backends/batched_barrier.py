"""Column generation over the batched interior-point method: whole vocabularies, on CPU or GPU."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from solvers import options
from solvers.backend import Budget, Capabilities
from solvers.backends import barrier
from solvers.backends.column_generation import ColumnGeneration, RestrictedResult
from solvers.backends.program import Program
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

    def restricted(self, program: Program, upper: Float64[Tensor, " b"], budget: Budget) -> RestrictedResult:
        """Solve a batch of programs."""
        b, ball = len(upper), program.region.radius is not None
        faces, constants = program.region.faces()
        rows = torch.cat([program.difference, faces.expand(b, -1, -1)], dim=1).to(self.device)
        start = program.region.interior.expand(b, -1).to(self.device)
        smaller = in_span(rows) if ball else None
        if smaller is not None:
            rows, start = smaller[0], (start[:, None, :] @ smaller[1])[:, 0, :]
        # Padding is a constraint that always holds by 1.
        offset = torch.where(program.present, program.offset, 1.0)
        problem = barrier.Restricted(
            rows,
            torch.cat([offset, constants.expand(b, -1)], dim=1).to(self.device),
            torch.nn.functional.pad(program.present.to(torch.float64), (0, len(faces))).to(self.device),
            start,
            ball=ball,
            faces=len(faces),
        )
        self.effective_options = dict(options.values(self.name, budget))
        solution = barrier.solve(
            problem,
            relative_gap=self.gaps(upper, budget).to(self.device),
            tolerance=options.number(self.name, "tolerance", budget),
            iterations=int(options.number(self.name, "newton_steps", budget)),
        )
        u = solution.z if smaller is None else (smaller[1] @ solution.z[:, :, None])[:, :, 0]
        u = program.region.project(u.cpu())  # back in the ball, it may lie beyond a face
        weights = solution.multipliers.cpu()[:, : program.present.shape[1]] * program.present
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-300)
        return RestrictedResult.of(program, u, weights, solution.iterations * b)
