"""The tokens behind the rows of a head, as pieces and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from reach.vocabularies.folder import folder_tokens
from reach.vocabularies.tokens import Kind, Tokens, Unreadable, visible

__all__ = ["Vocabulary", "in_rows", "load_vocabulary", "visible"]

_BY_IDS = "tokens are shown by their ids"


@dataclass(frozen=True)
class Vocabulary:
    """One entry per row of a head, in row order.

    Attributes:
        pieces: the token as the tokenizer stores it; none where no token belongs to the row.
        texts: what the token alone decodes to; bytes that are no whole character read <0xC1>. None without a piece.
        warnings: one line each on what does not fit.
        kinds: what else the tokenizer says of its tokens, by their ids; those of which it says nothing are left out.
        encoder: turns text into ids, a `tokenizers.Tokenizer`; none where the tokenizer came without one.
    """

    pieces: list[str | None]
    texts: list[str | None]
    warnings: list[str]
    kinds: dict[int, Kind] = field(default_factory=dict)
    encoder: Any = field(default=None, compare=False, repr=False)

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What has been worked out about these very tokens, by name: checkpoints that share them share this, too."""
        return {}

    def show(self, token_id: int) -> str:
        """The token in quotes, else its number, for a person."""
        text = self.texts[token_id] if self.texts[token_id] is not None else self.pieces[token_id]
        return f"token {token_id}" if text is None else f"{text!r} ({token_id})"


def load_vocabulary(folder: Path | None, rows: int) -> Vocabulary:
    """Read the tokenizer of a model folder.

    Args:
        folder: the folder; none for a head without one.
        rows: rows of the head, which the lists are cut or filled to.

    Raises:
        BadInput: there is a tokenizer.json, but it is truncated or invalid.
    """
    if folder is None:
        return in_rows(None, rows)
    try:
        found = folder_tokens(folder)
    except Unreadable as error:
        return _without(rows, f"{folder}: its tokenizer cannot be read: {error}: {_BY_IDS}")
    return _without(rows, f"{folder} has no tokenizer: {_BY_IDS}") if found is None else in_rows(found, rows)


def in_rows(tokens: Tokens | None, rows: int) -> Vocabulary:
    """A tokenizer's tokens as those of the rows of a head; none where it comes without."""
    if tokens is None:
        return _without(rows, f"this head comes without a tokenizer: {_BY_IDS}")
    pieces: list[str | None] = [None] * rows
    texts: list[str | None] = [None] * rows
    kinds: dict[int, Kind] = {}
    for number, token in tokens.by_id.items():
        if 0 <= number < rows:
            pieces[number] = visible(token.piece)
            texts[number] = None if token.text is None else visible(token.text)
            if token.kind:
                kinds[number] = token.kind
    warnings = [*tokens.warnings, *_warnings(tokens, pieces, rows)]
    return Vocabulary(pieces, texts, warnings, kinds, tokens.encoder)


def _without(rows: int, warning: str) -> Vocabulary:
    return Vocabulary([None] * rows, [None] * rows, [warning])


def _warnings(tokens: Tokens, pieces: list[str | None], rows: int) -> list[str]:
    warnings = []
    empty = [row for row, piece in enumerate(pieces) if piece is None]
    beyond = sorted(number for number in tokens.by_id if number >= rows)
    if empty:
        which, them = "the first is row", "them, and they are shown by their ids"
        if len(empty) == 1:
            which, them = "row", "it, and it is shown by its id"
        warnings.append(
            f"{tokens.where}: {len(empty)} of the head's {rows} rows {'has' if len(empty) == 1 else 'have'} no token "
            f"({which} {empty[0]}): no text can hold {them}"
        )
    if beyond:
        who, which, them = f"{len(beyond)} tokens have", "the first is id", "them"
        if len(beyond) == 1:
            who, which, them = "1 token has", "id", "it"
        warnings.append(
            f"{tokens.where}: {who} no row in the head of {rows} ({which} {beyond[0]}): the model cannot say or read "
            f"{them}"
        )
    return warnings
