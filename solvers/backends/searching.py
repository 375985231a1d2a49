"""What the searches share: points of the search space, and what a row's point is worth there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float32, Float64, Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Backend
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.search_space import SearchSpace

_SMALL_PRODUCT = 2**24
"""Multiplications of a product that one core does in about a millisecond."""


class Searching(Backend):
    """A backend that works in the search space.

    Attributes:
        random_start: none starts each row where it most likely wins; a number starts it at a random point drawn with
            that seed, so that runs with different numbers are independent (capture–recapture estimates need that).
    """

    random_start: int | None = None

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem."""
        super().prepare(problem)
        self._space = SearchSpace(problem, self.device)

    @property
    def space(self) -> SearchSpace:
        """The prepared problem in the form that is searched."""
        _ = self.problem  # complains where there is none
        return self._space

    def starts(self, tokens: Int[Tensor, " n"]) -> Float32[Tensor, "n e"]:
        """Where to begin with each row."""
        if self.random_start is None:
            return first_points(self.space, tokens)
        generator = torch.Generator(self.space.device).manual_seed(self.random_start)
        return self.space.sample(len(tokens), generator)


@contextmanager
def threads_for(space: SearchSpace, n: int) -> Iterator[None]:
    """One thread while the products of a step are small: handing them over would cost more than they do."""
    before = torch.get_num_threads()
    try:
        if n * space.rows32.numel() < _SMALL_PRODUCT:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def first_points(space: SearchSpace, tokens: Int[Tensor, " n"]) -> Float32[Tensor, "n e"]:
    """Where to start looking for each row: far out along the row less the mean of all rows."""
    mean = space.rows32.mean(dim=0).double().cpu()
    return space.region.along(space.rows(tokens.cpu()) - mean).to(space.device, torch.float32)


def scale_of(space: SearchSpace, tokens: Int[Tensor, " n"]) -> Float64[Tensor, " n"]:
    """Size of these rows' logits over the search space: what tolerances are relative to."""
    spread = float(space.offset.max() - space.offset.min())
    return (space.region.size * space.square_norm32.cpu().double()[tokens].sqrt() + spread).clamp(min=1e-30)


def noise(space: SearchSpace, tokens: Int[Tensor, " n"]) -> Float32[Tensor, " n"]:
    """A margin below this may be nothing but the rounding of float32 products, logits."""
    return (1e-6 * scale_of(space, tokens)).to(space.device, torch.float32)


def rows_per_block(space: SearchSpace, buffers: int = 2) -> int:
    """How many points may be priced at once, so that their logits fit into the block size."""
    return max(1, int(BLOCK_BYTES // (4 * space.problem.v * buffers)))


def price(
    space: SearchSpace, z: Float32[Tensor, "n e"], tokens: Int[Tensor, " n"]
) -> tuple[Float32[Tensor, " n"], Int[Tensor, " n"]]:
    """The margin of each token at its point over all rows, logits, and the strongest competitor there.

    Everything lies on the device of the search space.
    """
    margin = torch.empty(len(z), dtype=torch.float32, device=z.device)
    rival = torch.empty(len(z), dtype=torch.int64, device=z.device)
    step = rows_per_block(space)
    for start in range(0, len(z), step):
        part = slice(start, min(start + step, len(z)))
        mine = tokens[part]
        scores = torch.addmm(space.offset32, z[part], space.rows32.T)
        index = torch.arange(len(mine), device=z.device)
        own = scores[index, mine].clone()
        scores[index, mine] = -torch.inf
        best, rival[part] = scores.max(dim=1)
        margin[part] = own - best
    return margin, rival


class Found:
    """The best point seen for each row, and how the rows ended."""

    def __init__(self, space: SearchSpace, tokens: Int[Tensor, " n"]) -> None:
        self.space, self.tokens = space, tokens
        self.noise = noise(space, tokens)
        self.margin = torch.full((len(tokens),), -torch.inf, dtype=torch.float32, device=space.device)
        self.z = torch.full((len(tokens), space.e), torch.nan, dtype=torch.float32, device=space.device)
        self.ended = torch.zeros(len(tokens), dtype=torch.bool, device=space.device)

    def offer(
        self, place: Int[Tensor, " m"], z: Float32[Tensor, "m e"], margin: Float32[Tensor, " m"]
    ) -> Bool[Tensor, " m"]:
        """Keep points that are better than those kept; says which rows win by more than rounding."""
        better = margin > self.margin[place]
        self.margin[place[better]] = margin[better]
        self.z[place[better]] = z[better]
        return self.margin[place] > self.noise[place]

    def attempts(self, rows: Int[Tensor, " n"], work: dict[str, float], seconds: float) -> Attempts:
        """The attempts of a search that knows no bounds: without a witness it has given up, and claims nothing."""
        wins = (self.margin > self.noise).tolist()
        status = [
            Status.WITNESS if win else Status.GAVE_UP if ended else Status.LIMIT
            for win, ended in zip(wins, self.ended.tolist(), strict=True)
        ]
        n = len(rows)
        none = torch.full((n,), torch.inf, dtype=torch.float64)
        points = self.space.to_points(self.space.region.project(self.z.double().cpu()))
        return Attempts(
            rows=rows,
            status=status,
            points=points,
            hulls=Hulls.none(n),
            lower=self.margin.double().cpu() if self.space.margins else -none,
            upper=none,
            work=work,
            seconds=seconds,
        )
