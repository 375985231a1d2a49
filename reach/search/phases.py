"""The order of the search: cheap and strict inputs first, because what they find stands at every looser level too."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from reach.search.batching import BatchSize
from reach.search.continuous import optimise
from reach.search.discrete import search_prompts
from reach.search.ledger import Ledger
from reach.search.levels import CONTINUOUS, freedom
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.starts import Starts
from reach.search.verdicts import Aims

SAMPLED = 4096
"""Random prompts per length and kind."""


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
) -> None:
    """Do one phase, until it is done or time is up. The pass over single tokens is always finished."""
    live, ledger = prompts.live, prompts.ledger
    seed = settings.seed * 1_000_003 + sum(map(ord, phase.name))
    generator = torch.Generator().manual_seed(seed)
    if phase.kind == "single":
        prompts.single_tokens(generator)
        return
    if phase.kind.startswith("sampled"):
        # In portions, so that progress shows and time is kept.
        for _ in range(0, SAMPLED, 512):
            draw = prompts.random_ids if phase.kind == "sampled" else prompts.random_text
            prompts.run(draw(512, phase.length, generator), phase.kind, keep=True, level=phase.level)
            progress()
            if time_is_up():
                return
        return
    starts = Starts(live, ledger, prompts.bank, aims, seed)
    # In random order: where time runs out, what was tried is a fair sample.
    targets = np.random.default_rng(seed).permutation(ledger.missing(phase.level))
    if phase.kind == "optimised":
        held = live.rows.shape[0] if phase.level == "hull" else live.v
        size = BatchSize(settings.batch, settings.device, max(held, live.v))
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


class Deadline:
    """Time shared among phases: each may take its part of what is left, and what it leaves goes to the others."""

    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self._ledger, self._total = ledger, seconds
        self._end = 0.0

    @property
    def left(self) -> float:
        """Seconds left of all."""
        return self._total - self._ledger.seconds

    def begin(self, phases_left: int) -> None:
        """Set the end of the next phase."""
        self._end = time.perf_counter() + max(0.0, self.left) / max(1, phases_left)

    def __call__(self) -> bool:
        """Whether the phase is over."""
        return time.perf_counter() >= self._end
