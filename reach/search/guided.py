"""Prompts of real tokens led by gradients: our own batched search, the nanoGCG library, and turns with chance.

Reference:
    Zou, Wang, Carlini, Nasr, Kolter & Fredrikson (2023), *Universal and Transferable Adversarial Attacks on Aligned
    Language Models*, arXiv:2307.15043: greedy coordinate gradient. Our own search lets the prompts of many targets
    share each batch, and every candidate counts for whatever token it brings up. nanoGCG
    (https://github.com/GraySwanAI/nanoGCG) works on one target after the other.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reach.search.budget import BatchSize, is_out_of_memory
from reach.search.ledger import Attempts
from reach.search.live import Pass, Winners, lack_of, rivals, winners
from reach.search.prompts import Prompts
from reach.search.starts import Task
from solvers.errors import MissingExtra

_CANDIDATES = 24
_BEST = 32
"""Swaps per position that are drawn from: those which the gradient likes best."""


class Guided:
    """Attempts at many targets, a batch of which moves on together."""

    def __init__(self, prompts: Prompts, task: Task) -> None:
        self._prompts, self._task, settings = prompts, task, task.settings
        self._steps = max(4, settings.steps // 3)
        # One prompt of a step takes a gradient and many candidates.
        kind = f"guided {task.level}"
        self._size = BatchSize(settings.batch, settings.device, prompts.live.v, prompts.size.pace, kind)
        self._queue = Attempts(prompts.ledger, task.level, task.targets, settings.restarts)
        self._token = np.zeros(0, dtype=np.int64)
        self._attempt, self._age = self._token.copy(), self._token.copy()
        self._ids = torch.zeros((0, task.length), dtype=torch.int64, device=prompts.live.device)

    def step(self) -> bool:
        """One swap for each prompt of the batch; false when every target has been found or tried out."""
        self._retire()
        prompts = self._prompts
        began = prompts.ledger.clock()
        room = max(1, min(prompts.size.at(self._task.length) // 8, self._size.at(self._task.length)))
        self._put_back(2 * room)
        self._fill(room)
        if not len(self._token):
            return False
        target = torch.from_numpy(self._token).to(prompts.live.device)
        try:
            self._ids = _swap(prompts, self._task.level, self._ids, target, self._task.generator)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            prompts.size.shrink(len(self._token))
            return True
        self._size.note(len(self._token), self._task.length, prompts.ledger.clock() - began)
        self._age += 1
        np.add.at(prompts.ledger.effort[self._task.level], self._token, 1)
        return True

    def _retire(self) -> None:
        """Drop prompts whose token is found or that have had their steps."""
        self._keep(~self._queue.over(self._token, self._attempt, self._age >= self._steps))

    def _put_back(self, most: int) -> None:
        """No more prompts than that: steps have become slow. The targets of the others come next."""
        self._queue.put_back(self._token[most:], self._attempt[most:])
        self._keep(np.arange(len(self._token)) < most)

    def _keep(self, mask: Bool[np.ndarray, " b"]) -> None:
        self._ids = self._ids[torch.from_numpy(mask).to(self._ids.device)]
        self._token, self._attempt, self._age = self._token[mask], self._attempt[mask], self._age[mask]

    def _fill(self, room: int) -> None:
        """Put new targets where there is room for so many in all."""
        prompts = self._prompts
        token, attempt = self._queue.draw(room - len(self._token))
        if not len(token):
            return
        new = self._task.starts.ids(token, attempt, self._task.length)
        new = _as_text(prompts, new, self._task.generator) if self._task.level == "text" else new
        self._ids = torch.cat([self._ids, new])
        self._token, self._attempt = np.concatenate([self._token, token]), np.concatenate([self._attempt, attempt])
        self._age = np.pad(self._age, (0, len(token)))


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
        lack[part] = lack_of(passed.logits, rivals(found, mine), mine)

    prompts.run(flat, "gradient-guided", visit=visit, level=level)
    return flat.view(b, _CANDIDATES, k)[torch.arange(b, device=live.device), lack.view(b, -1).argmin(1)]


def _gradient(
    prompts: Prompts, level: str, ids: Int[Tensor, "b k"], target: Int[Tensor, " b"]
) -> Float[Tensor, "b k d"]:
    """Slope of each target's lack of margin in the embeddings of its prompt."""
    live = prompts.live
    e = live.rows[ids].requires_grad_()
    passed = live.run(e, gradient=True, last=True)
    prompts.ledger.inputs[level] += len(ids)
    lack = live.lack(passed, winners(passed.logits), target)
    (gradient,) = torch.autograd.grad(lack.sum(), e)
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


# --- by the nanoGCG library, one target after the other -------------------------------------------------------------


SEARCH_WIDTH, TOPK = 16, 16
"""Candidates per step, and swaps per position that they are drawn from: what did best on small models."""


