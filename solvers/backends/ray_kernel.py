"""How far along a ray a row wins: one pass over the logits of all rows in its direction, compiled."""

# Compiled functions take tuples of arrays that numba types by itself.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from functools import cache

import numpy as np

from solvers.compiled import compiled_for_finite

_LANES = 256
"""Rivals that are taken side by side; interleaved minima of a few hundred are what vector instructions can do."""


@compiled_for_finite
def _narrow(logits, offset, own, mine, shortest, longest):
    """What each rival leaves of the interval of lengths in its place."""
    zero, one, far = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
    for j in range(len(shortest)):
        slope = own - logits[j]
        lead = mine - offset[j]
        end = -lead / (slope if slope != zero else one)
        low = end if slope > zero else zero
        level = zero if lead <= zero else far  # a rival as steep as the row: it wins nowhere, or everywhere
        high = end if slope < zero else (far if slope > zero else level)
        shortest[j] = low if low > shortest[j] else shortest[j]
        longest[j] = high if high < longest[j] else longest[j]


@compiled_for_finite
def intervals(logits, offset, tokens, own, shortest, longest):
    """Between which lengths s a row wins at s·u: s·α_j + δ_j > 0 for every rival j.

    Args:
        logits: `(n, v)` A u, float32, without the offsets; that of the row itself is overwritten.
        offset: `(v,)` c, float32.
        tokens: `(n,)` the row that is to win in each direction.
        own: `(n,)` its own A[t]·u, float32.
        shortest, longest: `(n,)` float32; filled. Nowhere is an interval whose end is not above its beginning.
    """
    low, high = np.empty(_LANES, dtype=np.float32), np.empty(_LANES, dtype=np.float32)
    v = len(offset)
    whole = v - v % _LANES
    for i in range(len(tokens)):
        mine = offset[tokens[i]]
        logits[i, tokens[i]] = -np.inf  # and at its own offset: no rival
        low[:], high[:] = 0.0, np.inf
        for j in range(0, whole, _LANES):
            part = slice(j, j + _LANES)
            _narrow(logits[i, part], offset[part], own[i], mine, low, high)
        _narrow(logits[i, whole:], offset[whole:], own[i], mine, low[: v - whole], high[: v - whole])
        shortest[i], longest[i] = low.max(), high.min()


@cache
def make_ready() -> None:
    """Compile all of this, or read it from disk, where that has not been done."""
    one = np.zeros(1, dtype=np.float32)
    intervals(np.zeros((1, 1), dtype=np.float32), one, np.zeros(1, dtype=np.int64), one, one.copy(), one.copy())
