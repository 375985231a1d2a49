"""Detection limits: the smallest planted margin that each backend finds, as a function of its budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reach.compare.compare import Progress, Round, Task, compare_rounds
from reach.compare.settings import CompareSettings
from reach.strength.planted import PlantedHead, planted_head
from reach.strength.recall import detection_limit, recall_by_level
from solvers.domains import Ball
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
) -> list[dict[str, Any]]:
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
            mine = [record for record in records if record["backend"] == entry.name]
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


def _result(
    backend: str, shape: Shape, iterations: int | None, head: PlantedHead, records: list[dict[str, Any]]
) -> dict[str, Any]:
    by_row = {record["token_id"]: record for record in records}
    tried = np.array([int(row) in by_row for row in head.rows])
    truth = np.where(head.speakable, "speakable", "unspeakable")
    found = np.array(
        [by_row[int(row)]["verified"] == truth[i] if tried[i] else False for i, row in enumerate(head.rows)]
    )
    claims = [by_row[int(row)]["claim"] if tried[i] else None for i, row in enumerate(head.rows)]
    misclaimed = [claim is not None and claim != truth[i] for i, claim in enumerate(claims)]
    result: dict[str, Any] = {
        "backend": backend,
        **asdict(shape),
        "iterations": iterations,
        "tried": int(tried.sum()),
        "plants": len(head.rows),
        "misclaimed": int(sum(misclaimed)),
        "seconds": float(sum(record["seconds"] or 0.0 for record in records)),
    }
    for name, members in (("speakable", head.speakable), ("unspeakable", ~head.speakable)):
        mine = members & tried
        if not mine.any():
            result[name] = None
            continue
        cells = recall_by_level(head.levels[mine], found[mine])
        limit = detection_limit(
            np.array([cell.level for cell in cells]),
            np.array([cell.rate.found for cell in cells]),
            np.array([cell.rate.tried for cell in cells]),
        )
        recall = [{"level": cell.level, "rate": cell.rate.share, **asdict(cell.rate)} for cell in cells]
        result[name] = {"recall": recall, "limit": limit.level, "statement": limit.statement()}
    return result
