"""Two runs token by token: how verdicts and margins differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.listing import Named
from reports.pairing import Pairing, name_of, pair
from reports.tokens import Tokens

KINDS = ("own-direction", "hard-to-speak", "tied", "unspeakable", "undecided", "not asked for")
_MOST_CHANGES = 60
_MOST_DOTS = 5000
_NAMED = 12
_RESOLUTION = 260  # cells across the plot, each way, that hold one dot

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """A token with another verdict, or with margins far apart."""

    token: Named
    before: str
    after: str
    margin_before: float | None
    margin_after: float | None


@dataclass(frozen=True)
class Comparison:
    """One run against the first.

    `matrix[i][j]` counts the tokens of kind `KINDS[i]` in the first run and `KINDS[j]` in the other. `dots` indexes
    into the pairing: what a plot shows. `outliers` are the pairs with margins furthest apart.
    """

    pairing: Pairing
    matrix: list[list[int]]
    changed: int
    changes: tuple[Change, ...]
    outliers: tuple[Change, ...]
    outlier_at: tuple[int, ...]
    dots: Codes
    margins: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def compare_tokens(first: Tokens, second: Tokens) -> Comparison:
    """Hold two runs against each other."""
    pairing = pair(first, second)
    kinds = kinds_of(first)[pairing.first], kinds_of(second)[pairing.second]
    matrix = np.zeros((len(KINDS), len(KINDS)), dtype=int)
    np.add.at(matrix, kinds, 1)
    margins = signed_margins(first)[pairing.first], signed_margins(second)[pairing.second]
    verdicts = first.verdict[pairing.first], second.verdict[pairing.second]
    changed = np.flatnonzero(verdicts[0] != verdicts[1])
    apart = np.nan_to_num(np.abs(margins[0] - margins[1]), nan=-1.0)

    def change(at: int) -> Change:
        token = int(pairing.first[at])
        name = name_of(first, token)
        return Change(
            Named(token, name or "", known=name is not None),
            KINDS[kinds[0][at]],
            KINDS[kinds[1][at]],
            *(None if np.isnan(side[at]) else float(side[at]) for side in margins),
        )

    worst = changed[np.argsort(-apart[changed], kind="stable")][:_MOST_CHANGES]
    far = np.argsort(-apart, kind="stable")[:_NAMED]
    far = far[apart[far] > 0]
    return Comparison(
        pairing,
        matrix.tolist(),
        len(changed),
        tuple(change(int(at)) for at in worst),
        tuple(change(int(at)) for at in far),
        tuple(far.tolist()),
        _dots(margins, np.union1d(changed[:_MOST_DOTS], far)),
        margins,
    )


def kinds_of(tokens: Tokens) -> Codes:
    """The index into KINDS of each token."""
    speakable_tied_unspeakable_undecided = np.array([0, 2, 3, 4], dtype=np.int64)
    known = tokens.verdict < 4
    kinds = np.full(len(tokens), KINDS.index("not asked for"))
    kinds[known] = speakable_tied_unspeakable_undecided[tokens.verdict[known]]
    kinds[tokens.hard_to_speak] = 1
    return kinds


def signed_margins(tokens: Tokens) -> npt.NDArray[np.float64]:
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
