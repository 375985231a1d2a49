"""Tokens that were added to a tokenizer: `tokenizer_config.json` and `added_tokens.json` beside its own file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reach.bounded import MOST_JSON, is_there, read_json
from reach.vocabularies.tokens import Token, Unreadable, literal
from solvers.errors import BadInput

_AGAIN = "copy or download it again"


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """The content of tokenizer_config.json, empty where there is none.

    Raises:
        Unreadable: it is damaged.
    """
    found = _json(folder / "tokenizer_config.json")
    if not isinstance(found, dict):
        raise Unreadable("tokenizer_config.json holds no object")
    return found


def added_tokens(folder: Path) -> dict[int, Token]:
    """The tokens that both files add, by their ids. An added token is literal text.

    Raises:
        Unreadable: a file is damaged.
    """
    names = _json(folder / "added_tokens.json")
    entries = tokenizer_config(folder).get("added_tokens_decoder") or {}
    if not isinstance(names, dict) or not isinstance(entries, dict):
        raise Unreadable("the tokens that its files add are no objects")
    found = {number: literal(name) for name, number in names.items() if isinstance(number, int)}
    for number, entry in entries.items():
        name = entry.get("content") if isinstance(entry, dict) else entry
        if number.isdecimal() and len(number) < 12 and isinstance(name, str):
            found[int(number)] = literal(name, special=isinstance(entry, dict) and entry.get("special") is True)
    return found


def model_type(folder: Path) -> str:
    """The `model_type` of config.json, or an empty string.

    Raises:
        Unreadable: it is damaged.
    """
    found = _json(folder / "config.json")
    return str(found.get("model_type") or "") if isinstance(found, dict) else ""


def _json(path: Path) -> Any:
    if not is_there(path):
        return {}
    try:
        return read_json(path, again=_AGAIN, most=MOST_JSON)
    except BadInput as error:
        raise Unreadable(str(error).removeprefix(f"{path}: ").removesuffix(f"; {_AGAIN}")) from None
