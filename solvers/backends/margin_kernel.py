"""The part of the active-set margins between two products, compiled: one token after the other, many cores at once.

The product gives for each open token the logits of all rows at its point. One pass over them finds the strongest
rivals that its small program does not know yet; their margins at the point, in float64, are the bound from below.
They join the program, whose Gram matrix grows by their rows, and its minimiser gives weights (the bound from above)
and the next point. Lengths are in units of the longest rows, points have length ≤ 1, margins are logits over R.
"""

# Compiled functions take tuples of arrays that numba types by itself.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from solvers.backends.wolfe_kernel import Corral, nearest
from solvers.compiled import compiled, compiled_for_finite

BLOCK = 64
"""Logits whose largest one is kept while a row of them is read."""
INNER_SHARE, JOIN_SHARE = 0.1, 0.25
"""Shares of the gap asked for: to which a small program is solved, and by which a rival must undercut it to join."""
OPEN, CLOSED, AT_REST, LIMIT, TOO_MANY, FAILED = range(6)
"""How a token stands: still open; its bounds or its sign settled; nothing more to be learnt; out of rounds; its
corral needs more room; a number is not finite."""


class Slots(NamedTuple):
    """The programs of p tokens, n rivals each at most. Weights, Gram matrix and so on belong to the rivals in order.

    Attributes:
        token: `(p,)`.
        known: `(p,)` how many rivals it knows; 0 before the first product.
        rounds: `(p,)` products that the token has taken part in.
        state: `(p,)` OPEN and so on.
        rival: `(p, n)` their row numbers.
        weight: `(p, n)` λ.
        linear: `(p, n)` h_j = c_t − c_j.
        gram: `(p, n, n)` (a_t − a_j)·(a_t − a_k) + square.
        square: `(p,)` what is added to the Gram matrix.
        tau: `(p,)` τ.
        point: `(p, d)` z.
        reached: `(p,)` what z reaches over the rivals known.
        upper: `(p,)` ‖v‖ + h·λ.
        lower, best: `(p,)`, `(p, d)` the largest margin of a point over all rows, and that point.
    """

    token: np.ndarray
    known: np.ndarray
    rounds: np.ndarray
    state: np.ndarray
    rival: np.ndarray
    weight: np.ndarray
    linear: np.ndarray
    gram: np.ndarray
    square: np.ndarray
    tau: np.ndarray
    point: np.ndarray
    reached: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    best: np.ndarray

    @classmethod
    def room(cls, p: int, n: int, d: int) -> Slots:
        """For p tokens of n rivals in d dimensions."""
        whole = [np.zeros(p, dtype=np.int64) for _ in range(4)]
        square, tau, reached, upper, lower = (np.zeros(p) for _ in range(5))
        token, known, rounds, state = whole
        return cls(
            token, known, rounds, state, np.zeros((p, n), dtype=np.int64), np.zeros((p, n)), np.zeros((p, n)),
            np.zeros((p, n, n)), square, tau, np.zeros((p, d)), reached, upper, lower, np.zeros((p, d)),
        )  # fmt: skip

    def enter(self, slots: np.ndarray, tokens: np.ndarray, points: np.ndarray) -> None:
        """Give slots to tokens that begin at these points."""
        self.token[slots], self.point[slots] = tokens, points
        self.known[slots], self.rounds[slots], self.state[slots] = 0, 0, OPEN
        self.reached[slots], self.upper[slots], self.lower[slots] = np.inf, np.inf, -np.inf
        self.tau[slots], self.best[slots] = 0.0, np.nan


class Rules(NamedTuple):
    """What all tokens share.

    Attributes:
        gap: (upper − lower) ≤ gap · |upper| closes a token; below 0: its sign does.
        positive: `(v,)` by token, a margin above which is no rounding.
        floor: `(v,)` by token, a difference of bounds, and an upper bound, that counts as none.
        flat: whether there are no offsets.
        first, more: rivals to take at the first product and at later ones.
        rounds: products that a token may take part in after the first.
    """

    gap: float
    positive: np.ndarray
    floor: np.ndarray
    flat: bool
    first: int
    more: int
    rounds: int


