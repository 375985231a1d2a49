"""Files that others may have written: any file, and JSON, measured before they are read.

A file must be a regular one and no larger than its kind ever is; a bad one is one line. Tables, tensors and typed
records are read in `reach.runs.reading`.
"""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

from solvers.errors import BadInput

MOST_JSON = 2**24
"""Bytes of a JSON record: Python takes some thirty times as much memory for the worst of them."""
MOST_FILE = 2**32
"""Bytes of a table or of a file of tensors."""
_MOST_DIGITS = 40
"""transformers writes 10³⁰ for a tokenizer whose texts may be of any length."""


def is_there(file: Path) -> bool:
    """Whether something has this name, of whatever kind; a name that no file system takes has nothing."""
    try:
        file.lstat()
    except (OSError, ValueError):
        return False
    return True


def check_file(file: Path, *, again: str, most: int = MOST_FILE) -> int:
    """The size of a regular file, bytes.

    Args:
        file: what is to be read.
        again: what to do where it cannot be, such as "the run is damaged, scan again".
        most: bytes beyond which it is refused.

    Raises:
        BadInput: it is missing, no regular file (a folder, a pipe, a device), or too large.
    """
    try:
        found = file.stat()
    except FileNotFoundError:
        raise BadInput(f"{file}: missing; {again}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if stat.S_ISDIR(found.st_mode):
        raise BadInput(f"{file}: is a folder where a file should be; {again}")
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{file}: is no regular file; {again}")
    if found.st_size > most:
        raise BadInput(f"{file}: is too large to be read ({found.st_size} bytes, at most {most}); {again}")
    return found.st_size


def read_bytes(file: Path, *, again: str, most: int) -> bytes:
    """The content of a file.

    Raises:
        BadInput: see `check_file`.
    """
    check_file(file, again=again, most=most)
    try:
        with file.open("rb") as stream:
            content = stream.read(most + 1)  # a file of the system's own may hold more than it says
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(content) > most:
        raise BadInput(f"{file}: is too large to be read (at most {most} bytes); {again}")
    return content


def read_json(file: Path, *, again: str, most: int = MOST_JSON) -> Any:
    """The content of a JSON file in plain types.

    Raises:
        BadInput: see `check_file`; or it is no JSON, too deeply nested, or holds a number that no record has.
    """
    content = read_bytes(file, again=again, most=most)
    return parse_json(content, file, again=again)


def parse_json(content: bytes | str, file: Path | str, *, again: str) -> Any:
    """The same for content that is at hand; `file` is the name to complain under."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_no_number)
    except RecursionError:
        raise BadInput(f"{file}: not readable as JSON (nested too deeply); {again}") from None
    except ValueError as error:
        raise BadInput(f"{file}: not readable as JSON ({error}); {again}") from None


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits[:_MOST_DIGITS])


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")
