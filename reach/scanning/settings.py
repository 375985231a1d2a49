"""What a scan was asked to do."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from solvers.errors import BadInput

MARGIN_GAP_UNUSED = (
    "--margin-gap has no effect here: margins on the whole space (--domain free) may have no bound where there are "
    "offsets, so only verdicts are found; for margins choose another --domain, such as ball:R"
)
"""What to say where `ArgmaxProblem.margin_bounded` is false."""


@dataclass(frozen=True)
class ScanSettings:
    """Settings of one scan. All of them are recorded in the run's manifest.

    Attributes:
        exact: raise every verdict that can be raised to `exact` evidence.
        margin_gap: tighten every margin's bounds to this relative gap; none leaves them as the verdict needed them.
        tolerance: gap between the bounds, relative to a row's scale, at which a search may stop.
        stage_seconds: wall-clock limit for each search stage's call on one block; none for no limit.
        block_tokens: tokens per journalled block: what a killed scan can lose at most.
        jobs: cores used.
        device: where the batched stages run.
    """

    exact: bool = False
    margin_gap: float | None = None
    tolerance: float = 1e-9
    stage_seconds: float | None = None
    block_tokens: int = 4096
    jobs: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.margin_gap is not None and not 0 < self.margin_gap < 1:
            raise BadInput(f"--margin-gap must lie between 0 and 1, not {self.margin_gap:g}")
        if not 0 < self.tolerance < 1e-2:
            raise BadInput(f"--tolerance must lie between 0 and 0.01, not {self.tolerance:g}")
        if self.stage_seconds is not None and not self.stage_seconds > 0:
            raise BadInput(f"--stage-seconds must be > 0, not {self.stage_seconds:g}")
        if self.block_tokens < 1:
            raise BadInput(f"--block-tokens must be at least 1, not {self.block_tokens}")
        if self.jobs < 1:
            raise BadInput(f"--jobs must be at least 1, not {self.jobs}")

    def record(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return asdict(self)


def default_jobs() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
