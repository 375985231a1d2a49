"""Restricted problems over a ball in as many dimensions as they have rivals: nothing happens outside their span.

Over a ball around 0 the best point lies in the span of the constraints' rows, for what it has besides costs norm and
earns nothing. With k rows in e > k dimensions, an orthonormal basis of that span takes the problem to k dimensions;
and interior points pay for dimensions with their cube.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

_FEWEST_DIMENSIONS = 512
"""Below this a factorisation costs too little for the change of basis to pay."""
_MOST_OF_THEM = 0.75
"""Share of the dimensions beyond which it does not pay either."""


def in_span(rows: Float64[Tensor, "b k e"]) -> tuple[Float64[Tensor, "b k k"], Float64[Tensor, "b e k"]] | None:
    """Coordinates of the rows in an orthonormal basis of a space that holds them, and the basis (as columns).

    None where that would not pay. A point x of the small space is `basis @ x` in the large one.
    """
    _, k, e = rows.shape
    if e < _FEWEST_DIMENSIONS or k > _MOST_OF_THEM * e:
        return None
    basis, triangle = torch.linalg.qr(rows.transpose(1, 2))
    return triangle.transpose(1, 2).contiguous(), basis
