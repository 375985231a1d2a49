"""Checks of witnesses in floating point: by how much does row t beat every other row at z, whatever was rounded?

One blocked product of the points with all rows does it. With `rigorous=True` the result is a proved lower bound: each
logit carries the error bound of `docs/mathematics.md` (γ_n of Higham 2002), whatever the order of summation. Bounds
in float64 cost little more than those in float32: a float32 product leaves few rivals near the best, and all others
lie below by more than its error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from solvers.checks.domains import enclosing_ball
from solvers.checks.exact import first_unbeaten, inside_domain
from solvers.precision import full_float32_products
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.rounding import SECOND_ORDER, gamma, row_lengths, underflow, unit

_FEW = 16
"""Fewer points are worth no float32 product before the one in float64."""
_NEAR = 64
"""So many rivals (or a sixteenth of all) may be near the best for them to be worked out one by one."""
_PAIRS_BYTES = 4 * 2**20
"""Memory for the rows of those that are: as much as stays in cache."""


@dataclass(frozen=True)
class WitnessCheck:
    """What is proved (or, without `rigorous`, computed) about `n` points.

    Attributes:
        lower: `(n,)` lower bound on min over j≠t of (A[t]−A[j])·z + c[t]−c[j], logits; −inf where the point is not
            finite or lies outside the domain.
        runner_up: `(n,)` the competitor with the largest upper bound on its logit.
        error: `(n,)` what was subtracted for rounding, logits (0 without `rigorous`).
        upper: `(n,)` upper bound on the margin of t from its nearest competitor, logits; +inf unless asked for.
        upper_row: `(n,)` that competitor; −1 unless asked for.
    """

    lower: Float64[Tensor, " n"]
    runner_up: Int[Tensor, " n"]
    error: Float64[Tensor, " n"]
    upper: Float64[Tensor, " n"]
    upper_row: Int[Tensor, " n"]


def logit_error(
    problem: ArgmaxProblem,
    radius: float | Float64[Tensor, " n"],
    dtype: torch.dtype,
    rows: Int[Tensor, " n"] | slice = slice(None),
) -> Float64[Tensor, " n"]:
    """Bound on |computed − exact| logit of each row at any point of norm ≤ radius, for a product in `dtype`.

    The radius is one number, or one for each row.
    """
    u = unit(dtype)
    norm, offset = problem.row_norm[rows], problem.offset[rows].abs()
    product = gamma(problem.d + 4, u) * radius * (norm + problem.row_error[rows])
    error = SECOND_ORDER * (
        product
        + radius * problem.row_error[rows]
        + problem.offset_error[rows]
        + 4 * u * (offset + radius * norm)
        + underflow(problem.d, dtype) * (1 + radius + norm)
    )
    # Where a product or an offset may overflow, nothing is known about the logit.
    largest = torch.finfo(dtype).max / 8
    safe = (norm < largest) & (offset < largest) & (norm * radius < largest)
    return torch.where(safe, error, torch.inf)


def check_witnesses(
    problem: ArgmaxProblem,
    tokens: Int[Tensor, " n"],
    points: Float[Tensor, "n d"],
    *,
    dtype: torch.dtype = torch.float32,
    rigorous: bool = True,
    own_scale: Float64[Tensor, " n"] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
    limit: int = BLOCK_BYTES,
) -> WitnessCheck:
    """Bound from below, for each token, its margin at its point.

    Args:
        problem: the argmax problem.
        tokens: `(n,)` row numbers.
        points: `(n, d)` float32 points (float64 ones with `dtype=torch.float64`); rows with NaN prove nothing.
        dtype: float32 (one fast pass; reduced-precision product modes are switched off for it) or float64 (of many
            points the same pass, and after it only the rivals that its error leaves in doubt).
        rigorous: subtract the rounding-error bounds.
        own_scale: `(n,)` set when points[i] is own_scale[i]·A[tokens[i]] up to one rounding per entry: the same
            products then also bound each margin from above by the nearest competitor.
        device: where the products are computed.
        progress: called with the number of points finished, block by block.
        limit: bytes for one block of products.

    Raises:
        BadInput: products are computed in less than float32, and torch does not let that be switched off.
    """
    n, v = len(tokens), problem.v
    lower = torch.full((n,), -torch.inf, dtype=torch.float64)
    upper = torch.full((n,), torch.inf, dtype=torch.float64)
    runner_up = torch.zeros(n, dtype=torch.int64)
    upper_row = torch.full((n,), -1, dtype=torch.int64)
    error = torch.zeros(n, dtype=torch.float64)
    usable = torch.isfinite(points).all(dim=1)
    usable &= inside_domain(problem.domain, points)
    todo = torch.nonzero(usable).flatten()
    if progress is not None and len(todo) < n:
        progress(n - len(todo))
    radius = row_lengths(points.to(torch.float64))
    passes = [torch.float64] if dtype == torch.float64 else [torch.float32]
    if dtype == torch.float64 and len(todo) >= _FEW and own_scale is None:
        passes.insert(0, torch.float32)
    with full_float32_products(device):
        for working in passes:
            columns, step = v, problem.points_at_once(limit, device)
            if working == torch.float64:
                columns = max(1, min(v, limit // (8 * problem.d * 3)))
                step = max(1, limit // (8 * columns))
            step = max(1, min(len(todo), step))
            # One buffer for all blocks: memory fresh from the system costs more than the product that fills it.
            buffer = torch.empty((step, columns), dtype=working, device=device)
            left = []
            for some in _of_one_size(radius, todo, step):
                block = _Block(problem, tokens[some], points[some], working, rigorous, device)
                if working == dtype:
                    block.run(buffer, None if own_scale is None else own_scale[some])
                    done = torch.ones(len(some), dtype=torch.bool)
                else:
                    done = block.run_closely(buffer)
                    left.append(some[~done])
                keep = some[done]
                lower[keep], runner_up[keep] = block.lower[done], block.runner_up[done]
                upper[keep], upper_row[keep] = block.upper[done], block.upper_row[done]
                error[keep] = block.error[done]
                if progress is not None:
                    progress(len(keep))
            todo = torch.cat(left) if left else todo[:0]
    return WitnessCheck(lower, runner_up, error, upper, upper_row)


def own_scales(
    problem: ArgmaxProblem, tokens: Int[Tensor, " n"], points: Float[Tensor, "n d"]
) -> Float64[Tensor, " n"]:
    """How many times its row each point is that lies along it: ‖z‖/‖A[t]‖."""
    return row_lengths(points.to(torch.float64)) / problem.row_norm[tokens].clamp(min=1e-300)


def _of_one_size(radius: Float64[Tensor, " n"], among: Int[Tensor, " k"], most: int) -> Iterator[Int[Tensor, " m"]]:
    """Blocks of at most `most` points whose norms share a power of two, so that one error bound fits them all."""
    size = torch.floor(torch.log2(radius[among].clamp(min=1e-300)))
    for value in torch.unique(size):
        yield from among[size == value].split(most)


class _Block:
    """One block of points against all rows, in column chunks."""

    def __init__(
        self,
        problem: ArgmaxProblem,
        tokens: Int[Tensor, " b"],
        points: Float[Tensor, "b d"],
        dtype: torch.dtype,
        rigorous: bool,
        device: torch.device | str,
    ) -> None:
        self.problem, self.tokens, self.dtype, self.device = problem, tokens, dtype, device
        self.rigorous, self.exact = rigorous, points.to(torch.float64)
        self.points = points.to(device=device, dtype=dtype)
        self.moved = row_lengths(self.exact - self.points.double().cpu()) * (1 + gamma(problem.d + 4))
        """How far rounding to `dtype` has moved each point."""
        self.radius = row_lengths(self.exact) * (1 + gamma(problem.d + 2)) + self.moved
        slack = logit_error(problem, float(self.radius.max()), dtype)
        self.slack = slack if rigorous else torch.zeros_like(slack)
        # The competitors' offsets are raised by their error bounds, so that the product itself yields upper bounds.
        self.raised = problem.offset + self.slack
        own = (problem.rows(tokens).to(device=device, dtype=dtype) * self.points).sum(dim=1)
        self.own = own.double().cpu() + problem.offset[tokens]
        self.best = torch.full((len(tokens),), -torch.inf, dtype=torch.float64)
        self.runner_up = torch.zeros(len(tokens), dtype=torch.int64)
        self.upper = torch.full((len(tokens),), torch.inf, dtype=torch.float64)
        self.upper_row = torch.full((len(tokens),), -1, dtype=torch.int64)

    def run(self, buffer: Float[Tensor, "m c"], own_scale: Float64[Tensor, " b"] | None) -> None:
        """Go over all rows and keep, for each point, the best competitor and (if asked) the nearest one."""
        v, columns = self.problem.v, buffer.shape[1]
        for start in range(0, v, columns):
            part = slice(start, min(start + columns, v))
            scores = self._scores(buffer, part)
            if own_scale is not None:
                self._nearest(scores, part, own_scale)
        self._finish()

    def run_closely(self, buffer: Float32[Tensor, "m v"]) -> Bool[Tensor, " b"]:
        """The same as in float64, although this block works in float32; says for which points that was possible.

        What the float32 product leaves near the best is worked out in float64. Every other rival lies below `floor`.
        """
        problem = self.problem
        scores = self._scores(buffer, slice(0, problem.v))
        moved = SECOND_ORDER * self.moved * float((problem.row_norm + problem.row_error).max())
        window = 2.01 * float(logit_error(problem, float(self.radius.max()), self.dtype).max())
        floor = (self.best - window - 2 * moved).to(self.dtype)
        near = scores >= floor.to(self.device)[:, None]
        done = torch.isfinite(floor)
        if int(torch.count_nonzero(near)) > _NEAR * len(floor):
            done &= near.sum(dim=1).cpu() <= max(_NEAR, problem.v // 16)
            near[~done.to(self.device)] = False
        which, rivals = (index.cpu() for index in torch.nonzero(near, as_tuple=True))
        exact = logit_error(problem, float(self.radius.max()), torch.float64)
        self.slack = exact if self.rigorous else torch.zeros_like(exact)
        self.own = (problem.rows(self.tokens) * self.exact).sum(dim=1) + problem.offset[self.tokens]
        value = self._logits(which, rivals) + self.slack[rivals]
        self.best = (floor.double() + moved) if self.rigorous else torch.full_like(moved, -torch.inf)
        best = torch.full_like(moved, -torch.inf).scatter_reduce_(0, which, value, "amax")
        first = value == best[which]
        self.runner_up[which[first]] = rivals[first]
        self.best = torch.maximum(self.best, torch.where(torch.isnan(best), torch.inf, best))
        self._finish()
        return done

    def _logits(self, which: Int[Tensor, " k"], rivals: Int[Tensor, " k"]) -> Float64[Tensor, " k"]:
        """Logits of some rows at some of the points, in float64."""
        parts = [torch.zeros(0, dtype=torch.float64)]
        size = max(1, _PAIRS_BYTES // (8 * self.problem.d))
        for point, rival in zip(which.split(size), rivals.split(size), strict=True):
            parts.append(torch.linalg.vecdot(self.problem.rows(rival), self.exact[point]))
        return torch.cat(parts) + self.problem.offset[rivals]

    def _scores(self, buffer: Float[Tensor, "m c"], part: slice) -> Float[Tensor, "b c"]:
        """Upper bounds on the logits of some rows at the points, −∞ for the points' own; keeps the best."""
        if self.dtype == torch.float32:
            rows = self.problem.working_rows(self.device)[part]
        else:
            rows = self.problem.rows(part).to(self.device)
        # Added last: inside the product the offset would share the rounding of every partial sum.
        scores = torch.mm(self.points, rows.T, out=buffer[: len(self.points), : part.stop - part.start])
        scores += self.raised[part].to(self.device, self.dtype)
        mine = torch.nonzero((self.tokens >= part.start) & (self.tokens < part.stop)).flatten()
        scores[mine.to(self.device), (self.tokens[mine] - part.start).to(self.device)] = -torch.inf
        value, index = scores.max(dim=1)
        self._keep_best(value.double().cpu(), index.cpu() + part.start)
        return scores

    def _finish(self) -> None:
        self.lower = self.own - self.slack[self.tokens] - self.best
        self.error = self.slack[self.tokens] + self.slack[self.runner_up]
        self.lower[~torch.isfinite(self.own)] = -torch.inf
        self.lower[torch.isnan(self.lower)] = -torch.inf

    def _keep_best(self, value: Float64[Tensor, " b"], index: Int[Tensor, " b"]) -> None:
        # A NaN logit must never read as "no competitor".
        value = torch.where(torch.isnan(value), torch.inf, value)
        better = value > self.best
        self.best = torch.where(better, value, self.best)
        self.runner_up = torch.where(better, index, self.runner_up)

    def _nearest(self, scores: Float[Tensor, "b c"], part: slice, own_scale: Float64[Tensor, " b"]) -> None:
        """Bound the margins from above by one competitor each: min over j of R·‖A[t]−A[j]‖ + c[t]−c[j].

        The products are at hand, because the points are multiples of the rows:
        ‖A[t]−A[j]‖² = ‖A[t]‖² + ‖A[j]‖² − 2 A[t]·A[j]. The search for the best j overwrites `scores` and is
        approximate; the bound is then worked out for that j alone, in float64.
        """
        problem = self.problem
        if not enclosing_ball(problem)[1] < float("inf"):
            return
        scale = own_scale.to(self.device, self.dtype)
        goal = nearest_goal(problem, part)
        if not problem.zero_offset:
            scores -= self.raised[part].to(self.device, self.dtype)
        index = scores.addr_(scale, goal.to(self.device, self.dtype), alpha=-0.5).argmax(dim=1).cpu() + part.start
        index = torch.where(index == self.tokens, self.runner_up, index)
        bound = single_competitor_bound(problem, self.tokens, index)
        better = (bound < self.upper) & (own_scale > 0)
        self.upper = torch.where(better, bound, self.upper)
        self.upper_row = torch.where(better, index, self.upper_row)


