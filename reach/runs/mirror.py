"""A run folder at a URL, worked on in a copy on this machine: what is put into the copy is at the URL at once.

The order in which files come and go at the URL is such that whoever is killed leaves what a local kill would leave: a
finished run, or an unfinished one whose journal is about its own manifest and can be gone on with.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reach.names import called, with_names
from reach.options import readable_path
from reach.runs.atomic import RUN_AGAIN, told_of_files_below, writing_to
from reach.runs.contents import LISTED, Filled, Wanted, fill, seen, start_pages_above
from reach.runs.lock import LOCK_FILE, locked
from reach.runs.manifest import FILE
from reach.runs.remote import RemoteFolder
from reach.runs.store import Store
from reach.runs.writing import JOURNALS
from solvers.errors import BadInput

_log = logging.getLogger(__name__)
_LEVELS_ABOVE = 3
_LONGEST = 60
_writing: set[Path] = set()


@contextlib.contextmanager
def mirrored(place: RemoteFolder, wanted: Wanted = Wanted(), *, alone: bool = False) -> Iterator[Path]:  # noqa: B008
    """A folder on this machine that stands for one at a URL for the length of the block.

    It is there with what the URL holds, and not there if that holds nothing. Files that `write_whole` puts into it
    are put to the URL before it returns; files that are removed from it are removed there, at the latest at the end.
    Messages name the URL. The copy is removed at the end, unless something in it could not be put to the URL.

    Args:
        place: the folder at the URL.
        wanted: what of it is needed here.
        alone: whether this is to be its only writer on this machine.

    Raises:
        BadInput: the URL cannot be opened, read or written, or another process of this machine is writing there.
    """
    store = Store(place)
    with contextlib.ExitStack() as stack:
        top = stack.enter_context(_staging(place) if alone else _temporary())
        folder = top.joinpath(*place.parts)
        stack.enter_context(called(folder, str(place)))
        mirror = _Mirror(store, place, folder)
        try:
            mirror.fill(wanted)
            with told_of_files_below(folder, mirror.put):
                yield folder
        except BadInput as error:
            mirror.settle()
            said = with_names(str(error))
            kept = _keep(place, folder, mirror)
            if kept is not None:
                said = f"{said} (what could not be put there is kept in {kept})"
            raise (error if said == str(error) else BadInput(said)) from None
        except Exception:
            mirror.settle()
            raise
        try:
            mirror.finish()
        except BadInput as error:
            kept = _keep(place, folder, mirror)
            raise BadInput(f"{error}" + ("" if kept is None else f" (all of it is kept in {kept})")) from None


def seen_at(place: RemoteFolder, wanted: Wanted = LISTED) -> object:
    """What is at a URL, by names and sizes; equal as long as nothing has come or gone."""
    return seen(Store(place), wanted)


def cache_folder() -> Path:
    """Where copies of runs that are written lie: `token-reachability/runs` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "token-reachability" / "runs"


