"""Running prompts of real tokens and crediting all that they bring up, as tokens and as text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from reach.search.batching import BatchSize, is_out_of_memory
from reach.search.ledger import Ledger, Witness
from reach.search.live import LiveModel, Pass
from reach.search.roundtrip import RoundTrip
from reach.search.starts import Bank
from reach.search.winners import Winners, winners

_CANDIDATES = 4
"""Prompts per token and batch that are tried for whether they survive as text."""


class Prompts:
    """Scores prompts in batches."""

    def __init__(
        self, live: LiveModel, ledger: Ledger, trip: RoundTrip, bank: Bank, size: BatchSize, min_margin: float
    ) -> None:
        """Args: what runs, what is credited, the tokenizer's side, where starting points go, inputs at once, and the
        margin in logits above which a pass counts.
        """
        self.live, self.ledger, self.trip, self.bank, self.size = live, ledger, trip, bank, size
        self._min = min_margin

    def run(
        self,
        ids: Int[Tensor, "n k"],
        how: str,
        *,
        keep: bool = False,
        visit: Callable[[slice, Pass, Winners], None] | None = None,
        level: str = "tokens",
        time_is_up: Callable[[], bool] = lambda: False,
    ) -> int:
        """Run all prompts, in as many batches as memory asks for; says how many were run.

        Args:
            ids: the prompts.
            how: what made them, for the record.
            keep: remember them as starting points.
            visit: given each batch and what came out.
            level: whose work this is.
            time_is_up: asked before each batch.
        """
        at = 0
        ids = ids.to(self.live.device)
        while at < len(ids) and not time_is_up():
            # No gradient, so less memory than the optimiser's batches take.
            chunk = ids[at : at + self.size.at(ids.shape[1])]
            began = self.ledger.clock()
            try:
                passed = self.live.run(self.live.rows[chunk], gradient=False)
                found = winners(passed.logits)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self.size.shrink(len(chunk))
                continue
            self.ledger.inputs[level] += len(chunk)
            if visit is not None:
                visit(slice(at, at + len(chunk)), passed, found)
            if keep and passed.hidden is not None:
                top = passed.logits[:, -1].amax(dim=1)
                self.bank.add(chunk, passed.hidden[:, -1].detach().float(), top)
            self._credit(chunk, found, how)
            self.size.note(len(chunk), ids.shape[1], self.ledger.clock() - began)
            at += len(chunk)
        return at

    def _credit(self, chunk: Int[Tensor, "b k"], found: Winners, how: str) -> None:
        prompts = chunk.cpu().numpy().astype(np.int32)
        positions = found.top.shape[1]
        token = found.top.flatten().cpu().numpy()
        margin = found.margin.flatten().float().cpu().numpy()
        sure = np.flatnonzero(margin > self._min)

        def prompt(place: int) -> np.ndarray:
            row, position = divmod(int(place), positions)
            return prompts[row, : prompts.shape[1] - positions + position + 1]

        for place in sure[self.ledger.news("tokens", token[sure], margin[sure])]:
            ids = prompt(place).copy()
            self.ledger.add(int(token[place]), Witness("tokens", len(ids), float(margin[place]), ids=ids, how=how))
        open_text = sure[~self.ledger.found["text"][token[sure]]]
        tried: dict[int, int] = {}
        for place in open_text[np.argsort(-margin[open_text], kind="stable")]:
            one = int(token[place])
            if self.ledger.found["text"][one] or tried.get(one, 0) >= _CANDIDATES:
                continue
            tried[one] = tried.get(one, 0) + 1
            ids = prompt(place)
            if self.trip.survives(ids.tolist()):
                self.ledger.add(one, Witness("text", len(ids), float(margin[place]), ids=ids.copy(), how=how))

    def single_tokens(
        self, generator: torch.Generator, time_is_up: Callable[[], bool] = lambda: False
    ) -> Int64[np.ndarray, " v_in"]:
        """Every prompt of one token, in random order; returns which token each brings up, −1 where time was up.

        Where there was time for all, this level is complete: what it does not find, no single-token prompt says.
        """
        order = torch.randperm(len(self.live.rows), generator=generator)
        said = np.full(len(order), -1, dtype=np.int64)

        def visit(part: slice, _: Pass, found: Winners) -> None:
            said[order[part].numpy()] = found.top[:, -1].cpu().numpy()

        self.run(order[:, None], "every single token", keep=True, visit=visit, time_is_up=time_is_up)
        # All of them count as texts too where they survive, however often a token has come up.
        return said

    def draw(self, level: str, most: int, length: int, generator: torch.Generator) -> Int[Tensor, "n k"]:
        """Random prompts of real tokens or of text: no more than `most`, and than are drawn in a step's time."""
        if level != "text":
            return self.random_ids(most, length, generator)
        pace, kind = self.size.pace, "drawn text"
        count = most if pace is None else max(1, min(most, pace.room(kind) // length))
        began = self.ledger.clock()
        ids = self.random_text(count, length, generator)
        if pace is not None:
            pace.note(kind, count * length, self.ledger.clock() - began)
        return ids

    def random_ids(self, count: int, length: int, generator: torch.Generator) -> Int[Tensor, "n k"]:
        """Prompts of tokens drawn evenly."""
        return torch.randint(0, len(self.live.rows), (count, length), generator=generator)

    def random_text(self, count: int, length: int, generator: torch.Generator) -> Int[Tensor, "n k"]:
        """Prompts as a tokenizer would make them: random ids, decoded, encoded again and cut."""
        kept = []
        for ids in self.random_ids(2 * count, length, generator).tolist():
            try:
                again = self.trip.encode(self.trip.decode([one for one in ids if one not in self.trip.special]))
            except Exception:  # ids without an entry make tokenizers raise whatever they like
                continue
            if len(again) >= length:
                kept.append(again[:length])
            if len(kept) == count:
                break
        return torch.tensor(kept, dtype=torch.int64).reshape(-1, length)
