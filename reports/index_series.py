"""Checkpoints of one training run, found by the names of their folders: one model that grows, not a dozen models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reach.trace.naming import STEP_WORDS, split_step
from reports.index_runs import IndexedRun

_NAMED = re.compile(rf"(?:^|[^a-z])(?:{STEP_WORDS})[-_=]?\d", re.IGNORECASE)
_TOKENS = re.compile(r"[-_]tokens\d+[kmbt]?", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where a run stands in a series.

    Attributes:
        series: its name.
        key: which series it is: two may be of one name.
        step: number of the checkpoint.
        last: whether no later one was scanned.
    """

    series: str
    key: int
    step: int
    last: bool


def places_of(runs: Sequence[IndexedRun]) -> list[Place | None]:
    """For each run its place among the checkpoints of its training; None for those that stand alone.

    Folders belong together that lie in one folder, have names like `checkpoint-21` that differ in the number, and
    hold scans of heads of one shape over one domain. A number alone is no step here: gpt-2 and gpt-3 are two models.
    """
    groups: dict[tuple[str, str, tuple[object, ...]], dict[int, int]] = {}
    for at, run in enumerate(runs):
        folder, _, own = run.name.rpartition("/")
        # How many tokens a checkpoint has seen is no name of its own: step1000-tokens4B.
        found = split_step(_TOKENS.sub("", own)) if _NAMED.search(own) else None
        if found is None or run.problem is not None:
            continue
        stem, step = found
        key = folder, stem, (run.family, run.v, run.d, run.group)
        # Of two names for one number, such as step-7 and step-07, the first counts.
        groups.setdefault(key, {}).setdefault(step, at)
    places: list[Place | None] = [None] * len(runs)
    for at_group, ((folder, stem, _), members) in enumerate(groups.items()):
        if len(members) < 2:
            continue
        name = "/".join(part for part in (folder, stem) if part) or "checkpoints"
        for step, at in members.items():
            places[at] = Place(name, at_group, step, step == max(members))
    return places
