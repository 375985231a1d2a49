"""Closed-form directions: where a row should win if it wins anywhere near.

Own row, row − mean, and ridge-whitened (Σ+λI)⁻¹(row − mean). Prefer them first: they cost nothing beyond the product
that checks them, and on trained heads they settle nearly every row.
"""

from __future__ import annotations

import time
from typing import ClassVar

import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Backend, Budget, Capabilities
from solvers.parallel import map_single_threaded
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.recipes import far_along, recipe_direction

_CACHE_NUMBERS = 2**18
"""Numbers that are worked on at a time: as many as stay in the cache."""


class ClosedForm(Backend):
    """A backend that knows a direction for every row and needs no iteration."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        batched=True, devices=("cpu", "cuda"), note="first: it costs nothing beyond the product that checks it"
    )
    any_scale: ClassVar[bool] = True
    """With offsets the best length of z is not known: look for one along the direction (one more product)."""

    def directions(self, rows: Int[Tensor, " n"]) -> Float64[Tensor, "n d"]:
        """The direction to try for each row."""
        raise NotImplementedError

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:  # noqa: ARG002
        """Place one point per row along its direction."""
        started = time.perf_counter()
        n = len(rows)
        points = torch.empty((n, self.problem.d), dtype=torch.float32)
        if self.problem.cone or not self.any_scale:

            def place(part: Int[Tensor, " m"]) -> None:
                points[part] = far_along(self.problem, self.directions(rows[part])).to(torch.float32)

            map_single_threaded(place, torch.arange(n).split(max(1, _CACHE_NUMBERS // self.problem.d)), self.jobs)
        else:
            points[:] = points_along(self.problem, rows, self.directions(rows), self.device, jobs=self.jobs)
        return Attempts(
            rows=rows,
            status=[Status.UNCHECKED] * n,
            points=points,
            hulls=Hulls.none(n),
            lower=torch.full((n,), -torch.inf, dtype=torch.float64),
            upper=torch.full((n,), torch.inf, dtype=torch.float64),
            work={"directions": n},
            seconds=time.perf_counter() - started,
        )


class OwnRow(ClosedForm):
    """z ∝ A[t], as long as the domain allows."""

    name = "own-row"
    any_scale = False

    def directions(self, rows: Int[Tensor, " n"]) -> Float64[Tensor, "n d"]:
        """The row itself."""
        return recipe_direction(self.problem, "own-row", rows)


class OwnRowAnyScale(OwnRow):
    """z ∝ A[t] at the length that suits the offsets best: decides whether a row is own-direction."""

    name = "own-row-any-scale"
    any_scale = True


class CentredRow(ClosedForm):
    """z ∝ A[t] − mean row."""

    name = "centred-row"

    def directions(self, rows: Int[Tensor, " n"]) -> Float64[Tensor, "n d"]:
        """The row less the mean of all rows."""
        return recipe_direction(self.problem, "centred-row", rows)


class WhitenedRow(ClosedForm):
    """z ∝ (Σ + λI)⁻¹(A[t] − mean row), Σ the covariance of the rows (the direction of linear discriminants)."""

    name = "whitened-row"
    ridge: ClassVar[float] = 0.02
    """λ as a share of the mean eigenvalue of Σ."""

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem and factor Σ + λI."""
        super().prepare(problem)
        covariance = problem.covariance()
        ridge = self.ridge * float(covariance.diagonal().mean()) or 1.0
        self._factor = torch.linalg.cholesky(covariance + ridge * torch.eye(problem.d, dtype=torch.float64))

    def directions(self, rows: Int[Tensor, " n"]) -> Float64[Tensor, "n d"]:
        """The ridge-whitened centred row."""
        centred = self.problem.rows(rows) - self.problem.mean_row
        return torch.cholesky_solve(centred.T, self._factor).T


def points_along(
    problem: ArgmaxProblem,
    rows: Int[Tensor, " n"],
    directions: Float64[Tensor, "n d"],
    device: str = "cpu",
    limit: int = BLOCK_BYTES,
    jobs: int = 1,
) -> Float64[Tensor, "n d"]:
    """Points s·u along directions u with s chosen so that the row wins there, NaN where no s in the domain does.

    Along a ray the margin over each competitor is s·α_j + δ_j, so the winning lengths form an interval; its middle is
    taken (or a point well inside it where it is unbounded).
    """
    unit = directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-300)
    longest = problem.domain.longest(unit)
    all_rows = problem.working_rows(device)
    offset = problem.offset.to(device, torch.float32)
    lengths = _compiled_lengths if device == "cpu" else _lengths
    out = torch.full_like(unit, torch.nan)
    step = problem.points_at_once(limit if device == "cpu" else limit // 3, device)
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        mine, u = rows[part].to(device), unit[part].to(device, torch.float32)
        own = (all_rows[mine] * u).sum(dim=1)
        shortest, ends = (one.double().cpu() for one in lengths(u @ all_rows.T, offset, mine, own, jobs))
        ends = torch.minimum(ends, longest[part])
        length = torch.where(torch.isfinite(ends), (shortest + ends) / 2, 2 * shortest + 1)
        out[part] = torch.where((shortest < ends)[:, None], unit[part] * length[:, None], torch.nan)
    return out


Lengths = tuple[Float32[Tensor, " n"], Float32[Tensor, " n"]]


def _compiled_lengths(
    logits: Float32[Tensor, "n v"],
    offset: Float32[Tensor, " v"],
    rows: Int[Tensor, " n"],
    own: Float32[Tensor, " n"],
    jobs: int,
) -> Lengths:
    """The ends of the intervals of lengths at which rows win, on the CPU; the rows' own logits are overwritten."""
    from solvers.backends.ray_kernel import intervals, make_ready

    make_ready()
    shortest, longest = torch.empty_like(own), torch.empty_like(own)

    def piece(part: tuple[Tensor, ...]) -> None:
        logits, rows, own, shortest, longest = (one.numpy() for one in part)
        intervals(logits, offset.numpy(), rows, own, shortest, longest)

    pieces = zip(*(one.chunk(jobs) for one in (logits, rows, own, shortest, longest)), strict=True)
    map_single_threaded(piece, list(pieces), jobs)
    return shortest, longest


def _lengths(
    logits: Float32[Tensor, "n v"],
    offset: Float32[Tensor, " v"],
    rows: Int[Tensor, " n"],
    own: Float32[Tensor, " n"],
    jobs: int,  # noqa: ARG001
) -> Lengths:
    """The same by whole tensors, on any device; `logits` are overwritten."""
    alpha = logits.neg_().add_(own[:, None])
    delta = offset[rows][:, None] - offset[None, :]
    # The row itself is no competitor: give it a harmless pair.
    index = torch.arange(len(rows), device=rows.device)
    alpha[index, rows], delta[index, rows] = 1.0, 1.0
    ratio = -delta / alpha
    shortest = torch.where(alpha > 0, ratio, 0.0).amax(dim=1).clamp(min=0)
    ends = torch.where(alpha < 0, ratio, torch.inf).amin(dim=1)
    hopeless = ((alpha == 0) & (delta <= 0)).any(dim=1)
    return shortest, torch.where(hopeless, 0.0, ends)
