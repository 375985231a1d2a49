"""Checks of hull weights in floating point: an upper bound on the margin that holds whatever was rounded."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float64, Int

from solvers.checks.domains import certified
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, gamma, underflow

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


def hull_upper_bound(
    problem: ArgmaxProblem,
    token: int,
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
    *,
    rigorous: bool = True,
) -> float:
    """Upper bound on the margin of a token from hull weights, in logits (by duality, `docs/mathematics.md`).

    With v = Σλ_j(A[t]−A[j]) and δ = Σλ_j(c[t]−c[j]) it is sup v·z + δ over the domain. The weights are read as they
    stand and divided by their sum. On `Free` with offsets the bound is +inf unless an exact check settles it. Without
    `rigorous` rounding is left out of account.
    """
    if weights_fault(problem, token, rows, weights) is not None:
        return math.inf
    index = torch.from_numpy(np.asarray(rows, dtype=np.int64))
    lam = torch.from_numpy(np.asarray(weights, dtype=np.float64))
    total = float(lam.sum())
    me = torch.tensor([token])
    v = lam @ (problem.rows(me) - problem.rows(index)) / total
    delta = float(lam @ (problem.offset[me] - problem.offset[index])) / total
    v_error = delta_error = 0.0
    if rigorous:
        k = gamma(2 * len(lam) + 8)  # the sum over the weights, and their total
        spread = problem.row_norm[index] + problem.row_norm[me]
        v_error = float(lam @ (problem.row_error[index] + problem.row_error[me] + k * spread)) / total
        v_error = SECOND_ORDER * (v_error + underflow(problem.d * len(lam), torch.float64))
        sizes = problem.offset[index].abs() + problem.offset[me].abs()
        delta_error = float(lam @ (problem.offset_error[index] + problem.offset_error[me] + k * sizes)) / total
        lost = 0.0 if problem.zero_offset else underflow(len(lam), torch.float64)
        delta_error = SECOND_ORDER * (delta_error + lost)
    value = certified(problem.domain).support(v, v_error, rigorous=rigorous, directions=problem.zero_offset)
    # The last additions: two roundings on the sum of what is added, and what the products with the domain may lose.
    last = (
        gamma(4) * (abs(value) + abs(delta) + delta_error) + underflow(problem.d, torch.float64) if rigorous else 0.0
    )
    bound = value + delta + 2 * delta_error + last
    return bound if math.isfinite(bound) else math.inf
