"""Writing a page whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from solvers.errors import BadInput


def write_text(file: Path, text: str, *, force: bool) -> None:
    """Put text into a file under a temporary name, then rename it into place.

    Raises:
        BadInput: the file exists and `force` is off, or it cannot be written.
    """
    if file.is_dir():
        raise BadInput(f"{file}: is a folder; name a file such as {file / 'report.html'}")
    if file.exists() and not force:
        raise BadInput(f"{file}: exists already; pass --force to write it again")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise BadInput(f"{file}: cannot be written ({error.strerror}); choose another place with --out") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        temporary.chmod(0o666 & ~_umask())  # mkstemp hides its files from everyone else
        temporary.replace(file)
    except OSError as error:
        raise BadInput(f"{file}: cannot be written ({error.strerror}); nothing was changed") from None
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
