"""The tokens that deserve a name on the page itself, for readers who print it or never open the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.tokens import Tokens

_MOST = 150


@dataclass(frozen=True)
class Named:
    """One token: its id and its string (the piece where it does not decode to text)."""

    id: int
    text: str
    known: bool


@dataclass(frozen=True)
class Listing:
    """A group of tokens, at most so many of them."""

    key: str
    title: str
    words: str
    filter: str
    tokens: tuple[Named, ...]
    more: int


def listings(tokens: Tokens) -> list[Listing]:
    """Unspeakable, undecided and tied tokens, those groups that are not empty."""
    groups = (
        ("unspeakable", "Never said", "Deepest below the others first. Open one to see its proof."),
        ("undecided", "Undecided", "Largest possible margin first. Open one to see the reason."),
        ("tied", "Tied", "Each shares its row and offset with another token. Open one to see its proof."),
    )
    found = []
    for verdict, title, words in groups:
        ids = tokens.ids(verdict)
        if not len(ids):
            continue
        order = _order(tokens, verdict, ids)
        shown = tuple(_named(tokens, int(token)) for token in order[:_MOST])
        found.append(Listing(verdict, title, words, f"verdict-{verdict}", shown, len(ids) - len(shown)))
    return found


def _order(tokens: Tokens, verdict: str, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if verdict == "unspeakable":
        key = np.nan_to_num(tokens.margin_upper[ids], nan=0.0)
    elif verdict == "undecided":
        key = -np.nan_to_num(tokens.margin_upper[ids], nan=np.inf)  # where no bound is known, nothing is ruled out
    else:
        return ids
    return ids[np.argsort(key, kind="stable")]


def _named(tokens: Tokens, token: int) -> Named:
    text = tokens.texts[token]
    text = tokens.pieces[token] if text is None else text
    return Named(token, text or "", known=text is not None)