class _Mirror:
    """What of a copy is at the URL.

    Attributes:
        unsent: files that could not be put there, with what to do once that is mended.
        sent: how many were.
    """

    def __init__(self, store: Store, place: RemoteFolder, folder: Path) -> None:
        self._store, self._place, self._folder = store, place, folder
        self._there: set[str] = set()
        self._filled = Filled()
        self.hollow: set[str] = set()
        self.unsent: dict[str, str] = {}
        self.sent = 0

    def fill(self, wanted: Wanted) -> None:
        """Make the copy."""
        self._filled = fill(self._store, self._folder, wanted)
        self._there = {name for name, _ in self._filled.seen}
        self.hollow = self._there - self._filled.whole
        if not wanted.deep:
            with writing_to(self._folder, again=RUN_AGAIN):
                self._folder.parent.mkdir(parents=True, exist_ok=True)
                start_pages_above(self._store, self._folder, min(_LEVELS_ABOVE, len(self._place.parts)))

    def put(self, file: Path, again: str) -> None:
        """Put a file of the copy to the URL.

        A journal that is gone here is of a run that is gone, too: it goes before anything of the next run comes. Old
        results go once the manifest speaks of a run that is going on, and before it says that one has finished.

        Raises:
            BadInput: it cannot be put there.
        """
        name = file.relative_to(self._folder).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            return
        self.hollow.discard(name)
        self.unsent[name] = again
        ends = name == FILE and _says_finished(file)
        self._drop(self._gone() if ends else self._gone_journals())
        self._store.put(file, name, again=again)
        del self.unsent[name]
        self._there.add(name)
        self.sent += 1
        if name == FILE and not ends:
            self._drop(self._gone())

    def settle(self) -> None:
        """Remove at the URL what is gone here; nothing depends on it any more."""
        if self.unsent or (self.sent == 0 and not self._gone()):
            return
        try:
            self._drop(self._gone())
            self._store.remove(self._filled.partial)
        except BadInput as error:
            _log.warning("%s", error)

    def finish(self) -> None:
        """Put to the URL what could not be put there before, then `settle`.

        Raises:
            BadInput: it still cannot.
        """
        for name, again in tuple(self.unsent.items()):
            if (self._folder / name).exists():
                self.put(self._folder / name, again)
            else:
                del self.unsent[name]
        self.settle()

    def _gone(self) -> list[str]:
        return sorted(name for name in self._there if not (self._folder / name).exists())

    def _gone_journals(self) -> list[str]:
        return [name for name in self._gone() if name.partition("/")[0] in JOURNALS]

    def _drop(self, names: list[str]) -> None:
        self._store.remove(names)
        self._there -= set(names)


def _says_finished(manifest: Path) -> bool:
    try:
        return bool(json.loads(manifest.read_bytes()).get("status") == "finished")
    except (OSError, ValueError, AttributeError):
        return False


# --- where copies lie -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    """A folder of this process alone."""
    with writing_to(tempfile.gettempdir(), again=RUN_AGAIN):
        folder = tempfile.TemporaryDirectory(prefix="reach-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name).resolve()


@contextlib.contextmanager
def _staging(place: RemoteFolder) -> Iterator[Path]:
    """The one folder of this machine for a URL, locked; what a killed writer left in it is at the URL already."""
    top = cache_folder().resolve() / f"{_word(place)}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    readable_path(top.joinpath(*place.parts))
    if top in _writing:
        raise BadInput(f"{place}: this command is writing there already; name two places")
    with called(top, str(place)):
        try:
            with locked(top):
                _writing.add(top)
                try:
                    _empty(top)
                    yield top
                finally:
                    _empty(top)
                    _writing.discard(top)
        except BadInput as error:
            said = with_names(str(error))
            raise (error if said == str(error) else BadInput(said)) from None
        finally:
            # A folder that a killed writer made outlives its lock.
            with contextlib.suppress(OSError):
                top.rmdir()


def _word(place: RemoteFolder) -> str:
    """A URL as a part of a folder's name."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join((place.protocol, *place.parts)))
    return plain[-_LONGEST:].strip("-.")


def _empty(top: Path) -> None:
    for entry in top.iterdir() if top.is_dir() else ():
        if entry.name != LOCK_FILE:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)


def _keep(place: RemoteFolder, folder: Path, mirror: _Mirror) -> Path | None:
    """Move a copy out of the way if it holds more than the URL does: where it is then, or none."""
    if not mirror.unsent or (set(mirror.unsent) == {FILE} and not mirror.sent):
        return None  # nothing has been done yet
    number = 1
    while (kept := cache_folder() / f"kept-{number}-{_word(place)}").exists():
        number += 1
    try:
        for name in mirror.hollow:
            (folder / name).unlink(missing_ok=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, kept)
    except OSError as error:
        _log.warning("%s: could not be kept in %s: %s", place, kept, error.strerror or error)
        return None
    return kept
