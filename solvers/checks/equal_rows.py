"""Classes of exactly equal (row, offset): padding, cloned and never trained tokens."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from solvers.checks.exact import exact_rows
from solvers.problem import ArgmaxProblem
from solvers.rounding import gamma, underflow


def equal_row_classes(problem: ArgmaxProblem) -> Int[Tensor, " v"]:
    """For each row the lowest number of a row that is exactly equal to it, offset included.

    Rows stored as equal numbers are found by their digests. Rows that only become equal in A (a zero in the norm's
    scale, a difference that centring removes) are found by a random projection and confirmed in rational arithmetic.
    """
    classes = _equal_as_stored(problem, problem.weight if problem.weight_error is None else problem.source)
    if problem.weight_error is None and (problem.centred or problem.scale is not None):
        _merge_equal_in_a(problem, classes)
    return classes


def _equal_as_stored(problem: ArgmaxProblem, stored: Float[Tensor, "v k"] | None) -> Int[Tensor, " v"]:
    seen: dict[bytes, int] = {}
    classes = torch.arange(problem.v)
    if stored is None:
        return classes  # rows known only up to rounding: nothing says that two of them are equal
    for block in problem.blocks(stored.element_size() * stored.shape[1]):
        rows = (stored[block] + 0.0).contiguous()  # −0 becomes +0
        raw = rows.view(torch.uint8).reshape(len(rows), -1).numpy()
        bias = None if problem.bias is None else problem.bias[block].numpy() + 0.0
        for i in range(len(rows)):
            digest = hashlib.blake2b(raw[i].tobytes(), digest_size=16)
            if bias is not None:
                digest.update(bias[i].tobytes())
            token = block.start + i
            classes[token] = seen.setdefault(digest.digest(), token)
    return classes


def _merge_equal_in_a(problem: ArgmaxProblem, classes: Int[Tensor, " v"]) -> None:
    heads = torch.nonzero(classes == torch.arange(problem.v)).flatten()
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal(problem.d))
    direction = direction / direction.norm()
    projected = torch.empty(problem.v, dtype=torch.float64)
    for block in problem.blocks(8 * problem.d * 3):
        projected[block] = problem.rows(block) @ direction
    room = problem.row_error + 2 * gamma(problem.d + 2) * problem.row_norm + underflow(problem.d, torch.float64)
    # Equal rows have overlapping intervals projected ± room: sweep over their lower ends.
    heads = heads[torch.argsort(projected[heads] - room[heads], stable=True)]
    lowest = (projected[heads] - room[heads]).tolist()
    highest = torch.cummax(projected[heads] + room[heads], dim=0).values.tolist()
    start = 0
    for end in range(1, len(heads) + 1):
        if end == len(heads) or lowest[end] > highest[end - 1]:
            if end - start > 1:
                _merge_group(problem, classes, torch.sort(heads[start:end]).values.tolist())
            start = end


def _merge_group(problem: ArgmaxProblem, classes: Int[Tensor, " v"], group: list[int]) -> None:
    """Merge the exactly equal ones among a few rows whose projections agree."""
    exact = exact_rows(problem, np.array(group))
    firsts: dict[tuple[object, ...], int] = {}
    for token, row, offset in zip(group, exact.integers, exact.offsets, strict=True):
        first = firsts.setdefault((*row, offset), token)
        if first != token:
            classes[classes == token] = first
