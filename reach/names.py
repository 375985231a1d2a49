"""What folders are called where a person reads of them: a working copy goes by the name of what it is a copy of."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CREDENTIALS = re.compile(r"(?<=://)[^/\s'\"]*:[^/\s'\"]*@")
_called: dict[str, tuple[re.Pattern[str], str]] = {}


@contextlib.contextmanager
def called(folder: Path, name: str) -> Iterator[None]:
    """Within this block `with_names` calls a folder by this name, and what lies in it accordingly."""
    path = str(folder)
    # A folder beside it whose name begins like this one's is another folder.
    _called[path] = re.compile(re.escape(path) + r"(?![\w.-])"), name
    try:
        yield
    finally:
        _called.pop(path, None)


def with_names(text: str) -> str:
    """A text in which folders that are `called` something have those names."""
    for path in sorted(_called, key=len, reverse=True):
        pattern, name = _called[path]
        if path in text:
            text = pattern.sub(lambda _, name=name: name, text)  # type: ignore[misc]
    return text


def is_called(path: Path) -> bool:
    """Whether a path leads into a folder that goes by another name: its place is no place to lead anybody to."""
    return bool(_called) and with_names(str(path)) != str(path)


def named(record: Any) -> Any:
    """A record in plain types, with the same names in all its texts."""
    if not _called:
        return record
    if isinstance(record, str):
        return with_names(record)
    if isinstance(record, dict):
        return {name: named(value) for name, value in record.items()}
    if isinstance(record, list | tuple):
        return [named(value) for value in record]
    return with_names(str(record)) if isinstance(record, Path) else record


def without_credentials(text: str) -> str:
    """A text in which no URL has a user and a password."""
    return _CREDENTIALS.sub("", text) if "://" in text else text


def command_line() -> tuple[str, ...]:
    """How the command was called, as records keep it."""
    return ("reach", *map(without_credentials, sys.argv[1:]))
