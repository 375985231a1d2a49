"""Which token of one run is which token of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reach.trace.matching import unique_names
from reach.verdicts import Verdicts

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairing:
    """Partners: `first[i]` in one run is `second[i]` in the other. `by_id` where both have the same vocabulary."""

    first: Ids
    second: Ids
    by_id: bool

    def __len__(self) -> int:
        return len(self.first)


def pair(first: Verdicts, second: Verdicts) -> Pairing:
    """Match by id where the vocabularies are the same, else by the token's string where it is unique in both."""
    if first.pieces == second.pieces:
        every = np.arange(len(first))
        return Pairing(every, every, by_id=True)
    mine, theirs = (unique_names([one.name(at) for at in range(len(one))]) for one in (first, second))
    shared = [string for string in mine if string in theirs]
    return Pairing(
        np.array([mine[string] for string in shared], dtype=np.int64),
        np.array([theirs[string] for string in shared], dtype=np.int64),
        by_id=False,
    )
