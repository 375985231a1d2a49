"""Checks in rational arithmetic. Weights are binary floats: integers times a power of two, and nothing is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import flint
import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified
from solvers.checks.hull import weights_fault
from solvers.checks.numbers import as_integers, power
from solvers.domains import Domain
from solvers.problem import ArgmaxProblem

STORED_WEIGHT_ROUNDING = 1e-7
"""How far a stored weight may lie from the exact one that its support determines."""

_ENTRIES = 2**18
"""How many numbers of rows are held as Python integers at a time, some 60 bytes each."""


# --- rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExactRows:
    """Rows of A and their offsets, exactly: row = integers · 2**exponent / divisor, offset = a Fraction each."""

    integers: np.ndarray
    exponent: int
    divisor: int
    offsets: list[Fraction]

    @property
    def unit(self) -> Fraction:
        """What one unit of `integers` is worth."""
        return power(self.exponent) / self.divisor


def exact_rows(problem: ArgmaxProblem, index: Int[np.ndarray, " n"]) -> ExactRows:
    """The rows and offsets with these numbers, from the factors as they are stored.

    Raises:
        ValueError: the rows themselves were computed with rounding (`weight_error`), so no exact value is known.
    """
    if problem.weight_error is not None:
        raise ValueError("the rows of this problem are known only up to rounding")
    weight, weight_exponent = as_integers(problem.weight[torch.from_numpy(np.asarray(index, dtype=np.int64))])
    rows, exponent = weight, weight_exponent
    if problem.scale is not None:
        scale, scale_exponent = as_integers(problem.scale)
        rows, exponent = rows * scale[None, :], exponent + scale_exponent
    divisor = 1
    if problem.centred:
        divisor = problem.d
        rows = rows * divisor - rows.sum(axis=1)[:, None]
    offsets = [Fraction(0)] * len(index)
    if problem.shift is not None:
        shift, shift_exponent = as_integers(problem.shift)
        unit = power(weight_exponent + shift_exponent)
        offsets = [Fraction(int(total)) * unit for total in (weight * shift[None, :]).sum(axis=1)]
    if problem.bias is not None:
        offsets = [offset + Fraction(float(problem.bias[int(i)])) for offset, i in zip(offsets, index, strict=True)]
    return ExactRows(rows, exponent, divisor, offsets)


# --- domains ------------------------------------------------------------------------------------------------------


def inside_domain(domain: Domain, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
    """Which finite points lie in the domain, exactly."""
    return certified(domain).inside(points)


def bound_is_not_positive(domain: Domain, v: list[Fraction], delta: Fraction) -> bool:
    """Whether sup over the domain of v·z, plus δ, is proved to be ≤ 0: then no z makes the token win strictly."""
    return certified(domain).not_positive(v, delta)


# --- proofs -------------------------------------------------------------------------------------------------------


def witness_beats(
    problem: ArgmaxProblem, token: int, point: Float[Tensor, " d"], rivals: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """For each rival j, whether (A[t]−A[j])·z + c[t]−c[j] > 0 exactly; never at a point that is not finite."""
    if not bool(torch.isfinite(point).all()):
        return np.zeros(len(rivals), dtype=bool)
    rows = exact_rows(problem, np.concatenate([[token], np.asarray(rivals, dtype=np.int64)]))
    z, exponent = as_integers(point)
    unit = rows.unit * power(exponent)
    scores = [
        Fraction(int(s)) * unit + c
        for s, c in zip((rows.integers * z[None, :]).sum(axis=1), rows.offsets, strict=True)
    ]
    return np.array([scores[0] > score for score in scores[1:]], dtype=bool)


def first_unbeaten(
    problem: ArgmaxProblem, token: int, point: Float[Tensor, " d"], rivals: Int[np.ndarray, " n"]
) -> int | None:
    """The first of these rivals that the token does not beat at this point, exactly; none where it beats them all.

    At a point where everything ties, such as 0, there may be as many rivals as rows: they are asked a few at a time.
    """
    start, size = 0, 1
    while start < len(rivals):
        part = rivals[start : start + size]
        beaten = witness_beats(problem, token, point, part)
        if not beaten.all():
            return int(part[~beaten][0])
        start, size = start + size, min(2 * size, max(1, _ENTRIES // problem.d))
    return None


def bound_by_weights(
    problem: ArgmaxProblem, token: int, rows: Int[np.ndarray, " k"], weights: Float64[np.ndarray, " k"]
) -> bool:
    """Whether these very weights (read as exact binary numbers) prove that the token is unspeakable."""
    if weights_fault(problem, token, rows, weights) is not None:
        return False
    exact = exact_rows(problem, np.concatenate([[token], rows]))
    lam, exponent = as_integers(torch.from_numpy(np.asarray(weights, dtype=np.float64)))
    # The bound is homogeneous in λ, so the weights need not add up to exactly 1.
    v = lam.sum() * exact.integers[0] - (lam[:, None] * exact.integers[1:]).sum(axis=0)
    factor = power(exponent)
    delta = sum(
        (Fraction(int(w)) * factor * (exact.offsets[0] - c) for w, c in zip(lam, exact.offsets[1:], strict=True)),
        Fraction(0),
    )
    return bound_is_not_positive(problem.domain, [Fraction(int(x)) * exact.unit * factor for x in v], delta)


def solve_hull(problem: ArgmaxProblem, token: int, rows: Int[np.ndarray, " k"]) -> list[Fraction] | None:
    """The exact weights with Σλ_j A[j] = A[t] and Σλ_j = 1 over these rows, if there are unique ones; else None.

    Solved by p-adic lifting (Dixon 1982) in FLINT, on the square system when k = d+1, else on the normal equations,
    whose solution is then checked against every equation.
    """
    exact = exact_rows(problem, np.concatenate([[token], rows]))
    k, d = len(rows), problem.d
    if k > d + 1:
        return None
    columns = [[*map(int, row), 1] for row in exact.integers]
    target = flint.fmpz_mat(d + 1, 1, columns[0])
    matrix = flint.fmpz_mat([list(row) for row in zip(*columns[1:], strict=True)])
    try:
        if k == d + 1:
            solution = flint.fmpq_mat(matrix).solve(flint.fmpq_mat(target), algorithm="dixon")
        else:
            transposed = matrix.transpose()
            solution = flint.fmpq_mat(transposed * matrix).solve(
                flint.fmpq_mat(transposed * target), algorithm="dixon"
            )
            if flint.fmpq_mat(matrix) * solution != flint.fmpq_mat(target):
                return None
    except ZeroDivisionError:
        return None
    return [Fraction(int(solution[i, 0].p), int(solution[i, 0].q)) for i in range(k)]


def hull_membership(
    problem: ArgmaxProblem,
    token: int,
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"] | None = None,
) -> list[Fraction] | None:
    """Exact proof that A[t] lies in the hull of these rows, with Σλ_j(c[t]−c[j]) ≤ 0: then t is unspeakable.

    It holds on every domain, because v(λ) = 0. Returns the exact weights, or None when there is no such proof. Stored
    weights, when given, must be those weights rounded.
    """
    given = np.full(len(rows), 1 / max(1, len(rows))) if weights is None else weights
    if weights_fault(problem, token, rows, given) is not None:
        return None
    solution = solve_hull(problem, token, rows)
    if solution is None or any(weight < 0 for weight in solution):
        return None
    if weights is not None:
        stored = np.asarray(weights, dtype=np.float64)
        if np.abs(stored - np.array([float(weight) for weight in solution])).max() > STORED_WEIGHT_ROUNDING:
            return None
    offsets = exact_rows(problem, np.concatenate([[token], rows])).offsets
    delta = sum((w * (offsets[0] - c) for w, c in zip(solution, offsets[1:], strict=True)), Fraction(0))
    return solution if delta <= 0 else None
