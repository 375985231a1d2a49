"""numpy's own files, `.npy` and `.npz`: plain arrays, measured by their headers before a value is read."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from reach.bounded import check_file
from solvers.errors import BadInput

FLOATS = (np.float16, np.float32, np.float64)
"""The stored types that can be worked with."""

_MOST_MEMBERS = 64
_MOST_UNPACKED, _MOST_TIMES = 2**28, 64
"""What an archive may unpack to: so many bytes, or so many times its own size."""
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0,
}  # fmt: skip
_AGAIN = "write it again with numpy"
_BAD_HEADER = (
    ValueError, SyntaxError, TokenError, TypeError, EOFError, MemoryError, RecursionError, OverflowError,
)  # fmt: skip


def read_npy(file: Path) -> np.ndarray:
    """The array of a `.npy` file.

    Raises:
        BadInput: it is no regular file, no `.npy`, or holds objects or other bytes than its header says.
    """
    size = check_file(file, again=_AGAIN)
    with _readable(file, ".npy file"), file.open("rb") as stream:
        return _array(stream, size, str(file))


def read_npz(
    file: Path, check_names: Callable[[list[str]], None] = lambda _: None, most: int = _MOST_UNPACKED
) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` archive by name.

    Args:
        file: the archive.
        check_names: told the names before anything is unpacked; raises BadInput for those that it does not know.
        most: bytes that it may unpack to, or else that many times its own size that real weights may.

    Raises:
        BadInput: it is no archive, unpacks to far more than its size, or a member is as in `read_npy`.
    """
    size = check_file(file, again=_AGAIN)
    with file.open("rb") as stream:
        if stream.read(2) != b"PK" and size >= 4:
            raise BadInput(f"{file} is no .npz archive: write it with numpy.savez")
    with _readable(file, ".npz archive"), zipfile.ZipFile(file) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        unpacked = sum(member.file_size for member in members.values())
        if len(members) > _MOST_MEMBERS or unpacked > max(most, _MOST_TIMES * size):
            raise BadInput(
                f"{file} unpacks to {len(members)} arrays of {unpacked} bytes in all: store only the head's"
            )
        check_names(list(members))
        arrays = {}
        for name, member in members.items():
            with archive.open(member) as stream:
                arrays[name] = _array(stream, member.file_size, f"{file}: {name}")
        return arrays


def as_tensor(file: Path, name: str, array: np.ndarray) -> Tensor:
    """An array of floats as a tensor in the machine's own byte order.

    Raises:
        BadInput: it holds something else.
    """
    native = array.dtype.newbyteorder("=")
    if native not in FLOATS:
        raise BadInput(f"{file}: {name} is stored as {array.dtype}; use float16, float32 or float64")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=native))


def _array(stream: IO[bytes], size: int, place: str) -> np.ndarray:
    """The array that a stream of so many bytes holds."""
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"header version {version}")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise BadInput(f"{place} holds pickled objects, which are never loaded: store plain float arrays")
    expected = math.prod(shape) * dtype.itemsize
    left = size - stream.tell()
    if min(shape, default=0) < 0 or expected != left or not dtype.itemsize:
        raise ValueError(f"shape {'×'.join(map(str, shape))} of {dtype}, but {left} bytes")
    content, filled = bytearray(left), 0
    while filled < left:
        read = stream.readinto(memoryview(content)[filled:])  # type: ignore[attr-defined]
        if not read:
            raise ValueError("it ends too early")
        filled += read
    array = np.frombuffer(content, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


@contextmanager
def _readable(file: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except BadInput:
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, *_BAD_HEADER) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadInput(f"{file} is truncated or no {kind} ({reason}): write it again") from None
