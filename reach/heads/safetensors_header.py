"""The header of a safetensors file: where each tensor lies, checked before a byte of it is believed.

Reference:
    https://huggingface.co/docs/safetensors/index#format: eight bytes with the header's length, the header as JSON,
    then the tensors one after the other, without holes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

LENGTH_BYTES = 8
MOST_HEADER = 100_000_000
"""Bytes of a header; the format allows no more."""

_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class DamagedHeader(Exception):
    """What is wrong with a header, in a few words."""


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies.

    Attributes:
        dtype: its type, by its name in the file.
        shape: its shape.
        start, stop: its bytes, counted from the beginning of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class _Stored(msgspec.Struct):
    dtype: str
    shape: tuple[_Count, ...]
    data_offsets: tuple[_Count, _Count]


def header_length(first: bytes, size: int) -> int:
    """Bytes of the JSON text, by the first eight bytes of a file of some size.

    Raises:
        DamagedHeader: the file is too short for what it says.
    """
    if len(first) < LENGTH_BYTES:
        raise DamagedHeader(f"it has {size} bytes, too few for any header")
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if length > MOST_HEADER:
        raise DamagedHeader(f"its header is said to take {length} bytes, but at most {MOST_HEADER} are allowed")
    if LENGTH_BYTES + length > size:
        raise DamagedHeader(f"its header is said to take {length} bytes, but the whole file has {size}")
    return length


def parse_header(text: bytes, size: int) -> Mapping[str, Entry]:
    """The tensors of a file by name.

    Args:
        text: the JSON text.
        size: bytes of the whole file.

    Raises:
        DamagedHeader: it is no such JSON, or its tensors overlap, leave holes, have other sizes than their shapes and
            types say, or do not end where the file ends.
    """
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        stored = {name: msgspec.json.decode(entry, type=_Stored) for name, entry in raw.items()}
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise DamagedHeader(f"its header is not readable: {' '.join(str(error).split())[:200]}") from None
    begin = end = LENGTH_BYTES + len(text)
    entries = {}
    for name, one in sorted(stored.items(), key=lambda item: item[1].data_offsets):
        start, stop = (begin + offset for offset in one.data_offsets)
        if start != end or stop < start:
            raise DamagedHeader(f"{name[:200]} overlaps with another tensor, or there is a hole before it")
        bits = _BITS.get(one.dtype)
        if bits is not None and bits * math.prod(one.shape) != 8 * (stop - start):
            shape = "×".join(map(str, one.shape[:8]))
            raise DamagedHeader(f"{name[:200]} has {stop - start} bytes, which is not {shape} of {one.dtype[:20]}")
        entries[name] = Entry(one.dtype, one.shape, start, stop)
        end = stop
    if end != size:
        raise DamagedHeader(f"its tensors end at byte {end}, but the file at {size}")
    return {name: entries[name] for name in stored}
