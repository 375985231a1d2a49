"""The textbook way: one program per row, with every other row of the vocabulary as a constraint.

max s  s.t.  D z + e ≥ s,  z in the domain,  with D[j] = A[t] − A[j] and e[j] = c[t] − c[j]. It is always feasible and
always bounded. Slow references live here: at 30522 × 384 one such program takes a minute and more, where column
generation needs a second.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Budget
from solvers.backends.searching import Searching, project
from solvers.problem import ArgmaxProblem

_SMALL_WEIGHT = 1e-12


@dataclass(frozen=True)
class Program:
    """One row's program, divided by `scale`.

    Attributes:
        difference: `(k, e)` D over all k = v − 1 competitors.
        offset: `(k,)` e.
        lo, hi: `(e,)` bounds of a box: the domain's, or |z_i| ≤ R around a ball.
        radius: of the ball ‖z‖ ≤ R, None for a box.
    """

    difference: Float64[np.ndarray, "k e"]
    offset: Float64[np.ndarray, " k"]
    lo: Float64[np.ndarray, " e"]
    hi: Float64[np.ndarray, " e"]
    radius: float | None


@dataclass(frozen=True)
class Answer:
    """What a library returned for one program.

    Attributes:
        state: "optimal" as far as the library says, "limit" when it stopped at its budget, else "failed".
        z: `(e,)` point, None for none.
        weights: `(k,)` multipliers of the competitors, ≥ 0 up to rounding (∂s/∂e: they add up to 1), None for none.
        iterations: of the library.
        note: its status, where that is not the best.
    """

    state: Literal["optimal", "limit", "failed"]
    z: Float64[np.ndarray, " e"] | None = None
    weights: Float64[np.ndarray, " k"] | None = None
    iterations: float = 0.0
    note: str = ""


class FullProgram(Searching):
    """Row by row, all competitors at once. Subclasses hand a program to a library.

    Prefer a method with column generation for anything but a cross-check on a small head.
    """

    scaled: ClassVar[bool] = True
    """Whether programs are scaled to entries of size 1 first, as a careful user would do."""

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem; all rows are made ready in float64."""
        super().prepare(problem)
        space = self.space
        self._rows = space.rows(torch.arange(problem.v)).numpy()
        self._offset = space.offset.numpy()

    @abstractmethod
    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Solve one program."""

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """One program per row, until the seconds are used up."""
        started = time.perf_counter()
        space, n = self.space, len(rows)
        rows = rows.cpu()
        z = torch.full((n, space.e), torch.nan, dtype=torch.float64)
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
            program, scale = self._program(token)
            answer = self.optimise(program, replace(budget, seconds=left))
            work["programs"] += 1
            work["iterations"] += answer.iterations
            rivals = np.delete(np.arange(self.problem.v), token)
            if answer.note:
                notes.append(f"{self.name}: {answer.note}")
            if answer.z is not None and np.isfinite(answer.z).all():
                z[i] = project(space, torch.from_numpy(answer.z)[None, :])[0]
                lower[i] = scale * float((program.difference @ z[i].numpy() + program.offset).min())
            hulls[i], bound = self._bound(program, answer.weights, rivals)
            upper[i] = scale * bound
            status[i] = self._status(answer, float(lower[i]), token, budget)
            budget.progress(self.name, 1)
        none = torch.full((n,), torch.inf, dtype=torch.float64)
        return Attempts(
            rows=rows,
            status=status,
            points=space.to_points(z),
            hulls=Hulls.pack(hulls),
            lower=-none if space.lifted else lower,
            upper=none if space.lifted else upper,
            work=work,
            seconds=time.perf_counter() - started,
            note="; ".join(dict.fromkeys(notes)),
        )

    def _program(self, token: int) -> tuple[Program, float]:
        space = self.space
        difference = self._rows[token] - np.delete(self._rows, token, axis=0)
        offset = self._offset[token] - np.delete(self._offset, token)
        scale = 1.0
        if self.scaled:
            # HiGHS, for one, drops entries below 1e-9 and takes bounds beyond 1e20 for none.
            scale = float(np.abs(difference).max(initial=0.0))
            scale = max(scale, 1e-6 * float(np.abs(offset).max(initial=0.0)), 1e-300)
        if space.lo is not None and space.hi is not None:
            lo, hi = space.lo.numpy(), space.hi.numpy()
        else:
            assert space.radius is not None
            lo, hi = np.full(space.e, -space.radius), np.full(space.e, space.radius)
        if space.lifted:
            lo[-1] = 0.0
        return Program(difference / scale, offset / scale, lo, hi, space.radius), scale

    def _bound(
        self, program: Program, multipliers: Float64[np.ndarray, " k"] | None, rivals: Int[np.ndarray, " k"]
    ) -> tuple[tuple[Int[np.ndarray, " m"], Float64[np.ndarray, " m"]] | None, float]:
        """Hull weights from multipliers, and the bound that they give (whether the library converged or not)."""
        if multipliers is None or not np.isfinite(multipliers).all() or not multipliers.max(initial=0.0) > 0:
            return None, float("inf")
        weights = np.maximum(multipliers, 0)
        weights /= weights.sum()
        weights[weights < _SMALL_WEIGHT] = 0.0
        weights /= weights.sum()
        v = torch.from_numpy(weights @ program.difference)[None, :]
        kept = weights > 0
        return (rivals[kept], weights[kept]), float(self.space.support(v)) + float(weights @ program.offset)

    def _status(self, answer: Answer, lower: float, token: int, budget: Budget) -> Status:
        if answer.state == "failed":
            return Status.FAILED
        # Below the tolerance that the library worked to, a positive value says nothing.
        row = torch.tensor([token])
        size = float(self.space.rows(row).norm()) * (self.space.radius or float(self._box_radius()))
        if lower > 10 * max(budget.tolerance, self.trusted) * max(size, 1e-300):
            return Status.WITNESS
        return Status.LIMIT if answer.state == "limit" else Status.NO_WITNESS

    trusted: ClassVar[float] = 1e-10
    """The tightest tolerance that the library reaches."""

    def _box_radius(self) -> Tensor:
        assert self.space.lo is not None and self.space.hi is not None
        return torch.maximum(self.space.lo.abs(), self.space.hi.abs()).norm()
