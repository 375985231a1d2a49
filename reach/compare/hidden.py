"""What a search has not found: capture–recapture estimates from independent restarts, against the proved truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from reach.compare.records import judged
from reach.scan.settings import ScanSettings
from reach.scan.state import SPEAKABLE
from reach.strength.capture_recapture import Coverage, Richness, chao1, chao2, good_turing
from solvers import registry
from solvers.backend import Budget
from solvers.backends.random_directions import RandomDirections
from solvers.backends.searching import Searching
from solvers.problem import ArgmaxProblem

RESTARTS = 5
POOL = 1000
"""Tokens that searches by target are restarted on; whoever samples without a target sees the whole vocabulary."""
_SAMPLES = 20_000
_STEPS = 60


def measure_hidden(
    problem: ArgmaxProblem, truth: np.ndarray, seed: int, progress: Callable[[str, int], object]
) -> list[dict[str, Any]]:
    """Estimates of the speakable tokens that each incomplete method has not found, with the truth beside them.

    Args:
        problem: with equal rows merged.
        truth: `(v,)` per row speakable, unspeakable or undecided.
        seed: of the pool and the restarts.
        progress: called with (method, restarts finished).
    """
    rng = np.random.default_rng(seed)
    pool = np.sort(rng.choice(problem.v, size=min(POOL, problem.v), replace=False))
    results = [_random_directions(problem, truth, seed)]
    progress("random-directions", RESTARTS)
    for name in ("reflection", "adam", "sgd", "lbfgs"):
        if registry.backend(name).why_not(problem) is None:
            results.append(_by_restarts(name, problem, pool, truth, seed))
        progress(name, RESTARTS)
    return results


def _random_directions(problem: ArgmaxProblem, truth: np.ndarray, seed: int) -> dict[str, Any]:
    """Every random state names a winner, so how often each token was seen says how many were never seen."""
    backend = RandomDirections()
    backend.prepare(problem)
    for restart in range(RESTARTS):
        backend.seed = seed + restart
        backend.solve(torch.arange(problem.v), Budget(iterations=_SAMPLES))
    counts = backend.hit_counts.numpy()
    speakable = int((truth == "speakable").sum())
    return {
        "method": "random-directions",
        "restarts": RESTARTS,
        "budget": f"{_SAMPLES} random states per restart",
        "pool": problem.v,
        "found": int((counts > 0).sum()),
        "truth": speakable,
        "undecided": int((truth == "undecided").sum()),
        "wrong": int(((counts > 0) & (truth == "unspeakable")).sum()),
        "estimates": [_richness(chao1(counts), speakable)],
        "unseen": _coverage(good_turing(counts)),
    }


def _by_restarts(name: str, problem: ArgmaxProblem, pool: np.ndarray, truth: np.ndarray, seed: int) -> dict[str, Any]:
    """Restarts from other starting points: which tokens of the pool did each of them find, by the checkers' word?"""
    found = np.zeros((RESTARTS, len(pool)), dtype=bool)
    for restart in range(RESTARTS):
        backend = registry.backend(name)()
        assert isinstance(backend, Searching)
        backend.prepare(problem)
        # Independent starts: from the usual one all restarts would find the same tokens, and look complete.
        backend.random_start = 1000 * seed + restart
        answer = backend.solve(torch.from_numpy(pool), Budget(iterations=_STEPS))
        found[restart] = judged(problem, answer, ScanSettings()).verdict[pool] == SPEAKABLE
    mine = truth[pool]
    speakable = int((mine == "speakable").sum())
    any_run = found.any(axis=0)
    return {
        "method": name,
        "restarts": RESTARTS,
        "budget": f"{_STEPS} steps per restart",
        "pool": len(pool),
        "found": int(any_run.sum()),
        "found_per_restart": found.sum(axis=1).tolist(),
        "truth": speakable,
        "undecided": int((mine == "undecided").sum()),
        "wrong": int((any_run & (mine == "unspeakable")).sum()),
        "estimates": [_richness(chao2(found), speakable)] if any_run.any() else [],
        "unseen": _coverage(good_turing(found.sum(axis=0))) if any_run.any() else None,
    }


def _richness(estimate: Richness, truth: int) -> dict[str, Any]:
    return {
        **asdict(estimate),
        "missed": estimate.missed,
        "holds_truth": bool(estimate.low <= truth <= estimate.high),
    }


def _coverage(coverage: Coverage) -> dict[str, Any]:
    return asdict(coverage)
