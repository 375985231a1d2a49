"""The files of one model: a local folder, or something that fetches them, or parts of them, on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from solvers.errors import BadInput

FIRST_BYTES = 2**16
"""Bytes at the beginning of a file elsewhere that come first, in one piece; most headers are no longer."""


class Unreachable(BadInput):
    """A file that is not here, while the place it might come from cannot be asked."""


class FileParts(Protocol):
    """A file elsewhere, of which single ranges of bytes can be had."""

    @property
    def place(self) -> str:
        """The file, for messages."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        ...

    def read(self, start: int, stop: int, what: str) -> Path:
        """A local file that holds the bytes from `start` to before `stop`, fetched if need be.

        Args:
            start, stop: the range, within the file.
            what: what these bytes are, for the user.

        Raises:
            BadInput: they could not be fetched.
        """
        ...

    def at_hand(self, start: int, stop: int) -> bool:
        """Whether `read` needs no transfer."""
        ...

    def forget(self, start: int, stop: int) -> None:
        """Remove a range that turned out to be damaged, so that it is fetched again."""
        ...


class ModelFiles(Protocol):
    """Files by name, and where they come from."""

    @property
    def where(self) -> str:
        """The model's place, for messages."""
        ...

    @property
    def folder(self) -> Path:
        """The local folder that holds (or will hold) the files."""
        ...

    @property
    def revision(self) -> str | None:
        """The commit of the files, where they have one."""
        ...

    def find(self, name: str) -> Path | None:
        """The local path of a file, fetched whole if need be; none if the model has no such file."""
        ...

    def at_hand(self, name: str) -> bool:
        """Whether `find` needs no transfer."""
        ...

    def parts(self, name: str) -> FileParts | None:
        """The parts of a file elsewhere, the first `FIRST_BYTES` of them fetched.

        None where the file is here or missing, or is only to be had whole: then `find` is the way to it.

        Raises:
            BadInput: they could not be fetched.
        """
        ...

    def others(self, *endings: str) -> tuple[str, ...]:
        """The names of further files with some endings, as far as they can be listed without asking anybody."""
        ...

    def fetch_tokenizer(self) -> None:
        """Bring the files of the tokenizer into `folder`, where there are any."""
        ...


class LocalFiles:
    """The files of a local folder.

    Raises:
        BadInput: the folder is missing.
    """

    revision: str | None = None

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder: give a model folder or a Hub id")
        self.folder = folder
        self.where = str(folder)

    def find(self, name: str) -> Path | None:
        """The path of a file, or none if the folder has no such file."""
        path = self.folder / name
        return path if path.is_file() else None

    def at_hand(self, name: str) -> bool:  # noqa: ARG002
        """Local files always are."""
        return True

    def parts(self, name: str) -> FileParts | None:  # noqa: ARG002
        """Local files are not elsewhere."""
        return None

    def others(self, *endings: str) -> tuple[str, ...]:
        """The names of the folder's files with some endings, sorted."""
        return tuple(sorted(path.name for path in self.folder.iterdir() if path.suffix in endings and path.is_file()))

    def fetch_tokenizer(self) -> None:
        """Nothing to bring."""
