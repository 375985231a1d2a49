"""Margins of two runs: which have certainly moved. Each is known as an interval; overlapping ones say nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reach.runs.domain_words import domain_words
from reach.runs.manifest import Manifest
from reach.verdicts import Verdicts
from reports.pairing import Pairing
from reports.plain import at_least, at_most, logits, plural

Values = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
_SAME_HEAD = ("fingerprint", "v", "d")


@dataclass(frozen=True)
class Interval:
    """What a run proves of a margin, logits: at least `lower`, at most `upper`; None where it proves nothing."""

    lower: float | None
    upper: float | None

    @property
    def words(self) -> str:
        """In words, to four digits and never narrower than it is."""
        if self.lower is None and self.upper is None:
            return "–"
        if self.lower is None or self.upper is None:
            return f"≤ {at_most(self.upper, 4)}" if self.upper is not None else f"≥ {at_least(self.lower or 0.0, 4)}"
        if self.lower == self.upper:
            return logits(self.lower)
        return f"{at_least(self.lower, 4)} to {at_most(self.upper, 4)}"


@dataclass(frozen=True)
class MarginMoves:
    """Which margins differ for certain between two runs.

    Attributes:
        why_not: why margins of these runs cannot be compared; None where they can.
        compared: tokens of which both runs bound the margin at all.
        at: pairs (places in the pairing) whose bounds do not overlap, the largest shift first.
        by: for each of these by how much the margin has risen (fallen, where negative) at least, logits.
        same: both runs are of one head over one domain, so that no margin can differ: one of them is wrong.
    """

    why_not: str | None
    compared: int
    at: Ids
    by: Values
    same: bool

    @property
    def words(self) -> str:
        """One sentence or two."""
        if self.why_not is not None:
            return f"Margins are not compared: {self.why_not}."
        if not self.compared:
            return "Margins are not compared: no token has a bound in both runs."
        if not len(self.at):
            rest = "" if self.same else " Whether they moved within their bounds is not known."
            return f"No margin has certainly moved: the bounds of all {plural(self.compared, 'token')} overlap.{rest}"
        have = "has" if len(self.at) == 1 else "have"
        most = f"the most by at least {at_least(abs(float(self.by[0])))} logits"
        said = (
            f"Of {plural(self.compared, 'margin')} {len(self.at):,} {have} certainly moved, {most}: the bounds in "
            "the two runs do not overlap."
        )
        wrong = "Both runs are of one head over one domain, where margins cannot differ: verify both, one is wrong."
        return f"{said} {wrong}" if self.same else said


def margin_moves(first: Verdicts, second: Verdicts, pairing: Pairing) -> MarginMoves:
    """Compare the bounds of both runs, pair by pair."""
    here, there = first.manifest, second.manifest
    why_not = incomparable(here, there)
    same = all(getattr(here, key) == getattr(there, key) is not None for key in _SAME_HEAD)
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    if why_not is not None:
        return MarginMoves(why_not, 0, *nothing, same)
    (low_1, up_1), (low_2, up_2) = bounds(first, pairing.first), bounds(second, pairing.second)
    known = (np.isfinite(low_1) | np.isfinite(up_1)) & (np.isfinite(low_2) | np.isfinite(up_2))
    rose, fell = low_2 > up_1, up_2 < low_1
    with np.errstate(invalid="ignore"):
        by = np.where(rose, low_2 - up_1, np.where(fell, up_2 - low_1, 0.0))
    at = np.flatnonzero(rose | fell)
    at = at[np.argsort(-np.abs(by[at]), kind="stable")]
    return MarginMoves(None, int(known.sum()), at, by[at], same)


def bounds(tokens: Verdicts, ids: Ids) -> tuple[Values, Values]:
    """Lower and upper bounds on margins; ∓∞ where a run proves none."""
    return (
        np.nan_to_num(tokens.margin_lower[ids], nan=-np.inf),
        np.nan_to_num(tokens.margin_upper[ids], nan=np.inf),
    )


def interval(tokens: Verdicts, token: int) -> Interval:
    """What a run proves of one margin."""
    lower, upper = float(tokens.margin_lower[token]), float(tokens.margin_upper[token])
    return Interval(None if math.isnan(lower) else lower, None if math.isnan(upper) else upper)


def incomparable(first: Manifest, second: Manifest) -> str | None:
    """Why margins of two runs cannot be set against each other, or None if they can."""
    domains = domain_words(first.record()), domain_words(second.record())
    if None in domains:
        return "a run does not say over which domain it is"
    if domains[0] != domains[1]:
        return f"one run is over {domains[0]}, the other over {domains[1]}, and margins depend on the domain"
    if domains[0] == "free" and not first.zero_offset is second.zero_offset is True:
        return "on the whole space a head with offsets has margins without a limit"
    return None
