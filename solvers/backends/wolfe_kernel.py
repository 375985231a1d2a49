"""min ‖Σλ_j D_j‖ + Σλ_j h_j over the simplex, from the Gram matrix of the D_j, compiled.

Wolfe (1976), "Finding the nearest point in a polytope", keeps a *corral*: affinely independent points whose weights
are all positive. The point that lies farthest back joins it; then the weights move toward the minimiser over its
affine hull, and points that reach weight 0 on the way leave it. The matrix G_jk + s² of a corral is positive definite
(s the size of the points), and its Cholesky factor L is updated: a row for a point that joins, Givens rotations for
one that leaves. With y = L⁻¹1 and x = L⁻¹(−h) carried along, each move costs one back substitution.

With a linear term, ‖v‖ = min over τ of (‖v‖²/τ + τ)/2, so for a fixed τ the program is ½‖v‖² + τ h·λ, the same active
set. On one corral v(τ) = p + τq with p·q = 0, hence ‖v(τ)‖ = τ at τ² = ‖p‖²/(1 − ‖q‖²): a Newton step for τ.
"""

# Compiled functions take tuples of arrays that numba types by itself.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from solvers.compiled import compiled

_DEPENDENT = 1e-13
"""A point whose part outside the corral's affine hull has a square below this, relative to its own, adds nothing."""
_SHORTEST = 1e-7
"""τ stays above this share of the points' size, so that the point v/τ is defined where v is 0."""
_TAU_STEPS = 40
_ROUNDING = 4e-15
"""A price below the level by less than this share of the numbers that it is made of is no lower at all."""
SMALLEST_GAP = 1e-12
"""Relative gap between the bounds of a small program below which rounding decides."""


class Corral(NamedTuple):
    """Working memory for one program of at most n points. Positions count the points of the corral.

    Attributes:
        factor: `(n, n)` L, lower triangular.
        ones: `(n,)` L⁻¹1.
        slopes: `(n,)` L⁻¹(−h).
        order: `(n,)` the point at each position.
        weight: `(n,)` λ at each position.
        goal: `(n,)` the weights moved toward.
        row: `(n,)` a row of the factor in the making.
        price: `(n,)` (Gλ)_j + τ h_j of each point.
        member: `(n,)` 1 in the corral, 2 found to add nothing, 0 else.
    """

    factor: np.ndarray
    ones: np.ndarray
    slopes: np.ndarray
    order: np.ndarray
    weight: np.ndarray
    goal: np.ndarray
    row: np.ndarray
    price: np.ndarray
    member: np.ndarray

    @classmethod
    def room(cls, n: int) -> Corral:
        """For at most n points."""
        vectors = [np.zeros(n) for _ in range(7)]
        ones, slopes, weight, goal, row, price, _ = vectors
        order, member = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        return cls(np.zeros((n, n)), ones, slopes, order, weight, goal, row, price, member)


@compiled
def _append(gram, linear, corral, size, j):
    """Put point j at position `size` with weight 0; False (with nothing changed but `row`) where it is dependent."""
    factor, row = corral.factor, corral.row
    rest = gram[j, j]
    for i in range(size):
        total = gram[corral.order[i], j]
        for k in range(i):
            total -= factor[i, k] * row[k]
        row[i] = total / factor[i, i]
        rest -= row[i] * row[i]
    if not rest > _DEPENDENT * gram[j, j]:
        return False
    pivot = np.sqrt(rest)
    one, slope = 1.0, -linear[j]
    for k in range(size):
        factor[size, k] = row[k]
        one -= row[k] * corral.ones[k]
        slope -= row[k] * corral.slopes[k]
    factor[size, size] = pivot
    corral.ones[size], corral.slopes[size] = one / pivot, slope / pivot
    corral.order[size], corral.weight[size], corral.member[j] = j, 0.0, 1
    return True


