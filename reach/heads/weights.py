"""Single tensors, straight from safetensors files: one file, or shards that an index names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from reach.heads.config import model_json
from reach.heads.files import ModelFiles
from solvers.errors import BadInput

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

FLOAT_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
"""The stored types that can be worked with, by their name in the file."""

BLOCK_ELEMENTS = 2**24
"""Numbers that a check looks at in one step, so that its memory stays bounded."""


class StoredTensors:
    """The tensors of one model by name. Opens only files that are asked for, and reads only what is asked for.

    Args:
        files: the model's files.
        single: the one file that holds them all, if there is one.

    Raises:
        BadInput: the model has no safetensors file, or its index cannot be read.
    """

    def __init__(self, files: ModelFiles, single: str = SINGLE) -> None:
        self.where = files.where
        self._files = files
        names = _names_in(files, single)
        if names is not None:
            self._file_of = dict.fromkeys(names, single)
            return
        index = files.find(INDEX) if single == SINGLE else None
        if index is None:
            raise BadInput(_no_safetensors(files, single))
        self._file_of = _read_index(index)

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    @property
    def names(self) -> tuple[str, ...]:
        """All tensor names of the model."""
        return tuple(self._file_of)

    def first(self, candidates: tuple[str, ...]) -> str | None:
        """The first of some names that is stored, or none."""
        return next((name for name in candidates if name in self._file_of), None)

    def at_hand(self, name: str) -> bool:
        """Whether reading a stored tensor needs no transfer."""
        return self._files.at_hand(self._file_of[name])

    def read(self, name: str) -> Float[Tensor, "..."]:
        """One tensor in its stored dtype, mapped from the file.

        Raises:
            BadInput: it is not stored, its file is missing or damaged, or it holds integers or a quantised type.
        """
        return self._tensor(name, floats=True)

    def raw(self, name: str) -> Tensor:
        """One tensor of any type, mapped from the file.

        Raises:
            BadInput: it is not stored, or its file is missing or damaged.
        """
        return self._tensor(name, floats=False)

    def _tensor(self, name: str, *, floats: bool) -> Tensor:
        if name not in self._file_of:
            raise BadInput(f"{self.where} has no tensor {name}; {_similar(name, self.names)}")
        file_name = self._file_of[name]
        path = self._files.find(file_name)
        if path is None:
            raise BadInput(
                f"{self.where}: {file_name}, which {INDEX} names for {name}, is missing: copy or download it again"
            )
        with _opened(path) as handle:
            if name not in handle.keys():  # noqa: SIM118 (the handle is no mapping)
                raise BadInput(f"{path} has no tensor {name}, though {INDEX} says so: download both again")
            dtype = handle.get_slice(name).get_dtype()
            if floats and dtype not in FLOAT_DTYPES:
                raise BadInput(
                    f"{path}: {name} is stored as {dtype}; a head must be one of "
                    f"{', '.join(FLOAT_DTYPES.values())}: dequantise or convert the model first"
                )
            return handle.get_tensor(name)

    def matrix(self, name: str) -> Float[Tensor, "m n"]:
        """A finite matrix.

        Raises:
            BadInput: as `read`, or the tensor is no matrix, or holds NaN or Inf (the rows are named).
        """
        tensor = self.read(name)
        if tensor.ndim != 2:
            raise BadInput(f"{self._place(name)} has shape {tuple(tensor.shape)}, but a matrix is needed")
        check_finite(tensor, self._place(name))
        return tensor

    def vector(self, name: str, length: int, of: str) -> Float[Tensor, " n"]:
        """A finite vector of a known length; one that is stored as a single row is that row.

        Args:
            name: the tensor.
            length: entries that it must have.
            of: what asks for that length, for the message.

        Raises:
            BadInput: as `read`, or the length differs, or an entry is NaN or Inf.
        """
        tensor = self.read(name)
        if tuple(tensor.shape) == (1, length):
            tensor = tensor[0]  # a bias that the model adds to a batch of logits
        if tuple(tensor.shape) != (length,):
            raise BadInput(f"{self._place(name)} has shape {tuple(tensor.shape)}, but {of} asks for ({length},)")
        check_finite(tensor, self._place(name), "entries")
        return tensor

    def _place(self, name: str) -> str:
        return f"{self.where}/{self._file_of[name]}: {name}"


def check_finite(tensor: Float[Tensor, "..."], place: str, parts: str = "rows") -> None:
    """Look at a tensor in blocks of rows.

    Args:
        tensor: a vector or matrix.
        place: file and tensor, for the message.
        parts: what the first axis counts.

    Raises:
        BadInput: a row holds NaN or Inf; the first few are named.
    """
    bad: list[int] = []
    for rows in row_blocks(tensor):
        finite = torch.isfinite(tensor[rows]).reshape(rows.stop - rows.start, -1).all(dim=1)
        bad += (torch.nonzero(~finite).flatten() + rows.start).tolist()
    if bad:
        shown = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
        raise BadInput(f"{place} holds NaN or Inf in {parts} {shown}: the weights are damaged, get a clean copy")


def first_difference(one: Float[Tensor, "..."], two: Float[Tensor, "..."]) -> int | None:
    """The first row in which two tensors of one shape differ as numbers, or none. Shapes that differ: row 0."""
    if one.shape != two.shape:
        return 0
    for rows in row_blocks(one):
        same = (one[rows].to(torch.float64) == two[rows].to(torch.float64)).reshape(rows.stop - rows.start, -1)
        unequal = torch.nonzero(~same.all(dim=1)).flatten()
        if len(unequal):
            return rows.start + int(unequal[0])
    return None


def row_blocks(tensor: Float[Tensor, "..."]) -> Iterator[slice]:
    """Slices over the first axis of at most `BLOCK_ELEMENTS` numbers each."""
    length = tensor.shape[0]
    step = max(1, BLOCK_ELEMENTS // max(1, tensor[:1].numel()))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as handle:
            yield handle
    except SafetensorError as error:
        raise BadInput(f"{path} is truncated or damaged ({error}): copy or download it again") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None


def _read_index(path: Path) -> dict[str, str]:
    try:
        weight_map = model_json(path, most=2**27)["weight_map"]
        file_of = {str(name): str(file) for name, file in weight_map.items()}
    except (BadInput, KeyError, TypeError, AttributeError):
        raise BadInput(f"{path} is no index of safetensors shards: copy or download it again") from None
    for file in file_of.values():
        if Path(file).name != file:
            raise BadInput(f"{path} names a shard outside its folder ({file}): get a clean copy")
    return file_of


def peek_names(files: ModelFiles) -> tuple[str, ...] | None:
    """The names of a model's tensors as far as they are known without fetching weights, or none."""
    try:
        if files.at_hand(SINGLE):
            return StoredTensors(files).names
        names = files.peek(SINGLE)
        if names is not None:
            return names
        index = files.find(INDEX)
        return None if index is None else tuple(_read_index(index))
    except BadInput:
        return None


def _names_in(files: ModelFiles, name: str) -> tuple[str, ...] | None:
    """The tensors of one file, by its header alone where that can be had; none if there is no such file."""
    names = files.peek(name)
    if names is not None:
        return names
    path = files.find(name)
    if path is None:
        return None
    with _opened(path) as handle:
        return tuple(handle.keys())


def _no_safetensors(files: ModelFiles, single: str) -> str:
    if single != SINGLE:
        return f"{files.where} has no {single}"
    looked = f"{files.where} has neither {SINGLE} nor {INDEX}"
    for old in ("pytorch_model.bin", "pytorch_model.bin.index.json"):
        # Asked by a folder's listing alone: a file that will not be read is not fetched.
        if (files.folder / old).is_file():
            return f"{looked}, only {old}: convert it with transformers' from_pretrained and save_pretrained"
    return f"{looked}: give a model that is stored as safetensors"


def _similar(name: str, names: tuple[str, ...]) -> str:
    tail = name.rsplit(".", 1)[-1]
    near = [other for other in names if other.endswith(tail) and ".layers." not in other and ".h." not in other]
    return "it has " + ", ".join(near[:8]) if near else f"it has {len(names)} others"
