"""All rows at multiples of themselves, each against all others: what the products of rows with one another prove.

Where the point of row t is s·a_t up to rounding, its logits are s·G_tj + c_j, with G_tj = a_t·a_j. What is proved is
what `check_witnesses` proves of these points; `docs/mathematics.md` (“One logit”) has the bounds. The products, and
who is ahead in them, come from `solvers.checks.own_products`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import torch
from jaxtyping import Bool, Float32, Float64, Int
from torch import Tensor

from solvers.checks.domains import enclosing_ball
from solvers.checks.exact import inside_domain
from solvers.checks.tiles import Rivals
from solvers.checks.witness import (
    WitnessCheck,
    check_witnesses,
    logit_error,
    own_scales,
    single_competitor_bound,
)
from solvers.parallel import map_single_threaded
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT32, gamma, row_lengths, underflow

_CHUNK = 2**18
"""Numbers of an array that a pass over rows makes at a time: as many as stay in the cache."""
_AWAY = 4 * UNIT_FLOAT32
"""How far a point may lie from the multiple of its row, as a share of that one's length."""
_FIELDS = tuple(field.name for field in fields(WitnessCheck))
LARGEST = torch.finfo(torch.float32).max / 8


@dataclass(frozen=True)
class Bounds:
    """The parts of e_tj = reach_t·error_j + constant_j + lost_t, which bounds what is wrong with logit j for row t.

    Attributes:
        scale: `(v,)` the multiple of its row that each point is, up to rounding.
        reach: `(v,)` how long that is.
        error, constant, lost: `(v,)` see above.
        fits: `(v,)` of which rows float32 can say this.
    """

    scale: Float64[Tensor, " v"]
    reach: Float64[Tensor, " v"]
    error: Float64[Tensor, " v"]
    constant: Float64[Tensor, " v"]
    lost: Float64[Tensor, " v"]
    fits: Bool[Tensor, " v"]

    @classmethod
    def of(cls, problem: ArgmaxProblem, scale: Float64[Tensor, " v"]) -> Self:
        """For points that are about so many times their rows: a guess, which no proof trusts."""
        u, norm, d = UNIT_FLOAT32, problem.row_norm, problem.d
        scale = scale.to(torch.float32).to(torch.float64)
        reach = scale * norm
        small = underflow(d + 8, torch.float32)
        # What is lost to underflow must not count beside what is lost to rounding anyway.
        fits = (norm**2 * u > small) & (torch.minimum(scale, reach) > 2.0**-100)
        fits &= (scale < LARGEST) & (reach * (norm.max() + 1) < LARGEST)
        scale, reach = torch.where(fits, scale, 1.0), torch.where(fits, reach, 0.0)
        # The product, the point beside the multiple, the row rounded to float32, and the score's own arithmetic.
        error = SECOND_ORDER * ((gamma(d, u) + _AWAY + u + 4 * u) * norm + problem.row_error)
        constant = SECOND_ORDER * (problem.offset_error + 4 * u * problem.offset.abs())
        return cls(scale, reach, error, constant, SECOND_ORDER * small * (1 + scale + reach), fits)


class OwnRows:
    """Some rows at their own points.

    Args:
        problem: the argmax problem; `OwnRows.possible` says of which this can be had.
        bounds: of all its rows.
        tokens: `(n,)` these rows.
        rivals: theirs, after the products of each with every other row.
        jobs: cores.
    """

    def __init__(
        self, problem: ArgmaxProblem, bounds: Bounds, tokens: Int[Tensor, " n"], rivals: Rivals, jobs: int = 1
    ) -> None:
        self.problem, self._bounds, self._tokens, self._rivals, self._jobs = problem, bounds, tokens, rivals, jobs

    @staticmethod
    def possible(problem: ArgmaxProblem) -> bool:
        """Whether no product of two rows, and no offset, can leave the range of float32."""
        largest = float(problem.row_norm.max() + problem.row_error.max())
        offset = float((problem.offset.abs() + problem.offset_error).max())
        return largest**2 < LARGEST and offset < LARGEST

    def check(self, tokens: Int[Tensor, " n"], points: Float32[Tensor, "n d"]) -> WitnessCheck:
        """Bound the margins of the rows from both sides, each at its point and by its nearest competitor.

        Args:
            tokens: `(n,)` the rows again.
            points: `(n, d)` their points. A point that is no multiple of its row is checked by itself.

        Raises:
            ValueError: these are other rows.
            BadInput: products are computed in less than float32, and torch does not let that be switched off.
        """
        if not torch.equal(tokens, self._tokens):
            raise ValueError("these are not the rows whose rivals are known")
        parts = torch.arange(len(tokens)).split(max(1, _CHUNK // self.problem.d))
        judged = map_single_threaded(lambda part: self._judge(part, points[part]), parts, self._jobs)
        check = WitnessCheck(*(torch.cat([getattr(one, name) for one, _ in judged]) for name in _FIELDS))
        alone = torch.nonzero(~torch.cat([usable for _, usable in judged])).flatten()
        if len(alone):
            multiples = own_scales(self.problem, tokens[alone], points[alone])
            plain = check_witnesses(self.problem, tokens[alone], points[alone], own_scale=multiples)
            for name in _FIELDS:
                getattr(check, name)[alone] = getattr(plain, name)
        return check

    def _judge(
        self, part: Int[Tensor, " m"], points: Float32[Tensor, "m d"]
    ) -> tuple[WitnessCheck, Bool[Tensor, " m"]]:
        """What the products say of the points of some of the rows, and of which of them they say it."""
        problem, bounds, tokens = self.problem, self._bounds, self._tokens[part]
        rivals = self._rivals.of(part.numpy())
        scale, reach, lost = bounds.scale[tokens], bounds.reach[tokens], bounds.lost[tokens]
        z = points.to(torch.float64)
        beside = z - scale[:, None] * problem.working_rows()[tokens].to(torch.float64)  # the product is exact
        usable = row_lengths(beside) * (1 + gamma(problem.d + 4)) <= _AWAY * reach
        usable &= bounds.fits[tokens] & inside_domain(problem.domain, points)
        own = (problem.rows(tokens) * z).sum(dim=1) + problem.offset[tokens]
        own_error = logit_error(problem, row_lengths(z) * (1 + gamma(problem.d + 2)), torch.float64, tokens)
        best = torch.from_numpy(rivals.best.score).to(torch.float64)
        runner_up = torch.from_numpy(rivals.best.rival).to(torch.int64)
        lower = own - own_error - (best + lost)
        error = own_error + reach * bounds.error[runner_up] + bounds.constant[runner_up] + lost
        upper, upper_row = torch.full_like(lower, torch.inf), torch.full_like(runner_up, -1)
        if enclosing_ball(problem)[1] < float("inf"):
            upper_row = torch.from_numpy(rivals.nearest.rival).to(torch.int64)
            upper = single_competitor_bound(problem, tokens, upper_row)
        return WitnessCheck(lower, runner_up, error, upper, upper_row), usable
