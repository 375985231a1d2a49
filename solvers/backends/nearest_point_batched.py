"""Nearest points of many hulls at once by a first-order method, with column generation over the vocabulary."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts
from solvers.backend import ROUND, Budget, Capabilities
from solvers.backends.column_generation import ColumnGeneration, RestrictedResult
from solvers.backends.program import Program

_LOOK_EVERY = 20
"""Steps between looks at the bounds."""
_SMOOTHING = 1e-4
"""Below this share of the largest ‖D_j‖ the norm is rounded off, so that the quadratic model stays bounded."""


class NearestPointBatched(ColumnGeneration):
    """min over λ in the simplex of R·‖Σλ_j D_j‖ + Σλ_j e_j, by accelerated projected gradients on Gram matrices.

    FISTA (Beck & Teboulle 2009) restarted when it turns back (O'Donoghue & Candès 2015). With offsets R‖v‖ is
    replaced by the quadratic (R/2)(‖v‖²/τ + τ), with τ = ‖v‖ set anew at every look. The point of a λ is
    z = R·v/max(‖v‖, τ).

    Prefer it on a GPU or in high dimensions, where a factorisation per row (`batched-barrier`) is too dear, and for
    rows well outside the hull. Inside the hull it creeps: prefer `batched-barrier` or `nearest-point` there.
    """

    name = "nearest-point-batched"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=ROUND,
        batched=True,
        devices=("cpu", "cuda"),
        proves_negative=True,
        note="many rows in high dimensions, where factorisations are too dear",
    )

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Try these rows until each has its sign (and margin gap) settled, or nothing more can be learnt."""
        self.effective_options = dict(options.values(self.name, budget))
        tolerance = options.number(self.name, "tolerance", budget)
        return super().solve(rows, replace(budget, tolerance=tolerance))

    def restricted(self, program: Program, upper: Float64[Tensor, " b"], budget: Budget) -> RestrictedResult:
        """Solve a batch of programs, to the gap that the outer loop asks for."""
        hulls = _Hulls(
            program.difference.to(self.device),
            program.offset.to(self.device),
            program.present.to(self.device),
            flat=not bool(self.space.offset.any()),
        )
        steps = int(options.number(self.name, "steps_per_round", budget))
        gap = self.gaps(upper, budget).to(self.device)
        taken = hulls.descend(steps, gap, budget.tolerance)
        return RestrictedResult.of(program, hulls.best_z.cpu(), hulls.best_weights.cpu(), taken)


class _Hulls:
    """A batch of small problems on the simplex, in units where the ball's radius is 1 and no D_j is longer than 1."""

    def __init__(
        self,
        difference: Float64[Tensor, "b k e"],
        offset: Float64[Tensor, "b k"],
        present: Bool[Tensor, "b k"],
        *,
        flat: bool,
    ) -> None:
        self.difference, self.offset, self.present, self.flat = difference, offset, present, flat
        self.gram = difference @ difference.transpose(1, 2)
        b, k, e = difference.shape
        one_competitor = torch.where(present, difference.norm(dim=2) + offset, torch.inf)
        self.best_weights = torch.nn.functional.one_hot(one_competitor.argmin(dim=1), k).to(torch.float64)
        self.upper = torch.full((b,), torch.inf, dtype=torch.float64, device=difference.device)
        self.lower = -self.upper
        self.best_z = torch.zeros((b, e), dtype=torch.float64, device=difference.device)
        self.curvature = 1.02 * _largest_eigenvalue(self.gram)

    def descend(self, steps: int, gap: Float64[Tensor, " b"], tolerance: float) -> int:
        """Up to so many steps per problem; returns the number taken over the batch."""
        weights = self.best_weights.clone()
        ahead, momentum = weights.clone(), torch.ones_like(self.upper)
        tau = self._look(weights, torch.arange(len(weights), device=weights.device))
        live = torch.arange(len(weights), device=weights.device)
        gram, offset, present, curvature = self.gram, self.offset, self.present, self.curvature
        taken = 0
        for step in range(1, steps + 1):
            taken += len(live)
            slope = (gram @ ahead[:, :, None])[:, :, 0]
            if not self.flat:
                slope = slope + tau[:, None] * offset
            # Both sides are multiplied by τ, which leaves the minimiser where it is.
            new = _onto_simplex(ahead - slope / curvature[:, None], present)
            back = ((ahead - new) * (new - weights)).sum(dim=1) > 0
            longer = torch.where(back, 1.0, (1 + (1 + 4 * momentum**2).sqrt()) / 2)
            push = torch.where(back, 0.0, (momentum - 1) / longer)
            ahead = new + push[:, None] * (new - weights)
            weights, momentum = new, longer
            if step % _LOOK_EVERY and step != steps:
                continue
            fresh = self._look(weights, live)
            if not self.flat:
                # Another τ is another model: start its momentum anew.
                changed = (fresh / tau - 1).abs() > 1e-3
                tau = torch.where(changed, fresh, tau)
                momentum = torch.where(changed, 1.0, momentum)
                ahead = torch.where(changed[:, None], weights, ahead)
            width = self.upper[live] - self.lower[live]
            open_ = ~(width <= (gap[live] * self.lower[live].abs()).clamp(min=tolerance))
            open_ &= self.upper[live] > 0.1 * tolerance if self.flat else torch.ones_like(open_)
            if not bool(open_.any()):
                break
            if not bool(open_.all()):
                live = live[open_]
                gram, offset, present = gram[open_], offset[open_], present[open_]
                curvature, tau, momentum = curvature[open_], tau[open_], momentum[open_]
                weights, ahead = weights[open_], ahead[open_]
        return taken

    def _look(self, weights: Float64[Tensor, "m k"], live: Int[Tensor, " m"]) -> Float64[Tensor, " m"]:
        """Take the bounds at these weights, keep what is better, and return τ for the steps that follow."""
        difference, offset = self.difference[live], self.offset[live]
        v = (weights[:, None, :] @ difference)[:, 0, :]
        length = v.norm(dim=1)
        tau = length.clamp(min=_SMOOTHING)
        upper = length + (weights * offset).sum(dim=1)
        better = upper < self.upper[live]
        self.upper[live[better]] = upper[better]
        self.best_weights[live[better]] = weights[better]
        # With c = 0 only the direction of v counts; else z = v/τ, which lies inside the ball where v is short.
        z = v / (length.clamp(min=1e-300) if self.flat else tau)[:, None]
        lead = torch.where(self.present[live], (difference @ z[:, :, None])[:, :, 0] + offset, torch.inf).amin(dim=1)
        better = lead > self.lower[live]
        self.lower[live[better]] = lead[better]
        self.best_z[live[better]] = z[better]
        return tau


def _largest_eigenvalue(gram: Float64[Tensor, "b k k"]) -> Float64[Tensor, " b"]:
    """An upper bound on the largest eigenvalue that is rarely far off: power steps, then the row-sum bound."""
    # A power step on |G| bounds the largest eigenvalue by max_i (|G|x)_i / x_i for every x > 0 (Collatz 1942).
    size = gram.abs()
    x = torch.ones(gram.shape[:2], dtype=gram.dtype, device=gram.device)
    floor = 1e-12 * size.amax(dim=(1, 2), keepdim=True)[:, :, 0].clamp(min=1e-300)
    bound = torch.full((len(gram),), torch.inf, dtype=gram.dtype, device=gram.device)
    for _ in range(6):
        image = (size @ x[:, :, None])[:, :, 0] + floor
        bound = torch.minimum(bound, (image / x).amax(dim=1))
        x = image / image.amax(dim=1, keepdim=True)
        x = x.clamp(min=1e-9)
    trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1)
    return torch.minimum(bound, trace).clamp(min=1e-300)


def _onto_simplex(point: Float64[Tensor, "m k"], present: Bool[Tensor, "m k"]) -> Float64[Tensor, "m k"]:
    """The nearest weights λ ≥ 0, Σλ = 1, with none on padding (Held, Wolfe & Crowder 1974)."""
    point = torch.where(present, point, -torch.inf)
    ordered = point.sort(dim=1, descending=True).values
    total = ordered.nan_to_num(neginf=0.0).cumsum(dim=1) - 1
    count = torch.arange(1, point.shape[1] + 1, dtype=point.dtype, device=point.device)
    inside = (ordered * count > total).sum(dim=1, keepdim=True).clamp(min=1)
    threshold = total.gather(1, inside - 1) / inside
    return (point - threshold).clamp(min=0)
