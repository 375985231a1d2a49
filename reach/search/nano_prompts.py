"""Prompts of real tokens led by gradients, one target after the other, by the nanoGCG library.

Reference:
    Zou, Wang, Carlini, Nasr, Kolter & Fredrikson (2023), *Universal and Transferable Adversarial Attacks on Aligned
    Language Models*, arXiv:2307.15043, as implemented by nanoGCG (https://github.com/GraySwanAI/nanoGCG).
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from jaxtyping import Int64

from reach.search.continuous import Clock, Progress
from reach.search.prompts import Prompts
from reach.search.settings import SearchSettings
from reach.search.starts import Starts
from solvers.errors import MissingExtra

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
            "--guided nanogcg needs: pip install 'token-reachability[gcg]', or leave it out for our own search"
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


def nano_guided(
    prompts: Prompts,
    level: str,
    length: int,
    targets: Int64[np.ndarray, " n"],
    starts: Starts,
    settings: SearchSettings,
    time_is_up: Clock,
    progress: Progress = lambda: None,
    *,
    search_width: int = SEARCH_WIDTH,
    topk: int = TOPK,
) -> None:
    """Search prompts of one length for each target in turn. What the library returns is run again by `prompts`, which
    credits it: its losses are not believed.

    Args:
        prompts: what runs prompts and keeps finds.
        level: `tokens` or `text`.
        length: free positions.
        targets: tokens to look for.
        starts: where attempts begin.
        settings: steps and restarts.
        time_is_up: asked at every step.
        progress: called after every attempt.
        search_width, topk: candidates per step, and swaps per position that they are drawn from.

    Raises:
        MissingExtra: the library is not installed.
    """
    library = require_nanogcg()
    ledger, found = prompts.ledger, prompts.ledger.found[level]
    survives = prompts.trip.survives if level == "text" else None
    steps = max(4, settings.steps // 3)
    queue = deque((int(token), 0) for token in targets)

    class Timed(library.GCG):  # type: ignore[name-defined]
        def compute_token_gradient(self, optim_ids: Any) -> Any:
            if time_is_up():
                self.stop_flag = True
            return super().compute_token_gradient(optim_ids)

    while queue and not time_is_up():
        token, attempt = queue.popleft()
        if found[token]:
            continue
        start = starts.ids(np.array([token]), np.array([attempt]), length)[0].tolist()
        config = library.GCGConfig(
            num_steps=steps, optim_str_init=_numbers(start), search_width=search_width,
            topk=min(topk, len(prompts.live.rows)), early_stop=True, filter_ids=survives is not None,
            # The library's cache is of a form that newer versions of transformers no longer take.
            use_prefix_cache=False, allow_non_ascii=True,
        )  # fmt: skip
        engine = Timed(prompts.live.model, NumberText(survives), config)
        before, after = _numbers(prompts.live.before), _numbers(prompts.live.after)
        with _quick_and_quiet(library):
            try:
                strings = engine.run(f"{before} {{optim_str}} {after}", str(token)).strings
            except RuntimeError as error:
                if "same after decoding" not in str(error):
                    raise
                strings = []  # no swap of this start survives as text
        seen = [row for row in dict.fromkeys(strings) if row]
        ledger.inputs[level] += len(strings) * search_width
        np.add.at(ledger.effort[level], token, len(strings))
        if seen:
            prompts.run(torch.tensor([[int(one) for one in row.split()] for row in seen]), "nanogcg", level=level)
        ledger.tries[level][token] += 1
        ledger.wins[level][token] += bool(found[token])
        if not found[token] and attempt + 1 < settings.restarts:
            queue.append((token, attempt + 1))
        progress()
