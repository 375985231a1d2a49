"""The nearest rows of each token: what its row is almost equal to. Information for readers, no part of any proof."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from reach.runs.schema import NEAREST
from solvers.problem import ArgmaxProblem

NEIGHBOURS = 5
_EVERYONE_WORK = 2e11
"""Multiplications up to which every token gets its neighbours: some ten seconds on two cores."""
_MOST_WORK = 5e11
_GROUP = 16
# Those that a reader asks about first come first, should the work run out.
_URGENT = ("unspeakable", "undecided", "tied")


def nearest_rows(problem: ArgmaxProblem, verdicts: pa.Table, *, device: str = "cpu") -> pa.Table:
    """The rows at the smallest Euclidean distance from each token's own (schema `NEAREST`, nearest first).

    In a large vocabulary only the tokens that are not own-direction get theirs, and of those as many as the work
    allows: unspeakable, undecided and tied ones before the hard-to-speak.

    Args:
        problem: the argmax problem with one row per token.
        verdicts: the run's table of verdicts.
        device: where to multiply.
    """
    tokens = _whom_to_ask(problem, verdicts)
    kept = min(NEIGHBOURS, problem.v - 1)
    step = problem.points_at_once(device=device)
    parts = [_of_block(problem, tokens[start : start + step], kept, device) for start in range(0, len(tokens), step)]
    rows, distance, cosine = (
        np.concatenate([part[at] for part in parts]) if parts else np.zeros((0, kept)) for at in range(3)
    )
    columns = (np.repeat(tokens, kept), rows.ravel(), cosine.ravel(), distance.ravel())
    arrays = [
        pa.array(column.astype(kind.to_pandas_dtype()), kind)
        for column, kind in zip(columns, NEAREST.types, strict=True)
    ]
    return pa.table(arrays, schema=NEAREST)


def _whom_to_ask(problem: ArgmaxProblem, verdicts: pa.Table) -> Int[np.ndarray, " n"]:
    verdict = np.array(verdicts.column("verdict").to_pylist(), dtype=object)
    asked = verdict != None  # noqa: E711
    each = float(problem.v) * problem.d
    if each * int(asked.sum()) <= _EVERYONE_WORK:
        return np.flatnonzero(asked)
    urgent = np.isin(verdict, _URGENT)
    plain = np.array(verdicts.column("own_direction").to_pylist(), dtype=object) == True  # noqa: E712
    ordered = np.concatenate([np.flatnonzero(urgent), np.flatnonzero(asked & ~urgent & ~plain)])
    return np.sort(ordered[: int(_MOST_WORK / each)])


def _of_block(
    problem: ArgmaxProblem, tokens: Int[np.ndarray, " b"], kept: int, device: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row ids, distances and cosines, each `(b, kept)`. Float32 picks the rows, float64 measures them."""
    index = torch.from_numpy(tokens)
    rows = problem.working_rows(device)
    near = rows[index.to(rows.device)] @ rows.T
    # ‖a − b‖² without the term that is the same for every b.
    near.mul_(-2).add_(problem.row_norm.to(device=rows.device, dtype=torch.float32).square())
    near[torch.arange(len(tokens), device=rows.device), index.to(rows.device)] = torch.inf
    picked = _smallest(near, kept).cpu()
    own = problem.rows(index)
    others = problem.rows(picked.flatten()).view(len(tokens), kept, problem.d)
    distance = (others - own[:, None, :]).norm(dim=2)
    norms = own.norm(dim=1)[:, None] * others.norm(dim=2)
    cosine = (others * own[:, None, :]).sum(dim=2) / norms.clamp_min(torch.finfo(torch.float64).tiny)
    order = distance.argsort(dim=1, stable=True)
    return _taken(picked, order), _taken(distance, order), _taken(cosine.clamp(-1, 1), order)


def _smallest(values: Float32[Tensor, "b v"], kept: int) -> Int[Tensor, "b k"]:
    """Where the smallest values of each row are, in no order.

    They lie in the groups whose smallest ones are the smallest: as many groups as values are wanted hold them all.
    """
    b, v = values.shape
    groups = v // _GROUP
    if groups <= kept:
        return values.topk(kept, dim=1, largest=False).indices
    whole = groups * _GROUP
    least = values[:, :whole].view(b, _GROUP, groups).amin(dim=1)
    group = least.topk(kept, dim=1, largest=False).indices
    member = torch.arange(0, whole, groups, device=values.device)
    rest = torch.arange(whole, v, device=values.device).expand(b, -1)
    among = torch.cat([(group[:, :, None] + member).flatten(1), rest], dim=1)
    return among.gather(1, values.gather(1, among).topk(kept, dim=1, largest=False).indices)


def _taken(values: Tensor, order: Int[Tensor, "b k"]) -> np.ndarray:
    return values.gather(1, order).numpy()
