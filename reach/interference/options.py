"""What a measurement of interference was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from reach.options import Jobs, Option, Options

PARTS = ("blocks", "dictionary", "reinitialised", "controls")


@dataclass(frozen=True)
class InterferenceSettings(Options):
    """Settings of one measurement. All of them are recorded in `interference.json`."""

    seeds: Annotated[int, Option("--seeds", "Random draws of each control; 0 for no controls.", within=(0, 1000))] = 5
    without: Annotated[
        tuple[str, ...],
        Option("--without", f"Leave out some of {','.join(PARTS)}.", choices=PARTS, noun="part"),
    ] = ()
    alphas: Annotated[
        tuple[float, ...],
        Option("--alpha", "Exponents of the subspace model, separated by commas.", above=0, noun="exponent"),
    ] = (0.5, 1.0, 1.5, 2.0, 2.5)
    jobs: Jobs = 1

    def wants(self, part: str) -> bool:
        """Whether a part is to be made."""
        return part not in self.without and not (part in ("controls", "reinitialised") and self.seeds == 0)
