"""Column generation over Clarabel, an interior-point conic solver: one row at a time, on balls.

Prefer it to check a result of the batched methods, or for the few rows that they leave open.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float64, Int
from scipy import sparse
from torch import Tensor

from solvers import options
from solvers.backend import Budget, Capabilities
from solvers.backends.column_generation import ColumnGeneration, RestrictedResult
from solvers.backends.spanning import in_span
from solvers.domains import Ball, Free

_MOST_NUMBERS = 2**24
"""Numbers in the rows of one program: Clarabel factors in some hundred bytes for each."""


class Clarabel(ColumnGeneration):
    """max s  s.t.  D z + e ≥ s,  ‖z‖ ≤ R  as a second-order cone program over the rivals."""

    name = "clarabel"
    capabilities: ClassVar[Capabilities] = Capabilities(
        domains=(Free, Ball), proves_negative=True, complete=True, note="a second opinion on balls, row by row"
    )

    def size_of_batch(self, rivals: int) -> int:  # noqa: ARG002
        """One row a call."""
        return 1

    def restricted(
        self,
        tokens: Int[Tensor, " b"],
        rivals: Int[Tensor, "b k"],
        upper: Float64[Tensor, " b"],  # noqa: ARG002
        budget: Budget,
    ) -> RestrictedResult:
        """Solve one token against its rivals."""
        import clarabel

        space = self.space
        assert space.radius is not None
        present = rivals[0][rivals[0] >= 0]
        difference = (space.rows(tokens) - space.rows(present)).numpy() * space.radius
        offset = (space.offset[tokens] - space.offset[present]).numpy()
        scale = max(float(np.abs(difference).max(initial=0.0)), float(np.abs(offset).max(initial=0.0)), 1e-300)
        difference, offset = difference / scale, offset / scale
        k = len(difference)
        rows = difference
        if space.lifted:
            rows = np.vstack([difference, np.eye(1, space.e, space.e - 1)])  # ζ ≥ 0
        smaller = in_span(torch.from_numpy(rows)[None])
        basis = None if smaller is None else smaller[1][0].numpy()
        rows = rows if smaller is None else smaller[0][0].numpy()
        if rows.size > _MOST_NUMBERS:
            return failed(
                tokens, rivals, space.e, f"clarabel: {k} rivals in {space.e} dimensions take too much memory"
            )
        e = rows.shape[1]
        cones = [clarabel.NonnegativeConeT(len(rows)), clarabel.SecondOrderConeT(e + 1)]
        goal = np.zeros(e + 1)
        goal[e] = -1.0
        right = np.concatenate([offset, np.zeros(len(rows) - k), [1.0], np.zeros(e)])
        program = sparse.csc_matrix((e + 1, e + 1)), goal, _constraints(rows, k), right, cones
        result = clarabel.DefaultSolver(*program, self._settings(budget)).solve()
        z, weights = np.array(result.x)[:e], np.maximum(np.array(result.z)[:k], 0)
        z = z if basis is None else basis @ z
        return self._result(tokens, rivals, result, z, weights, difference, offset, scale)

    def _settings(self, budget: Budget) -> Any:
        import clarabel

        settings = clarabel.DefaultSettings()
        self.effective_options = options.set_and_read_back(
            self.name, budget, partial(setattr, settings), partial(getattr, settings)
        )
        return settings

    def _result(
        self,
        tokens: Int[Tensor, " one"],
        rivals: Int[Tensor, "one k"],
        result: Any,
        z: Float64[np.ndarray, " e"],
        weights: Float64[np.ndarray, " k"],
        difference: Float64[np.ndarray, "k e"],
        offset: Float64[np.ndarray, " k"],
        scale: float,
    ) -> RestrictedResult:
        radius = self.space.radius
        assert radius is not None
        limit = str(result.status) in {"MaxTime", "MaxIterations"}
        if not (np.isfinite(z).all() and np.isfinite(weights).all() and weights.sum() > 0):
            nothing = failed(tokens, rivals, self.space.e, f"clarabel: {result.status}")
            nothing.limit = limit
            return nothing
        z = z / max(1.0, float(np.linalg.norm(z)))
        if self.space.lifted:
            z[-1] = max(z[-1], 0.0)
        weights = weights / weights.sum()
        v = torch.from_numpy(weights @ difference)[None, :] / radius
        upper = (float(self.space.support(v)) + float(weights @ offset)) * scale
        spread = torch.zeros(rivals.shape, dtype=torch.float64)
        spread[0, rivals[0] >= 0] = torch.from_numpy(weights)
        return RestrictedResult(
            torch.from_numpy(z * radius)[None, :],
            torch.tensor([float((difference @ z + offset).min()) * scale], dtype=torch.float64),
            torch.tensor([upper], dtype=torch.float64),
            spread,
            int(result.iterations),
            limit=limit,
        )

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"clarabel {version('clarabel')}"


def _constraints(rows: Float64[np.ndarray, "m e"], k: int) -> sparse.csc_matrix:
    """Left-hand side of the cone program in (z, s): s − D z ≤ e, −ζ ≤ 0 in lifted spaces, and (1, z) in the cone.

    Put together column by column: dense, it would be there several times over.
    """
    m, e = rows.shape
    numbers = np.empty((e, m + 1))
    numbers[:, :m] = -rows.T
    numbers[:, m] = -1.0
    places = np.empty((e, m + 1), dtype=np.int32)
    places[:, :m] = np.arange(m)
    places[:, m] = m + 1 + np.arange(e)
    starts = np.append(np.arange(e + 1) * (m + 1), e * (m + 1) + k)
    found = sparse.csc_matrix(
        (
            np.concatenate([numbers.ravel(), np.ones(k)]),
            np.concatenate([places.ravel(), np.arange(k, dtype=np.int32)]),
            starts,
        ),
        shape=(m + 1 + e, e + 1),
    )
    found.eliminate_zeros()
    return found


def failed(tokens: Int[Tensor, " b"], rivals: Int[Tensor, "b k"], e: int, note: str) -> RestrictedResult:
    """The result of a restricted solver that came to nothing."""
    b = len(tokens)
    nan = torch.full((b,), torch.nan, dtype=torch.float64)
    return RestrictedResult(
        torch.full((b, e), torch.nan, dtype=torch.float64),
        nan,
        nan.nan_to_num(nan=torch.inf),
        torch.full(rivals.shape, torch.nan, dtype=torch.float64),
        0,
        note,
    )
