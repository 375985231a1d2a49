"""Search for the points where softmax makes each token as probable as it can be.

ln p_t is concave in z, so that every ascent ends at the supremum; what the points prove is worked out by
`solvers.checks.ceiling` alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from solvers.checks.ceiling import ceiling_domain
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.search_space import SearchSpace

_ROUNDS = 2000
"""Products with all rows, both ways, that one token may take."""
_SHARE = 0.5
"""Share of the gap at which the search stops: the rest is for float32, and for pulling the points inside."""
_MEMORY = 6
"""How many earlier values a step may fall below the best of: spectral steps do not rise every time."""
_RISE = 1e-4
"""Share of the rise that the gradient promises which a step must bring."""


@dataclass(frozen=True)
class CeilingAttempts:
    """What the search hands over; nothing of it is proved.

    Attributes:
        rows: `(n,)` row numbers.
        points: `(n, d)` float64 points of the domain, the best of each token by its gap.
        lower: `(n,)` ln p_t there, as computed.
        upper: `(n,)` the bound of the softmax there, as computed.
        rounds: evaluations of one block.
        seconds: wall clock.
    """

    rows: Int[Tensor, " n"]
    points: Float64[Tensor, "n d"]
    lower: Float64[Tensor, " n"]
    upper: Float64[Tensor, " n"]
    rounds: int
    seconds: float


def find_ceilings(
    problem: ArgmaxProblem,
    rows: Int[Tensor, " n"],
    gap: float,
    *,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
    rounds: int = _ROUNDS,
    seconds: float = math.inf,
    progress: Callable[[int], object] = lambda _: None,
    limit: int = BLOCK_BYTES,
    space: SearchSpace | None = None,
) -> CeilingAttempts:
    """Raise ln softmax_t(scale · (A z + c)) for these rows until its bounds are within `gap`.

    Projected gradient steps of spectral length (Birgin, Martínez & Raydan 2000), each row its own; the bound from
    above is the one of Frank and Wolfe. One evaluation of a row is two products with all rows, in float32. Rows that
    are finished make room for others.

    Args:
        problem: the argmax problem, with a row for every token that takes part in the softmax.
        rows: row numbers.
        gap: between the bounds, in ln p.
        scale: factor on the logits inside the softmax.
        device: where the products are computed.
        rounds: evaluations that a row may take.
        seconds: limit for the call; rows that are not finished then are handed over as they are.
        progress: called with the number of rows finished.
        limit: bytes for one block of logits.
        space: rows and region to search in, if they are made already.

    Raises:
        BadInput: the domain is unbounded and there are offsets.
    """
    ceiling_domain(problem)
    started = time.perf_counter()
    space = SearchSpace(problem, device) if space is None else space
    n, most = len(rows), max(1, limit // (8 * problem.v))
    points = torch.zeros((n, space.e), dtype=torch.float64)
    lower = torch.full((n,), -torch.inf, dtype=torch.float64)
    upper = torch.full((n,), torch.inf, dtype=torch.float64)
    waiting, pool, count = 0, _Pool(space, scale), 0
    while waiting < n or len(pool):
        if waiting < n and len(pool) <= most // 2:
            taken = range(waiting, min(n, waiting + most - len(pool)))
            pool.take(torch.arange(taken.start, taken.stop), rows[taken.start : taken.stop])
            waiting = taken.stop
        pool.evaluate()
        count += 1
        late = time.perf_counter() - started > seconds
        done = pool.finished(_SHARE * gap, rounds)
        if late:
            done[:] = True
        if bool(done.any()):
            at = pool.at[done]
            points[at], lower[at], upper[at] = (part[done].double().cpu() for part in pool.best())
            pool.drop(done)
            progress(len(at))
        if late:
            break
        pool.step()
    return CeilingAttempts(
        rows, space.to_points(points), lower, upper.clamp(max=0), count, time.perf_counter() - started
    )


class _Pool:
    """The rows that are worked on at a time, each with its own point, direction and step."""

    def __init__(self, space: SearchSpace, scale: float) -> None:
        self.space, self.scale, self.device = space, scale, space.device
        self.at = torch.zeros(0, dtype=torch.int64)
        self.state: dict[str, Tensor] = {}
        self._rows = space.rows32
        self._offset = space.offset32

    def __len__(self) -> int:
        return len(self.at)

    def take(self, at: Int[Tensor, " m"], rows: Int[Tensor, " m"]) -> None:
        """Take up rows, far out along their own directions; `at` is where their results belong."""
        index = rows.to(self.device)
        own = self.space.rows(rows)
        start = self.space.region.along(own).to(self.device, torch.float32)
        m, plus = len(rows), torch.full((len(rows),), torch.inf, device=self.device)
        new = {
            "row": index,
            "own": self._rows[index],
            "x": start,
            "trial": start,
            "direction": torch.zeros_like(start),
            "gradient": torch.zeros_like(start),
            "value": -plus,
            "share": torch.ones(m, device=self.device),
            "past": (-plus)[:, None].repeat(1, _MEMORY),
            "rounds": torch.zeros(m, dtype=torch.int64, device=self.device),
            "best": start,
            "best_value": -plus,
            "best_gap": plus,
            "trial_value": -plus,
            "trial_gradient": torch.zeros_like(start),
        }
        self.state = {name: torch.cat([self.state[name], part]) if self.state else part for name, part in new.items()}
        self.at = torch.cat([self.at, at])

    def drop(self, done: Tensor) -> None:
        """Let rows go."""
        keep = ~done
        self.at = self.at[keep]
        self.state = {name: part[keep.to(part.device)] for name, part in self.state.items()}

    def evaluate(self) -> None:
        """ln p_t, its gradient and the gap at the trial points."""
        state, scale = self.state, self.scale
        logits = torch.addmm(self._offset, state["trial"], self._rows.T, beta=scale, alpha=scale)
        own = logits.gather(1, state["row"][:, None])[:, 0]
        largest = logits.amax(dim=1)
        shares = logits.sub_(largest[:, None]).exp_()
        total = shares.sum(dim=1)
        mean = (shares @ self._rows) / total[:, None]
        state["trial_value"] = own - largest - total.log()
        state["trial_gradient"] = scale * (state["own"] - mean)
        reach = self.space.region.support(state["trial_gradient"].double().cpu()).to(self.device)
        gap = (reach - (state["trial_gradient"].double() * state["trial"].double()).sum(dim=1)).float()
        better = gap < state["best_gap"]
        state["best"] = torch.where(better[:, None], state["trial"], state["best"])
        state["best_value"] = torch.where(better, state["trial_value"], state["best_value"])
        state["best_gap"] = torch.where(better, gap, state["best_gap"])
        state["rounds"] = state["rounds"] + 1

    def finished(self, gap: float, rounds: int) -> Tensor:
        """Which rows need no more work, or get none."""
        state = self.state
        broken = ~torch.isfinite(state["trial_value"])
        return ((state["best_gap"] <= gap) | (state["rounds"] >= rounds) | broken).cpu()

    def best(self) -> tuple[Float32[Tensor, "m e"], Float[Tensor, " m"], Float[Tensor, " m"]]:
        """The point of the smallest gap, ln p_t there, and the bound that it gives."""
        state = self.state
        return state["best"], state["best_value"], state["best_value"] + state["best_gap"]

    def step(self) -> None:
        """Accept the trial points that rise enough, and choose the next ones."""
        if not len(self):
            return
        state = self.state
        promised = (state["gradient"] * state["direction"]).sum(dim=1)
        least = state["past"].amin(dim=1)
        rises = state["trial_value"] >= least + _RISE * state["share"] * promised
        # A step so short that float32 does not see it is taken: the gradient is known there too.
        rises |= state["share"] < 2.0**-20
        first = torch.isinf(state["value"])
        moved = state["trial"] - state["x"]
        turned = ((state["gradient"] - state["trial_gradient"]) * moved).sum(dim=1)
        square = (moved * moved).sum(dim=1)
        size, steep = self.space.region.size, state["trial_gradient"].norm(dim=1).clamp(min=1e-30)
        length = torch.where(first | ~(turned > 1e-12 * square), size / steep, square / turned.clamp(min=1e-30))
        length = torch.minimum(length.clamp(min=1e-30), 1e6 * size / steep)
        accept = (rises | first)[:, None]
        state["x"] = torch.where(accept, state["trial"], state["x"])
        state["gradient"] = torch.where(accept, state["trial_gradient"], state["gradient"])
        ahead = self.space.region.project(state["trial"] + length[:, None] * state["trial_gradient"]) - state["trial"]
        state["direction"] = torch.where(accept, ahead, state["direction"])
        state["value"] = torch.where(accept[:, 0], state["trial_value"], state["value"])
        shifted = torch.cat([state["past"][:, 1:], state["trial_value"][:, None]], dim=1)
        shifted = torch.where(first[:, None], state["trial_value"][:, None].expand_as(shifted), shifted)
        state["past"] = torch.where(accept, shifted, state["past"])
        state["share"] = torch.where(accept[:, 0], 1.0, state["share"] / 3)
        state["trial"] = state["x"] + state["share"][:, None] * state["direction"]
