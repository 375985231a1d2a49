"""Reflection: while another row wins, mirror the point across the hyperplane on which the two are level.

After Grivas, Bogoychev & Lopez, "Low-Rank Softmax Can Have Unargmaxable Classes in Theory but Rarely in Practice",
ACL 2022. All rows that are still open take a step at once, for one product over the vocabulary.
"""

from __future__ import annotations

import time
from typing import ClassVar

import torch
from jaxtyping import Float32, Int
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts
from solvers.backend import Budget, Capabilities
from solvers.backends.searching import Found, Searching, price, threads_for
from solvers.problem import ArgmaxProblem

_OVERSHOOT = 1e-5
"""How much farther than its mirror image a point goes, as a share of the domain's size."""


class Reflection(Searching):
    """z ← z − 2·(D_j·z + e_j)·D_j/‖D_j‖² for the current winner j, then back into the domain.

    Prefer it as a cheap first pass after the closed forms, above all on `Free`, where a mirrored point is always
    allowed and its length stays. Where a small ball binds, the way back into it undoes much of a step, and the
    nearest-point methods are better; it proves nothing about the rows it leaves.
    """

    name = "reflection"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batched=True, devices=("cpu", "cuda"), note="a cheap pass over many rows, strongest on Free"
    )

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem."""
        super().prepare(problem)
        self._overshoot = _OVERSHOOT * self.space.region.size

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Mirror the points of these rows until each row wins or the steps are used up."""
        with threads_for(self.space, len(rows)):
            return self._solve(rows, budget)

    def _solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        started = time.perf_counter()
        space = self.space
        self.effective_options = dict(options.values(self.name, budget))
        steps = int(options.number(self.name, "steps", budget)) if len(rows) else 0
        tokens = rows.to(space.device)
        found = Found(space, tokens)
        place = torch.arange(len(tokens), device=space.device)
        z = self.starts(tokens)
        work = {"steps": 0.0, "priced_rows": 0.0}
        over = False
        for _ in range(steps):
            margin, rival = price(space, z, tokens[place])
            work["steps"] += 1
            work["priced_rows"] += len(place)
            wins = found.offer(place, z, margin)
            # For a good margin the walk goes on through points that win; it is no ascent, so the best is kept.
            finished = wins if budget.margin_gap is None else torch.zeros_like(wins)
            budget.progress(self.name, int(finished.sum()))
            place, z, rival = place[~finished], z[~finished], rival[~finished]
            over = time.perf_counter() - started > budget.seconds
            if over or not len(place):
                break
            z = self._mirror(z, tokens[place], rival)
        found.ended[:] = True
        if over:
            found.ended[place] = False
        budget.progress(self.name, len(place))
        return found.attempts(rows.cpu(), work, time.perf_counter() - started)

    def _mirror(
        self, z: Float32[Tensor, "m e"], tokens: Int[Tensor, " m"], rivals: Int[Tensor, " m"]
    ) -> Float32[Tensor, "m e"]:
        space = self.space
        difference = space.rows32[tokens] - space.rows32[rivals]
        ahead = (difference * z).sum(dim=1) + space.offset32[tokens] - space.offset32[rivals]
        # Equal rows have no hyperplane between them: such a point stays where it is.
        square = (difference**2).sum(dim=1)
        length = torch.where(square > 0, -2 * ahead / square.clamp(min=1e-30), 0.0)
        # A point that wins is not sent back to where it loses; one on the very hyperplane is its own mirror image, so
        # every point goes a little farther.
        farther = torch.where(square > 0, self._overshoot / square.clamp(min=1e-30).sqrt(), 0.0)
        return space.region.project(z + (length.clamp(min=0) + farther)[:, None] * difference)
