"""What the last scan found of a head, for the next model of a series, should that have the very same one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec
import numpy as np
from jaxtyping import Int

from reach.equal_rows import merge_equal_rows
from reach.runs.manifest import FunnelRow
from reach.scanning.part import Part
from reach.scanning.scan import ScanResult
from reach.scanning.settings import ScanSettings
from reach.scanning.state import ScanState
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class _Found:
    """What a scan found: everything but the problem, which would be a second model in memory."""

    about: tuple[object, ...]
    part: Part
    asked: np.ndarray
    stages: tuple[str, ...]
    funnel: tuple[FunnelRow, ...]
    spread: np.ndarray | None


class LastScan:
    """The last scan of a series.

    Checkpoints of a training that keeps its head fixed, and revisions that change what lies beside the weights, have
    equal rows, offsets and domains. What a scan finds hangs on nothing else but its settings and the tokens asked
    for; what is made of it (names, categories, nearest tokens) is made anew.

    Attributes:
        run: where its run is, a path or a URL.
    """

    def __init__(self) -> None:
        self._found: _Found | None = None
        self.run: str | None = None

    def keep(
        self, problem: ArgmaxProblem, settings: ScanSettings, chosen: Int[np.ndarray, " n"] | None, result: ScanResult
    ) -> None:
        """Remember what a scan found, in place of the one before, as it is now."""
        self.run = self._found = None
        if not result.cut:
            part = Part.of(result.state, np.arange(result.state.v))
            funnel = tuple(msgspec.structs.replace(row, seconds=0.0) for row in result.funnel)
            self._found = _Found(
                _about(problem, settings, chosen), part, result.asked, tuple(result.stages), funnel, result.spread
            )

    def again(
        self, problem: ArgmaxProblem, settings: ScanSettings, chosen: Int[np.ndarray, " n"] | None
    ) -> ScanResult | None:
        """What the scan of this problem would find, if the last one was of the same; else none."""
        found = self._found
        if found is None or self.run is None or found.about != _about(problem, settings, chosen):
            return None
        merged = merge_equal_rows(problem)
        state = ScanState(merged.problem.v)
        state.alone[:] = merged.size[merged.token_of] == 1
        found.part.enter(state)
        return ScanResult(merged, state, found.asked, list(found.stages), list(found.funnel), found.spread)


def _about(
    problem: ArgmaxProblem, settings: ScanSettings, chosen: Int[np.ndarray, " n"] | None
) -> tuple[object, ...]:
    """All that the result of a scan hangs on."""
    # How exactly the rows are known is no part of the fingerprint.
    errors = hashlib.sha256(problem.row_error.numpy().tobytes() + problem.offset_error.numpy().tobytes())
    asked = None if chosen is None else tuple(chosen.tolist())
    known = (problem.fingerprint, problem.domain.describe(), errors.hexdigest(), problem.weight.dtype)
    return (*known, settings, asked)
