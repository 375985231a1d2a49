"""What has been found: which tokens, at which level, by which input, and after how much work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from reach.search.live import Winners
from reach.search.options import LEVELS
from reach.search.record import CurvePoint


@dataclass(frozen=True)
class Witness:
    """An input that made a token the argmax.

    Attributes:
        level: the strictest level that it is known to meet.
        length: free positions.
        margin: logit less the runner-up's, as the search saw it.
        ids: `(k,)` token ids (tokens and text), or
        points: `(k, d)` embeddings (free and norm), or
        weights: per position, rows and their weights (hull); row −1 is the mean of all rows.
        how: what found it.
    """

    level: str
    length: int
    margin: float
    ids: Int32[np.ndarray, " k"] | None = None
    points: Float32[np.ndarray, "k d"] | None = None
    weights: tuple[tuple[Int32[np.ndarray, " m"], Float32[np.ndarray, " m"]], ...] | None = None
    how: str = ""


@dataclass
class Ledger:
    """Everything found so far.

    Attributes:
        v: number of tokens.
        wanted: `(v,)` tokens that are looked for; others are credited all the same.
        witnesses: level to token to witness. A witness of a stricter level stands at all looser ones too.
        effort: level to `(v,)` optimisation steps spent on the token as a target.
        tries: level to `(v,)` attempts at the token as a target, and `wins`, those that ended with it.
        curve: tokens found against work.
        inputs: inputs tried per level.
        clock: seconds from any moment on: all that keeps time in a search asks this one.
        kept: witnesses ever added.
    """

    v: int
    wanted: np.ndarray
    witnesses: dict[str, dict[int, Witness]] = field(default_factory=lambda: {level: {} for level in LEVELS})
    effort: dict[str, np.ndarray] = field(default_factory=dict)
    tries: dict[str, np.ndarray] = field(default_factory=dict)
    wins: dict[str, np.ndarray] = field(default_factory=dict)
    curve: list[CurvePoint] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    found: dict[str, np.ndarray] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    before: float = 0.0
    kept: int = 0

    def __post_init__(self) -> None:
        self._started = self.clock()
        for table in (self.effort, self.tries, self.wins):
            for level in LEVELS:
                table.setdefault(level, np.zeros(self.v, dtype=np.int64))
        for level in LEVELS:
            self.found.setdefault(level, np.zeros(self.v, dtype=bool))

    @property
    def seconds(self) -> float:
        """Search time so far, that of interrupted runs included."""
        return self.before + self.clock() - self._started

    def missing(self, level: str) -> Int64[np.ndarray, " n"]:
        """Tokens that are looked for and not found at a level."""
        return np.flatnonzero(self.wanted & ~self.found[level])

    def news(
        self, level: str, tokens: Int64[np.ndarray, " n"], margins: Float32[np.ndarray, " n"]
    ) -> Int64[np.ndarray, " m"]:
        """Which passes are worth keeping: for each token new at the level, the one with the largest margin."""
        fresh = np.flatnonzero(~self.found[level][tokens])
        if not len(fresh):
            return fresh
        order = fresh[np.lexsort((-margins[fresh], tokens[fresh]))]
        return order[np.unique(tokens[order], return_index=True)[1]]

    def add(self, token: int, witness: Witness) -> None:
        """Credit a token at the witness's level and at every looser one where it is not yet found."""
        new = [level for level in LEVELS[: LEVELS.index(witness.level) + 1] if not self.found[level][token]]
        for level in new:
            self.found[level][token] = True
            self.witnesses[level][token] = witness
        self.kept += bool(new)

    def remove(self, token: int, level: str) -> None:
        """Take a hit back: its witness did not stand the check."""
        self.found[level][token] = False
        del self.witnesses[level][token]

    def mark(self, level: str, length: int, optimiser: str) -> None:
        """One more point of the curve of tokens found against work."""
        inputs, mine = int(sum(self.inputs.values())), int(self.inputs[level])
        found = int((self.found[level] & self.wanted).sum())
        self.curve.append(CurvePoint(level, length, optimiser, round(self.seconds, 3), inputs, mine, found))

    @property
    def hits(self) -> int:
        """Tokens found at any level, times levels."""
        return int(sum((self.found[level] & self.wanted).sum() for level in LEVELS))


