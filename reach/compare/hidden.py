"""What a search has not found: capture–recapture estimates from independent restarts, against the proved truth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Int
from msgspec import structs

from reach.compare.record import Estimate, Hidden
from reach.compare.rounds import judged
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE
from reach.strength.capture_recapture import Richness, chao1, chao2, good_turing
from solvers import registry
from solvers.attempt import Status
from solvers.backend import Budget
from solvers.backends.random_directions import RandomDirections
from solvers.backends.searching import Searching
from solvers.problem import ArgmaxProblem

RESTARTS = 5
POOL = 1000
"""Tokens that searches by target are restarted on; whoever samples without a target sees the whole vocabulary."""
METHODS = ("random-directions", "reflection", "adam", "sgd", "lbfgs")
_SAMPLES = 20_000
_STEPS = 60
_LEAST_SECONDS = 1e-3


def measure_hidden(
    problem: ArgmaxProblem,
    truth: np.ndarray,
    seed: int,
    progress: Callable[[str, int], object],
    seconds: float = math.inf,
) -> list[Hidden]:
    """Estimates of the speakable tokens that each incomplete method has not found, with the truth beside them.

    Args:
        problem: with equal rows merged.
        truth: `(v,)` per row speakable, unspeakable or undecided.
        seed: of the pool and the restarts.
        progress: called with (method, restarts finished).
        seconds: for each method, and for those after it what it leaves; its restarts share them evenly, and say where
            that was too little.
    """
    rng = np.random.default_rng(seed)
    pool = np.sort(rng.choice(problem.v, size=min(POOL, problem.v), replace=False))
    results = []
    ends = time.perf_counter() + len(METHODS) * seconds
    for number, name in enumerate(METHODS):
        mine = max(0.0, ends - time.perf_counter()) / (len(METHODS) - number)
        if name == RandomDirections.name:
            results.append(_random_directions(problem, truth, seed, mine))
        elif registry.backend(name).why_not(problem) is None:
            results.append(_by_restarts(name, problem, pool, truth, seed, mine))
        progress(name, RESTARTS)
    return results


class _Shares:
    """Seconds of one method, shared evenly among its restarts, and whether that was enough for all of them."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.perf_counter() + seconds
        self.cut = False

    def budget(self, restart: int, iterations: int) -> Budget:
        """Of one restart."""
        left = max(_LEAST_SECONDS, self._ends - time.perf_counter())
        return Budget(seconds=left / (RESTARTS - restart), iterations=iterations)

    def words(self, effort: str) -> str:
        """What each restart was given."""
        return f"{effort} per restart" + (", less where time ran out" if self.cut else "")


def _random_directions(problem: ArgmaxProblem, truth: np.ndarray, seed: int, seconds: float) -> Hidden:
    """Every random state names a winner, so how often each token was seen says how many were never seen."""
    backend = RandomDirections()
    shares = _Shares(seconds)
    backend.prepare(problem)
    for restart in range(RESTARTS):
        backend.seed = seed + restart
        backend.solve(torch.arange(problem.v), shares.budget(restart, _SAMPLES))
    shares.cut = backend.samples < RESTARTS * _SAMPLES
    counts = backend.hit_counts.numpy()
    return _hidden(
        RandomDirections.name,
        shares.words(f"{_SAMPLES} random states"),
        shares.cut,
        counts,
        truth,
        lambda speakable: _estimate(chao1(counts), speakable),
    )


def _by_restarts(
    name: str, problem: ArgmaxProblem, pool: np.ndarray, truth: np.ndarray, seed: int, seconds: float
) -> Hidden:
    """Restarts from other starting points: which tokens of the pool did each of them find, by the checkers' word?"""
    found = np.zeros((RESTARTS, len(pool)), dtype=bool)
    shares = _Shares(seconds)
    for restart in range(RESTARTS):
        backend = registry.backend(name)()
        assert isinstance(backend, Searching)
        backend.prepare(problem)
        # Independent starts: from the usual one all restarts would find the same tokens, and look complete.
        backend.random_start = 1000 * seed + restart
        answer = backend.solve(torch.from_numpy(pool), shares.budget(restart, _STEPS))
        shares.cut |= Status.LIMIT in answer.status
        found[restart] = judged(problem, answer, ScanSettings()).verdict[pool] == SPEAKABLE
    counts = found.sum(axis=0)
    shown = _hidden(
        name,
        shares.words(f"{_STEPS} steps"),
        shares.cut,
        counts,
        truth[pool],
        lambda speakable: _estimate(chao2(found), speakable),
    )
    return structs.replace(shown, found_per_restart=tuple(found.sum(axis=1).tolist()))


def _hidden(
    method: str,
    budget: str,
    cut: bool,
    counts: Int[np.ndarray, " p"],
    truth: np.ndarray,
    estimate: Callable[[int], Estimate],
) -> Hidden:
    """What is known once it is counted how often each token of a pool was found."""
    met, speakable = counts > 0, int((truth == "speakable").sum())
    return Hidden(
        method=method,
        restarts=RESTARTS,
        budget=budget,
        cut=cut,
        pool=len(truth),
        found=int(met.sum()),
        truth=speakable,
        undecided=int((truth == "undecided").sum()),
        wrong=int((met & (truth == "unspeakable")).sum()),
        estimates=(estimate(speakable),) if met.any() else (),
        unseen=good_turing(counts) if met.any() else None,
    )


def _estimate(found: Richness, truth: int) -> Estimate:
    return Estimate(**asdict(found), missed=found.missed, holds_truth=bool(found.low <= truth <= found.high))
