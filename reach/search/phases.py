"""The order of the search: cheap and strict inputs first, because what they find stands at every looser level too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool

from reach.search.budget import BatchSize, Deadline
from reach.search.guided import search_prompts
from reach.search.ledger import Ledger
from reach.search.levels import CONTINUOUS, freedom
from reach.search.options import SearchSettings
from reach.search.prompts import Prompts
from reach.search.soft import optimise
from reach.search.starts import Aims, Bank, Starts

SAMPLED = 4096
"""Random prompts per length and kind."""
_PORTION = 512


@dataclass(frozen=True)
class Phase:
    """One stretch of work."""

    kind: str  # single | sampled | sampled text | optimised | guided
    level: str
    length: int

    @property
    def name(self) -> str:
        """Unique among the phases of a search."""
        return f"{self.kind}, {self.level}, length {self.length}"


def plan(settings: SearchSettings, *, text: bool) -> list[Phase]:
    """All phases in order."""
    levels = settings.levels
    discrete = [level for level in ("tokens", "text") if level in levels and (level == "tokens" or text)]
    phases = []
    if 1 in settings.lengths:
        # Also the bank of starting points for the other levels: always worth one pass each.
        phases.append(Phase("single", "tokens", 1))
    longer = [length for length in settings.lengths if length > 1]
    phases += [Phase("sampled", "tokens", length) for length in longer]
    phases += [Phase("sampled text", "text", length) for length in longer if "text" in discrete]
    for level in reversed(CONTINUOUS):
        if level in levels:
            phases += [Phase("optimised", level, length) for length in settings.lengths]
    for level in discrete:
        phases += [Phase("guided", level, length) for length in longer]
    return phases


def run_phase(
    phase: Phase,
    prompts: Prompts,
    settings: SearchSettings,
    aims: Aims | None,
    time_is_up: Callable[[], bool],
    progress: Callable[[], None],
) -> bool:
    """Do one phase, until it is done or time is up; says whether time cut it short."""
    live, ledger = prompts.live, prompts.ledger
    seed = settings.seed * 1_000_003 + sum(map(ord, phase.name))
    generator = torch.Generator().manual_seed(seed)
    if phase.kind == "single":
        return bool((prompts.single_tokens(generator, time_is_up) < 0).any())
    if phase.kind.startswith("sampled"):
        # In portions, so that progress shows and time is kept.
        drawn = 0
        while drawn < SAMPLED and not time_is_up():
            most = min(_PORTION, SAMPLED - drawn)
            ids = prompts.draw(phase.level, most, phase.length, generator)
            prompts.run(ids, phase.kind, keep=True, level=phase.level, time_is_up=time_is_up)
            drawn += len(ids) or most  # a tokenizer may let no prompt pass
            progress()
        return drawn < SAMPLED and len(ledger.missing(phase.level)) > 0
    starts = Starts(live, ledger, prompts.bank, aims, seed)
    # In random order: where time runs out, what was tried is a fair sample.
    targets = np.random.default_rng(seed).permutation(ledger.missing(phase.level))
    if phase.kind == "optimised":
        held = live.rows.shape[0] if phase.level == "hull" else live.v
        kind = "hull step" if phase.level == "hull" else "step"
        size = BatchSize(settings.batch, settings.device, max(held, live.v), prompts.size.pace, kind)
        optimise(
            live, ledger, freedom(phase.level, live.rows), phase.length, targets, starts, settings, size, time_is_up,
            progress,
        )  # fmt: skip
    else:
        search_prompts(
            prompts,
            phase.level,
            phase.length,
            targets,
            starts,
            settings,
            time_is_up,
            generator,
            progress,
            chance=True,
        )
    return time_is_up() and len(ledger.missing(phase.level)) > 0


# --- from nothing ---------------------------------------------------------------------------------------------------

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
