"""Recall of a solver on planted heads: how small a margin can it still find?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64

from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN, SPEAKABLE, UNSPEAKABLE, ScanState
from reach.strength.planted import PlantedHead
from reach.strength.rates import Rate, clopper_pearson, trials_without_failure, wilson
from solvers.attempt import Status
from solvers.backend import Backend, Budget
from solvers.basis import candidate_supports
from solvers.errors import BadInput

# --- one backend on one planted head --------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlantedOutcome:
    """What a backend made of the n plants of a head.

    Attributes:
        found: `(n,)` the checkers accepted what it returned as a proof of the truth.
        wrong: `(n,)` the checkers accepted a proof of the opposite: then a checker is wrong. Never true.
        misclaimed: `(n,)` its own status says the opposite of the truth, whatever the checkers made of it.
        seconds: wall-clock time of its calls, without the checks.
        work: its own counters, summed.
    """

    found: Bool[np.ndarray, " n"]
    wrong: Bool[np.ndarray, " n"]
    misclaimed: Bool[np.ndarray, " n"]
    seconds: float
    work: dict[str, float]


def try_plants(head: PlantedHead, backend: Backend, budget: Budget, *, block: int = 4096) -> PlantedOutcome:
    """Let a backend try all plants, and let the checkers decide what it found.

    As in a scan, a point that makes another plant of the block win than the one it was meant for counts for that
    plant, and hull weights may be led to a basic solution before they are checked exactly.

    Args:
        head: the planted head.
        backend: a backend; it is prepared here.
        budget: for each call of `solve`.
        block: rows per call.

    Raises:
        BadInput: the backend cannot do this problem.
    """
    backend.prepare(head.problem)
    n = len(head.rows)
    found, wrong, misclaimed = (np.zeros(n, dtype=bool) for _ in range(3))
    seconds, work = 0.0, dict[str, float]()
    for start in range(0, n, block):
        part = slice(start, min(start + block, n))
        rows = head.rows[part]
        attempts = backend.solve(torch.from_numpy(rows), budget)
        state = ScanState(head.problem.v)
        judge = Judge(head.problem, state, ScanSettings())
        judge.witnesses(attempts, 0)
        judge.hulls(attempts, 0)
        for row in rows[state.verdict[rows] == OPEN].tolist():
            if row in state.candidates:
                supports = candidate_supports(head.problem, row, state.candidates[row].rows)
                any(judge.exact_hull(row, support, 0) for support in supports)
        truth = np.where(head.speakable[part], SPEAKABLE, UNSPEAKABLE)
        found[part] = state.verdict[rows] == truth
        wrong[part] = (state.verdict[rows] != truth) & (state.verdict[rows] != OPEN)
        lie = np.where(head.speakable[part], Status.NO_WITNESS.value, Status.WITNESS.value)
        misclaimed[part] = np.array([status.value for status in attempts.status]) == lie
        seconds += attempts.seconds
        for name, count in attempts.work.items():
            work[name] = work.get(name, 0.0) + count
    return PlantedOutcome(found, wrong, misclaimed, seconds, work)


# --- recall by level ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LevelRecall:
    """Recall at one level of relative margin."""

    level: float
    rate: Rate


def recall_by_level(
    levels: Float[np.ndarray, " n"],
    found: Bool[np.ndarray, " n"],
    confidence: float = 0.95,
    interval: Callable[[int, int, float], Rate] = wilson,
) -> list[LevelRecall]:
    """Recall per level, largest level first.

    Args:
        levels: `(n,)` the level of each plant (of one truth: pass the speakable ones or the others).
        found: `(n,)` whether it was found.
        confidence: of the intervals.
        interval: `wilson`, or `clopper_pearson` for one that never covers too little.

    Raises:
        BadInput: lengths differ, or there is nothing.
    """
    if len(levels) != len(found) or not len(levels):
        raise BadInput("recall needs one found flag per plant, and at least one plant")
    table = []
    for level in np.unique(np.asarray(levels, dtype=np.float64))[::-1].tolist():
        here = np.asarray(levels) == level
        table.append(LevelRecall(level, interval(int(np.asarray(found)[here].sum()), int(here.sum()), confidence)))
    return table


@dataclass(frozen=True)
class RecallCell:
    """Recall at one level under one budget."""

    budget: float
    level: float
    rate: Rate


def recall_by_budget(
    budgets: Sequence[float],
    levels: Float[np.ndarray, " n"],
    found: Bool[np.ndarray, "b n"],
    confidence: float = 0.95,
) -> list[RecallCell]:
    """Recall for every budget and level, budgets ascending, levels descending within each.

    Raises:
        BadInput: shapes disagree.
    """
    table = np.asarray(found, dtype=bool)
    if table.shape != (len(budgets), len(levels)):
        raise BadInput(f"found has shape {table.shape}, but there are {len(budgets)} budgets × {len(levels)} plants")
    return [
        RecallCell(budgets[i], cell.level, cell.rate)
        for i in np.argsort(np.asarray(budgets), kind="stable").tolist()
        for cell in recall_by_level(levels, table[i], confidence)
    ]


# --- detection limit ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DetectionLimit:
    """The smallest margin down to which a solver finds (nearly) everything.

    Attributes:
        wanted: the share that must be found.
        level: smallest level such that there and at every larger one at least `wanted` was found (point estimate);
            none where already the largest level fails.
        first_miss: the largest level at which less was found; none where nothing failed.
        confirmed: smallest level down to which even the lower end of the interval reaches `wanted`; none if nowhere.
        at_level: recall at `level` with its exact interval; none without one.
        above: recall at `level` and all larger levels together, likewise.
        needed: trials without any failure that would confirm a level.
        confidence: of the one-sided bounds.
    """

    wanted: float
    level: float | None
    first_miss: float | None
    confirmed: float | None
    at_level: Rate | None
    above: Rate | None
    needed: int
    confidence: float

    def statement(self) -> str:
        """One line for a person."""
        if self.level is None or self.at_level is None or self.above is None:
            return f"less than {100 * self.wanted:g} % found already at the largest margin {self.first_miss:g}"
        confirmed = (
            f"no level is confirmed at {100 * self.confidence:g} % (that takes {self.needed} trials without a miss)"
            if self.confirmed is None
            else f"confirmed at {100 * self.confidence:g} % down to {self.confirmed:g}"
        )
        return (
            f"at least {100 * self.wanted:g} % found down to a relative margin of {self.level:g}: "
            f"{self.at_level.found} of {self.at_level.tried} there (true share ≥ {100 * self.at_level.low:.4g} %), "
            f"{self.above.found} of {self.above.tried} down to it (≥ {100 * self.above.low:.4g} %); {confirmed}"
        )


def detection_limit(
    levels: Float[np.ndarray, " k"],
    found: Int[np.ndarray, " k"],
    tried: Int[np.ndarray, " k"],
    rate: float = 0.99,
    confidence: float = 0.95,
) -> DetectionLimit:
    """Smallest margin such that at it, and at all larger levels, at least `rate` was found.

    A level that passes below one that fails does not count: a search that misses large margins and meets small ones
    by luck is not strong. Bounds are one-sided Clopper–Pearson: with n trials and no miss the lower one is
    (1−confidence)^(1/n).

    Args:
        levels: `(k,)` margins > 0, each once, in any order.
        found: `(k,)` how many were found at each.
        tried: `(k,)` out of how many, at least 1.
        rate: the share that counts as finding everything.
        confidence: of the bounds.

    Raises:
        BadInput: lengths differ, a level is repeated or not > 0, counts cannot be, or the rate is not in (0, 1).
    """
    margins = np.asarray(levels, dtype=np.float64)
    hits, trials = np.asarray(found), np.asarray(tried)
    if not len(margins) or not len(margins) == len(hits) == len(trials):
        raise BadInput("a detection limit needs found and tried for every level, and at least one level")
    if not (margins > 0).all() or len(np.unique(margins)) != len(margins):
        raise BadInput("a detection limit needs levels > 0, each once")
    needed = trials_without_failure(rate, confidence)
    order: Int64[np.ndarray, " k"] = np.argsort(-margins)
    level: float | None = None
    first_miss: float | None = None
    confirmed: float | None = None
    still_confirmed = True
    at_level = above = None
    total_found = total_tried = 0
    for i in order.tolist():
        here = _one_sided(int(hits[i]), int(trials[i]), confidence)
        # Whole numbers, so that 99 of 100 is 99 %.
        if here.found < rate * here.tried * (1 - 1e-12):
            first_miss = float(margins[i])
            break
        level, at_level = float(margins[i]), here
        total_found, total_tried = total_found + here.found, total_tried + here.tried
        above = _one_sided(total_found, total_tried, confidence)
        still_confirmed = still_confirmed and here.low >= rate
        if still_confirmed:
            confirmed = level
    return DetectionLimit(rate, level, first_miss, confirmed, at_level, above, needed, confidence)


def _one_sided(found: int, tried: int, confidence: float) -> Rate:
    """The lower bound of one-sided confidence is the lower end of a two-sided interval with twice the tail."""
    if not 0.5 < confidence < 1:
        raise BadInput(f"a one-sided confidence must lie between 0.5 and 1, not {confidence:g}")
    interval = clopper_pearson(found, tried, 2 * confidence - 1)
    return Rate(found, tried, interval.low, 1.0, confidence)
