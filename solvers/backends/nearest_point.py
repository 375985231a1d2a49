"""The nearest point of a polytope by an active set (Wolfe 1976), one row at a time.

With c = 0 the margin of row t is R × the distance from 0 to the hull of {A[t] − A[j]}. Wolfe's method keeps a
*corral*: affinely independent points of the hull whose nearest point lies inside their own. One product over the
vocabulary names the point that lies farthest back along the current nearest point; it joins the corral, and points
that end up with a weight ≤ 0 leave it. Every iterate is a bound from above, and every product one from below.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float64, Int
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import ROUND, Budget, Capabilities
from solvers.backends.searching import Searching
from solvers.parallel import map_single_threaded

_CANDIDATES = 16
"""Rows that a float32 product proposes, to be told apart in float64."""
_SURE = 1e-5
"""A margin above this share of the row's scale is no rounding: the row wins."""


@dataclass
class _Outcome:
    status: Status
    x: Float64[Tensor, " d"]
    lower: float
    upper: float
    rows: Int[np.ndarray, " k"]
    weights: Float64[np.ndarray, " k"]
    cycles: int
    note: str = ""


class NearestPoint(Searching):
    """Wolfe's method with column generation, for c = 0.

    Its weights sit on affinely independent rows (at most d+1), as an exact proof needs. Prefer it for rows inside the
    hull of a head without offsets, in dimensions up to a few hundred; prefer `batched-barrier` for many rows at once
    or with offsets.
    """

    name = "nearest-point"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=ROUND,
        offsets=False,
        proves_negative=True,
        complete=True,
        note="rows inside the hull of a head without offsets: weights on at most d+1 rows",
    )

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """One nearest-point problem per row."""
        started = time.perf_counter()
        self.effective_options = dict(options.values(self.name, budget))
        rows = rows.cpu()
        n, d = len(rows), self.problem.d

        def one(token: int) -> _Outcome:
            outcome = self._nearest(token, budget, started)
            budget.progress(self.name, 1)
            return outcome

        radius = self.space.region.size
        found = map_single_threaded(one, rows.tolist(), self.jobs)
        points = torch.full((n, d), torch.nan, dtype=torch.float64)
        for i, outcome in enumerate(found):
            length = float(outcome.x.norm())
            if length > 0:
                points[i] = outcome.x * (radius / length)
        return Attempts(
            rows=rows,
            status=[outcome.status for outcome in found],
            points=points,
            hulls=Hulls.pack([(outcome.rows, outcome.weights) if len(outcome.rows) else None for outcome in found]),
            lower=torch.tensor([outcome.lower * radius for outcome in found], dtype=torch.float64),
            upper=torch.tensor([outcome.upper * radius for outcome in found], dtype=torch.float64),
            work={"cycles": float(sum(outcome.cycles for outcome in found))},
            seconds=time.perf_counter() - started,
            note="; ".join(dict.fromkeys(outcome.note for outcome in found if outcome.note)),
        )

    def _nearest(self, token: int, budget: Budget, started: float) -> _Outcome:
        """Wolfe's major cycles for one row. Lengths are those of rows of A; x is the nearest point so far."""
        tolerance = options.number(self.name, "tolerance", budget)
        own = self.space.rows(torch.tensor([token]))[0]
        corral = _Corral()
        corral.add(*self._closest(token, own))
        # ‖A[t]−A[j]‖ is at most this, so every length below is judged against it.
        size = max(float(own.norm()) + float(self.space.row_norm.max()), 1e-300)
        best_lower, best_x = -float("inf"), corral.x
        last = float("inf")
        cycles = int(options.number(self.name, "cycles", budget))
        for cycle in range(1, cycles + 1):
            x = corral.x
            length = float(np.linalg.norm(x))
            if length <= tolerance * size:
                return corral.outcome(Status.NO_WITNESS, best_lower, best_x, cycle)
            index, behind = self._behind(token, own, x)
            lower = float(behind.min()) / length
            if lower > best_lower:
                best_lower, best_x = lower, x
            gap = length - best_lower
            if best_lower > _SURE * size and (
                budget.margin_gap is None or gap <= max(budget.margin_gap * length, tolerance * size)
            ):
                return corral.outcome(Status.WITNESS, best_lower, best_x, cycle)
            j = int(index[int(behind.argmin())])
            # No point lies behind the face, or rounding stops the descent: this is the nearest point.
            if gap <= tolerance * size or j in corral.rows or not length < last:
                return self._at_rest(corral, best_lower, best_x, length, tolerance * size, cycle)
            if time.perf_counter() - started > budget.seconds:
                return corral.outcome(Status.LIMIT, best_lower, best_x, cycle)
            last = length
            corral.add(j, (own - self.space.rows(torch.tensor([j]))[0]).numpy())
            corral.shrink()
        return corral.outcome(Status.LIMIT, best_lower, best_x, cycles)

    def _at_rest(
        self, corral: _Corral, lower: float, x: Float64[np.ndarray, " d"], length: float, tiny: float, cycle: int
    ) -> _Outcome:
        if lower > tiny:
            return corral.outcome(Status.WITNESS, lower, x, cycle)
        # The weights are then as good as float64 makes them; they may still hold an exact proof.
        if length <= 1e3 * tiny:
            return corral.outcome(Status.NO_WITNESS, lower, x, cycle)
        return corral.outcome(Status.FAILED, lower, x, cycle, "nearest-point: rounding stopped the descent")

    def _closest(self, token: int, own: Float64[Tensor, " d"]) -> tuple[int, Float64[np.ndarray, " d"]]:
        space = self.space
        squares = space.square_norm32 - 2 * (space.rows32 @ own.to(torch.float32))
        squares[token] = torch.inf
        j = int(squares.argmin())
        return j, (own - space.rows(torch.tensor([j]))[0]).numpy()

    def _behind(
        self, token: int, own: Float64[Tensor, " d"], x: Float64[np.ndarray, " d"]
    ) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        """The rows with the smallest (A[t]−A[j])·x, and these products in float64."""
        space = self.space
        at = torch.from_numpy(x)
        scores = space.rows32 @ (at / at.norm()).to(torch.float32)
        scores[token] = -torch.inf
        index = scores.topk(min(_CANDIDATES, self.problem.v - 1)).indices
        return index.numpy(), ((own - space.rows(index)) @ at).numpy()


