"""Gradient ascent on the margin, many rows at once, from several starts: what most people would write."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts
from solvers.backend import Budget, Capabilities
from solvers.backends.searching import Found, Searching, price, rows_per_block, threads_for
from solvers.problem import ArgmaxProblem

RESTARTS = 3
"""Starts per row: the row less the mean first, then points at random."""
SEED = 0


class Ascent(Searching):
    """Restarts, blocks and clocks; subclasses climb."""

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Climb from each start until a row wins or the steps are used up."""
        with threads_for(self.space, len(rows)):
            return self._solve(rows, budget)

    def _solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        started = time.perf_counter()
        space = self.space
        self.effective_options = dict(options.values(self.name, budget)) | {"restarts": RESTARTS}
        steps = int(options.number(self.name, "steps_per_restart", budget))
        tokens = rows.to(space.device)
        found = Found(space, tokens)
        run = Run(found, steps, started, budget)
        block = rows_per_block(space, buffers=4)
        for start in range(0, len(tokens), block):
            place = torch.arange(start, min(start + block, len(tokens)), device=space.device)
            generator = torch.Generator(space.device).manual_seed(SEED + 1 + (self.random_start or 0))
            for restart in range(RESTARTS):
                anywhere = restart > 0
                z = space.sample(len(place), generator) if anywhere else self.starts(tokens[place])
                left = self.climb(place, z, run)
                over = time.perf_counter() - started > budget.seconds
                if over or not len(left):
                    break
                place = left
            found.ended[start : start + block] = True
            if over:
                found.ended[left] = False
            budget.progress(self.name, min(block, len(tokens) - start))
            if over:
                break
        return found.attempts(rows.cpu(), run.work, time.perf_counter() - started)

    @abstractmethod
    def climb(self, place: Int[Tensor, " m"], z: Float32[Tensor, "m e"], run: Run) -> Int[Tensor, " left"]:
        """Climb with the rows at these places; returns the places of the rows that still do not win."""


class Run:
    """What the climbs of one call share: the rows, what was found, when to stop, and what was done."""

    def __init__(self, found: Found, steps: int, started: float, budget: Budget) -> None:
        self.tokens, self.found, self.steps = found.tokens, found, steps
        self.started, self.budget = started, budget
        self.work = {"steps": 0.0, "priced_rows": 0.0}

    def over(self) -> bool:
        """Whether the seconds are used up."""
        return time.perf_counter() - self.started > self.budget.seconds

    def step(
        self, place: Int[Tensor, " m"], z: Float32[Tensor, "m e"]
    ) -> tuple[Bool[Tensor, " m"], Int[Tensor, " m"]]:
        """Price the points of the rows at these places and keep the best; says who goes on, and the rivals.

        A row that wins is finished, unless its margin is asked for.
        """
        margin, rival = price(self.found.space, z, self.tokens[place])
        self.work["steps"] += 1
        self.work["priced_rows"] += len(place)
        wins = self.found.offer(place, z, margin)
        return (~wins if self.budget.margin_gap is None else torch.ones_like(wins)), rival


class _FirstOrder(Ascent):
    """Steps along the gradient of the hard margin, A[t] − A[j] for the current winner j, and back into the domain."""

    first_step: ClassVar[float]
    """Length of the first steps, as a share of the domain's size."""

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem, and its size."""
        super().prepare(problem)
        self._width = self.first_step * self.space.region.half_width.to(self.space.device, torch.float32)
        self._typical = self.space.square_norm32.sqrt().median().clamp(min=1e-30) / math.sqrt(self.space.e)

    def climb(self, place: Int[Tensor, " m"], z: Float32[Tensor, "m e"], run: Run) -> Int[Tensor, " left"]:
        """Climb with step lengths that fall along a half cosine (Loshchilov & Hutter 2017)."""
        space = self.space
        memory = [torch.zeros_like(z), torch.zeros_like(z)]
        for step in range(run.steps):
            keep, rival = run.step(place, z)
            place, z, rival, memory = place[keep], z[keep], rival[keep], [part[keep] for part in memory]
            if not len(place) or run.over():
                break
            gradient = space.rows32[run.tokens[place]] - space.rows32[rival]
            share = 0.5 * (1 + math.cos(math.pi * step / run.steps)) + 1e-3
            z = space.region.project(z + share * self._width * self.direction(gradient, memory, step + 1))
        return place

    def direction(
        self, gradient: Float32[Tensor, "m e"], memory: list[Float32[Tensor, "m e"]], step: int
    ) -> Float32[Tensor, "m e"]:
        """The step in units of the domain's size, with entries of about 1."""
        raise NotImplementedError


class Adam(_FirstOrder):
    """Adam (Kingma & Ba 2015) on the margin, projected to the domain.

    Prefer it where a first idea is wanted in a few lines; the nearest-point methods find the same points faster, and
    know when there is none. What it claims about the rows it leaves is only that it gave up.
    """

    name = "adam"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batched=True, devices=("cpu", "cuda"), note="what most people would write; proves nothing"
    )
    first_step = 0.3

    def direction(
        self, gradient: Float32[Tensor, "m e"], memory: list[Float32[Tensor, "m e"]], step: int
    ) -> Float32[Tensor, "m e"]:
        """First moment over the root of the second, both corrected for their start at 0."""
        memory[0] = 0.9 * memory[0] + 0.1 * gradient
        memory[1] = 0.999 * memory[1] + 0.001 * gradient**2
        first, second = memory[0] / (1 - 0.9**step), memory[1] / (1 - 0.999**step)
        return first / (second.sqrt() + 1e-8 * second.sqrt().amax(dim=1, keepdim=True).clamp(min=1e-30))


class Sgd(_FirstOrder):
    """Gradient steps with momentum on the margin, projected to the domain.

    The gradient of row t is divided by its typical size, the median row norm, so that one step length suits all
    heads. Prefer Adam, or better a nearest-point method.
    """

    name = "sgd"
    capabilities: ClassVar[Capabilities] = Capabilities(
        batched=True, devices=("cpu", "cuda"), note="the simplest ascent; proves nothing"
    )
    first_step = 0.1

    def direction(
        self,
        gradient: Float32[Tensor, "m e"],
        memory: list[Float32[Tensor, "m e"]],
        step: int,  # noqa: ARG002
    ) -> Float32[Tensor, "m e"]:
        """The gradient with momentum 0.9."""
        memory[0] = 0.9 * memory[0] + gradient / self._typical
        return memory[0]
