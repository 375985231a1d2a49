"""From hull weights to supports that an exact proof can use."""

from __future__ import annotations

import known_answers
import numpy as np
import pytest
from known_answers import problem_of

from solvers.basis import candidate_supports
from solvers.checks.exact import hull_membership


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e12, 1e18])
def test_one_row_alone_never_holds_another(scale: float) -> None:
    # With a single row its distance from the token is the only length there is.
    problem = problem_of([[scale, 0], [2 * scale, 0], [2 * scale, 0]])
    for support in candidate_supports(problem, 0, np.array([1])):
        assert hull_membership(problem, 0, support) is None
    supports = list(candidate_supports(problem, 1, np.array([2])))
    assert [support.tolist() for support in supports] == [[2]]
    assert hull_membership(problem, 1, supports[0]) is not None


def test_supports_are_small_enough_whatever_is_offered() -> None:
    case = next(case for case in known_answers.FREE if case.name == "cube-with-centre")
    supports = list(candidate_supports(case.problem, 8, np.arange(8)))
    assert all(len(support) <= 4 for support in supports)
    assert any(hull_membership(case.problem, 8, support) is not None for support in supports)


def test_offsets_choose_between_supports() -> None:
    # Two diagonals cross at the centre; only the one at offset 0 is above it.
    case = next(case for case in known_answers.FREE_WITH_OFFSETS if case.name == "below-one-diagonal")
    proofs = [
        support.tolist()
        for support in candidate_supports(case.problem, 4, np.arange(4))
        if hull_membership(case.problem, 4, support) is not None
    ]
    assert [0, 3] in proofs


def test_weights_that_rounding_added_are_left_out() -> None:
    # (½, 0) on an edge, with a row a hair off it: a support without that row is among the candidates.
    problem = problem_of([[0, 0], [1, 0], [0.5, 1e-7], [0.5, 0], [0.5, -1]])
    supports = list(candidate_supports(problem, 3, np.array([0, 1, 2])))
    assert any(hull_membership(problem, 3, support) is not None for support in supports)
