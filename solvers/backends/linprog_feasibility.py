"""The program that was used to count "unspeakable" tokens: any z with A[t]·z ≥ A[j]·z + ε for all j, |z_i| ≤ 100.

Kept to be compared with. It draws a negative from "infeasible", and from every other status that is not "optimal":
both are attempts, not proofs. It ignores the norm before the head, so it also calls rows reachable that no hidden
state of the model reaches.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int
from scipy.optimize import linprog
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Backend, Budget, Capabilities

BOX = 100.0
"""|z_i| up to this, whatever the domain."""
LEAD = 1e-3
"""ε: by how much the row has to win, logits."""


class LinprogFeasibility(Backend):
    """Feasibility of the textbook constraints by `linprog` with its default tolerances, nothing scaled.

    Prefer anything else; prefer `linprog-highs-ds` for the same library with a program that is always feasible. Its
    status says what its users would have concluded, its points may lie outside the domain, and it has no bounds.
    """

    name = "linprog-feasibility"
    capabilities: ClassVar[Capabilities] = Capabilities(
        note="the common way to get it wrong, for comparison only: infeasible is no proof"
    )

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """One feasibility program per row; any status but "optimal" is taken for a no."""
        started = time.perf_counter()
        problem, n = self.problem, len(rows)
        rows = rows.cpu()
        points = torch.full((n, problem.d), torch.nan, dtype=torch.float64)
        status = [Status.LIMIT] * n
        notes: list[str] = []
        work = {"programs": 0.0, "iterations": 0.0}
        matrix, offset = problem.rows(slice(0, problem.v if n else 0)).numpy(), problem.offset.numpy()
        for i, token in enumerate(rows.tolist()):
            left = budget.seconds - (time.perf_counter() - started)
            if left <= 0:
                break
            chosen = options.values(self.name, Budget(seconds=left, iterations=budget.iterations))
            result = linprog(
                np.zeros(problem.d),
                A_ub=np.delete(matrix, token, axis=0) - matrix[token],
                b_ub=offset[token] - np.delete(offset, token) - LEAD,
                bounds=(-BOX, BOX),
                method="highs",
                options=chosen,
            )
            self.effective_options = {"method": "highs", **chosen}
            work["programs"] += 1
            work["iterations"] += float(result.nit or 0)
            if result.status == 0 and result.x is not None:
                points[i] = torch.from_numpy(np.asarray(result.x))
                status[i] = Status.WITNESS
            else:
                status[i] = Status.NO_WITNESS
                notes.append(f"linprog status {result.status} read as a no")
            budget.progress(self.name, 1)
        none = torch.full((n,), torch.inf, dtype=torch.float64)
        return Attempts(
            rows=rows,
            status=status,
            points=points,
            hulls=Hulls.none(n),
            lower=-none,
            upper=none,
            work=work,
            seconds=time.perf_counter() - started,
            note="; ".join(dict.fromkeys(notes)),
        )

    @classmethod
    def version(cls) -> str:
        """Version of the library that does the work."""
        return f"scipy {version('scipy')}"
