"""What a stage of a scan is, and the stages of backends: each takes open rows and hands attempts to the judge."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from reach.scanning.earlier import Earlier
from reach.scanning.judge import Judge, is_wide
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN, SPEAKABLE, UNSPEAKABLE, ScanState
from solvers import registry
from solvers.attempt import Attempts, Status
from solvers.backend import Backend, Budget
from solvers.checks.own_products import OwnProducts
from solvers.checks.own_rows import OwnRows
from solvers.domains import Free
from solvers.problem import ArgmaxProblem

_IN_A_SUBSPACE = "its row may lie inside the hull of the others, but all rows lie in a subspace, or nearly"
EARLIER_STAGE = "earlier-run"
_LEAST_SECONDS = 1e-3
"""A budget must be positive, however late it is."""

Progress = Callable[[int], object]


class Stage(ABC):
    """One stage.

    Attributes:
        name: as the funnel and the verdicts table show it.
        settings: of the scan.
        block_share: how many rows a block holds, relative to the scan's block size.
        ends: when the scan must have ended, as `time.perf_counter` counts.
        own_rows: what checks the rows of the next block at their own points, where blocks share products of rows.
    """

    name: str
    settings: ScanSettings
    block_share: float = 1.0
    ends: float = math.inf
    own_rows: OwnRows | None = None

    @property
    def left(self) -> float:
        """Seconds until the scan must have ended."""
        return max(0.0, self.ends - time.perf_counter())

    @property
    def seconds(self) -> float:
        """Limit of a backend's next call."""
        return max(_LEAST_SECONDS, min(self.settings.stage_seconds or math.inf, self.left))

    @abstractmethod
    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Which rows the stage works on."""

    @abstractmethod
    def prepare(self, problem: ArgmaxProblem) -> None:
        """Called once, before the first block and only if there is one."""

    def products(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> OwnProducts | None:  # noqa: ARG002
        """The products of rows that the blocks of all the stage's rows share, to be computed before these; if any."""
        return None

    @abstractmethod
    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Work on a block of rows."""


@dataclass
class BackendStage(Stage):
    """Run a backend, let the judge check what it returns."""

    backend_name: str
    settings: ScanSettings
    recipe: str | None = None
    own_row: bool = False
    block_share: float = 1.0
    jobs: int = 1
    iterations: int | None = None
    earlier: Earlier | None = None

    def __post_init__(self) -> None:
        self.name = self.backend_name if self.iterations is None else f"{self.backend_name}-brief"
        self._backend: Backend | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the backend, which is prepared where it is used."""
        return {**self.__dict__, "_backend": None}

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Open rows; for the own-row stages all rows not yet known to be own-direction."""
        return ~state.own_direction if self.own_row else state.verdict == OPEN

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Prepare the backend."""
        kind = registry.backend(self.backend_name)
        device = self.settings.device if self.settings.device.split(":")[0] in kind.capabilities.devices else "cpu"
        self._backend = kind(device=device, jobs=self.settings.jobs)
        self._backend.prepare(problem)

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        judge.witnesses(attempts, number, self.recipe, own_row=self.own_row)
        judge.hulls(attempts, number)
        if judge.problem.margin_bounded:
            judge.forget_points(attempts.rows)
        note_reasons(judge.state, attempts, self.name)

    def _budget(self, progress: Progress) -> Budget:
        return Budget(
            seconds=self.seconds,
            tolerance=self.settings.tolerance,
            iterations=self.iterations,
            progress=lambda _, rows: progress(rows),
        )


