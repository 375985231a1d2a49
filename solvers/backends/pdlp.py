"""PDLP of OR-tools on the textbook program (Applegate et al. 2021): a first-order method for linear programs."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from solvers import options
from solvers.backend import LINEAR, Budget, Capabilities
from solvers.backends.full_program import FullProgram
from solvers.backends.program import Answer, Program
from solvers.problem import ArgmaxProblem

_OPTIMAL = "TERMINATION_REASON_OPTIMAL"
_LIMITS = {f"TERMINATION_REASON_{name}_LIMIT" for name in ("TIME", "ITERATION", "KKT_MATRIX_PASS")}


class _Worker:
    """The one process that runs PDLP for this one; it starts when it is needed and ends with it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._turn = threading.Lock()

    def start(self) -> subprocess.Popen[bytes]:
        """The running process, started if there is none.

        Raises:
            OSError: it could not load PDLP.
        """
        if self._owner != os.getpid():  # a fork must not talk to its parent's process
            self._process, self._owner = None, os.getpid()
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "solvers.backends.pdlp_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdout is not None
            try:
                pickle.load(self._process.stdout)  # it says when it has loaded PDLP
            except EOFError as error:
                raise OSError("the process that should run PDLP could not load it") from error
        return self._process

    def ask(self, request: tuple[object, ...]) -> dict[str, Any]:
        """Its answer to a program, or {"error": why there is none}."""
        with self._turn:
            try:
                process = self.start()
                assert process.stdin is not None and process.stdout is not None
                pickle.dump(request, process.stdin)
                process.stdin.flush()
                answer: dict[str, Any] = pickle.load(process.stdout)
            except (EOFError, OSError) as error:
                self.stop()
                return {"error": f"its process ended: {error or 'it crashed'}"}
            except BaseException:  # interrupted: its answer must not be read as that to the next program
                self.stop()
                raise
            return answer

    def stop(self) -> None:
        """End the process: it ends when its input does; one in the middle of a program is not waited for."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_WORKER = _Worker()
atexit.register(_WORKER.stop)


class Pdlp(FullProgram):
    """max s  s.t.  s − D u ≤ e  inside the box, by primal–dual hybrid gradients.

    Prefer it over the simplex method where all rows must be in one program and that program is large: its steps are
    products with the matrix, and it needs no factorisation. Its answers are as exact as its tolerance, so prefer
    `highs` where a negative is to be proved. It runs in a process of its own (see `pdlp_worker`).
    """

    name = "pdlp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=LINEAR, proves_negative=True, note="first-order, for large programs with every row at once"
    )
    trusted = 1e-8

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem and start the process, so that no solve pays for its start."""
        super().prepare(problem)
        with contextlib.suppress(OSError):  # every program will say so
            _WORKER.start()

    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Hand the program to the process."""
        chosen = options.values(self.name, budget)
        answer = _WORKER.ask((program.matrix, program.right, *program.box, chosen))
        if "error" in answer:
            return Answer("failed", note=answer["error"])
        self.effective_options = chosen
        reason = answer["reason"]
        if reason != _OPTIMAL and reason not in _LIMITS:
            return Answer("failed", iterations=answer["iterations"], note=reason)
        return Answer(
            "optimal" if reason == _OPTIMAL else "limit",
            answer["z"],
            # Multipliers of constraints from above are negative in PDLP's convention.
            np.maximum(-answer["dual"], 0),
            answer["iterations"],
            "" if reason == _OPTIMAL else reason,
        )

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"ortools {version('ortools')}"
