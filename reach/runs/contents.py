"""What of a folder at a URL a command needs on this machine: whole files, parts of them, or that they exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reach.bounded import MOST_FILE, MOST_JSON
from reach.runs.atomic import RUN_AGAIN, writing_to
from reach.runs.manifest import FILE, MOST_BYTES
from reach.runs.store import Entry, Store
from reach.runs.writing import FURTHER_RESULTS, JOURNALS, WITNESSES

START_PAGE = "index.html"
_INSIDE = (*JOURNALS, WITNESSES, *FURTHER_RESULTS)
"""Folders that a run may hold."""
_WHOLE = (".json", ".parquet", ".safetensors")
_LISTED = (FILE, "gate.json")
_COUNTED = ("verdicts.parquet", "hull_weights.parquet")
_START, _END = 2**12, 2**17
_PARTIAL = ".part"


@dataclass(frozen=True)
class Wanted:
    """What is needed.

    Attributes:
        deep: levels of folders that are searched for runs below the place; 0 for a run itself.
        journals: whether unfinished work is.
        outline: of runs only what a list of them shows: manifests, the ends of tables, and which pages there are.
    """

    deep: int = 0
    journals: bool = True
    outline: bool = False


LISTED = Wanted(deep=3, outline=True)
"""What a start page over a folder of runs shows."""


@dataclass(frozen=True)
class Filled:
    """What a copy holds.

    Attributes:
        whole: files that are as they are in the store.
        partial: what killed writers left half-written in the store.
        seen: every file with its size; another one where a run has come or gone.
    """

    whole: frozenset[str] = frozenset()
    partial: tuple[str, ...] = ()
    seen: tuple[tuple[str, int], ...] = ()


@dataclass
class _Plan:
    """Names of files, relative, with their sizes: to be fetched, to be there with their ends or starts, or hollow."""

    whole: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    hollow: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)


def fill(store: Store, folder: Path, wanted: Wanted) -> Filled:
    """Copy what is wanted into a new folder, which is made where there is one in the store.

    A file that is not needed is there without its content, so that what looks for its name finds it. So is one that
    is larger than its kind ever is: whoever reads it says so.

    Raises:
        BadInput: the place is a file, or cannot be read, or there is no room on this machine.
    """
    plan = _planned(store, wanted)
    if plan is None:
        return Filled()
    with writing_to(folder, again=RUN_AGAIN):
        folder.mkdir(parents=True, exist_ok=True)
        for name in plan.folders:
            (folder / name).mkdir(parents=True, exist_ok=True)
        _fetch(store, folder, plan.whole)
        # A manifest that counts nothing, of an earlier version, has its tables counted.
        asked = [one for one in plan.ends.items() if _counts((folder / one[0]).parent / FILE)]
        ends: dict[tuple[str, int], bytes] = dict(zip(asked, store.ends(asked, _END), strict=True))
        for (name, size), content in ends.items():
            _hollow(folder / name, size, content)
        enough = {name for (name, _), content in ends.items() if _holds_footer(content)}
        _fetch(store, folder, {name: size for name, size in plan.ends.items() if name not in enough})
        for name, size in plan.hollow.items():
            _hollow(folder / name, size)
        for name in plan.starts:
            (folder / name).write_bytes(store.start(name, _START) or b"")
    return Filled(frozenset(plan.whole), tuple(plan.partial), _seen(plan))


def seen(store: Store, wanted: Wanted) -> tuple[tuple[str, int], ...]:
    """What `Filled.seen` would be now."""
    plan = _planned(store, wanted)
    return () if plan is None else _seen(plan)


def start_pages_above(store: Store, folder: Path, levels: int) -> None:
    """Lay the beginnings of start pages above a run into the folders above its copy: its own page links to one."""
    for level in range(1, levels + 1):
        content = store.start(f"{'../' * level}{START_PAGE}", _START)
        if content is not None:
            (folder.parents[level - 1] / START_PAGE).write_bytes(content)


def _seen(plan: _Plan) -> tuple[tuple[str, int], ...]:
    return tuple(sorted({**plan.whole, **plan.ends, **plan.hollow}.items()))


def _planned(store: Store, wanted: Wanted) -> _Plan | None:
    entries = store.entries()
    if entries is None:
        return None
    plan = _Plan()
    _look(store, entries, "", wanted, wanted.deep, plan)
    return plan


def _look(store: Store, entries: list[Entry], below: str, wanted: Wanted, deep: int, plan: _Plan) -> None:
    """Sort a folder's entries into the plan, and those of the folders in it."""
    run = not wanted.deep or any(entry.name in (FILE, *_COUNTED) for entry in entries)
    for entry in entries:
        name = f"{below}{entry.name}"
        if entry.name.startswith(".") and entry.name.endswith(_PARTIAL) and not entry.folder:
            plan.partial.append(name)
        elif not _sound(entry.name):
            continue
        elif not entry.folder:
            _sort(entry, name, wanted, plan)
        elif run and entry.name in _INSIDE:
            plan.folders.append(name)
            if not wanted.deep and not wanted.outline and (wanted.journals or entry.name not in JOURNALS):
                files = [one for one in store.entries(name) or [] if not one.folder]
                _look(store, files, f"{name}/", wanted, 0, plan)
        else:
            plan.folders.append(name)
            if deep:
                _look(store, store.entries(name) or [], f"{name}/", wanted, deep - 1, plan)


def _sound(name: str) -> bool:
    """Whether a file or folder of this machine can be called so; objects may be called anything."""
    return bool(name) and not name.startswith(".") and "\0" not in name and len(name.encode(errors="replace")) < 256


def _sort(entry: Entry, name: str, wanted: Wanted, plan: _Plan) -> None:
    size, most = entry.size or 0, MOST_BYTES if entry.name == FILE else MOST_FILE
    if entry.name.endswith(".json") and entry.name != FILE:
        most = MOST_JSON
    if wanted.outline and name == START_PAGE:
        plan.starts[name] = size
    elif not entry.name.endswith(_WHOLE) or size > most:
        plan.hollow[name] = 0 if size <= most else most + 1
    elif wanted.outline and entry.name in _COUNTED:
        plan.ends[name] = size
    elif wanted.outline and entry.name not in _LISTED:
        plan.hollow[name] = size
    else:
        plan.whole[name] = size


def _fetch(store: Store, folder: Path, files: Mapping[str, int]) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    store.fetch(list(files), folder)


def _counts(manifest: Path) -> bool:
    """Whether a manifest says how many tokens a run's tables are about."""
    return not manifest.is_file() or b'"totals"' in manifest.read_bytes()


def _holds_footer(end: bytes) -> bool:
    """Whether the last bytes of a table hold its footer, whose length stands before the last four."""
    return int.from_bytes(end[-8:-4], "little") + 8 <= len(end)


def _hollow(file: Path, size: int, end: bytes = b"") -> None:
    """A file of a size with nothing but its end, which takes no more room than that."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.truncate(size)
        stream.seek(size - len(end))
        stream.write(end)
