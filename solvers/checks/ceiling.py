"""Checks of ceilings: how probable can softmax make a token anywhere in the domain, whatever was rounded?

A point z of the domain certifies both sides. From below the probability at z itself does. From above, for every
distribution λ over all tokens, ln p_t ≤ sup of Σλ_j((a_t − a_j)·z + c_t − c_j) − H(λ), and λ is the softmax at z.
The rounding bounds are those of `docs/mathematics.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from solvers.checks.domains import Certified, certified
from solvers.checks.witness import logit_error
from solvers.domains import Ball
from solvers.errors import BadInput
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT64, gamma, row_lengths, underflow

ELEMENTARY = 2.0**-48
"""Bound on the relative error of exp and log in float64. Libraries promise 1 or 2 units in the last place, 2⁻⁵²."""

_NOTHING = -700.0
"""Below this logarithm a share of the softmax is taken as 0; above it, exp does not underflow."""


@dataclass(frozen=True)
class CeilingCheck:
    """What is proved of `n` tokens by one point each.

    Attributes:
        lower: `(n,)` lower bound on the supremum of ln p_t over the domain; −inf where the point proves nothing.
        upper: `(n,)` upper bound on it, at most 0.
        error: `(n,)` what was added to or subtracted from either for rounding, at most.
    """

    lower: Float64[Tensor, " n"]
    upper: Float64[Tensor, " n"]
    error: Float64[Tensor, " n"]


def ceiling_domain(problem: ArgmaxProblem) -> Certified:
    """Where ceilings are taken: in the domain; on `Free` without offsets in the open unit ball, as margins are.

    Raises:
        BadInput: the domain is unbounded and there are offsets, so that a margin may have no bound.
    """
    if problem.domain.bounded:
        return certified(problem.domain)
    if not problem.zero_offset:
        raise BadInput(
            "ceilings need a bounded domain where there are offsets: on the whole space (--domain free) even margins "
            "may have no bound; choose another --domain, such as ball:R"
        )
    return certified(Ball(1.0))


def ceiling_from_margin(v: int, margin: float, *, scale: float = 1.0) -> float:
    """Lower bound on the supremum of ln p_t where the margin of t is at least this: −ln(1 + (V − 1)·e^(−m)).

    Each of the other tokens lies at least `margin` logits below t at its witness.

    Args:
        v: number of tokens.
        margin: lower bound, logits.
        scale: factor on the logits inside the softmax.
    """
    size = scale * margin * (1 - math.copysign(2.0**-50, margin))
    if not size > _NOTHING:
        return -math.inf
    return -math.log1p((v - 1) * math.exp(-size)) * (1 + 4 * ELEMENTARY) - 2.0**-1000


def check_ceilings(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    points: Float[Tensor, "n d"],
    *,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
    limit: int = BLOCK_BYTES,
) -> CeilingCheck:
    """Bound from both sides, for each token, the supremum of ln softmax_t(scale · (A z + c)) over the domain.

    Two products of the points with all rows, in float64.

    Args:
        problem: the argmax problem, with a row for every token that takes part in the softmax.
        tokens: `(n,)` row numbers.
        points: `(n, d)` points, float32 or float64. One that is not finite or lies outside proves nothing.
        scale: factor on the logits inside the softmax: what the head multiplies them by, over the temperature.
        device: where the products are computed.
        progress: called with the number of tokens finished, block by block.
        limit: bytes for one block of logits.

    Raises:
        BadInput: the domain is unbounded and there are offsets.
    """
    n = len(tokens)
    domain = ceiling_domain(problem)
    lower = torch.full((n,), -torch.inf, dtype=torch.float64)
    upper, error = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    usable = torch.isfinite(points).all(dim=1)
    usable &= domain.inside(points)
    step = max(1, limit // (8 * problem.v))
    places = torch.nonzero(usable).flatten()
    for keep in places.split(step) if len(places) else ():
        block = _Block(problem, tokens[keep], points[keep].to(torch.float64), scale, device, limit)
        lower[keep], below = block.lower()
        upper[keep], above = block.upper(domain)
        error[keep] = torch.maximum(below, above)
        if progress is not None:
            progress(len(keep))
    if progress is not None:
        progress(n - len(places))
    return CeilingCheck(lower, upper, error)


class _Block:
    """One block of points: the softmax over all rows at each, and the means of the rows under it."""

    def __init__(
        self,
        problem: ArgmaxProblem,
        tokens: Int[Tensor, " b"],
        points: Float64[Tensor, "b d"],
        scale: float,
        device: torch.device | str,
        limit: int,
    ) -> None:
        self.problem, self.tokens, self.scale = problem, tokens, scale
        v, d, points = problem.v, problem.d, points.to(device)
        # Rows in float64, and what is made of a part of the logits, take no more than a quarter of a block each.
        parts = list(problem.blocks(8 * 4 * max(d, len(tokens)), limit))
        logits = torch.empty((len(tokens), v), dtype=torch.float64, device=device)
        offset = problem.offset.to(device)
        for part in parts:
            rows = problem.rows(part).to(device)
            torch.addmm(offset[part], points, rows.T, beta=scale, alpha=scale, out=logits[:, part])
        logits -= logits.amax(dim=1, keepdim=True)
        self.own = logits.gather(1, tokens.to(device)[:, None])[:, 0].cpu()
        # Σ w and Σ w·ln w, where w = exp(logit − largest).
        self.weight = torch.zeros(len(tokens), dtype=torch.float64)
        self.weighted = torch.zeros(len(tokens), dtype=torch.float64)
        self.means = torch.zeros((len(tokens), d + 5), dtype=torch.float64)
        for part in parts:
            below = logits[:, part]
            share = below.exp()
            share *= below >= _NOTHING
            self.weight += share.sum(dim=1).cpu()
            self.weighted += below.clamp_(min=_NOTHING).mul_(share).sum(dim=1).cpu()
            columns = (
                problem.offset[part], problem.row_norm[part], problem.row_error[part], problem.offset[part].abs(),
                problem.offset_error[part],
            )  # fmt: skip
            beside = torch.cat([problem.rows(part), torch.stack(columns, dim=1)], dim=1)
            self.means += (share @ beside.to(device)).cpu()
        self.means /= self.weight[:, None]
        # Of a point's own size alone, up to a factor of 2: what is proved of it does not depend on its block.
        size = torch.exp2(torch.ceil(torch.log2(row_lengths(points.cpu()).clamp(min=1e-300) * (1 + gamma(d + 2)))))
        kinds, which = size.unique(return_inverse=True)
        self.logit_error = torch.tensor([self._logit_error(r) for r in kinds.tolist()], dtype=torch.float64)[which]
        self.log = self.weight.log()
        # Of ln Σw: V roundings of the sum, exp, log, and the shares that were taken as 0.
        lost = v * math.exp(_NOTHING) + gamma(v + 8) + 2 * ELEMENTARY
        self.log_error = SECOND_ORDER * (lost + ELEMENTARY * self.log.abs())

    def _logit_error(self, radius: float) -> float:
        """Bound on what is rounded in any logit, its factor and the difference to the largest, within this radius."""
        problem = self.problem
        size = self.scale * (radius * float(problem.row_norm.max()) + float(problem.offset.abs().max()))
        product = float(logit_error(problem, radius, torch.float64).max())
        return SECOND_ORDER * (self.scale * product + 8 * UNIT_FLOAT64 * size + underflow(1, torch.float64))

    def lower(self) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
        """ln p_t at the points, from below, and what was subtracted for rounding."""
        value = self.own - self.log
        error = SECOND_ORDER * (2 * self.logit_error + self.log_error + gamma(2) * (self.own.abs() + self.log.abs()))
        found = value - error
        return torch.where(torch.isfinite(found), found.clamp(max=0), -torch.inf), error.nan_to_num(nan=torch.inf)

    def upper(self, domain: Certified) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
        """The bound of λ = w/Σw, and what was added for rounding. Every λ bounds: no logit's rounding counts."""
        problem, tokens, d = self.problem, self.tokens, self.problem.d
        sums = gamma(2 * problem.v + 16)
        mean, norm, row_error = self.means[:, :d], self.means[:, d + 1], self.means[:, d + 2]
        v = problem.rows(tokens) - mean
        v_error = problem.row_error[tokens] + row_error + sums * (problem.row_norm[tokens] + norm)
        v_error = SECOND_ORDER * (v_error + underflow(problem.v * d, torch.float64))
        offset, size = problem.offset[tokens], self.means[:, d + 3]
        delta = offset - self.means[:, d]
        delta_error = problem.offset_error[tokens] + self.means[:, d + 4] + sums * (offset.abs() + size)
        lost = 0.0 if problem.zero_offset else underflow(problem.v, torch.float64)
        delta_error = SECOND_ORDER * (delta_error + lost)
        negative_entropy = self.weighted / self.weight - self.log
        entropy_error = self.log_error + ELEMENTARY + sums * (self.weighted / self.weight).abs()
        pairs = list(zip(v, v_error.tolist(), strict=True))
        reach = _support(domain, pairs, rigorous=True)
        plain = _support(domain, [(one, 0.0) for one, _ in pairs], rigorous=False)
        added = reach.abs() + delta.abs() + delta_error
        error = self.scale * (delta_error + gamma(4) * added) + entropy_error + gamma(4) * negative_entropy.abs()
        error = SECOND_ORDER * (error + underflow(d, torch.float64))
        found = self.scale * (reach + delta) + negative_entropy + error
        error = error + self.scale * (reach - plain)
        return torch.where(torch.isfinite(found), found.clamp(max=0), 0.0), error.nan_to_num(nan=torch.inf)


def _support(
    domain: Certified, pairs: list[tuple[Float64[Tensor, " d"], float]], *, rigorous: bool
) -> Float64[Tensor, " b"]:
    """The supports of vectors, each with what it may be off by."""
    found = [domain.support(one, error, rigorous=rigorous, directions=True) for one, error in pairs]
    return torch.tensor(found, dtype=torch.float64)
