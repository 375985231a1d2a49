"""How strong is the search? What it was not told about, what independent runs agree on, what is estimated unfound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from reach.search.budget import Deadline
from reach.search.fresh import fresh_search
from reach.search.ledger import Witness
from reach.search.plants import draw_plants
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.verdicts import Aims
from reach.search.winners import winners
from reach.strength.capture_recapture import Richness, chao2, chapman
from reach.strength.rates import Rate, wilson

PLANTS = 2048
"""Random inputs per level and length."""
SAMPLE = 128
RUNS = 3


Finds = list[tuple[int, Witness]]


def planted_recall(
    prompts: Prompts,
    level: str,
    length: int,
    generator: torch.Generator,
    time_is_up: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, Any], Finds]:
    """Tokens that fresh random inputs of a level bring up, and how many of them the search had found.

    Args:
        prompts: the model and what the search has found.
        level, length: of the inputs.
        generator: of everything random.
        time_is_up: asked before each batch.

    Returns:
        A record, and an input for every token that the search had not found, whether it looked for it or not.
    """
    ledger = prompts.ledger
    counts, drawn = np.zeros(ledger.v, dtype=np.int64), 0
    finds: dict[int, Witness] = {}
    at, clock = 0, ledger.clock
    while at < PLANTS and not time_is_up():
        began, count = clock(), min(256, PLANTS - at, prompts.size.at(length))
        plants = draw_plants(prompts, level, length, count, generator)
        at += count
        if not len(plants.e):
            continue
        found = winners(prompts.live.run(plants.e, gradient=False, last=True).logits)
        margin = found.margin[:, -1]
        sure = torch.nonzero((margin > prompts.live.rounding) & plants.legal)[:, 0].tolist()
        for row in sure:
            token = int(found.top[row, -1])
            counts[token] += 1
            if not ledger.found[level][token] and token not in finds:
                finds[token] = plants.witness(row, float(margin[row]))
        drawn += len(sure)
        prompts.size.note(count, length, clock() - began)
    asked, known = ledger.wanted, ledger.found[level]
    said, rare = np.flatnonzero((counts > 0) & asked), np.flatnonzero((counts == 1) & asked)
    record = {
        "level": level,
        "length": length,
        "inputs": drawn,
        "all": _rate(int(known[said].sum()), len(said)),
        "rare": _rate(int(known[rare].sum()), len(rare)),
        "missed": said[~known[said]].tolist(),
    }
    return record, list(finds.items())


def independent_runs(
    prompts: Prompts,
    level: str,
    length: int,
    settings: SearchSettings,
    aims: Aims | None,
    deadline: Deadline,
) -> tuple[dict[str, Any], Finds] | None:
    """Search the same sample of tokens several times from nothing, and let the agreement speak.

    The runs share no finds, no starting points and no random numbers, and each gets the same time. Tokens of the
    sample that the search or any run has reached are known to be reachable: the share of them that one run reaches is
    its recall.
    """
    pool = np.flatnonzero(prompts.ledger.wanted)
    seconds = deadline.left / RUNS
    if not len(pool) or seconds <= 0:
        return None
    rng = np.random.default_rng(settings.seed + 7)
    sample = np.sort(rng.choice(pool, size=min(SAMPLE, len(pool)), replace=False))
    wanted = np.zeros(prompts.ledger.v, dtype=bool)
    wanted[sample] = True
    incidence, attempted, spent, inputs = [], [], [], []
    finds: Finds = []
    less = replace(settings, restarts=2)
    for run in range(RUNS):
        seed = settings.seed + 1000 * (run + 1)
        scratch = fresh_search(prompts, wanted, level, length, less, aims, deadline.within(seconds), seed)
        incidence.append(scratch.found[level][sample])
        attempted.append(int((scratch.found[level] | (scratch.tries[level] > 0))[sample].sum()))
        spent.append(scratch.seconds)
        inputs.append(int(sum(scratch.inputs.values())))
        finds += list(scratch.witnesses[level].items())
    found = np.stack(incidence)
    known = prompts.ledger.found[level][sample] | found.any(axis=0)
    first, second = found[0], found[1]
    record = {
        "level": level,
        "length": length,
        "sample": len(sample),
        "runs": RUNS,
        "found": found.sum(axis=1).tolist(),
        "attempted": attempted,
        "seconds": [round(one, 2) for one in spent],
        "inputs": inputs,
        "known": int(known.sum()),
        "union": int(found.any(axis=0).sum()),
        "recall": _rate(int(found[:, known].sum()), int(known.sum()) * RUNS),
        "chao2": _richness(chao2(found)) if found.any() else None,
        "chapman": _richness(chapman(int(first.sum()), int(second.sum()), int((first & second).sum())))
        if (first | second).any()
        else None,
        "missed_by_search": sample[found.any(axis=0) & ~prompts.ledger.found[level][sample]].tolist(),
    }
    return record, finds


def _rate(found: int, tried: int) -> dict[str, Any] | None:
    if tried == 0:
        return None
    rate: Rate = wilson(found, tried)
    return {"found": found, "tried": tried, "share": rate.share, "low": rate.low, "high": rate.high}


def _richness(value: Richness) -> dict[str, Any]:
    high = value.high if np.isfinite(value.high) else None
    return {"estimate": value.estimate, "low": value.low, "high": high if high is not None else 1e9}
