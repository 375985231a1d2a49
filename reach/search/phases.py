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
from reach.search.levels import CONTINUOUS
from reach.search.options import SearchSettings
from reach.search.prompts import Prompts
from reach.search.soft import optimise
from reach.search.starts import Aims, Bank, Progress, Starts, Task, TimeIsUp

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
    time_is_up: TimeIsUp,
    progress: Progress,
) -> bool:
    """Do one phase, until it is done or time is up; says whether time cut it short."""
    ledger = prompts.ledger
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
    starts = Starts(prompts.live, ledger, prompts.bank, aims, seed)
    # In random order: where time runs out, what was tried is a fair sample.
    targets = np.random.default_rng(seed).permutation(ledger.missing(phase.level))
    where = (phase.level, phase.length, targets, starts, settings)
    search_level(prompts, Task(*where, time_is_up, progress, generator))
    return time_is_up() and len(ledger.missing(phase.level)) > 0


def search_level(prompts: Prompts, task: Task, *, chance: bool = True) -> None:
    """Search one level at one length: soft prompts, or prompts of real tokens. Args: as `search_prompts` says."""
    live, level, settings = prompts.live, task.level, task.settings
    if level not in CONTINUOUS:
        search_prompts(prompts, task, chance=chance)
        return
    held, kind = (len(live.rows), "hull step") if level == "hull" else (live.v, "step")
    size = BatchSize(settings.batch, settings.device, max(held, live.v), prompts.size.pace, kind)
    optimise(live, prompts.ledger, task, size)


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
    generator = torch.Generator().manual_seed(seed)
    own = apart(prompts, wanted, settings, time_is_up, Bank())
    own.run(own.random_ids(_RANDOM, length, generator), "random", keep=True, time_is_up=time_is_up)
    if level in CONTINUOUS:
        # What the random prompts brought up says nothing of the optimiser.
        own.ledger = Ledger(prompts.ledger.v, wanted, clock=prompts.ledger.clock)
    scratch = own.ledger

    def step() -> None:
        if watch is not None:
            watch(scratch)

    step()
    starts = Starts(prompts.live, scratch, own.bank, aims, seed, alone=True)
    sample = np.random.default_rng(seed).permutation(np.flatnonzero(wanted))
    task = Task(level, length, sample, starts, settings, time_is_up, step, generator)
    search_level(own, task, chance=chance)
    return scratch


def random_search(
    prompts: Prompts,
    wanted: Bool[np.ndarray, " v"],
    level: str,
    length: int,
    settings: SearchSettings,
    time_is_up: Deadline,
    seed: int,
    watch: Callable[[Ledger], None],
) -> Ledger:
    """What chance alone finds: the line to beat. Args: as `fresh_search` says."""
    own = apart(prompts, wanted, settings, time_is_up, prompts.bank)
    generator = torch.Generator().manual_seed(seed)
    while len(own.ledger.missing(level)) and not time_is_up():
        own.run(own.draw(level, _RANDOM, length, generator), "random", level=level, time_is_up=time_is_up)
        watch(own.ledger)
    return own.ledger


def apart(
    prompts: Prompts, wanted: Bool[np.ndarray, " v"], settings: SearchSettings, time_is_up: Deadline, bank: Bank
) -> Prompts:
    """The same model with finds of its own, in steps that are short beside the time that there is."""
    ledger = Ledger(prompts.ledger.v, wanted, clock=prompts.ledger.clock)
    size = prompts.size.within(time_is_up.left / STEPS)
    return Prompts(prompts.live, ledger, prompts.trip, bank, size, settings.min_margin or 0.0)
