"""Files that are either wholly there or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from solvers.errors import BadInput

RESUME, RUN_AGAIN = "go on with --resume", "run the command again"

Tell = Callable[[Path, str], object]
"""Told of a file that is in its place, and of what to do once the reason why it cannot be used is mended."""
_listeners: list[tuple[Path, Tell]] = []


@contextlib.contextmanager
def told_of_files_below(folder: Path, tell: Tell) -> Iterator[None]:
    """Within this block `tell` is called for every file below a folder as soon as `write_whole` has put it there.

    What it raises is raised where the file is written. `folder` is absolute.
    """
    listener = folder, tell
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def write_page_of(run: Path) -> str:
    """What to do where a command has finished and only its page could not be written."""
    return f"write the page with 'reach report {run}' (all the rest is finished and kept)"


def write_whole(path: Path, write: Callable[[Path], object], *, again: str = RESUME) -> None:
    """Let `write` fill a file beside `path`, then put it in its place.

    Args:
        path: the file; its folder is made where it is missing.
        write: fills the file that it is given.
        again: what to do once the reason is mended.

    Raises:
        BadInput: the file cannot be written, and why (see `why_unwritable`); nothing half-written stays behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing_to(path, again=again):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(partial)
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
    for folder, tell in tuple(_listeners):
        if path.is_relative_to(folder):
            tell(path, again)


@contextlib.contextmanager
def writing_to(place: Path | str, *, again: str = RESUME) -> Iterator[None]:
    """Within this block a failure to write is bad input: one line that names the place and says what to do.

    Raises:
        BadInput: an operation of the file system failed.
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        if isinstance(error, OSError) or _errno(error) is not None:
            raise BadInput(f"{place}: cannot be written: {why_unwritable(error, again)}") from None
        raise


_REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk is full; free some space",
    errno.EFBIG: "File too large for the limit on file sizes ('ulimit -f') or for the disk; raise the limit",
    errno.EROFS: "Read-only file system; choose another place, or make it writable",
    errno.EACCES: "Permission denied; choose another place, or see to the permissions",
    errno.EPERM: "Operation not permitted; choose another place, or see to the permissions",
    errno.EIO: "Input/output error: the disk or its connection fails; see to it",
}
_IN_WORDS = re.compile(r"\(os error (\d+)\)|\[errno (\d+)\]", re.IGNORECASE)


def why_unwritable(error: BaseException, again: str = RESUME) -> str:
    """Why a file could not be written and what to do, in a few words; `again` is what to do after that."""
    number = _errno(error)
    reason = _REASONS.get(number) if number is not None else None
    if reason is None:
        return getattr(error, "strerror", None) or (os.strerror(number) if number is not None else str(error))
    return f"{reason} and {again}" + (" (the quota on this disk is used up)" if number == errno.EDQUOT else "")


def _errno(error: BaseException) -> int | None:
    """The system's number of an error. Libraries in other languages hand it on in the text of their own kinds."""
    number = getattr(error, "errno", None)
    if number is None:
        found = _IN_WORDS.search(str(error))
        number = int(found[1] or found[2]) if found else None
    if number is None and "No space left" in str(error):
        number = errno.ENOSPC
    return number


def write_json(path: Path, content: dict[str, Any], *, again: str = RESUME) -> None:
    """Write a JSON file for people and programs."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    # Half a surrogate pair, such as names on the command line may hold, has no UTF-8; as an escape it is sound JSON.
    write_whole(
        path, lambda partial: partial.write_text(text, encoding="utf-8", errors="backslashreplace"), again=again
    )


def write_page(file: Path, text: str, *, force: bool, again: str = RUN_AGAIN) -> None:
    """Write a text for people to a place of their choice.

    Args:
        file: the page.
        text: its content.
        force: replace a file that is there.
        again: what to do once the reason why it cannot be written is mended.

    Raises:
        BadInput: see `check_place`; or the file cannot be written.
    """
    check_place(file, force=force)
    write_whole(file, lambda partial: partial.write_text(text, encoding="utf-8", newline="\n"), again=again)


def check_place(file: Path, *, force: bool) -> None:
    """Refuse a place that a person has chosen for a file, where none can be or one is already.

    Raises:
        BadInput: it is a folder or in none, or the file exists and `force` is off.
    """
    if file.is_dir():
        raise BadInput(f"{file}: is a folder; name a file such as {file / 'report.html'}")
    if file.exists() and not force:
        raise BadInput(f"{file}: exists already; pass --force to write it again")
    if not file.parent.is_dir():
        raise BadInput(f"{file}: cannot be written: no folder {file.parent}; choose another place with --out")
