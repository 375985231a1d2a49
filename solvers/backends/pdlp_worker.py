"""The process that runs PDLP: it reads pickled programs from its standard input and answers on its standard output.

OR-tools and highspy each bring a library with the name libhighs.so.1. Whichever is loaded first serves both, and the
second fails on symbols that it misses, so PDLP gets a process in which nothing else is loaded. Hence the few imports.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, BinaryIO

import numpy as np
from scipy import sparse


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer programs until the input ends. Each is (difference, offset, lo, hi, options)."""
    from ortools.pdlp import solve_log_pb2, solvers_pb2
    from ortools.pdlp.python import pdlp

    pickle.dump("ready", sink)
    sink.flush()
    while True:
        try:
            request = pickle.load(source)
        except EOFError:
            return
        try:
            answer = _solve(pdlp, solvers_pb2, solve_log_pb2, *request)
        except Exception as error:  # the parent reports it; this process goes on with the next row
            answer = {"error": f"{type(error).__name__}: {error}"}
        pickle.dump(answer, sink)
        sink.flush()


def _solve(
    pdlp: Any,
    solvers_pb2: Any,
    solve_log_pb2: Any,
    difference: np.ndarray,
    offset: np.ndarray,
    lo: np.ndarray,
    hi: np.ndarray,
    chosen: dict[str, object],
) -> dict[str, Any]:
    k, e = difference.shape
    program = pdlp.QuadraticProgram()
    program.resize_and_initialize(e + 1, k)
    program.objective_vector = np.append(np.zeros(e), -1.0)
    program.variable_lower_bounds = np.append(lo, -np.inf)
    program.variable_upper_bounds = np.append(hi, np.inf)
    program.constraint_matrix = sparse.csc_matrix(np.hstack([-difference, np.ones((k, 1))]))
    program.constraint_lower_bounds = np.full(k, -np.inf)
    program.constraint_upper_bounds = offset
    parameters = solvers_pb2.PrimalDualHybridGradientParams()
    for name, value in chosen.items():
        group, _, field = name.rpartition(".")
        holder = parameters
        for part in group.split(".") if group else ():
            holder = getattr(holder, part)
        setattr(holder, field, value)
        if getattr(holder, field) != value:
            raise RuntimeError(f"pdlp did not take the option {name} = {value}")
    result = pdlp.primal_dual_hybrid_gradient(program, parameters)
    reason = solve_log_pb2.TerminationReason.Name(result.solve_log.termination_reason)
    return {
        "reason": reason,
        "z": np.asarray(result.primal_solution)[:e],
        "dual": np.asarray(result.dual_solution),
        "iterations": int(result.solve_log.iteration_count),
    }


if __name__ == "__main__":
    # What a library prints must not end up among the answers.
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr
    main(sys.stdin.buffer, answers)
