"""The studies: what can be asked of a head beside its scan. Each is a folder of its own, and a line here.

A study's folder holds its options, its run and its record; its page lies in `reports`. The command line and
`reach report` find all of them here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import numpy as np

from reach.runs.atomic import RUN_AGAIN
from reach.runs.reading import read_typed
from reach.runs.results import write_record


class StudyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a study leaves in a run folder for programs and for its page: written and read by the same class.

    Numbers that are not finite are null in the file, and None here.

    Attributes:
        FILE: its name in a run folder.
        PAGE: the name of its page there.
        SCHEMA: the schema that this version writes and reads.
        MAKE: the command that makes one; the run folder is added to it.
        AGAIN: what to do where one cannot be used.
        MENDED: what to do once the reason why one cannot be written is mended.
    """

    FILE: ClassVar[str]
    PAGE: ClassVar[str]
    MAKE: ClassVar[str]
    AGAIN: ClassVar[str]
    SCHEMA: ClassVar[int] = 1
    MENDED: ClassVar[str] = RUN_AGAIN

    schema: int = 1

    @classmethod
    def read(cls, run: Path) -> Self:
        """Read the record of a run folder.

        Raises:
            BadInput: there is none, or it is damaged, of another schema, or not what this class writes.
        """
        make = f"{cls.MAKE} --out {run}"
        return read_typed(run / cls.FILE, cls, cls.SCHEMA, make=make, again=cls.AGAIN)

    def write(self, run: Path) -> None:
        """Write it into a run folder.

        Raises:
            BadInput: it cannot be written.
        """
        write_record(run / self.FILE, self.plain(), again=self.MENDED)

    def plain(self) -> dict[str, Any]:
        """The same in plain types, as the file has it; numbers that are not finite are still there."""
        found: dict[str, Any] = msgspec.to_builtins(self, enc_hook=_number)
        return found


def _number(value: Any) -> Any:
    """A number of numpy's as one of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"cannot write {type(value).__name__}")


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        name: of its command.
        options: the class of its options.
        run: does the work: a head in, the files of a run folder out.
        record: the class of what it leaves there.
        page: where its page is written, "module:function" (the packages of pages are above this one).
    """

    name: str
    options: type
    run: Callable[..., Any]
    record: type[StudyRecord]
    page: str

    def writer(self) -> Callable[..., Path]:
        """The function that writes its page, imported only here."""
        found: Callable[..., Path] = _imported(self.page)
        return found


_PLACES = {
    "compare-solvers": "reach.compare.run:STUDY",
    "interference": "reach.interference.run:STUDY",
    "search": "reach.search.run:STUDY",
}
"""Every study, in the order of their pages."""


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


class _Studies(Mapping[str, Study]):
    """All studies by the names of their commands, each imported only when it is asked for."""

    def __getitem__(self, name: str) -> Study:
        found: Study = _imported(_PLACES[name])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


STUDIES = _Studies()
