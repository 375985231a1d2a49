"""Witnesses in the convex hull, in few numbers: an even share of all rows, and some rows that weigh more."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reach.search.ledger import Witness
from reach.search.levels import InHull
from reach.search.live import LiveModel
from reach.search.winners import winners

EVENLY = -1
"""Stands for the mean of all rows where a row's number is expected."""

_NAMED = (64, 1024, 4096)
"""How many rows are named, the fewest first: all weights of a large vocabulary would take megabytes per witness."""


def weighted_mean(
    rows: Float[Tensor, "v d"], at: np.ndarray, weight: np.ndarray, even: Float[Tensor, " d"] | None = None
) -> Float[Tensor, " d"]:
    """The point of weights that need not quite add up to 1; `even` is the mean of all rows, if it is at hand."""
    share = torch.from_numpy(weight.astype(np.float64))
    named = at != EVENLY
    point = share[named] @ rows[torch.from_numpy(at[named].astype(np.int64))].double().cpu()
    if not named.all():
        mean = rows.mean(0, dtype=torch.float64).cpu() if even is None else even
        point = point + share[~named].sum() * mean
    return (point / share.sum()).float()


class HullWitnesses:
    """Makes witnesses of softmax variables; each is run, so that what is left out changes no winner."""

    def __init__(self, live: LiveModel, space: InHull) -> None:
        self._live, self._space = live, space
        self._even = live.rows.mean(0, dtype=torch.float64).cpu()

    def __call__(self, source: Float[Tensor, "b k v"], row: int, length: int, margin: float, token: int) -> Witness:
        """The witness with the fewest numbers that still brings up the token; all weights where none does."""
        shares = [x.double().softmax(0) for x in source[row, :length]]
        sizes = [size for size in _NAMED if size < len(shares[0])] or [len(shares[0])]
        ordered = [share.cpu().sort(descending=True) for share in shares]
        tries = [tuple(_sparse(one.values, one.indices, size) for one in ordered) for size in sizes]
        points = torch.stack(
            [torch.stack([weighted_mean(self._live.rows, *one, self._even) for one in weights]) for weights in tries]
        ).to(self._live.device)
        found = winners(self._live.run(points, gradient=False, last=True).logits)
        good = (found.top[:, -1] == token) & self._space.legal(points)[:, -1]
        good &= found.margin[:, -1] > self._live.rounding
        for number in torch.nonzero(good)[:, 0].tolist()[:1]:
            return Witness("hull", length, float(found.margin[number, -1]), weights=tries[number], how="optimised")
        whole = tuple(
            (np.arange(len(share), dtype=np.int32), share.cpu().numpy().astype(np.float32)) for share in shares
        )
        return Witness("hull", length, margin, weights=whole, how="optimised")


def _sparse(weight: Float[Tensor, " v"], rows: Int[Tensor, " v"], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The heaviest rows with their weights, and what is left, spread evenly. Args: the heaviest come first."""
    at = np.concatenate([rows[:size].numpy(), [EVENLY]]).astype(np.int32)
    rest = max(0.0, 1 - float(weight[:size].sum()))
    return at, np.concatenate([weight[:size].numpy(), [rest]]).astype(np.float32)
