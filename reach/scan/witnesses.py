"""The witnesses of a state: stored ones, and those that recipes make again."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from reach.nearly_never import winning_logits
from reach.scan.state import STORED_WITNESS, WITNESS_KINDS, ScanState
from solvers.problem import ArgmaxProblem
from solvers.recipes import RECIPES, recipe_points

_BLOCK_NUMBERS = 2**24


def witness_points(problem: ArgmaxProblem, state: ScanState, rows: Int[np.ndarray, " n"]) -> Float64[Tensor, "n d"]:
    """The witnesses of rows that have one."""
    points = torch.empty((len(rows), problem.d), dtype=torch.float64)
    kinds = state.witness_kind[rows]
    for i in np.nonzero(kinds == STORED_WITNESS)[0].tolist():
        points[i] = torch.from_numpy(state.witnesses[int(rows[i])])
    for recipe in RECIPES:
        mine = torch.from_numpy(np.nonzero(kinds == WITNESS_KINDS.index(recipe))[0])
        points[mine] = recipe_points(problem, recipe, torch.from_numpy(rows)[mine]).to(torch.float64)
    return points


def logits_at_witnesses(
    problem: ArgmaxProblem, state: ScanState, rows: Int[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """The winning logits of rows that have a witness."""
    step = max(1, _BLOCK_NUMBERS // problem.d)
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    found = [winning_logits(problem, torch.from_numpy(part), witness_points(problem, state, part)) for part in parts]
    return np.concatenate([np.zeros(0), *found])
