"""Small files of a model folder, read so that a bad one is a warning and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reach.bounded import MOST_JSON, is_there, read_bytes, read_json
from solvers.errors import BadInput

_AGAIN = "copy or download it again"
MOST_TEMPLATE = 2**21
"""Bytes of a chat template; long ones have some 20 thousand."""


def json_object(file: Path, warnings: list[str], *, most: int = MOST_JSON) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no such file, or, with a warning, where it is damaged."""
    if not is_there(file):
        return {}
    try:
        found = read_json(file, again=_AGAIN, most=most)
    except BadInput as error:
        warnings.append(str(error))
        return {}
    if not isinstance(found, dict):
        warnings.append(f"{file}: holds no JSON object; {_AGAIN}")
        return {}
    return found


def template_text(file: Path, warnings: list[str]) -> str | None:
    """The text of a template's own file; none where there is none, or, with a warning, where it cannot be read."""
    if not is_there(file):
        return None
    try:
        return read_bytes(file, again=_AGAIN, most=MOST_TEMPLATE).decode("utf-8")
    except BadInput as error:
        warnings.append(str(error))
    except UnicodeDecodeError:
        warnings.append(f"{file}: is no UTF-8 text; {_AGAIN}")
    return None
