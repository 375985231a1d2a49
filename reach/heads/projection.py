"""Products of stored matrices as rows of a head, with a bound on the rounding: a projection, a low-rank change."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reach.heads.weights import row_blocks
from solvers.rounding import gamma, row_lengths, underflow

_CACHED_NUMBERS = 2**16
"""Numbers worked on at once where each is visited many times, so that they stay in the processor's cache."""


def fold_projection(
    weight: Float[Tensor, "v k"], projection: Float[Tensor, "k d"]
) -> tuple[Float64[Tensor, "v d"], Float64[Tensor, " v"]]:
    """W·P in float64, and for each row a bound on its Euclidean distance from the exact row.

    Each entry is a sum of k products, so it errs by at most γ_k·(|W|·|P|) (Higham 2002, §3.1). The bound is itself
    computed, in sums of k and d terms that are never negative; the factor in front covers their rounding.
    """
    k, d = projection.shape
    right = projection.to(torch.float64)
    product = torch.empty((weight.shape[0], d), dtype=torch.float64)
    error = torch.empty(weight.shape[0], dtype=torch.float64)
    for rows in row_blocks(product):
        left = weight[rows].to(torch.float64)
        product[rows] = left @ right
        sizes = row_lengths(left.abs() @ right.abs())
        error[rows] = gamma(k) * sizes * (1 + gamma(k + d + 8)) + d * underflow(k, torch.float64)
    return product, error


def add_low_rank(
    weight: Float[Tensor, "v d"], scale: float, left: Float[Tensor, "v r"], right: Float[Tensor, "r d"]
) -> tuple[Float64[Tensor, "v d"], Float64[Tensor, " v"]]:
    """W + s·B·A in float64, and for each row a bound on its Euclidean distance from the exact row.

    To the r products of each entry come the factor s and the sum with W: each entry errs by at most
    γ_{r+2}·(|W| + |s|·|B|·|A|) (Higham 2002, §3.1). Rows of B that are zero leave theirs of W as they are.

    The r products are added one after the other, so the numbers are the same on every machine and the fingerprint of
    the head with them.

    Args:
        weight: W.
        scale: s, a float64 number.
        left: B.
        right: A.
    """
    r, d = right.shape
    above = right.to(torch.float64)
    total = torch.empty((weight.shape[0], d), dtype=torch.float64)
    error = torch.empty(weight.shape[0], dtype=torch.float64)
    step = max(1, _CACHED_NUMBERS // d)
    for start in range(0, len(total), step):
        rows = slice(start, start + step)
        own, factor = weight[rows].to(torch.float64), left[rows].to(torch.float64)
        change, sizes = torch.zeros_like(own), torch.zeros_like(own)
        for k in range(r):
            part = factor[:, k : k + 1] * above[k]
            change += part
            sizes += part.abs_()
        total[rows] = own + scale * change
        sizes = row_lengths(own.abs() + abs(scale) * sizes)
        bound = gamma(r + 2) * sizes * (1 + gamma(r + d + 12))
        bound += (1 + abs(scale)) * d * underflow(r + 2, torch.float64)
        error[rows] = torch.where((factor != 0).any(dim=1), bound, 0.0)
    return total, error
