"""Which rows of a head equal those of a few tokens, without a look at every bit of all others."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from solvers.checks.equal_rows import equal_row_classes
from solvers.problem import ArgmaxProblem
from solvers.rounding import gamma


def equal_rows_of(problem: ArgmaxProblem, tokens: Int[np.ndarray, " n"]) -> dict[int, Int[np.ndarray, " k"]]:
    """For each token whose (row, offset) others share exactly, all of them, itself included, lowest id first.

    Equal rows are equally long: only rows of such a length are compared.

    Args:
        problem: whose rows.
        tokens: ids.
    """
    norm = problem.row_norm.numpy()
    room = (problem.row_error + 2 * gamma(problem.d + 4) * problem.row_norm).numpy()
    asked = np.unique(tokens)
    order = asked[np.argsort(norm[asked], kind="stable")]
    place = np.searchsorted(norm[order], norm)
    near = np.zeros(problem.v, dtype=bool)
    for side in (place - 1, place):
        other = order[np.clip(side, 0, len(order) - 1)]
        near |= np.abs(norm - norm[other]) <= room + room[asked].max()
    near[asked] = True
    candidates = np.flatnonzero(near)
    if len(candidates) < 2:
        return {}
    first_of = candidates[equal_row_classes(problem.restrict(torch.from_numpy(candidates))).numpy()]
    members: dict[int, list[int]] = {}
    for token, first in zip(candidates.tolist(), first_of.tolist(), strict=True):
        members.setdefault(first, []).append(token)
    place_of = dict(zip(candidates.tolist(), first_of.tolist(), strict=True))
    found = {token: members[place_of[token]] for token in asked.tolist()}
    return {token: np.array(equal) for token, equal in found.items() if len(equal) > 1}