def nearest_goal(problem: ArgmaxProblem, part: slice) -> Float64[Tensor, " m"]:
    """What makes the row j nearest to t where A[t]·A[j] − goal_j/2 is largest: nearest as a single competitor.

    R·‖A[t]−A[j]‖ − c[j] is smallest nearly where ‖A[t]−A[j]‖² − (2D/R)·c[j] is, for distances around D; no bound
    rests on it. The domain is enclosed in a ball of radius R with centre m: then c counts as c + A m.
    """
    centre, radius = enclosing_ball(problem)
    offset = problem.offset[part] + problem.rows(part) @ centre if bool(centre.any()) else problem.offset[part]
    return problem.row_norm[part] ** 2 - (2 * float(problem.row_norm.median()) / radius) * offset


def single_competitor_bound(
    problem: ArgmaxProblem, tokens: Int[Tensor, " n"], rivals: Int[Tensor, " n"]
) -> Float64[Tensor, " n"]:
    """Proved upper bound on each token's margin by one competitor: R·‖A[t]−A[j]‖ + c[t]−c[j], logits."""
    centre, radius = enclosing_ball(problem)
    far = float(row_lengths(centre[None])[0])
    mine, theirs = problem.rows(tokens), problem.rows(rivals)
    difference = mine - theirs
    # Equal rows differ by nothing at all, and nothing is lost. They are compared as bits, since a difference too may
    # be flushed to zero; and no `torch.where` of two numbers, which would be float32.
    differ = (mine.view(torch.int64) != theirs.view(torch.int64)).any(dim=1)
    lost = differ.to(torch.float64) * underflow(problem.d, torch.float64)
    error = problem.row_error[tokens] + problem.row_error[rivals] + lost
    distance = row_lengths(difference) * (1 + gamma(problem.d + 4)) + error
    offsets = problem.offset[tokens] - problem.offset[rivals] + difference @ centre
    room = problem.offset_error[tokens] + problem.offset_error[rivals]
    room = room + gamma(problem.d + 4) * (
        problem.offset[tokens].abs() + problem.offset[rivals].abs() + distance * far
    )
    room = room + error * far + lost * (1 + radius + far)
    bound = SECOND_ORDER * room + radius * distance * (1 + gamma(8)) + offsets
    return torch.where(tokens == rivals, torch.inf, bound)  # no row is its own competitor


