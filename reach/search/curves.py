"""Found against budget: the same tokens from nothing, by every optimiser at every level and length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from reach.search.budget import Deadline
from reach.search.fresh import STEPS, fresh_search
from reach.search.ledger import Ledger, Witness
from reach.search.levels import CONTINUOUS
from reach.search.prompts import Prompts
from reach.search.settings import OPTIMISERS, SearchSettings
from reach.search.verdicts import Aims

SAMPLE = 128
_POINTS = 32
LEAST_SECONDS = 0.1
"""A method that has less time shows how it starts and not how it searches."""
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


def _rounds(settings: SearchSettings, levels: list[str]) -> list[list[tuple[str, int, str]]]:
    """The contests of each level and length, the length of the independent runs first, then the others."""
    groups: dict[tuple[str, int], list[tuple[str, int, str]]] = {}
    for one in contests(settings, levels):
        groups.setdefault(one[:2], []).append(one)
    order = list(settings.lengths)
    first = order[min(1, len(order) - 1)]
    return sorted(groups.values(), key=lambda group: (group[0][1] != first, order.index(group[0][1])))


def optimiser_curves(
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    levels: list[str],
    deadline: Deadline,
    say: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[tuple[int, Witness]]]:
    """Curves of tokens found, for one sample of the tokens looked for.

    Every method gets the same time, the same tokens and the same random numbers, and uses nothing found before. Where
    there is not time enough for all levels and lengths, some of these are left out.

    Args:
        prompts: the model, the tokenizer and what the search has found.
        settings: the search's; the optimiser is varied, its step size too unless one was asked for.
        aims: where the head's witnesses lie.
        levels: those searched.
        deadline: for all curves together.
        say: told what goes on.

    Returns:
        One record per curve with points of inputs tried, seconds and tokens found, in the order of `contests`; and
        the finds.
    """
    pool = np.flatnonzero(prompts.ledger.wanted)
    rounds = _rounds(settings, levels)
    if not len(pool) or not rounds:
        return [], []
    rng = np.random.default_rng(settings.seed + 11)
    sample = np.sort(rng.choice(pool, size=min(SAMPLE, len(pool)), replace=False))
    wanted = np.zeros(prompts.ledger.v, dtype=bool)
    wanted[sample] = True
    records: list[dict[str, Any]] = []
    finds: list[tuple[int, Witness]] = []

    def compete(level: str, length: int, method: str, time_is_up: Deadline) -> None:
        say(f"{method}, {level}, length {length}")
        points: list[tuple[int, float, int]] = []

        def watch(ledger: Ledger) -> None:
            found = int((ledger.found[level] & wanted).sum())
            points.append((int(sum(ledger.inputs.values())), round(ledger.seconds, 4), found))

        if method == RANDOM:
            scratch = _random_prompts(prompts, wanted, level, length, settings, time_is_up, watch)
        else:
            mine = settings if method == GUIDED else replace(settings, optimiser=method)
            scratch = fresh_search(
                prompts,
                wanted,
                level,
                length,
                mine,
                aims,
                time_is_up,
                settings.seed + 77,
                watch,
                chance=False,
            )
        watch(scratch)
        finds.extend(scratch.witnesses[level].items())
        records.append(
            {"level": level, "length": length, "method": method, "sample": len(sample), "points": _thin(points)}
        )

    ahead = sum(map(len, rounds))
    for group in rounds:
        left = deadline.left
        if left < LEAST_SECONDS * len(group):
            break
        share = max(LEAST_SECONDS, left / ahead)
        for one in group:
            compete(*one, deadline.within(share))
        ahead -= len(group)
    place = {one: at for at, one in enumerate(contests(settings, levels))}
    records.sort(key=lambda one: place[one["level"], one["length"], one["method"]])
    return records, finds


def _random_prompts(
    prompts: Prompts,
    wanted: np.ndarray,
    level: str,
    length: int,
    settings: SearchSettings,
    time_is_up: Deadline,
    watch: Callable[[Ledger], None],
) -> Ledger:
    """What chance alone finds: the line to beat."""
    scratch = Ledger(prompts.ledger.v, wanted, clock=prompts.ledger.clock)
    size = prompts.size.within(time_is_up.left / STEPS)
    own = Prompts(prompts.live, scratch, prompts.trip, prompts.bank, size, settings.min_margin or 0.0)
    generator = torch.Generator().manual_seed(settings.seed + 77)
    while len(scratch.missing(level)) and not time_is_up():
        own.run(own.draw(level, 512, length, generator), "random", level=level, time_is_up=time_is_up)
        watch(scratch)
    return scratch


def _thin(points: list[tuple[int, float, int]]) -> list[list[float]]:
    """The last point, and the first of each number found, no more than fit a figure."""
    steps = [one for at, one in enumerate(points) if at == 0 or one[2] != points[at - 1][2]]
    kept = [steps[at] for at in np.unique(np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).astype(int))]
    return [list(one) for one in (kept if kept[-1] == points[-1] else [*kept, points[-1]])]
