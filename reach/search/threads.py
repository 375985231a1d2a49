"""How many threads a pass takes. On small batches two threads wait for each other longer than they work, and where
another program holds a core, ten times as long: so it is measured, now and then, instead of assumed."""

from __future__ import annotations

import time

import torch

from reach.search.live import LiveModel

_ROUNDS = 3


def choose_threads(live: LiveModel, length: int, batch: int, jobs: int) -> int:
    """Set PyTorch's threads to 1 or `jobs`, whichever makes a pass with its slope faster; says which.

    Args:
        live: the model.
        length: free positions.
        batch: inputs at once.
        jobs: cores that may be used.
    """
    if jobs > 1 and live.device.type == "cpu":
        e = live.rows[torch.arange(batch * length) % len(live.rows)].view(batch, length, -1)
        seconds = {threads: _fastest(live, e, threads) for threads in (1, jobs)}
        jobs = min(seconds, key=lambda threads: seconds[threads])
    torch.set_num_threads(jobs)
    return jobs


def _fastest(live: LiveModel, e: torch.Tensor, threads: int) -> float:
    torch.set_num_threads(threads)
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        x = e.clone().requires_grad_()
        passed = live.run(x, gradient=True, last=True)
        states = passed.logits if passed.hidden is None else passed.hidden
        torch.autograd.grad(states.sum(), x)
        best = min(best, time.perf_counter() - started)
    return best
