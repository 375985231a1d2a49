"""Whether a row wins at a multiple of itself: what makes a token own-direction. Uses no solver."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from solvers.checks.witness import beats_exactly, check_witnesses
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.recipes import recipe_points

_FLOAT32_ROUNDING = 2.0**-20
"""A point stored in float32 may be off its row's direction by this share of its length."""


def lies_along_row(problem: ArgmaxProblem, row: int, point: Float[Tensor, " d"]) -> bool:
    """Whether a point is a positive multiple of the row, up to the rounding that a stored point has."""
    direction, z = problem.rows(torch.tensor([row]))[0], point.to(torch.float64)
    unit = direction / direction.norm().clamp(min=1e-300)
    along = float(unit @ z)
    return along > 0 and float((z - along * unit).norm()) <= _FLOAT32_ROUNDING * float(z.norm())


def win_along_rows(problem: ArgmaxProblem, rows: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Which rows win, proved, at some positive multiple of themselves inside the domain.

    First all as far out as the domain goes, and those that lose there at the middle of the lengths at which they win;
    in float32, in float64, and what is close in rational arithmetic.
    """
    points = recipe_points(problem, "own-row", rows)
    won = check_witnesses(problem, rows, points).lower > 0
    candidates = [lambda some: recipe_points(problem, "own-row", some).to(torch.float64)]
    if not problem.cone:
        candidates.append(lambda some: _middles_of_winning_lengths(problem, some))
    for points_of in candidates:
        open_ = torch.nonzero(~won).flatten()
        if not len(open_):
            break
        points = points_of(rows[open_])
        check = check_witnesses(problem, rows[open_], points, dtype=torch.float64)
        won[open_] = check.lower > 0
        close = ~won[open_] & (check.lower + 2 * check.error > 0)
        for i in torch.nonzero(close).flatten().tolist() if problem.weight_error is None else ():
            row, lower, runner_up = int(rows[open_[i]]), float(check.lower[i]), int(check.runner_up[i])
            won[open_[i]] = beats_exactly(problem, row, points[i], lower, runner_up)
    return won


def _middles_of_winning_lengths(problem: ArgmaxProblem, rows: Int[Tensor, " n"]) -> Float64[Tensor, "n d"]:
    """Along its own row a token beats each competitor j where s·α_j + δ_j > 0: an interval of lengths s."""
    points = torch.empty((len(rows), problem.d), dtype=torch.float64)
    for places in torch.arange(len(rows)).split(max(1, BLOCK_BYTES // (64 * problem.v))):
        some = rows[places]
        own = problem.rows(some)
        unit = own / own.norm(dim=1, keepdim=True).clamp(min=1e-300)
        products = torch.cat([unit @ problem.rows(block).T for block in problem.blocks(24 * problem.d)], dim=1)
        alpha = products.gather(1, some[:, None]) - products
        ratio = (problem.offset - problem.offset[some][:, None]) / alpha
        ratio.scatter_(1, some[:, None], torch.nan)
        shortest = torch.where((alpha > 0) & (ratio > 0), ratio, 0.0).amax(dim=1)
        longest = torch.where(alpha < 0, ratio.nan_to_num(nan=torch.inf), torch.inf).amin(dim=1)
        longest = torch.minimum(longest, problem.domain.longest(unit))
        middle = torch.where(longest < torch.inf, (shortest + longest) / 2, 2 * shortest + 1)
        points[places] = unit * middle[:, None]
    return points
