"""Single tensors of a model by name, from whatever files keep them: one file, or shards that an index names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from reach.heads.config import model_json
from reach.heads.files import ModelFiles
from reach.heads.tensor_files import TensorFile, open_tensors
from solvers.errors import BadInput

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
OTHER_ENDINGS = (".pt", ".pth")
"""Endings of the files that hold a model's tensors under a name of their owner's choice."""

_NO_MODELS = ("optimizer", "scheduler", "scaler", "rng_state")
"""How the names of other files begin that training programs leave beside a model."""

MOST_FOR_A_MESSAGE = 2**19
"""Bytes of an index elsewhere that are worth fetching for what a refusal says."""

FLOAT_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
"""The stored types that can be worked with, by their name in the file."""

BLOCK_ELEMENTS = 2**24
"""Numbers that a check looks at in one step, so that its memory stays bounded."""
_CACHED_ELEMENTS = 2**21
"""Numbers that stay in the cache."""


class NoWeights(BadInput):
    """A model without any file of tensors that is known."""


class StoredTensors:
    """The tensors of one model by name. Opens only files that are asked for, and reads only what is asked for.

    safetensors come before files that `torch.save` wrote, and one file before shards.

    Args:
        files: the model's files.
        single: the one file that holds them all, if it has another name than models' files have.

    Raises:
        NoWeights: the model has no such file.
        BadInput: it is damaged, or an index cannot be read.
    """

    def __init__(self, files: ModelFiles, single: str = SINGLE) -> None:
        self.where = files.where
        self._files = files
        self._open: dict[str, TensorFile] = {}
        self._index = INDEX
        for name, index in ((SINGLE, INDEX), (PICKLED, PICKLED_INDEX)) if single == SINGLE else ((single, None),):
            file_of = self._all_in(name)
            if file_of is None and index is not None and (path := files.find(index)) is not None:
                file_of, self._index = _read_index(path), index
            if file_of is not None:
                self._file_of = file_of
                return
        self._file_of = self._of_another_name(single)

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    @property
    def names(self) -> tuple[str, ...]:
        """All tensor names of the model."""
        return tuple(self._file_of)

    def file_of(self, name: str) -> str:
        """The name of the file that holds a stored tensor."""
        return self._file_of[name]

    def first(self, candidates: tuple[str, ...]) -> str | None:
        """The first of some names that is stored, or none."""
        return next((name for name in candidates if name in self._file_of), None)

    def at_hand(self, name: str) -> bool:
        """Whether reading a stored tensor needs no transfer."""
        file_name = self._file_of[name]
        if self._files.at_hand(file_name):
            return True
        opened = self._open.get(file_name)
        return opened is not None and name in opened.names and opened.at_hand(name)

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
        file = self._opened(file_name)
        if file is None:
            raise BadInput(
                f"{self.where}: {file_name}, which {self._index} names for {name}, is missing: copy or download it "
                "again"
            )
        if name not in file.names:
            raise BadInput(f"{file.place} has no tensor {name}, though {self._index} says so: download both again")
        dtype = file.dtype(name)
        if floats and dtype not in FLOAT_DTYPES:
            raise BadInput(
                f"{file.place}: {name} is stored as {dtype}; a head must be one of "
                f"{', '.join(FLOAT_DTYPES.values())}: dequantise or convert the model first"
            )
        return file.tensor(name)

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

    def _opened(self, file_name: str) -> TensorFile | None:
        """A file, opened once; none if the model has no such file."""
        if file_name not in self._open:
            file = open_tensors(self._files, file_name)
            if file is None:
                return None
            self._open[file_name] = file
        return self._open[file_name]

    def _all_in(self, file_name: str) -> dict[str, str] | None:
        """All tensors of one file, or none if there is no such file."""
        file = self._opened(file_name)
        return None if file is None else dict.fromkeys(file.names, file_name)

    def _of_another_name(self, single: str) -> dict[str, str]:
        """All tensors of the one file that `torch.save` wrote under a name of its own."""
        others = self._files.others(*OTHER_ENDINGS) if single == SINGLE else ()
        others = tuple(name for name in others if not name.startswith(_NO_MODELS))
        if len(others) > 1:
            raise BadInput(
                f"{self.where} has {', '.join(others[:4])}{' and more' if len(others) > 4 else ''}, and nothing says "
                f"which is the model: leave one, or name it {PICKLED}"
            )
        found = self._all_in(others[0]) if others else None
        if found is None:
            raise NoWeights(
                f"{self.where} has no {single}"
                if single != SINGLE
                else f"{self.where} has neither {SINGLE} nor {INDEX}, nor {PICKLED} or {PICKLED_INDEX}: give a model "
                "that is stored so"
            )
        return found


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
    parts_of = max(1, _CACHED_ELEMENTS // max(1, tensor[:1].numel()))
    for rows in row_blocks(tensor):
        # A sum is finite only if all that it adds up is; taken in parts that stay in the cache.
        sums = [part.sum(dtype=torch.float64) for part in tensor[rows].split(parts_of)]
        if bool(torch.isfinite(torch.stack(sums)).all()):
            continue
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


def _read_index(path: Path) -> dict[str, str]:
    try:
        weight_map = model_json(path, most=2**27)["weight_map"]
        file_of = {str(name): str(file) for name, file in weight_map.items()}
    except (BadInput, KeyError, TypeError, AttributeError):
        raise BadInput(f"{path} is no index of {_kind(path)} shards: copy or download it again") from None
    for file in set(file_of.values()):
        if Path(file).name != file or file in ("", ".."):
            raise BadInput(f"{path} names a shard outside its folder ({file}): get a clean copy")
        if Path(file).suffix != f".{_kind(path)}":
            raise BadInput(f"{path} names a shard that is no .{_kind(path)} file ({file}): get a clean copy")
    return file_of


def _kind(index: Path) -> str:
    """What an index is of: `safetensors` or `bin`."""
    return index.name.split(".")[-3]


def peek_names(files: ModelFiles, most: int | None = None) -> tuple[str, ...] | None:
    """The names of a model's tensors as far as they are known without fetching weights, or none.

    Args:
        files: the model's files.
        most: bytes of an index elsewhere beyond which it is not fetched for this; none fetches any.
    """
    try:
        for name, index in ((SINGLE, INDEX), (PICKLED, PICKLED_INDEX)):
            parts = files.parts(name) if name == SINGLE else None
            if parts is not None or files.at_hand(name):
                file = open_tensors(files, name)
                if file is not None:
                    return file.names
            parts = None if most is None else files.parts(index)
            if parts is not None and parts.size > (most or 0):
                return None
            path = files.find(index)
            if path is not None:
                return tuple(_read_index(path))
        return StoredTensors(files).names if files.others(*OTHER_ENDINGS) else None
    except BadInput:
        return None


def _similar(name: str, names: tuple[str, ...]) -> str:
    tail = name.rsplit(".", 1)[-1]
    near = [other for other in names if other.endswith(tail) and ".layers." not in other and ".h." not in other]
    return "it has " + ", ".join(near[:8]) if near else f"it has {len(names)} others"
