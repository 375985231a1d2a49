"""Everything that is measured about a search after it: planted targets, independent runs, and curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from reach.search.curves import optimiser_curves
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.strength import Finds, estimated_unfound, independent_runs, planted_recall
from reach.search.verdicts import Aims


def measure_strength(
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    levels: list[str],
    say: Callable[[str], None],
) -> tuple[dict[str, Any], Finds]:
    """Measure, in the share of the budget that is set aside for it.

    Returns:
        The record without what only the finished search can say, and inputs found on the way for tokens that the
        search lacks: they may count once all is measured, not before.
    """
    generator = torch.Generator().manual_seed(settings.seed + 424_242)
    planted, runs = [], []
    finds: Finds = []
    for level in levels:
        say(f"planted inputs, {level}")
        for length in settings.lengths:
            one, new = planted_recall(prompts, level, length, generator)
            planted.append(one)
            finds += new
    seconds = settings.strength * settings.budget / 2
    length = settings.lengths[min(1, len(settings.lengths) - 1)]
    for level in levels:
        say(f"independent runs, {level}")
        found = independent_runs(prompts, level, length, settings, aims, seconds / max(1, len(levels)))
        if found is not None:
            runs.append(found[0])
            finds += found[1]
    curves, new = optimiser_curves(prompts, settings, aims, levels, seconds, say)
    return {"planted": planted, "runs": runs, "curves": curves}, finds + new


def credit(prompts: Prompts, finds: Finds) -> int:
    """Count what the measuring found; says how many tokens times levels were new. They are yet to be replayed."""
    ledger = prompts.ledger
    before = ledger.hits
    for token, witness in finds:
        ledger.add(token, witness)
    return ledger.hits - before


def with_unfound(record: dict[str, Any], prompts: Prompts) -> dict[str, Any]:
    """The record with the estimates of what is still unfound when everything has been counted."""
    wanted, found = prompts.ledger.wanted, prompts.ledger.found
    runs = [
        one | {"unfound": estimated_unfound(one, int((found[one["level"]] & wanted).sum()), int(wanted.sum()))}
        for one in record["runs"]
    ]
    return record | {"runs": runs}
