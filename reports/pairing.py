"""Which token of one run is which token of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.tokens import Tokens

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairing:
    """Partners: `first[i]` in one run is `second[i]` in the other. `by_id` where both have the same vocabulary."""

    first: Ids
    second: Ids
    by_id: bool

    def __len__(self) -> int:
        return len(self.first)


def pair(first: Tokens, second: Tokens) -> Pairing:
    """Match by id where the vocabularies are the same, else by the token's string where it is unique in both."""
    if first.pieces == second.pieces:
        every = np.arange(len(first))
        return Pairing(every, every, by_id=True)
    mine, theirs = _unique(first), _unique(second)
    shared = [string for string in mine if string in theirs]
    return Pairing(
        np.array([mine[string] for string in shared], dtype=np.int64),
        np.array([theirs[string] for string in shared], dtype=np.int64),
        by_id=False,
    )


def name_of(tokens: Tokens, token: int) -> str | None:
    """What a token is called: its text, or its piece where that is not whole text."""
    text = tokens.texts[token]
    return tokens.pieces[token] if text is None else text


def _unique(tokens: Tokens) -> dict[str, int]:
    found: dict[str, int] = {}
    twice = set()
    for token in range(len(tokens)):
        name = name_of(tokens, token)
        if name is None:
            continue
        if name in found:
            twice.add(name)
        found[name] = token
    return {name: token for name, token in found.items() if name not in twice}
