"""Which token of one run is which of another: by their ids in one and the same vocabulary, else by their strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reach.verdicts import Verdicts
from solvers.errors import BadInput

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Names:
    """Tokens by their ids, pieces and texts."""

    ids: Ids
    pieces: list[str | None]
    texts: list[str | None]

    @classmethod
    def of(cls, tokens: Verdicts) -> Names:
        """All tokens of a run."""
        return cls(np.arange(len(tokens)), tokens.pieces, tokens.texts)

    def __len__(self) -> int:
        return len(self.pieces)

    def name(self, at: int) -> str | None:
        """What a token is called: its text, or its piece where that is not whole text."""
        text = self.texts[at]
        return self.pieces[at] if text is None else text

    def take(self, places: Ids) -> Names:
        """Some of them, in this order."""
        every = places.tolist()
        return Names(self.ids[places], [self.pieces[at] for at in every], [self.texts[at] for at in every])


@dataclass(frozen=True)
class Matching:
    """The tokens that several vocabularies share.

    Attributes:
        rows: for each vocabulary the places of the shared tokens; entry i of all of them is one token.
        by_id: whether all vocabularies are the same; otherwise strings that are unique in each were matched.
        tokens: how many each vocabulary has.
        ambiguous: how many of each are left out because another token there has the same string, or they have none.
        missing: how many more of each are left out because another vocabulary lacks their string.
    """

    rows: tuple[Ids, ...]
    by_id: bool
    tokens: tuple[int, ...]
    ambiguous: tuple[int, ...]
    missing: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows[0])


def match(vocabularies: Sequence[Names], called: Sequence[str]) -> Matching:
    """Match the tokens of several vocabularies; `called` names them in complaints.

    Raises:
        BadInput: they have no token in common.
    """
    sizes = tuple(len(one) for one in vocabularies)
    first = vocabularies[0]
    if all(one.pieces == first.pieces and np.array_equal(one.ids, first.ids) for one in vocabularies[1:]):
        every = np.arange(len(first))
        none = (0,) * len(sizes)
        return Matching((every,) * len(sizes), True, sizes, none, none)
    unique = [unique_names([one.name(at) for at in range(len(one))]) for one in vocabularies]
    shared = [name for name in unique[0] if all(name in one for one in unique[1:])]
    if not shared:
        other = next((at for at, one in enumerate(unique) if at and not unique[0].keys() & one.keys()), 1)
        raise BadInput(
            f"{called[0]} and {called[other]} have no token in common by its string; trace models of one vocabulary, "
            "or such as share strings"
        )
    return Matching(
        tuple(np.array([one[name] for name in shared], dtype=np.int64) for one in unique),
        False,
        sizes,
        tuple(size - len(one) for size, one in zip(sizes, unique, strict=True)),
        tuple(len(one) - len(shared) for one in unique),
    )


def unique_names(names: Sequence[str | None]) -> dict[str, int]:
    """The place of every name that comes once."""
    found: dict[str, int] = {}
    twice = set()
    for at, name in enumerate(names):
        if name is None:
            continue
        if name in found:
            twice.add(name)
        found[name] = at
    return {name: at for name, at in found.items() if name not in twice}
