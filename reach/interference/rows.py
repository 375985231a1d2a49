"""Rows made ready for measuring: as they are or less their mean, scaled to length 1, zero rows set aside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

_ZERO = 1e-12
"""A row this short, relative to the longest stored row, is nothing but rounding."""


@dataclass(frozen=True)
class UnitRows:
    """Directions of rows.

    Attributes:
        unit: `(n, d)` rows of length 1.
        norm: `(n,)` their lengths before.
        kept: `(n,)` their places among all rows; the others were zero.
        v: number of all rows.
        gram: `(d, d)` Σ w wᵀ over the rows before scaling.
        unit_gram: `(d, d)` Σ ŵ ŵᵀ.
    """

    unit: Float32[Tensor, "n d"]
    norm: Float64[np.ndarray, " n"]
    kept: Int[np.ndarray, " n"]
    v: int
    gram: Float64[Tensor, "d d"]
    unit_gram: Float64[Tensor, "d d"]

    @property
    def zero(self) -> Int[np.ndarray, " z"]:
        """Places of the rows that were set aside."""
        return np.setdiff1d(np.arange(self.v), self.kept, assume_unique=True)


def unit_rows(rows: ArgmaxProblem, *, centred: bool = False, allow_zero: bool = False) -> UnitRows:
    """Directions of the rows of A, made in blocks: beside the result, memory does not grow with V.

    Args:
        rows: any matrix, as an argmax problem (which has checked that it is finite).
        centred: subtract the mean of all rows first.
        allow_zero: set zero rows aside instead of refusing them.

    Raises:
        BadInput: d is 1; a row is zero (without `allow_zero`); fewer than two rows are not zero.
    """
    if rows.d < 2:
        raise BadInput("d = 1: all rows are parallel or opposite and every |cos| is 1; there is nothing to measure")
    longest = float(rows.row_norm.max())
    unit = torch.empty((rows.v, rows.d), dtype=torch.float32)
    norm = np.empty(rows.v)
    gram = torch.zeros((rows.d, rows.d), dtype=torch.float64)
    unit_gram = torch.zeros_like(gram)
    kept: list[np.ndarray] = []
    count = 0
    for block in rows.blocks(8 * rows.d * 6):
        part = rows.rows(block)
        if centred:
            part = part - rows.mean_row
        length = part.norm(dim=1)
        alive = length > _ZERO * longest
        part, length = part[alive], length[alive]
        gram += part.T @ part
        part = part / length[:, None]
        unit_gram += part.T @ part
        unit[count : count + len(part)] = part.to(torch.float32)
        norm[count : count + len(part)] = length.numpy()
        kept.append(np.nonzero(alive.numpy())[0] + block.start)
        count += len(part)
    places = np.concatenate(kept)
    zero = rows.v - count
    if zero and not allow_zero:
        missing = np.setdiff1d(np.arange(rows.v), places)
        shown = ", ".join(map(str, missing[:8])) + (f" and {zero - 8} more" if zero > 8 else "")
        what = "equal the mean row" if centred else "are zero"
        raise BadInput(f"rows {shown} {what} and have no direction: leave them out, or allow them to be set aside")
    if count < 2:
        what = "all rows are equal" if centred else "all rows but one are zero"
        raise BadInput(f"{what}: fewer than two directions are left, so there is no pair to measure")
    return UnitRows(unit[:count], norm[:count], places, rows.v, gram, unit_gram)
