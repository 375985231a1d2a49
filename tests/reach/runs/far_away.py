"""A file system of the tests: what is put there and removed is counted, refused, or the last thing that happens."""

from __future__ import annotations

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class Killed(BaseException):
    """The process is gone: nothing that it still wanted to do is done."""


class FarAway(MemoryFileSystem):
    """Files in memory at `faraway://`.

    Attributes:
        events: what was put and removed, in order.
        last: after so many events the process is killed; none for never.
        refuse: what is raised instead of the next event, by the end of the name that it is about.
    """

    protocol = "faraway"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    events: ClassVar[list[tuple[str, str]]] = []
    last: ClassVar[int | None] = None
    refuse: ClassVar[dict[str, BaseException]] = {}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return MemoryFileSystem._strip_protocol(str(path).replace("faraway://", "memory://", 1))

    @classmethod
    def begin(cls, last: int | None = None) -> None:
        cls.events.clear()
        cls.refuse.clear()
        cls.last = last

    @classmethod
    def clear(cls) -> None:
        cls.begin()
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]

    def put_file(self, lpath: Any, rpath: Any, *args: Any, **options: Any) -> None:
        self._refused(rpath)
        super().put_file(lpath, rpath, *args, **options)
        self._happened("put", rpath)

    def rm_file(self, path: Any) -> None:
        self._refused(path)
        super().rm_file(path)
        self._happened("remove", path)

    def _refused(self, path: str) -> None:
        for end, error in self.refuse.items():
            if path.endswith(end):
                raise error

    def _happened(self, what: str, path: str) -> None:
        self.events.append((what, path))
        if self.last is not None and len(self.events) >= self.last:
            raise Killed

    @classmethod
    def files(cls, below: str = "") -> dict[str, bytes]:
        """What lies below a folder, by relative name."""
        start = f"/{below.strip('/')}/"
        return {
            name[len(start) :]: bytes(file.getvalue()) for name, file in cls.store.items() if name.startswith(start)
        }


fsspec.register_implementation("faraway", FarAway, clobber=True)
