"""Which engine a person asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from reach.engines.base import Engine, InProcess
from reach.options import Option, Options
from solvers.errors import BadInput

ENGINES = ("in-process", "processes", "ray")


@dataclass(frozen=True)
class EngineOptions(Options):
    """Where the work is done. None of this changes what comes of it."""

    engine: Annotated[
        str,
        Option(
            "--engine",
            "Where blocks are computed: in this process, in processes of this machine, or on a Ray cluster (with the "
            "extra ray). The result is the same.",
            choices=ENGINES,
        ),
    ] = "in-process"
    workers: Annotated[
        int | None,
        Option(
            "--workers",
            "Of --engine processes, and of ray without --address: how many at once. Default: --jobs.",
            least=1,
            most=4096,
        ),
    ] = None
    address: Annotated[
        str | None,
        Option("--address", "Of --engine ray: HOST:PORT of a cluster, or auto. Default: one of these cores."),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers is not None and (self.engine == "in-process" or self.address is not None):
            raise BadInput("--workers is of --engine processes, or of ray without --address: a cluster has its own")
        if self.address is not None and self.engine != "ray":
            raise BadInput("--address is of --engine ray")

    def open(self, jobs: int = 1, device: str = "cpu") -> Engine:
        """The engine, to be used in a `with` block.

        Args:
            jobs: cores of this machine.
            device: of the work.

        Raises:
            BadInput: it cannot be had, and why.
        """
        workers = self.workers or jobs
        if self.engine == "processes":
            from reach.engines.processes import Processes

            return Processes(workers, jobs)
        if self.engine == "ray":
            from reach.engines.cluster import Ray

            return Ray(self.address, workers, device)
        return InProcess()


def record_of(engine: Engine | None) -> dict[str, Any] | UnsetType:
    """What a manifest says of an engine: nothing of work in the process itself."""
    return UNSET if engine is None or engine.here else engine.record()
