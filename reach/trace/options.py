"""The settings of a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from reach.options import Option, Options, Seed


@dataclass(frozen=True)
class TraceSettings(Options):
    """How the statistics of a trace are made. All of them are in its record."""

    resamples: Annotated[int, Option("--resamples", "Draws of tokens behind every interval.", least=20)] = 1000
    shuffles: Annotated[int, Option("--shuffles", "Shuffled copies of the tokens behind every test.", least=20)] = 200
    rate: Annotated[
        float,
        Option(
            "--false-discoveries",
            "Share of the tokens called sudden that may be so by chance.",
            within=(0, 1),
            ends=False,
        ),
    ] = 0.05
    seed: Seed = 0
