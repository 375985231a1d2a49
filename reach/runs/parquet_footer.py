"""The footer of a Parquet file, read by itself: how many rows it claims, and how its pages are compressed.

Libraries end the whole process at some damaged footers, and lay out what they claim before anybody can look. So the
few numbers that matter are read first, from the Thrift compact protocol that the footer is written in
(https://github.com/apache/parquet-format, https://github.com/apache/thrift/blob/master/doc/specs).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"PAR1"
_DEEPEST = 16
# Numbers of fields in FileMetaData, RowGroup, ColumnChunk and ColumnMetaData, and of kinds in the protocol.
_ROWS, _GROUPS = 3, 4
_COLUMNS, _GROUP_ROWS = 1, 3
_ABOUT, _CODEC, _VALUES = 3, 4, 5
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)


@dataclass(frozen=True)
class Footer:
    """What a file claims of itself.

    Attributes:
        rows: of the whole; never less than those of its row groups together.
        values: of the column chunks of the fullest column, lists counted entry by entry.
        columns: of its widest row group.
        codecs: numbers of the compressions of its pages; 0 is none, 1 is Snappy.
    """

    rows: int
    values: int
    columns: int
    codecs: frozenset[int]


def read_footer(file: Path, most: int) -> Footer:
    """Read the footer of a file.

    Args:
        file: a regular file.
        most: bytes that a footer may have.

    Raises:
        ValueError: it is no Parquet file, or its footer is damaged or too long.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        end = stream.read(8)
        length = int.from_bytes(end[:4], "little")
        if size < 12 or end[4:] != MAGIC:
            raise ValueError("it does not end as a Parquet file does")
        if length > min(most, size - 12):
            raise ValueError(f"its footer claims {length} bytes")
        stream.seek(size - 8 - length)
        content = stream.read(length)
    try:
        return _footer(_Compact(content).struct())
    except (IndexError, KeyError, TypeError, AttributeError):
        raise ValueError("its footer is damaged") from None


def _footer(whole: dict[int, Any]) -> Footer:
    groups = whole[_GROUPS]
    chunks = [[column[_ABOUT] for column in group[_COLUMNS]] for group in groups]
    counts = [
        whole[_ROWS],
        *(group[_GROUP_ROWS] for group in groups),
        *(one[_VALUES] for row in chunks for one in row),
    ]
    if any(not isinstance(count, int) or count < 0 for count in counts):
        raise ValueError("its footer counts less than nothing")
    columns = max((len(row) for row in chunks), default=0)
    values = [sum(row[at][_VALUES] for row in chunks if at < len(row)) for at in range(columns)]
    rows = max(whole[_ROWS], sum(group[_GROUP_ROWS] for group in groups))
    return Footer(rows, max(values, default=0), columns, frozenset(one[_CODEC] for row in chunks for one in row))


class _Compact:
    """A reader of the compact protocol: structs as dicts by number of field, lists as lists, texts left out."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        found: dict[int, Any] = {}
        field = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 15
            field = field + step if step else self._integer()
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError("its footer is nested too deeply")
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in _INTEGERS:
            return self._integer()
        if kind == _DOUBLE:
            return self._skip(8)
        if kind == _BINARY:
            return self._skip(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            length = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(self._fitting(length))]
        if kind == _MAP:
            length = self._varint()
            kinds = self._byte() if length else 0
            for _ in range(self._fitting(length)):
                self._value(kinds >> 4, depth + 1)
                self._value(kinds & 15, depth + 1)
            return None
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ValueError("its footer is damaged")

    def _fitting(self, length: int) -> int:
        """A number of entries, each of which takes a byte at least."""
        if length > len(self.content) - self.at:
            raise ValueError("its footer is damaged")
        return length

    def _byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def _skip(self, length: int) -> None:
        self.at += self._fitting(length)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("its footer is damaged")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
