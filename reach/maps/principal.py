"""Principal components of the rows of a head, in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reach.progress import Progress, silent
from solvers.problem import ArgmaxProblem

_EXACT_D = 2048
"""Columns up to which the covariance itself is diagonalised: 32 MiB, a few seconds."""
_SPARE, _ROUNDS = 10, 7
_BLOCK_BYTES = 64 * 2**20
_EPS = float(torch.finfo(torch.float64).eps)
_WHAT = "map"


@dataclass(frozen=True)
class Principal:
    """The rows along their axes of largest variance.

    Attributes:
        coordinates: `(v, k)` float32, centred, in units of the longest row; 0 along axes without any variance.
        shares: `(k,)` of the whole variance along each axis; 0 where all rows are equal.
    """

    coordinates: Float[np.ndarray, "v k"]
    shares: Float64[np.ndarray, " k"]


def principal(problem: ArgmaxProblem, most: int = 50, *, progress: Progress = silent) -> Principal:
    """The first axes of the rows of A about their mean, and where the rows lie along them.

    Up to 2,048 columns from the eigenvectors of the covariance matrix; beyond, from a random subspace that is
    multiplied with it a few times (Halko, Martinsson and Tropp 2011, section 4.5), from a fixed seed. The largest
    entry of each axis is positive, so the same rows give the same map.

    Args:
        problem: with a row per token.
        most: axes; fewer where the rows have fewer columns, or there are fewer rows.
        progress: told how many rows have been multiplied.
    """
    return _Rows(problem, progress).principal(min(most, problem.d, problem.v))


class _Rows:
    """The rows, each divided by the length of the longest: none of their products can be too large or too small."""

    def __init__(self, problem: ArgmaxProblem, progress: Progress) -> None:
        self.problem, self.progress, self.done = problem, progress, 0
        longest = float(problem.row_norm.max())
        self.unit = longest if longest > 0 else 1.0
        # Over all rows: for the mean, for the axes and for the places along them.
        self.total = problem.v * (3 if problem.d <= _EXACT_D else _ROUNDS + 3)
        self.mean = torch.zeros(problem.d, dtype=torch.float64)
        self.mean = sum((rows.sum(dim=0) for _, rows in self._blocks()), self.mean) / problem.v

    def _blocks(self) -> Iterator[tuple[slice, Float64[Tensor, "b d"]]]:
        """All rows about their mean."""
        for block in self.problem.blocks(8 * self.problem.d * 3, _BLOCK_BYTES):
            yield block, self.problem.rows(block) / self.unit - self.mean
            self.done += block.stop - block.start
            self.progress(_WHAT, self.done, self.total)

    def principal(self, count: int) -> Principal:
        v, d = self.problem.v, self.problem.d
        whole, values, axes = self._exact(count) if d <= _EXACT_D else self._random(count)
        largest = axes.abs().argmax(dim=0)
        axes = axes * torch.where(axes[largest, torch.arange(count)] < 0, -1.0, 1.0).to(axes.dtype)
        # What rounding alone can make of rows that do not differ along an axis.
        noise = _EPS * d * float(values[0]) + 64 * d * _EPS**2
        real = values > noise
        axes, values = axes * real, values.clamp_min(0) * real
        coordinates = np.empty((v, count), dtype=np.float32)
        for block, rows in self._blocks():
            coordinates[block] = (rows @ axes).numpy()
        shares = (values / whole).numpy() if whole > 0 and bool(real.any()) else np.zeros(count)
        return Principal(coordinates, shares)

    def _exact(self, count: int) -> tuple[float, Float64[Tensor, " k"], Float64[Tensor, "d k"]]:
        """The whole variance, the largest eigenvalues of the covariance matrix, and their vectors as columns."""
        covariance = torch.zeros((self.problem.d, self.problem.d), dtype=torch.float64)
        for _, rows in self._blocks():
            covariance.addmm_(rows.T, rows)
        covariance /= self.problem.v
        values, vectors = torch.linalg.eigh(covariance)
        return float(covariance.trace()), values.flip(0)[:count], vectors.flip(1)[:, :count]

    def _random(self, count: int) -> tuple[float, Float64[Tensor, " k"], Float64[Tensor, "d k"]]:
        """The same of the covariance matrix without forming it; products in float32."""
        d = self.problem.d
        width = min(d, count + _SPARE)
        basis = torch.randn((d, width), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        basis = torch.linalg.qr(basis).Q
        for _ in range(_ROUNDS):
            product, narrow = torch.zeros((d, width), dtype=torch.float64), basis.to(torch.float32)
            for _, rows in self._blocks():
                half = rows.to(torch.float32)
                product += half.T @ (half @ narrow)
            basis = torch.linalg.qr(product).Q
        small, whole = torch.zeros((width, width), dtype=torch.float64), 0.0
        for _, rows in self._blocks():
            inside = rows @ basis
            small += inside.T @ inside
            whole += float(rows.square().sum())
        values, vectors = torch.linalg.eigh(small / self.problem.v)
        return whole / self.problem.v, values.flip(0)[:count], (basis @ vectors.flip(1))[:, :count]
