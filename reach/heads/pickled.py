"""Tensors that `torch.save` wrote: `.bin`, `.pt` and `.pth` files. Code in them is never run."""

from __future__ import annotations

import mmap
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from reach.bounded import check_file
from reach.heads.tensor_files import TORCH_DTYPES
from solvers.errors import BadInput, MissingExtra

ENDINGS = (".bin", ".pt", ".pth")

MOST_OLD = 2**31
"""Bytes of a file of the form before PyTorch 1.6, which can only be read whole into memory."""

_OLDEST = (2, 6)
"""The first PyTorch whose reader of plain tensors keeps what it promises (CVE-2025-32434)."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
"""Under which training programs keep the tensors of a model, beside an optimiser's and others."""

_PREFIXES = ("module.", "_orig_mod.")
"""What wrappers of a whole model (DataParallel, a compiler) write before all of its names."""

_MOST_PICKLE = 2**27
_DEEPEST = 4
_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
_NEEDS_CODE = re.compile(r"GLOBAL ([\w.]+)|unsupported persistent id|legacy \.tar|torch\.jit\.load|TorchScript")
_CONVERT = "convert it with transformers' from_pretrained and save_pretrained, where you trust whoever made it"


class PickledFile:
    """The tensors of a state dict that `torch.save` wrote, mapped from the file where its form allows that.

    A state dict inside another (`state_dict`, `model`, …) is found. What is no tensor is passed over.

    Raises:
        BadInput: the file is damaged, holds anything that needs code to be read, no tensors, or two state dicts; or
            it is of the old form and too large to be read whole.
        MissingExtra: PyTorch is older than 2.6, whose reader can be made to run code.
    """

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        size = check_file(path, again="copy or download it again", most=2**62)
        self._tensors = _named(_state_dict(_loaded(path, size), self.place), self.place, size)
        self.names: tuple[str, ...] = tuple(self._tensors)

    def dtype(self, name: str) -> str:
        """The stored type."""
        tensor = self._tensors[name]
        return _NAMES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))

    def at_hand(self, name: str) -> bool:  # noqa: ARG002
        """Always so."""
        return True

    def tensor(self, name: str) -> Shaped[Tensor, "..."]:
        """A tensor, its numbers in a row."""
        tensor = self._tensors[name]
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise BadInput(f"{self.place}: {name} is sparse, quantised or without numbers: {_CONVERT}")
        return tensor.detach().contiguous()


def _loaded(path: Path, size: int) -> Any:
    if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < _OLDEST:
        raise MissingExtra(f"{path}: reading it safely needs PyTorch 2.6 or newer: pip install 'torch>=2.6'")
    try:
        with path.open("rb") as stream:
            mapped = stream.read(2) == b"PK"
        if mapped:
            _check_archive(path, size)
        elif size > MOST_OLD:
            raise BadInput(
                f"{path} has the form of PyTorch before 1.6, which has to be read whole, and {size} bytes (at most "
                f"{MOST_OLD}): {_CONVERT}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if mapped:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            # A map hands out no more than the file has, however much a damaged length asks for.
            with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return torch.load(content, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
    except BadInput:
        raise
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the reader raises whatever a damaged file leads it to
        found = _NEEDS_CODE.search(str(error))
        if found is not None:
            what = f"Python objects ({found[1]})" if found[1] else "more than plain data"
            raise BadInput(f"{path} holds {what}, not only tensors, and that is never loaded: {_CONVERT}") from None
        raise BadInput(f"{path} is truncated or damaged ({_reason(error)}): copy or download it again") from None


def _reason(error: Exception) -> str:
    """What a message of PyTorch says of the file, without its advice."""
    text = " ".join(str(error).split()).rpartition("WeightsUnpickler error: ")[2]
    return re.split(r" (?=Please|Check|This file|In PyTorch)", text)[0][:200] or type(error).__name__


def _check_archive(path: Path, size: int) -> None:
    """Refuse an archive whose members are packed, too large, or said to lie outside the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise BadInput(f"{path} is truncated or damaged ({error}): copy or download it again") from None
    for member in members:
        packed = member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size
        if packed or member.header_offset + member.file_size > size:
            raise BadInput(f"{path} is damaged, or not by torch.save: {member.filename[:80]} is packed or too large")
        if member.filename.endswith(".pkl") and member.file_size > _MOST_PICKLE:
            raise BadInput(f"{path}: its table of contents has {member.file_size} bytes (at most {_MOST_PICKLE})")


def _state_dict(found: Any, place: str) -> Mapping[Any, Any]:
    """The mapping with the tensors: what the file holds, or what it holds under the name of a wrapper."""
    for _ in range(_DEEPEST):
        if not isinstance(found, Mapping):
            raise BadInput(f"{place} holds no state dict, but {type(found).__name__}: save model.state_dict()")
        if any(isinstance(value, Tensor) for value in found.values()):
            return found
        inside = [key for key in _WRAPPERS if isinstance(found.get(key), Mapping)]
        if len(inside) > 1:
            raise BadInput(f"{place} holds several state dicts ({', '.join(inside)}): save the right one alone")
        if not inside:
            break
        found = found[inside[0]]
    raise BadInput(f"{place} holds no tensors (looked at its top and under {', '.join(_WRAPPERS)})")


def _named(found: Mapping[Any, Any], place: str, size: int) -> dict[str, Tensor]:
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    prefix = next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in tensors)), "")
    if any(not _within(tensor, size) for tensor in tensors.values()):
        raise BadInput(f"{place} is damaged: a tensor is larger than what is stored of it; copy or download it again")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _within(tensor: Tensor, size: int) -> bool:
    """Whether a tensor lies within its storage, and is no larger than its file."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or not tensor.numel():
        return True
    last = tensor.storage_offset() + sum(
        (length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    end = (last + 1) * tensor.element_size()
    return tensor.storage_offset() >= 0 and end <= tensor.untyped_storage().nbytes() and tensor.nbytes <= size
