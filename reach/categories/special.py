"""Special and added tokens, as the files of a tokenizer list them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.categories.files import json_object
from reach.categories.roles import ADDED, SPECIAL, Role
from reach.options import short

TOKENIZER, SETTINGS, MAP = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
_MOST_TOKENIZER = 2**28
_NAMES = ("bos", "eos", "unk", "pad", "cls", "sep", "mask")
_MORE = ("additional_special_tokens", "extra_special_tokens")
"""Lists of special tokens without a name, or, in newer files, the names of some."""


@dataclass(frozen=True)
class SpecialTokens:
    """What the files of a tokenizer say.

    Attributes:
        named: the roles of tokens that they name, such as `eos_token`.
        roles: `special` or `added` for each token that was added to the vocabulary, or is named.
        markers: the text of each such token, and its id; those that are blank, as added runs of spaces, are not here.
        variables: what a template may call them, such as `eos_token`, and their texts.
    """

    named: tuple[Role, ...]
    roles: tuple[Role, ...]
    markers: Mapping[str, int]
    variables: Mapping[str, str]


def special_tokens(folder: Path, pieces: Sequence[str | None], warnings: list[str]) -> SpecialTokens:
    """Read tokenizer.json, tokenizer_config.json and special_tokens_map.json.

    Args:
        folder: of the model.
        pieces: the tokens by their rows, in which names are looked for that no file gives an id.
        warnings: what could not be read joins them.
    """
    settings = json_object(folder / SETTINGS, warnings)
    mapped = json_object(folder / MAP, warnings)
    whole = json_object(folder / TOKENIZER, warnings, most=_MOST_TOKENIZER)
    added: dict[int, tuple[str, Role]] = {}
    for number, entry, where in (*_of_list(whole.get("added_tokens")), *_of_map(settings)):
        name, content = SPECIAL if entry.get("special") is True else ADDED, entry.get("content")
        # The entries of both files are the same ones; where one calls a token special, it is.
        if isinstance(content, str) and (number not in added or name == SPECIAL):
            added[number] = (content, Role(number, name, where))
    ids = {content: number for number, (content, _) in sorted(added.items(), reverse=True)}
    named: list[Role] = []
    roles = {number: role for number, (_, role) in added.items()}
    variables: dict[str, str] = {}
    for file, found in ((SETTINGS, settings), (MAP, mapped)):
        for key, text in _said(found):
            if text is None:
                warnings.append(f"{folder / file}: {key} is {short(repr(found[key]))}, but must be a token's text")
                continue
            if text not in ids and text in pieces:
                ids[text] = pieces.index(text)
            if text not in ids:
                warnings.append(f"{folder / file}: {key} is {short(text)!r}, which is no token")
                continue
            number = ids[text]
            roles.setdefault(number, Role(number, SPECIAL, f"{file}: {key}"))
            name = key.removesuffix("_token")
            if name != key:
                variables.setdefault(key, text)
            if name in _NAMES:
                named.append(Role(number, name, f"{file}: {key}"))
    markers = {content: number for content, number in ids.items() if content.strip() and content.isprintable()}
    return SpecialTokens(tuple(named), tuple(roles[number] for number in sorted(roles)), markers, variables)


def _of_list(entries: Any) -> Iterator[tuple[int, dict[str, Any], str]]:
    for entry in entries if isinstance(entries, list) else ():
        number = entry.get("id") if isinstance(entry, dict) else None
        if isinstance(number, int) and not isinstance(number, bool):
            yield number, entry, f"{TOKENIZER}: added_tokens"


def _of_map(settings: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], str]]:
    entries = settings.get("added_tokens_decoder")
    for number, entry in entries.items() if isinstance(entries, dict) else ():
        if number.isascii() and number.isdecimal() and len(number) < 12 and isinstance(entry, dict):
            yield int(number), entry, f"{SETTINGS}: added_tokens_decoder"


def _said(found: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """The tokens that a file names, by what it calls them; None for what is no token's text."""
    for name in _NAMES:
        value = found.get(f"{name}_token")
        if value is not None:
            yield f"{name}_token", _text(value)
    for key in _MORE:
        values = found.get(key)
        if isinstance(values, dict):
            yield from ((name, _text(value)) for name, value in values.items() if _text(value) is not None)
        elif isinstance(values, list):
            yield from ((key, text) for text in map(_text, values) if text is not None)


def _text(value: Any) -> str | None:
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
