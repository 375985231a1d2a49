"""The header of a GGUF file: its settings, and where each tensor lies. Nothing in it is believed unchecked.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
The package gguf makes arrays of every entry, a million for a large vocabulary; here a list is skipped until then.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reach.bounded import check_file
from reach.heads.gguf.types import StoredType, stored_types
from reach.options import short
from solvers.errors import BadInput

MAGIC = b"GGUF"
AGAIN = "copy or download it again"
_VERSIONS = (2, 3)
_MOST_SIZE = 2**63
_MOST_HEADER = 2**27
"""Bytes that a header may take; the largest vocabularies need a quarter."""
_MOST_ENTRIES, _MOST_TENSORS, _MOST_NAME, _MOST_ITEMS = 2**16, 2**18, 2**8, 2**23
_MOST_AXES = 4
_ALIGNMENT, _MOST_ALIGNMENT = 32, 2**20
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_SIZES = {kind: struct.calcsize("<" + code) for kind, code in _SCALARS.items()}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies.

    Attributes:
        name: its name.
        shape: rows first; the file has it the other way round.
        code: the number of its stored type.
        kind: that type; none where the installed package does not know it.
        start: its first byte in the file.
    """

    name: str
    shape: tuple[int, ...]
    code: int
    kind: StoredType | None
    start: int

    @property
    def size(self) -> int:
        """Bytes that it takes; 0 where its type is not known."""
        return 0 if self.kind is None else math.prod(self.shape) // self.kind.numbers * self.kind.bytes


@dataclass(frozen=True)
class _Entry:
    """A value in its place: its type, how many items an array has, and its first byte."""

    kind: int
    items: int
    start: int


