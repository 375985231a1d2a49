"""Files of tensors, opened for single tensors by name: safetensors here, and safetensors elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reach.heads.files import FIRST_BYTES, FileParts, ModelFiles
from reach.heads.safetensors_header import (
    LENGTH_BYTES,
    DamagedHeader,
    Entry,
    header_length,
    parse_header,
)
from solvers.errors import BadInput

TORCH_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    **({"F8_E8M0": torch.float8_e8m0fnu} if hasattr(torch, "float8_e8m0fnu") else {}),  # from PyTorch 2.7 on
}  # fmt: skip
"""The stored types that a tensor can be made of, by their names in safetensors files."""


class TensorFile(Protocol):
    """One file of tensors."""

    @property
    def place(self) -> str:
        """The file, for messages."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its tensors."""
        ...

    def dtype(self, name: str) -> str:
        """The stored type of a tensor, as safetensors names it where it has a name there."""
        ...

    def at_hand(self, name: str) -> bool:
        """Whether `tensor` needs no transfer."""
        ...

    def tensor(self, name: str) -> Shaped[Tensor, "..."]:
        """A tensor in its stored type, mapped from a file where that can be done.

        Raises:
            BadInput: the file is damaged, or could not be read or fetched.
        """
        ...


class SafetensorsFile:
    """A safetensors file on this machine.

    Raises:
        BadInput: it is damaged, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path
        with self._opened() as handle:
            self.names: tuple[str, ...] = tuple(handle.keys())

    def dtype(self, name: str) -> str:
        """The stored type."""
        with self._opened() as handle:
            return str(handle.get_slice(name).get_dtype())

    def at_hand(self, name: str) -> bool:  # noqa: ARG002
        """Always so."""
        return True

    def tensor(self, name: str) -> Shaped[Tensor, "..."]:
        """A tensor, mapped from the file."""
        with self._opened() as handle:
            return handle.get_tensor(name)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with safe_open(self._path, framework="pt") as handle:
                yield handle
        except SafetensorError as error:
            raise BadInput(f"{self.place} is truncated or damaged ({error}): copy or download it again") from None
        except OSError as error:
            raise BadInput(f"{self.place} cannot be read: {error.strerror or error}") from None


class SafetensorsParts:
    """A safetensors file elsewhere, of which the header and single tensors are fetched.

    Raises:
        BadInput: the header is damaged, or could not be fetched.
    """

    def __init__(self, parts: FileParts) -> None:
        self.place = parts.place
        self._parts = parts
        self._entries = self._header()
        self.names: tuple[str, ...] = tuple(self._entries)

    def dtype(self, name: str) -> str:
        """The stored type."""
        return self._entries[name].dtype

    def at_hand(self, name: str) -> bool:
        """Whether the tensor has been fetched."""
        entry = self._entries[name]
        return self._parts.at_hand(entry.start, entry.stop)

    def tensor(self, name: str) -> Shaped[Tensor, "..."]:
        """A tensor, mapped from the file that keeps its bytes."""
        entry = self._entries[name]
        dtype = TORCH_DTYPES.get(entry.dtype)
        if dtype is None:
            raise BadInput(f"{self.place}: {name} is stored as {entry.dtype}, which cannot be read here")
        if entry.start == entry.stop:
            return torch.empty(entry.shape, dtype=dtype)
        path = self._parts.read(entry.start, entry.stop, name)
        content = torch.from_file(str(path), shared=False, size=entry.stop - entry.start, dtype=torch.uint8)
        return content.view(dtype).reshape(entry.shape)

    def _header(self) -> dict[str, Entry]:
        size, first = self._parts.size, min(FIRST_BYTES, self._parts.size)
        ranges = [(0, first)]
        try:
            content = self._parts.read(0, first, "header").read_bytes()
            end = LENGTH_BYTES + header_length(content, size)
            if end > first:
                ranges.append((first, end))
                content += self._parts.read(first, end, "header").read_bytes()
            return dict(parse_header(content[LENGTH_BYTES:end], size))
        except DamagedHeader as damage:
            for start, stop in ranges:
                self._parts.forget(start, stop)
            raise BadInput(
                f"{self.place} is truncated or damaged ({damage}): it has to be mended on the Hub"
            ) from None


def open_tensors(files: ModelFiles, name: str) -> TensorFile | None:
    """Open one of a model's files of tensors; none if it has no such file.

    Raises:
        BadInput: it is damaged, could not be read or fetched, or is no such file.
    """
    if Path(name).suffix == ".safetensors":
        parts = files.parts(name)
        if parts is not None:
            return SafetensorsParts(parts)
        path = files.find(name)
        return None if path is None else SafetensorsFile(path)
    path = files.find(name)
    if path is None:
        return None
    from reach.heads.pickled import PickledFile

    return PickledFile(path)
