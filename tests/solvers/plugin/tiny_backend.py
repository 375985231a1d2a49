"""A backend as another package would bring it."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Backend, Budget, Capabilities


class AwayFromOthers(Backend):
    """One point per row, as far out as the domain goes."""

    name = "away-from-others"
    capabilities: ClassVar[Capabilities] = Capabilities(batched=True, note="a test's own backend")

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Place the points; nothing is evaluated."""
        n = len(rows)
        others = self.problem.rows(torch.arange(self.problem.v)).mean(dim=0)
        none = torch.full((n,), torch.inf, dtype=torch.float64)
        points = self.problem.domain.stretch(self.problem.rows(rows) - others)
        return Attempts(rows, [Status.UNCHECKED] * n, points, Hulls.none(n), -none, none)

    @classmethod
    def version(cls) -> str:
        """Of the package."""
        return "tiny-backend 1.0"


NO_BACKEND = 3
