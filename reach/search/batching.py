"""How many inputs go through the model at once, and what to do when they are too many."""

from __future__ import annotations

import torch

from solvers.errors import BadInput

_BYTES_PER_ARRAY = {"cpu": 2**27, "cuda": 2**31}
_MOST = {"cpu": 512, "cuda": 8192}


class BatchSize:
    """The current batch size; it only ever shrinks."""

    def __init__(self, asked: int | None, device: str, logits: int) -> None:
        """Args: the user's number, the device, and the number of logits (or weights) per position."""
        self._asked = asked
        self._kind = device.split(":", maxsplit=1)[0]
        self._logits = max(1, logits)
        self._limit = _MOST[self._kind] if asked is None else asked
        self.shrunk = 0

    def at(self, length: int) -> int:
        """Inputs of this many positions that go through at once."""
        if self._asked is not None:
            return self._limit
        fitting = _BYTES_PER_ARRAY[self._kind] // (4 * self._logits * max(1, length))
        return max(1, min(self._limit, fitting))

    def shrink(self, used: int) -> None:
        """Halve after running out of memory.

        Raises:
            BadInput: one input alone was too many.
        """
        if used <= 1:
            raise BadInput("out of memory with one input at a time: use a shorter --length, or a larger machine")
        self._limit = used // 2
        self.shrunk += 1
        if self._kind == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch ran out of memory, on whatever device."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    text = str(error)
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text
