"""One writer at a time: the lock that a command holds on a run folder while it works there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from reach.runs.atomic import RUN_AGAIN, why_unwritable
from solvers.errors import BadInput

LOCK_FILE = ".reach.lock"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
_held: set[Path] = set()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a run folder to this process for the length of the block; it is made where it is missing.

    The kernel releases the lock when the process ends, however it ends: a killed scan can be resumed at once. Within
    one process blocks may be nested. A folder that was made and is still empty at the end is removed again.

    Raises:
        BadInput: another process holds the folder, it is a file, or it cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file, but a run is a folder; choose another --out")
    whole = folder.resolve()
    if whole in _held:
        yield
        return
    made = [part for part in (whole, *whole.parents) if not part.exists()]
    try:
        lock = _acquire(folder, whole)
        _held.add(whole)
        try:
            yield
        finally:
            _held.discard(whole)
            # While the lock is still held: the file of a later holder must not be removed. Systems that cannot remove
            # an open file keep it.
            with contextlib.suppress(OSError):
                (whole / LOCK_FILE).unlink(missing_ok=True)
            if lock is not None:
                lock.release()
    finally:
        for part in made:
            with contextlib.suppress(OSError):
                part.rmdir()


def _acquire(folder: Path, whole: Path) -> FileLock | None:
    """The lock, acquired; none on a file system that knows no locks."""
    file = whole / LOCK_FILE
    lock = FileLock(file, timeout=0)
    try:
        whole.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BadInput(
            f"{folder}: another reach{_holder(file)} is writing to this run folder; wait until it has ended, or "
            "choose another --out"
        ) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise BadInput(f"{folder}: cannot be written: {why_unwritable(error, RUN_AGAIN)}") from None
    with contextlib.suppress(OSError):
        file.write_text(f"{os.getpid()}\n", encoding="ascii")
    return lock


def _holder(file: Path) -> str:
    """Which process wrote its number into the file, in words; nothing where that is not to be had."""
    try:
        number = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return f" (process {number})" if number.isdigit() else ""
