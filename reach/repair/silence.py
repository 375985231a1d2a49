"""The smallest changes after which tokens can never win.

The margin is a convex function of a token's own numbers, so those at which it is at most −depth form a convex set,
and the nearest of them is a projection. Each point where the token still leads is a tangent, a half-space that holds
the set; the nearest numbers in all half-spaces so far come closer from outside, round after round (Kelley 1960). What
the last bit needs, and what rounding to the stored type takes, is bought by a step towards a place deep inside: the
mean of all rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64, Int
from scipy.optimize import nnls
from torch import Tensor

from reach.heads.head import Head
from reach.repair.changed import Points, changed
from reach.repair.parts import Change, Parts, Space
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import UNSPEAKABLE
from solvers.errors import BadInput

_ROUNDS = 40
_CLOSE = 1e-3
"""Share of the first lead above −depth that may be left to the step inside."""
_PROVED_TO = 0.02
_STEPS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0)


def least_to_silence(
    head: Head,
    tokens: Int[Tensor, " n"],
    depth: float,
    parts: Parts,
    *,
    jobs: int = 1,
    progress: Callable[[int], object] = lambda _: None,
) -> Change:
    """A change, nearly the smallest, after which each of these tokens is proved to stay at least `depth` behind.

    Args:
        head: the head.
        tokens: `(n,)` ids.
        depth: logits; 0 where they are only never to win.
        parts: what may change.
        jobs: cores.
        progress: told after each round.

    Raises:
        BadInput: no such change was found.
    """
    space = Space(head, tokens, parts)
    width = space.features(torch.zeros((len(tokens), head.d), dtype=torch.float64)).shape[1]
    theta = torch.zeros((len(tokens), width), dtype=torch.float64)
    cuts: list[list[tuple[np.ndarray, float]]] = [[] for _ in range(len(tokens))]
    first = None
    for _ in range(_ROUNDS):
        points = Points(changed(head, space.change(theta), as_stored=False).problem(), tokens, jobs)
        progress(1)
        over = (points.lower + depth).nan_to_num(nan=0.0, neginf=0.0)
        first = over.clamp(min=0) if first is None else first
        doing = (over > _CLOSE * first) & torch.isfinite(points.z).all(dim=1)
        if not bool(doing.any()):
            break
        features = space.features(points.z)
        for i in torch.nonzero(doing).flatten().tolist():
            limit = float(features[i] @ theta[i]) - float(over[i])
            cuts[i].append((features[i].numpy().copy(), limit))
            theta[i] = torch.from_numpy(_nearest(cuts[i]))
    return _deep_enough(space, theta, depth, jobs, progress)


def _nearest(cuts: list[tuple[np.ndarray, float]]) -> Float64[np.ndarray, " k"]:
    """The smallest θ with f·θ ≤ limit for all cuts (Lawson and Hanson 1974, chapter 23, least distance programs)."""
    normal, limit = np.stack([f for f, _ in cuts]), np.array([limit for _, limit in cuts])
    size = np.linalg.norm(normal, axis=1)
    normal, limit = normal / size[:, None], limit / size
    unit = np.abs(limit).max() or 1.0
    against = np.zeros(normal.shape[1] + 1)
    against[-1] = 1.0
    stacked = np.vstack([-normal.T, -limit[None] / unit])
    weights, _ = nnls(stacked, against)
    left = stacked @ weights - against
    return unit * (-left[:-1] / left[-1]) if left[-1] < 0 else np.zeros(normal.shape[1])


def _deep_enough(
    space: Space, theta: Float64[Tensor, "n k"], depth: float, jobs: int, progress: Callable[[int], object]
) -> Change:
    """The smallest of a few steps inwards after which a scan of the head, as stored, proves each token silent."""
    head, tokens = space.head, space.tokens
    mean = sum(part.to(torch.float64).sum(dim=0) for part in head.weight.split(4096)) / head.v
    offset = 0.0 if head.bias is None else float(head.bias.to(torch.float64).mean())
    reach = max(depth, float(head.problem().offset.abs().max()), 1.0)
    inside = space.towards(mean, offset, 2 * reach)
    if inside is None:
        # Along the change itself: a shorter row or a lower offset.
        inside = theta - reach if space.parts is Parts.OFFSETS else -space.own.norm(dim=1, keepdim=True)
    settings = ScanSettings(jobs=jobs, margin_gap=_PROVED_TO if depth > 0 else None)
    wanted = tokens.numpy()
    left = np.ones(len(tokens), dtype=bool)
    for step in _STEPS:
        open_ = torch.from_numpy(left)[:, None]
        tried = torch.where(open_, theta + step * (inside - theta), theta)
        after = changed(head, space.change(tried), as_stored=True)
        result = scan(after.problem(), settings, tokens=wanted)
        progress(1)
        rows = result.merged.row_of[wanted]
        alone = result.merged.size[wanted] == 1
        silent = (result.state.verdict[rows] == UNSPEAKABLE) & alone & (result.state.upper[rows] <= -depth)
        theta, left = tried, ~silent
        if not left.any():
            return space.change(theta)
    token = int(wanted[np.flatnonzero(left)[0]])
    more = "" if head.bias is not None else "; without offsets no token can be kept further below than 0"
    raise BadInput(
        f"no change of its {space.parts.value} was proved to keep token {token} {depth:g} logits behind{more}"
    )
