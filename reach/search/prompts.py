"""Prompts of real tokens: whether they survive as text, running them, and asking the model to repeat a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from reach.pretrained import NeedsOwnCode, pretrained
from reach.search.budget import BatchSize, is_out_of_memory
from reach.search.ledger import Ledger, Witness
from reach.search.live import LiveModel, Pass, Winners, winners
from reach.search.record import Form, Repeat
from reach.search.starts import Bank
from solvers.errors import BadInput


class RoundTrip:
    """Text and ids of one tokenizer, with fixed text around.

    Attributes:
        before, after: ids of the fixed tokens, the start token first where the tokenizer sets one.
        special: ids that are no text.
    """

    def __init__(self, tokenizer: Any, prefix: str = "", suffix: str = "", *, bos: bool = True) -> None:
        """Args: a transformers tokenizer, or none for a model without one; fixed text; whether to start with BOS.

        Raises:
            BadInput: fixed text, but no tokenizer.
        """
        self.tokenizer = tokenizer
        self._start: list[int] = []
        self._prefix: list[int] = []
        self.after: list[int] = []
        self.special: frozenset[int] = frozenset()
        self._known: dict[tuple[int, ...], bool] = {}
        if tokenizer is None:
            if prefix or suffix:
                raise BadInput("--prefix and --suffix need a tokenizer, and this model has none")
            return
        self.special = frozenset(tokenizer.all_special_ids)
        begin = tokenizer.bos_token_id
        if bos and begin is not None and tokenizer("a").input_ids[:1] == [begin]:
            self._start = [begin]
        self._prefix = self.encode(prefix) if prefix else []
        self.after = self.encode(suffix) if suffix else []

    @property
    def before(self) -> list[int]:
        """Ids before the free positions."""
        return self._start + self._prefix

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens of the tokenizer's own."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, as it is."""
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def survives(self, ids: Sequence[int]) -> bool:
        """Whether the whole input, fixed text included, comes back as the same ids after decoding and encoding."""
        if self.tokenizer is None:
            return False
        key = tuple(int(number) for number in ids)
        known = self._known.get(key)
        if known is None:
            if len(self._known) > 2**18:
                self._known.clear()
            known = self._known[key] = self._survives(key)
        return known

    def _survives(self, ids: tuple[int, ...]) -> bool:
        if self.special.intersection(ids):
            return False
        whole = [*self._prefix, *ids, *self.after]
        try:
            return self.encode(self.decode(whole)) == whole
        except Exception:  # ids without an entry make tokenizers raise whatever they like
            return False


def load_tokenizer(folder: str, revision: str | None = None, notes: list[str] | None = None) -> Any:
    """The tokenizer of a model, or none where it has none that can be read.

    Args:
        folder: the model's folder or Hub id.
        revision: of a Hub model.
        notes: takes a line where there is a tokenizer that is not used.
    """
    import transformers

    options = {} if revision is None else {"revision": revision}
    try:
        found = pretrained(transformers.AutoTokenizer, folder, **options)
        # Where the files are missing, the classes of many models make one up that knows special tokens alone.
        return None if _knows_no_text(found) else found
    except NeedsOwnCode as error:
        if notes is not None:
            notes.append(f"the tokenizer of {error}: prompts are searched by ids alone")
        return None
    except Exception:  # a model without a tokenizer is searched by ids alone
        return None


def _knows_no_text(tokenizer: Any) -> bool:
    try:
        pieces = set(tokenizer.get_vocab())
    except NotImplementedError:
        return False
    return pieces <= {*tokenizer.all_special_tokens, *getattr(tokenizer, "added_tokens_encoder", ())}


# --- running prompts ------------------------------------------------------------------------------------------------

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


# --- the repeat test ------------------------------------------------------------------------------------------------


FORMS = (
    Form("quoted", 'Please repeat the string "{}" back to me: "'),
    Form("said", "She said: {}. And then she said again:"),
    Form("listed", "{}{}{}{}{}"),
)


