"""The tensors that a quantiser left in the place of one matrix, and the matrix that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reach.heads.quantised.said import Quantiser
from reach.heads.tensor_names import some
from reach.heads.weights import StoredTensors, check_finite
from solvers.errors import BadInput

FLOATS = (torch.float16, torch.bfloat16, torch.float32)
"""What scales are stored as, and what a matrix is dequantised to."""

EIGHT_BIT_FLOATS = (torch.float8_e4m3fn, torch.float8_e5m2)

_NUMBERS_AT_ONCE = 2**22
"""Entries that are dequantised in one step: what is unpacked for them stays far below the matrix itself."""


@dataclass(frozen=True)
class Dequantised:
    """A matrix that was stored quantised.

    Attributes:
        matrix: its rows as numbers.
        names: role to name of the tensors that it was made of; `weight` is the packed matrix.
        words: the format, such as `GPTQ 4 bit, groups of 128, dequantised to float16`.
        product: what else a model does in its product with this matrix that rows times state does not, or none.
    """

    matrix: Float[Tensor, "v d"]
    names: Mapping[str, str]
    words: str
    product: str | None = None


@dataclass
class QuantisedModule:
    """What is stored of one linear layer (or embedding), by the ends of its tensors' names.

    Attributes:
        stored: the model's tensors.
        path: the module's path, as its tensors begin.
        quantiser: what the config says.
        read: the ends of the names of what was read, in that order.
    """

    stored: StoredTensors
    path: str
    quantiser: Quantiser
    read: list[str] = field(default_factory=list)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The quantiser's entry in the config."""
        return self.quantiser.entry

    @property
    def ends(self) -> tuple[str, ...]:
        """The ends of the names of all its tensors but its bias, which is added to the logits as it is."""
        prefix = f"{self.path}."
        found = (name.removeprefix(prefix) for name in self.stored.names if name.startswith(prefix))
        return tuple(end for end in found if end != "bias")

    def holds(self, *ends: str) -> bool:
        """Whether it has all of some tensors."""
        return set(ends) <= set(self.ends)

    def tensor(self, end: str, *dtypes: torch.dtype) -> Tensor:
        """One tensor, which must be of one of some types.

        Raises:
            BadInput: it is missing, or of another type, or holds NaN or Inf.
        """
        if end not in self.ends:
            raise self.refused(f"{self.path}.{end} is missing")
        tensor = self.stored.raw(f"{self.path}.{end}")
        if tensor.dtype not in dtypes:
            known = " or ".join(map(_named, dtypes))
            raise self.refused(f"{self.path}.{end} is stored as {_named(tensor.dtype)}, not as {known}")
        if tensor.dtype in FLOATS:
            check_finite(tensor.reshape(1) if tensor.ndim == 0 else tensor, f"{self.stored.where}: {self.path}.{end}")
        if end not in self.read:
            self.read.append(end)
        return tensor

    def shaped(self, end: str, shape: tuple[int, ...], *dtypes: torch.dtype) -> Tensor:
        """One tensor, which must have a shape.

        Raises:
            BadInput: as `tensor`, or it has another shape.
        """
        tensor = self.tensor(end, *dtypes)
        if tuple(tensor.shape) != shape:
            raise self.refused(
                f"{self.path}.{end} has shape {tuple(tensor.shape)}, where the other numbers ask for {shape}"
            )
        return tensor

    def matrix(self, end: str, *dtypes: torch.dtype) -> Tensor:
        """One tensor, which must have two axes and at least one entry.

        Raises:
            BadInput: as `tensor`, or it has not.
        """
        tensor = self.tensor(end, *dtypes)
        if tensor.ndim != 2 or tensor.numel() == 0:
            raise self.refused(f"{self.path}.{end} has shape {tuple(tensor.shape)}, but a matrix is needed")
        return tensor

    def whole(self, name: str, value: object, *, least: int = 1, most: int = 2**20) -> int:
        """A setting that must be a whole number.

        Raises:
            BadInput: it is something else, or out of range.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.refused(f"its {name} is {value!r}, but must be a whole number from {least} to {most}")
        return value

    def only(self, *ends: str) -> None:
        """Refuse tensors of the module that its format does not have, for they may change it.

        Raises:
            BadInput: there are such tensors.
        """
        others = [f"{self.path}.{end}" for end in self.ends if end not in ends]
        if others:
            raise self.refused(f"{some(others)} may change it, and what it means is not known")

    def rows(
        self, v: int, d: int, dtype: torch.dtype, make: Callable[[slice], Tensor], *, step: int = 1
    ) -> Float[Tensor, "v d"]:
        """The whole matrix, made of some rows at a time.

        Args:
            v: rows.
            d: columns.
            dtype: of the matrix.
            make: the rows of a slice, in that type.
            step: slices begin at multiples of this.

        Raises:
            BadInput: a row holds NaN or Inf.
        """
        matrix = torch.empty((v, d), dtype=dtype)
        height = max(1, _NUMBERS_AT_ONCE // (d * step)) * step
        for start in range(0, v, height):
            rows = slice(start, min(start + height, v))
            matrix[rows] = make(rows)
        check_finite(matrix, f"{self.stored.where}: {self.path} as dequantised")
        return matrix

    def made(self, matrix: Float[Tensor, "v d"], format_: str, product: str | None = None) -> Dequantised:
        """What a format made of the tensors that were read.

        Args:
            matrix: the matrix.
            format_: name, bits and groups.
            product: see `Dequantised`.
        """
        names = {
            "weight" if number == 0 else f"weight {end.removeprefix('weight').strip('._')}": f"{self.path}.{end}"
            for number, end in enumerate(self.read)
        }
        return Dequantised(matrix, names, f"{format_}, dequantised to {_named(matrix.dtype)}", product)

    def refused(self, why: str) -> BadInput:
        """The one line that says what is wrong."""
        return BadInput(
            f"{self.stored.where}: {self.path} is stored quantised ({self.quantiser.words}) and cannot be "
            f"dequantised: {why}: get a clean copy, dequantise the model and save it as float16, bfloat16 or "
            "float32, or choose a stored matrix with --weight-tensor NAME"
        )


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
