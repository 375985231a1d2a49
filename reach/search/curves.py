"""Found against budget: the same tokens from nothing, by every optimiser at every level and length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from reach.search.fresh import fresh_search
from reach.search.ledger import Ledger, Witness
from reach.search.levels import CONTINUOUS
from reach.search.prompts import Prompts
from reach.search.settings import OPTIMISERS, SearchSettings
from reach.search.verdicts import Aims

SAMPLE = 128
_POINTS = 32
GUIDED = "gradient-guided prompts"
RANDOM = "random prompts"


def contests(settings: SearchSettings, levels: list[str]) -> list[tuple[str, int, str]]:
    """Level, length and method of every curve."""
    rows = []
    for level in levels:
        for length in settings.lengths:
            if level in CONTINUOUS:
                rows += [(level, length, name) for name in OPTIMISERS if name != "auto"]
            elif length > 1:  # single tokens are tried out, nothing is left to search
                rows += [(level, length, GUIDED), (level, length, RANDOM)]
    return rows


def optimiser_curves(
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    levels: list[str],
    seconds: float,
    say: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[tuple[int, Witness]]]:
    """Curves of tokens found, for one sample of the tokens looked for.

    Every method gets the same time, the same tokens and the same random numbers, and uses nothing found before.

    Args:
        prompts: the model, the tokenizer and what the search has found.
        settings: the search's; the optimiser is varied, its step size too unless one was asked for.
        aims: where the head's witnesses lie.
        levels: those searched.
        seconds: for all curves together.
        say: told what goes on.

    Returns:
        One record per curve with points of inputs tried, seconds and tokens found; and the finds.
    """
    pool = np.flatnonzero(prompts.ledger.wanted)
    rows = contests(settings, levels)
    if not len(pool) or not rows or seconds <= 0:
        return [], []
    rng = np.random.default_rng(settings.seed + 11)
    sample = np.sort(rng.choice(pool, size=min(SAMPLE, len(pool)), replace=False))
    wanted = np.zeros(prompts.ledger.v, dtype=bool)
    wanted[sample] = True
    records, finds = [], []
    for level, length, method in rows:
        say(f"{method}, {level}, length {length}")
        points: list[tuple[int, float, int]] = []

        def watch(ledger: Ledger, level: str = level, points: list[tuple[int, float, int]] = points) -> None:
            found = int((ledger.found[level] & wanted).sum())
            points.append((int(sum(ledger.inputs.values())), round(ledger.seconds, 4), found))

        share = seconds / len(rows)
        if method == RANDOM:
            scratch = _random_prompts(prompts, wanted, level, length, settings, share, watch)
        else:
            mine = settings if method == GUIDED else replace(settings, optimiser=method)
            scratch = fresh_search(
                prompts,
                wanted,
                level,
                length,
                mine,
                aims,
                share,
                settings.seed + 77,
                watch,
                chance=False,
            )
        watch(scratch)
        finds += list(scratch.witnesses[level].items())
        records.append(
            {"level": level, "length": length, "method": method, "sample": len(sample), "points": _thin(points)}
        )
    return records, finds


def _random_prompts(
    prompts: Prompts,
    wanted: np.ndarray,
    level: str,
    length: int,
    settings: SearchSettings,
    seconds: float,
    watch: Callable[[Ledger], None],
) -> Ledger:
    """What chance alone finds: the line to beat."""
    scratch = Ledger(prompts.ledger.v, wanted)
    own = Prompts(prompts.live, scratch, prompts.trip, prompts.bank, prompts.size, settings.min_margin or 0.0)
    generator = torch.Generator().manual_seed(settings.seed + 77)
    draw = own.random_text if level == "text" else own.random_ids
    while scratch.seconds < seconds and len(scratch.missing(level)):
        own.run(draw(512, length, generator), "random", level=level)
        watch(scratch)
    return scratch


def _thin(points: list[tuple[int, float, int]]) -> list[list[float]]:
    """The last point, and the first of each number found, no more than fit a figure."""
    steps = [one for at, one in enumerate(points) if at == 0 or one[2] != points[at - 1][2]]
    kept = [steps[at] for at in np.unique(np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).astype(int))]
    return [list(one) for one in (kept if kept[-1] == points[-1] else [*kept, points[-1]])]
