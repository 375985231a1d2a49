"""ByT5 has no file of tokens: after three special tokens come the 256 bytes, and after them its extra ids."""

from __future__ import annotations

from typing import Any

from reach.vocabularies.pieces import of_bytes
from reach.vocabularies.tokens import Kind, Token, literal

BYT5_CLASS = "ByT5Tokenizer"
_SPECIAL = ("<pad>", "</s>", "<unk>")
_EXTRA, _MOST_EXTRA = 125, 2**16


def byt5_tokens(config: dict[str, Any]) -> dict[int, Token]:
    """The tokens of a ByT5 tokenizer by their ids.

    Args:
        config: its tokenizer_config.json, of which `extra_ids` counts.
    """
    tokens = {number: Token(name, name, Kind.SPECIAL) for number, name in enumerate(_SPECIAL)}
    for byte in range(256):
        tokens[len(_SPECIAL) + byte] = of_bytes(bytes([byte]))._replace(piece=chr(byte))
    extra = config.get("extra_ids")
    count = extra if isinstance(extra, int) and 0 <= extra <= _MOST_EXTRA else _EXTRA
    for number in range(count):
        name = f"<extra_id_{number}>"
        tokens[len(_SPECIAL) + 256 + number] = literal(name, special=True)
    return tokens
