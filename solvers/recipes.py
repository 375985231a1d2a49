"""Witnesses that need not be stored: points that follow from the problem and the row number alone."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.attempt import Hulls
from solvers.parallel import map_single_threaded
from solvers.problem import ArgmaxProblem
from solvers.weighted_rows import weighted_differences

RECIPES = ("own-row", "centred-row")
"""Their names in a run folder."""
_CACHE_BYTES = 2**21
"""Memory of the rows that a pass takes at a time: as much as stays in the cache."""


def recipe_points(problem: ArgmaxProblem, recipe: str, rows: Int[Tensor, " n"]) -> Float32[Tensor, "n d"]:
    """The points that a recipe gives for these rows.

    Raises:
        ValueError: no such recipe.
    """
    return far_along(problem, recipe_direction(problem, recipe, rows)).to(torch.float32)


def recipe_direction(problem: ArgmaxProblem, recipe: str, rows: Int[Tensor, " n"]) -> Float64[Tensor, "n d"]:
    """The direction of a recipe: A[t], or A[t] less the mean of all rows."""
    if recipe == "own-row":
        return problem.rows(rows)
    if recipe == "centred-row":
        return problem.rows(rows) - problem.mean_row
    raise ValueError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")


def points_from_weights(problem: ArgmaxProblem, rows: Int[Tensor, " n"], hulls: Hulls) -> Float32[Tensor, "n d"]:
    """Where hull weights say that their row leads by most: the farthest point along v = Σλ_j(A[t]−A[j]).

    At weights that bound the margin best that point is a best one (by duality, `docs/mathematics.md`). NaN where v is
    0 or there are no weights.
    """
    differences = weighted_differences(problem, rows, hulls.start, hulls.rows, hulls.weights)
    differences[torch.from_numpy(np.flatnonzero(np.diff(hulls.start) == 0))] = torch.nan
    return points_along(problem, differences)


def points_along(problem: ArgmaxProblem, differences: Float64[Tensor, "n d"]) -> Float32[Tensor, "n d"]:
    """The same from the vectors v themselves; NaN where one is not finite."""
    points = problem.domain.farthest(differences)
    there = torch.isfinite(points).all(dim=1) & torch.isfinite(differences).all(dim=1)
    points[~there] = torch.nan
    points[there] = problem.domain.pulled_in(points[there])
    return points.to(torch.float32)


def own_row_scales(problem: ArgmaxProblem, jobs: int = 1) -> Float64[Tensor, " v"]:
    """How many times its row each point of the recipe `own-row` is, up to rounding; 0 where there is none."""

    def length(block: slice) -> Float64[Tensor, " n"]:
        return far_along(problem, problem.rows(block)).norm(dim=1)

    blocks = list(problem.blocks(8 * problem.d, _CACHE_BYTES))
    return torch.cat(map_single_threaded(length, blocks, jobs)) / problem.row_norm.clamp(min=1e-300)


def far_along(problem: ArgmaxProblem, direction: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """A point as far along each direction as the domain allows; on `Free` at length 1, or far out with offsets."""
    if problem.margin_bounded:
        return problem.domain.stretch(direction)
    # Far enough out that the rows outweigh the offsets by a wide margin, yet far from overflow.
    spread = problem.offset.max() - problem.offset.min()
    length = 1e3 * float(spread / problem.row_norm.median().clamp(min=1e-30)) or 1.0
    return direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-300) * length
