"""Prompts of real tokens led by gradients: many targets at once, one swap per step.

Reference:
    Zou, Wang, Carlini, Nasr, Kolter & Fredrikson (2023), *Universal and Transferable Adversarial Attacks on Aligned
    Language Models*, arXiv:2307.15043: greedy coordinate gradient. Here the prompts of many targets share each batch,
    and every candidate counts for whatever token it brings up.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from reach.search.batching import is_out_of_memory
from reach.search.continuous import Clock, Progress
from reach.search.live import Pass
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.starts import Starts
from reach.search.winners import Winners, winners

_CANDIDATES = 24
_BEST = 32
"""Swaps per position that are drawn from: those which the gradient likes best."""


def guided(
    prompts: Prompts,
    level: str,
    length: int,
    targets: Int64[np.ndarray, " n"],
    starts: Starts,
    settings: SearchSettings,
    time_is_up: Clock,
    generator: torch.Generator,
    progress: Progress = lambda: None,
) -> None:
    """Search prompts of one length for each target; at the level of text only those that survive are tried."""
    live, ledger = prompts.live, prompts.ledger
    found = ledger.found[level]
    queue = deque((int(token), 0) for token in targets)
    steps = max(4, settings.steps // 3)
    token = np.zeros(0, dtype=np.int64)
    attempt, age = token.copy(), token.copy()
    ids = torch.zeros((0, length), dtype=torch.int64, device=live.device)
    while not time_is_up():
        over = found[token] | (age >= steps)
        np.add.at(ledger.tries[level], token[over], 1)
        np.add.at(ledger.wins[level], token[found[token]], 1)
        for row in np.flatnonzero(over & ~found[token]):
            if attempt[row] + 1 < settings.restarts:
                queue.append((int(token[row]), int(attempt[row]) + 1))
        ids, token, attempt, age = ids[torch.from_numpy(~over)], token[~over], attempt[~over], age[~over]
        want = max(1, prompts.size.at(length) // 8) - len(token)
        fresh: list[tuple[int, int]] = []
        while queue and len(fresh) < want:
            one = queue.popleft()
            if not found[one[0]]:
                fresh.append(one)
        if fresh:
            new_token, new_attempt = (np.array(part) for part in zip(*fresh, strict=True))
            new = starts.ids(new_token, new_attempt, length)
            new = _as_text(prompts, new, generator) if level == "text" else new
            ids, token = torch.cat([ids, new]), np.concatenate([token, new_token])
            attempt = np.concatenate([attempt, new_attempt])
            age = np.concatenate([age, np.zeros(len(fresh), dtype=np.int64)])
        if not len(token):
            return
        try:
            ids = _swap(prompts, level, ids, torch.from_numpy(token).to(live.device), generator)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            prompts.size.shrink(len(token))
            continue
        age += 1
        np.add.at(ledger.effort[level], token, 1)
        progress()


def _swap(
    prompts: Prompts, level: str, ids: Int[Tensor, "b k"], target: Int[Tensor, " b"], generator: torch.Generator
) -> Int[Tensor, "b k"]:
    """The best of some single swaps for each prompt."""
    live = prompts.live
    b, k = ids.shape
    gradient = _gradient(prompts, ids, target)
    liked = (-gradient @ live.rows.T).topk(min(_BEST, len(live.rows)), dim=2).indices
    position = torch.randint(0, k, (b, _CANDIDATES), generator=generator).to(live.device)
    rank = torch.randint(0, liked.shape[2], (b, _CANDIDATES), generator=generator).to(live.device)
    chosen = liked[torch.arange(b, device=live.device)[:, None], position, rank]
    tried = ids[:, None].expand(b, _CANDIDATES, k).clone()
    tried.scatter_(2, position[..., None], chosen[..., None])
    flat = tried.reshape(-1, k)
    if level == "text":
        alive = torch.tensor([prompts.trip.survives(one) for one in flat.tolist()], device=live.device)
        flat = torch.where(alive[:, None], flat, ids.repeat_interleave(_CANDIDATES, 0))
    lack = torch.zeros(len(flat), device=live.device)
    wanted = target.repeat_interleave(_CANDIDATES)

    def visit(part: slice, passed: Pass, found: Winners) -> None:
        mine = wanted[part]
        best = torch.where(found.top[:, -1] == mine, found.second[:, -1], found.top[:, -1])
        last = passed.logits[:, -1]
        lack[part] = last.gather(1, best[:, None])[:, 0] - last.gather(1, mine[:, None])[:, 0]

    prompts.run(flat, "gradient-guided", visit=visit, level=level)
    return flat.view(b, _CANDIDATES, k)[torch.arange(b, device=live.device), lack.view(b, -1).argmin(1)]


def _gradient(prompts: Prompts, ids: Int[Tensor, "b k"], target: Int[Tensor, " b"]) -> Float[Tensor, "b k d"]:
    """Slope of each target's lack of margin in the embeddings of its prompt."""
    live = prompts.live
    e = live.rows[ids].requires_grad_()
    passed = live.run(e, gradient=True)
    found = winners(passed.logits)
    prompts.ledger.inputs["tokens"] += len(ids)
    rival = torch.where(found.top[:, -1] == target, found.second[:, -1], found.top[:, -1])
    if passed.hidden is not None:
        margin = live.row_margin(passed.hidden[:, -1], target, rival)
    else:
        last = passed.logits[:, -1]
        margin = last.gather(1, target[:, None])[:, 0] - last.gather(1, rival[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(-margin.sum(), e)
    return gradient


def _as_text(prompts: Prompts, ids: Int[Tensor, "n k"], generator: torch.Generator) -> Int[Tensor, "n k"]:
    """The prompts that survive, others replaced by random ones that do."""
    alive = torch.tensor([prompts.trip.survives(one) for one in ids.tolist()])
    lost = int((~alive).sum())
    if lost:
        spare = prompts.random_text(4 * lost + 8, ids.shape[1], generator)
        spare = spare[[prompts.trip.survives(one) for one in spare.tolist()]][:lost].to(ids.device)
        at = torch.nonzero(~alive)[: len(spare), 0].to(ids.device)
        ids[at] = spare
    return ids
