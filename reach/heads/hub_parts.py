"""Parts of files on the Hub, kept so that each is fetched once: whole or not at all, and continued after a break.

They lie beside the whole files in the Hub cache, in the folder of their repository, and go when that is removed:

    models--ORG--NAME/reach/COMMIT/FILE.json        size and ETag of a file of that commit
    models--ORG--NAME/reach/SHA256/START-STOP       a range of bytes of the file with that ETag
    models--ORG--NAME/reach/COMMIT/FILE/START-STOP  the same where the ETag is not the content's own hash
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import msgspec
from filelock import FileLock, Timeout

from reach.bounded import read_bytes
from reach.heads.files import Unreachable
from reach.heads.hub_transfer import Broken, Located, NoRanges, stream
from reach.progress import Progress, bars, in_a_terminal
from solvers.errors import BadInput

_log = logging.getLogger(__name__)

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before a transfer that broke is gone on with; one more break without progress is the last."""

_PROGRESS = 2**16
"""Bytes that have to come between two breaks for the second to count as the first."""
_BEFORE_SAYING_SO = 2.0
"""Seconds for which another process is waited for in silence."""
_CONTENT_HASH = re.compile(r"[0-9a-f]{64}")
_FOLDER = "reach"


class _Known(msgspec.Struct):
    """What is known of a file of one commit."""

    etag: str
    size: int


