"""Tokens with equal rows: they share one row of the problem that is scanned and verified."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from solvers.checks.equal_rows import equal_row_classes
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class Merged:
    """A problem with one row for each class of tokens whose rows and offsets are equal.

    Attributes:
        problem: one row per class; the whole problem where no rows are equal, or all of them.
        first_of: `(v,)` for every token the lowest id with an equal row: what argmax returns.
        token_of: `(m,)` for every row of `problem` its token.
        row_of: `(v,)` for every token its row of `problem`.
        size: `(v,)` for every token how many share its row.
    """

    problem: ArgmaxProblem
    first_of: Int[np.ndarray, " v"]
    token_of: Int[np.ndarray, " m"]
    row_of: Int[np.ndarray, " v"]
    size: Int[np.ndarray, " v"]

    @property
    def everything_equal(self) -> bool:
        """Whether there is only one class: nothing can win alone, and there is nothing to solve."""
        return len(self.token_of) < 2


def merge_equal_rows(problem: ArgmaxProblem) -> Merged:
    """Find the classes of equal rows, anew from the problem alone. Uses no solver."""
    first_of = equal_row_classes(problem).numpy()
    token_of = np.unique(first_of)
    row_of = np.searchsorted(token_of, first_of)
    size = np.bincount(first_of, minlength=problem.v)[first_of]
    merged = 1 < len(token_of) < problem.v
    return Merged(
        problem.restrict(torch.from_numpy(token_of)) if merged else problem, first_of, token_of, row_of, size
    )
