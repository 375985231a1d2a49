"""The form of a problem that searches work on: always feasible, always bounded.

On a ball and a box it is the problem itself. Where z = μ + L x, searches work on x, with rows A L and offsets c + Aμ.
On `Free` with c = 0 only the direction counts, so z is kept in the unit ball. On `Free` with offsets the rows are
lifted to (A[t], κ·c[t]) and the point to (z, ζ) with ζ ≥ 0 in the unit ball: dividing by κ·ζ gives a point of the
original problem, and a positive lifted margin means that one exists.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.domains.region import Region
from solvers.problem import ArgmaxProblem


class _Same:
    """No change of variables."""

    def __init__(self, problem: ArgmaxProblem) -> None:
        self.problem = problem
        self.offset: Float64[Tensor, " v"] = problem.offset - problem.offset.mean()
        self.row_norm: Float64[Tensor, " v"] = problem.row_norm
        self.region = problem.domain.region(problem.d)

    def rows32(self, device: torch.device | str) -> Float32[Tensor, "v e"]:
        return self.problem.working_rows(device)

    def rows(self, index: Int[Tensor, " n"]) -> Float64[Tensor, "n e"]:
        return self.problem.rows(index)

    def to_points(self, x: Float64[Tensor, "n e"]) -> Float64[Tensor, "n d"]:
        return x


class _Affine(_Same):
    """z = μ + L x."""

    def __init__(self, problem: ArgmaxProblem, mu: Float64[Tensor, " d"], factor: Float64[Tensor, "d d"]) -> None:
        super().__init__(problem)
        self.mu, self.factor = mu, factor
        self.row_norm = torch.empty(problem.v, dtype=torch.float64)
        offset = problem.offset.clone()
        for block in problem.blocks(8 * problem.d * 4):
            rows = problem.rows(block)
            offset[block] += rows @ mu
            self.row_norm[block] = (rows @ factor).norm(dim=1)
        self.offset = offset - offset.mean()

    def rows32(self, device: torch.device | str) -> Float32[Tensor, "v e"]:
        out = torch.empty((self.problem.v, self.problem.d), dtype=torch.float32, device=device)
        for block in self.problem.blocks(8 * self.problem.d * 4):
            out[block] = (self.problem.rows(block) @ self.factor).to(device, torch.float32)
        return out

    def rows(self, index: Int[Tensor, " n"]) -> Float64[Tensor, "n e"]:
        return self.problem.rows(index) @ self.factor

    def to_points(self, x: Float64[Tensor, "n e"]) -> Float64[Tensor, "n d"]:
        return self.mu + x @ self.factor.T


class _Lifted(_Same):
    """(z, ζ) with ζ ≥ 0, for offsets on an unbounded domain."""

    def __init__(self, problem: ArgmaxProblem) -> None:
        super().__init__(problem)
        self.kappa, offset = 1.0, self.offset
        if float(offset.max() - offset.min()) > 0:  # offsets that are all equal are no offsets
            self.kappa = float(problem.row_norm.median() / offset.abs().max()) or 1.0
        self.column = self.kappa * offset
        self.offset = torch.zeros_like(offset)
        self.row_norm = torch.hypot(problem.row_norm, self.column)
        upward = torch.full((problem.d + 1,), -torch.inf, dtype=torch.float64)
        upward[-1] = 0.0
        self.region = Region(problem.d + 1, 1.0, upward, torch.full_like(upward, torch.inf))

    def rows32(self, device: torch.device | str) -> Float32[Tensor, "v e"]:
        column = self.column.to(device, torch.float32)
        return torch.cat([self.problem.working_rows(device), column[:, None]], dim=1)

    def rows(self, index: Int[Tensor, " n"]) -> Float64[Tensor, "n e"]:
        return torch.cat([self.problem.rows(index), self.column[index][:, None]], dim=1)

    def to_points(self, x: Float64[Tensor, "n e"]) -> Float64[Tensor, "n d"]:
        """A ζ near 0 stands for a point far out in that direction."""
        zeta = torch.maximum(x[:, -1:], 1e-7 * x.norm(dim=1, keepdim=True)).clamp(min=1e-30)
        return x[:, :-1] / (self.kappa * zeta)


class SearchSpace:
    """Rows, offsets and a bounded region to search in.

    Attributes:
        region: the points x to search.
        rows32: `(v, e)` float32 rows on the device.
        offset: `(v,)` float64 offsets, less their mean (which no argmax depends on).
        row_norm: `(v,)` length of each row.
        square_norm32: `(v,)` its square, float32 on the device.
        margins: whether margins of the search space are those of the problem; in a lifted one only their signs are.
    """

    def __init__(self, problem: ArgmaxProblem, device: torch.device | str = "cpu") -> None:
        self.problem, self.device = problem, device
        affine = problem.domain.affine
        if not problem.margin_bounded:
            self._change: _Same = _Lifted(problem)
        else:
            self._change = _Same(problem) if affine is None else _Affine(problem, *affine)
        self.margins = problem.margin_bounded
        self.region: Region = self._change.region
        self.offset: Float64[Tensor, " v"] = self._change.offset
        self.row_norm: Float64[Tensor, " v"] = self._change.row_norm
        self.rows32: Float32[Tensor, "v e"] = self._change.rows32(device)
        self.offset32: Float32[Tensor, " v"] = self.offset.to(device, torch.float32)
        self.square_norm32: Float32[Tensor, " v"] = (self.row_norm**2).to(device, torch.float32)

    @property
    def e(self) -> int:
        """Number of coordinates searched over."""
        return self.region.e

    def rows(self, index: Int[Tensor, " n"]) -> Float64[Tensor, "n e"]:
        """Rows in float64."""
        return self._change.rows(index)

    def sample(self, n: int, generator: torch.Generator) -> Float32[Tensor, "n e"]:
        """Points of the region at random, on the device."""
        return self.region.sample(n, generator).to(self.device)

    def to_points(self, x: Float64[Tensor, "n e"]) -> Float64[Tensor, "n d"]:
        """Points of the original problem."""
        return self._change.to_points(x)
