"""Witnesses that need not be stored: points that follow from the problem and the row number alone."""

from __future__ import annotations

import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem

INSIDE = 1 - 2.0**-20
"""Points are kept this far (relatively) inside an open ball or box, well above float32 rounding."""

RECIPES = ("own-row", "centred-row")
"""Their names in a run folder."""


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


def far_along(problem: ArgmaxProblem, direction: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """A point as far along each direction as the domain allows; on `Free` at length 1, or far out with offsets."""
    if not isinstance(problem.domain, Free):
        return stretch(problem.domain, direction)
    length = 1.0
    if not problem.zero_offset:
        # Far enough out that the rows outweigh the offsets by a wide margin, yet far from overflow.
        spread = problem.offset.max() - problem.offset.min()
        length = 1e3 * float(spread / problem.row_norm.median().clamp(min=1e-30)) or 1.0
    return direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-300) * length


def stretch(domain: Domain, direction: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """The farthest point of a domain along each direction, just inside (0 where a box does not hold any).

    On `Free` only the direction counts: length 1.
    """
    length = direction.norm(dim=1, keepdim=True)
    unit = torch.where(length > 0, direction / length.clamp(min=1e-300), 0.0)
    if isinstance(domain, Ball):
        return unit * domain.radius * INSIDE
    if not isinstance(domain, Box):
        return unit
    lo, hi = torch.from_numpy(domain.lo), torch.from_numpy(domain.hi)
    reach = torch.where(unit > 0, hi / unit, torch.where(unit < 0, lo / unit, torch.inf))
    farthest = reach.amin(dim=1, keepdim=True) * INSIDE
    return torch.where((farthest > 0) & torch.isfinite(farthest), unit * farthest, 0.0)
