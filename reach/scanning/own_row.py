"""The first stage: every row at the farthest multiple of itself, where each product of two rows may serve both."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import BackendStage, Progress, note_reasons
from solvers.checks.own_products import OwnProducts
from solvers.checks.own_rows import OwnRows
from solvers.problem import ArgmaxProblem
from solvers.recipes import own_row_scales

_SHARED_WORK = 2e9
"""Multiplications of a pass over own rows below which it is not worth the start of compiled code to halve them."""


class OwnRowStage(BackendStage):
    """Every row at the farthest multiple of itself.

    Where at least half of the rows are asked for, each product serves both of its rows.

    Args:
        settings: of the scan.
    """

    def __init__(self, settings: ScanSettings) -> None:
        super().__init__("own-row", settings, recipe="own-row", own_row=True)

    def products(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> OwnProducts | None:
        """The products that the rows share, if they are to share them."""
        n = len(rows)
        worth_it = 2 * n >= problem.v and float(n) * problem.v * problem.d >= _SHARED_WORK
        if not (worth_it and self.settings.device == "cpu" and OwnRows.possible(problem)):
            return None
        return OwnProducts(problem, own_row_scales(problem, self.settings.jobs))

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Place the points, then judge."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        judge.witnesses(attempts, number, self.recipe, own_row=True, own_rows=self.own_rows)
        note_reasons(judge.state, attempts, self.name)
