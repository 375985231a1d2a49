"""The tokens nearest to the edge between what can be said and what never can, on either side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reach.runs.columns import Floats
from reach.runs.schema import VERDICT_NAMES
from reach.verdicts import Verdicts
from reports import plain
from reports.brackets import Brackets
from reports.listing import Named, named

_SHOWN = 20


@dataclass(frozen=True)
class Near:
    """One token: its margin as one number and as a bracket, in logits."""

    token: Named
    margin: str
    bracket: str


@dataclass(frozen=True)
class Side:
    """The nearest tokens on one side, or (without tokens) why they are not ranked."""

    key: str
    title: str
    tokens: tuple[Near, ...]
    note: str


@dataclass(frozen=True)
class Edge:
    """Both sides, those that a run has tokens on, and what lies on the edge itself."""

    sides: tuple[Side, ...]
    on_it: str


def edge_view(tokens: Verdicts, known: Brackets) -> Edge:
    """Rank the tokens of a run by how near their margins are to 0.

    A side is ranked where most of the tokens that could be among the nearest have close brackets.
    """
    verdict = tokens.verdict[known.token]
    wins, never = (verdict == VERDICT_NAMES.index(name) for name in ("speakable", "unspeakable"))
    zero = never & (known.lower == 0) & (known.upper == 0)
    below = never & ~zero
    sides = (
        _side(tokens, known, wins, known.lower, known.upper, "speakable", "Speakable, only just"),
        _side(tokens, known, below, -known.upper, -known.lower, "unspeakable", "Unspeakable, only just"),
    )
    count = int(zero.sum())
    if not count:
        on_it = ""
    elif count == 1:
        on_it = "1 unspeakable token lies on the edge itself: its margin is exactly 0."
    else:
        on_it = f"{count:,} unspeakable tokens lie on the edge itself: their margins are exactly 0."
    return Edge(tuple(side for side in sides if side is not None), on_it)


def _side(
    tokens: Verdicts, known: Brackets, mine: npt.NDArray[np.bool_], least: Floats, most: Floats, key: str, title: str
) -> Side | None:
    """`least` and `most` bound how far from the edge each token is."""
    at = np.flatnonzero(mine)
    if not len(at):
        return None
    few = min(_SHOWN, len(at))
    # So many tokens are no farther than this: whatever is farther for sure is not among the nearest.
    bar = np.partition(most[at], few - 1)[few - 1]
    might = at[least[at] <= bar]
    ranked, wide = might[known.close[might]], might[~known.close[might]]
    if len(wide) > len(ranked):
        return Side(key, title, (), _unknown(known, len(wide)))
    ranked = ranked[np.argsort(least[ranked], kind="stable")][:_SHOWN]
    note = ""
    if len(wide):
        them = "the bounds on its margin are" if len(wide) == 1 else "the bounds on their margins are"
        note = f"{plain.plural(len(wide), 'more token')} may belong here: {them} too far apart to tell."
    return Side(key, title, tuple(_near(tokens, known, int(one), key) for one in ranked), note)


def _near(tokens: Verdicts, known: Brackets, at: int, key: str) -> Near:
    lower, upper = (plain.bound(float(end[at]), way) for end, way in ((known.lower, -1), (known.upper, 1)))
    margin = lower if key == "speakable" else upper
    return Near(named(tokens, int(known.token[at])), margin, f"{lower} to {upper}")


def _unknown(known: Brackets, wide: int) -> str:
    might = f"{plain.plural(wide, 'token')} that might be among them"
    closer = "" if known.gap is not None else " A scan with --margins 0.01 brings it."
    return f"Not ranked: of {might} the margin is not known closely enough.{closer}"
