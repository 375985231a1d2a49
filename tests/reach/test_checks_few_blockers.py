"""The check of short proofs, by proofs that say a little too much."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from reach.few_blockers_check import few_blockers_faults
from reach.runs.schema import FEW_BLOCKERS
from solvers.checks.hull import hull_upper_bound
from solvers.domains import Ball
from solvers.problem import ArgmaxProblem

Row = tuple[int, int, float, float]


@pytest.fixture(scope="module")
def problem() -> ArgmaxProblem:
    """Tokens 0 and 3 lie at the origin, lower by 2; token 1 a step away, token 2 opposite. The unit disk."""
    rows = torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 0]], dtype=torch.float64)
    return ArgmaxProblem(rows, Ball(1.0), bias=torch.tensor([-2.0, 0, 0, -2.0], dtype=torch.float64))


@pytest.fixture(scope="module")
def bound(problem: ArgmaxProblem) -> float:
    """What token 1 alone proves of token 0: (A₀ − A₁)·z − 2 ≤ 1 − 2."""
    found = hull_upper_bound(problem, 0, np.array([1]), np.ones(1))
    assert found == pytest.approx(-1.0)
    return found


def faults(problem: ArgmaxProblem, *rows: Row) -> list[tuple[int, str]]:
    verdicts = pa.table({"verdict": ["unspeakable", "speakable", None, "unspeakable"]})
    table = pa.Table.from_pylist(
        [dict(zip(FEW_BLOCKERS.names, row, strict=True)) for row in rows], schema=FEW_BLOCKERS
    )
    return list(few_blockers_faults(problem, verdicts, table))


def test_proofs_that_hold_are_accepted(problem: ArgmaxProblem, bound: float):
    # The bound itself, a weaker one, and the weakest there is; of the first and of the last token
    for said in (bound, bound / 2, 0.0):
        assert faults(problem, (0, 1, 1.0, said)) == []
        assert faults(problem, (3, 2, 1.0, said)) == []
    # Rounded in another order by less than a thousandth of a millionth
    assert faults(problem, (0, 1, 1.0, bound * (1 + 5e-10))) == []
    # Of both neighbours the mix lies at the origin: 0 − 2
    assert faults(problem, (0, 1, 0.5, 2 * bound * 0.999), (0, 2, 0.5, 2 * bound * 0.999)) == []


@pytest.mark.parametrize("factor", [1 + 5e-9, 1 + 1e-6, 1.5, 3.0])
def test_a_bound_that_says_more_than_its_weights_prove_is_refused(
    problem: ArgmaxProblem, bound: float, factor: float
):
    ((token, why),) = faults(problem, (0, 1, 1.0, factor * bound))
    assert token == 0
    assert why == f"its short proof bounds the margin by {bound:.9g} logits, not by {factor * bound:.9g}"


def test_a_bound_above_zero_proves_nothing(problem: ArgmaxProblem):
    for said in (1e-300, 0.5, 1.0):
        ((token, _),) = faults(problem, (0, 1, 1.0, said))
        assert token == 0


def test_each_line_of_a_proof_must_say_what_is_proved(problem: ArgmaxProblem, bound: float):
    for said in (0.5, 4 * bound):
        ((token, _),) = faults(problem, (0, 1, 0.5, bound), (0, 2, 0.5, said))
        assert token == 0
    # Weights that are none: they do not add up, or the token is its own blocker
    assert len(faults(problem, (0, 1, 0.5, bound))) == 1
    assert len(faults(problem, (0, 0, 1.0, bound))) == 1


def test_only_unspeakable_tokens_have_short_proofs_and_the_next_is_still_looked_at(
    problem: ArgmaxProblem, bound: float
):
    other = "a short proof is stored for a token that is not unspeakable"
    rows = [(token, 1, 1.0, bound) for token in (-1, 0, 2, 3, 4)]
    rows[1] = (0, 1, 1.0, 3 * bound)
    assert [(token, why == other) for token, why in faults(problem, *rows)] == [
        (-1, True), (0, False), (2, True), (4, True),
    ]  # fmt: skip
    assert faults(problem, (1, 2, 1.0, bound)) == [(1, other)]


def test_what_is_left_for_rounding_goes_with_the_bound():
    # (A₀ − A₁)·z ≤ 1, and the token is lower by a tenth of a billionth more than that
    rows = torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 1]], dtype=torch.float64)
    offsets = torch.tensor([-1.0 - 1e-10, 0, 0, 0], dtype=torch.float64)
    problem = ArgmaxProblem(rows, Ball(1.0), bias=offsets)
    assert faults(problem, (0, 1, 1.0, -0.9e-10)) == []
    assert len(faults(problem, (0, 1, 1.0, -5e-10))) == 1
