"""Binary floating-point formats that models are served in, and rounding to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with rounding to nearest, ties to even, and gradual underflow.

    Attributes:
        name: as PyTorch calls it.
        bits: of the significand, the leading one included.
        least: exponent of the smallest normal number.
        most: exponent of the largest numbers.
        flushed: whether hardware may take what is below the smallest normal number as 0.
    """

    name: str
    bits: int
    least: int
    most: int
    flushed: bool

    @property
    def unit(self) -> float:
        """Unit roundoff u: |round(y) − y| ≤ u·|y| for y between the smallest and the largest normal number."""
        return 2.0**-self.bits

    @property
    def below(self) -> float:
        """Bound on what rounding to the format may change below its smallest normal number."""
        return 2.0**self.least if self.flushed else 2.0 ** (self.least - self.bits)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2.0 - 2.0 ** (1 - self.bits)) * 2.0**self.most

    @property
    def dtype(self) -> torch.dtype:
        """The type of tensors in this format."""
        found: torch.dtype = getattr(torch, self.name)
        return found

    def round(self, values: Float64[Tensor, "..."]) -> Float64[Tensor, "..."]:
        """The nearest numbers of the format, as float64; ±∞ beyond the largest. Rounds once, unlike torch's cast."""
        given = values.numpy()
        exponent = np.frexp(given)[1] - 1
        step = np.maximum(exponent, self.least) + 1 - self.bits
        found = np.ldexp(np.rint(np.ldexp(given, -step)), step)
        found = np.where(np.isfinite(given), found, given)
        return torch.from_numpy(np.where(np.abs(found) > self.largest, np.copysign(np.inf, found), found))

    def cast(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The same in tensors of the format's own type."""
        if values.dtype == torch.float64:
            values = self.round(values)
        return values.to(self.dtype)


FLOAT32 = Format("float32", 24, -126, 127, flushed=True)
BFLOAT16 = Format("bfloat16", 8, -126, 127, flushed=True)
FLOAT16 = Format("float16", 11, -14, 15, flushed=False)
FORMATS = (FLOAT32, BFLOAT16, FLOAT16)
"""From the finest to the others."""


def format_named(name: str) -> Format:
    """The format of this name.

    Raises:
        KeyError: there is none.
    """
    return {form.name: form for form in FORMATS}[name]
