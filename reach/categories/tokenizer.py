"""Categories that the tokenizer gives: what its files call a token, what its text is, and whether it can be made."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from reach.categories.findings import MOST_OTHERS, Finding
from reach.categories.reachable import unreached
from reach.categories.reserved import is_reserved
from reach.categories.roles import ADDED, SPECIAL, Roles
from reach.vocabularies.pieces import byte_of
from reach.vocabularies.tokens import Kind
from reach.vocabulary import Vocabulary

IMPOSSIBLE_BYTES = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})
"""No UTF-8 text holds one of these (RFC 3629)."""

_MOST_ROLES = 4
_LAYOUT = frozenset("\t\n\r")

ENCODER_MISSING = "whether the tokenizer makes a token of any text is known only where it comes as tokenizer.json"


def has_tokens(vocabulary: Vocabulary) -> bool:
    """Whether there is a tokenizer at all: without one, no row has a token, and that says nothing of the rows."""
    return any(piece is not None for piece in vocabulary.pieces)


def tokenizer_findings(vocabulary: Vocabulary, roles: Roles) -> tuple[Finding, ...]:
    """The categories of tokens that follow from the tokenizer, in the order of the catalogue.

    Args:
        vocabulary: the tokens of the rows.
        roles: what the model's files say each is for.
    """
    known: tuple[Roles, tuple[Finding, ...]] | None = vocabulary.kept.get("tokenizer findings")
    if known is None or known[0] != roles:
        known = vocabulary.kept["tokenizer findings"] = roles, tuple(_findings(vocabulary, roles))
    return known[1]


def _findings(vocabulary: Vocabulary, roles: Roles) -> Iterator[Finding]:
    if not has_tokens(vocabulary):
        return
    kinds = vocabulary.kinds
    for token, piece in enumerate(vocabulary.pieces):
        if piece is None:
            yield Finding(token, "padding")
        kind, text = kinds.get(token, Kind.NONE), vocabulary.texts[token]
        yield from _special(token, kind, roles)
        if piece is None:
            continue
        if kind & Kind.BYTE:
            yield Finding(token, "byte", _byte_words(piece, text))
        if kind & Kind.PARTIAL:
            yield Finding(token, "partial-utf8")
        elif text is not None and is_control(text):
            yield Finding(token, "control")
        if kind & Kind.UNUSED:
            yield Finding(token, "reserved", "the vocabulary marks it as unused")
        elif is_reserved(piece):
            yield Finding(token, "reserved", "by its name")
    yield from _unreachable(vocabulary)


def _special(token: int, kind: Kind, roles: Roles) -> Iterator[Finding]:
    named = [role for role in roles.of(token) if role.name not in (SPECIAL, ADDED)]
    names = {role.name for role in roles.of(token)}
    if named:
        more = f"; {len(named) - _MOST_ROLES} more" if len(named) > _MOST_ROLES else ""
        yield Finding(
            token, "special", "; ".join(f"{role.name} ({role.where})" for role in named[:_MOST_ROLES]) + more
        )
    elif kind & Kind.SPECIAL or SPECIAL in names:
        yield Finding(token, "special", "the tokenizer says so; no role was found")
    if kind & Kind.ADDED or ADDED in names:
        yield Finding(token, "added")


def is_control(text: str) -> bool:
    """Whether a text holds nothing but control and format characters; tabs and line ends are layout."""
    return text != "" and all(unicodedata.category(one) in ("Cc", "Cf") and one not in _LAYOUT for one in text)


def byte_value(piece: str | None, text: str | None) -> int | None:
    """The byte that a byte token stands for: none where its text is no single byte."""
    stored = None if piece is None else byte_of(piece)
    if stored is not None or text is None:
        return stored
    shown = byte_of(text)
    return shown if shown is not None else ord(text) if len(text) == 1 and ord(text) < 0x80 else None


def _byte_words(piece: str, text: str | None) -> str | None:
    value = byte_value(piece, text)
    if value is None:
        return None
    return f"0x{value:02X}" + (", which no UTF-8 text holds" if value in IMPOSSIBLE_BYTES else "")


def _unreachable(vocabulary: Vocabulary) -> Iterator[Finding]:
    if vocabulary.encoder is None:
        return
    texts = {
        token: text
        for token, text in enumerate(vocabulary.texts)
        if text and not vocabulary.kinds.get(token, Kind.NONE) & Kind.PARTIAL
    }
    for token, ids in unreached(vocabulary.encoder, texts).items():
        words = f"its text is encoded as {len(ids)} other token{'' if len(ids) == 1 else 's'}"
        yield Finding(token, "unreachable", words if ids else "its text is encoded as nothing", ids[:MOST_OTHERS])
