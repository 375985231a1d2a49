"""Large objects on their way to other processes: a small pickle, and the arrays beside it as they lie in memory.

Whoever reads it uses the arrays where they are, in a file mapped into memory or in an object store, without a copy.
"""

from __future__ import annotations

import io
import mmap
import pickle
import struct
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reach.runs.atomic import writing_to
from solvers.errors import BadInput

_HEADER = struct.Struct("<QQ")
_ALIGNED = 64
_SAME = ("token-reachability", "torch", "numpy")
"""Packages whose versions must agree: the code, and what rounds."""


class _Pickler(pickle.Pickler):
    """Takes tensors apart into arrays, which pickles can hold by reference."""

    def reducer_override(self, thing: Any) -> Any:
        if type(thing) is not torch.Tensor or thing.layout != torch.strided:
            return NotImplemented
        flat = thing.detach().cpu().contiguous().reshape(-1)
        return _tensor, (flat.view(torch.uint8).numpy(), thing.dtype, tuple(thing.shape))


def _tensor(content: np.ndarray, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    with warnings.catch_warnings():
        # An object store hands out memory that cannot be written to; nothing writes to rows.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(content).view(dtype).reshape(shape)


def packed(value: Any) -> tuple[bytes, list[np.ndarray]]:
    """An object as a pickle and the arrays beside it."""
    stream, buffers = io.BytesIO(), list[pickle.PickleBuffer]()
    _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump((_versions(), value))
    return stream.getvalue(), [np.frombuffer(buffer.raw(), dtype=np.uint8) for buffer in buffers]


def unpacked(pickled: bytes, buffers: list[Any]) -> Any:
    """The object again.

    Raises:
        BadInput: this process runs other versions than the one that packed it.
    """
    theirs, value = pickle.loads(pickled, buffers=buffers)
    mine = _versions()
    for name in _SAME:
        if theirs[name] != mine[name]:
            raise BadInput(
                f"a worker has {name} {mine[name]}, but the scan was started with {theirs[name]}; install the same "
                "version on all machines"
            )
    return value


def _versions() -> dict[str, str]:
    found = {}
    for name in _SAME:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "of no installed package"
    return found


def write_shared(path: Path, value: Any) -> None:
    """Write an object to a file that `read_shared` maps into memory.

    Raises:
        BadInput: there is no room for it, or it cannot be written.
    """
    pickled, buffers = packed(value)
    sizes = struct.pack(f"<{len(buffers)}Q", *(len(buffer) for buffer in buffers))
    with writing_to(path), path.open("wb") as file:
        file.write(_HEADER.pack(len(pickled), len(buffers)) + sizes + pickled)
        for buffer in buffers:
            file.write(bytes(-file.tell() % _ALIGNED))
            file.write(buffer.data)


def read_shared(path: Path) -> Any:
    """The object of a file; its arrays are pages of the file that all processes share."""
    with path.open("rb") as file:
        # What a process writes into such memory, it alone sees.
        memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    length, count = _HEADER.unpack_from(memory)
    sizes = struct.unpack_from(f"<{count}Q", memory, _HEADER.size)
    at = _HEADER.size + 8 * count
    pickled = bytes(memory[at : at + length])
    at += length
    buffers = []
    for size in sizes:
        at += -at % _ALIGNED
        buffers.append(memory[at : at + size])
        at += size
    return unpacked(pickled, buffers)


_loaded: dict[Any, Any] = {}


def loaded(key: Any, load: Any) -> Any:
    """What `load` makes, kept in this process until another object is asked for."""
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load()
    return _loaded[key]
