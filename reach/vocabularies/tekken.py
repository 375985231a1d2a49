"""`tekken.json`, Mistral's own format: special tokens first, then byte tokens by their rank."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from reach.bounded import read_json
from reach.vocabularies.pieces import of_bytes
from reach.vocabularies.tokens import Kind, Token, Unreadable
from solvers.errors import BadInput

_MOST_BYTES = 2**27
_MOST_TOKENS = 2**24
_AGAIN = "copy or download it again"


def tekken_tokens(path: Path) -> dict[int, Token]:
    """The tokens of a tekken.json by their ids.

    Ids below `default_num_special_tokens` are special tokens, of which older files name none; after them come, by
    their ranks, as many of the vocabulary as `default_vocab_size` leaves room for.

    Raises:
        Unreadable: it is damaged.
    """
    try:
        spec = read_json(path, again=_AGAIN, most=_MOST_BYTES)
    except BadInput as error:
        raise Unreadable(str(error).removeprefix(f"{path}: ").removesuffix(f"; {_AGAIN}")) from None
    try:
        config = spec["config"]
        special, size = _whole(config["default_num_special_tokens"]), _whole(config["default_vocab_size"])
        tokens = {}
        for entry in spec.get("special_tokens") or []:
            rank, name = _whole(entry["rank"]), entry["token_str"]
            if isinstance(name, str) and rank < special:
                tokens[rank] = Token(name, name, Kind.SPECIAL)
        for entry in spec["vocab"]:
            number = special + _whole(entry["rank"])
            if number < size:
                tokens[number] = of_bytes(base64.b64decode(entry["token_bytes"], validate=True))
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        raise Unreadable(f"it is no tekken.json: {type(error).__name__} {error}") from None
    return tokens


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST_TOKENS:
        raise ValueError(f"{str(value)[:40]} is no rank or number of tokens")
    return value