class Scratch(NamedTuple):
    """Working memory of one thread.

    Attributes:
        difference: `(n + 4, d)` a_t − a_j of the rivals, and rows that tiles of four may reach into.
        maxima: `(⌈v / BLOCK⌉,)` the largest logit of each block.
        found, value: `(m,)` the strongest rivals found and their logits, as a heap with the least on top.
        corral: of the active set.
    """

    difference: np.ndarray
    maxima: np.ndarray
    found: np.ndarray
    value: np.ndarray
    corral: Corral

    @classmethod
    def room(cls, n: int, d: int, v: int, most: int) -> Scratch:
        """For n rivals in d dimensions among v rows, `most` of which may be found at a time."""
        blocks = -(-v // BLOCK)
        found = np.zeros(max(most, 1), dtype=np.int64)
        return cls(np.zeros((n + 4, d)), np.zeros(blocks, np.float32), found, np.zeros(len(found)), Corral.room(n))


@compiled
def _sift(value, found, size, score, index):
    """Put an entry on top of a heap (the least on top) in the place of what was there, and let it sink."""
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and value[below + 1] < value[below]:
            below += 1
        if not value[below] < score:
            break
        value[at], found[at] = value[below], found[below]
        at = below
    value[at], found[at] = score, index


@compiled_for_finite
def _block_maxima(scores, maxima):
    """The largest of each block of `BLOCK` scores, which are no NaN; returns the largest of all."""
    v, largest = len(scores), np.float32(-np.inf)
    for block in range(len(maxima)):
        first, last = block * BLOCK, min(block * BLOCK + BLOCK, v)
        top = np.float32(-np.inf)
        for j in range(first, last):
            top = scores[j] if scores[j] > top else top
        maxima[block] = top
        largest = max(largest, top)
    return largest


@compiled
def strongest(scores, level, most, scratch):
    """The rows with the largest scores, those above `level` alone and `most` at the most.

    Two passes: the largest score of every block, whose `most`-th largest is a threshold that at least so many scores
    reach; then the scores of the blocks that reach it, through a heap.

    Args:
        scores: `(v,)` float32; −inf for rows that are not to be found.
        level: see above.
        most: see above; at most the length of `scratch.found`.
        scratch: its `found` and `value` are filled.

    Returns:
        How many were found, and the largest score of all.
    """
    maxima, value, found = scratch.maxima, scratch.value, scratch.found
    largest = _block_maxima(scores, maxima)
    value[:most], found[:most] = level, -1
    for block in range(len(maxima)):
        if maxima[block] > value[0]:
            _sift(value, found, most, np.float64(maxima[block]), block)
    threshold = value[0]
    value[:most], found[:most] = level, -1
    for block in range(len(maxima)):
        if maxima[block] >= threshold and maxima[block] > value[0]:
            for j in range(block * BLOCK, min(block * BLOCK + BLOCK, len(scores))):
                if scores[j] >= threshold and scores[j] > value[0]:
                    _sift(value, found, most, np.float64(scores[j]), j)
    size = 0
    for i in range(most):
        if found[i] >= 0:
            found[size], value[size] = found[i], value[i]
            size += 1
    return size, largest


@compiled
def _tile(difference, i, j):
    """The dot products of four rows from i on with four from j on: what is read serves four products each."""
    a, b, c, d = difference[i], difference[i + 1], difference[i + 2], difference[i + 3]
    p, q, r, s = difference[j], difference[j + 1], difference[j + 2], difference[j + 3]
    ap, aq, ar, as_ = 0.0, 0.0, 0.0, 0.0
    bp, bq, br, bs = 0.0, 0.0, 0.0, 0.0
    cp, cq, cr, cs = 0.0, 0.0, 0.0, 0.0
    dp, dq, dr, ds = 0.0, 0.0, 0.0, 0.0
    for k in range(difference.shape[1]):
        ap += a[k] * p[k]
        aq += a[k] * q[k]
        ar += a[k] * r[k]
        as_ += a[k] * s[k]
        bp += b[k] * p[k]
        bq += b[k] * q[k]
        br += b[k] * r[k]
        bs += b[k] * s[k]
        cp += c[k] * p[k]
        cq += c[k] * q[k]
        cr += c[k] * r[k]
        cs += c[k] * s[k]
        dp += d[k] * p[k]
        dq += d[k] * q[k]
        dr += d[k] * r[k]
        ds += d[k] * s[k]
    return (ap, aq, ar, as_), (bp, bq, br, bs), (cp, cq, cr, cs), (dp, dq, dr, ds)


@compiled
def _products(difference, first, count, gram, square):
    """The Gram matrix's rows and columns from `first` to `count`. Tiles may reach four rows beyond them."""
    for j in range(0, count, 4):
        for i in range(max(first, j - 3), count, 4):
            for m, row in enumerate(_tile(difference, i, j)):
                for n, value in enumerate(row):
                    if i + m < count and j + n < count:
                        gram[i + m, j + n] = gram[j + n, i + m] = value + square


@compiled
def _subtract(rows, unit, token, rivals, first, last, difference):
    """a_t − a_j of some rivals in units of `unit`, into the same places of `difference`."""
    for i in range(first, last):
        j = rivals[i]
        for k in range(rows.shape[1]):
            difference[i, k] = (np.float64(rows[token, k]) - np.float64(rows[j, k])) * unit


@compiled
def _dot(a, b):
    total = 0.0
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@compiled
def _drop(slots, slot, keep, corral):
    """Make room: forget the rivals without weight that are farthest from counting. Returns how many are left."""
    count, weight, gram = slots.known[slot], slots.weight[slot], slots.gram[slot]
    linear, rival, price = slots.linear[slot], slots.rival[slot], corral.price
    price[:count] = slots.tau[slot] * linear[:count]
    support = 0
    for i in range(count):
        if weight[i] > 0.0:
            support += 1
            for c in range(count):
                price[c] += weight[i] * gram[i, c]
    if support > keep:
        return -1
    for i in range(count):
        if weight[i] > 0.0:
            price[i] = -np.inf
    limit = np.sort(price[:count])[keep - 1]
    kept = 0
    for i in range(count):
        if price[i] <= limit and kept < keep:
            corral.order[kept] = i
            kept += 1
    for m in range(kept):
        i = corral.order[m]
        rival[m], weight[m], linear[m] = rival[i], weight[i], linear[i]
        for k in range(m + 1):
            gram[m, k] = gram[k, m] = gram[i, corral.order[k]]
    slots.known[slot] = kept
    return kept


@compiled
def _improve(slots, slot, rules, scratch):
    """Solve the token's program anew: weights, upper bound, next point. False where rounding let nothing change."""
    count, d = slots.known[slot], slots.point.shape[1]
    gram, linear, weight = slots.gram[slot], slots.linear[slot], slots.weight[slot]
    gap = rules.gap if rules.gap >= 0.0 else 1.0
    square, tau, inner = slots.square[slot], slots.tau[slot], INNER_SHARE * gap
    tau, _ = nearest(gram, linear, square, count, weight, tau, rules.flat, inner, scratch.corral)
    point, difference = slots.point[slot], scratch.difference
    point[:] = 0.0
    upper = 0.0
    for i in range(count):
        if weight[i] > 0.0:
            upper += weight[i] * linear[i]
            for k in range(d):
                point[k] += weight[i] * difference[i, k]
    length = np.sqrt(_dot(point, point))
    upper += length
    if not np.isfinite(upper):
        slots.state[slot] = FAILED
        return False
    # Without offsets v is unique, and rivals that undercut it shorten it. With offsets only the point may move.
    better = upper < slots.upper[slot] or not rules.flat
    slots.upper[slot], slots.tau[slot] = upper, tau
    scale = max(length, tau)
    for k in range(d):
        point[k] = point[k] / scale if scale > 0.0 else 0.0
    reached = np.inf
    for j in range(count):
        reached = min(reached, _dot(difference[j], point) + linear[j])
    slots.reached[slot] = reached
    return better


@compiled
def _judge(slots, slot, rules):
    """Whether the bounds so far are enough."""
    token, lower, upper = slots.token[slot], slots.lower[slot], slots.upper[slot]
    floor = rules.floor[token]
    width = upper - lower
    if width <= floor or (rules.flat and upper <= floor):
        return True
    if rules.gap < 0.0:
        return lower > rules.positive[token] or upper < -floor
    return upper < np.inf and width <= rules.gap * abs(upper)


@compiled
def _take_in(rows, offset, unit, scores, slots, slot, rules, scratch):
    """Find the token's strongest unknown rivals and bound its margin from below. Returns how many were found.

    They stand in `rival` and `linear` behind those that are known, and their differences in `scratch`; where room
    had to be made for them and there was none, −1.
    """
    token, known, reached = slots.token[slot], slots.known[slot], slots.reached[slot]
    own = np.float64(scores[token])
    scores[token] = -np.inf
    for i in range(known):
        scores[slots.rival[slot, i]] = -np.inf
    gap = rules.gap if rules.gap >= 0.0 else 1.0
    level = -np.inf if known == 0 else own - reached + JOIN_SHARE * gap * abs(reached)
    most = min(rules.first if known == 0 else rules.more, slots.rival.shape[1])
    found, largest = strongest(scores, level, most, scratch)
    lower = min(reached, own - largest) if found == 0 else reached
    if known + found > slots.rival.shape[1]:
        known = _drop(slots, slot, slots.rival.shape[1] - found, scratch.corral)
        if known < 0:
            return -1
    rival, linear, difference = slots.rival[slot], slots.linear[slot], scratch.difference
    for i in range(found):
        rival[known + i] = scratch.found[i]
        linear[known + i] = offset[token] - offset[scratch.found[i]]
    _subtract(rows, unit, token, rival, known, known + found, difference)
    for i in range(known, known + found):
        lower = min(lower, _dot(difference[i], slots.point[slot]) + linear[i])
    if lower > slots.lower[slot]:
        slots.lower[slot] = lower
        slots.best[slot] = slots.point[slot]
    return found


@compiled
def _start(slots, slot, found, scratch):
    """At the first rivals: the size of the points, and all weight on the single one that bounds the margin best."""
    difference, linear, weight = scratch.difference, slots.linear[slot], slots.weight[slot]
    least, at, total = np.inf, 0, 0.0
    for i in range(found):
        weight[i] = 0.0
        square = _dot(difference[i], difference[i])
        total += square
        if np.sqrt(square) + linear[i] < least:
            least, at = np.sqrt(square) + linear[i], i
    weight[at] = 1.0
    slots.square[slot] = total / found if total > 0.0 else 1.0
    slots.tau[slot] = np.sqrt(_dot(difference[at], difference[at]))


@compiled
def begin(rows, offset, unit, slots, chosen, rules, scratch):
    """Solve the programs of some tokens over the rivals that they know before any product: their first points.

    Args:
        rows, offset, unit, rules, scratch: see `advance`.
        slots: all tokens; `known`, `rival` and `weight` (positive) say with whom to begin, the rest is filled.
        chosen: `(m,)` slots.
    """
    for slot in chosen:
        known, token, total, square = slots.known[slot], slots.token[slot], 0.0, 0.0
        linear, weight, point = slots.linear[slot], slots.weight[slot], slots.point[slot]
        if known == 0:
            continue
        _subtract(rows, unit, token, slots.rival[slot], 0, known, scratch.difference)
        point[:] = 0.0
        for i in range(known):
            total += weight[i]
        for i in range(known):
            linear[i] = offset[token] - offset[slots.rival[slot, i]]
            weight[i] /= total
            square += _dot(scratch.difference[i], scratch.difference[i])
            for k in range(len(point)):
                point[k] += weight[i] * scratch.difference[i, k]
        slots.square[slot] = square / known if square > 0.0 else 1.0
        slots.tau[slot] = np.sqrt(_dot(point, point))
        _products(scratch.difference, 0, known, slots.gram[slot], slots.square[slot])
        _improve(slots, slot, rules, scratch)


@compiled
def advance(rows, offset, unit, scores, slots, chosen, first, last, rules, scratch):
    """Take in one product's logits for some tokens, and make their next points.

    Args:
        rows: `(v, d)` float32 rows.
        offset: `(v,)` c over R and the unit of length.
        unit: one over the unit of length.
        scores: `(m, v)` the logits at the tokens' points, in these units, float32; overwritten.
        slots: all tokens.
        chosen: `(m,)` the slot of each row of `scores`.
        first, last: the part of `chosen` to work on.
        rules: what all tokens share.
        scratch: working memory of this thread.
    """
    for row in range(first, last):
        slot = chosen[row]
        found = _take_in(rows, offset, unit, scores[row], slots, slot, rules, scratch)
        slots.rounds[slot] += 1
        if slots.state[slot] != OPEN:
            continue
        if _judge(slots, slot, rules):
            slots.state[slot] = CLOSED
        elif found < 0:
            slots.state[slot] = TOO_MANY
        elif found == 0:
            slots.state[slot] = AT_REST
        elif slots.rounds[slot] > rules.rounds:
            slots.state[slot] = LIMIT
        if slots.state[slot] != OPEN:
            continue
        known = slots.known[slot]
        if known == 0:
            _start(slots, slot, found, scratch)
        else:
            _subtract(rows, unit, slots.token[slot], slots.rival[slot], 0, known, scratch.difference)
            slots.weight[slot, known : known + found] = 0.0
        slots.known[slot] = known + found
        _products(scratch.difference, known, known + found, slots.gram[slot], slots.square[slot])
        better = _improve(slots, slot, rules, scratch)
        if slots.state[slot] == OPEN and not better:
            slots.state[slot] = AT_REST
        elif slots.state[slot] == OPEN and _judge(slots, slot, rules):
            slots.state[slot] = CLOSED


@cache
def make_ready() -> None:
    """Compile all of this, or read it from disk, where that has not been done: by work on no token at all."""
    one, rows = np.zeros(1), np.zeros((1, 1), dtype=np.float32)
    rules = Rules(gap=0.0, positive=one, floor=one, flat=True, first=1, more=1, rounds=1)
    chosen = np.zeros(1, dtype=np.int64)
    begin(rows, one, 1.0, Slots.room(1, 1, 1), chosen, rules, Scratch.room(1, 1, 1, 1))
    advance(rows, one, 1.0, rows.copy(), Slots.room(1, 1, 1), chosen, 0, 0, rules, Scratch.room(1, 1, 1, 1))
