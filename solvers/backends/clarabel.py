"""Column generation over Clarabel, an interior-point conic solver: one row at a time.

Prefer it to check a result of the batched methods, or for the few rows that they leave open.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float64
from scipy import sparse

from solvers import options
from solvers.backend import Budget, Capabilities
from solvers.backends.column_generation import OneByOne
from solvers.backends.program import Answer, Program
from solvers.backends.spanning import in_span

_MOST_NUMBERS = 2**24
"""Numbers in the rows of one program: Clarabel factors in some hundred bytes for each."""
_LIMITS = ("MaxTime", "MaxIterations")


class Clarabel(OneByOne):
    """max s  s.t.  D u + e ≥ s,  ‖u‖ ≤ 1,  lo ≤ u ≤ hi  as a second-order cone program over the rivals."""

    name = "clarabel"
    capabilities: ClassVar[Capabilities] = Capabilities(
        proves_negative=True, complete=True, note="a second opinion on any domain, row by row"
    )
    least = 1.0

    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Hand the program to Clarabel, in the span of its rows where that is small."""
        import clarabel

        k, ball = len(program.matrix), program.region.radius is not None
        faces, constants = program.region.faces()
        rows = torch.cat([torch.from_numpy(program.matrix), faces])
        smaller = in_span(rows[None]) if ball else None
        matrix = (rows if smaller is None else smaller[0][0]).numpy()
        if matrix.size > _MOST_NUMBERS:
            e = program.region.e
            return Answer("failed", note=f"{k} rivals in {e} dimensions take too much memory")
        e = matrix.shape[1]
        cones = [clarabel.NonnegativeConeT(len(matrix)), *([clarabel.SecondOrderConeT(e + 1)] if ball else [])]
        right = np.concatenate([program.right, constants.numpy(), np.append(1.0, np.zeros(e)) if ball else []])
        goal = np.append(np.zeros(e), -1.0)
        posed = sparse.csc_matrix((e + 1, e + 1)), goal, _constraints(matrix, k, ball=ball), right, cones
        result = clarabel.DefaultSolver(*posed, self._settings(budget)).solve()
        u, status = np.array(result.x)[:e], str(result.status)
        return Answer(
            "limit" if status in _LIMITS else "optimal",
            u if smaller is None else smaller[1][0].numpy() @ u,
            np.array(result.z)[:k],
            int(result.iterations),
            status,
        )

    def _settings(self, budget: Budget) -> Any:
        import clarabel

        settings = clarabel.DefaultSettings()
        self.effective_options = options.set_and_read_back(
            self.name, budget, partial(setattr, settings), partial(getattr, settings)
        )
        return settings

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"clarabel {version('clarabel')}"


def _constraints(rows: Float64[np.ndarray, "m e"], k: int, *, ball: bool) -> sparse.csc_matrix:
    """Left-hand side of the cone program in (u, s): s − D u ≤ e, −F u ≤ f for faces, and (1, u) in the cone.

    Put together column by column: dense, it would be there several times over.
    """
    m, e = rows.shape
    extra = 1 if ball else 0
    numbers = np.empty((e, m + extra))
    numbers[:, :m] = -rows.T
    places = np.empty((e, m + extra), dtype=np.int32)
    places[:, :m] = np.arange(m)
    if ball:
        numbers[:, m] = -1.0
        places[:, m] = m + 1 + np.arange(e)
    starts = np.append(np.arange(e + 1) * (m + extra), e * (m + extra) + k)
    found = sparse.csc_matrix(
        (
            np.concatenate([numbers.ravel(), np.ones(k)]),
            np.concatenate([places.ravel(), np.arange(k, dtype=np.int32)]),
            starts,
        ),
        shape=(m + extra * (1 + e), e + 1),
    )
    found.eliminate_zeros()
    return found
