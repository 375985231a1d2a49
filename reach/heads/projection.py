"""A projection between norm and output matrix, folded into the rows with a bound on the rounding."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reach.heads.weights import row_blocks
from solvers.rounding import gamma, underflow


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
        sizes = (left.abs() @ right.abs()).norm(dim=1)
        error[rows] = gamma(k) * sizes * (1 + gamma(k + d + 8)) + d * underflow(k, torch.float64)
    return product, error
