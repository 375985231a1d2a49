"""The tokenizer's side of an input: fixed text, start token, and whether ids survive decoding and encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reach.pretrained import NeedsOwnCode, pretrained
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
