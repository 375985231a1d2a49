"""How many inputs go through the model at once, and what to do when they are too many."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from reach.search.pace import Pace
from solvers.errors import BadInput

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
