"""The shared certificate of a run: one set of rows, and for each token that it proves a dual point."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int
from safetensors.numpy import save_file

from reach.runs.atomic import write_whole
from reach.runs.reading import read_tensors
from solvers.errors import BadInput

FILE = "inside.safetensors"
_WHOLE = 1e-6
_NAMES = {"spread": 1, "token_id": 1, "dual": 2}


def is_summary(weights: Float64[np.ndarray, " k"]) -> bool:
    """Whether stored hull weights are only the heaviest of a token inside the hull: they add up to less than 1."""
    return len(weights) > 0 and float(weights.sum()) < 1 - _WHOLE


@dataclass(frozen=True)
class InsideProofs:
    """Tokens whose rows lie inside the hull of the others, and what proves it (`solvers.checks.interior`).

    Attributes:
        spread: `(n,)` token ids of a spread set, shared by all of them.
        tokens: `(t,)` token ids; of tokens with equal rows the first.
        duals: `(t, f)` what each one's weights are made of.
    """

    spread: Int[np.ndarray, " n"]
    tokens: Int[np.ndarray, " t"]
    duals: Float64[np.ndarray, "t f"]

    @property
    def by_token(self) -> dict[int, Float64[np.ndarray, " f"]]:
        """The dual points by token id."""
        return dict(zip(self.tokens.tolist(), self.duals, strict=True))


def write_inside(folder: Path, proofs: InsideProofs) -> None:
    """Write the shared certificate into a run folder."""
    arrays = {
        "spread": np.ascontiguousarray(proofs.spread, np.int32),
        "token_id": np.ascontiguousarray(proofs.tokens, np.int32),
        "dual": np.ascontiguousarray(proofs.duals, np.float64),
    }
    write_whole(folder / FILE, lambda partial: save_file(arrays, partial))


def read_inside(folder: Path, *, again: str) -> InsideProofs:
    """Read the shared certificate of a run folder.

    Raises:
        BadInput: it cannot be read, or its arrays do not fit each other.
    """
    arrays = read_tensors(folder / FILE, again=again)
    parts = [arrays.get(name, np.zeros(())) for name in _NAMES]
    spread, tokens, duals = parts
    fits = [part.ndim for part in parts] == list(_NAMES.values()) and len(tokens) == len(duals)
    if not fits or spread.dtype.kind != "i" or tokens.dtype.kind != "i" or duals.dtype != np.float64:
        raise BadInput(f"{folder / FILE}: its arrays are missing or do not fit each other; {again}")
    return InsideProofs(spread.astype(np.int64), tokens.astype(np.int64), duals)
