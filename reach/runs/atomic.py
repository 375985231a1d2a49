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

RESUME, RUN_AGAIN = "go on with --resume", "run the command again"


def write_whole(path: Path, write: Callable[[Path], object], *, again: str = RESUME) -> None:
    """Let `write` fill a file beside `path`, then put it in its place.

    Args:
        path: the file; its folder is made where it is missing.
        write: fills the file that it is given.
        again: what to do once a full disk has room.

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
            raise BadInput(f"{path}: cannot be written: {why_unwritable(error, again)}") from None
        raise


def why_unwritable(error: BaseException, again: str = RESUME) -> str:
    """Why a file could not be written, in a few words; `again` is what to do once a full disk has room."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if full:
        return f"the disk is full; free some space and {again}"
    return getattr(error, "strerror", None) or str(error)


def write_json(path: Path, content: dict[str, Any], *, again: str = RESUME) -> None:
    """Write a JSON file for people and programs."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"), again=again)


def write_page(file: Path, text: str, *, force: bool) -> None:
    """Write a page for people to a place of their choice, whose folder must exist.

    Raises:
        BadInput: the file exists and `force` is off, or it cannot be written.
    """
    if file.is_dir():
        raise BadInput(f"{file}: is a folder; name a file such as {file / 'report.html'}")
    if file.exists() and not force:
        raise BadInput(f"{file}: exists already; pass --force to write it again")
    if not file.parent.is_dir():
        raise BadInput(f"{file}: cannot be written: no folder {file.parent}; choose another place with --out")
    write_whole(file, lambda partial: partial.write_text(text, encoding="utf-8", newline="\n"), again=RUN_AGAIN)
