"""The scan itself: merge equal rows, run the stages block by block, journal, finish."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int
from tqdm import tqdm

from reach.scan.journal import BlockRecord, Journal
from reach.scan.judge import Judge
from reach.scan.settings import ScanSettings
from reach.scan.stages import Stage, build_stages
from reach.scan.state import OPEN, ScanState
from solvers.checks.equal_rows import equal_row_classes
from solvers.problem import ArgmaxProblem

EQUAL_ROWS_STAGE = "equal-rows"


@dataclass(frozen=True)
class FunnelRow:
    """One stage of the funnel: rows that came in, rows that it settled, wall-clock seconds."""

    stage: str
    rows_in: int
    settled: int
    seconds: float


@dataclass
class ScanResult:
    """What a scan found out.

    Attributes:
        problem: the problem with equal rows merged.
        state: what is known about its rows.
        first_of: `(v,)` for every token the lowest id with an equal row.
        row_of: `(v,)` for every token the row of `problem` that stands for it.
        token_of: `(m,)` for every row of `problem` its token.
        asked: `(v,)` tokens that were asked for.
        stages: names of the stages, as `state.stage` numbers them.
        funnel: rows and seconds per stage.
        cut: whether time ran out before all stages had had all rows.
    """

    problem: ArgmaxProblem
    state: ScanState
    first_of: Int[np.ndarray, " v"]
    row_of: Int[np.ndarray, " v"]
    token_of: Int[np.ndarray, " m"]
    asked: np.ndarray
    stages: list[str] = field(default_factory=list)
    funnel: list[FunnelRow] = field(default_factory=list)
    cut: bool = False


def scan(
    problem: ArgmaxProblem,
    settings: ScanSettings,
    *,
    tokens: Int[np.ndarray, " n"] | None = None,
    journal: Journal | None = None,
    resume: bool = False,
    quiet: bool = False,
    seconds: float | None = None,
) -> ScanResult:
    """Settle every token (or those given) of a problem.

    Args:
        problem: the argmax problem of a head.
        settings: what to do.
        tokens: ids to settle; none means all.
        journal: where finished blocks go; none keeps everything in memory.
        resume: start from what the journal holds.
        quiet: no progress bars on stderr.
        seconds: when to stop, whatever is still open then; none for no limit.
    """
    started = time.perf_counter()
    torch.set_num_threads(settings.jobs)
    first_of = equal_row_classes(problem).numpy()
    token_of = np.unique(first_of)
    row_of = np.searchsorted(token_of, first_of)
    everything_equal = len(token_of) < 2
    unchanged = everything_equal or len(token_of) == problem.v
    merged = problem if unchanged else problem.restrict(torch.from_numpy(token_of))
    asked = np.zeros(problem.v, dtype=bool)
    asked[np.arange(problem.v) if tokens is None else tokens] = True
    state = ScanState(merged.v)
    result = ScanResult(merged, state, first_of, row_of, token_of, asked)
    equal_seconds = time.perf_counter() - started
    records = journal.replay(state) if journal is not None and resume else []
    if everything_equal:
        # All rows are equal: nothing can win alone, and there is nothing to solve.
        result.funnel.append(FunnelRow(EQUAL_ROWS_STAGE, int(asked.sum()), int(asked.sum()), equal_seconds))
        return result
    stages = build_stages(merged, settings)
    result.stages = [stage.name for stage in stages]
    wanted = np.zeros(merged.v, dtype=bool)
    wanted[row_of[asked]] = True
    judge = Judge(merged, state, settings)
    for number, stage in enumerate(stages):
        stage.ends = math.inf if seconds is None else started + seconds
        records += _run_stage(stage, number, judge, wanted, settings, journal, quiet)
    result.cut = seconds is not None and time.perf_counter() - started >= seconds
    duplicates = int(asked.sum()) - int(wanted.sum())
    result.funnel = [FunnelRow(EQUAL_ROWS_STAGE, int(asked.sum()), duplicates, equal_seconds)]
    for number, stage in enumerate(stages):
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
    quiet: bool,
) -> list[BlockRecord]:
    state = judge.state
    todo = np.nonzero(wanted & stage.wants(state) & (state.tried < number))[0]
    if not len(todo) or stage.left <= 0:
        return []
    records = []
    size = max(1, int(settings.block_tokens * stage.block_share))
    with tqdm(total=len(todo), desc=stage.name, unit="row", disable=quiet, dynamic_ncols=True) as bar:
        prepared = time.perf_counter()
        stage.prepare(judge.problem)
        spent = time.perf_counter() - prepared
        for start in range(0, len(todo), size):
            if stage.left <= 0:
                break
            block = todo[start : start + size]
            began = time.perf_counter()
            settled_before = state.verdict != OPEN
            shown = 0

            def progress(rows: int, most: int = len(block)) -> None:
                nonlocal shown
                step = min(rows, most - shown)
                shown += step
                bar.update(step)

            stage.run(block, number, judge, progress)
            bar.update(len(block) - shown)
            state.tried[block] = number
            settled = (state.verdict != OPEN) & ~settled_before
            record = BlockRecord(number, len(block), int(settled.sum()), time.perf_counter() - began + spent)
            spent = 0.0
            if journal is not None:
                # Rows outside the block may have been credited with a witness: they belong to it as well.
                journal.append(state, np.union1d(block, np.nonzero(settled)[0]).tolist(), record)
            records.append(record)
    return records
