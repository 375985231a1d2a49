"""The scan itself: merge equal rows, run the stages block by block, journal, finish."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Self

import numpy as np
from jaxtyping import Bool, Int

from reach.engines.base import Engine, InProcess, Shared
from reach.equal_rows import Merged, merge_equal_rows
from reach.progress import Progress, silent
from reach.runs.manifest import FunnelRow
from reach.scanning.blocks import Block, BlockRecord, BlockWork, Delta, Offers, SquareFound, run_block, run_square
from reach.scanning.earlier import Earlier
from reach.scanning.journal import Journal
from reach.scanning.part import Part
from reach.scanning.plan import build_stages
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import EARLIER_STAGE, Stage
from reach.scanning.state import OPEN, ScanState
from reach.verdicts import Verdicts
from solvers.checks.own_products import Square
from solvers.parallel import threads
from solvers.problem import ArgmaxProblem

EQUAL_ROWS_STAGE = "equal-rows"


@dataclass
class ScanResult:
    """What a scan found out.

    Attributes:
        merged: the problem with equal rows merged, which was scanned.
        state: what is known about its rows.
        asked: `(v,)` tokens that were asked for.
        stages: names of the stages, as `state.stage` numbers them.
        funnel: rows and seconds per stage.
        spread: rows of the spread set that proofs of rows inside the hull share; none where there are none.
        cut: whether time ran out before all stages had had all rows.
    """

    merged: Merged
    state: ScanState
    asked: np.ndarray
    stages: list[str] = field(default_factory=list)
    funnel: list[FunnelRow] = field(default_factory=list)
    spread: np.ndarray | None = None
    cut: bool = False


def scan(
    problem: ArgmaxProblem,
    settings: ScanSettings,
    *,
    tokens: Int[np.ndarray, " n"] | None = None,
    journal: Journal | None = None,
    resume: bool = False,
    progress: Progress = silent,
    seconds: float | None = None,
    earlier: Verdicts | None = None,
    engine: Engine | None = None,
) -> ScanResult:
    """Settle every token (or those given) of a problem.

    Args:
        problem: the argmax problem of a head.
        settings: what to do.
        tokens: ids to settle; none means all.
        journal: where finished blocks go; none keeps everything in memory.
        resume: start from what the journal holds.
        progress: told stage by stage how many rows are done.
        seconds: when to stop, whatever is still open then; none for no limit.
        earlier: verdicts about a similar problem, such as the checkpoint before: its certificates are tried first.
        engine: where blocks are computed; by default in this process. The result does not depend on it.
    """
    with threads(settings.jobs):
        return _scan(problem, settings, tokens, journal, resume, progress, seconds, earlier, engine or InProcess())


def _scan(
    problem: ArgmaxProblem,
    settings: ScanSettings,
    tokens: Int[np.ndarray, " n"] | None,
    journal: Journal | None,
    resume: bool,
    progress: Progress,
    seconds: float | None,
    earlier: Verdicts | None,
    engine: Engine,
) -> ScanResult:
    started = time.perf_counter()
    merged = merge_equal_rows(problem)
    asked = np.zeros(problem.v, dtype=bool)
    asked[np.arange(problem.v) if tokens is None else tokens] = True
    state = ScanState(merged.problem.v)
    state.alone[:] = merged.size[merged.token_of] == 1
    result = ScanResult(merged, state, asked)
    equal_seconds = time.perf_counter() - started
    before = journal.read(state.v) if journal is not None and resume else []
    if merged.everything_equal:
        result.funnel.append(FunnelRow(EQUAL_ROWS_STAGE, int(asked.sum()), int(asked.sum()), equal_seconds))
        return result
    stages = build_stages(merged.problem, settings, None if earlier is None else Earlier.of(earlier, merged))
    result.stages = [stage.name for stage in stages]
    wanted = np.zeros(state.v, dtype=bool)
    wanted[merged.row_of[asked]] = True
    work = BlockWork(merged.problem, settings, stages, state.alone)
    ends = math.inf if seconds is None else started + seconds
    records: list[BlockRecord] = []
    with _Stages(work, state, engine, journal, progress) as run:
        for number, stage in enumerate(stages):
            stage.ends = ends
            records += run(number, wanted, [delta for delta in before if delta.record.stage == number])
    result.cut = seconds is not None and time.perf_counter() >= ends
    if state.duals and work.judge.spread is not None:
        result.spread = work.judge.spread.rows.numpy()
    duplicates = int(asked.sum()) - int(wanted.sum())
    result.funnel = [FunnelRow(EQUAL_ROWS_STAGE, int(asked.sum()), duplicates, equal_seconds)]
    for number, stage in enumerate(stages):
        if stage.name == EARLIER_STAGE and earlier is None:
            continue
        seconds = sum(record.seconds for record in records if record.stage == number)
        settled = int(((state.stage == number) & wanted).sum())
        rows_in = sum(record.rows for record in records if record.stage == number)
        result.funnel.append(FunnelRow(stage.name, rows_in, settled, seconds))
    return result


class _Stages:
    """Takes rows through one stage after the other: hands out blocks, puts together what comes back."""

    def __init__(
        self, work: BlockWork, state: ScanState, engine: Engine, journal: Journal | None, progress: Progress
    ) -> None:
        self.work, self.state, self.engine, self.journal, self.progress = work, state, engine, journal, progress
        self._shared: Shared[BlockWork] | None = None
        self._spent = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shared is not None:
            self._shared.release()

    def __call__(self, number: int, wanted: Bool[np.ndarray, " v"], before: list[Delta]) -> list[BlockRecord]:
        """Do a stage; `before` is what an interrupted scan has left of it. Returns the records of all its blocks."""
        # As many threads as a task has: what the driver does itself is then rounded as tasks would round it.
        with threads(self.work.settings.jobs if self.engine.here else self.engine.jobs):
            return self._stage(number, wanted, before)

    def _stage(self, number: int, wanted: Bool[np.ndarray, " v"], before: list[Delta]) -> list[BlockRecord]:
        stage, state = self.work.stages[number], self.state
        todo = np.nonzero(wanted & stage.wants(state) & (state.tried < number))[0]
        packed = np.packbits(state.verdict == OPEN)
        for delta in before:
            delta.part.enter(state)
        # The blocks are those of a scan that nobody interrupted, less what was done of them.
        size = max(1, int(self.work.settings.block_tokens * stage.block_share))
        blocks = [todo[start : start + size] for start in range(0, len(todo), size)]
        blocks = [rows for block in blocks if len(rows := block[state.tried[block] < number])]
        done = [_Done.of(delta) for delta in before]
        if blocks and stage.left > 0:
            done += [_Done.of(delta) for delta in self._run(stage, number, todo, blocks, packed)]
        # In an order that does not hang on which block was ready first.
        done.sort(key=lambda one: one.first)
        self.work.take(Offers.together([one.offers for one in done]), state, number)
        return [one.record for one in done]

    def _run(
        self, stage: Stage, number: int, todo: np.ndarray, blocks: list[np.ndarray], packed: np.ndarray
    ) -> Iterator[Delta]:
        """Compute blocks; each is entered and written as soon as it is there."""
        total = sum(map(len, blocks))
        bar = _Bar(self.progress, stage.name, total)
        began = time.perf_counter()
        # Whether products are shared hangs on all rows of the stage, not on what an interruption has left of them.
        products = self.work.products = stage.products(self.work.problem, todo)
        self._spent = time.perf_counter() - began

        def block_of(rows: np.ndarray) -> Block:
            rivals = None if products is None else products.rivals(rows)
            return Block(number, Part.of(self.state, rows), packed, stage.left, rivals)

        compute = self._here if self.engine.here else self._elsewhere
        for delta in compute(stage, blocks, block_of, bar):
            whole = replace(delta, record=replace(delta.record, seconds=delta.record.seconds + self._spent))
            self._spent = 0.0
            whole.part.enter(self.state)
            if self.journal is not None:
                self.journal.append(whole)
            bar.finished(len(whole.part.rows))
            yield whole
        self.work.products = None

    def _here(
        self, stage: Stage, blocks: list[np.ndarray], block_of: Callable[[np.ndarray], Block], bar: _Bar
    ) -> Iterator[Delta]:
        for rows in blocks:
            if stage.left <= 0:
                return
            began = time.perf_counter()
            if self.work.products is not None:
                self.work.products.multiply(self.work.products.missing(rows), self.work.settings.jobs)
            self._spent += time.perf_counter() - began
            yield self.work.run(block_of(rows), bar.within(len(rows)))

    def _elsewhere(
        self, stage: Stage, blocks: list[np.ndarray], block_of: Callable[[np.ndarray], Block], bar: _Bar
    ) -> Iterator[Delta]:
        if self._shared is None:
            device = self.engine.device(self.work.settings.device)
            self._shared = self.engine.share(self.work.on(self.engine.jobs, device))
        shared, products, waiting = self._shared, self.work.products, deque(blocks)
        squares = [] if products is None else list(products.squares(np.concatenate(blocks), self.engine.slots))

        def ready() -> Iterator[Block]:
            while waiting and stage.left > 0 and (products is None or products.complete(waiting[0])):
                yield block_of(waiting.popleft())

        def tasks() -> Iterator[Block | Square]:
            for square in squares:
                yield from ready()
                if stage.left <= 0:
                    return
                yield square
            yield from ready()

        def start(task: Block | Square) -> Future[Delta | SquareFound]:
            if isinstance(task, Block):
                return self.engine.submit(run_block, shared, task)
            return self.engine.submit(run_square, shared, task)

        # Blocks whose last products are still under way when everything else has been handed out come second.
        for task, found in chain(self.engine.as_done(tasks(), start), self.engine.as_done(ready(), start)):
            if isinstance(found, Delta):
                yield found
            elif products is not None and isinstance(task, Square):
                products.take(task, found.rivals)
                self._spent += found.seconds
                bar.on_the_way(1 / len(squares))


class _Bar:
    """How far a stage is: rows that are finished, and the share of work that is done ahead of them."""

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self._progress, self._name, self._total = progress, name, total
        self._finished, self._ahead, self._shown = 0, 0.0, 0
        self._show(0)

    def finished(self, rows: int) -> None:
        """So many rows are there."""
        self._finished += rows
        self._show(self._finished)

    def on_the_way(self, share: float) -> None:
        """Work that finishes no row by itself has been done: this share of all such work."""
        self._ahead += share
        self._show(int(self._ahead * self._total) - 1)

    def within(self, most: int) -> Callable[[int], object]:
        """What is told of rows inside a block of `most` rows."""
        before, seen = self._finished, 0

        def tell(rows: int) -> None:
            nonlocal seen
            seen = min(seen + rows, most)
            self._show(before + seen)

        return tell

    def _show(self, rows: int) -> None:
        self._shown = max(self._shown, rows)
        self._progress(self._name, self._shown, self._total)


@dataclass(frozen=True)
class _Done:
    """What is kept of a block that has been entered: its first row, its offers and its record."""

    first: int
    offers: Offers
    record: BlockRecord

    @classmethod
    def of(cls, delta: Delta) -> _Done:
        return cls(int(delta.part.rows[0]), delta.offers, delta.record)
