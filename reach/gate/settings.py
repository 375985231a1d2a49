"""What the gate is asked to hold a model to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from reach.options import Device, Jobs, Option, Options


@dataclass(frozen=True)
class GateSettings(Options):
    """What the gate is to hold a model to."""

    must: Annotated[
        str | None,
        Option("--must", "More tokens that must be sayable: ids, ranges 10-20, strings, @file; separated by commas."),
    ] = None
    never: Annotated[str | None, Option("--never", "More tokens that must not come out, in the same words.")] = None
    only: Annotated[bool, Option("--only", "Decide --must and --never alone, not what the model's files name.")] = (
        False
    )
    margin: Annotated[
        float,
        Option("--margin", "Logits by which a token that must be said has to be able to lead.", least=0, most=1e6),
    ] = 0.01
    seconds: Annotated[
        float, Option("--seconds", "Limit for the searches that hard tokens need, together.", above=0)
    ] = 60.0
    jobs: Jobs = 1
    device: Device = "cpu"
