"""The scan itself: merge equal rows, run the stages block by block, journal, finish."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from reach.equal_rows import Merged, merge_equal_rows
from reach.progress import Progress, silent
from reach.runs.manifest import FunnelRow
from reach.scanning.earlier import Earlier
from reach.scanning.journal import BlockRecord, Journal
from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.stages import EARLIER_STAGE, Stage, build_stages
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
    """
    with threads(settings.jobs):
        return _scan(problem, settings, tokens, journal, resume, progress, seconds, earlier)


def _scan(
    problem: ArgmaxProblem,
    settings: ScanSettings,
    tokens: Int[np.ndarray, " n"] | None,
    journal: Journal | None,
    resume: bool,
    progress: Progress,
    seconds: float | None,
    earlier: Verdicts | None,
) -> ScanResult:
    started = time.perf_counter()
    merged = merge_equal_rows(problem)
    asked = np.zeros(problem.v, dtype=bool)
    asked[np.arange(problem.v) if tokens is None else tokens] = True
    state = ScanState(merged.problem.v)
    state.alone[:] = merged.size[merged.token_of] == 1
    result = ScanResult(merged, state, asked)
    equal_seconds = time.perf_counter() - started
    records = journal.replay(state) if journal is not None and resume else []
    if merged.everything_equal:
        result.funnel.append(FunnelRow(EQUAL_ROWS_STAGE, int(asked.sum()), int(asked.sum()), equal_seconds))
        return result
    stages = build_stages(merged.problem, settings, None if earlier is None else Earlier.of(earlier, merged))
    result.stages = [stage.name for stage in stages]
    wanted = np.zeros(state.v, dtype=bool)
    wanted[merged.row_of[asked]] = True
    judge = Judge(merged.problem, state, settings)
    for number, stage in enumerate(stages):
        stage.ends = math.inf if seconds is None else started + seconds
        records += _run_stage(stage, number, judge, wanted, settings, journal, progress)
    result.cut = seconds is not None and time.perf_counter() - started >= seconds
    if state.duals and judge.spread is not None:
        result.spread = judge.spread.rows.numpy()
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


def _run_stage(
    stage: Stage,
    number: int,
    judge: Judge,
    wanted: np.ndarray,
    settings: ScanSettings,
    journal: Journal | None,
    progress: Progress,
) -> list[BlockRecord]:
    state = judge.state
    todo = np.nonzero(wanted & stage.wants(state) & (state.tried < number))[0]
    if not len(todo) or stage.left <= 0:
        return []
    records = []
    size = max(1, int(settings.block_tokens * stage.block_share))
    total = len(todo)
    progress(stage.name, 0, total)
    prepared = time.perf_counter()
    stage.expected = todo
    stage.prepare(judge.problem)
    spent = time.perf_counter() - prepared
    for start in range(0, total, size):
        if stage.left <= 0:
            break
        block = todo[start : start + size]
        began = time.perf_counter()
        settled_before = state.verdict != OPEN
        shown = 0

        def within(rows: int, most: int = len(block), before: int = start) -> None:
            nonlocal shown
            shown = min(shown + rows, most)
            progress(stage.name, before + shown, total)

        stage.run(block, number, judge, within)
        progress(stage.name, start + len(block), total)
        state.tried[block] = number
        settled = (state.verdict != OPEN) & ~settled_before
        record = BlockRecord(number, len(block), int(settled.sum()), time.perf_counter() - began + spent)
        spent = 0.0
        if journal is not None:
            # Rows outside the block may have been credited with a witness: they belong to it as well.
            journal.append(state, np.union1d(block, np.nonzero(settled)[0]).tolist(), record)
        records.append(record)
    return records