class GgufHeader:
    """The settings of a GGUF file and its tensors by name.

    Attributes:
        path: the file.
        content: its bytes, mapped.
        tensors: by name, in the file's order.

    Raises:
        BadInput: it is no GGUF file, of another version or byte order, cut off, or says what cannot be.
        MissingExtra: the package gguf is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = check_file(path, again=AGAIN, most=_MOST_SIZE)
        try:
            with path.open("rb") as stream:
                begins = stream.read(8)
                if begins[:4] != MAGIC:
                    raise BadInput(f"{path} is no GGUF file: it begins with {begins[:4]!r}")
                if size < 24:
                    raise BadInput(f"{path} is truncated (it ends after {size} bytes): {AGAIN}")
                _check_version(path, begins[4:])
                self.content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
        try:
            cursor = _Cursor(self.content)
            cursor.skip(8)
            tensors, entries = cursor.count(_MOST_TENSORS, "tensors"), cursor.count(_MOST_ENTRIES, "entries")
            self._entries = _read_entries(cursor, entries)
            self.tensors = self._read_tensors(cursor, tensors)
        except _Damaged as damage:
            raise BadInput(f"{path} is truncated or damaged ({str(damage)[:_MOST_NAME]}): {AGAIN}") from None

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def architecture(self) -> str:
        """What llama.cpp calls the kind of model, or an empty string."""
        return short(self.text("general.architecture") or "")

    def text(self, key: str) -> str | None:
        """A setting that is a string, or none.

        Raises:
            BadInput: it is something else.
        """
        return self._value(key, str, "text")

    def number(self, key: str) -> float | None:
        """A setting that is a finite number, or none.

        Raises:
            BadInput: it is something else.
        """
        value = self._value(key, (int, float), "a number")
        if value is not None and not math.isfinite(value):
            raise BadInput(f"{self.path}: {key} is {value}, but must be a finite number")
        return None if value is None else float(value)

    def count(self, key: str) -> int | None:
        """A setting that is a whole number, or none.

        Raises:
            BadInput: it is something else.
        """
        return self._value(key, int, "a whole number")

    def strings(self, key: str) -> list[bytes] | None:
        """A list of strings as the bytes that are stored, or none.

        Raises:
            BadInput: it is something else, or longer than any vocabulary.
        """
        entry = self._list(key, (_STRING,), "a list of strings")
        if entry is None:
            return None
        cursor = _Cursor(self.content, entry.start)
        return [cursor.string() for _ in range(entry.items)]

    def integers(self, key: str) -> list[int] | None:
        """A list of whole numbers, or none.

        Raises:
            BadInput: it is something else, or longer than any vocabulary.
        """
        entry = self._list(key, (0, 1, 2, 3, 4, 5, 10, 11), "a list of whole numbers")
        if entry is None:
            return None
        kind = np.dtype("<" + _SCALARS[entry.kind])
        return np.frombuffer(self.content, kind, entry.items, entry.start).tolist()

    def _value(self, key: str, kinds: Any, words: str) -> Any:
        entry = self._entries.get(key)
        if entry is None:
            return None
        value = None
        cursor = _Cursor(self.content, entry.start)
        if entry.kind == _STRING:
            value = _readable(cursor.string())
        elif entry.kind in _SCALARS:
            value = cursor.scalar(entry.kind)
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise BadInput(f"{self.path}: {key} must be {words}: {AGAIN}")
        return value

    def _list(self, key: str, kinds: tuple[int, ...], words: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.items < 0 or entry.kind not in kinds:
            raise BadInput(f"{self.path}: {key} must be {words}: {AGAIN}")
        if entry.items > _MOST_ITEMS:
            raise BadInput(f"{self.path}: {key} has {entry.items} items, more than any vocabulary: {AGAIN}")
        return entry

    def _read_tensors(self, cursor: _Cursor, number: int) -> dict[str, StoredTensor]:
        known = stored_types()
        described = []
        for _ in range(number):
            name = cursor.name()
            axes = cursor.scalar(4)
            if axes > _MOST_AXES:
                raise _Damaged(f"tensor {name} has {axes} axes")
            shape = tuple(cursor.scalar(10) for _ in range(axes))[::-1]
            described.append((name, shape, cursor.scalar(4), cursor.scalar(10)))
        step = _ALIGNMENT if "general.alignment" not in self else (self.count("general.alignment") or 0)
        if not 0 < step <= _MOST_ALIGNMENT or step & (step - 1):
            raise _Damaged(f"an alignment of {step} bytes")
        begin = -(-cursor.at // step) * step
        tensors: dict[str, StoredTensor] = {}
        for name, shape, code, offset in described:
            tensor = StoredTensor(name, shape, code, known.get(code), begin + offset)
            if name in tensors:
                raise _Damaged(f"two tensors are named {name}")
            if offset % step:
                raise _Damaged(f"tensor {name} begins off the grid of {step} bytes")
            if tensor.kind is not None and shape and shape[-1] % tensor.kind.numbers:
                raise _Damaged(f"the rows of {name}, {shape[-1]} numbers, are no whole blocks of {tensor.kind.name}")
            if tensor.start + tensor.size > len(self.content):
                raise _Damaged(
                    f"tensor {name} of {tensor.size} bytes would end beyond the file of {len(self.content)} bytes"
                )
            tensors[name] = tensor
        return tensors


class _Damaged(Exception):
    """What no GGUF file says."""


class _Cursor:
    """Reads on from a place, never beyond the end of the content or of what a header may take."""

    def __init__(self, content: mmap.mmap, at: int = 0) -> None:
        self._content = content
        self._end = min(len(content), _MOST_HEADER)
        self.at = at

    def skip(self, size: int) -> int:
        """Step over so many bytes; gives back where they begin."""
        start = self.at
        if size > self._end - start:
            raise self._beyond()
        self.at = start + size
        return start

    def _beyond(self) -> _Damaged:
        whole = self._end == len(self._content)
        return _Damaged(
            "its header ends beyond the file" if whole else f"its header is longer than {self._end} bytes"
        )

    def scalar(self, kind: int) -> Any:
        """The value of a type in `_SCALARS`."""
        return struct.unpack_from("<" + _SCALARS[kind], self._content, self.skip(_SIZES[kind]))[0]

    def string(self) -> bytes:
        """A string with its length before it."""
        length = self.scalar(10)
        start = self.skip(length)
        return self._content[start : start + length]

    def name(self) -> str:
        """A string of no more bytes than a name has."""
        found = self.string()
        if len(found) > _MOST_NAME:
            raise _Damaged(f"a name of {len(found)} bytes")
        return _readable(found)

    def count(self, most: int, what: str) -> int:
        """How many of something follow."""
        number = self.scalar(10)
        if number > most:
            raise _Damaged(f"it says that it has {number} {what}")
        return number

    def step_over(self, kind: int, items: int, key: str) -> None:
        """Step over so many items of a type."""
        if kind in _SCALARS:
            self.skip(items * _SIZES[kind])
        elif kind == _STRING:
            if 8 * items > self._end - self.at:
                raise _Damaged(f"{key} says that it has {items} items")
            length, content, last, at = _LENGTH.unpack_from, self._content, self._end - 8, self.at
            for _ in range(items):  # up to a million, hence without calls
                if at > last:
                    raise self._beyond()
                at += 8 + length(content, at)[0]
            self.skip(at - self.at)
        else:
            raise _Damaged(f"{key} is of the unknown type {kind}")


def _read_entries(cursor: _Cursor, number: int) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for _ in range(number):
        key = cursor.name()
        if key in entries:
            raise _Damaged(f"two entries are named {key}")
        kind, items = cursor.scalar(4), -1
        if kind == _ARRAY:
            kind, items = cursor.scalar(4), cursor.scalar(10)
        entries[key] = _Entry(kind, items, cursor.at)
        cursor.step_over(kind, 1 if items < 0 else items, key)
    return entries


def _check_version(path: Path, stored: bytes) -> None:
    version = int.from_bytes(stored, "little")
    if version in _VERSIONS:
        return
    if int.from_bytes(stored, "big") in _VERSIONS:
        raise BadInput(f"{path} is a big-endian GGUF file: convert it with llama.cpp's gguf_convert_endian.py")
    raise BadInput(
        f"{path} is a GGUF file of version {version}, but only {' and '.join(map(str, _VERSIONS))} can be read: "
        "convert the model again"
    )


def _readable(stored: bytes) -> str:
    """Bytes as text that a line can show; different bytes stay different."""
    text = stored.decode("utf-8", errors="backslashreplace")
    return text if text.isprintable() else repr(text)[1:-1]