@compiled
def _remove(corral, size, position):
    """Take out the point at a position: its row leaves the factor, and rotations make it triangular again."""
    factor = corral.factor
    corral.member[corral.order[position]] = 0
    for i in range(position, size - 1):
        corral.order[i], corral.weight[i] = corral.order[i + 1], corral.weight[i + 1]
        for k in range(i + 2):
            factor[i, k] = factor[i + 1, k]
    for k in range(position, size - 1):
        a, b = factor[k, k], factor[k, k + 1]
        length = np.sqrt(a * a + b * b)
        c, s = a / length, b / length
        for i in range(k, size - 1):
            left, right = factor[i, k], factor[i, k + 1]
            factor[i, k], factor[i, k + 1] = c * left + s * right, c * right - s * left
        for y in (corral.ones, corral.slopes):
            left, right = y[k], y[k + 1]
            y[k], y[k + 1] = c * left + s * right, c * right - s * left
    return size - 1


@compiled
def _aim(corral, size, tau):
    """The weights that minimise ½‖v‖² + τ h·λ over the affine hull of the corral, into `goal`."""
    factor, goal = corral.factor, corral.goal
    square, cross = 0.0, 0.0
    for i in range(size):
        square += corral.ones[i] * corral.ones[i]
        cross += corral.ones[i] * corral.slopes[i]
    share = (1.0 - tau * cross) / square
    for i in range(size):
        goal[i] = tau * corral.slopes[i] + share * corral.ones[i]
    for i in range(size - 1, -1, -1):
        goal[i] /= factor[i, i]
        for k in range(i):
            goal[k] -= goal[i] * factor[i, k]


@compiled
def _settle(corral, size, tau):
    """Wolfe's minor cycles: move to the minimiser over the affine hull, dropping points on the way."""
    weight, goal = corral.weight, corral.goal
    while size > 1:
        _aim(corral, size, tau)
        share, leaves = 2.0, -1
        for i in range(size):
            if not goal[i] > 0.0:
                room = weight[i] / (weight[i] - goal[i]) if weight[i] > 0.0 else 0.0
                if not room >= share:
                    share, leaves = room, i
        if leaves < 0:
            for i in range(size):
                weight[i] = goal[i]
            return size
        for i in range(size):
            weight[i] = max(weight[i] + share * (goal[i] - weight[i]), 0.0)
        size = _remove(corral, size, leaves)
    weight[0] = 1.0
    return size


@compiled
def _price(gram, linear, tau, square, count, corral, size):
    """(Gλ)_j + τ h_j of every point into `price`; returns its mean by the weights, the value over the corral."""
    price = corral.price
    for c in range(count):
        price[c] = tau * linear[c] - square
    for i in range(size):
        weight, row = corral.weight[i], gram[corral.order[i]]
        for c in range(count):
            price[c] += weight * row[c]
    level = 0.0
    for i in range(size):
        level += corral.weight[i] * price[corral.order[i]]
    return level


@compiled
def _exchange(gram, linear, corral, size, j):
    """Point j is an affine combination of the corral with a smaller linear term: let it take the place of one there.

    `row` holds what `_append` left of it. Along the combination the quadratic term stays, so the move goes on until a
    weight reaches 0.
    """
    factor, weight, mix = corral.factor, corral.weight, corral.goal
    for i in range(size):
        mix[i] = corral.row[i]
    for i in range(size - 1, -1, -1):
        mix[i] /= factor[i, i]
        for k in range(i):
            mix[k] -= mix[i] * factor[i, k]
    step, leaves = np.inf, -1
    for i in range(size):
        if mix[i] > 0.0 and weight[i] / mix[i] < step:
            step, leaves = weight[i] / mix[i], i
    if leaves < 0:
        corral.member[j] = 2
        return size
    for i in range(size):
        weight[i] = max(weight[i] - step * mix[i], 0.0)
    size = _remove(corral, size, leaves)
    if _append(gram, linear, corral, size, j):
        corral.weight[size] = step
        size += 1
    else:
        corral.member[j] = 2
    return _normalise(corral, size)


@compiled
def _normalise(corral, size):
    total = 0.0
    for i in range(size):
        total += corral.weight[i]
    for i in range(size):
        corral.weight[i] = corral.weight[i] / total if total > 0.0 else 1.0 / size
    return size


@compiled
def _begin(gram, linear, count, weights, corral):
    """The corral of the points that have weight; the heaviest stays in any case. Returns its size."""
    heaviest = 0
    for j in range(count):
        corral.member[j] = 0
        if weights[j] > weights[heaviest]:
            heaviest = j
    _append(gram, linear, corral, 0, heaviest)
    corral.weight[0], size = weights[heaviest], 1
    for j in range(count):
        if j != heaviest and weights[j] > 0.0 and _append(gram, linear, corral, size, j):
            corral.weight[size] = weights[j]
            size += 1
    return _normalise(corral, size)


