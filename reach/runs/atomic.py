"""Files that are either wholly there or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from solvers.errors import BadInput


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in its place.

    Raises:
        BadInput: the disk is full, or the folder cannot be written to; nothing half-written stays behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) or "No space left" in str(error):
            raise BadInput(f"{path}: cannot be written: {why_unwritable(error)}") from None
        raise


def why_unwritable(error: BaseException) -> str:
    """Why a file could not be written, in a few words."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if full:
        return "the disk is full; free some space and go on with --resume"
    return getattr(error, "strerror", None) or str(error)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file for people and programs."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