@dataclass
class MarginStage(BackendStage):
    """Bring the bounds on margins as close together as was asked for.

    With a limit on its iterations it is the first search: it takes open rows as well, since what bounds a margin on
    both sides settles the verdict, too. Without one it is the last, for rows whose verdicts are known.

    Args:
        share: of the gap that the backend is asked for; the checked bounds of some are a little farther apart.
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = f"margins-{self.name}"

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Rows whose bounds are farther apart; not those of several tokens, whose margins are 0."""
        wide = is_wide(state.lower, state.upper, self.settings.margin_gap)
        if self.iterations is not None:
            return state.alone & wide
        return wide & ((state.verdict == UNSPEAKABLE) | ((state.verdict == SPEAKABLE) & state.alone))

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge."""
        assert self._backend is not None
        budget = self._budget(progress)
        if self.earlier is not None:
            budget = replace(budget, rivals=self.earlier.rivals(rows))
        attempts = self._backend.solve(torch.from_numpy(rows), budget)
        judge.margins(attempts, number)
        note_reasons(judge.state, attempts, self.name)

    def _budget(self, progress: Progress) -> Budget:
        return Budget(
            seconds=self.seconds,
            tolerance=self.settings.tolerance,
            iterations=self.iterations,
            margin_gap=self.share * (self.settings.margin_gap or 0.0),
            progress=lambda _, rows: progress(rows),
        )


class EarlierStage(BackendStage):
    """Where rows won in an earlier run, and what proved that they do not; then a search that begins there.

    Args:
        backend: the search, where one can begin at given points; none otherwise.
        settings: of the scan.
        earlier: what the earlier run left; none where there is no such run, and nothing for this stage to do. It
            has its place all the same: journals number stages.
    """

    def __init__(self, backend: str | None, settings: ScanSettings, earlier: Earlier | None) -> None:
        super().__init__(backend or "", settings, earlier=earlier)
        self.name = EARLIER_STAGE

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Open rows."""
        return super().wants(state) if self.earlier is not None else np.zeros(state.v, dtype=bool)

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Prepare the search, if there is one."""
        if self.backend_name:
            super().prepare(problem)

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Judge what is there, then search for what is still open.

        A search that begins with the rivals of a row finds a better point than these led to; what it cannot begin
        with is judged first.
        """
        assert self.earlier is not None
        first = rows if self._backend is None else rows[self.earlier.without_rivals(rows)]
        if len(first):
            attempts = self.earlier.attempts(judge.problem, first)
            judge.witnesses(attempts, number)
            judge.hulls(attempts, number)
        rest = rows[judge.state.verdict[rows] == OPEN]
        if self._backend is not None and len(rest):
            budget = replace(self._budget(progress), rivals=self.earlier.rivals(rest))
            attempts = self._backend.solve(torch.from_numpy(rest), budget)
            judge.witnesses(attempts, number)
            judge.hulls(attempts, number)
        if judge.problem.margin_bounded:
            judge.forget_points(torch.from_numpy(rows))


class InsideStage(BackendStage):
    """Prove rows to lie inside the hull of the others, without rational arithmetic; or find where they win.

    Only the rows and offsets count here, so the search is over `Free`, which has the same verdicts.

    Args:
        settings: of the scan.
    """

    def __init__(self, settings: ScanSettings) -> None:
        super().__init__("analytic-centre", settings, block_share=1 / 32)

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Prepare the search on the problem whose verdicts are the same."""
        super().prepare(problem.over(Free()))

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        if judge.problem.margin_bounded:
            far = judge.problem.domain.stretch(attempts.points)
            attempts = replace(attempts, points=torch.where(torch.isfinite(attempts.points), far, torch.nan))
        judge.inside(attempts, number)
        judge.witnesses(attempts, number)
        judge.hulls(attempts, number)
        note_reasons(judge.state, attempts, self.name)
        if attempts.duals is None:
            return
        inside = rows[torch.isfinite(attempts.duals).all(dim=1).numpy()].tolist()
        if inside and judge.spread is None:
            judge.state.reasons.update(dict.fromkeys(inside, _IN_A_SUBSPACE))


def note_reasons(state: ScanState, attempts: Attempts, name: str) -> None:
    """Remember, for rows still open, what kept the backend from settling them."""
    for row, status in zip(attempts.rows.tolist(), attempts.status, strict=True):
        if state.verdict[row] != OPEN:
            continue
        if status is Status.LIMIT:
            state.reasons[row] = f"limit hit: {name} ran out of its budget"
        elif status is Status.FAILED:
            state.reasons[row] = f"solver failed: {attempts.note or name}"
        elif status in (Status.NO_WITNESS, Status.GAVE_UP):
            state.reasons.pop(row, None)
