"""The plain way, to measure against: one target at a time, one input at a time, PyTorch's own optimiser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Int64

from reach.search.levels import freedom
from reach.search.live import LiveModel
from reach.search.optimisers import DEFAULT_RATES


def plain_loop(
    live: LiveModel,
    level: str,
    length: int,
    targets: Int64[np.ndarray, " n"],
    steps: int,
    time_is_up: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> tuple[Bool[np.ndarray, " m"], int]:
    """Adam on the margin from the token's own embedding, until the token is on top or the steps are spent.

    Returns:
        Whether each target that was tried was reached, and the steps taken.
    """
    space = freedom(level, live.rows)
    generator = torch.Generator().manual_seed(seed)
    hits, taken = [], 0
    for token in targets.tolist():
        if time_is_up():
            break
        ids = torch.randint(0, len(live.rows), (1, length), generator=generator).to(live.device)
        ids[0, -1] = min(token, len(live.rows) - 1)
        x = space.from_ids(ids).clone().requires_grad_()
        optimiser = torch.optim.Adam([x], lr=DEFAULT_RATES["adam"] * space.scale, betas=(0.9, 0.99))
        hit = False
        for _ in range(steps):
            taken += 1
            passed = live.model_logits(space.embed(x))
            rivals = passed.clone()
            rivals[0, token] = -torch.inf
            loss = rivals.max() - passed[0, token]
            if float(loss.detach()) < -live.rounding:
                hit = True
                break
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        hits.append(hit)
    return np.array(hits, dtype=bool), taken
