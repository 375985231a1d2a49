"""What a tokenizer's file says of its tokens, before anybody asks which rows a head has."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_SURROGATE = re.compile("[\ud800-\udfff]")


class Kind(enum.Flag):
    """What a tokenizer's files say of a token beside its text."""

    NONE = 0
    ADDED = enum.auto()
    """Literal text that was added to the vocabulary."""
    SPECIAL = enum.auto()
    """The tokenizer passes over it when it decodes, or it is a control token of its model."""
    BYTE = enum.auto()
    """It stands for one byte that is no printable ASCII character, or is written as one (`<0x41>`)."""
    PARTIAL = enum.auto()
    """Its bytes are no whole UTF-8."""
    UNUSED = enum.auto()
    """The vocabulary itself marks it as unused."""


class Token(NamedTuple):
    """One token.

    Attributes:
        piece: as the tokenizer stores it.
        text: what it decodes to alone; bytes that are no whole character read <0xC1>. None where nothing is known.
        kind: what else is known of it.
    """

    piece: str
    text: str | None
    kind: Kind = Kind.NONE


def literal(name: str, *, special: bool = False) -> Token:
    """An added token, which is literal text."""
    return Token(name, name, Kind.ADDED | Kind.SPECIAL if special else Kind.ADDED)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a tokenizer by their ids.

    Attributes:
        by_id: the tokens.
        where: the file or folder, for messages.
        warnings: one line each.
        encoder: turns text into ids, a `tokenizers.Tokenizer`; none where the files were read without one.
    """

    by_id: Mapping[int, Token]
    where: str
    warnings: tuple[str, ...] = field(default=())
    encoder: Any = field(default=None, compare=False)


class Unreadable(Exception):
    """Why a tokenizer's file cannot be read, in a few words."""


def visible(text: str) -> str:
    """The same text with each lone surrogate written as `\\udXXX`, so that it can be stored as UTF-8."""
    if _SURROGATE.search(text) is None:
        return text
    # Through UTF-16, in which two halves that belong together become one character.
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", joined)


def tokens_of_lines(
    lines: Iterable[bytes], read: Callable[[bytes], tuple[int, Token]], called: str
) -> dict[int, Token]:
    """The tokens of a file that has one per line, by their ids. Empty lines are passed over.

    Args:
        lines: of the file.
        read: what a line says.
        called: what the file's form calls an id.

    Raises:
        Unreadable: there is no line, one has another form, or two have one id.
    """
    tokens: dict[int, Token] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            token_id, token = read(line)
        except Unreadable as error:
            raise Unreadable(f"line {number} {error}") from None
        if token_id in tokens:
            raise Unreadable(f"line {number} gives {called} {token_id} a second time")
        tokens[token_id] = token
    if not tokens:
        raise Unreadable("it is empty")
    return tokens