def require_nanogcg() -> Any:
    """The library's module.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import nanogcg.gcg
    except ImportError:
        raise MissingExtra(
            "--guided nanogcg needs: pip install 'nanogcg<0.3', or leave it out for our own search"
        ) from None
    logging.getLogger("nanogcg").setLevel(logging.CRITICAL)
    return nanogcg.gcg


class NumberText:
    """A tokenizer to the library's eyes that writes ids as numbers: so every id can be a target, whatever its text,
    and the fixed tokens stay what they are. Prompts that must survive as text and do not are written as nothing.
    """

    chat_template = "none"
    bos_token = None

    def __init__(self, survives: Any = None) -> None:
        self._survives = survives

    def __call__(self, text: str | Sequence[str], **_: Any) -> Any:
        """Ids of one text or of several of the same length."""
        from transformers import BatchEncoding

        texts = [text] if isinstance(text, str) else list(text)
        rows = [[int(one) for one in part.split()] for part in texts]
        return BatchEncoding({"input_ids": torch.tensor(rows, dtype=torch.int64).reshape(len(rows), -1)})

    def batch_decode(self, ids: Any) -> list[str]:
        """Numbers with spaces between."""
        rows = ids.tolist()
        return [_numbers(row) if self._survives is None or self._survives(row) else "" for row in rows]

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
        """The messages, one after the other."""
        return "".join(message["content"] for message in messages)


@contextlib.contextmanager
def _quick_and_quiet(library: Any) -> Iterator[None]:
    """The library writes to the terminal whatever it is told, and collects garbage after every batch, which takes far
    longer than the batch of a small model: both are left out.
    """
    import nanogcg.utils

    idle = SimpleNamespace(collect=lambda: 0)
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(library, "gc", idle),
        mock.patch.object(nanogcg.utils, "gc", idle),
    ):
        yield


def _numbers(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def nano_guided(prompts: Prompts, task: Task, *, search_width: int = SEARCH_WIDTH, topk: int = TOPK) -> None:
    """Search prompts of one length for each target in turn. What the library returns is run again by `prompts`, which
    credits it: its losses are not believed.

    Args:
        prompts: what runs prompts and keeps finds.
        task: of the levels `tokens` and `text`.
        search_width, topk: candidates per step, and swaps per position that they are drawn from.

    Raises:
        MissingExtra: the library is not installed.
    """
    library = require_nanogcg()
    ledger, level, settings = prompts.ledger, task.level, task.settings
    survives = prompts.trip.survives if level == "text" else None
    queue = Attempts(ledger, level, task.targets, settings.restarts)

    class Timed(library.GCG):  # type: ignore[name-defined]
        def compute_token_gradient(self, optim_ids: Any) -> Any:
            if task.time_is_up():
                self.stop_flag = True
            return super().compute_token_gradient(optim_ids)

    before, after = _numbers(prompts.live.before), _numbers(prompts.live.after)
    while not task.time_is_up():
        tokens, attempts = queue.draw(1)
        if not len(tokens):
            return
        start = task.starts.ids(tokens, attempts, task.length)[0].tolist()
        config = library.GCGConfig(
            num_steps=max(4, settings.steps // 3), optim_str_init=_numbers(start), search_width=search_width,
            topk=min(topk, len(prompts.live.rows)), early_stop=True, filter_ids=survives is not None,
            # The library's cache is of a form that newer versions of transformers no longer take.
            use_prefix_cache=False, allow_non_ascii=True,
        )  # fmt: skip
        engine = Timed(prompts.live.model, NumberText(survives), config)
        with _quick_and_quiet(library):
            strings = _tried(engine, f"{before} {{optim_str}} {after}", int(tokens[0]))
        ledger.inputs[level] += len(strings) * search_width
        ledger.effort[level][tokens] += len(strings)
        seen = [row for row in dict.fromkeys(strings) if row]
        if seen:
            prompts.run(torch.tensor([[int(one) for one in row.split()] for row in seen]), "nanogcg", level=level)
        queue.over(tokens, attempts, np.ones(1, dtype=bool))
        task.progress()


def _tried(engine: Any, prompt: str, token: int) -> list[str]:
    """The prompts that one attempt at a token went through."""
    try:
        strings: list[str] = engine.run(prompt, str(token)).strings
    except RuntimeError as error:
        if "same after decoding" not in str(error):
            raise
        return []  # no swap of this start survives as text
    return strings


# --- guided and random prompts, whichever find more -----------------------------------------------------------------

_RANDOM = 512
_LOOK_AGAIN = 8
"""Every so many turns the other way is tried: which is better changes as the easy tokens run out."""
_MEMORY = 0.8


@dataclass
class _Yield:
    """Tokens found and seconds spent by one way, older turns counting less."""

    found: float = 0.0
    seconds: float = 0.0

    def note(self, found: int, seconds: float) -> None:
        self.found = _MEMORY * self.found + found
        self.seconds = _MEMORY * self.seconds + seconds

    @property
    def rate(self) -> float:
        return self.found / self.seconds if self.seconds > 0 else float("inf")


def search_prompts(prompts: Prompts, task: Task, *, chance: bool = True) -> None:
    """Search prompts of one length for all targets, until each has been found or tried out, or time is up.

    Args:
        prompts: what runs prompts and keeps finds.
        task: of the levels `tokens` and `text`.
        chance: give turns to random prompts as well, as long as they find as many tokens per second.

    Raises:
        MissingExtra: the engine asked for is not installed.
    """
    if task.settings.guided == "nanogcg":
        nano_guided(prompts, task)
        return
    guided = Guided(prompts, task)
    ways = (_Yield(), _Yield())
    turn, clock, level = 0, prompts.ledger.clock, task.level
    missing = len(prompts.ledger.missing(level))
    while missing and not task.time_is_up():
        best = int(ways[1].rate > ways[0].rate)
        way = (1 - best if turn % _LOOK_AGAIN == 0 else best) if chance else 0
        started, before = clock(), missing
        if way == 0:
            if not guided.step():
                return
        else:
            drawn = prompts.draw(level, _RANDOM, task.length, task.generator)
            prompts.run(drawn, "random", level=level, time_is_up=task.time_is_up)
        missing = len(prompts.ledger.missing(level))
        ways[way].note(before - missing, clock() - started)
        turn += 1
        task.progress()
