"""How far along a ray a row wins: one pass over the logits of all rows in its direction, compiled."""

# Compiled functions take tuples of arrays that numba types by itself.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from functools import cache

import numpy as np

from solvers.compiled import compiled_for_finite


@compiled_for_finite
def _narrow(logits, offset, own, mine, first, last, shortest, longest):
    """What the rivals from `first` to `last` leave of an interval of lengths."""
    zero, one, far = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
    for j in range(first, last):
        slope = own - logits[j]
        lead = mine - offset[j]
        end = -lead / (slope if slope != zero else one)
        low = end if slope > zero else zero
        high = end if slope < zero else far
        high = zero if slope == zero and lead <= zero else high  # it wins nowhere
        shortest = low if low > shortest else shortest
        longest = high if high < longest else longest
    return shortest, longest


@compiled_for_finite
def intervals(logits, offset, tokens, own, shortest, longest):
    """Between which lengths s a row wins at s·u: s·α_j + δ_j > 0 for every rival j.

    Args:
        logits: `(n, v)` A u, float32, without the offsets.
        offset: `(v,)` c, float32.
        tokens: `(n,)` the row that is to win in each direction.
        own: `(n,)` its own A[t]·u, float32.
        shortest, longest: `(n,)` float32; filled. Nowhere is an interval whose end is not above its beginning.
    """
    for i in range(len(tokens)):
        t = tokens[i]
        low, high = np.float32(0.0), np.float32(np.inf)
        low, high = _narrow(logits[i], offset, own[i], offset[t], 0, t, low, high)
        low, high = _narrow(logits[i], offset, own[i], offset[t], t + 1, len(offset), low, high)
        shortest[i], longest[i] = low, high


@cache
def make_ready() -> None:
    """Compile all of this, or read it from disk, where that has not been done."""
    one = np.zeros(1, dtype=np.float32)
    intervals(np.zeros((1, 1), dtype=np.float32), one, np.zeros(1, dtype=np.int64), one, one.copy(), one.copy())
