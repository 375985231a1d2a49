"""What a comparison of backends was asked to do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Annotated

from reach.options import Device, Jobs, Option, Options, Seed


@dataclass(frozen=True)
class CompareSettings(Options):
    """Settings of one comparison. `batch` is the tokens per call of a batched backend.

    A batch of n tokens gets n times the seconds of one, as far as its backend has so many left. A backend is given no
    further tokens once less than the budget of one is left of `backend_seconds`; those left over do not count for or
    against it. Each part of the strength is measured in seconds that follow from these (`reach.compare.run`).
    """

    backends: Annotated[
        tuple[str, ...], Option("--backends", "Names, separated by commas. Default: all that can do it.")
    ] = ()
    sample: Annotated[int, Option("--sample", "Tokens that every backend is given.", least=1)] = 40
    seconds: Annotated[
        float, Option("--seconds", "Budget per token, up to a quarter of --backend-seconds.", above=0, most=1e8)
    ] = 5.0
    iterations: Annotated[
        int | None, Option("--iterations", "Limit on a backend's own iterations per token.", least=1)
    ] = None
    tolerance: Annotated[
        float,
        Option("--tolerance", "Asked of every backend, mapped to its own options.", within=(0, 0.01), ends=False),
    ] = 1e-8
    backend_seconds: Annotated[
        float,
        Option(
            "--backend-seconds", "What a backend may spend on the tokens; the strength follows from it.",
            above=0, most=1e8,
        ),
    ] = 20.0  # fmt: skip
    batch: int = 1024
    seed: Seed = 0
    memory_gib: Annotated[
        float, Option("--memory-gib", "A backend's process that takes more is stopped.", above=0, most=1e6)
    ] = 4.0
    device: Device = "cpu"
    jobs: Jobs = 1
    strength: Annotated[
        bool, Option("--strength/--no-strength", "Also detection limits, hidden tokens, controls, domains.")
    ] = True

    @property
    def token_seconds(self) -> float:
        """Budget of one token."""
        return min(self.seconds, self.backend_seconds / 4)

    def share(self, part: float) -> CompareSettings:
        """The same settings with a part of the seconds of each backend."""
        return replace(self, backend_seconds=part * self.backend_seconds)

    def key(self) -> str:
        """Digest of everything that changes a backend's results: results with another key are not reused."""
        lasting = {k: v for k, v in self.record().items() if k not in ("backends", "jobs", "strength")}
        return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]
