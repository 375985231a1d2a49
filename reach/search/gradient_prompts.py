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

from reach.search.batching import BatchSize, is_out_of_memory
from reach.search.live import Pass
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.starts import Starts
from reach.search.winners import Winners, winners

_CANDIDATES = 24
_BEST = 32
"""Swaps per position that are drawn from: those which the gradient likes best."""


class Guided:
    """Attempts at many targets, a batch of which moves on together."""

    def __init__(
        self,
        prompts: Prompts,
        level: str,
        length: int,
        targets: Int64[np.ndarray, " n"],
        starts: Starts,
        settings: SearchSettings,
        generator: torch.Generator,
    ) -> None:
        """Args: as `reach.search.discrete.search_prompts` says."""
        self._prompts, self._level, self._length = prompts, level, length
        self._starts, self._generator = starts, generator
        self._steps, self._restarts = max(4, settings.steps // 3), settings.restarts
        # One prompt of a step takes a gradient and many candidates.
        self._size = BatchSize(settings.batch, settings.device, prompts.live.v, prompts.size.pace, f"guided {level}")
        self._queue = deque((int(token), 0) for token in targets)
        self._token = np.zeros(0, dtype=np.int64)
        self._attempt, self._age = self._token.copy(), self._token.copy()
        self._ids = torch.zeros((0, length), dtype=torch.int64, device=prompts.live.device)

    def step(self) -> bool:
        """One swap for each prompt of the batch; false when every target has been found or tried out."""
        self._retire()
        prompts = self._prompts
        began = prompts.ledger.clock()
        room = max(1, min(prompts.size.at(self._length) // 8, self._size.at(self._length)))
        self._put_back(2 * room)
        self._fill(room)
        if not len(self._token):
            return False
        target = torch.from_numpy(self._token).to(prompts.live.device)
        try:
            self._ids = _swap(prompts, self._level, self._ids, target, self._generator)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            prompts.size.shrink(len(self._token))
            return True
        self._size.note(len(self._token), self._length, prompts.ledger.clock() - began)
        self._age += 1
        np.add.at(prompts.ledger.effort[self._level], self._token, 1)
        return True

    def _retire(self) -> None:
        """Drop prompts whose token is found or that have had their steps; what may be tried again goes last."""
        ledger = self._prompts.ledger
        found = ledger.found[self._level][self._token]
        over = found | (self._age >= self._steps)
        np.add.at(ledger.tries[self._level], self._token[over], 1)
        np.add.at(ledger.wins[self._level], self._token[found], 1)
        for row in np.flatnonzero(over & ~found):
            if self._attempt[row] + 1 < self._restarts:
                self._queue.append((int(self._token[row]), int(self._attempt[row]) + 1))
        self._ids = self._ids[torch.from_numpy(~over).to(self._ids.device)]
        self._token, self._attempt, self._age = self._token[~over], self._attempt[~over], self._age[~over]

    def _put_back(self, most: int) -> None:
        """No more prompts than that: steps have become slow. The targets of the others come next."""
        self._queue.extendleft(zip(self._token[most:].tolist(), self._attempt[most:].tolist(), strict=True))
        self._ids = self._ids[:most]
        self._token, self._attempt, self._age = self._token[:most], self._attempt[:most], self._age[:most]

    def _fill(self, room: int) -> None:
        """Put new targets where there is room for so many in all."""
        prompts, found = self._prompts, self._prompts.ledger.found[self._level]
        fresh: list[tuple[int, int]] = []
        while self._queue and len(fresh) < room - len(self._token):
            one = self._queue.popleft()
            if not found[one[0]]:
                fresh.append(one)
        if not fresh:
            return
        token, attempt = (np.array(part) for part in zip(*fresh, strict=True))
        new = self._starts.ids(token, attempt, self._length)
        new = _as_text(prompts, new, self._generator) if self._level == "text" else new
        self._ids = torch.cat([self._ids, new])
        self._token, self._attempt = np.concatenate([self._token, token]), np.concatenate([self._attempt, attempt])
        self._age = np.concatenate([self._age, np.zeros(len(fresh), dtype=np.int64)])


def _swap(
    prompts: Prompts, level: str, ids: Int[Tensor, "b k"], target: Int[Tensor, " b"], generator: torch.Generator
) -> Int[Tensor, "b k"]:
    """The best of some single swaps for each prompt."""
    live = prompts.live
    b, k = ids.shape
    gradient = _gradient(prompts, level, ids, target)
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


def _gradient(
    prompts: Prompts, level: str, ids: Int[Tensor, "b k"], target: Int[Tensor, " b"]
) -> Float[Tensor, "b k d"]:
    """Slope of each target's lack of margin in the embeddings of its prompt."""
    live = prompts.live
    e = live.rows[ids].requires_grad_()
    passed = live.run(e, gradient=True, last=True)
    found = winners(passed.logits)
    prompts.ledger.inputs[level] += len(ids)
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
