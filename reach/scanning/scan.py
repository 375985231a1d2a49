"""The scan itself: merge equal rows, run the stages block by block, journal, finish."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from jaxtyping import Bool, Int

from reach.engines.base import Engine, InProcess, Shared
from reach.equal_rows import Merged, merge_equal_rows
from reach.progress import Progress, silent
from reach.runs.manifest import FunnelRow
from reach.scanning.blocks import Block, BlockRecord, BlockWork, Delta, Offers, run_block
from reach.scanning.earlier import Earlier
from reach.scanning.journal import Journal
from reach.scanning.part import Part
from reach.scanning.plan import build_stages
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import EARLIER_STAGE, Stage
from reach.scanning.state import OPEN, ScanState
from reach.verdicts import Verdicts
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
            done += [_Done.of(delta) for delta in self._run(stage, number, blocks, packed)]
        # In an order that does not hang on which block was ready first.
        done.sort(key=lambda one: one.first)
        self.work.take(Offers.together([one.offers for one in done]), state, number)
        return [one.record for one in done]

    def _run(self, stage: Stage, number: int, blocks: list[np.ndarray], packed: np.ndarray) -> Iterator[Delta]:
        """Compute blocks; each is entered and written as soon as it is there."""
        reached, total = 0, sum(map(len, blocks))
        self.progress(stage.name, 0, total)

        def tasks() -> Iterator[Block]:
            for rows in blocks:
                if stage.left <= 0:
                    return
                yield Block(number, Part.of(self.state, rows), packed, stage.left)

        began = time.perf_counter()
        here = stage.shares(self.work.problem, np.concatenate(blocks)) or self.engine.here
        spent = time.perf_counter() - began
        for delta in self._here(tasks(), total) if here else self._elsewhere(tasks()):
            whole = replace(delta, record=replace(delta.record, seconds=delta.record.seconds + spent))
            spent = 0.0
            whole.part.enter(self.state)
            if self.journal is not None:
                self.journal.append(whole)
            reached += len(whole.part.rows)
            self.progress(stage.name, reached, total)
            yield whole

    def _here(self, blocks: Iterator[Block], total: int) -> Iterator[Delta]:
        before = 0
        for block in blocks:
            name, most, shown = self.work.stages[block.stage].name, len(block.part.rows), 0

            def within(rows: int, before: int = before, name: str = name, most: int = most) -> None:
                nonlocal shown
                shown = min(shown + rows, most)
                self.progress(name, before + shown, total)

            yield self.work.run(block, within)
            before += most

    def _elsewhere(self, blocks: Iterator[Block]) -> Iterator[Delta]:
        if self._shared is None:
            device = self.engine.device(self.work.settings.device)
            self._shared = self.engine.share(self.work.on(self.engine.jobs, device))
        shared = self._shared
        for _, delta in self.engine.as_done(blocks, lambda block: self.engine.submit(run_block, shared, block)):
            yield delta


@dataclass(frozen=True)
class _Done:
    """What is kept of a block that has been entered: its first row, its offers and its record."""

    first: int
    offers: Offers
    record: BlockRecord

    @classmethod
    def of(cls, delta: Delta) -> _Done:
        return cls(int(delta.part.rows[0]), delta.offers, delta.record)
