"""What a run of a similar model leaves to begin with: where its tokens won, and what proved that others cannot.

A checkpoint's rows are those of the one before, moved a little. Its certificates are guesses here, and checked as
every guess is: nothing that an earlier run says is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int
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

    def rivals(self, rows: Int[np.ndarray, " n"]) -> Hulls:
        """Whom each row had to beat, with the weights that bounded its margin."""
        return Hulls.pack([self._several(row) for row in rows.tolist()])

    def without_rivals(self, rows: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Of which rows there is something else: a point where they won, or a proof that they cannot."""
        return np.array(
            [row in self.hulls or (row in self.stored and self._several(row) is None) for row in rows.tolist()],
            dtype=bool,
        )

    def attempts(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> Attempts:
        """Where rows won, or what their weights lead to among the rows of today; weights of unspeakable ones."""
        n = len(rows)
        unknown = torch.full((n,), torch.inf, dtype=torch.float64)
        return Attempts(
            rows=torch.from_numpy(rows),
            status=[Status.UNCHECKED] * n,
            points=self._points(problem, rows),
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

    def _points(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> Float32[Tensor, "n d"]:
        points = points_from_weights(problem, torch.from_numpy(rows), self.rivals(rows))
        for i in torch.nonzero(~torch.isfinite(points).all(dim=1)).flatten().tolist():
            point = self.stored.get(int(rows[i]))
            if point is not None and is_usable(point, problem.d):
                at = problem.domain.pulled_in(torch.from_numpy(point).double()[None])
                points[i] = at[0].to(torch.float32)
        return points
