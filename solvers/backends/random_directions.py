"""Random hidden states: sample the domain, note who wins.

Every sample is one row's witness, asked for or not, and how often each row won says how much of the domain has been
seen (capture–recapture estimates of what was missed need the counts).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Budget, Capabilities
from solvers.backends.searching import Searching, rows_per_block
from solvers.problem import ArgmaxProblem
from solvers.search_space import SearchSpace

_MULTIPLICATIONS, _AT_LEAST = 4 * 10**11, 10_000
"""What the samples of one call may cost by default (seconds on a few cores), and how many there are anyway."""


class RandomDirections(Searching):
    """Gaussian directions on balls and on `Free`, uniform points in boxes.

    Samples come in pairs, a point and its mirror image in the middle of the domain, because one product prices both;
    lifted spaces and balls cut by a box have no such middle. Unless the budget gives a number of iterations, fewer
    than 100,000 samples are drawn from large heads (4·10¹¹ multiplications' worth, but at least 10,000), and none any
    more once every row that was asked for has won. Whoever needs the counts of a fixed number of samples gives that
    number.

    Prefer it only to estimate how much of the vocabulary random states reach, or as the baseline that any search must
    beat: a row whose region is a thin cone is never hit. Every search by target finds more in less time.

    Args:
        device: where tensors live.
        jobs: not used; the products have threads of their own.
        seed: of the samples of one call. Another seed adds samples; the same seed draws the same again.
    """

    name = "random-directions"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batched=True,
        devices=("cpu", "cuda"),
        note="a baseline, and the counts behind estimates of what random states reach",
    )

    def __init__(self, device: str = "cpu", jobs: int = 1, seed: int = 0) -> None:
        super().__init__(device, jobs)
        self.seed = seed
        self._hits: dict[int, tuple[int, Int64[Tensor, " v"]]] = {}

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem; the counts start anew."""
        super().prepare(problem)
        self._hits = {}

    @property
    def hit_counts(self) -> Int64[Tensor, " v"]:
        """How often each row was the strict argmax since `prepare`, over all samples of all seeds used."""
        total = torch.zeros(self.problem.v, dtype=torch.int64)
        for _, hits in self._hits.values():
            total += hits
        return total

    @property
    def samples(self) -> int:
        """How many samples `hit_counts` counts (some may have been ties)."""
        return sum(drawn for drawn, _ in self._hits.values())

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Draw the samples of this seed; report on these rows and on all others seen."""
        started = time.perf_counter()
        space, v = self.space, self.problem.v
        self.effective_options = dict(options.values(self.name, budget))
        wanted = int(options.number(self.name, "samples", budget)) if len(rows) else 0
        if budget.iterations is None:
            wanted = min(wanted, max(_AT_LEAST, _MULTIPLICATIONS // space.rows32.numel()))
            self.effective_options["samples"] = wanted
        generator = torch.Generator(space.device).manual_seed(self.seed)
        kept = _Kept(v, space.e, space.device)
        hits = torch.zeros(v, dtype=torch.int64, device=space.device)
        # The size of a block is part of what the seed determines, so the budget must not change it.
        step = min(rows_per_block(space), 8192)
        images = _Images(space)
        asked = rows.to(space.device) if budget.iterations is None else None
        drawn = 0
        while drawn < wanted and not (drawn and time.perf_counter() - started > budget.seconds):
            for z, winner, margin in images.winners(space.sample(step, generator), wanted - drawn):
                strict = margin > 0
                hits += torch.bincount(winner[strict], minlength=v)
                kept.offer(winner[strict], margin[strict], z[strict])
                drawn += len(z)
            if asked is not None and bool((kept.slot[asked] >= 0).all()):
                wanted = drawn
        if drawn >= self._hits.get(self.seed, (0, hits))[0]:
            self._hits[self.seed] = (drawn, hits.cpu())
        budget.progress(self.name, len(rows))
        return self._attempts(rows.cpu(), kept, drawn, drawn < wanted, time.perf_counter() - started)

    def _attempts(
        self, rows: Int[Tensor, " n"], kept: _Kept, drawn: int, cut_short: bool, seconds: float
    ) -> Attempts:
        space, n = self.space, len(rows)
        slot = kept.slot.cpu()
        seen = torch.nonzero(slot >= 0).flatten()
        z = kept.z[: kept.used].double().cpu()
        points = space.to_points(space.region.project(z))
        mine = slot[rows]
        has = mine >= 0
        out = torch.full((n, self.problem.d), torch.nan, dtype=torch.float64)
        out[has] = points[mine[has]]
        lower = torch.full((n,), -torch.inf, dtype=torch.float64)
        if space.margins:
            lower[has] = kept.margin.cpu().double()[rows[has]]
        nothing = Status.LIMIT if cut_short else Status.GAVE_UP
        others = seen[~torch.isin(seen, rows)]
        return Attempts(
            rows=rows,
            status=[Status.WITNESS if found else nothing for found in has.tolist()],
            points=out,
            hulls=Hulls.none(n),
            lower=lower,
            upper=torch.full((n,), torch.inf, dtype=torch.float64),
            seen_rows=others,
            seen_points=points[slot[others]],
            work={"samples": float(drawn), "rows_seen": float(len(seen))},
            seconds=seconds,
        )


class _Images:
    """Points and their mirror images, z ↦ s − z, and who wins there: A(s − z) + c = (As + 2c) − (Az + c)."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        found = space.region.mirror
        self.paired = found is not None
        self.sum: Float32[Tensor, " e"] | float = 0.0
        self.mirror: Float32[Tensor, " v"] | None = None
        if found is not None and (bool(found.any()) or bool(space.offset.any())):
            self.sum = found.to(space.device, torch.float32)
            self.mirror = space.rows32 @ self.sum + 2 * space.offset32

    def winners(
        self, z: Float32[Tensor, "n e"], most: int
    ) -> Iterator[tuple[Float32[Tensor, "m e"], Int[Tensor, " m"], Float32[Tensor, " m"]]]:
        """Points (no more than `most` in all), the row that wins at each, and by how much, logits."""
        z = z[: (most + 1) // 2 if self.paired else most]
        scores = torch.addmm(self.space.offset32, z, self.space.rows32.T)
        best = scores.topk(2, dim=1)
        yield z, best.indices[:, 0], best.values[:, 0] - best.values[:, 1]
        n = min(len(z), most - len(z)) if self.paired else 0
        if n <= 0:
            return
        if self.mirror is None:
            best = scores[:n].topk(2, dim=1, largest=False)
        else:
            best = torch.sub(self.mirror, scores, out=scores)[:n].topk(2, dim=1)
        yield self.sum - z[:n], best.indices[:, 0], (best.values[:, 0] - best.values[:, 1]).abs()


class _Kept:
    """The best sample of each row that was seen."""

    def __init__(self, v: int, e: int, device: torch.device | str) -> None:
        self.slot = torch.full((v,), -1, dtype=torch.int64, device=device)
        self.margin = torch.full((v,), -torch.inf, dtype=torch.float32, device=device)
        self.z = torch.empty((min(v, 1024), e), dtype=torch.float32, device=device)
        self.used = 0

    def offer(self, winner: Int[Tensor, " m"], margin: Float32[Tensor, " m"], z: Float32[Tensor, "m e"]) -> None:
        """Keep each winner's sample if it is its best so far."""
        order = margin.argsort(descending=True, stable=True)
        order = order[winner[order].argsort(stable=True)]  # by winner, the best first
        first = torch.ones(len(order), dtype=torch.bool, device=order.device)
        first[1:] = winner[order][1:] != winner[order][:-1]
        order = order[first]
        order = order[margin[order] > self.margin[winner[order]]]
        who = winner[order]
        fresh = who[self.slot[who] < 0]
        self.slot[fresh] = torch.arange(self.used, self.used + len(fresh), device=who.device)
        self.used += len(fresh)
        if self.used > len(self.z):
            room = max(self.used, 2 * len(self.z))
            self.z = torch.nn.functional.pad(self.z, (0, 0, 0, room - len(self.z)))
        self.z[self.slot[who]] = z[order]
        self.margin[who] = margin[order]
