"""One tile of products read from both sides, compiled: the strongest rival of each of its rows, and of its columns.

A tile holds products G = a_i·a_j. Each says something about row i with j as its rival, and about row j with i as its
rival. Here are only maxima of scores; what a score has to hold for rounding is put into its `Terms` by
`solvers.checks.own_products`. No number may be NaN.
"""

# Compiled functions take tuples of arrays that numba types by itself.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from solvers.compiled import compiled_for_finite

_RUN = 64
"""Scores whose largest one is found before the place of the largest is looked for."""


class Terms(NamedTuple):
    """What each row brings into scores: t scores its rival j with scale_t·G + (reach_t·error_j + raised_j).

    All `(v,)` float32.
    """

    scale: np.ndarray
    reach: np.ndarray
    error: np.ndarray
    raised: np.ndarray


class Leading(NamedTuple):
    """The largest score of each row so far, `(n,)` float32, and the rival that has it, `(n,)` int32 (−1 for none)."""

    score: np.ndarray
    rival: np.ndarray

    @classmethod
    def none_yet(cls, n: int) -> Leading:
        """For n rows that have met no rival."""
        return cls(np.full(n, -np.inf, dtype=np.float32), np.full(n, -1, dtype=np.int32))

    def of(self, rows: slice | np.ndarray) -> Leading:
        """A copy of what is known of some rows."""
        return Leading(self.score[rows].copy(), self.rival[rows].copy())


class Rivals(NamedTuple):
    """Of rows, each at its own point: who scores most against it, and who is its nearest competitor."""

    best: Leading
    nearest: Leading

    @classmethod
    def none_yet(cls, n: int) -> Rivals:
        """For n rows that have met no rival."""
        return cls(Leading.none_yet(n), Leading.none_yet(n))

    def of(self, rows: slice | np.ndarray) -> Rivals:
        """A copy of what is known of some rows."""
        return Rivals(self.best.of(rows), self.nearest.of(rows))


@compiled_for_finite
def _largest(products, scale, reach, error, raised):
    best = np.float32(-np.inf)
    for j in range(len(products)):
        score = scale * products[j] + (reach * error[j] + raised[j])
        best = score if score > best else best
    return best


@compiled_for_finite
def _place_of_largest(products, scale, reach, error, raised):
    """The first of the largest scores: first the run of scores that holds it, then the place there."""
    best, at = np.float32(-np.inf), 0
    for start in range(0, len(products), _RUN):
        run = slice(start, start + _RUN)
        score = _largest(products[run], scale, reach, error[run], raised[run])
        if score > best:
            best, at = score, start
    best, start = np.float32(-np.inf), at
    for j in range(start, min(start + _RUN, len(products))):
        score = scale * products[j] + (reach * error[j] + raised[j])
        if score > best:
            best, at = score, j
    return at


@compiled_for_finite
def _raise_columns(products, scale, reach, error, raised, i, best, at):
    for j in range(len(products)):
        score = scale[j] * products[j] + (reach[j] * error + raised)
        better = score > best[j]
        best[j] = score if better else best[j]
        at[j] = i if better else at[j]


@compiled_for_finite
def read_rows(tile, left, right, terms, known, found):
    """The rows' side of a tile: the rows left… with the rows right… as rivals, themselves left out.

    Args:
        tile: `(m, n)` products.
        left, right: numbers of the first row of either side.
        terms: of all rows.
        known: what all rows know already; a rival is looked for only where the tile may raise that.
        found: `(m,)` or longer: what the tile holds, rivals by their numbers; −1 where it cannot raise what is known.
    """
    m, n = tile.shape
    for i in range(m):
        t = left + i
        own = t - right if right <= t < right + n else n
        scale, reach = terms.scale[t], terms.reach[t]
        found.score[i], found.rival[i] = -np.inf, -1
        for start, stop in ((0, own), (own + 1, n)):
            if start >= stop:
                continue
            rivals = slice(right + start, right + stop)
            products, error, raised = tile[i, start:stop], terms.error[rivals], terms.raised[rivals]
            score = _largest(products, scale, reach, error, raised)
            if score > found.score[i]:
                found.score[i] = score
                if score >= known.score[t]:
                    found.rival[i] = right + start + _place_of_largest(products, scale, reach, error, raised)


@compiled_for_finite
def read_columns(tile, left, right, terms, found):
    """The columns' side of a tile that does not touch the diagonal: the rows right… with the rows left… as rivals.

    Arguments are those of `read_rows`; `found` is of the columns.
    """
    m, n = tile.shape
    columns = slice(right, right + n)
    scale, reach, score, rival = terms.scale[columns], terms.reach[columns], found.score[:n], found.rival[:n]
    score[:], rival[:] = -np.inf, -1
    for i in range(m):
        j = left + i
        _raise_columns(tile[i], scale, reach, terms.error[j], terms.raised[j], np.int32(j), score, rival)


@compiled_for_finite
def take_over(known, first, found, count):
    """Enter what a tile holds for `count` rows from `first` on. Of rivals with equal scores the lowest stays."""
    for i in range(count):
        t, score, rival = first + i, found.score[i], found.rival[i]
        if rival >= 0 and (score > known.score[t] or (score == known.score[t] and rival < known.rival[t])):
            known.score[t], known.rival[t] = score, rival


@cache
def make_ready() -> None:
    """Compile all of this, or read it from disk, where that has not been done: by work on two rows."""
    terms = Terms(*(np.ones(2, dtype=np.float32) for _ in Terms._fields))
    known, found, tile = Leading.none_yet(2), Leading.none_yet(1), np.ones((1, 1), dtype=np.float32)
    read_rows(tile, 0, 1, terms, known, found)
    read_columns(tile, 0, 1, terms, found)
    take_over(known, 1, found, 1)
