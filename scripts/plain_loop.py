"""The plain way, to measure against: one target at a time, one input at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Int64

from reach.search.levels import freedom
from reach.search.live import LiveModel
from reach.search.optimisers import row_optimiser


def plain_loop(
    live: LiveModel,
    level: str,
    length: int,
    targets: Int64[np.ndarray, " n"],
    steps: int,
    optimiser: str,
    time_is_up: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> tuple[Bool[np.ndarray, " m"], int]:
    """Downhill on the margin from the token's own embedding, until the token is on top or the steps are spent.

    The optimiser is the search's own, for one row, so that both sides take the same steps.

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
        x = space.from_ids(ids)
        downhill = row_optimiser(optimiser, 1, x[0].numel(), None, space.scale, live.device)
        hit = False
        for _ in range(steps):
            taken += 1
            x = x.detach().requires_grad_()
            passed = live.model_logits(space.embed(x))
            rivals = passed.clone()
            rivals[0, token] = -torch.inf
            loss = rivals.max() - passed[0, token]
            if float(loss.detach()) < -live.rounding:
                hit = True
                break
            (gradient,) = torch.autograd.grad(loss, x)
            flat = x.detach().view(1, -1), gradient.view(1, -1), loss.detach().view(1)
            x = downhill.step(*flat).view(x.shape)
        hits.append(hit)
    return np.array(hits, dtype=bool), taken
