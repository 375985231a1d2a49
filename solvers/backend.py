"""The one interface of all backends: prepare a problem once, solve batches of its rows many times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls
from solvers.domains import DOMAINS, Domain, Shape
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do.

    Attributes:
        shapes: forms of domain that it handles; `Free` with c ≠ 0 has its own.
        offsets: whether it handles c ≠ 0 at all.
        batched: whether a batch costs less than its rows one by one.
        devices: where it runs.
        proves_negative: whether its output can prove a row unspeakable (it yields hull weights).
        complete: whether, given time, it settles every row up to its tolerance.
        note: when to prefer it, one line.
    """

    shapes: tuple[Shape, ...] = tuple(Shape)
    offsets: bool = True
    batched: bool = False
    devices: tuple[str, ...] = ("cpu",)
    proves_negative: bool = False
    complete: bool = False
    note: str = ""

    def handles(self, kind: type[Domain]) -> bool:
        """Whether it handles a kind of domain, with or without offsets."""
        return any(shape in self.shapes for shape in kind.shapes)


LINEAR = (Shape.DIRECTIONS, Shape.UPWARD, Shape.BOX)
"""What linear programs can do."""
ROUND = (Shape.DIRECTIONS, Shape.BALL)
"""What nearest points of a hull can do."""


def never(_: str, __: int) -> None:
    """A progress callback that does nothing."""


@dataclass(frozen=True)
class Budget:
    """What one call of `solve` may use, and how exact it should be.

    Attributes:
        seconds: wall-clock limit of the call; infinite by default.
        iterations: limit on the backend's own iterations per row; none means its default.
        tolerance: gap between the bounds, relative to the row's scale, below which a row counts as finished.
        margin_gap: go on until (upper − lower) ≤ margin_gap · upper, not just until the sign is known.
        rivals: of each row that is asked about those that may count for it, with weights, such as bounded the margin
            of a row nearly like it. A backend that knows no use for them leaves them.
        progress: called with (what, number of rows finished since the last call).
    """

    seconds: float = float("inf")
    iterations: int | None = None
    tolerance: float = 1e-9
    margin_gap: float | None = None
    rivals: Hulls | None = field(default=None, compare=False)
    progress: Callable[[str, int], object] = field(default=never, compare=False)

    def __post_init__(self) -> None:
        if not self.seconds > 0 or (self.iterations is not None and self.iterations < 1):
            raise BadInput("a budget needs more than 0 seconds and at least 1 iteration")


class Backend(ABC):
    """A way to look for witnesses and hull weights.

    `prepare` may factor, copy and move the problem; `solve` may be called many times. A backend never decides: it
    returns attempts, and whoever calls it checks them against the problem.

    Args:
        device: where tensors live, "cpu" or "cuda".
        jobs: cores that pieces of work may be spread over.

    Attributes:
        effective_options: what the last call of `solve` set in the library that does the work, under the library's
            own names; read back from it where it allows that (`options.settings_map` says where).
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def __init__(self, device: str = "cpu", jobs: int = 1) -> None:
        if device.split(":", maxsplit=1)[0] not in self.capabilities.devices:
            raise BadInput(f"{self.name} runs on {' or '.join(self.capabilities.devices)}, not on {device!r}")
        self.device = device
        self.jobs = jobs
        self.effective_options: dict[str, object] = {}
        self._problem: ArgmaxProblem | None = None

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem.

        Raises:
            BadInput: the backend cannot do this kind of problem.
        """
        reason = self.why_not(problem)
        if reason is not None:
            raise BadInput(reason)
        self._problem = problem

    @classmethod
    def why_not(cls, problem: ArgmaxProblem) -> str | None:
        """Why this backend cannot do a problem, or None if it can."""
        can = cls.capabilities
        kind, offsets = type(problem.domain), not problem.zero_offset
        if not can.handles(kind):
            names = ", ".join(known.__name__ for known in DOMAINS.values() if can.handles(known))
            return f"{cls.name} works on {names}, not on {kind.__name__}"
        # A change of variables may bring offsets along.
        if (offsets or problem.domain.affine is not None) and not can.offsets:
            return f"{cls.name} cannot do offsets"
        if problem.domain.shape(offsets=offsets) not in can.shapes:
            return f"{cls.name} cannot do {kind.__name__} with offsets"
        return None

    @property
    def problem(self) -> ArgmaxProblem:
        """The prepared problem."""
        if self._problem is None:
            raise RuntimeError(f"{self.name}: solve called before prepare")
        return self._problem

    @abstractmethod
    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Try these rows within a budget."""

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"torch {torch.__version__}"
