"""The textbook way: one program per row, with every other row of the vocabulary as a constraint.

Slow references live here: at 30522 × 384 one such program takes a minute and more, where column generation needs a
second.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Budget
from solvers.backends.program import Answer, Program
from solvers.backends.searching import Searching
from solvers.problem import ArgmaxProblem

SMALL_ENTRIES = 1e-6
"""How much smaller than offsets the rows may become when a program for a linear solver is scaled."""


class FullProgram(Searching):
    """Row by row, all competitors at once. Subclasses hand a program to a library.

    Prefer a method with column generation for anything but a cross-check on a small head.
    """

    trusted: ClassVar[float] = 1e-10
    """The tightest tolerance that the library reaches."""

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem; all rows are made ready in float64."""
        super().prepare(problem)
        self._rows = self.space.rows(torch.arange(problem.v))

    @abstractmethod
    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Solve one program."""

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """One program per row, until the seconds are used up."""
        started = time.perf_counter()
        space, n = self.space, len(rows)
        rows = rows.cpu()
        x = torch.full((n, space.e), torch.nan, dtype=torch.float64)
        lower = torch.full((n,), -torch.inf, dtype=torch.float64)
        upper = torch.full((n,), torch.inf, dtype=torch.float64)
        status = [Status.LIMIT] * n
        hulls: list[tuple[np.ndarray, np.ndarray] | None] = [None] * n
        notes: list[str] = []
        work = {"programs": 0.0, "iterations": 0.0}
        for i, token in enumerate(rows.tolist()):
            left = budget.seconds - (time.perf_counter() - started)
            if left <= 0:
                break
            program, rivals = self._program(token)
            answer = self.optimise(program, replace(budget, seconds=left))
            work["programs"] += 1
            work["iterations"] += answer.iterations
            if answer.note:
                notes.append(f"{self.name}: {answer.note}")
            point, weights = answer.point(program), answer.convex(program)
            if point is not None:
                x[i], lower[i] = program.to_space(point)[0], program.reached(point)[0]
            if weights is not None:
                kept = weights[0] > 0
                hulls[i], upper[i] = (rivals[kept].numpy(), weights[0][kept].numpy()), program.bound(weights)[0]
            status[i] = self._status(answer, float(lower[i]), token, budget)
            budget.progress(self.name, 1)
        return Attempts(
            rows=rows,
            status=status,
            points=space.to_points(x),
            hulls=Hulls.pack(hulls),
            lower=lower if space.margins else torch.full_like(lower, -torch.inf),
            upper=upper if space.margins else torch.full_like(upper, torch.inf),
            work=work,
            seconds=time.perf_counter() - started,
            note="; ".join(dict.fromkeys(notes)),
        )

    def _program(self, token: int) -> tuple[Program, Int[Tensor, " k"]]:
        rivals = torch.cat([torch.arange(token), torch.arange(token + 1, self.problem.v)])
        difference = self._rows[token] - self._rows[rivals]
        offset = self.space.offset[token] - self.space.offset[rivals]
        present = torch.ones((1, len(rivals)), dtype=torch.bool)
        return Program.pose(self.space, difference[None], offset[None], present, SMALL_ENTRIES), rivals

    def _status(self, answer: Answer, lower: float, token: int, budget: Budget) -> Status:
        if answer.state == "failed":
            return Status.FAILED
        # Below the tolerance that the library worked to, a positive value says nothing.
        lo, hi = self.space.region.box
        size = self.space.region.radius or float(torch.maximum(lo.abs(), hi.abs()).norm())
        if lower > 10 * max(budget.tolerance, self.trusted) * max(float(self._rows[token].norm()) * size, 1e-300):
            return Status.WITNESS
        return Status.LIMIT if answer.state == "limit" else Status.NO_WITNESS
