"""All rows at multiples of themselves, each against all others, for half a product.

The products G_tj = a_t·a_j of the rows with one another are symmetric. Where the point of row t is s·a_t up to
rounding, its logits are s·G_tj + c_j, and so a tile of products serves its rows and its columns. What is proved is
what `check_witnesses` proves of these points; `docs/mathematics.md` (“One logit”) has the bounds.
"""

from __future__ import annotations

import threading
from dataclasses import fields

import torch
from jaxtyping import Bool, Float32, Float64, Int
from torch import Tensor

from solvers.checks.domains import enclosing_ball
from solvers.checks.exact import inside_domain
from solvers.checks.tiles import Leading, Terms, make_ready, read_columns, read_rows, take_over
from solvers.checks.witness import (
    WitnessCheck,
    check_witnesses,
    logit_error,
    nearest_goal,
    own_scales,
    single_competitor_bound,
)
from solvers.parallel import map_single_threaded
from solvers.precision import full_float32_products
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT32, gamma, row_lengths, underflow

TILE = 512
_CHUNK = 2**18
"""Numbers of an array that a pass over rows makes at a time: as many as stay in the cache."""
_AWAY = 4 * UNIT_FLOAT32
"""How far a point may lie from the multiple of its row, as a share of that one's length."""
_FIELDS = tuple(field.name for field in fields(WitnessCheck))
_LARGEST = torch.finfo(torch.float32).max / 8


