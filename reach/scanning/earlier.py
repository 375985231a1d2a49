"""What a run of a similar model leaves to begin with: where its tokens won, and what proved that others cannot.

A checkpoint's rows are those of the one before, moved a little. Its certificates are guesses here, and checked as
every guess is: nothing that an earlier run says is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from reach.equal_rows import Merged
from reach.runs.domain_words import domain_words
from reach.verdicts import Verdicts
from reach.witnesses import WeightPair, by_row, is_usable
from solvers.attempt import Attempts, Hulls, Status
from solvers.problem import ArgmaxProblem
from solvers.recipes import points_from_weights


@dataclass(frozen=True)
class Earlier:
    """The certificates of an earlier run, by row of a problem.

    Attributes:
        stored: points where rows won.
        bounds: what bounded their margins: rows and hull weights.
        hulls: the hull weights of rows that were unspeakable.
    """

    stored: Mapping[int, np.ndarray]
    bounds: Mapping[int, WeightPair]
    hulls: Mapping[int, WeightPair]

    @classmethod
    def of(cls, run: Verdicts, merged: Merged) -> Earlier:
        """The certificates of a run, token by token of the same id; none where the run does not fit the problem."""
        problem, manifest = merged.problem, run.manifest
        if len(run) != len(merged.row_of) or manifest.d != problem.d:
            return cls({}, {}, {})
        if domain_words(manifest.record()) != problem.domain.describe():
            return cls({}, {}, {})
        bounds = by_row(merged, run.tables.witnesses, run.bounds.by_token())
        return cls(bounds.stored, bounds.weights, by_row(merged, {}, run.hull.by_token()).weights)

    def starts(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> Float32[Tensor, "n d"]:
        """Where each row led by most, or won: what its weights lead to among the rows of today; NaN for neither."""
        pairs = [self._several(row) for row in rows.tolist()]
        points = points_from_weights(problem, torch.from_numpy(rows), Hulls.pack(pairs))
        return self._filled(points, problem, rows)

    def attempts(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> Attempts:
        """The same as attempts, with the weights of rows that were unspeakable."""
        n = len(rows)
        unknown = torch.full((n,), torch.inf, dtype=torch.float64)
        return Attempts(
            rows=torch.from_numpy(rows),
            status=[Status.UNCHECKED] * n,
            points=self.starts(problem, rows),
            hulls=Hulls.pack([self._fitting(row) for row in rows.tolist()]),
            lower=-unknown,
            upper=unknown,
        )

    def _several(self, row: int) -> WeightPair | None:
        """Weights over more than one rival: those over one point along a difference of two rows, which is little."""
        pair = self.bounds.get(row) or self.hulls.get(row)
        return None if pair is None or len(pair[0]) < 2 or row in pair[0] else pair

    def _fitting(self, row: int) -> WeightPair | None:
        """The weights of a row that was unspeakable; rows that are equal today may have come among its own."""
        pair = self.hulls.get(row)
        return None if pair is None or row in pair[0] or len(np.unique(pair[0])) < len(pair[0]) else pair

    def _filled(
        self, points: Float32[Tensor, "n d"], problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]
    ) -> Float32[Tensor, "n d"]:
        for i in torch.nonzero(~torch.isfinite(points).all(dim=1)).flatten().tolist():
            point = self.stored.get(int(rows[i]))
            if point is not None and is_usable(point, problem.d):
                at = problem.domain.pulled_in(torch.from_numpy(point).double()[None])
                points[i] = at[0].to(torch.float32)
        return points
