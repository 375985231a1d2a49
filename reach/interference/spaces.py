"""The matrices of a model whose rows belong to tokens: the output matrix, the folded A, the input embedding."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reach.heads.architectures import layout_of
from reach.heads.config import read_config
from reach.heads.files import LocalFiles, ModelFiles
from reach.heads.head import Head
from reach.heads.tying import require_plain
from reach.heads.weights import StoredTensors, first_difference
from solvers.domains import Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

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
    layout = layout_of(read_config(head.folder / "config.json"))
    if layout is None:
        raise BadInput(f"the architecture {head.architecture or 'of this model'} is not known, nor is its embedding")
    stored = StoredTensors(_files(head))
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
