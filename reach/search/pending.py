"""Passes whose winners wait to be credited, so that the device is not asked for an answer at every step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reach.search.ledger import Ledger, Witness
from reach.search.winners import Winners

Maker = Callable[[Tensor, int, int, float, int], Witness]
"""From what a pass was made of, its row, the number of positions, the margin and the token on top, to a witness."""

_MOST_BYTES = {"cpu": 2**26, "cuda": 2**30}
_MOST_STEPS = {"cpu": 1, "cuda": 8}
"""A GPU must not be made to wait at every step; on a CPU a slot is better given to the next target at once."""


class Pending:
    """Winners of the last few passes, on the device, and what the passes were made of."""

    def __init__(self, ledger: Ledger, level: str, make: Maker, min_margin: float) -> None:
        self._ledger, self._level, self._make, self._min = ledger, level, make, min_margin
        self._held: list[tuple[Tensor, Winners, Tensor | None]] = []

    def room(self, one: Tensor) -> int:
        """How many steps may pass before `settle`, given the size of what one of them keeps."""
        size = max(1, one.numel() * one.element_size())
        return max(1, min(_MOST_STEPS[one.device.type], _MOST_BYTES[one.device.type] // size))

    def add(self, source: Float[Tensor, "b *rest"], found: Winners, legal: Bool[Tensor, "b p"] | None = None) -> None:
        """Keep a pass. `source` must not change afterwards."""
        self._held.append((source, found, legal))
        self._ledger.inputs[self._level] += len(source)

    def settle(self) -> None:
        """Credit all passes held: the one moment that waits for the device."""
        if not self._held:
            return
        tops = [found.top for _, found, _ in self._held]
        margins = [
            found.margin if legal is None else torch.where(legal[:, -found.margin.shape[1] :], found.margin, -1.0)
            for _, found, legal in self._held
        ]
        sizes = np.cumsum([0] + [top.numel() for top in tops])
        token = torch.cat([top.flatten() for top in tops]).cpu().numpy()
        margin = torch.cat([one.flatten() for one in margins]).float().cpu().numpy()
        sure = np.flatnonzero(margin > self._min)
        for place in sure[self._ledger.news(self._level, token[sure], margin[sure])]:
            step = int(np.searchsorted(sizes, place, side="right")) - 1
            source, found, _ = self._held[step]
            row, position = divmod(int(place - sizes[step]), found.top.shape[1])
            # Where fixed text follows, the only position counted is the last one.
            length = source.shape[1] - found.top.shape[1] + position + 1
            one = int(token[place])
            self._ledger.add(one, self._make(source, row, length, float(margin[place]), one))
        self._held.clear()
