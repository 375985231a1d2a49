"""What lies at a URL, by way of fsspec: listed, fetched, put there whole, removed. Failures are one line each."""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reach.names import without_credentials
from reach.runs.atomic import RUN_AGAIN, why_unwritable
from reach.runs.remote import OBJECT_STORES, RemoteFolder
from solvers.errors import BadInput

_PACKAGES = {
    "smbclient": "smbprotocol",
    "google": "gcsfs",
    "azure": "adlfs",
    "botocore": "s3fs",
    "aiobotocore": "s3fs",
}
_LONGEST = 200
_DENIED = ("credential", "auth", "denied", "forbidden", "permission")
_CUT_OFF = ("connect", "timeout", "dns", "gaierror", "unreachable", "endpoint")


@dataclass(frozen=True)
class Entry:
    """Something in a folder of the store.

    Attributes:
        name: in its folder.
        size: bytes; none where the store does not say.
        folder: whether it is one.
    """

    name: str
    size: int | None
    folder: bool


class Store:
    """A folder at a URL, opened. Names of files in it are relative, with `/`.

    Args:
        place: the folder.

    Raises:
        BadInput: the protocol is unknown, or needs a package that is not installed; or what the URL says cannot be.
    """

    def __init__(self, place: RemoteFolder) -> None:
        self.place = place
        self._fs, self._root = _opened(place)

    def entries(self, below: str = "") -> list[Entry] | None:
        """What a folder holds; none where there is no such folder.

        Raises:
            BadInput: it is a file, or cannot be read.
        """
        path = self._path(below)
        with self._doing(below, "read"):
            try:
                self._fs.invalidate_cache()
                if self._fs.info(path)["type"] == "file":
                    raise BadInput(f"{self._shown(below)}: is a file, but a run is a folder; name a folder")
                found = self._fs.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return None
        entries = {}
        for one in found:
            name = str(one["name"]).rstrip("/").rpartition("/")[2]
            # Object stores may list the folder itself among what it holds.
            if str(one["name"]).strip("/") != path.strip("/"):
                entries[name] = Entry(name, one.get("size"), one["type"] == "directory")
        return [entries[name] for name in sorted(entries)]

    def fetch(self, names: Sequence[str], folder: Path) -> None:
        """Copy files into a folder of this machine; those below it are there.

        Raises:
            BadInput: one cannot be read or written.
        """
        if not names:
            return
        with self._doing("", "read"):
            self._fs.get([self._path(name) for name in names], [str(folder / name) for name in names])

    def ends(self, files: Sequence[tuple[str, int]], most: int) -> list[bytes]:
        """The last bytes of files of which name and size are given.

        Raises:
            BadInput: one cannot be read.
        """
        if not files:
            return []
        with self._doing("", "read"):
            starts = [max(0, size - most) for _, size in files]
            paths, ends = [self._path(name) for name, _ in files], [size for _, size in files]
            return [bytes(part) for part in self._fs.cat_ranges(paths, starts, ends, on_error="raise")]

    def start(self, name: str, most: int) -> bytes | None:
        """The first bytes of a file, or none where it cannot be read; `name` may begin with `../`."""
        path = self._root
        while name.startswith("../"):
            path, name = path.rpartition("/")[0], name[3:]
        try:
            return bytes(self._fs.cat_file(f"{path}/{name}", start=0, end=most)) if path.strip("/") else None
        except Exception:
            return None

    def put(self, file: Path, name: str, *, again: str) -> None:
        """Put a file in its place: nobody ever sees a part of it under this name.

        Stores of objects do that of themselves. Elsewhere it goes to another name beside it first, and is moved; a
        store that has no move of its own would copy instead, which is no better than to write it at once.

        Raises:
            BadInput: it cannot be written, and why.
        """
        path = self._path(name)
        with self._doing(name, "written", again):
            if self.place.protocol in OBJECT_STORES:
                self._fs.put_file(str(file), path)  # folders are not made: of a bucket, that would be a new one
                return
            above, _, last = path.rpartition("/")
            self._fs.makedirs(above, exist_ok=True)
            if not _moves(self._fs):
                self._fs.put_file(str(file), path)
                return
            partial = f"{above}/.{last}.{uuid.uuid4().hex[:8]}.part"
            try:
                self._fs.put_file(str(file), partial)
                if self._fs.info(partial)["size"] != file.stat().st_size:
                    raise OSError(errno.EIO, "only a part of it arrived")
                self._move(partial, path)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._fs.rm_file(partial)
                raise

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, those that are still there, and folders below the store's that are empty then.

        Raises:
            BadInput: one cannot be removed.
        """
        for name in names:
            with self._doing(name, "removed"), contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(self._path(name))
        if self.place.protocol not in OBJECT_STORES:
            for folder in sorted({name.rpartition("/")[0] for name in names if "/" in name}, reverse=True):
                with contextlib.suppress(Exception):
                    if not self._fs.ls(self._path(folder), detail=False):
                        self._fs.rmdir(self._path(folder))

    def _move(self, partial: str, path: str) -> None:
        try:
            self._fs.mv(partial, path)
        except Exception:
            # There are file systems (SMB, HDFS) that move nothing to where something is.
            if not self._fs.exists(path):
                raise
            self._fs.rm_file(path)
            self._fs.mv(partial, path)

    def _path(self, name: str) -> str:
        root = self._root.rstrip("/")
        return f"{root}/{name}" if name else root or self._root

    def _shown(self, name: str) -> str:
        return f"{self.place}/{name}" if name else str(self.place)

    @contextlib.contextmanager
    def _doing(self, name: str, what: str, again: str = RUN_AGAIN) -> Iterator[None]:
        try:
            yield
        except BadInput:
            raise
        except Exception as error:
            raise BadInput(f"{self._shown(name)}: cannot be {what}: {_why(error, self.place, again)}") from None


def _opened(place: RemoteFolder) -> tuple[Any, str]:
    from fsspec import get_filesystem_class
    from fsspec.core import url_to_fs

    try:
        get_filesystem_class(place.protocol)
    except ImportError as error:
        raise BadInput(f"{place}: {_lacking(error, place)}") from None
    except ValueError:
        raise BadInput(
            f"{place}: fsspec knows no protocol {place.protocol!r}; is it written as s3://, gs://, …?"
        ) from None
    try:
        fs, root = url_to_fs(f"{place.protocol}{place.url[len(place.protocol) :]}")
    except ImportError as error:
        raise BadInput(f"{place}: {_lacking(error, place)}") from None
    except Exception as error:
        raise BadInput(f"{place}: cannot be opened: {_why(error, place, RUN_AGAIN)}") from None
    return fs, str(root)


def _lacking(error: ImportError, place: RemoteFolder) -> str:
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, ImportError) and cause.name):
        cause = cause.__cause__ or cause.__context__
    module = str(getattr(cause, "name", None) or "").partition(".")[0]
    package = _PACKAGES.get(module, module)
    if not package:
        return f"a package for {place.protocol}:// is missing ({_first_words(error)})"
    return f"{place.protocol}:// needs a package that is not installed: pip install {package}"


def _moves(fs: Any) -> bool:
    """Whether a file system has a move of its own."""
    from fsspec import AbstractFileSystem

    return type(fs).mv is not AbstractFileSystem.mv


def _why(error: BaseException, place: RemoteFolder, again: str) -> str:
    """Why the store refused, in its own words, and what to do."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
        return why_unwritable(error, again)
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "builtins").lower()
    said = _first_words(error, place)
    if isinstance(error, NotImplementedError):
        return f"{place.protocol}:// takes no files; choose another place"
    if isinstance(error, PermissionError) or any(word in kinds for word in _DENIED):
        return f"{said}; see to the credentials of this machine and to what they permit, and {again}"
    if isinstance(error, ConnectionError | TimeoutError) or any(word in kinds for word in _CUT_OFF):
        return f"{said}; see to the address and the connection, and {again}"
    if isinstance(error, FileNotFoundError):
        return f"{said}; make the bucket or the folder above it first, and {again}"
    return f"{said}; see to it, and {again}"


def _first_words(error: BaseException, place: RemoteFolder | None = None) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    if place is not None:
        host = place.url[len(place.protocol) + 3 :].partition("/")[0]
        secret = host.rpartition("@")[0].partition(":")[2]
        words = words.replace(secret, "…") if secret else words
    return without_credentials(words)[:_LONGEST]
