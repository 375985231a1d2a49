"""Two runs token by token: how classes and margins differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reach.classes import CLASSES, ClassChanges, class_changes
from reach.verdicts import Verdicts
from reports.listing import Named
from reports.margin_moves import Interval, MarginMoves, interval, margin_moves
from reports.pairing import Pairing, pair
from reports.plain import at_least, plural

_MOST_DOTS = 5000
_NAMED = 12
_RESOLUTION = 260  # cells across the plot, each way, that hold one dot

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """A token of another class, or with another margin: what is known of it in both runs.

    `by` is by how much its margin rose (fell, where negative) at least, logits; None where that is not known.
    """

    token: Named
    before: str
    after: str
    margin_before: Interval
    margin_after: Interval
    by: float | None = None

    @property
    def moved(self) -> str:
        """By how much its margin has moved at least, and which way."""
        return "–" if self.by is None else f"{'up' if self.by > 0 else 'down'} {at_least(abs(self.by))}"


@dataclass(frozen=True)
class Comparison:
    """One run against the first.

    Attributes:
        first, second: the runs.
        pairing: who is who.
        of: for each pair its class in either run.
        classes: how many tokens of each class are of which class now; every count shown comes from it.
        changed: pairs (places in the pairing) of another class, those with another verdict first.
        moves: which margins have certainly moved.
        dots: pairs that a plot shows.
        margins: one number per pair and run, for the plot: at least so much, or at most.
    """

    first: Verdicts
    second: Verdicts
    pairing: Pairing
    of: tuple[Codes, Codes]
    classes: ClassChanges
    changed: Codes
    moves: MarginMoves
    dots: Codes
    margins: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

    def changes(self, most: int | None = None) -> tuple[Change, ...]:
        """The tokens of another class, at most so many of them."""
        return tuple(self._change(int(at)) for at in self.changed[:most])

    def largest_moves(self, most: int | None = _NAMED) -> tuple[Change, ...]:
        """The tokens whose margins have certainly moved, the largest shift first."""
        pairs = zip(self.moves.at[:most].tolist(), self.moves.by[:most].tolist(), strict=True)
        return tuple(self._change(at, by) for at, by in pairs)

    @property
    def named(self) -> Codes:
        """The pairs of `largest_moves`, which a plot names."""
        return self.moves.at[:_NAMED]

    def words(self, first: str, second: str) -> str:
        """How many tokens of two runs with these names were compared, and how many are of another class."""
        if not len(self.pairing):
            return f"{first} and {second} share no token: none can be compared."
        tokens = plural(len(self.pairing), "token")
        how = f"have the same vocabulary of {tokens}" if self.pairing.by_id else f"share {tokens} by their strings"
        return f"{first} and {second} {how}. {self.classes.words}"

    def _change(self, at: int, by: float | None = None) -> Change:
        one, other = int(self.pairing.first[at]), int(self.pairing.second[at])
        name = self.first.name(one)
        return Change(
            Named(one, name or "", known=name is not None),
            CLASSES[self.of[0][at]],
            CLASSES[self.of[1][at]],
            interval(self.first, one),
            interval(self.second, other),
            by,
        )


def compare_tokens(first: Verdicts, second: Verdicts) -> Comparison:
    """Hold two runs against each other."""
    pairing = pair(first, second)
    before, after = first.classes[pairing.first], second.classes[pairing.second]
    changed = np.flatnonzero(before != after)
    other_verdict = first.verdict[pairing.first[changed]] != second.verdict[pairing.second[changed]]
    changed = changed[np.argsort(~other_verdict, kind="stable")]
    margins = signed_margins(first)[pairing.first], signed_margins(second)[pairing.second]
    moves = margin_moves(first, second, pairing)
    always = np.union1d(changed[:_MOST_DOTS], moves.at[:_NAMED])
    return Comparison(
        first,
        second,
        pairing,
        (before, after),
        class_changes(before, after),
        changed,
        moves,
        _dots(margins, always),
        margins,
    )


def signed_margins(tokens: Verdicts) -> npt.NDArray[np.float64]:
    """One number per token: at least so much where a witness is known, else at most so much."""
    return np.where(np.isnan(tokens.margin_lower), tokens.margin_upper, tokens.margin_lower)


def _dots(margins: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], always: Codes) -> Codes:
    """What to draw: `always`, and of the rest one for each small cell of the plane."""
    known = np.flatnonzero(np.isfinite(margins[0]) & np.isfinite(margins[1]))
    if not len(known):
        return known
    # Ranks spread the dots evenly whatever the axes are.
    cells = [np.argsort(np.argsort(side[known])) * _RESOLUTION // len(known) for side in margins]
    _, one_each = np.unique(cells[0] * _RESOLUTION + cells[1], return_index=True)
    rest = known[one_each]
    if len(rest) > _MOST_DOTS:
        rest = rest[:: -(-len(rest) // _MOST_DOTS)]
    return np.union1d(np.intersect1d(always, known), rest)
