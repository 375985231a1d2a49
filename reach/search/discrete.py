"""The levels of real tokens: prompts led by gradients and random ones, whichever finds more just now."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64

from reach.search.continuous import Clock, Progress
from reach.search.gradient_prompts import Guided
from reach.search.nano_prompts import nano_guided
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.starts import Starts

_RANDOM = 512
_LOOK_AGAIN = 8
"""Every so many turns the other way is tried: which is better changes as the easy tokens run out."""
_MEMORY = 0.8


@dataclass
class _Yield:
    """Tokens found and seconds spent by one way, older turns counting less."""

    found: float = 0.0
    seconds: float = 0.0

    def note(self, found: int, seconds: float) -> None:
        self.found = _MEMORY * self.found + found
        self.seconds = _MEMORY * self.seconds + seconds

    @property
    def rate(self) -> float:
        return self.found / self.seconds if self.seconds > 0 else float("inf")


def search_prompts(
    prompts: Prompts,
    level: str,
    length: int,
    targets: Int64[np.ndarray, " n"],
    starts: Starts,
    settings: SearchSettings,
    time_is_up: Clock,
    generator: torch.Generator,
    progress: Progress = lambda: None,
    *,
    chance: bool,
) -> None:
    """Search prompts of one length for all targets, until each has been found or tried out, or time is up.

    Args:
        prompts: what runs prompts and keeps finds.
        level: `tokens` or `text`.
        length: free positions.
        targets: tokens to look for.
        starts: where attempts begin.
        settings: engine, steps and restarts.
        time_is_up: asked at every turn.
        generator: of everything random.
        progress: called after every turn.
        chance: give turns to random prompts as well, as long as they find as many tokens per second.

    Raises:
        MissingExtra: the engine asked for is not installed.
    """
    if settings.guided == "nanogcg":
        nano_guided(prompts, level, length, targets, starts, settings, time_is_up, progress)
        return
    guided = Guided(prompts, level, length, targets, starts, settings, generator)
    ways = (_Yield(), _Yield())
    turn, clock = 0, prompts.ledger.clock
    missing = len(prompts.ledger.missing(level))
    while missing and not time_is_up():
        best = int(ways[1].rate > ways[0].rate)
        way = (1 - best if turn % _LOOK_AGAIN == 0 else best) if chance else 0
        started, before = clock(), missing
        if way == 0:
            if not guided.step():
                return
        else:
            drawn = prompts.draw(level, _RANDOM, length, generator)
            prompts.run(drawn, "random", level=level, time_is_up=time_is_up)
        missing = len(prompts.ledger.missing(level))
        ways[way].note(before - missing, clock() - started)
        turn += 1
        progress()
