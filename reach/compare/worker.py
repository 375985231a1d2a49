"""A backend in a process of its own, with limits: it may crash, hang or eat memory without taking anyone along."""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from solvers.attempt import Attempts
from solvers.backend import Budget
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.registry import Entry

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0
"""How long past its budget a backend may go on before it counts as hanging."""


@dataclass(frozen=True)
class Failure:
    """A backend that did not come back with an answer.

    Attributes:
        kind: crashed, hung, memory, error or refused (it cannot do the problem).
        note: one line on what happened.
        seconds: wall-clock time until then.
    """

    kind: str
    note: str
    seconds: float


@dataclass(frozen=True)
class Limits:
    """Limits on a worker process.

    Attributes:
        memory_bytes: resident memory beyond which it is killed.
        start_seconds: time for importing the library and preparing the problem.
        grace_seconds: time past its budget after which it is killed.
    """

    memory_bytes: int = 4 * 2**30
    start_seconds: float = 120.0
    grace_seconds: float = _GRACE_SECONDS


class IsolatedBackend:
    """Runs a backend in a worker process, on one problem after another. Use as a context manager."""

    def __init__(
        self,
        entry: Entry,
        problem: ArgmaxProblem,
        *,
        device: str = "cpu",
        seed: int = 0,
        limits: Limits | None = None,
    ) -> None:
        self.entry, self.problem, self.device, self.seed = entry, problem, device, seed
        self.limits = limits if limits is not None else Limits()
        self._process: Any = None
        self._connection: Connection | None = None
        self._posed: ArgmaxProblem | None = None

    def __enter__(self) -> IsolatedBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts | Failure:
        """Solve rows in the worker, which is started (again) if need be."""
        failure = self.ready()
        if failure is not None:
            return failure
        started = time.perf_counter()
        assert self._connection is not None
        try:
            # A progress callback cannot cross the process border.
            self._connection.send(("solve", rows, replace(budget, progress=_no_progress)))
        except (BrokenPipeError, OSError):
            return self._dead(started)
        answer = self._wait(started, budget.seconds + self.limits.grace_seconds)
        if isinstance(answer, Failure):
            return answer
        kind, content = answer
        return content if kind == "attempts" else Failure("error", content, time.perf_counter() - started)

    def pose(self, problem: ArgmaxProblem) -> None:
        """Turn to another problem; the worker takes it up when it is next needed, as if it had just been started."""
        self.problem = problem

    # --- process ---

    def ready(self) -> Failure | None:
        """Start the worker and have it prepare the problem, where that has not been done."""
        if self._process is not None and self._posed is self.problem:
            return None
        started = time.perf_counter()
        if self._process is None:
            context = _context()
            mine, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self.entry), daemon=True)
            self._process.start()
            theirs.close()
            self._connection = mine
        assert self._connection is not None
        try:
            self._connection.send(("pose", self.problem, self.device, self.seed))
        except (BrokenPipeError, OSError):
            return self._dead(started)
        self._posed = self.problem
        answer = self._wait(started, self.limits.start_seconds)
        if isinstance(answer, Failure):
            return answer
        kind, content = answer
        if kind == "ready":
            return None
        self._stop()
        return Failure("refused" if kind == "refused" else "error", content, time.perf_counter() - started)

    def _wait(self, started: float, seconds: float) -> tuple[str, Any] | Failure:
        assert self._connection is not None
        while True:
            try:
                if self._connection.poll(_POLL_SECONDS):
                    answer: tuple[str, Any] = self._connection.recv()
                    return answer
            except (EOFError, OSError):
                return self._dead(started)
            spent = time.perf_counter() - started
            if not self._process.is_alive() and not self._connection.poll(0):
                return self._dead(started)
            if spent > seconds:
                self._stop()
                return Failure("hung", f"no answer {spent:.0f} s after it was asked", spent)
            used = _resident_bytes(self._process.pid)
            if used > self.limits.memory_bytes:
                self._stop()
                return Failure("memory", f"used {used / 2**30:.1f} GiB", spent)

    def _dead(self, started: float) -> Failure:
        self._process.join(timeout=5)
        code = self._process.exitcode
        self._stop()
        if code is not None and code < 0:
            note = f"its process died of {signal.Signals(-code).name}"
        else:
            note = f"its process ended with exit code {code}"
        return Failure("crashed", note, time.perf_counter() - started)

    def _stop(self) -> None:
        if self._process is not None:
            if self._process.is_alive():
                self._process.kill()
            self._process.join(timeout=5)
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = self._posed = None


def _context() -> Any:
    """Processes forked from a server that has the slow imports done, and no threads; spawned where there is none."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reach.compare.worker", "scipy.optimize"])
    return context


def _serve(connection: Connection, entry: Entry) -> None:
    """The worker: prepare each problem that is posed, answer about it, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    backend: Any = None
    while True:
        try:
            what, *said = connection.recv()
        except EOFError:
            return
        try:
            if what == "pose":
                backend = None  # before the next one takes memory
                backend = _prepared(entry, *said)
                connection.send(("ready", None))
            else:
                connection.send(("attempts", backend.solve(*said)))
        except BadInput as error:
            connection.send(("refused", str(error)) if what == "pose" else ("error", _one_line(error)))
        except Exception as error:
            connection.send(("error", _one_line(error)))


def _prepared(entry: Entry, problem: ArgmaxProblem, device: str, seed: int) -> Any:
    torch.manual_seed(seed)
    backend = entry.load()(device=device)
    if hasattr(backend, "seed"):
        backend.seed = seed
    backend.prepare(problem)
    return backend


def _no_progress(_: str, __: int) -> None:
    """Nothing."""


def _one_line(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {' '.join(str(error).split())[:200]}"
    )


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process, 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    import resource

    return pages * resource.getpagesize()