class _Corral:
    """Points of the hull with convex weights."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.points: Float64[np.ndarray, "k d"] = np.zeros((0, 0))
        self.weights: Float64[np.ndarray, " k"] = np.zeros(0)

    @property
    def x(self) -> Float64[np.ndarray, " d"]:
        """The point that the weights give."""
        return self.weights @ self.points

    def add(self, row: int, point: Float64[np.ndarray, " d"]) -> None:
        """A further point, with weight 0 unless it is the first."""
        self.rows.append(row)
        self.points = point[None, :] if not len(self.points) else np.vstack([self.points, point])
        self.weights = np.append(self.weights, 0.0 if len(self.weights) else 1.0)

    def shrink(self) -> None:
        """Wolfe's minor cycles: go to the nearest point of the affine hull, dropping points on the way."""
        while len(self.rows) > 1:
            target = _affine_weights(self.points)
            if (target > 1e-14).all():
                self.weights = target
                return
            falling = target <= 1e-14
            room = self.weights[falling] / np.maximum(self.weights[falling] - target[falling], 1e-300)
            share = min(1.0, float(room.min()))
            moved = (1 - share) * self.weights + share * target
            drop = falling & (moved <= 1e-14)
            if not drop.any():  # rounding: drop the one that was to reach 0
                drop[np.nonzero(falling)[0][int(room.argmin())]] = True
            keep = ~drop
            self.rows = [row for row, kept in zip(self.rows, keep, strict=True) if kept]
            self.points, self.weights = self.points[keep], np.maximum(moved[keep], 0)
            self.weights /= self.weights.sum()

    def outcome(
        self, status: Status, lower: float, x: Float64[np.ndarray, " d"], cycles: int, note: str = ""
    ) -> _Outcome:
        """What the row's search ends with."""
        return _Outcome(
            status,
            torch.from_numpy(x),
            lower,
            float(np.linalg.norm(self.x)),
            np.array(self.rows, dtype=np.int64),
            self.weights / self.weights.sum(),
            cycles,
            note,
        )


def _affine_weights(points: Float64[np.ndarray, "k d"]) -> Float64[np.ndarray, " k"]:
    """Weights that add up to 1 and give the point of the affine hull that is nearest to 0.

    Wolfe's system (P Pᵀ + s²·11ᵀ) u = 1 with weights u/Σu, s the size of the points, by a Cholesky factor and one
    step of refinement; by least squares on (P, s·1) where the points are dependent up to rounding.
    """
    size = float(np.abs(points).max(initial=0.0)) or 1.0
    bordered = np.hstack([points / size, np.ones((len(points), 1))])
    ones = np.ones(len(points))
    matrix = bordered @ bordered.T
    try:
        factor = cho_factor(matrix, check_finite=False)
        solution = cho_solve(factor, ones, check_finite=False)
        solution += cho_solve(factor, ones - bordered @ (bordered.T @ solution), check_finite=False)
        total = float(solution.sum())
        if np.isfinite(solution).all() and abs(total) > 1e-8 * float(np.abs(solution).sum()):
            weights: Float64[np.ndarray, " k"] = solution / total
            return weights
    except np.linalg.LinAlgError:
        pass
    # Minimise ‖p₀ + Σ y_i (p_i − p₀)‖.
    y = np.linalg.lstsq((points[1:] - points[0]).T, -points[0], rcond=None)[0]
    return np.concatenate([[1 - y.sum()], y])
