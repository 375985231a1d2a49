"""Classes of exactly equal (row, offset): padding, cloned and never trained tokens."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8, UInt64
from torch import Tensor

from solvers.checks.exact import exact_rows
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.rounding import gamma, underflow

_ODD = 0x9E3779B97F4A7C15


def equal_row_classes(problem: ArgmaxProblem) -> Int[Tensor, " v"]:
    """For each row the lowest number of a row that is exactly equal to it, offset included.

    Rows stored as equal numbers are found by sums over their words, and confirmed by digests. Rows that only become
    equal in A (a zero in the norm's scale, a difference that centring removes) are found by a random projection and
    confirmed in rational arithmetic.
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
    row_bytes = 2 * stored.element_size() * stored.shape[1]
    # Equal rows have equal sums; of the few that share one the content is looked at.
    sums = np.empty(problem.v, dtype=np.uint64)
    for block in problem.blocks(row_bytes):
        sums[block] = _sums(_content(problem, stored, torch.arange(block.start, block.stop)))
    _, kind, count = np.unique(sums, return_inverse=True, return_counts=True)
    shared = torch.from_numpy(np.flatnonzero(count[kind] > 1))
    for some in shared.split(max(1, BLOCK_BYTES // row_bytes)) if len(shared) else ():
        for token, content in zip(some.tolist(), _content(problem, stored, some), strict=True):
            digest = hashlib.blake2b(content.tobytes(), digest_size=16).digest()
            classes[token] = seen.setdefault(digest, token)
    return classes


def _content(
    problem: ArgmaxProblem, stored: Float[Tensor, "v k"], some: Int[Tensor, " n"]
) -> UInt8[np.ndarray, "n b"]:
    """The bytes of some rows and of their offsets, as whole words; −0 is +0."""
    parts = [(stored[some] + 0.0).contiguous().view(torch.uint8).numpy()]
    if problem.bias is not None:
        parts.append((problem.bias[some] + 0.0)[:, None].view(torch.uint8).numpy())
    parts.append(np.zeros((len(some), -sum(part.shape[1] for part in parts) % 8), dtype=np.uint8))
    return np.concatenate(parts, axis=1)


def _sums(content: UInt8[np.ndarray, "n b"]) -> UInt64[np.ndarray, " n"]:
    """The words of each row as the coefficients of a polynomial at an odd number, modulo 2⁶⁴."""
    words = content.view(np.uint64)
    powers = np.cumprod(np.full(words.shape[1], _ODD, dtype=np.uint64))
    return words @ powers


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
