"""Whether a row wins at a multiple of itself: what makes a token own-direction. Uses no solver."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from solvers.checks.witness import beats_exactly, check_witnesses
from solvers.problem import ArgmaxProblem
from solvers.recipes import recipe_points

_FLOAT32_ROUNDING = 2.0**-20
"""A point stored in float32 may be off its row's direction by this share of its length."""


def lies_along_row(problem: ArgmaxProblem, row: int, point: Float[Tensor, " d"]) -> bool:
    """Whether a point is a positive multiple of the row, up to the rounding that a stored point has."""
    direction, z = problem.rows(torch.tensor([row]))[0], point.to(torch.float64)
    unit = direction / direction.norm().clamp(min=1e-300)
    along = float(unit @ z)
    return along > 0 and float((z - along * unit).norm()) <= _FLOAT32_ROUNDING * float(z.norm())


def wins_along_row(problem: ArgmaxProblem, row: int) -> bool:
    """Whether the row wins, proved, at some positive multiple of itself inside the domain."""
    index = torch.tensor([row])
    candidates = [recipe_points(problem, "own-row", index).to(torch.float64)]
    if not problem.cone:
        candidates.append(_middle_of_winning_lengths(problem, row))
    for points in candidates:
        check = check_witnesses(problem, index, points, dtype=torch.float64)
        if float(check.lower[0]) > 0:
            return True
        if problem.weight_error is None and beats_exactly(
            problem, row, points[0], float(check.lower[0]), int(check.runner_up[0])
        ):
            return True
    return False


def _middle_of_winning_lengths(problem: ArgmaxProblem, row: int) -> Float[Tensor, "1 d"]:
    """Along its own row a token beats each competitor j where s·α_j + δ_j > 0: an interval of lengths s."""
    direction = problem.rows(torch.tensor([row]))
    unit = direction / direction.norm().clamp(min=1e-300)
    products = torch.cat([problem.rows(block) @ unit[0] for block in problem.blocks(24 * problem.d)])
    others = torch.arange(problem.v) != row
    alpha, delta = (products[row] - products)[others], (problem.offset[row] - problem.offset)[others]
    ratio = -delta / alpha
    shortest = float(torch.where(alpha > 0, ratio, 0.0).amax().clamp(min=0))
    longest = min(float(problem.domain.longest(unit)[0]), float(torch.where(alpha < 0, ratio, torch.inf).amin()))
    return unit * ((shortest + longest) / 2 if longest < float("inf") else 2 * shortest + 1)
