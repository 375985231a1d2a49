"""Strictly positive weights for rows inside the hull of the others: analytic centres, many rows at once.

For a token t and x_j = a_j − a_t the analytic centre of {w ≥ 0 : Σw_j x_j = 0} has w_j = 1/(1 + y·x_j), where y
minimises φ(y) = −Σ log(1 + y·x_j) (the dual of maximising Σ log w_j; Boyd & Vandenberghe 2004, §8.5.3; Owen 1988 for
the same problem as empirical likelihood). φ is self-concordant. It has a minimiser exactly if a_t lies strictly
inside the hull; if not, it falls without end, and a y with y·x_j > 0 for all j is found: the token wins at z = −y.

Newton's method, its systems solved by conjugate gradients (Dembo, Eisenstat & Steihaug 1982) with one preconditioner
for all tokens: the covariance of a spread set of rows. So no token needs a Hessian, and all work is products of the
open tokens with all rows.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Backend, Budget, Capabilities
from solvers.backends.centring import Batch, Space
from solvers.domains import Shape
from solvers.problem import ArgmaxProblem

_VALUES_BYTES = 128 * 2**20
"""Memory for one number per row and token of a batch; some five such arrays are held."""
_SUMMARY = 8
"""How many of the heaviest weights are named of a row inside the hull."""
_FACE = 1e-4
"""Of a row that is left open, rows with this share of the heaviest weight may span a face that it lies on."""


class AnalyticCentre(Backend):
    """Weights over all rows at once, or the direction in which none exist.

    Prefer it for rows inside the hull (c = 0, or `Free`), at any width: it is what proves them. Rows on a face of the
    hull have no strictly positive weights; it leaves those open.
    """

    name = "analytic-centre"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=(Shape.DIRECTIONS, Shape.UPWARD),
        batched=True,
        devices=("cpu", "cuda"),
        proves_negative=True,
        note="rows inside the hull of the others, at any width",
    )

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem, and factor the covariance of its rows."""
        super().prepare(problem)
        self._space = Space(problem, self.device)

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Centre these rows, a batch at a time."""
        v = self.problem.v  # says so where nothing was prepared
        self.effective_options = dict(options.values(self.name, budget))
        started = time.perf_counter()
        newton, gradients = (int(options.number(self.name, name, budget)) for name in ("newton_steps", "cg_steps"))
        found = _Found(self._space, rows)
        size = max(1, _VALUES_BYTES // (8 * v))
        for start in range(0, len(rows) if self._space.usable else 0, size):
            batch = Batch(self._space, rows[start : start + size])
            for step in range(newton + 1):
                found.take(batch, start)
                budget.progress(self.name, batch.drop())
                if not len(batch.at) or step == newton or time.perf_counter() - started > budget.seconds:
                    break
                batch.newton(gradients)
                found.steps += len(batch.at)
            found.leave(batch, start)
            budget.progress(self.name, len(batch.at))
        return found.attempts(time.perf_counter() - started)


class _Found:
    """What came of each row."""

    def __init__(self, space: Space, rows: Int[Tensor, " n"]) -> None:
        n = len(rows)
        self.space, self.rows, self.steps = space, rows, 0
        self.status = [Status.LIMIT if space.usable else Status.UNCHECKED] * n
        self.points = torch.full((n, space.problem.d), torch.nan, dtype=torch.float64)
        self.duals = torch.full((n, space.width), torch.nan, dtype=torch.float64)
        self.hulls: list[tuple[np.ndarray, np.ndarray] | None] = [None] * n

    def take(self, batch: Batch, start: int) -> None:
        """Take over what a batch has settled, or given up."""
        self._at(batch, batch.inside, start, Status.NO_WITNESS)
        self._at(batch, batch.outside, start, Status.WITNESS)
        self._at(batch, batch.stuck, start, Status.LIMIT)

    def leave(self, batch: Batch, start: int) -> None:
        """Take over what is still open when a batch ends."""
        self._at(batch, torch.ones(len(batch.at), dtype=torch.bool), start, Status.LIMIT)

    def _at(self, batch: Batch, which: Bool[Tensor, " t"], start: int, status: Status) -> None:
        if not bool(which.any()):
            return
        here = which.to(batch.y.device)
        places = (batch.at[which] + start).tolist()
        if status is Status.WITNESS:
            points = self.space.points(batch.y[here].cpu())
            if points is not None:
                self.points[places] = self.space.problem.domain.stretch(points) if self.space.stretches else points
        elif status is Status.NO_WITNESS:
            self.duals[places] = self.space.duals(batch.y[here].cpu())
        for place, weight in zip(places, batch.weight[here], strict=True):
            self.status[place] = status
            self.hulls[place] = self._heaviest(weight, int(self.rows[place]), status)

    def _heaviest(
        self, weight: Float64[Tensor, " v"], token: int, status: Status
    ) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]] | None:
        """Of a row inside the hull the heaviest few and their shares; of one left open what may be a face."""
        if status is Status.WITNESS:
            return None
        weight = weight.clone()
        weight[token] = 0
        inside = status is Status.NO_WITNESS
        most = _SUMMARY if inside else 2 * self.space.problem.d + 2
        heavy, rows = torch.topk(weight, min(most, len(weight) - 1))
        keep = heavy > (0 if inside else _FACE * heavy[0])
        total = weight.sum() if inside else heavy[keep].sum()
        return rows[keep].cpu().numpy(), (heavy[keep] / total).cpu().numpy()

    def attempts(self, seconds: float) -> Attempts:
        """All of it."""
        n = len(self.rows)
        inside = torch.isfinite(self.duals).all(dim=1)
        return Attempts(
            self.rows,
            self.status,
            self.points,
            Hulls.pack(self.hulls),
            torch.full((n,), -torch.inf, dtype=torch.float64),
            torch.where(inside, 0.0, torch.inf).to(torch.float64),
            duals=self.duals,
            work={"newton_steps": self.steps / max(1, n)},
            seconds=seconds,
            note="" if self.space.usable else "the rows span no more dimensions than there are rows",
        )
