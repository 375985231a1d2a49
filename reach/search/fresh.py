"""A search of some tokens from nothing: no earlier finds, starting points or random numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool

from reach.search.batching import BatchSize
from reach.search.budget import Deadline
from reach.search.continuous import optimise
from reach.search.discrete import search_prompts
from reach.search.ledger import Ledger
from reach.search.levels import CONTINUOUS, freedom
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.starts import Bank, Starts
from reach.search.verdicts import Aims

_RANDOM = 512
"""Random prompts to start from."""
STEPS = 4
"""Steps that fit into a search, at least: a short one takes shorter steps."""


def fresh_search(
    prompts: Prompts,
    wanted: Bool[np.ndarray, " v"],
    level: str,
    length: int,
    settings: SearchSettings,
    aims: Aims | None,
    time_is_up: Deadline,
    seed: int,
    watch: Callable[[Ledger], None] | None = None,
    *,
    chance: bool = True,
) -> Ledger:
    """Search one level at one length until time is up, or all is found or tried out.

    Args:
        prompts: the model and the tokenizer; its finds are left alone.
        wanted: tokens to look for.
        level, length: where.
        settings: optimiser, loss, steps and restarts.
        aims: where the head's witnesses lie.
        time_is_up: the time limit.
        seed: of everything random.
        watch: shown the finds after every step.
        chance: random prompts take turns with guided ones, as in the search itself.
    """
    live, clock = prompts.live, prompts.ledger.clock
    generator = torch.Generator().manual_seed(seed)
    scratch, bank = Ledger(prompts.ledger.v, wanted, clock=clock), Bank()
    size = prompts.size.within(time_is_up.left / STEPS)
    own = Prompts(live, scratch, prompts.trip, bank, size, settings.min_margin or 0.0)
    own.run(own.random_ids(_RANDOM, length, generator), "random", keep=True, time_is_up=time_is_up)
    if level in CONTINUOUS:
        # What the random prompts brought up says nothing of the optimiser.
        scratch = own.ledger = Ledger(prompts.ledger.v, wanted, clock=clock)
    if watch is not None:
        watch(scratch)
    starts = Starts(live, scratch, bank, aims, seed, alone=True)
    sample = np.random.default_rng(seed).permutation(np.flatnonzero(wanted))

    def step() -> None:
        if watch is not None:
            watch(scratch)

    if level in CONTINUOUS:
        held = len(live.rows) if level == "hull" else 0
        kind = "hull step" if level == "hull" else "step"
        steps = BatchSize(settings.batch, settings.device, max(live.v, held), size.pace, kind)
        space = freedom(level, live.rows)
        optimise(live, scratch, space, length, sample, starts, settings, steps, time_is_up, step)
    else:
        search_prompts(own, level, length, sample, starts, settings, time_is_up, generator, step, chance=chance)
    return scratch
