"""Witnesses that need not be stored: points that follow from the problem and the row number alone."""

from __future__ import annotations

import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem
from solvers.rounding import row_lengths

INSIDE = 1 - 2.0**-20
"""Points that are rounded to float32 are kept this far (relatively) inside an open ball or box."""

JUST_INSIDE = 1 - 2.0**-44
"""The same for points that stay in float64: what a search may use of the domain."""

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


def pulled_in(domain: Domain, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """The points, those near the edge of a ball or box moved so far inside that float32 cannot round them out."""
    if isinstance(domain, Ball):
        most = domain.radius * INSIDE
        return points * (most / points.norm(dim=1, keepdim=True).clamp(min=most))
    if isinstance(domain, Box):
        return points.clamp(*shrunk_box(domain, INSIDE))
    return points


def shrunk_box(domain: Box, share: float) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
    """Bounds of the box whose every side is shorter by 1 − share at either end."""
    lo, hi = torch.from_numpy(domain.lo), torch.from_numpy(domain.hi)
    return lo + (hi - lo) * (1 - share), hi - (hi - lo) * (1 - share)


def farthest_against(problem: ArgmaxProblem, v: Float64[Tensor, " d"]) -> Float64[Tensor, " d"] | None:
    """The point of the domain where v·z is largest, to the last digits of float64; none on `Free`.

    With v = Σλ_j(A[t]−A[j]) of the best hull weights λ it is where the margin of t is largest (duality).
    """
    if isinstance(problem.domain, Box):
        lo, hi = torch.from_numpy(problem.domain.lo), torch.from_numpy(problem.domain.hi)
        return torch.where(v > 0, hi, torch.where(v < 0, lo, lo / 2 + hi / 2))
    length = row_lengths(v[None])[0]
    if not isinstance(problem.domain, Ball) or not float(length) > 0:
        return None
    return v / length * (problem.domain.radius * (1 - 2.0**-50))


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
