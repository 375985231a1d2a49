"""What a comparison of backends was asked to do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from solvers.errors import BadInput


@dataclass(frozen=True)
class CompareSettings:
    """Settings of one comparison.

    Attributes:
        backends: names of the backends to compare; none for all that are installed and can do the problem.
        sample: tokens that every backend is given.
        seconds: budget per token, though never more than a quarter of `backend_seconds`; a batch of n tokens gets n
            times as much, as far as its backend has so many left.
        iterations: limit on a backend's own iterations per token; none for its default.
        tolerance: asked of every backend, mapped to its own options.
        backend_seconds: what a backend may spend on the model's tokens. It is given no further tokens once less than
            the budget of one is left; those left over do not count for or against it. Each part of the strength is
            measured in seconds that follow from these (`reach.compare.seconds`).
        batch: tokens per call of a batched backend.
        seed: of the sample and of everything random.
        memory_gib: resident memory beyond which a backend's process is killed.
        device: where the backends run that can.
        jobs: backends that run side by side.
        strength: also measure detection limits, hidden tokens, controls and domains.
    """

    backends: tuple[str, ...] = ()
    sample: int = 40
    seconds: float = 5.0
    iterations: int | None = None
    tolerance: float = 1e-8
    backend_seconds: float = 40.0
    batch: int = 1024
    seed: int = 0
    memory_gib: float = 4.0
    device: str = "cpu"
    jobs: int = 1
    strength: bool = True

    def __post_init__(self) -> None:
        for name, value in (("--seconds", self.seconds), ("--backend-seconds", self.backend_seconds)):
            if not value > 0:
                raise BadInput(f"{name} must be > 0, not {value:g}: a backend needs time to answer")
        if self.sample < 1:
            raise BadInput(f"--sample must be at least 1, not {self.sample}")
        if self.iterations is not None and self.iterations < 1:
            raise BadInput(f"--iterations must be at least 1, not {self.iterations}")
        if not 0 < self.tolerance < 1e-2:
            raise BadInput(f"--tolerance must lie between 0 and 0.01, not {self.tolerance:g}")
        if not self.memory_gib > 0:
            raise BadInput(f"--memory-gib must be > 0, not {self.memory_gib:g}")
        if self.jobs < 1:
            raise BadInput(f"--jobs must be at least 1, not {self.jobs}")

    @property
    def token_seconds(self) -> float:
        """Budget of one token."""
        return min(self.seconds, self.backend_seconds / 4)

    def share(self, part: float) -> CompareSettings:
        """The same settings with a part of the seconds of each backend."""
        return replace(self, backend_seconds=part * self.backend_seconds)

    def record(self) -> dict[str, Any]:
        """As the comparison's manifest keeps it."""
        return asdict(self)

    def key(self) -> str:
        """Digest of everything that changes a backend's results: results with another key are not reused."""
        lasting = {k: v for k, v in self.record().items() if k not in ("backends", "jobs", "strength")}
        return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]
