"""What a repair does to ordinary predictions: both models on the same text."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reach.bounded import read_bytes
from reach.pretrained import pretrained
from reach.search.live import load_live_model
from solvers.errors import BadInput, MissingExtra

_WINDOW, _MOST_TOKENS, _MOST_BYTES = 512, 2**16, 2**24


@dataclass(frozen=True)
class TextEffect:
    """Predictions of the next token on a text, before and after.

    Attributes:
        tokens: how many were predicted.
        before, after: perplexity, e to the mean of −ln p of the token that follows.
        same: share of the places at which both models' most probable token is the same.
    """

    tokens: int
    before: float
    after: float
    same: float

    def record(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def effect_on_text(before: Path, after: Path, text: Path) -> TextEffect:
    """Run both models over a text, at most 65,536 tokens of it, in windows of at most 512.

    Args:
        before, after: model folders.
        text: a file of UTF-8 text.

    Raises:
        MissingExtra: transformers is not installed.
        BadInput: the text cannot be read or has fewer than two tokens, or a model is no decoder that can be run.
    """
    ids = _ids(before, text)
    models = [load_live_model(str(folder), str(folder)).eval() for folder in (before, after)]
    window = min(_WINDOW, *(_longest(model) for model in models))
    lost, same, seen = [0.0, 0.0], 0, 0
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, window - 1):
            part = ids[start : start + window]
            if len(part) < 2:
                break
            logits = [model(input_ids=part[None], use_cache=False).logits[0, :-1].float() for model in models]
            for i, one in enumerate(logits):
                lost[i] += float(torch.nn.functional.cross_entropy(one, part[1:], reduction="sum"))
            same += int((logits[0].argmax(dim=1) == logits[1].argmax(dim=1)).sum())
            seen += len(part) - 1
    return TextEffect(seen, math.exp(lost[0] / seen), math.exp(lost[1] / seen), same / seen)


def _ids(folder: Path, text: Path) -> torch.Tensor:
    try:
        import transformers
    except ImportError:
        raise MissingExtra("--text runs the live models and needs: pip install transformers") from None
    content = read_bytes(text, again="name another file with --text", most=_MOST_BYTES).decode(errors="replace")
    try:
        tokenizer = pretrained(transformers.AutoTokenizer, folder)
    except Exception as error:
        raise BadInput(f"--text: {folder} has no tokenizer that transformers can load: {str(error)[:200]}") from None
    ids = tokenizer(content, add_special_tokens=False, verbose=False)["input_ids"][:_MOST_TOKENS]
    if len(ids) < 2:
        raise BadInput(f"--text: {text} has {len(ids)} tokens, and at least two are needed to predict one")
    return torch.tensor(ids)


def _longest(model: Any) -> int:
    """Positions that a model has; learnt ones end somewhere."""
    names = ("n_positions", "max_position_embeddings", "max_sequence_length", "seq_length")
    found = (getattr(model.config, name, None) for name in names)
    return next((number for number in found if isinstance(number, int) and number > 1), _WINDOW)
