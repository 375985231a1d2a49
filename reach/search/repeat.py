"""The repeat test: can the model repeat a token when asked? The placeholder is swapped by id, so no tokenizer can
split or normalise the token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from reach.search.live import Pass
from reach.search.prompts import Prompts
from reach.search.winners import Winners


@dataclass(frozen=True)
class Form:
    """One way to ask. `{}` stands for the token."""

    name: str
    text: str


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
