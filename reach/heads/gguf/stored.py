"""The tensors of a GGUF model by name, over all its parts, as the numbers that llama.cpp makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reach.heads.gguf.header import GgufHeader, StoredTensor
from reach.heads.gguf.places import parts_of
from reach.heads.gguf.types import StoredType, dequantise
from reach.heads.weights import check_finite
from solvers.errors import BadInput

_PLAIN = {
    "F32": (np.float32, torch.float32), "F16": (np.float16, torch.float16), "BF16": (np.int16, torch.bfloat16),
    "F64": (np.float64, torch.float64),
}  # fmt: skip
"""Types that are numbers as they are: mapped from the file, and nothing computed."""
_BLOCK = 2**21
"""Numbers dequantised at a time; what is computed on the way takes some ten times their memory."""


class GgufTensors:
    """The tensors of a model, of which only those asked for are read.

    Attributes:
        where: the file that was named, for messages.
        header: of the first part, which has the settings.

    Args:
        file: the file, or one of its parts.

    Raises:
        BadInput: a part is missing or damaged, or two parts have the same tensor.
        MissingExtra: the package gguf is not installed.
    """

    def __init__(self, file: Path) -> None:
        paths = parts_of(file)
        headers = [GgufHeader(path) for path in paths]
        self.where, self.header = str(file), headers[0]
        self._found: dict[str, tuple[GgufHeader, StoredTensor]] = {}
        for number, header in enumerate(headers):
            _check_part(header, number, len(paths))
            for name, tensor in header.tensors.items():
                if name in self._found:
                    raise BadInput(
                        f"{header.path} and {self._found[name][0].path} both hold {name}: get a clean copy"
                    )
                self._found[name] = header, tensor

    def __contains__(self, name: str) -> bool:
        return name in self._found

    @property
    def names(self) -> tuple[str, ...]:
        """All tensor names of the model."""
        return tuple(self._found)

    def kind(self, name: str) -> str:
        """How a stored tensor is stored, such as `Q6_K`, or `float16` for a plain type."""
        kind = self._kind(name)
        return str(_PLAIN[kind.name][1]).removeprefix("torch.") if kind.name in _PLAIN else kind.name

    def matrix_shape(self, name: str) -> tuple[int, int]:
        """Rows and columns of a matrix that could be a head.

        Raises:
            BadInput: it is not stored, is no such matrix, or has a type that is not known.
        """
        shape, _ = self._tensor(name).shape, self._kind(name)
        if len(shape) != 2 or shape[0] < 2 or not shape[1]:
            raise BadInput(f"{self._place(name)} has shape {shape}, but a matrix of two rows or more is needed")
        return shape[0], shape[1]

    def matrix(self, name: str) -> Float[Tensor, "m n"]:
        """A finite matrix: float32, or the type of the file where that is a plain one.

        Raises:
            BadInput: it is not stored, is no matrix, has a type that cannot be dequantised, or holds NaN or Inf.
        """
        found = self._numbers(name, self.matrix_shape(name))
        check_finite(found, self._place(name))
        return found

    def vector(self, name: str, length: int, of: str) -> Float[Tensor, " n"]:
        """A finite vector of a known length.

        Args:
            name: the tensor.
            length: entries that it must have.
            of: what asks for that length, for the message.

        Raises:
            BadInput: as `matrix`, or the length differs.
        """
        shape = self._tensor(name).shape
        if shape not in ((length,), (1, length)):
            raise BadInput(f"{self._place(name)} has shape {shape}, but {of} asks for ({length},)")
        found = self._numbers(name, (1, length))[0]
        check_finite(found, self._place(name), "entries")
        return found

    def _numbers(self, name: str, shape: tuple[int, int]) -> Float[Tensor, "m n"]:
        header, tensor = self._found[name]
        kind = self._kind(name)
        try:
            if kind.name in _PLAIN:
                as_numpy, as_torch = _PLAIN[kind.name]
                # Private to this process: torch wants arrays that can be written to, and the file stays as it is.
                mapped = np.memmap(header.path, as_numpy, "c", tensor.start, shape)
                return torch.from_numpy(np.asarray(mapped)).view(as_torch)
        except OSError as error:
            raise BadInput(f"{header.path} cannot be read: {error.strerror or error}") from None
        rows, d = shape
        width = d // kind.numbers * kind.bytes
        stored = np.frombuffer(header.content, np.uint8, rows * width, tensor.start).reshape(rows, width)
        out = torch.empty(shape, dtype=torch.float32)
        step = max(1, _BLOCK // d)
        for start in range(0, rows, step):
            found = dequantise(stored[start : start + step], kind)
            if found is None:
                raise BadInput(
                    f"{self._place(name)} is stored as {kind.name}, which the package gguf cannot dequantise: "
                    "quantise the model to another type"
                )
            out[start : start + step] = torch.from_numpy(found)
        return out

    def _tensor(self, name: str) -> StoredTensor:
        if name not in self._found:
            near = [other for other in self._found if not other.startswith(("blk.", "enc.", "dec."))]
            raise BadInput(f"{self.where} has no tensor {name}; it has {', '.join(near[:8]) or 'none'}")
        return self._found[name][1]

    def _kind(self, name: str) -> StoredType:
        tensor = self._tensor(name)
        if tensor.kind is None:
            raise BadInput(
                f"{self._place(name)} is stored in a type with the number {tensor.code}, which the installed package "
                "gguf does not know: pip install --upgrade gguf"
            )
        return tensor.kind

    def _place(self, name: str) -> str:
        return f"{self._found[name][0].path}: {name}"


def _check_part(header: GgufHeader, number: int, count: int) -> None:
    """Refuse a part in the place of another."""
    said = header.count("split.count") or 1
    if said == 1 and count == 1:
        return
    if said != count:
        raise BadInput(
            f"{header.path} says that it is one of {said} parts, but its name says {count}: give the first part "
            "under the name that it was made with, NAME-00001-of-0000N.gguf"
        )
    if header.count("split.no") != number:
        raise BadInput(
            f"{header.path} says that it is part {(header.count('split.no') or 0) + 1}, not {number + 1}: the files "
            "have been mixed up"
        )