@compiled
def _descend(gram, linear, tau, square, count, corral, size, slack, floor):
    """Wolfe's major cycles for one τ, until no point lies farther back than `slack` of the level. Gives the size."""
    size = _settle(corral, size, tau)
    for j in range(count):
        corral.member[j] &= 1
    for _ in range(4 * count + 64):
        level = _price(gram, linear, tau, square, count, corral, size)
        least, joins = level - max(slack * abs(level), floor), -1
        for c in range(count):
            if corral.member[c] == 0 and corral.price[c] < least:
                least, joins = corral.price[c], c
        if joins < 0:
            break
        if _append(gram, linear, corral, size, joins):
            size += 1
        else:
            size = _exchange(gram, linear, corral, size, joins)
        size = _settle(corral, size, tau)
    return size


@compiled
def _bounds(gram, linear, tau, square, count, corral, size):
    """‖v‖, ‖v‖ + h·λ, and min over the points of D_j·z + h_j at z = v/max(‖v‖, τ)."""
    length = np.sqrt(max(_price(gram, linear, 0.0, square, count, corral, size), 0.0))
    upper, reached = length, np.inf
    for i in range(size):
        upper += corral.weight[i] * linear[corral.order[i]]
    scale = max(length, tau)
    for c in range(count):
        reached = min(reached, (corral.price[c] / scale if scale > 0.0 else 0.0) + linear[c])
    return length, upper, reached


@compiled
def _next_tau(corral, size, square, tau, low, high, least):
    """Where ‖v(τ)‖ = τ on this corral; the middle of the bracket where that lies outside it."""
    one, cross, slope = 0.0, 0.0, 0.0
    for i in range(size):
        one += corral.ones[i] * corral.ones[i]
        cross += corral.ones[i] * corral.slopes[i]
        slope += corral.slopes[i] * corral.slopes[i]
    near, turn = max(1.0 / one - square, 0.0), slope - cross * cross / one
    found = np.sqrt(near / (1.0 - turn)) if turn < 1.0 else np.inf
    if low < found < high:
        return found
    if found <= low and low <= least:
        return least
    return np.sqrt(low * high) if high < np.inf else 4.0 * tau


@compiled
def nearest(gram, linear, square, count, weights, tau, flat, gap, corral):
    """Minimise ‖Σλ_j D_j‖ + Σλ_j h_j over the weights of `count` points.

    Args:
        gram: `(n, n)` D_j·D_k + square.
        linear: `(n,)` h_j, in the units of the D_j.
        square: what was added to the Gram matrix: about the mean ‖D_j‖².
        count: number of points.
        weights: `(n,)` where to begin; overwritten with those found whose bounds are closest.
        tau: τ to begin with (with a linear term only).
        flat: whether all h_j are 0.
        gap: relative gap between the bounds of this program at which to stop.
        corral: working memory.

    Returns:
        τ, and the value that z = v/max(‖v‖, τ) reaches over the points.
    """
    size = _begin(gram, linear, count, weights, corral)
    slack = max(gap, SMALLEST_GAP)
    best, best_tau, best_reached = np.inf, tau, -np.inf
    least = _SHORTEST * np.sqrt(square)
    low, high, steep = least, np.inf, 0.0
    for j in range(count):
        steep = max(steep, abs(linear[j]))
    tau = 0.0 if flat else max(tau, least)
    for step in range(_TAU_STEPS):
        floor = _ROUNDING * (square + tau * steep)
        size = _descend(gram, linear, tau, square, count, corral, size, 0.5 * slack, floor)
        length, upper, reached = _bounds(gram, linear, tau, square, count, corral, size)
        if step == 0 or upper - reached < best:
            best, best_tau, best_reached = upper - reached, tau, reached
            for j in range(count):
                weights[j] = 0.0
            for i in range(size):
                weights[corral.order[i]] = corral.weight[i]
        if flat or best <= slack * abs(upper):
            break
        low, high = (max(low, tau), high) if length > tau else (low, min(high, tau))
        new = _next_tau(corral, size, square, tau, low, high, least)
        if abs(new - tau) <= 1e-13 * tau:
            break
        tau = new
    return best_tau, best_reached
