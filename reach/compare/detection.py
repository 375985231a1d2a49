"""Detection limits: the smallest planted margin that each backend finds, as a function of its budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from reach.compare.options import CompareSettings
from reach.compare.planted import PlantedHead, planted_head
from reach.compare.record import Detection, Level, Limit, Row
from reach.compare.rounds import Progress, Round, Task, compare_rounds
from reach.strength.rates import Rate, clopper_pearson, trials_without_failure, wilson
from solvers.domains import Ball
from solvers.errors import BadInput
from solvers.registry import Entry

LEVELS = tuple(10.0**-k for k in range(11))
BUDGETS: tuple[int | None, ...] = (30, None)
"""Iterations per row that incomplete methods are given; none is their own default."""
PART = 1 / 4
"""Of a backend's seconds, for its plants on one head under one budget; plants left over count neither way."""


@dataclass(frozen=True)
class Shape:
    """Size of a planted head."""

    d: int
    v: int
    per_level: int
    offsets: bool


SHAPES = (
    Shape(16, 600, 4, False),
    Shape(64, 600, 4, False),
    Shape(64, 2400, 4, False),
    Shape(16, 600, 4, True),
)


def measure_detection(
    entries: list[Entry], settings: CompareSettings, folder: Path, progress: Progress
) -> list[Detection]:
    """Recall of every backend by margin, truth, head and budget, with the limit at 99 %.

    Each backend is judged on the checkers' verdicts about its own certificates, as in the comparison itself.
    """
    heads: list[tuple[Shape, PlantedHead]] = []
    rounds: list[Round] = []
    for shape in SHAPES:
        domain = None if shape.offsets else Ball(float(shape.d))
        head = planted_head(shape.d, shape.v, LEVELS, shape.per_level, settings.seed, shape.offsets, domain)
        task = _task(head, shape)
        heads += [(shape, head)] * len(BUDGETS)
        able = [entry for entry in entries if entry.load().why_not(head.problem) is None]
        for iterations in BUDGETS:
            # Complete methods are only asked once: they stop when they are done.
            asked = [entry for entry in able if iterations is None or not entry.load().capabilities.complete]
            rounds.append(Round(task, asked, replace(settings.share(PART), iterations=iterations)))
    results = []
    for (shape, head), one, records in zip(heads, rounds, compare_rounds(rounds, folder, progress), strict=True):
        for entry in one.entries:
            mine = [record for record in records if record.backend == entry.name]
            results.append(_result(entry.name, shape, one.settings.iterations, head, mine))
    return results


def _task(head: PlantedHead, shape: Shape) -> Task:
    truth = ["speakable" if speakable else "unspeakable" for speakable in head.speakable]
    strata = [f"{level:g}" for level in head.levels]
    name = f"planted-{shape.d}-{shape.v}{'-offsets' if shape.offsets else ''}"
    # Mixed, so that a backend that runs out of time has tried some of every level.
    order = np.random.default_rng(0).permutation(len(head.rows))
    rows = head.rows[order]
    return Task(head.problem, name, rows, rows, [strata[i] for i in order], [truth[i] for i in order])


def _result(backend: str, shape: Shape, iterations: int | None, head: PlantedHead, records: list[Row]) -> Detection:
    by_row = {record.token_id: record for record in records}
    tried = np.array([int(row) in by_row for row in head.rows])
    truth = np.where(head.speakable, "speakable", "unspeakable")
    mine = [by_row.get(int(row)) for row in head.rows]
    found = np.array([one is not None and one.verified == truth[i] for i, one in enumerate(mine)])
    misclaimed = [one is not None and one.claim not in (None, truth[i]) for i, one in enumerate(mine)]
    sides = {name: (truth == name) & tried for name in ("speakable", "unspeakable")}
    limits = {name: _limit(head.levels[at], found[at]) if at.any() else None for name, at in sides.items()}
    return Detection(
        backend=backend,
        d=shape.d,
        v=shape.v,
        per_level=shape.per_level,
        offsets=shape.offsets,
        iterations=iterations,
        tried=int(tried.sum()),
        plants=len(head.rows),
        misclaimed=sum(misclaimed),
        seconds=float(sum(record.seconds for record in records)),
        **limits,
    )


def _limit(levels: Float[np.ndarray, " n"], found: Bool[np.ndarray, " n"]) -> Limit:
    recall = recall_by_level(levels, found)
    level, hits, tried = (
        np.array(column) for column in zip(*((r.level, r.found, r.tried) for r in recall), strict=True)
    )
    limit = detection_limit(level, hits, tried)
    return Limit(recall=tuple(recall), limit=limit.level, statement=limit.statement())


# --- recall by level ---


def recall_by_level(
    levels: Float[np.ndarray, " n"], found: Bool[np.ndarray, " n"], confidence: float = 0.95
) -> list[Level]:
    """Recall per level with its interval of Wilson, largest level first.

    Args:
        levels: `(n,)` the level of each plant (of one truth: pass the speakable ones or the others).
        found: `(n,)` whether it was found.
        confidence: of the intervals.

    Raises:
        BadInput: lengths differ, or there is nothing.
    """
    if len(levels) != len(found) or not len(levels):
        raise BadInput("recall needs one found flag per plant, and at least one plant")
    table = []
    for level in np.unique(np.asarray(levels, dtype=np.float64))[::-1].tolist():
        here = np.asarray(levels) == level
        rate = wilson(int(np.asarray(found)[here].sum()), int(here.sum()), confidence)
        table.append(Level(level=level, rate=rate.share, **asdict(rate)))
    return table


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
