"""The year that a model's own files name: its card (`README.md`) or its `config.json`.

Nothing is guessed, neither from names nor from the dates of files: they are those of a download.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from reach.bounded import is_there, parse_json, read_bytes
from reach.heads.loading import Loading
from solvers.errors import BadInput

CARD, CONFIG = "README.md", "config.json"
_MOST_BYTES = 2**20
_MOST_LINE = 300
_KEYS = ("release_date", "model_release_date", "model_date", "date", "year")
_MONTH = r"(?:[A-Za-z]{3,9}\.?,?\s+)?"
_DAY = r"(?:\d{1,2}(?:st|nd|rd|th)?[\s.,/-]+)?"
# A line of a card, be it of its head, a list or a table, that is what the date is called and a date.
_LINE = re.compile(
    r"[\W_]*(?:(?:model|initial|first)[ _])?(?:release[ _]date|release[ _]year|date|year|released(?:[ _]on)?)"
    rf"[*_\s\"']*[:|][*_\s\"']*(?:in\s+)?{_MONTH}{_DAY}{_MONTH}{_DAY}((?:19|20)\d\d)(?!\.?\d)",
    re.IGNORECASE,
)


def stated_year(loading: Loading | None) -> int | None:
    """The year that the files of a local model name for it; None where they name none or are not at hand."""
    if loading is None or loading.model is None:
        return None
    folder = Path(loading.model)
    try:
        found = folder.is_absolute() and folder.is_dir()
    except (OSError, ValueError):
        return None
    return (_of_config(folder / CONFIG) or _of_card(folder / CARD)) if found else None


def _of_config(file: Path) -> int | None:
    content = _content(file)
    try:
        config: Any = None if content is None else parse_json(content, file, again="")
    except BadInput:
        return None
    for key in _KEYS if isinstance(config, dict) else ():
        value = config.get(key)
        found = re.match(r"(?:19|20)\d\d(?!\d)", str(value)) if isinstance(value, str | int) else None
        if found is not None:
            return int(found[0])
    return None


def _of_card(file: Path) -> int | None:
    content = _content(file)
    for line in () if content is None else content.decode("utf-8", "replace").splitlines():
        found = _LINE.match(line[:_MOST_LINE])
        if found is not None:
            return int(found[1])
    return None


def _content(file: Path) -> bytes | None:
    try:
        return read_bytes(file, again="", most=_MOST_BYTES) if is_there(file) else None
    except BadInput:
        return None
