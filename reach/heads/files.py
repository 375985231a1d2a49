"""The files of one model: a local folder, or something that fetches them on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from solvers.errors import BadInput


class Unreachable(BadInput):
    """A file that is not here, while the place it might come from cannot be asked."""


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
        """The local path of a file, fetched if need be; none if the model has no such file."""
        ...

    def at_hand(self, name: str) -> bool:
        """Whether `find` needs no transfer."""
        ...

    def peek(self, name: str) -> tuple[str, ...] | None:
        """The tensor names of a safetensors file elsewhere, read from its header alone; none if that fails."""
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

    def peek(self, name: str) -> tuple[str, ...] | None:  # noqa: ARG002
        """Local files are not elsewhere."""
        return None

    def fetch_tokenizer(self) -> None:
        """Nothing to bring."""
