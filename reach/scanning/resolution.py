"""The stages that tighten margins near a step of a number format."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int

from reach.nearly_never import FORMATS, largest_steps, unresolved
from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import BackendStage, Progress
from reach.scanning.state import SPEAKABLE, ScanState
from reach.witnesses import logits_at_witnesses
from solvers.backend import Budget
from solvers.problem import ArgmaxProblem

_RESOLUTION_GAP, CLOSE_GAP = 0.5, 0.01
"""Relative gaps at which a margin is compared with a step (steps come in powers of 2), and where that did not do."""
_RESOLUTION_WORK, _RESOLUTION_SHARE = 4e9, 0.1
"""Multiplications that margins near a float32 step may cost: so many, or this share of the pass over own rows."""
_ROUNDS, _NEWTON, _MOST_RIVALS = 4, 80, 2048
"""A row takes about so many products with all rows, and so many steps with as many rivals as dimensions."""
_COARSE_ROWS, _COARSE_SHARE = 8, 1 / 50
"""Margins near a step of the coarser formats that are looked at: so many, or this share of the rows searched."""


class ResolutionStage(BackendStage):
    """Tighten the margins of a few speakable rows that may win by less than a step of a number format.

    Ordinary heads have hardly any near a step of float32, and more near the steps of coarser formats than could be
    looked at for nothing. How many are looked at depends on sizes and counts alone: no result hangs on a clock.

    Args:
        name: of the stage.
        backend: what tightens them.
        problem, settings: of the scan.
        block_share: as for every stage.
        searches_from: number of the first stage that searches row by row.
        follows: number of an earlier stage of this kind: only what that one has tried is looked at again.
        gap: relative gap that is asked for.
    """

    def __init__(
        self,
        name: str,
        backend: str,
        problem: ArgmaxProblem,
        settings: ScanSettings,
        *,
        block_share: float,
        searches_from: int,
        follows: int = -1,
        gap: float = _RESOLUTION_GAP,
    ) -> None:
        super().__init__(backend, settings, block_share=block_share)
        self.name = name
        self._of, self._searches_from, self._follows, self._gap = problem, searches_from, follows, gap

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Speakable rows whose bounds leave open whether their margin is below a step, the smallest of them."""
        chosen = np.zeros(state.v, dtype=bool)
        speakable = (state.verdict == SPEAKABLE) & (state.tried >= self._follows)
        rows = np.nonzero(speakable & (state.lower < largest_steps(self._of)))[0]
        logits = logits_at_witnesses(self._of, state.kinds(rows), rows, state.certificates())
        lower, upper = state.lower[rows], state.upper[rows]
        fine = unresolved(lower, upper, logits, FORMATS[:1])
        coarse = unresolved(lower, upper, logits) & ~fine
        order = np.argsort(lower / np.maximum(FORMATS[-1].step(logits), 1e-300), kind="stable")
        for members, most in ((fine, self._most_fine()), (coarse, self._most_coarse(state))):
            chosen[rows[order[members[order]][:most]]] = True
        return chosen

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge: these rows alone, whose verdicts are known."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        judge.witnesses(attempts, number, credit=False)
        judge.hulls(attempts, number)

    def _most_fine(self) -> int:
        v, d = self._of.v, self._of.d
        each = _ROUNDS * v * d + _NEWTON * d * min(d, _MOST_RIVALS) ** 2
        return int(max(_RESOLUTION_WORK, _RESOLUTION_SHARE * float(v) * v * d) / each)

    def _most_coarse(self, state: ScanState) -> int:
        return max(_COARSE_ROWS, int(_COARSE_SHARE * int((state.tried >= self._searches_from).sum())))

    def _budget(self, progress: Progress) -> Budget:
        return Budget(
            seconds=self.settings.stage_seconds or float("inf"),
            tolerance=self.settings.tolerance,
            margin_gap=self._gap,
            progress=lambda _, rows: progress(rows),
        )