@dataclass(frozen=True)
class Repeated:
    """Answers by form.

    Attributes:
        asked: `(v,)` tokens that were asked.
        probability: form to `(v,)` the probability that the model gives to the token; NaN where not asked.
        top: form to `(v,)` whether it is the most likely one.
        skipped: form to why it was left out.
    """

    asked: Bool[np.ndarray, " v"]
    probability: dict[str, Float[np.ndarray, " v"]]
    top: dict[str, Bool[np.ndarray, " v"]]
    skipped: dict[str, str]

    def record(self, wanted: Bool[np.ndarray, " v"]) -> Repeat:
        """What `search.json` keeps of the tokens that are looked for."""
        asked = self.asked & wanted
        every = list(self.top.values())
        return Repeat(
            forms=tuple(form for form in FORMS if form.name in self.top),
            skipped=self.skipped,
            asked=int(asked.sum()),
            top={name: int((top & asked).sum()) for name, top in self.top.items()},
            failed_all=int((asked & ~np.any(every, axis=0)).sum()) if every else None,
        )


def repeat_test(
    prompts: Prompts, tokens: Int64[np.ndarray, " n"], time_is_up: Callable[[], bool] = lambda: False
) -> Repeated:
    """Ask the model to repeat tokens, as far as time allows; what the prompts bring up is credited as well."""
    v = prompts.ledger.v
    result = Repeated(np.zeros(v, dtype=bool), {}, {}, {})
    tokens = tokens[tokens < len(prompts.live.rows)]
    shapes: dict[str, tuple[list[int], list[int]]] = {}
    for form in FORMS:
        reason = _why_not(prompts, form)
        if reason is not None:
            result.skipped[form.name] = reason
            continue
        parts = [prompts.trip.encode(part) if part else [] for part in form.text.split("{}")]
        ids: list[int] = []
        places: list[int] = []
        for number, part in enumerate(parts):
            ids += part
            if number + 1 < len(parts):
                places.append(len(ids))
                ids.append(0)
        limit = prompts.live.limit
        if limit is not None and len(prompts.live.before) + len(ids) > limit:
            result.skipped[form.name] = f"the prompt is longer than the model's {limit} positions"
            continue
        shapes[form.name] = (ids, places)
        result.probability[form.name] = np.full(v, np.nan)
        result.top[form.name] = np.zeros(v, dtype=bool)
    # All forms of some tokens rather than one form of all: where time runs out, whole answers are left.
    longest = max((len(ids) for ids, _ in shapes.values()), default=1)
    at = 0
    while shapes and at < len(tokens) and not time_is_up():
        some = tokens[at : at + prompts.size.at(longest)]
        for name, (ids, places) in shapes.items():
            _ask(prompts, name, ids, places, some, result)
        result.asked[some] = True
        at += len(some)
    return result


def _why_not(prompts: Prompts, form: Form) -> str | None:
    if prompts.live.after:
        return "--suffix would follow the question"
    if prompts.trip.tokenizer is None and form.text.replace("{}", ""):
        return "the model has no tokenizer"
    return None


def _ask(
    prompts: Prompts, name: str, ids: list[int], places: list[int], tokens: Int64[np.ndarray, " n"], result: Repeated
) -> None:
    rows = torch.tensor([ids]).repeat(len(tokens), 1)
    wanted = torch.from_numpy(tokens)
    rows[:, places] = wanted[:, None]

    def visit(part: slice, passed: Pass, found: Winners) -> None:
        mine = wanted[part].to(passed.logits.device)
        share = passed.logits[:, -1].log_softmax(-1).gather(1, mine[:, None])[:, 0].exp()
        result.probability[name][tokens[part]] = share.double().cpu().numpy()
        result.top[name][tokens[part]] = (found.top[:, -1] == mine).cpu().numpy()

    prompts.run(rows, f"repeat test ({name})", visit=visit)
