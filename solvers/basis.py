"""From hull weights to a basic solution: at most d+1 rows, as an exact proof needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float64, Int
from scipy.optimize import linprog, nnls

from solvers.problem import ArgmaxProblem


def candidate_supports(
    problem: ArgmaxProblem, token: int, rows: Int[np.ndarray, " k"]
) -> Iterator[Int[np.ndarray, " m"]]:
    """Supports (m ≤ d+1 rows out of these) that may hold the token's row in their hull, the most likely first.

    Nonnegative least squares (Lawson & Hanson 1974) gives linearly independent columns. Where the row lies on a face
    of the hull, rounding adds rows with tiny weights, so supports without those follow. Where there are offsets, the
    hull has to reach over the token's own, so the weights with the highest offset come first (a linear program, whose
    simplex solution is basic).
    """
    index = np.asarray(rows, dtype=np.int64)
    matrix = problem.rows(torch.from_numpy(index)).numpy()
    target = problem.rows(torch.tensor([token])).numpy()[0]
    centre = matrix.mean(axis=0)
    scale = max(float(np.abs(np.vstack([matrix, target]) - centre).max()), 1e-300)
    columns = np.vstack([((matrix - centre) / scale).T, np.ones(len(index))])
    right = np.append((target - centre) / scale, 1.0)
    seen: set[bytes] = set()
    for solve in (_highest, _any):
        weights = solve(problem, index, columns, right)
        if weights is None:
            continue
        for threshold in (0.0, 1e-13, 1e-11, 1e-9, 1e-7, 1e-5):
            support = np.nonzero(weights > threshold)[0]
            if 0 < len(support) <= problem.d + 1 and support.tobytes() not in seen:
                seen.add(support.tobytes())
                yield index[support]


def _highest(
    problem: ArgmaxProblem,
    index: Int[np.ndarray, " k"],
    columns: Float64[np.ndarray, "m k"],
    right: Float64[np.ndarray, " m"],
) -> Float64[np.ndarray, " k"] | None:
    """The weights whose combined offset is largest; only asked for where there are offsets."""
    offset = problem.offset[torch.from_numpy(index)].numpy()
    spread = float(np.ptp(offset))
    if spread == 0:
        return None
    result = linprog((offset.min() - offset) / spread, A_eq=columns, b_eq=right, method="highs-ds")
    return result.x if result.status == 0 else None


def _any(
    problem: ArgmaxProblem,  # noqa: ARG001
    index: Int[np.ndarray, " k"],  # noqa: ARG001
    columns: Float64[np.ndarray, "m k"],
    right: Float64[np.ndarray, " m"],
) -> Float64[np.ndarray, " k"] | None:
    try:
        weights: Float64[np.ndarray, " k"] = nnls(columns, right, maxiter=20 * columns.shape[1])[0]
    except RuntimeError:
        return None
    return weights
