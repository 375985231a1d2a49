"""Rows inside the hull of others, on its faces and just outside: only what lies inside is proved to.

The truth about each row is known by how it was made, in integers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads import seeds

from solvers.backend import Budget
from solvers.backends.analytic_centre import AnalyticCentre
from solvers.checks.interior import inside_hull, spread_set
from solvers.domains import Free
from solvers.hull_rows import HullRows
from solvers.problem import ArgmaxProblem


def on_a_face(rows: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """The middle of two rows of a face of the hull, and the direction that the face looks in."""
    normal = generator.integers(-3, 4, rows.shape[1])
    heights = rows @ normal
    top = rows[heights == heights.max()]
    if not normal.any() or len(top) == len(rows):
        return None
    return top[generator.integers(0, len(top), 2)].sum(axis=0) / 2, normal.astype(float)


def candidates(
    problem: ArgmaxProblem, hull: HullRows, token: int, generator: np.random.Generator
) -> list[torch.Tensor]:
    """What a search finds, what it ends with early, a wild guess, and nothing at all."""
    backend = AnalyticCentre()
    backend.prepare(problem)
    found = [backend.solve(torch.tensor([token]), Budget(iterations=steps)).duals for steps in (3, 60)]
    wild = torch.from_numpy(generator.standard_normal((1, hull.e)) * 10.0 ** generator.integers(-2, 4))
    return [*(dual for dual in found if dual is not None), wild, torch.zeros((1, hull.e), dtype=torch.float64)]


@pytest.mark.parametrize("heads", seeds(4, 15), ids=str)
def test_only_rows_inside_are_proved(heads: range) -> None:
    counts = np.sum([check_head(np.random.default_rng(number)) for number in heads], axis=0)
    # Mixes of all rows lie inside; among few rows some lie there by less than a proof needs.
    assert counts[1] > 0.8 * counts[0] > 0


def check_head(generator: np.random.Generator) -> tuple[int, int]:
    """How many rows of a head were inside, and how many of them were proved to be."""
    d = int(generator.integers(1, 7))
    v = int(generator.integers(2 * d + 2, 8 * d + 8))
    rows = generator.integers(-4, 5, (v, d)).astype(float)
    inside = proved = 0
    for _ in range(6):
        made = on_a_face(rows, generator)
        if generator.random() < 0.5:
            row, within = generator.dirichlet(np.ones(v)) @ rows, True
        elif made is not None:
            height = 0.0 if generator.random() < 0.4 else 10.0 ** generator.integers(-12, 1)
            row, within = made[0] + height * made[1], False
        else:
            continue
        problem = ArgmaxProblem(torch.from_numpy(np.vstack([rows, row])), Free())
        hull = HullRows(problem)
        spread = spread_set(hull, torch.arange(v + 1)) if hull.e else None
        if spread is None:
            continue
        token = torch.tensor([v])
        found = [bool(inside_hull(hull, spread, token, dual)[0]) for dual in candidates(problem, hull, v, generator)]
        assert within or not any(found), (rows, row)
        inside, proved = inside + within, proved + any(found)
    return inside, proved
