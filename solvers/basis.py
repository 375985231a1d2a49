"""From hull weights to a basic solution: at most d+1 rows, as an exact proof needs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from scipy.optimize import nnls

from solvers.problem import ArgmaxProblem


def candidate_supports(
    problem: ArgmaxProblem, token: int, rows: Int[np.ndarray, " k"]
) -> Iterator[Int[np.ndarray, " m"]]:
    """Supports (m ≤ d+1 rows out of these) that may hold the token's row in their hull, the most likely first.

    Nonnegative least squares (Lawson & Hanson 1974) gives linearly independent columns. Where the row lies on a face
    of the hull, rounding adds rows with tiny weights, so supports without those follow.
    """
    index = np.asarray(rows, dtype=np.int64)
    matrix = problem.rows(torch.from_numpy(index)).numpy()
    target = problem.rows(torch.tensor([token])).numpy()[0]
    centre = matrix.mean(axis=0)
    scale = max(float(np.linalg.norm(matrix - centre, axis=1).max(initial=0.0)), 1e-300)
    columns = np.vstack([((matrix - centre) / scale).T, np.ones(len(index))])
    right = np.append((target - centre) / scale, 1.0)
    try:
        weights, _ = nnls(columns, right, maxiter=20 * columns.shape[1])
    except RuntimeError:
        return
    seen: set[bytes] = set()
    for threshold in (0.0, 1e-13, 1e-11, 1e-9, 1e-7, 1e-5):
        support = np.nonzero(weights > threshold)[0]
        if 0 < len(support) <= problem.d + 1 and support.tobytes() not in seen:
            seen.add(support.tobytes())
            yield index[support]
