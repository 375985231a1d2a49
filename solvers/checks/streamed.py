"""Checks of a few witnesses against the rows as they are stored: one pass, and no copy of the matrix.

The same question as in `solvers.checks.witness`, for a head that is larger than its float32 copy should be. The
norm's factors go into the points, not into the rows: A[j]·z = W[j]·p with p = s ⊙ z (z less its mean where rows are
centred), and a 16-bit W[j] is a float32 row as it stands. Every product carries the error bound of
`docs/mathematics.md`, with ‖W[j]‖·‖p‖ in place of ‖A[j]‖·‖z‖.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified, enclosing_ball
from solvers.checks.exact import inside_domain
from solvers.checks.witness import WitnessCheck, single_competitor_bound
from solvers.precision import full_float32_products
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT32, gamma, row_lengths, underflow

_BLOCK_BYTES = 2**24
"""Memory of the float32 rows of one block: what stays in the cache between their making and their product."""
_LOST_SQUARES = 2.0**-62
"""What squares below float32's smallest number may take from a length, per root of an entry."""

_TAIL = 1 + 2.0**-20
"""Room for the few roundings of a product of two lengths in float32."""
_LEAST_SCALE = 1e-30
"""Scales below this are those of rows that are zero, or as good as."""

Classes = dict[int, Int[np.ndarray, " k"]]


