"""What a measurement of interference was asked to do."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from solvers.errors import BadInput

PARTS = ("blocks", "dictionary", "reinitialised", "controls")
ALPHAS = (0.5, 1.0, 1.5, 2.0, 2.5)


@dataclass(frozen=True)
class InterferenceSettings:
    """Settings of one measurement. All of them are recorded in `interference.json`.

    Attributes:
        seeds: random draws of each control; none of them with 0.
        without: parts to leave out, of `PARTS`.
        alphas: exponents of the subspace model to show.
        jobs: cores used.
    """

    seeds: int = 5
    without: tuple[str, ...] = ()
    alphas: tuple[float, ...] = ALPHAS
    jobs: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.seeds <= 1000:
            raise BadInput(f"--seeds must lie between 0 and 1000, not {self.seeds}")
        if self.jobs < 1:
            raise BadInput(f"--jobs must be at least 1, not {self.jobs}")
        for part in self.without:
            if part not in PARTS:
                raise BadInput(f"--without: there is no part {part!r}; there are {', '.join(PARTS)}")
        if not self.alphas:
            raise BadInput("--alpha: give at least one exponent")
        for alpha in self.alphas:
            if not (math.isfinite(alpha) and alpha > 0):
                raise BadInput(f"--alpha: an exponent must be a finite number > 0, not {alpha:g}")

    def wants(self, part: str) -> bool:
        """Whether a part is to be made."""
        return part not in self.without and not (part in ("controls", "reinitialised") and self.seeds == 0)

    def record(self) -> dict[str, Any]:
        """As `interference.json` keeps it."""
        return asdict(self)


def parse_settings(seeds: int, without: str | None, alphas: str | None, jobs: int) -> InterferenceSettings:
    """Settings from the words of the command line.

    Raises:
        BadInput: a part is unknown, or a number is none or out of range.
    """
    parts = () if without is None else tuple(part.strip() for part in without.split(",") if part.strip())
    if alphas is None:
        return InterferenceSettings(seeds, parts, jobs=jobs)
    try:
        exponents = tuple(float(alpha) for alpha in alphas.split(","))
    except ValueError:
        raise BadInput(f"--alpha {alphas}: give numbers, separated by commas") from None
    return InterferenceSettings(seeds, parts, exponents, jobs)
