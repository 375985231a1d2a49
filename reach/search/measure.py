"""Everything that is measured about a search after it: planted targets, independent runs, and curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from reach.search.budget import Deadline
from reach.search.curves import optimiser_curves
from reach.search.prompts import Prompts
from reach.search.settings import LEVELS, SearchSettings
from reach.search.strength import Finds, independent_runs, planted_recall
from reach.search.unfound import unfound
from reach.search.verdicts import Aims

PLANTED, RUNS = 0.2, 0.4
"""Shares of planted targets and of independent runs in the time for measuring; the curves have the rest."""


def measure_strength(
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    levels: list[str],
    say: Callable[[str], None],
    deadline: Deadline | None = None,
) -> tuple[dict[str, Any], Finds]:
    """Measure, in the share of the budget that is set aside for it.

    Args:
        prompts: the model and what the search has found.
        settings: the search's.
        aims: where the head's witnesses lie.
        levels: those searched.
        say: told what goes on.
        deadline: for all of it; none takes the share of the budget from now on.

    Returns:
        The record without what only the finished search can say, and inputs found on the way for tokens that the
        search lacks: they may count once all is measured, not before.
    """
    if deadline is None:
        deadline = Deadline.after(settings.strength * settings.budget, prompts.ledger.clock)
    ledger = prompts.ledger
    before = {level: int((ledger.found[level] & ledger.wanted).sum()) for level in levels}
    planted, finds = _planted(prompts, settings, levels, say, deadline.part(PLANTED))
    runs = []
    length = settings.lengths[min(1, len(settings.lengths) - 1)]
    for_runs = deadline.part(RUNS / (1 - PLANTED))
    least = for_runs.left / max(1, len(levels)) / 2
    for number, level in enumerate(levels):
        say(f"independent runs, {level}")
        # Where steps take long, the last levels take from the curves rather than have no runs.
        mine = max(least, for_runs.left / (len(levels) - number))
        found = independent_runs(prompts, level, length, settings, aims, deadline.within(mine))
        if found is not None:
            runs.append(found[0])
            finds += found[1]
    curves, new = optimiser_curves(prompts, settings, aims, levels, deadline, say)
    return {"planted": planted, "runs": runs, "curves": curves, "found_before": before}, finds + new


def _planted(
    prompts: Prompts, settings: SearchSettings, levels: list[str], say: Callable[[str], None], deadline: Deadline
) -> tuple[list[dict[str, Any]], Finds]:
    """Recall of planted targets at every level and length, the time for them shared evenly."""
    generator = torch.Generator().manual_seed(settings.seed + 424_242)
    records = []
    finds: Finds = []
    ahead = len(levels) * len(settings.lengths)
    for level in levels:
        say(f"planted inputs, {level}")
        for length in settings.lengths:
            one, new = planted_recall(prompts, level, length, generator, deadline.part(1 / ahead))
            records.append(one)
            finds += new
            ahead -= 1
    return records, finds


def credit(prompts: Prompts, finds: Finds) -> int:
    """Count what the measuring found; says how many tokens times levels were new. They are yet to be replayed."""
    ledger = prompts.ledger
    before = ledger.hits
    for token, witness in finds:
        ledger.add(token, witness)
    return ledger.hits - before


def with_unfound(record: dict[str, Any], prompts: Prompts, levels: list[str]) -> dict[str, Any]:
    """The record with what is still unfound, at least, when everything has been counted."""
    wanted, found = prompts.ledger.wanted, prompts.ledger.found
    now = {level: int((found[level] & wanted).sum()) for level in LEVELS if level in levels}
    # A find of the runs that did not replay, or for which there was no time, is none.
    runs = [one | {"confirmed": int(found[one["level"]][one["missed_by_search"]].sum())} for one in record["runs"]]
    record = record | {"runs": runs}
    return record | {"unfound": unfound(record, now, int(np.count_nonzero(wanted)))}
