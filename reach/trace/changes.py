"""When a token became speakable or stopped being so, as far as the checkpoints tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from reach.runs.columns import Codes
from reach.runs.schema import VERDICT_NAMES

_SPEAKABLE, _UNDECIDED = VERDICT_NAMES.index("speakable"), VERDICT_NAMES.index("undecided")
NEVER = -1


@dataclass(frozen=True)
class Changes:
    """One entry per token; places are indices of steps, −1 where there is none.

    A change lies between two checkpoints at which verdicts were proved. Where those between them are undecided, so is
    all that lies between. What happened between two neighbouring checkpoints and was undone there, nobody has seen.

    Attributes:
        first, last: the first and the last place with a proved verdict.
        became: `(n, 2)` the last place at which a token was not speakable before it became so, and the first at which
            it was; of several such changes the latest. Tied counts as not speakable.
        stopped: `(n, 2)` the same of the latest change to not speakable.
        count: changes of verdict among speakable, tied and unspeakable, undecided steps aside.
        turns: of these, changes between speakable and not.
    """

    first: Int[np.ndarray, " n"]
    last: Int[np.ndarray, " n"]
    became: Int[np.ndarray, "n 2"]
    stopped: Int[np.ndarray, "n 2"]
    count: Int[np.ndarray, " n"]
    turns: Int[np.ndarray, " n"]

    @property
    def oscillates(self) -> np.ndarray:
        """`(n,)` whether a token turned more than once: it went back on a change."""
        return self.turns > 1


def changes(verdict: Codes) -> Changes:
    """Follow `(t, n)` verdicts, indices into `VERDICT_NAMES`, over the steps."""
    n = verdict.shape[1]
    before = np.full(n, -1)  # the place of the latest proved verdict
    first = np.full(n, NEVER)
    became, stopped = (np.full((n, 2), NEVER) for _ in range(2))
    count, turns = (np.zeros(n, dtype=np.int64) for _ in range(2))
    for at, now in enumerate(verdict):
        decided = now < _UNDECIDED
        told = np.flatnonzero(decided & (before >= 0))
        then = verdict[before[told], told]
        count[told] += then != now[told]
        can, could = now[told] == _SPEAKABLE, then == _SPEAKABLE
        turns[told] += can != could
        for pairs, turned in ((became, told[can & ~could]), (stopped, told[~can & could])):
            pairs[turned] = np.stack([before[turned], np.full(len(turned), at)], axis=1)
        first = np.where(decided & (first < 0), at, first)
        before = np.where(decided, at, before)
    return Changes(first, before, became, stopped, count, turns)
