"""Search for points where a token wins after all that a server rounds, or ties; `checks.served_points` decides.

Logits that are rounded to a format coarser than float32 jump. Between two jumps a token that leads by a little ties,
across one it wins; and the same point, a little shorter or longer, lies elsewhere between them. What is rounded away
from 0, on the other hand, lies farther out than the domain reaches. So points of many lengths and of many roundings
are tried, against the strongest rivals alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from solvers.checks.served_head import ServedHead
from solvers.problem import BLOCK_BYTES

_RIVALS = 96
"""Rows that a token's points are compared with, the strongest ones where the search starts."""
_LENGTHS = (1.0, 0.995, 0.98, 0.95, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1)
_INSIDE = 2.0**-10
"""How far from the ends of a range of rounding the points are kept, in halves of it."""
_NUMBERS = 2**22
"""Numbers of rows and points that are held at a time."""


@dataclass(frozen=True)
class ServedAttempts:
    """What the search hands over; nothing of it is proved.

    Attributes:
        tokens: `(n,)` row numbers.
        points: `(n, k, d)` points z of the domain, the most promising of each token first.
    """

    tokens: Int[Tensor, " n"]
    points: Float32[Tensor, "n k d"]


def find_served(
    head: ServedHead,
    tokens: Int[Tensor, " n"],
    points: Float[Tensor, "n d"],
    *,
    tries: int = 64,
    rounds: int = 3,
    keep: int = 4,
    seed: int = 0,
) -> ServedAttempts:
    """From one point for each token, such as the one of its best margin, to others where rounding is kind to it.

    Args:
        head: as it is served.
        tokens: `(n,)` row numbers.
        points: `(n, d)` where the search starts.
        tries: points in each round.
        rounds: each starts from the best point of the one before.
        keep: points of each token that are handed over.
        seed: of the roundings that are tried.
    """
    random = torch.Generator().manual_seed(seed)
    found = []
    step = max(1, _NUMBERS // (head.problem.d * max(_RIVALS, tries)))
    for some in torch.arange(len(tokens)).split(step):
        found.append(_Search(head, tokens[some], points[some].to(torch.float64)).run(tries, rounds, keep, random))
    kept = torch.cat(found) if found else torch.zeros((0, keep, head.problem.d), dtype=torch.float32)
    return ServedAttempts(tokens, kept)


class _Search:
    """The search for one block of tokens."""

    def __init__(self, head: ServedHead, tokens: Int[Tensor, " b"], points: Float64[Tensor, "b d"]) -> None:
        self.head, self.tokens, self.start = head, tokens, points
        few = min(_RIVALS, head.v - 1)
        rivals = self._strongest(points, few)
        self.rows = head.plain.rows(torch.cat([tokens[:, None], rivals], dim=1).flatten())
        self.rows = self.rows.view(len(tokens), few + 1, head.problem.d)
        self.bias = head.bias[torch.cat([tokens[:, None], rivals], dim=1)]
        self.first = head.server.precedes(rivals, tokens[:, None])

    def _strongest(self, points: Float64[Tensor, "b d"], few: int) -> Int[Tensor, "b few"]:
        """The rows with the largest logits at the points, without the tokens' own."""
        x = torch.nan_to_num(self.head.inputs(points)).to(torch.float32)
        value = torch.full((len(x), few), -torch.inf)
        rows = torch.zeros((len(x), few), dtype=torch.int64)
        for part in self.head.plain.blocks(4 * len(x) + 8 * self.head.problem.d, BLOCK_BYTES):
            logits = x @ self.head.plain.rows(part).to(torch.float32).T + self.head.bias[part].to(torch.float32)
            mine = torch.nonzero((self.tokens >= part.start) & (self.tokens < part.stop)).flatten()
            logits[mine, self.tokens[mine] - part.start] = -torch.inf
            best = logits.topk(min(few, logits.shape[1]), dim=1)
            value, order = torch.cat([value, best.values], dim=1).topk(few, dim=1)
            rows = torch.cat([rows, best.indices + part.start], dim=1).gather(1, order)
        return rows

    def run(self, tries: int, rounds: int, keep: int, random: torch.Generator) -> Float32[Tensor, "b k d"]:
        """The best points of all rounds."""
        b, d = self.start.shape
        best = torch.full((b, keep), -torch.inf, dtype=torch.float64)
        points = self.start[:, None].expand(b, keep, d).clone()
        for number in range(rounds):
            tried = self._around(points[:, 0], tries, number, random)
            both = torch.cat([points, tried], dim=1)
            score = torch.cat([best, self._score(tried)], dim=1)
            best, order = score.topk(keep, dim=1)
            points = both.gather(1, order[:, :, None].expand(-1, -1, d))
        return points.to(torch.float32)

    def _around(
        self, centre: Float64[Tensor, "b d"], tries: int, number: int, random: torch.Generator
    ) -> Float64[Tensor, "b k d"]:
        """Points of other lengths in the first round; after it near the best, where they are rounded otherwise."""
        b, d = centre.shape
        length = torch.tensor([_LENGTHS[i % len(_LENGTHS)] for i in range(tries)], dtype=torch.float64)
        if number:
            length = 1 - torch.rand(tries, generator=random, dtype=torch.float64) * 0.1 / number
        spread = 4 * self.head.form.unit * torch.rand(tries, generator=random, dtype=torch.float64)
        spread[: len(_LENGTHS)] *= 0 if number == 0 else 1
        # Beyond the domain: what is rounded outwards may come from a point inside.
        stretch = 1 + self.head.input_rounding * torch.rand(tries, generator=random, dtype=torch.float64)
        outwards = torch.arange(tries) % 2 == 1
        length = torch.where(outwards & ((length > 0.99) | (number > 0)), stretch, length)
        noise = torch.randn((b, tries, d), generator=random, dtype=torch.float64)
        size = centre.norm(dim=1) / d**0.5
        made = (centre[:, None] * length[:, None] + noise * spread[:, None] * size[:, None, None]).flatten(0, 1)
        made = torch.where(outwards.repeat(b)[:, None], self._least(made), made)
        domain = self.head.problem.domain
        if domain.bounded:
            made = domain.pulled_in(made)
        return made.to(torch.float32).to(torch.float64).view(b, tries, d)

    def _least(self, points: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """The shortest points z that the head is given the same numbers at, where the norm is rounded once."""
        problem, form = self.head.problem, self.head.form
        scale = torch.ones(problem.d, dtype=torch.float64) if problem.scale is None else problem.scale
        shift = torch.zeros(problem.d, dtype=torch.float64) if problem.shift is None else problem.shift
        x = form.round(points * scale + shift)
        # Half the distance to the next number on either side, and a little less.
        size = x.abs().clamp(min=2.0**form.least)
        half = (1 - _INSIDE) * 2.0 ** (torch.floor(torch.log2(size * (1 - form.unit))) - form.bits)
        ends = torch.stack([(x - half - shift) / scale, (x + half - shift) / scale])
        ends = torch.where(torch.isfinite(ends), ends, points)
        low, high = ends.amin(dim=0), ends.amax(dim=0)
        if not problem.centred:
            return torch.zeros_like(points).clamp(low, high)
        # With mean 0 as well the shortest is one number, cut to its range in each component.
        under, over = low.amin(dim=1, keepdim=True), high.amax(dim=1, keepdim=True)
        for _ in range(60):
            middle = (under + over) / 2
            too_much = middle.clamp(low, high).sum(dim=1, keepdim=True) > 0
            under, over = torch.where(too_much, under, middle), torch.where(too_much, middle, over)
        return over.clamp(low, high)

    def _score(self, points: Float64[Tensor, "b k d"]) -> Float64[Tensor, "b k"]:
        """How good points are: whether the rounded logit leads or ties, then by how much it leads before rounding."""
        b, k, d = points.shape
        x = self.head.inputs(points.flatten(0, 1)).view(b, k, d)
        logits = torch.einsum("bkd,bjd->bkj", x, self.rows)
        size = torch.einsum("bkd,bjd->bkj", x.abs(), self.rows.abs())
        bias = self.bias[:, None]
        error = self.head.sum_error(size, bias, torch.zeros_like(size))
        error = error + self.head.step_error(logits.abs() + error)
        logits = logits + bias
        low = self.head.form.round((logits - error)[:, :, 0])[:, :, None]
        high = self.head.form.round((logits + error)[:, :, 1:])
        # A lead counts 1, a tie that the rule decides for the token 0, anything else −1.
        rank = torch.where(low > high, 1.0, torch.where((low == high) & ~self.first[:, None], 0.0, -1.0))
        lead = (logits[:, :, :1] - logits[:, :, 1:]).amin(dim=2)
        return torch.nan_to_num(4 * rank.amin(dim=2) + lead / (1 + lead.abs()), nan=-torch.inf)
