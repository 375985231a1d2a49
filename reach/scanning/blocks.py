"""A block of a stage: what is computed of it, wherever and whenever, depends on nothing but what it is given.

A block is given what is known of its rows and which rows are open at the *start of the stage*. It gives back what is
known of its rows now, and offers: points at which another row won that was open then. No block sees what another has
found, so they may be done in any order, in any process, twice, and with others lost. Once all blocks of a stage are
there, the offers are looked into, of rows that are still open: a row's own block counts first, then the best offer.
"""

from __future__ import annotations

import math
import time
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int

from reach.engines.base import Shared
from reach.scanning.judge import Judge
from reach.scanning.part import Part
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import Progress, Stage
from reach.scanning.state import OPEN, SPEAKABLE, ScanState
from solvers.checks.own_products import OwnProducts, Square
from solvers.checks.tiles import Rivals
from solvers.parallel import threads
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class BlockRecord:
    """What a block says of itself: which stage, how many rows it took in and settled, how long it took (seconds)."""

    stage: int
    rows: int
    settled: int
    seconds: float


@dataclass(frozen=True)
class Offers:
    """Points at which rows of other blocks won, as products in float32 say.

    Attributes:
        rows: `(m,)` numbers of these rows.
        points: `(m, d)` the points.
    """

    rows: Int[np.ndarray, " m"]
    points: Float32[np.ndarray, "m d"]

    @classmethod
    def none(cls) -> Offers:
        """No offers."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.float32))

    @classmethod
    def together(cls, several: list[Offers]) -> Offers:
        """All of several, one after the other."""
        some = [offers for offers in several if len(offers.rows)]
        if not some:
            return cls.none()
        return cls(np.concatenate([one.rows for one in some]), np.concatenate([one.points for one in some]))

    def of(self, wanted: Bool[np.ndarray, " v"]) -> Offers:
        """Those of wanted rows."""
        kept = wanted[self.rows]
        return Offers(self.rows[kept], self.points[kept])


@dataclass(frozen=True)
class Delta:
    """What came of a block: what is known of its rows now, what it has to offer to others, and its record."""

    part: Part
    record: BlockRecord
    offers: Offers = field(default_factory=Offers.none)


@dataclass(frozen=True)
class Block:
    """Some rows that a stage is to work on.

    Attributes:
        stage: number of the stage.
        part: what is known of them.
        open: `(v,)` which rows of all are open at the start of the stage, eight to a byte.
        left: seconds until the scan must have ended.
        rivals: of these rows, where products that blocks share have been computed.
    """

    stage: int
    part: Part
    open: Int[np.ndarray, " w"]
    left: float = math.inf
    rivals: Rivals | None = None


class BlockWork:
    """What computes blocks: the problem, its stages, and what these have prepared; nothing of any block stays.

    Args:
        problem: the problem that is scanned, its equal rows merged.
        settings: of the scan.
        stages: its stages.
        alone: `(v,)` as in the state.

    Attributes:
        products: of rows, which the blocks of the stage that is under way share.
    """

    def __init__(
        self, problem: ArgmaxProblem, settings: ScanSettings, stages: list[Stage], alone: Bool[np.ndarray, " v"]
    ) -> None:
        self.problem, self.settings, self.stages, self.alone = problem, settings, stages, alone
        self.products: OwnProducts | None = None
        self._judge: Judge | None = None
        self._prepared: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Without what was prepared, which every process does for itself."""
        return {**self.__dict__, "_judge": None, "_prepared": set()}

    def on(self, jobs: int, device: str) -> BlockWork:
        """The same for tasks with so many cores each and this device, with nothing prepared but what all would."""
        if self.settings.device == "cpu":
            self.problem.working_rows()
        settings, stages = replace(self.settings, jobs=jobs, device=device), [copy(stage) for stage in self.stages]
        for stage in stages:
            stage.settings = settings
        work = BlockWork(self.problem, settings, stages, self.alone)
        work.products = self.products
        return work

    @property
    def judge(self) -> Judge:
        """The judge, with what proofs of all blocks share."""
        if self._judge is None:
            self._judge = Judge(self.problem, ScanState(self.problem.v), self.settings)
        return self._judge

    def prepare(self, number: int) -> Stage:
        """The stage of this number, ready for blocks."""
        if number not in self._prepared:
            self.stages[number].prepare(self.problem)
            self._prepared.add(number)
        return self.stages[number]

    def run(self, block: Block, progress: Progress) -> Delta:
        """Compute a block."""
        began = time.perf_counter()
        rows, number = block.part.rows, block.stage
        state = ScanState(self.problem.v)
        state.alone[:] = self.alone
        open_ = np.unpackbits(block.open, count=self.problem.v).astype(bool)
        # Of other rows only that much is known; what is entered here of settled ones is seen by nobody.
        state.verdict[:] = np.where(open_, OPEN, SPEAKABLE)
        state.verdict[rows] = OPEN
        block.part.enter(state)
        stage = self.prepare(number)
        stage.ends = time.perf_counter() + block.left
        if self.products is not None and block.rivals is not None:
            stage.own_rows = self.products.check_of(rows, block.rivals, self.settings.jobs)
        judge = self.judge
        judge.state, judge.offers = state, {}
        stage.run(rows, number, judge, progress)
        stage.own_rows = None
        state.tried[rows] = number
        offered = {row: point for row, point in judge.offers.items() if state.verdict[row] == OPEN}
        offers = Offers.none()
        if offered:
            offers = Offers(np.array(sorted(offered)), np.stack([offered[row] for row in sorted(offered)]))
        settled = int(((state.verdict[rows] != OPEN) & (block.part.columns["verdict"] == OPEN)).sum())
        record = BlockRecord(number, len(rows), settled, time.perf_counter() - began)
        return Delta(Part.of(state, rows), record, offers)

    def take(self, offers: Offers, state: ScanState, number: int) -> None:
        """Look into the offers of a stage whose blocks are all in a state: open rows may win at the points."""
        wanted = offers.of(state.verdict == OPEN)
        if len(wanted.rows):
            judge = self.judge
            judge.state, judge.offers = state, None
            judge.credit(torch.from_numpy(wanted.rows), torch.from_numpy(wanted.points), number)


def run_block(shared: Shared[BlockWork], block: Block, progress: Progress = lambda _: None) -> Delta:
    """Compute a block, wherever this is called."""
    work = shared.get()
    with threads(work.settings.jobs):
        return work.run(block, progress)


@dataclass(frozen=True)
class SquareFound:
    """What some products of rows say of both sides' rivals, and how long they took (seconds)."""

    rivals: tuple[Rivals, Rivals]
    seconds: float


def run_square(shared: Shared[BlockWork], square: Square) -> SquareFound:
    """Compute products that blocks share, wherever this is called."""
    work, began = shared.get(), time.perf_counter()
    assert work.products is not None
    return SquareFound(work.products.found(square, work.settings.jobs), time.perf_counter() - began)
