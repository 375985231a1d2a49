"""The tokens that deserve a name on the page itself, for readers who print it or never open the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reach.verdicts import Verdicts

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


def listings(tokens: Verdicts) -> list[Listing]:
    """Unspeakable, nearly never spoken, undecided and tied tokens, those groups that are not empty."""
    groups = (
        ("unspeakable", "Never said", "Deepest below the others first. Open one to see its proof."),
        ("undecided", "Undecided", "Largest possible margin first. Open one to see the reason."),
        ("tied", "Tied", "Each shares its row and offset with another token. Open one to see its proof."),
    )
    found = [
        _listing(tokens, verdict, title, words, f"verdict-{verdict}", _order(tokens, verdict, tokens.ids(verdict)))
        for verdict, title, words in groups
    ]
    found.insert(1, _nearly_never(tokens))
    return [group for group in found if group.tokens]


def _listing(
    tokens: Verdicts, key: str, title: str, words: str, shown_by: str, ids: npt.NDArray[np.int64]
) -> Listing:
    shown = tuple(named(tokens, int(token)) for token in ids[:_MOST])
    return Listing(key, title, words, shown_by, shown, len(ids) - len(shown))


def _nearly_never(tokens: Verdicts) -> Listing:
    words = "Speakable by less than a step of bfloat16 or float32. Smallest lead for its logit first."
    return _listing(tokens, "nearly", "Nearly never said", words, "nearly-bfloat16", tokens.nearly_never)


def _order(tokens: Verdicts, verdict: str, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if verdict == "unspeakable":
        key = np.nan_to_num(tokens.margin_upper[ids], nan=0.0)
    elif verdict == "undecided":
        key = -np.nan_to_num(tokens.margin_upper[ids], nan=np.inf)  # where no bound is known, nothing is ruled out
    else:
        return ids
    return ids[np.argsort(key, kind="stable")]


def named(tokens: Verdicts, token: int) -> Named:
    """A token by its id."""
    text = tokens.name(token)
    return Named(token, text or "", known=text is not None)