# --- targets that wait ----------------------------------------------------------------------------------------------


class Attempts:
    """Targets that wait for an attempt at one level, and what becomes of those that have had one."""

    def __init__(self, ledger: Ledger, level: str, targets: Int64[np.ndarray, " n"], restarts: int) -> None:
        """Args: what is found, the level, tokens to look for, and attempts at each."""
        self._ledger, self._level, self._restarts = ledger, level, restarts
        self._waiting = deque((int(token), 0) for token in targets)

    def __len__(self) -> int:
        return len(self._waiting)

    def draw(self, count: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """The next so many targets that are not found, fewer where there are no more, and which attempt it is."""
        drawn: list[tuple[int, int]] = []
        while self._waiting and len(drawn) < count:
            one = self._waiting.popleft()
            if not self._ledger.found[self._level][one[0]]:
                drawn.append(one)
        both = np.array(drawn, dtype=np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def put_back(self, token: Int64[np.ndarray, " n"], attempt: Int64[np.ndarray, " n"]) -> None:
        """Attempts that were broken off: they come next."""
        self._waiting.extendleft(zip(token.tolist(), attempt.tolist(), strict=True))

    def over(
        self, token: Int64[np.ndarray, " n"], attempt: Int64[np.ndarray, " n"], spent: Bool[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Which attempts have ended, found or spent; they are counted, and what may be tried again goes last."""
        ledger, level = self._ledger, self._level
        found = ledger.found[level][token]
        over = found | spent
        np.add.at(ledger.tries[level], token[over], 1)
        np.add.at(ledger.wins[level], token[found], 1)
        for row in np.flatnonzero(over & ~found):
            if attempt[row] + 1 < self._restarts:
                self._waiting.append((int(token[row]), int(attempt[row]) + 1))
        return over


# --- passes whose winners wait --------------------------------------------------------------------------------------

Maker = Callable[[Tensor, int, int, float, int], Witness]
"""From what a pass was made of, its row, the number of positions, the margin and the token on top, to a witness."""

_MOST_BYTES = {"cpu": 2**26, "cuda": 2**30}
_MOST_STEPS = {"cpu": 1, "cuda": 8}
"""A GPU must not be made to wait at every step; on a CPU a slot is better given to the next target at once."""


class Pending:
    """Winners of the last few passes, on the device, and what the passes were made of."""

    def __init__(self, ledger: Ledger, level: str, make: Maker, min_margin: float) -> None:
        self._ledger, self._level, self._make, self._min = ledger, level, make, min_margin
        self._held: list[tuple[Tensor, Winners, Tensor | None]] = []

    def room(self, one: Tensor) -> int:
        """How many steps may pass before `settle`, given the size of what one of them keeps."""
        size = max(1, one.numel() * one.element_size())
        return max(1, min(_MOST_STEPS[one.device.type], _MOST_BYTES[one.device.type] // size))

    def add(self, source: Float[Tensor, "b *rest"], found: Winners, legal: Bool[Tensor, "b p"] | None = None) -> None:
        """Keep a pass. `source` must not change afterwards."""
        self._held.append((source, found, legal))
        self._ledger.inputs[self._level] += len(source)

    def settle(self) -> None:
        """Credit all passes held: the one moment that waits for the device."""
        if not self._held:
            return
        tops = [found.top for _, found, _ in self._held]
        margins = [
            found.margin if legal is None else torch.where(legal[:, -found.margin.shape[1] :], found.margin, -1.0)
            for _, found, legal in self._held
        ]
        sizes = np.cumsum([0] + [top.numel() for top in tops])
        token = torch.cat([top.flatten() for top in tops]).cpu().numpy()
        margin = torch.cat([one.flatten() for one in margins]).float().cpu().numpy()
        sure = np.flatnonzero(margin > self._min)
        for place in sure[self._ledger.news(self._level, token[sure], margin[sure])]:
            step = int(np.searchsorted(sizes, place, side="right")) - 1
            source, found, _ = self._held[step]
            row, position = divmod(int(place - sizes[step]), found.top.shape[1])
            # Where fixed text follows, the only position counted is the last one.
            length = source.shape[1] - found.top.shape[1] + position + 1
            one = int(token[place])
            self._ledger.add(one, self._make(source, row, length, float(margin[place]), one))
        self._held.clear()
