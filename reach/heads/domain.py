"""What z ranges over, in the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np

from reach.heads.arrays import read_npz
from reach.options import readable_path
from solvers.domains import Domain, forms, parse
from solvers.errors import BadInput

_HEADERS = 2**16
"""Bytes that the headers of a file's arrays may take."""


def parse_domain(text: str, d: int) -> Domain | Literal["norm"]:
    """Read a domain from the words of the command line.

    Args:
        text: `norm`, or what `solvers.domains.parse` knows: `free`, `ball:R` (‖z‖ < R), `ball:sqrt(S)` (‖z‖² < S),
            `box:LO,HI` (LO ≤ z ≤ HI in each coordinate) and so on. Files that it names are read.
        d: number of coordinates.

    Returns:
        The domain, or the word `norm` for the one that the head's norm gives.

    Raises:
        BadInput: the text is none of these, its numbers make no domain, or its file cannot be read.
    """
    if text.strip() == "norm":
        return "norm"
    try:
        return parse(text, d, partial(_arrays, largest=8 * (d * d + d + 1) + _HEADERS))
    except BadInput as error:
        said = str(error).replace(f": write {forms()}", f": write norm, {forms()}")
        raise BadInput(f"--domain {said}") from None


def _arrays(name: str, largest: int) -> Mapping[str, np.ndarray]:
    """The arrays of a `.npz` file that take no more than so many bytes in all."""
    file = readable_path(name)
    if not file.is_file():
        raise BadInput(f"{file} is no file")
    if (size := file.stat().st_size) > largest:
        raise BadInput(f"{file} holds {size} bytes of arrays, more than a domain of this head can need")
    try:
        found = read_npz(file, most=largest)
    except BadInput as error:
        raise BadInput(f"{file} is no .npz archive that can be read ({error}): write it with numpy.savez") from None
    for key, array in found.items():
        if array.dtype.kind not in "fiu":
            raise BadInput(f"{file}: {key} is stored as {array.dtype}; use float64")
    return {key: array.astype(np.float64) for key, array in found.items()}
