"""The matrices whose rows belong to tokens (output matrix, folded A, input embedding), made ready for measuring."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from reach.heads.config import read_config
from reach.heads.files import LocalFiles, ModelFiles
from reach.heads.head import Head
from reach.heads.plan import known_layout
from reach.heads.tying import require_plain
from reach.heads.weights import StoredTensors, first_difference
from solvers.domains import Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

# --- the matrices of a model ---

OUTPUT, FOLDED, EMBEDDING = "W", "A", "E"
TITLES = {
    OUTPUT: "output matrix W",
    FOLDED: "folded matrix A (what the logits are made with)",
    EMBEDDING: "input embedding E",
}


@dataclass(frozen=True)
class Spaces:
    """Matrices by key, and for those that are not measured on their own the reason."""

    rows: dict[str, ArgmaxProblem]
    left_out: dict[str, str]


def plain_rows(matrix: Float[Tensor, "v d"]) -> ArgmaxProblem:
    """Any matrix as rows to measure.

    Raises:
        BadInput: it is no matrix with at least two rows, or holds NaN or Inf.
    """
    return ArgmaxProblem(matrix, Free())


def spaces_of(head: Head) -> Spaces:
    """Find the matrices of a model. Two that hold the same numbers are measured once, under the first key."""
    rows = {FOLDED: head.problem()}
    left_out = {}
    if head.gamma is None and head.norm != "layernorm":
        left_out[OUTPUT] = "the same as A: no final norm is folded in"
    else:
        rows[OUTPUT] = plain_rows(head.weight)
    try:
        embedding = _input_embedding(head)
    except BadInput as error:
        left_out[EMBEDDING] = str(error)
    else:
        if embedding.shape == head.weight.shape and first_difference(head.weight, embedding) is None:
            left_out[EMBEDDING] = "the same as W: the model ties its output matrix to its input embedding"
        elif embedding.shape[0] < 2:
            left_out[EMBEDDING] = "it has fewer than two rows"
        else:
            rows[EMBEDDING] = plain_rows(embedding)
    return Spaces(rows, left_out)


def _input_embedding(head: Head) -> Float[Tensor, "v e"]:
    if head.folder is None or not (head.folder / "config.json").is_file():
        raise BadInput("a bare head has no input embedding")
    files = _files(head)
    layout = known_layout(read_config(head.folder / "config.json"), files)
    stored = StoredTensors(files)
    name = stored.first(layout.embedding)
    if name is None:
        raise BadInput(f"the model has no input embedding (looked for {', '.join(layout.embedding)})")
    if name == head.tensors.get("weight") and head.merged is None:
        raise BadInput("the same as W: the model ties its output matrix to its input embedding")
    require_plain(stored, name)
    return stored.matrix(name)


def _files(head: Head) -> ModelFiles:
    assert head.folder is not None
    if head.revision is None:
        return LocalFiles(head.folder)
    from reach.heads.hub import HubFiles

    return HubFiles(head.model_id, head.revision)


def fresh_rows(key: str, head: Head, output: Tensor, embedding: Tensor) -> ArgmaxProblem:
    """A fresh model's matrix under the same key. Its norm starts as the identity (see `reinitialised`)."""
    if key == EMBEDDING:
        return plain_rows(embedding)
    centred = key == FOLDED and head.norm == "layernorm"
    return ArgmaxProblem(output, Free(), centred=centred)


def equal_rows(rows: ArgmaxProblem) -> int:
    """How many rows are equal, number for number, to an earlier one."""
    seen: set[bytes] = set()
    for block in rows.blocks(8 * rows.d * 4):
        part = (rows.rows(block) + 0.0).contiguous().numpy()  # −0 becomes +0
        seen.update(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in part)
    return rows.v - len(seen)


# --- directions: as they are or less their mean, scaled to length 1, zero rows set aside ---

_ZERO = 1e-12
"""A row this short, relative to the longest stored row, is nothing but rounding."""


@dataclass(frozen=True)
class UnitRows:
    """Directions of rows.

    Attributes:
        unit: `(n, d)` rows of length 1.
        norm: `(n,)` their lengths before.
        kept: `(n,)` their places among all rows; the others were zero.
        v: number of all rows.
        gram: `(d, d)` Σ w wᵀ over the rows before scaling.
        unit_gram: `(d, d)` Σ ŵ ŵᵀ.
    """

    unit: Float32[Tensor, "n d"]
    norm: Float64[np.ndarray, " n"]
    kept: Int[np.ndarray, " n"]
    v: int
    gram: Float64[Tensor, "d d"]
    unit_gram: Float64[Tensor, "d d"]

    @property
    def zero(self) -> Int[np.ndarray, " z"]:
        """Places of the rows that were set aside."""
        return np.setdiff1d(np.arange(self.v), self.kept, assume_unique=True)


def unit_rows(rows: ArgmaxProblem, *, centred: bool = False, allow_zero: bool = False) -> UnitRows:
    """Directions of the rows of A, made in blocks: beside the result, memory does not grow with V.

    Args:
        rows: any matrix, as an argmax problem (which has checked that it is finite).
        centred: subtract the mean of all rows first.
        allow_zero: set zero rows aside instead of refusing them.

    Raises:
        BadInput: d is 1; a row is zero (without `allow_zero`); fewer than two rows are not zero.
    """
    if rows.d < 2:
        raise BadInput("d = 1: all rows are parallel or opposite and every |cos| is 1; there is nothing to measure")
    longest = float(rows.row_norm.max())
    unit = torch.empty((rows.v, rows.d), dtype=torch.float32)
    norm = np.empty(rows.v)
    gram = torch.zeros((rows.d, rows.d), dtype=torch.float64)
    unit_gram = torch.zeros_like(gram)
    kept: list[np.ndarray] = []
    count = 0
    for block in rows.blocks(8 * rows.d * 6):
        part = rows.rows(block)
        if centred:
            part = part - rows.mean_row
        length = part.norm(dim=1)
        alive = length > _ZERO * longest
        part, length = part[alive], length[alive]
        gram += part.T @ part
        part = part / length[:, None]
        unit_gram += part.T @ part
        unit[count : count + len(part)] = part.to(torch.float32)
        norm[count : count + len(part)] = length.numpy()
        kept.append(np.nonzero(alive.numpy())[0] + block.start)
        count += len(part)
    places = np.concatenate(kept)
    zero = rows.v - count
    if zero and not allow_zero:
        missing = np.setdiff1d(np.arange(rows.v), places)
        shown = ", ".join(map(str, missing[:8])) + (f" and {zero - 8} more" if zero > 8 else "")
        what = "equal the mean row" if centred else "are zero"
        raise BadInput(f"rows {shown} {what} and have no direction: leave them out, or allow them to be set aside")
    if count < 2:
        what = "all rows are equal" if centred else "all rows but one are zero"
        raise BadInput(f"{what}: fewer than two directions are left, so there is no pair to measure")
    return UnitRows(unit[:count], norm[:count], places, rows.v, gram, unit_gram)
