"""Checks of hull weights in floating point: an upper bound on the margin that holds whatever was rounded."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, gamma, underflow
from solvers.weighted_rows import weighted_differences

WEIGHT_SUM_ROUNDING = 1e-6
"""Stored weights, which may be float32, add up to 1 within this; what is off by more no scan has written."""


def weights_fault(
    problem: ArgmaxProblem, token: int, rows: Int[np.ndarray, " k"], weights: Float64[np.ndarray, " k"]
) -> str | None:
    """Why these are no hull weights for the token (wrong rows, negative, not a convex combination), or None."""
    if not 0 <= token < problem.v:
        return "the token does not exist"
    if len(rows) == 0:
        return "no hull weights are stored"
    if len(rows) != len(weights):
        return "rows and weights differ in number"
    if not np.isfinite(weights).all():
        return "a hull weight is not a finite number"
    if (weights < 0).any():
        return f"the weight of row {int(rows[int(np.argmin(weights))])} is negative"
    if (rows < 0).any() or (rows >= problem.v).any():
        return "a hull weight names a row that does not exist"
    if (rows == token).any():
        return "the token is among its own blockers"
    if len(np.unique(rows)) != len(rows):
        return "a row is named twice"
    if abs(math.fsum(weights) - 1) > WEIGHT_SUM_ROUNDING:
        return f"the hull weights add up to {math.fsum(weights):.12g}, not 1"
    return None


def are_hull_weights(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    start: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
) -> Bool[np.ndarray, " n"]:
    """For which tokens `weights_fault` would find nothing wrong; all at once."""
    sizes, token = np.diff(start), tokens.numpy()
    owner = np.repeat(np.arange(len(token)), sizes)
    fine = np.isfinite(weights) & (weights >= 0) & (rows >= 0) & (rows < problem.v) & (rows != token[owner])
    order = np.lexsort((rows, owner))
    fine[order[1:]] &= (owner[order[1:]] != owner[order[:-1]]) | (rows[order[1:]] != rows[order[:-1]])
    good = (sizes > 0) & (token >= 0) & (token < problem.v)
    good[owner[~fine]] = False
    sums = [math.fsum(weights[start[i] : start[i + 1]]) if good[i] else 0.0 for i in range(len(token))]
    return good & (np.abs(np.array(sums) - 1) <= WEIGHT_SUM_ROUNDING)


def hull_upper_bound(
    problem: ArgmaxProblem,
    token: int,
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
    *,
    rigorous: bool = True,
) -> float:
    """`hull_upper_bounds` for one token."""
    index, lam = np.asarray(rows, dtype=np.int64), np.asarray(weights, dtype=np.float64)
    if len(index) != len(lam):
        return math.inf
    start = np.array([0, len(lam)])
    return float(hull_upper_bounds(problem, torch.tensor([token]), start, index, lam, rigorous=rigorous)[0])


def hull_upper_bounds(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    start: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
    *,
    rigorous: bool = True,
) -> Float64[np.ndarray, " n"]:
    """The first of what `hull_bounds_and_sums` returns."""
    return hull_bounds_and_sums(problem, tokens, start, rows, weights, rigorous=rigorous)[0]


def hull_bounds_and_sums(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    start: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
    *,
    rigorous: bool = True,
) -> tuple[Float64[np.ndarray, " n"], Float64[Tensor, "n d"]]:
    """Upper bounds on the margins of tokens from hull weights, in logits (by duality, `docs/mathematics.md`).

    With v = Σλ_j(A[t]−A[j]) and δ = Σλ_j(c[t]−c[j]) each is sup v·z + δ over the domain. The weights are read as they
    stand and divided by their sum. +inf for what is no set of hull weights. On `Free` with offsets the bound is +inf
    unless an exact check settles it.

    Args:
        problem: the argmax problem.
        tokens: `(n,)` row numbers.
        start: where the weights of each token begin, and where the last ones end.
        rows, weights: row numbers and weights.
        rigorous: count what is rounded.

    Returns:
        The bounds, and Σλ_j(A[t]−A[j]) with the weights as they stand; NaN for what is no set of hull weights.
    """
    bounds, sums = (
        np.full(len(tokens), math.inf),
        torch.full((len(tokens), problem.d), torch.nan, dtype=torch.float64),
    )
    good = np.flatnonzero(are_hull_weights(problem, tokens, start, rows, weights))
    if len(good):
        kept = np.repeat(np.isin(np.arange(len(tokens)), good), np.diff(start))
        sizes = np.diff(start)[good]
        begin = np.concatenate([[0], np.cumsum(sizes)])
        mine, kept_rows, kept_weights = tokens[good], rows[kept], weights[kept]
        sums[good] = weighted_differences(problem, mine, begin, kept_rows, kept_weights)
        bounds[good] = _bounds(problem, mine, begin, kept_rows, kept_weights, sums[good], rigorous)
    return bounds, sums


def _bounds(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    start: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
    sums: Float64[Tensor, "n d"],
    rigorous: bool,
) -> Float64[np.ndarray, " n"]:
    sizes, index = np.diff(start), torch.from_numpy(rows)
    me = tokens[torch.from_numpy(np.repeat(np.arange(len(tokens)), sizes))]

    def mean(values: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " n"]:
        return np.add.reduceat(weights * values, start[:-1]) / total

    def both(values: Float64[Tensor, " v"]) -> Float64[np.ndarray, " k"]:
        return (values[index] + values[me]).numpy()

    total = np.add.reduceat(weights, start[:-1])
    v = sums / torch.from_numpy(total)[:, None]
    delta = mean((problem.offset[me] - problem.offset[index]).numpy())
    v_error = delta_error = np.zeros(len(tokens))
    if rigorous:
        # The sums over the weights, and their total.
        k = np.repeat([gamma(2 * size + 8) for size in sizes.tolist()], sizes)
        lost = np.array([underflow(problem.d * size, torch.float64) for size in sizes.tolist()])
        v_error = SECOND_ORDER * (mean(both(problem.row_error) + k * both(problem.row_norm)) + lost)
        delta_error = mean(both(problem.offset_error) + k * both(problem.offset.abs()))
        delta_error = SECOND_ORDER * (delta_error + (0.0 if problem.zero_offset else lost / problem.d))
    value = certified(problem.domain).supports(v, v_error, rigorous=rigorous, directions=problem.zero_offset)
    # The last additions: two roundings on the sum of what is added, and what the products with the domain may lose.
    last = gamma(4) * (np.abs(value) + np.abs(delta) + delta_error) + underflow(problem.d, torch.float64)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ bounds nothing
        bound = value + delta + 2 * delta_error + (last if rigorous else 0.0)
    return np.where(np.isfinite(bound), bound, math.inf)
