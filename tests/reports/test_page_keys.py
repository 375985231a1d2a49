"""What a page reads of a record is what the command has written into it: no entry is asked for by a wrong name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import real_runs

from reach.runs.manifest import Manifest, as_manifest
from reports.write import write_reports

OPTIONAL = {}
"""Entries that a record may lack, and why. A name that ends with a dot stands for everything below it."""


class Record(dict):
    """A JSON object that notes what is asked of it in vain."""

    path = ""
    absent: set[str]
    asked: set[str]

    def _note(self, key: object) -> None:
        self.asked.add(f"{self.path}.{key}")
        if not dict.__contains__(self, key):
            self.absent.add(f"{self.path}.{key}")

    def __getitem__(self, key: object) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def get(self, key: object, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self._note(key)
        return super().__contains__(key)


class Asked:
    """What pages have asked of the records that they read, by the kind of the record."""

    def __init__(self) -> None:
        self.every, self.absent = set[str](), set[str]()

    def loads(self, text: str, **options: Any) -> Any:
        found = _LOADS(text, object_pairs_hook=Record, **options)
        self._name(found, str(dict.get(found, "kind")) if isinstance(found, dict) else "")
        return found

    def _name(self, value: Any, path: str) -> None:
        if isinstance(value, Record):
            value.path, value.asked, value.absent = path, self.every, self.absent
            for key, below in value.items():
                self._name(below, f"{path}.{key}")
        elif isinstance(value, list):
            for below in value:
                self._name(below, f"{path}[]")


_LOADS = json.loads


@contextmanager
def noted() -> Iterator[Asked]:
    """Every record that is read meanwhile notes what is asked of it."""
    found = Asked()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json, "loads", found.loads)
        yield found


def missing(asked: Asked) -> list[str]:
    below = tuple(name for name in OPTIONAL if name.endswith("."))
    return sorted(name for name in asked.absent if name not in OPTIONAL and not name.startswith(below))


RUNS = (
    real_runs.scanned,
    real_runs.scanned_in_part,
    real_runs.scanned_in_no_time,
    real_runs.searched,
    real_runs.searched_shortly,
)
KINDS = {
    "search.json": "search",
}


@pytest.mark.parametrize("made", RUNS, ids=lambda made: made.__name__)
def test_every_entry_that_a_page_asks_for_is_in_the_record(made: Callable[[], Path], tmp_path: Path):
    run = made()
    with noted() as asked:
        write_reports([run], tmp_path / "page.html")
    held = {kind for name, kind in KINDS.items() if (run / name).is_file()}
    # The records were read as they are, not as copies that note nothing.
    assert {name.split(".")[0] for name in asked.every} >= held
    assert missing(asked) == []


@pytest.mark.parametrize("made", RUNS, ids=lambda made: made.__name__)
def test_the_class_of_a_manifest_knows_all_that_a_scan_writes_and_nothing_else(made: Callable[[], Path]):
    """Pages read the class, so that a wrong name is an error of types."""
    file = made() / "manifest.json"
    if file.is_file():
        written = json.loads(file.read_text(encoding="utf-8"))
        assert as_manifest(written, file.parent).record() == written
        left_out = {name for name in Manifest.__struct_fields__ if name not in written}
        assert left_out <= {"resumed", "engine", "same_head_as"}  # written where there is something to say


def test_nothing_is_called_optional_that_every_record_has(tmp_path: Path):
    runs = [made() for made in RUNS]
    with noted() as asked:
        for at, run in enumerate(runs):
            write_reports([run], tmp_path / f"{at}.html")
    assert [name for name in OPTIONAL if not any(one.startswith(name) for one in asked.absent)] == []