class HubParts:
    """The parts of one file of one commit of a Hub repository.

    Args:
        repo: Hub id, for messages.
        name: the file.
        storage: the repository's folder in the Hub cache.
        commit: the commit.
        locate: asks the Hub where the file is, and raises Broken for what may pass, else BadInput; none where the Hub
            may not be asked.

    Raises:
        Unreachable: nothing is kept of the file, and the Hub may not or cannot be asked.
        NoRanges: the Hub does not say what is needed to fetch parts.
        BadInput: `locate` raised it, or went on raising Broken.
    """

    def __init__(
        self, repo: str, name: str, storage: Path, commit: str, locate: Callable[[], Located] | None
    ) -> None:
        self.place = f"{repo}/{name}"
        self._name, self._locate = name, locate
        self._located: Located | None = None
        kept = storage / _FOLDER / commit
        self._record = kept / f"{quote(name, safe='')}.json"
        known = _read(self._record)
        if known is None:
            if locate is None:
                raise Unreachable(f"nothing of {self.place} is in the Hub cache")
            self._located = _patiently(locate, self.place)
            if self._located.size is None or self._located.etag is None:
                raise NoRanges
            known = _Known(self._located.etag, self._located.size)
            _write(self._record, msgspec.json.encode(known))
        self._known = known
        # A content that was seen before, under another commit, is the same content.
        self._folder = (
            storage / _FOLDER / known.etag if _CONTENT_HASH.fullmatch(known.etag) else kept / quote(name, safe="")
        )

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._known.size

    def at_hand(self, start: int, stop: int) -> bool:
        """Whether a range is kept."""
        with contextlib.suppress(OSError):
            return (self._folder / f"{start}-{stop}").stat().st_size == stop - start
        return False

    def forget(self, start: int, stop: int) -> None:
        """Remove a range."""
        with contextlib.suppress(OSError):
            (self._folder / f"{start}-{stop}").unlink()

    def read(self, start: int, stop: int, what: str) -> Path:
        """The file that holds a range, fetched if need be; what another process fetches at this time is waited for.

        Raises:
            BadInput: it could not be fetched or written; what has come is kept for the next time.
            Unreachable: it is not kept, and the Hub may not be asked.
            NoRanges: the server does not give parts of this file; raised at its beginning only.
        """
        path = self._folder / f"{start}-{stop}"
        if self.at_hand(start, stop):
            return path
        if self._locate is None:
            raise Unreachable(
                f"{what} of {self.place} is not in the Hub cache; only a model that the command line names is "
                "fetched from the Hub"
            )
        with _writing_to(self._folder), self._alone():
            if not self.at_hand(start, stop):
                partial = path.with_name(f"{path.name}.part")
                self._make_room(partial, stop - start)
                with partial.open("ab") as out:
                    self._fill(out, start, stop, what)
                    out.flush()
                    os.fsync(out.fileno())
                partial.replace(path)
        return path

    def _fill(self, out: BinaryIO, start: int, stop: int, what: str) -> None:
        """Fetch what is missing at the end of a partial file."""
        length = stop - start
        if out.tell() > length:
            out.truncate(0)
            out.seek(0)
        breaks = 0
        with _shown() as show:
            shown = f"{self._name}: {what}"
            show(shown, out.tell(), length)
            while out.tell() < length:
                begun = out.tell()
                try:
                    for chunk in stream(self._from(), start + begun, stop):
                        out.write(chunk)
                        show(shown, out.tell(), length)
                except (Broken, NoRanges) as error:
                    if isinstance(error, NoRanges) and start == 0:
                        raise
                    broken = error if isinstance(error, Broken) else Broken("the server sent the whole file")
                    if broken.elsewhere:
                        self._located = None
                    breaks = 1 if out.tell() - begun >= _PROGRESS else breaks + 1
                    if breaks > len(WAITS):
                        raise BadInput(
                            f"{self.place}: {what} could not be fetched: the transfer broke off {breaks} times, at "
                            f"last because: {broken}; run the command again to go on from byte {out.tell()} of "
                            f"{length}"
                        ) from None
                    time.sleep(WAITS[breaks - 1] if broken.wait is None else broken.wait)
                except BadInput as error:
                    raise BadInput(f"{self.place}: {what} could not be fetched: {error}") from None

    def _from(self) -> Located:
        """Where the file is now, which has to be the one that is known."""
        if self._located is None:
            assert self._locate is not None
            found = self._locate()
            if (found.etag, found.size) != (self._known.etag, self._known.size):
                raise BadInput(
                    f"it is another file now ({found.size} bytes, ETag {found.etag}) than the one that was seen at "
                    f"this commit before ({self._known.size} bytes, ETag {self._known.etag}): if the Hub is right, "
                    f"remove {self._record.parent}"
                )
            self._located = found
        return self._located

    def _make_room(self, partial: Path, length: int) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        free = shutil.disk_usage(self._folder).free
        if length - have > free:
            raise BadInput(
                f"{self.place}: {length - have} bytes are to be fetched, but the disk of {self._folder} has {free} "
                "left: free some space, or choose another place with HF_HOME"
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time fetches parts of a file; on a file system without locks, as many as like."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder / ".lock")
        try:
            try:
                lock.acquire(timeout=_BEFORE_SAYING_SO)
            except Timeout:
                _log.warning("%s is being fetched by another process, which is waited for", self.place)
                lock.acquire()
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        try:
            yield
        finally:
            lock.release()


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise BadInput(
            f"{folder}: cannot be written: {reason}: see to that, or choose another place with HF_HOME"
        ) from None


def _write(path: Path, content: bytes) -> None:
    """Write a small file, wholly or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    with _writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)


def _patiently(locate: Callable[[], Located], place: str) -> Located:
    for wait in WAITS:
        try:
            return locate()
        except Broken as broken:
            time.sleep(wait if broken.wait is None else broken.wait)
    try:
        return locate()
    except Broken as broken:
        raise BadInput(f"{place} cannot be fetched from the Hub: {broken}: try again later") from None


def _read(record: Path) -> _Known | None:
    """A record that is there and whole, or none."""
    try:
        return msgspec.json.decode(read_bytes(record, again="", most=2**16), type=_Known)
    except (BadInput, msgspec.DecodeError, RecursionError, ValueError):
        return None


@contextlib.contextmanager
def _shown() -> Iterator[Progress]:
    """Bars for somebody who would see them and has not asked huggingface_hub for none."""
    from huggingface_hub.utils import are_progress_bars_disabled

    with bars(quiet=not in_a_terminal() or are_progress_bars_disabled(), unit="B") as show:
        yield show
