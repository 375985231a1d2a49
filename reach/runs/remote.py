"""Folders that are named by a URL, such as `s3://bucket/runs/gpt2`: what they are called, and which can be meant."""

from __future__ import annotations

import re
from typing import Any

from reach.names import without_credentials
from solvers.errors import BadInput

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PORT = re.compile(r"[^:]*(:\d*)?")
OBJECT_STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "ocilake", "tos", "obs", "r2")
)
"""Protocols of stores where an object appears when all of it is there, and whose credentials are no part of a URL."""


def is_url(text: object) -> bool:
    """Whether a text names its place by a URL. No path is written like that: `s3://a` would be the folder `s3:`."""
    return _URL.match(str(text)) is not None


class RemoteFolder:
    """A folder, or one below it, at a URL; immutable. As a text it has no credentials.

    Attributes:
        url: in full, for the file system alone.
        protocol: such as `s3`, in small letters.
    """

    __slots__ = ("protocol", "url")

    url: str
    protocol: str

    def __init__(self, url: str) -> None:
        """Take a URL as a person wrote it.

        Raises:
            BadInput: it does not name one folder.
        """
        found = _URL.match(url)
        if found is None:
            raise BadInput(f"{url}: is no URL such as s3://bucket/folder")
        object.__setattr__(self, "url", url.rstrip("/") if url[found.end() :].strip("/") else url)
        object.__setattr__(self, "protocol", found[1].lower())
        self._check(url[found.end() :])

    def _check(self, rest: str) -> None:
        if "::" in rest:
            raise BadInput(f"{self}: is several URLs in one; name a folder by one")
        host, _, path = rest.partition("/")
        host_alone = host.rpartition("@")[2]
        if not _PORT.fullmatch(host_alone):
            raise BadInput(
                f"{self.protocol}://…: what follows is no host, bucket or port; credentials do not belong in a URL: "
                "they go to the environment, or to the configuration of fsspec"
            )
        if self.protocol in OBJECT_STORES and ":" in host:
            raise BadInput(
                f"{self}: credentials do not belong in such a URL; put them where {self.protocol} looks for them "
                "(environment, or its own files)"
            )
        if "?" in rest and self.protocol not in ("file", "local", "memory"):
            raise BadInput(f"{str(self).partition('?')[0]}: '?' and what follows is no part of a folder's place")
        if any(part in (".", "..") for part in (host, *path.split("/"))):
            raise BadInput(f"{self}: write the folder without '.' and '..'")
        if "\0" in rest or not (host or path.strip("/")):
            raise BadInput(f"{self}: no folder can have such a name")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} does not change ({name})")

    def __reduce__(self) -> tuple[type[RemoteFolder], tuple[str]]:
        return type(self), (self.url,)

    def __str__(self) -> str:
        return without_credentials(self.url)

    def __repr__(self) -> str:
        return f"RemoteFolder({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteFolder) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __truediv__(self, below: object) -> RemoteFolder:
        return RemoteFolder(f"{self.url.rstrip('/')}/{below}")

    def __fspath__(self) -> str:
        """Refuse to pass for a path.

        Raises:
            BadInput: always.
        """
        raise BadInput(f"{self}: is a URL, where a folder of this machine is needed")

    @property
    def parts(self) -> tuple[str, ...]:
        """Host or bucket, and the folders below, as far as there are any."""
        rest = without_credentials(self.url)[len(self.protocol) + 3 :]
        return tuple(part for part in rest.split("/") if part)
