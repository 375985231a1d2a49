"""What a server returns that sums in one certain order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified
from solvers.checks.served_head import ServedHead


def _one_by_one(terms: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    total = terms[:, 0].copy()
    for i in range(1, terms.shape[1]):
        total += terms[:, i]
    return total


def _in_pairs(terms: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    while terms.shape[1] > 1:
        if terms.shape[1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[:, :1])], axis=1)
        terms = terms[:, 0::2] + terms[:, 1::2]
    return terms[:, 0]


def _in_lanes(terms: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    """Eight sums of every eighth term, as vector registers keep them, added up in pairs."""
    return _in_pairs(np.stack([_one_by_one(terms[:, i::8]) for i in range(min(8, terms.shape[1]))], axis=1))


ORDERS: dict[str, Callable[[Float32[np.ndarray, "n d"]], Float32[np.ndarray, " n"]]] = {
    "forwards": _one_by_one,
    "backwards": lambda terms: _one_by_one(terms[:, ::-1]),
    "pairs": _in_pairs,
    "lanes": _in_lanes,
}
"""Orders of summation by name. Products are rounded to float32, and so is every sum."""


def logits_in_order(
    head: ServedHead, x: Float64[Tensor, " d"], order: str, rows: Int[Tensor, " n"] | slice = slice(None)
) -> Float64[np.ndarray, " n"]:
    """The logits that a server computes at an input of the format, summing in an order of `ORDERS`."""
    wide = x.to(torch.float32).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        total = ORDERS[order](head.plain.rows(rows).to(torch.float32).numpy() * wide)
        bias = head.bias[rows].to(torch.float32).numpy()
        if head.problem.bias is not None and head.server.bias == "after":
            total = head.form.round(torch.from_numpy(total.astype(np.float64))).numpy().astype(np.float32)
        total = total + bias if head.problem.bias is not None else total
    return head.form.round(torch.from_numpy(total.astype(np.float64))).numpy()


def returned_in_order(head: ServedHead, token: int, point: Float[Tensor, " d"], own: str, others: str) -> bool:
    """Whether the token is returned at a point where its row is summed in one order and all others in another."""
    if own not in ORDERS or others not in ORDERS or not bool(torch.isfinite(point).all()):
        return False
    if not bool(certified(head.problem.domain).inside(point[None])[0]):
        return False
    x = head.inputs(point[None])[0]
    if not bool(torch.isfinite(x).all()):
        return False
    logits = logits_in_order(head, x, others)
    logits[token] = logits_in_order(head, x, own, torch.tensor([token]))[0]
    if not np.isfinite(logits).all():
        return False
    best = np.flatnonzero(logits == logits.max())
    return token == int(best[0] if head.server.ties == "first" else best[-1])