def check_streamed(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    points: Float[Tensor, "n d"],
    *,
    equal: Classes | None = None,
    own_scale: Float64[Tensor, " n"] | None = None,
    columns: int | None = None,
) -> WitnessCheck:
    """Bound from below, for each token, its margin at its point over all rows that are not equal to its own.

    Args:
        problem: the argmax problem.
        tokens: `(n,)` row numbers.
        points: `(n, d)` points; rows with NaN, or outside the domain, prove nothing.
        equal: rows that are exactly equal to a token's, offset included: they are no rivals here.
        own_scale: `(n,)` set when points[i] is own_scale[i]·A[tokens[i]] up to rounding: the same products then show
            the nearest rival, which bounds each margin from above.
        columns: multiply so many columns only, and bound what the others add by lengths: W[j]·p ≤ W[j]₁·p₁ +
            ‖W[j]₂‖·‖p₂‖. Enough for most points along a row, since other rows point elsewhere. Not with `own_scale`.

    Raises:
        BadInput: products are computed in less than float32, and torch does not let that be switched off.
    """
    n, v = len(tokens), problem.v
    usable = torch.isfinite(points).all(dim=1)
    usable &= inside_domain(problem.domain, points)
    z = torch.where(usable[:, None], points.to(torch.float64), 0.0)
    moved, error, radius = _into_points(problem, z)
    best = torch.full((n,), -torch.inf, dtype=torch.float64)
    runner_up = torch.zeros(n, dtype=torch.int64)
    near = torch.full((n,), -torch.inf, dtype=torch.float64)
    near_row = torch.full((n,), -1, dtype=torch.int64)
    which, theirs = _pairs(tokens, equal or {})
    step = max(1, min(v, _BLOCK_BYTES // (4 * problem.d)))
    rows32 = torch.empty((step, problem.d), dtype=torch.float32)
    products = torch.empty((n, step), dtype=torch.float32)
    first = problem.d if columns is None else min(columns, problem.d)
    rest = (_longest(moved[:, first:]) * _TAIL).to(torch.float32)
    scale, middle = None, float(problem.row_norm.median())
    if own_scale is not None and enclosing_ball(problem)[1] < float("inf"):
        scale = torch.where(own_scale > _LEAST_SCALE, own_scale, 1.0).to(torch.float32)[:, None]
    with full_float32_products():
        for part in problem.blocks(1, step):
            size = part.stop - part.start
            rows = rows32[:size].copy_(problem.weight[part])
            scores = torch.mm(moved[:, :first], rows[:, :first].T, out=products[:, :size])
            here = (theirs >= part.start) & (theirs < part.stop)
            left_out = which[here], theirs[here] - part.start
            if scale is not None:
                # −½‖A[t] − A[j]‖² but for ‖A[t]‖²; only the choice of a rival rests on it.
                distance = scores / scale - _half_goal(problem, part, middle)
                distance[left_out] = -torch.inf
                value, index = distance.max(dim=1)
                closer = value.double() > near
                near = torch.where(closer, value.double(), near)
                near_row = torch.where(closer, index + part.start, near_row)
            if first < problem.d:
                scores.addr_(rest, (_longest(rows[:, first:]) * _TAIL).to(torch.float32))
            scores += _raised(problem, part, rows, float(error.max()), float(radius.max())).to(torch.float32)
            scores[left_out] = -torch.inf
            value, index = scores.max(dim=1)
            value = torch.where(torch.isnan(value), torch.inf, value).double()
            better = value > best
            best = torch.where(better, value, best)
            runner_up = torch.where(better, index + part.start, runner_up)
    mine = problem.rows(tokens)
    own = (mine * z).sum(dim=1) + problem.offset[tokens]
    room = _own_error(problem, tokens, row_lengths(z))
    lower = own - room - best
    lower[~usable | torch.isnan(lower)] = -torch.inf
    upper = torch.full((n,), torch.inf, dtype=torch.float64)
    if scale is not None:
        found = near_row >= 0
        upper[found] = single_competitor_bound(problem, tokens[found], near_row[found])
    size = row_lengths(problem.weight[runner_up].double())
    return WitnessCheck(lower, runner_up, room + 2 * size * error, upper, near_row)


def _pairs(tokens: Int[Tensor, " n"], equal: Classes) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """Places of tokens, and rows that are none of their rivals: themselves, and their equals."""
    pairs = [(at, row) for at, token in enumerate(tokens.tolist()) for row in {token, *equal.get(token, ())}]
    found = torch.tensor(pairs, dtype=torch.int64)
    return found[:, 0], found[:, 1]


def _into_points(
    problem: ArgmaxProblem, z: Float64[Tensor, "n d"]
) -> tuple[Float[Tensor, "n d"], Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """p as float32, what a unit of ‖W[j]‖ may be wrong by in W[j]·p, and ‖z‖ with room above."""
    length = row_lengths(z) * (1 + gamma(problem.d + 2))
    exact = z - z.mean(dim=1, keepdim=True) if problem.centred else z
    largest = 1.0
    if problem.scale is not None:
        exact, largest = exact * problem.scale, float(problem.scale.abs().max())
    narrow = exact.to(torch.float32)
    size = row_lengths(narrow.double()) * (1 + gamma(problem.d + 2))
    rounded = row_lengths(exact - narrow.double()) * (1 + gamma(problem.d + 4))
    worked_out = gamma(problem.d + 8) * length * largest
    lost = underflow(problem.d, torch.float32) * (1 + size)
    return narrow, SECOND_ORDER * (gamma(problem.d + 4, UNIT_FLOAT32) * size + rounded + worked_out + lost), length


def _raised(
    problem: ArgmaxProblem, part: slice, rows: Float[Tensor, "m d"], error: float, radius: float
) -> Float64[Tensor, " m"]:
    """What makes the products of some rows upper bounds on their logits: offsets, and room for all rounding."""
    most = _longest(rows)
    factor = 1.0 if problem.scale is None else float(problem.scale.abs().max())
    offset = problem.offset[part]
    reach = most * factor * radius
    room = most * error + radius * problem.row_error[part] + problem.offset_error[part]
    room = room + 4 * UNIT_FLOAT32 * (offset.abs() + reach)
    room = room + underflow(problem.d, torch.float32) * (1 + most + factor * radius)
    return offset + SECOND_ORDER * room


def _longest(rows: Float[Tensor, "m d"]) -> Float64[Tensor, " m"]:
    """Upper bounds on the lengths of float32 rows; infinite where squares leave float32."""
    d = rows.shape[1]
    most = torch.linalg.vector_norm(rows, dim=1).double() * (1 + gamma(d + 4, UNIT_FLOAT32)) + _LOST_SQUARES * d
    return torch.where(most < torch.finfo(torch.float32).max / 8, most, torch.inf)


def _half_goal(problem: ArgmaxProblem, part: slice, middle: float) -> Float[Tensor, " m"]:
    """What the nearest rival makes smallest beside its product, see `solvers.checks.witness.nearest_goal`."""
    _, radius = enclosing_ball(problem)
    return (problem.row_norm[part] ** 2 / 2 - middle / radius * problem.offset[part]).to(torch.float32)


def _own_error(
    problem: ArgmaxProblem, tokens: Int[Tensor, " n"], radius: Float64[Tensor, " n"]
) -> Float64[Tensor, " n"]:
    """What the tokens' own logits, worked out in float64, may be wrong by."""
    size = problem.row_norm[tokens] + problem.row_error[tokens]
    offset = problem.offset[tokens].abs()
    lost = underflow(problem.d, torch.float64) * (1 + radius + size)
    return SECOND_ORDER * (
        (gamma(problem.d + 8) * size + problem.row_error[tokens]) * radius * (1 + gamma(problem.d + 2))
        + problem.offset_error[tokens]
        + gamma(8) * offset
        + lost
    )


def shared_hull_bounds(
    problem: ArgmaxProblem, tokens: Int[Tensor, " n"], rows: Int[Tensor, " s"], weights: Float64[Tensor, "n s"]
) -> Float64[np.ndarray, " n"]:
    """Upper bounds on margins from hull weights over rows that all tokens share, as `solvers.checks.hull` has them.

    With v = Σλ_j(A[t]−A[j]) and δ = Σλ_j(c[t]−c[j]) each is sup v·z + δ over the domain; the weights are divided by
    their sum. +inf for a token that is among the rows, or whose weights are negative, not finite or all 0.

    Args:
        problem: the argmax problem.
        tokens: `(n,)` row numbers.
        rows: `(s,)` row numbers, each once.
        weights: `(n, s)`.
    """
    total = weights.sum(dim=1)
    good = torch.isfinite(weights).all(dim=1) & (weights >= 0).all(dim=1) & (total > 0)
    good &= ~torch.isin(tokens, rows)
    if len(torch.unique(rows)) != len(rows):
        good[:] = False
    lam = torch.where(good[:, None], weights / total.clamp(min=1e-300)[:, None], 0.0)
    mean = torch.zeros((len(tokens), problem.d), dtype=torch.float64)
    step = max(1, _BLOCK_BYTES // (8 * 8 * problem.d))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        mean += lam[:, part] @ problem.rows(rows[part])
    # The sums over the weights, their total, and the difference.
    k = gamma(2 * len(rows) + 16)
    mine, theirs = _lengths(problem, tokens), lam @ _lengths(problem, rows)
    lost = underflow(problem.d * (len(rows) + 1), torch.float64)
    v_error = lam @ problem.row_error[rows] + problem.row_error[tokens] + k * (mine + theirs) + lost
    delta = problem.offset[tokens] - lam @ problem.offset[rows]
    offsets = problem.offset[tokens].abs() + lam @ problem.offset[rows].abs()
    delta_error = lam @ problem.offset_error[rows] + problem.offset_error[tokens] + k * offsets
    v = problem.rows(tokens) - mean
    value = certified(problem.domain).supports(
        v, (SECOND_ORDER * v_error).numpy(), rigorous=True, directions=problem.zero_offset
    )
    room = SECOND_ORDER * 2 * delta_error.numpy() + gamma(8) * (np.abs(value) + delta.abs().numpy())
    with np.errstate(invalid="ignore"):  # ∞ − ∞ bounds nothing
        bound = value + delta.numpy() + room + underflow(problem.d, torch.float64)
    return np.where(good.numpy() & np.isfinite(bound), bound, np.inf)


def _lengths(problem: ArgmaxProblem, rows: Int[Tensor, " s"]) -> Float64[Tensor, " s"]:
    return (problem.row_norm[rows] + problem.row_error[rows]) * (1 + gamma(problem.d + 4))
