"""Seconds and memory: how much goes through the model at once, and which moment each part must be over by."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from reach.search.ledger import Ledger
from reach.search.options import SearchSettings
from solvers.errors import BadInput

_FIRST = 16
"""Positions of the first step of a kind, when nothing is known of its speed."""
_GROWTH = 4
"""A step may be this many times as large as the largest so far: small ones are slow, position by position."""
_JUMP = 4
"""One step counts as at most this many times as slow as those before."""


@dataclass
class _Speed:
    """What is known of one kind of step: seconds per position, and the most positions tried."""

    cost: float
    most: int


class Pace:
    """Speeds of all kinds of steps, and the seconds that one step may take."""

    def __init__(self, seconds: float, known: dict[str, _Speed] | None = None) -> None:
        """Args: seconds that a step may take, and what is known already."""
        self._seconds = seconds
        self._known: dict[str, _Speed] = {} if known is None else known

    def within(self, seconds: float) -> Pace:
        """The same speeds for shorter steps: a pace for part of the work."""
        return Pace(min(seconds, self._seconds), self._known)

    def room(self, kind: str) -> int:
        """Positions that a step of this kind may have, at least 1."""
        speed = self._known.get(kind)
        if speed is None:
            return _FIRST
        fitting = self._seconds / speed.cost if speed.cost > 0 else float("inf")
        return max(1, int(min(fitting, _GROWTH * speed.most)))

    def note(self, kind: str, positions: int, seconds: float) -> None:
        """A step of so many positions took so many seconds."""
        if positions < 1:
            return
        cost = seconds / positions
        speed = self._known.get(kind)
        if speed is None:
            self._known[kind] = _Speed(cost, positions)
        elif 2 * positions >= min(speed.most, self.room(kind)) or seconds > self._seconds:
            # Small steps tell little: what every step costs, however small, would count as the price of a position.
            # Another program's turn on the processor can make one step many times as long as the next.
            speed.cost = (speed.cost + min(cost, _JUMP * speed.cost)) / 2
            speed.most = max(speed.most, positions)


# --- inputs at once -------------------------------------------------------------------------------------------------

_BYTES_PER_ARRAY = {"cpu": 2**27, "cuda": 2**31}
_MOST = {"cpu": 512, "cuda": 8192}


@dataclass
class _Memory:
    """What memory allows: inputs at once, and how often that turned out to be too many."""

    limit: int
    shrunk: int = 0


class BatchSize:
    """The current batch size: what memory allows, which only ever shrinks, and what is done within a step's time."""

    def __init__(
        self, asked: int | None, device: str, logits: int, pace: Pace | None = None, kind: str = "forward"
    ) -> None:
        """Args: the user's number, the device, the number of logits (or weights) per position; and, where steps must
        be short, the pace and what kind of step this is.
        """
        self._asked = asked
        self._device = device.split(":", maxsplit=1)[0]
        self._logits = max(1, logits)
        self._memory = _Memory(_MOST[self._device] if asked is None else asked)
        self.pace, self._kind = pace, kind

    @property
    def shrunk(self) -> int:
        """How often memory ran out."""
        return self._memory.shrunk

    def at(self, length: int) -> int:
        """Inputs of this many positions that go through at once."""
        most = self._memory.limit
        if self._asked is None:
            most = min(most, _BYTES_PER_ARRAY[self._device] // (4 * self._logits * max(1, length)))
        if self.pace is not None:
            most = min(most, self.pace.room(self._kind) // max(1, length))
        return max(1, most)

    def note(self, count: int, length: int, seconds: float) -> None:
        """A step with so many inputs of so many positions took so many seconds."""
        if self.pace is not None:
            self.pace.note(self._kind, count * length, seconds)

    def within(self, seconds: float) -> BatchSize:
        """The same size for shorter steps."""
        other = copy.copy(self)
        other.pace = None if self.pace is None else self.pace.within(seconds)
        return other

    def shrink(self, used: int) -> None:
        """Halve after running out of memory.

        Raises:
            BadInput: one input alone was too many.
        """
        if used <= 1:
            raise BadInput("out of memory with one input at a time: use a shorter --length, or a larger machine")
        self._memory.limit = used // 2
        self._memory.shrunk += 1
        if self._device == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch ran out of memory, on whatever device."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    text = str(error)
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text


# --- the whole ------------------------------------------------------------------------------------------------------

Clock = Callable[[], float]
"""Seconds from any moment on."""

REPEATED = 0.1
"""Share of the repeat test in what measuring leaves."""
MOST_CHECKED = 0.7
"""The checks may take this share of what measuring leaves; what cannot be checked by then does not count."""
IN_BETWEEN = 0.2
"""Replays in between may take this share of the time so far."""
CHECKED_LAST = 0.1
"""Share of the measuring that is kept for replaying what it finds itself."""
STEPS = 100
"""No step should take longer than this part of the budget."""


class Deadline:
    """A moment that some work must be over by. Asked as a function, it says whether it is."""

    def __init__(
        self, clock: Clock, end: float, kept: Callable[[], float] = float, outer: Deadline | None = None
    ) -> None:
        """Args: the clock, the moment on it, the seconds before it that are kept for other things (asked anew every
        time), and the deadline that this one lies in.
        """
        self._clock, self._end, self._kept, self._outer = clock, end, kept, outer

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.perf_counter) -> Deadline:
        """A deadline so many seconds from now."""
        return cls(clock, clock() + seconds)

    @property
    def left(self) -> float:
        """Seconds left, 0 when it is over."""
        mine = max(0.0, self._end - self._clock() - self._kept())
        return mine if self._outer is None else min(mine, self._outer.left)

    def __call__(self) -> bool:
        """Whether the time is up."""
        return self.left <= 0

    def part(self, share: float) -> Deadline:
        """A deadline after this share of what is left."""
        return self.within(share * self.left)

    def within(self, seconds: float) -> Deadline:
        """A deadline so many seconds from now, or when this one is over."""
        return Deadline(self._clock, self._clock() + seconds, outer=self)


class Checks:
    """What replaying the witnesses and writing them down will take, by what it took before."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._settled = 0
        self._replays = [0, 0.0]
        self._writes = [0, 0.0]

    def replayed(self, count: int, seconds: float) -> None:
        """So many witnesses were run again in so many seconds."""
        self._replays = [self._replays[0] + count, self._replays[1] + seconds]

    @property
    def spent(self) -> float:
        """Seconds that replays have taken."""
        return self._replays[1]

    def written(self, count: int, seconds: float) -> None:
        """So many witnesses were written in so many seconds."""
        self._writes = [count, seconds]

    def settle(self, waiting: int) -> None:
        """Of all witnesses so far, all but so many have been run again, or set aside."""
        self._settled = self._ledger.kept - waiting

    @property
    def writing(self) -> float:
        """Seconds: twice what the last time took for so many, because the result holds more than a saved state."""
        return 2 * self._ledger.kept * self._writes[1] / max(1, self._writes[0])

    @property
    def replaying(self) -> float:
        """Seconds."""
        return (self._ledger.kept - self._settled) * self._replays[1] / max(1, self._replays[0])


class Timetable:
    """How one search spends its budget: searching, repeat test, replays, measuring, and writing what was found.

    Measuring gets the share that was asked for, the repeat test a tenth of the rest. What replays and writing will
    take is measured as the search goes on and kept free. Everything ends by the end of its part even if it began
    late. What ends early leaves its time to the measuring, unless the search had nothing left to try: then the
    command ends early.

    Attributes:
        search, repeat, replay: the deadlines of these parts.
        last: for the replays of what the measuring found.
        step: seconds that no step should exceed.
    """

    def __init__(self, settings: SearchSettings, ledger: Ledger, checks: Checks) -> None:
        """Args: time that an interrupted run has spent already counts."""
        budget = settings.budget
        rest = (1 - settings.strength) * budget
        repeat = REPEATED * rest if settings.repeat else 0.0
        clock, end = ledger.clock, ledger.clock() + budget - ledger.seconds
        self._measuring = budget - rest

        self._ledger, self._checks, self._most = ledger, checks, MOST_CHECKED * rest

        def both() -> float:
            return min(checks.replaying + checks.writing, max(0.0, self._most - checks.spent))

        def writing() -> float:
            return min(checks.writing, self._most)

        self.search = Deadline(clock, end - self._measuring - repeat, both)
        self._repeat, self._seconds_repeat = Deadline(clock, end - self._measuring, both), repeat
        self.replay = Deadline(clock, end - self._measuring, writing)
        self._measure = Deadline(clock, end - CHECKED_LAST * self._measuring, both)
        self.last = Deadline(clock, end, writing)
        self.step = budget / STEPS

    def catch_up(self) -> Deadline:
        """For replays in between, from now on: enough to know what they take as things are."""
        return self.replay.within(IN_BETWEEN * self._ledger.seconds - self._checks.spent)

    def repeat(self) -> Deadline:
        """The part of the repeat test, which begins now."""
        return self._repeat.within(self._seconds_repeat)

    def measure(self, *, all_tried: bool) -> Deadline:
        """The part of the measuring, which begins now. Args: whether the search had nothing left to try."""
        return self._measure.within(self._measuring) if all_tried else self._measure
