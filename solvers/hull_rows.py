"""Rows in coordinates that tell whether one lies in the hull of others: no coordinate more than that needs."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from solvers.problem import ArgmaxProblem
from solvers.rounding import UNIT_FLOAT64, row_lengths

_BLOCK_BYTES = 8 * 2**20
"""Rows made anew in every pass stay in cache at this size; at eight times it such a pass takes thrice as long."""


class HullRows:
    """The rows of a problem, less a common origin, in coordinates in which they can span every dimension.

    Σw_j(a_j − a_t) = 0 in these coordinates, for any weights, implies the same for the rows of A. Left out are
    columns that are the same in every row, and the last one of centred rows, which the others determine. Where the
    rows had to be computed from others (a projection folded in), those take their place if they are no longer: they
    are exact, and A depends on them linearly.

    Args:
        problem: whose rows.

    Attributes:
        e: number of coordinates.
    """

    def __init__(self, problem: ArgmaxProblem) -> None:
        self.problem = problem
        source = problem.source if problem.weight_error is not None else None
        self.stored = source is not None and source.shape[1] <= problem.d
        self._matrix = source if self.stored and source is not None else problem.weight
        self._keep = self._varies()
        whole = bool(self._keep.all())
        self._centred = problem.centred and not self.stored and whole
        if self._centred:
            self._keep[-1] = False
        self.e = int(self._keep.sum())
        self._all = self.e == len(self._keep)
        self._origin = torch.zeros(self.e, dtype=torch.float64)
        self._origin = sum((self.rows(block).sum(dim=0) for block in self.blocks()), self._origin) / problem.v

    def _varies(self) -> Bool[Tensor, " k"]:
        low, high = self._matrix.amin(dim=0), self._matrix.amax(dim=0)
        varies = low != high
        if self.problem.scale is not None and not self.stored:
            varies &= self.problem.scale != 0
        return varies

    def blocks(self, limit: int = _BLOCK_BYTES) -> list[slice]:
        """Slices over all rows whose float64 numbers take at most `limit` bytes each."""
        return list(self.problem.blocks(8 * max(1, self._matrix.shape[1]), limit))

    def rows(self, index: Int[Tensor, " n"] | slice, dtype: torch.dtype = torch.float64) -> Float[Tensor, "n e"]:
        """The rows with these numbers; in float64 exact but for what `error` bounds, in float32 for searches."""
        if self._centred:
            rows = self.problem.rows(index).to(dtype)
        else:
            rows = self._matrix[index].to(dtype, copy=True)
            if self.problem.scale is not None and not self.stored:
                rows *= self.problem.scale.to(dtype)
        return (rows if self._all else rows[:, self._keep]).sub_(self._origin.to(dtype))

    def error(self, index: Int[Tensor, " n"] | slice, rows: Float64[Tensor, "n e"]) -> Float64[Tensor, " n"]:
        """Bound on the distance between `rows(index)`, which is given, and the exact rows less the same origin."""
        rounded = 4 * UNIT_FLOAT64 * row_lengths(rows)  # the subtraction of the origin
        return rounded if self.stored else rounded + self.problem.row_error[index]

    def points(self, direction: Float64[Tensor, "n e"]) -> Float64[Tensor, "n d"] | None:
        """z with A[j]·z = (row j)·direction + a constant; none where the rows are stored ones that A was made of."""
        if self.stored:
            return None
        points = torch.zeros((len(direction), self.problem.d), dtype=torch.float64)
        points[:, self._keep] = direction
        if self.problem.centred and not self._centred:
            rest = ~self._keep
            points[:, rest] = -(direction.sum(dim=1) / rest.sum())[:, None].expand(-1, int(rest.sum()))
        return points


def spread_rows(v: int, e: int, times: int = 2) -> Int[Tensor, " n"]:
    """Numbers of rows that may be a spread set of `e` coordinates: a random `times`·(e+1), or all."""
    n = min(v, times * (e + 1) + 64)
    return torch.from_numpy(np.sort(np.random.default_rng(0).choice(v, n, replace=False)))