class OwnRows:
    """The rows from `first` on at their own points, block by block, in order.

    Args:
        problem: the argmax problem; `OwnRows.possible` says of which this can be had.
        scale: `(v,)` the multiple of its row that each point will be, up to rounding: a guess, which no proof trusts.
        first: the row to begin with.
        jobs: cores.
        tile: rows and columns of one product.
    """

    def __init__(
        self, problem: ArgmaxProblem, scale: Float64[Tensor, " v"], *, first: int = 0, jobs: int = 1, tile: int = TILE
    ) -> None:
        make_ready()
        self.problem, self._first, self._next, self._jobs, self._tile = problem, first, first, jobs, tile
        self._set_bounds(scale.to(torch.float32).to(torch.float64))
        self._scores = _terms(self._scale, self._reach, self._error, problem.offset + self._constant)
        one = torch.ones(problem.v, dtype=torch.float64)
        goal = torch.cat([nearest_goal(problem, part) for part in problem.blocks(24 * problem.d)])
        goal = goal.nan_to_num().clamp(-_LARGEST, _LARGEST)
        self._likenesses = _terms(one, one, -goal / 2, torch.zeros_like(one))
        self._best, self._nearest = Leading.none_yet(problem.v), Leading.none_yet(problem.v)
        self._lock, self._local = threading.Lock(), threading.local()

    @staticmethod
    def possible(problem: ArgmaxProblem) -> bool:
        """Whether no product of two rows, and no offset, can leave the range of float32."""
        largest = float(problem.row_norm.max() + problem.row_error.max())
        offset = float((problem.offset.abs() + problem.offset_error).max())
        return largest**2 < _LARGEST and offset < _LARGEST

    def _set_bounds(self, scale: Float64[Tensor, " v"]) -> None:
        """The parts of e_tj = reach_t·error_j + constant_j + lost_t, which bounds what is wrong with logit j."""
        problem, u = self.problem, UNIT_FLOAT32
        norm, d = problem.row_norm, problem.d
        reach = scale * norm
        small = underflow(d + 8, torch.float32)
        # What is lost to underflow must not count beside what is lost to rounding anyway.
        fits = (norm**2 * u > small) & (torch.minimum(scale, reach) > 2.0**-100)
        fits &= (scale < _LARGEST) & (reach * (norm.max() + 1) < _LARGEST)
        self._fits = fits
        self._scale, self._reach = torch.where(fits, scale, 1.0), torch.where(fits, reach, 0.0)
        # The product, the point beside the multiple, the row rounded to float32, and the score's own arithmetic.
        self._error = SECOND_ORDER * ((gamma(d, u) + _AWAY + u + 4 * u) * norm + problem.row_error)
        self._constant = SECOND_ORDER * (problem.offset_error + 4 * u * problem.offset.abs())
        self._lost = SECOND_ORDER * small * (1 + self._scale + self._reach)

    def check(self, tokens: Int[Tensor, " n"], points: Float32[Tensor, "n d"]) -> WitnessCheck:
        """Bound the margins of the next rows from both sides, each at its point and by its nearest competitor.

        Args:
            tokens: `(n,)` the rows that follow those of the last call.
            points: `(n, d)` their points. A point that is no multiple of its row is checked by itself.

        Raises:
            ValueError: these are not the next rows.
            BadInput: products are computed in less than float32, and torch does not let that be switched off.
        """
        start, stop = self._next, self._next + len(tokens)
        if not torch.equal(tokens, torch.arange(start, stop)):
            raise ValueError(f"the rows from {start} on are next")
        with full_float32_products():
            self._multiply(start, stop)
        self._next = stop
        parts = torch.arange(len(tokens)).split(max(1, _CHUNK // self.problem.d))
        judged = map_single_threaded(lambda part: self._judge(tokens[part], points[part]), parts, self._jobs)
        check = WitnessCheck(*(torch.cat([getattr(one, name) for one, _ in judged]) for name in _FIELDS))
        alone = torch.nonzero(~torch.cat([usable for _, usable in judged])).flatten()
        if len(alone):
            multiples = own_scales(self.problem, tokens[alone], points[alone])
            plain = check_witnesses(self.problem, tokens[alone], points[alone], own_scale=multiples)
            for name in _FIELDS:
                getattr(check, name)[alone] = getattr(plain, name)
        return check

    # --- products ---

    def _multiply(self, start: int, stop: int) -> None:
        """All products that a block of rows still needs: earlier blocks have had theirs with it."""
        tiles: list[tuple[int, int, int, int]] = []
        for top in range(start, stop, self._tile):
            bottom = min(top + self._tile, stop)
            # Rows before the first have points of their own; those between it and this block had the tile before.
            for low, high in ((0, self._first), (top, bottom), (bottom, self.problem.v)):
                tiles += [(top, bottom, at, min(at + self._tile, high)) for at in range(low, high, self._tile)]
        map_single_threaded(self._one_tile, tiles, self._jobs)

    def _one_tile(self, tile: tuple[int, int, int, int]) -> None:
        top, bottom, low, high = tile
        rows = self.problem.working_rows()
        flat, found = self._room()
        products = flat[: (bottom - top) * (high - low)].view(bottom - top, high - low)
        torch.mm(rows[top:bottom], rows[low:high].T, out=products)
        for terms, known in ((self._scores, self._best), (self._likenesses, self._nearest)):
            read_rows(products.numpy(), top, low, terms, known, found)
            with self._lock:
                take_over(known, top, found, bottom - top)
            if low >= bottom:
                read_columns(products.numpy(), top, low, terms, found)
                with self._lock:
                    take_over(known, low, found, high - low)

    def _room(self) -> tuple[Float32[Tensor, " n"], Leading]:
        """This thread's own memory for products, and for what a tile holds."""
        if not hasattr(self._local, "room"):
            self._local.room = torch.empty(self._tile**2), Leading.none_yet(self._tile)
        found: tuple[Tensor, Leading] = self._local.room
        return found

    # --- bounds ---

    def _judge(
        self, tokens: Int[Tensor, " n"], points: Float32[Tensor, "n d"]
    ) -> tuple[WitnessCheck, Bool[Tensor, " n"]]:
        """What the products say of these points, and of which of them they say it."""
        problem, scale, reach = self.problem, self._scale[tokens], self._reach[tokens]
        z = points.to(torch.float64)
        beside = z - scale[:, None] * problem.working_rows()[tokens].to(torch.float64)  # the product is exact
        usable = row_lengths(beside) * (1 + gamma(problem.d + 4)) <= _AWAY * reach
        usable &= self._fits[tokens] & inside_domain(problem.domain, points)
        own = (problem.rows(tokens) * z).sum(dim=1) + problem.offset[tokens]
        own_error = logit_error(problem, row_lengths(z) * (1 + gamma(problem.d + 2)), torch.float64, tokens)
        best = torch.from_numpy(self._best.score)[tokens].to(torch.float64)
        runner_up = torch.from_numpy(self._best.rival)[tokens].to(torch.int64)
        lower = own - own_error - (best + self._lost[tokens])
        error = own_error + reach * self._error[runner_up] + self._constant[runner_up] + self._lost[tokens]
        upper, upper_row = torch.full_like(lower, torch.inf), torch.full_like(runner_up, -1)
        if enclosing_ball(problem)[1] < float("inf"):
            upper_row = torch.from_numpy(self._nearest.rival)[tokens].to(torch.int64)
            upper = single_competitor_bound(problem, tokens, upper_row)
        return WitnessCheck(lower, runner_up, error, upper, upper_row), usable


def _terms(*columns: Float64[Tensor, " v"]) -> Terms:
    return Terms(*(column.to(torch.float32).numpy() for column in columns))
