"""The ids that `generation_config.json` and `config.json` name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reach.categories.files import json_object
from reach.categories.roles import BOS, EOS, PAD, UNK, Role
from reach.options import short

GENERATION, CONFIG = "generation_config.json", "config.json"
_NAMES = {
    "eos_token_id": EOS,
    "bos_token_id": BOS,
    "pad_token_id": PAD,
    "unk_token_id": UNK,
    "cls_token_id": "cls",
    "sep_token_id": "sep",
    "mask_token_id": "mask",
    "decoder_start_token_id": "decoder start",
    "forced_bos_token_id": "forced",
    "forced_eos_token_id": "forced",
    "suppress_tokens": "suppressed",
    "begin_suppress_tokens": "suppressed at first",
    "image_token_id": "placeholder",
    "image_token_index": "placeholder",
    "video_token_id": "placeholder",
    "audio_token_id": "placeholder",
}
_PARTS = ("text_config", "decoder")
"""Entries of config.json that hold the settings of the part that speaks."""


def roles_in_settings(folder: Path, warnings: list[str]) -> Iterator[Role]:
    """The roles that both files give; an entry of another type than it must have is a warning."""
    generation = json_object(folder / GENERATION, warnings)
    yield from _roles(generation, folder / GENERATION, "", warnings)
    config = json_object(folder / CONFIG, warnings)
    yield from _roles(config, folder / CONFIG, "", warnings)
    for part in _PARTS:
        inner = config.get(part)
        if isinstance(inner, dict):
            yield from _roles(inner, folder / CONFIG, f"{part}.", warnings)


def _roles(settings: dict[str, Any], file: Path, before: str, warnings: list[str]) -> Iterator[Role]:
    for key, name in _NAMES.items():
        said = settings.get(key)
        ids = [] if said is None else said if isinstance(said, list) else [said]
        if not all(_is_id(one) for one in ids):
            _complain(warnings, file, before + key, said, "a whole number, or a list of them")
            continue
        for token in ids:
            if token >= 0:  # -1 is an old way to say that there is none
                yield Role(token, name, f"{file.name}: {before}{key}")
    yield from _in_lists(settings, file, before, warnings)


def _in_lists(settings: dict[str, Any], file: Path, before: str, warnings: list[str]) -> Iterator[Role]:
    """Of `bad_words_ids` the words of one token, and of `forced_decoder_ids` the second of each pair."""
    for key, name, at in (("bad_words_ids", "suppressed", 0), ("forced_decoder_ids", "forced", 1)):
        said = settings.get(key)
        lists = [] if said is None else said
        if not isinstance(lists, list) or not all(isinstance(one, list) for one in lists):
            _complain(warnings, file, before + key, said, "a list of lists of ids")
            continue
        for one in lists:
            if len(one) == at + 1 and _is_id(one[at]) and one[at] >= 0:
                yield Role(one[at], name, f"{file.name}: {before}{key}")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _complain(warnings: list[str], file: Path, key: str, said: object, must_be: str) -> None:
    warnings.append(f"{file}: {key} is {short(repr(said))}, but must be {must_be}: it is passed over")