def close_rivals(problem: ArgmaxProblem, token: int, point: Float[Tensor, " d"]) -> Int[np.ndarray, " n"]:
    """The rows that a float64 product with its error bound cannot tell from the token at this point."""
    z = point.to(torch.float64)
    radius = float(row_lengths(z[None])[0]) * (1 + gamma(problem.d + 2))
    slack = logit_error(problem, radius, torch.float64)
    scores = torch.cat([problem.rows(block) @ z for block in problem.blocks(24 * problem.d)]) + problem.offset
    close = scores + slack >= scores[token] - slack[token]
    close |= ~torch.isfinite(scores)
    close[token] = False
    return torch.nonzero(close).flatten().numpy()


def beats_exactly(
    problem: ArgmaxProblem, token: int, point: Float[Tensor, " d"], lower: float, runner_up: int
) -> bool:
    """Whether the token beats every other row at this point, decided exactly.

    Args:
        problem: the argmax problem; its rows must be known exactly.
        token: row number.
        point: a point that `check_witnesses` found inside the domain.
        lower: the rigorous float64 bound that `check_witnesses` gave for it. Where it is positive, rounding is
            excluded for every rival, and rational arithmetic is asked about the runner-up alone; otherwise about
            every rival that float64 cannot tell from the token.
        runner_up: the closest rival.
    """
    if not lower > -float("inf"):
        return False
    rivals = np.array([runner_up]) if lower > 0 else close_rivals(problem, token, point)
    return first_unbeaten(problem, token, point, rivals) is None
