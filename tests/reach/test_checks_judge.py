"""What the judge enters into a scan's state, and what not, attempt by attempt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from reach.scanning.judge import Judge, sparsest
from reach.scanning.settings import ScanSettings
from reach.scanning.state import (
    EVIDENCE,
    OPEN,
    SPEAKABLE,
    STORED_WITNESS,
    UNSPEAKABLE,
    WITNESS_KINDS,
    Hull,
    ScanState,
)
from solvers.attempt import Attempts, Hulls, Status
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import check_witnesses, single_competitor_bound
from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem
from solvers.recipes import recipe_points

RIGOROUS, EXACT = (next(i for i, kind in enumerate(EVIDENCE) if kind == name) for name in ("rigorous", "exact"))
OWN_ROW = WITNESS_KINDS.index("own-row")
SQUARE = [[1, 1], [1, -1], [-1, 1], [-1, -1], [0.25, 0]]
TOUCHED = [[2, 0], [1, 0], [0, 2], [0, -2], [-3, 0]]
BIAS = [0, 0, 0, 0, -9]
"""Over ‖z‖ < 2 row 4 has 2·4 − 9 = −1 against row 1, 2·√13 − 9 against 2 and 3, and 2·5 − 9 = 1 against row 0."""


def judge_of(
    rows: Any, domain: Domain | None = None, bias: Any = None, *, error: Any = None, dtype: Any = torch.float64,
    **settings: Any,
) -> Judge:  # fmt: skip
    problem = ArgmaxProblem(
        torch.as_tensor(rows, dtype=dtype),
        Ball(4.0) if domain is None else domain,
        bias=None if bias is None else torch.as_tensor(bias, dtype=torch.float64),
        weight_error=None if error is None else torch.full((len(rows),), error, dtype=torch.float64),
    )
    return Judge(problem, ScanState(problem.v), ScanSettings(**settings))


def attempts(rows: list[int], points: Any = None, hulls: Any = None, dtype: Any = torch.float32) -> Attempts:
    n = len(rows)
    given = torch.full((n, 2), torch.nan) if points is None else torch.as_tensor(points)
    return Attempts(
        rows=torch.tensor(rows),
        status=[Status.UNCHECKED] * n,
        points=given.to(dtype),
        hulls=Hulls.none(n) if hulls is None else Hulls.pack(hulls),
        lower=torch.full((n,), -torch.inf, dtype=torch.float64),
        upper=torch.full((n,), torch.inf, dtype=torch.float64),
    )


# --- witnesses -----------------------------------------------------------------------------------------------------


def test_a_point_that_wins_is_stored_with_its_numbers() -> None:
    judge = judge_of(SQUARE)
    judge.state.reasons[0] = "too hard"
    judge.state.candidates[0] = Hull(np.array([1]), np.ones(1))
    judge.witnesses(attempts([0, 1], [[0.5, 0.25], [0.5, -1.0]]), stage=3)
    state = judge.state
    check = check_witnesses(judge.problem, torch.tensor([0, 1]), torch.tensor([[0.5, 0.25], [0.5, -1.0]]))
    assert state.verdict.tolist() == [SPEAKABLE, SPEAKABLE, OPEN, OPEN, OPEN]
    assert state.evidence.tolist() == [RIGOROUS, RIGOROUS, -1, -1, -1]
    assert state.lower[:2].tolist() == check.lower.tolist()
    assert state.lower[0] == pytest.approx(0.5, abs=1e-5)
    assert state.runner_up[:2].tolist() == [1, 3]
    assert state.stage[:2].tolist() == [3, 3]
    assert state.witness_kind[:2].tolist() == [STORED_WITNESS] * 2
    assert state.witnesses[0].tolist() == [0.5, 0.25]
    assert not state.own_direction.any()
    assert not state.reasons
    assert not state.candidates


def test_a_better_point_takes_the_place_of_a_worse_one_and_not_the_other_way() -> None:
    judge = judge_of(SQUARE)
    for point, kept in (([0.5, 0.25], [0.5, 0.25]), ([0.5, 0.5], [0.5, 0.5]), ([0.25, 0.25], [0.5, 0.5])):
        judge.witnesses(attempts([0], [point]), stage=1)
        assert judge.state.witnesses[0].tolist() == kept
    assert judge.state.lower[0] == pytest.approx(0.875, abs=1e-5)  # row 4 is the nearest


def test_points_that_do_not_win_settle_nothing() -> None:
    for point in ([-0.5, 0.5], [math.nan, 0.5], [5.0, 5.0], [0.0, 0.0], [math.inf, 0.0]):
        judge = judge_of(SQUARE)
        judge.witnesses(attempts([0], [point]), stage=1, credit=False)
        assert (judge.state.verdict == OPEN).all()
        assert not judge.state.witnesses


def test_the_row_that_wins_instead_is_credited_if_it_is_open() -> None:
    for credit in (True, False):
        judge = judge_of(SQUARE)
        judge.witnesses(attempts([0, 4], [[-0.5, 0.5], [-0.25, 0.5]]), stage=2, credit=credit)
        third = SPEAKABLE if credit else OPEN
        assert judge.state.verdict.tolist() == [OPEN, OPEN, third, OPEN, OPEN]
        if credit:
            assert judge.state.witnesses[2].tolist() == [-0.5, 0.5]  # the first of the two points
            assert judge.state.stage[2] == 2
            before = judge.state.lower[2]
            judge.witnesses(attempts([0], [[-1.0, 1.0]]), stage=3)
            assert judge.state.lower[2] == before  # it is not open any more


def test_a_tie_is_no_win_for_either() -> None:
    judge = judge_of(SQUARE)
    judge.witnesses(attempts([0, 1], [[0.5, 0.0], [0.5, 0.0]]), stage=1)
    assert (judge.state.verdict == OPEN).all()


def test_a_recipe_needs_no_stored_point() -> None:
    judge = judge_of(SQUARE)
    rows = torch.arange(5)
    points = recipe_points(judge.problem, "own-row", rows)
    judge.state.witnesses[0], judge.state.reasons[0] = np.zeros(2), "too hard"
    judge.state.candidates[0] = Hull(np.array([1]), np.ones(1))
    judge.witnesses(attempts([0, 1, 2, 3, 4], points), stage=0, recipe="own-row", own_row=True)
    state = judge.state
    assert state.verdict.tolist() == [SPEAKABLE] * 4 + [OPEN]
    assert state.evidence.tolist() == [RIGOROUS] * 4 + [-1]
    assert state.witness_kind.tolist() == [OWN_ROW] * 4 + [0]
    assert state.own_direction.tolist() == [True] * 4 + [False]
    assert state.stage.tolist() == [0] * 4 + [-1]
    check = check_witnesses(judge.problem, rows, points)
    assert state.lower[:4].tolist() == check.lower[:4].tolist()
    assert state.runner_up[:4].tolist() == check.runner_up[:4].tolist()
    assert not state.witnesses
    assert not state.reasons
    assert not state.candidates
    # R·‖A[t]−A[j]‖ by the nearest competitor: row 4, at √(0.75² + 1) for the two on its side.
    assert state.upper[:2] == pytest.approx([2 * math.hypot(0.75, 1)] * 2, abs=1e-9)
    assert state.upper[4] == pytest.approx(2 * math.hypot(0.75, 1), abs=1e-9)


def test_a_recipe_keeps_a_better_stored_point() -> None:
    judge = judge_of(SQUARE)
    judge.witnesses(attempts([0], [[1.4, 1.4]]), stage=1)
    best = judge.state.lower[0]
    points = recipe_points(judge.problem, "own-row", torch.tensor([0])) / 2
    judge.witnesses(attempts([0], points), stage=2, recipe="own-row")
    assert judge.state.lower[0] == best
    assert judge.state.witness_kind[0] == STORED_WITNESS
    assert judge.state.stage[0] == 1
    assert 0 in judge.state.witnesses


@pytest.mark.parametrize("kept", ["witnesses", "reasons", "candidates"])
def test_what_was_kept_of_an_open_row_goes_when_a_recipe_settles_it(kept: str) -> None:
    judge = judge_of(SQUARE)
    getattr(judge.state, kept)[0] = np.zeros(2)
    points = recipe_points(judge.problem, "own-row", torch.tensor([0]))
    judge.witnesses(attempts([0], points), stage=0, recipe="own-row")
    assert judge.state.verdict[0] == SPEAKABLE
    assert not getattr(judge.state, kept)


def test_a_recipe_takes_the_place_of_a_worse_stored_point() -> None:
    judge = judge_of(SQUARE)
    judge.witnesses(attempts([0], [[0.5, 0.5]]), stage=1)
    before = judge.state.lower[0]
    points = recipe_points(judge.problem, "own-row", torch.tensor([0]))
    judge.witnesses(attempts([0], points), stage=2, recipe="own-row")
    assert judge.state.lower[0] > before
    assert judge.state.witness_kind[0] == OWN_ROW
    assert judge.state.stage[0] == 1  # it was settled then
    assert not judge.state.witnesses


def test_a_recipe_that_wins_by_little_is_stored_as_a_point() -> None:
    """Made again elsewhere the point could fail by its own rounding."""
    rows = torch.tensor([[1.0, 0.0], [1.0 - 2.5e-6, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    judge = judge_of(rows)
    points = recipe_points(judge.problem, "own-row", torch.tensor([0]))
    check = check_witnesses(judge.problem, torch.tensor([0]), points)
    assert 0 < check.lower[0] <= 4 * check.error[0]
    judge.witnesses(attempts([0], points), stage=0, recipe="own-row", own_row=True)
    assert judge.state.verdict[0] == SPEAKABLE
    assert judge.state.witness_kind[0] == STORED_WITNESS
    assert judge.state.own_direction[0]


@pytest.mark.parametrize("asked", [None, 1e-3])
@pytest.mark.parametrize(("gap", "evidence"), [(1e-12, RIGOROUS), (2.0**-200, EXACT)])
def test_close_calls_are_decided_in_float64_or_in_rationals(gap: float, evidence: int, asked: float | None) -> None:
    judge = judge_of([[1.0, gap], [1.0, 0.0], [-1.0, 0.0]], margin_gap=asked)
    judge.witnesses(attempts([0], [[0.5, 0.5]]), stage=4, own_row=True)
    state = judge.state
    assert state.verdict.tolist() == [SPEAKABLE, OPEN, OPEN]
    assert state.evidence[0] == evidence
    assert state.runner_up[0] == 1
    assert state.stage[0] == 4
    assert state.own_direction[0]
    assert state.witness_kind[0] == STORED_WITNESS
    assert state.witnesses[0].dtype == np.float64
    assert state.lower[0] == (0.0 if evidence == EXACT else pytest.approx(gap / 2, rel=1e-3))
    # The other way round nothing is decided.
    other = judge_of([[1.0, gap], [1.0, 0.0], [-1.0, 0.0]])
    other.witnesses(attempts([1], [[0.5, 0.5]]), stage=4, credit=False)
    assert other.state.verdict[1] == OPEN


def test_rows_known_up_to_rounding_are_never_proved_exactly() -> None:
    close = judge_of([[1.0, 2.0**-200], [1.0, 0.0], [-1.0, 0.0]], error=0.0, exact=True)
    close.witnesses(attempts([0], [[0.5, 0.5]]), stage=4)
    assert close.state.verdict[0] == OPEN
    judge = judge_of(SQUARE, error=0.0, exact=True)
    judge.witnesses(attempts([0], [[0.5, 0.5]]), stage=1)
    assert judge.state.evidence[0] == RIGOROUS
    assert not judge.exact_hull(4, np.arange(4), stage=1)
    assert not judge.exact_bound(4, np.arange(4), np.full(4, 0.25), stage=1)
    below = judge_of(TOUCHED, bias=BIAS, error=0.0, exact=True)
    below.hull(4, np.array([1]), np.ones(1), stage=1)
    assert below.state.verdict[4] == UNSPEAKABLE
    assert below.state.evidence[4] == RIGOROUS


def test_an_exact_win_does_not_replace_a_bound() -> None:
    judge = judge_of([[1.0, 2.0**-200], [1.0, 0.0], [-1.0, 0.0]])
    judge.state.lower[0], judge.state.runner_up[0] = 0.5, 2
    judge.state.verdict[0], judge.state.evidence[0] = SPEAKABLE, RIGOROUS
    judge.witnesses(attempts([0], [[0.5, 0.5]]), stage=4)
    assert judge.state.lower[0] == 0.5
    assert judge.state.runner_up[0] == 2


def test_a_point_on_the_edge_is_tried_just_inside_and_at_its_place() -> None:
    """Row 0 wins only within 1e-9 of the box's corner, where float32 cannot go."""
    judge = judge_of([[1.0], [0.0]], Box([-1.0], [1.0]), [-1 + 1e-9, 0.0])
    judge.witnesses(attempts([0], [[1.0]], dtype=torch.float64), stage=5)
    assert judge.state.verdict[0] == SPEAKABLE
    assert judge.state.witnesses[0].tolist() == [1.0]
    assert judge.state.lower[0] == pytest.approx(1e-9, rel=1e-3)
    # In float32 the very same number is taken as it is.
    narrow = judge_of([[1.0], [0.0]], Box([-1.0], [1.0]), [-1 + 1e-5, 0.0])
    narrow.witnesses(attempts([0], [[1.0]]), stage=5)
    assert narrow.state.verdict[0] == SPEAKABLE
    # A point of float64 outside the ball is pulled inside it.
    far = judge_of(SQUARE)
    far.witnesses(attempts([0], [[30.0, 30.0]], dtype=torch.float64), stage=5)
    assert far.state.verdict[0] == SPEAKABLE
    assert np.linalg.norm(far.state.witnesses[0]) < 2
    nothing = judge_of(SQUARE)
    nothing.witnesses(attempts([0], [[math.nan, 1.0]], dtype=torch.float64), stage=5)
    assert nothing.state.verdict[0] == OPEN


def test_the_edge_that_weights_point_to() -> None:
    judge = judge_of([[1.0], [0.0]], Box([-1.0], [1.0]), [-1 + 1e-12, 0.0])
    assert not judge.at_the_edge(1, Hull(np.array([0]), np.ones(1)), stage=6) or judge.state.verdict[1] == SPEAKABLE
    assert judge.at_the_edge(0, Hull(np.array([1]), np.ones(1)), stage=6)
    assert judge.state.verdict[0] == SPEAKABLE
    assert judge.state.stage[0] == 6
    # Against row 1 it leads most at −1, where both are near −3.
    other = judge_of([[1.0], [3.0]], Box([-1.0], [1.0]), [-2 + 1e-12, 0.0])
    assert other.at_the_edge(0, Hull(np.array([1]), np.ones(1)), stage=6)
    assert other.state.witnesses[0].tolist() == [-1.0]
    # On the whole space a direction is tried at length 1, and 0 is none.
    free = judge_of([[1.0], [0.0], [-1.0]], Free())
    assert free.at_the_edge(0, Hull(np.array([1]), np.ones(1)), stage=6)
    assert not free.at_the_edge(1, Hull(np.array([0, 2]), np.full(2, 0.5)), stage=6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gap_asks_for_float64_where_rounding_holds_the_bound_down(dtype: torch.dtype) -> None:
    rows = [[1.0, 0.0], [1.0 - 1e-5, 0.0], [-1.0, 0.0]]
    plain, asked = judge_of(rows), judge_of(rows, margin_gap=1e-3)
    for judge in (plain, asked):
        judge.witnesses(attempts([0], [[1.5, 0.0]], dtype=dtype), stage=1)
    assert plain.state.lower[0] < 1.5e-5 * (1 - 1e-3) < asked.state.lower[0] <= 1.5e-5
    assert asked.state.witnesses[0].dtype == np.float64


def test_exact_settings_raise_the_evidence_of_all_winners() -> None:
    judge = judge_of(SQUARE, exact=True)
    points = recipe_points(judge.problem, "own-row", torch.arange(5))
    judge.witnesses(attempts([0, 1, 2, 3, 4], points), stage=0, recipe="own-row", own_row=True)
    assert judge.state.evidence.tolist() == [EXACT] * 4 + [-1]
    plain = judge_of(SQUARE)
    plain.witnesses(attempts([0], points[:1]), stage=0)
    assert plain.state.evidence[0] == RIGOROUS


@pytest.mark.parametrize("verdict", [OPEN, UNSPEAKABLE])
def test_the_evidence_of_rows_without_a_win_is_not_raised(verdict: int, monkeypatch: pytest.MonkeyPatch) -> None:
    winning = torch.full((1, 2), 0.5, dtype=torch.float64)
    monkeypatch.setattr("reach.scanning.judge.witness_points", lambda *_: winning)
    judge = judge_of(SQUARE, exact=True)
    judge.state.verdict[0] = verdict
    judge._raise_witnesses([0])
    assert judge.state.evidence[0] == -1


def test_no_evidence_is_exact_without_rational_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a bound has proved it before."""
    monkeypatch.setattr("reach.scanning.judge.beats_exactly", lambda *_: False)
    monkeypatch.setattr("reach.scanning.judge.bound_by_weights", lambda *_: False)
    judge = judge_of(SQUARE, exact=True)
    judge.witnesses(attempts([0], [[0.5, 0.5]]), stage=0)
    assert judge.state.evidence[0] == RIGOROUS
    below = judge_of(TOUCHED, bias=BIAS, exact=True)
    below.hull(4, np.array([1]), np.ones(1), stage=1)
    assert below.state.verdict[4] == UNSPEAKABLE
    assert below.state.evidence[4] == RIGOROUS


def test_two_proofs_against_each_other_stop_everything() -> None:
    judge = judge_of(SQUARE)
    judge.state.verdict[0] = UNSPEAKABLE
    with pytest.raises(RuntimeError, match="a checker is wrong"):
        judge.witnesses(attempts([0], [[0.5, 0.25]]), stage=3)
    points = recipe_points(judge.problem, "own-row", torch.tensor([0]))
    with pytest.raises(RuntimeError, match="a checker is wrong"):
        judge.witnesses(attempts([0], points), stage=3, recipe="own-row")


# --- bounds by one competitor --------------------------------------------------------------------------------------


def own_rows(judge: Judge, rows: list[int]) -> None:
    points = recipe_points(judge.problem, "own-row", torch.tensor(rows))
    judge.witnesses(attempts(rows, points), stage=7, recipe="own-row", own_row=True, credit=False)


def test_one_competitor_below_zero_is_a_verdict() -> None:
    judge = judge_of(TOUCHED, bias=BIAS)
    own_rows(judge, [4])
    assert judge.state.verdict[4] == UNSPEAKABLE
    assert judge.state.evidence[4] == RIGOROUS
    assert judge.state.stage[4] == 0
    assert judge.state.hulls[4].rows.tolist() in ([2], [3])
    assert judge.state.hulls[4].weights.tolist() == [1.0]
    assert judge.state.upper[4] == pytest.approx(2 * math.sqrt(13) - 9, abs=1e-9)


def test_one_competitor_that_just_touches_is_a_verdict_in_rationals() -> None:
    judge = judge_of([[3.0, 0.0], [0.0, 0.0], [0.0, 8.0]], Ball(4.0), [-6.0, 0.0, 0.0])
    own_rows(judge, [0])
    touching = hull_upper_bound(judge.problem, 0, np.array([1]), np.ones(1))
    assert touching > 0
    assert judge.state.verdict[0] == OPEN  # its bound is above 0 by rounding: left to the proof stage
    assert 0 <= judge.state.upper[0] <= touching
    assert judge.exact_bound(0, np.array([1]), np.ones(1), stage=9)
    assert judge.state.verdict[0] == UNSPEAKABLE
    assert judge.state.evidence[0] == EXACT
    assert judge.state.stage[0] == 9
    assert judge.state.upper[0] == 0


def test_one_competitor_is_asked_in_rationals_where_the_two_bounds_differ() -> None:
    """The bound by one competitor allows for less rounding than that by weights, of which a single one is a case."""
    met = 0
    for ulps in range(64):
        judge = judge_of([[3.0, 0.0], [0.0, 0.0], [0.0, 8.0]], Ball(4.0), [-6.0 - ulps * 2.0**-50, 0.0, 0.0])
        one = single_competitor_bound(judge.problem, torch.tensor([0]), torch.tensor([1]))
        if float(one[0]) < 0 <= hull_upper_bound(judge.problem, 0, np.array([1]), np.ones(1)):
            met += 1
            own_rows(judge, [0])
            assert judge.state.verdict[0] == UNSPEAKABLE
            assert judge.state.evidence[0] == EXACT
            assert judge.state.stage[0] == 0
            assert judge.state.hulls[0].weights.tolist() == [1.0]
    assert met > 0


def test_without_offsets_one_competitor_is_a_bound_and_no_verdict() -> None:
    judge = judge_of(SQUARE)
    own_rows(judge, [4])
    assert judge.state.verdict[4] == OPEN
    assert judge.state.upper[4] == pytest.approx(2 * math.hypot(0.75, 1))


def test_a_small_bound_by_one_competitor_is_kept_as_it_is() -> None:
    judge = judge_of(np.array(SQUARE) / 8)
    own_rows(judge, [4])
    assert judge.state.upper[4] == pytest.approx(2 * math.hypot(0.75, 1) / 8)


def test_a_bound_keeps_what_proves_it() -> None:
    near = judge_of([[1.0, 0.0], [1.0, 1e-5], [-1.0, 0.0]])
    own_rows(near, [0])
    assert near.state.upper[0] == pytest.approx(2e-5, rel=1e-6)
    assert near.state.upper_by[0] == 1
    # Weights take its place where they prove more, as float32 numbers; and a single competitor theirs.
    judge = judge_of(SQUARE)
    own_rows(judge, [4])
    alone = judge.state.upper[4]
    pair = (np.array([0, 1, 2, 3]), np.array([0.3, 0.2, 0.3, 0.2]))
    judge.hulls(attempts([4], hulls=[pair]), stage=1)
    judge.state.verdict[4] = SPEAKABLE
    judge.hulls(attempts([4], hulls=[pair]), stage=1)
    assert judge.state.upper[4] < alone
    assert judge.state.upper_by[4] == -1
    kept = judge.state.bounds[4].weights
    assert kept.tolist() == kept.astype(np.float32).tolist()
    judge.state.upper[4] = alone + 1
    own_rows(judge, [4])
    assert judge.state.upper_by[4] >= 0
    assert 4 not in judge.state.bounds
    # Another recipe's points are no multiples of the rows: nothing is known from their products.
    other = judge_of([[1.0, 0.0], [1.0, 1e-5], [-1.0, 0.0]])
    points = recipe_points(other.problem, "centred-row", torch.tensor([0]))
    other.witnesses(attempts([0], points), stage=0, recipe="centred-row", own_row=True)
    assert math.isinf(other.state.upper[0])


def test_a_bound_never_grows() -> None:
    judge = judge_of(SQUARE)
    judge.state.upper[4] = 0.5
    own_rows(judge, [4])
    assert judge.state.upper[4] == 0.5
    judge.hulls(attempts([4], hulls=[(np.array([0]), np.ones(1))]), stage=1)
    assert judge.state.upper[4] == 0.5


# --- hull weights --------------------------------------------------------------------------------------------------


def test_weights_below_zero_settle_a_row() -> None:
    for exact in (False, True):
        judge = judge_of(TOUCHED, bias=BIAS, exact=exact)
        judge.state.bounds[4] = Hull(np.array([0]), np.ones(1))
        judge.hulls(attempts([0, 4], hulls=[None, (np.array([1]), np.ones(1))]), stage=5)
        state = judge.state
        assert state.verdict.tolist() == [OPEN] * 4 + [UNSPEAKABLE]
        assert state.evidence[4] == (EXACT if exact else RIGOROUS)
        assert state.stage[4] == 5
        assert state.runner_up[4] == 1
        assert state.hulls[4].rows.tolist() == [1]
        assert state.upper[4] == pytest.approx(-1, abs=1e-9)
        assert not state.bounds
        assert not state.candidates


def test_weights_above_zero_are_kept_for_a_proof() -> None:
    judge = judge_of(SQUARE)
    judge.hulls(attempts([4], hulls=[(np.array([0, 1]), np.array([0.5, 0.5]))]), stage=5)
    assert judge.state.verdict[4] == OPEN
    assert judge.state.candidates[4].rows.tolist() == [0, 1]
    assert judge.state.candidates[4].weights.tolist() == [0.5, 0.5]
    assert judge.state.upper[4] == pytest.approx(2 * 0.75)  # a₄ − (1, 0)
    judge.hull(4, np.array([0, 1, 2, 3]), np.array([0.25, 0.5, 0.125, 0.25]), stage=5)  # weights of 1.125 are none
    assert judge.state.upper[4] == pytest.approx(2 * 0.75)


def test_weights_bound_a_row_that_speaks() -> None:
    judge = judge_of(SQUARE)
    judge.witnesses(attempts([0], [[0.5, 0.5]]), stage=1)
    judge.hulls(attempts([0], hulls=[(np.array([1]), np.ones(1))]), stage=5)
    assert judge.state.verdict[0] == SPEAKABLE
    assert judge.state.upper[0] == pytest.approx(4)
    assert not judge.state.candidates


def test_membership_settles_a_row_exactly() -> None:
    judge = judge_of(SQUARE)
    assert not judge.exact_hull(4, np.array([0, 1]), stage=6)
    assert judge.state.verdict[4] == OPEN
    # (¼, 0) = ⅛·(1, 1) + ½·(1, −1) + ⅜·(−1, 1)
    assert judge.exact_hull(4, np.array([0, 1, 2]), stage=6)
    state = judge.state
    assert state.verdict[4] == UNSPEAKABLE
    assert state.evidence[4] == EXACT
    assert state.stage[4] == 6
    assert state.upper[4] == 0
    assert state.hulls[4].rows.tolist() == [0, 1, 2]
    assert state.hulls[4].weights.tolist() == [0.125, 0.5, 0.375]
    assert state.runner_up[4] == 1


def test_corners_without_weight_are_left_out_of_a_proof() -> None:
    judge = judge_of([[0, 0], [4, 0], [0, 4], [2, 2]], Free())
    assert judge.exact_hull(3, np.array([0, 1, 2]), stage=6)
    assert judge.state.hulls[3].rows.tolist() == [1, 2]
    assert judge.state.hulls[3].weights.tolist() == [0.5, 0.5]


def test_an_exact_proof_keeps_the_lower_bound() -> None:
    judge = judge_of(TOUCHED, bias=BIAS)
    assert judge.exact_bound(4, np.array([1]), np.ones(1), stage=2)
    assert judge.state.upper[4] == pytest.approx(-1, abs=1e-9)
    assert judge.state.evidence[4] == EXACT
    assert not judge.exact_bound(0, np.array([1]), np.ones(1), stage=2)
    assert judge.state.verdict[0] == OPEN


def test_the_fewest_blockers_that_keep_nine_tenths_of_the_bound() -> None:
    rows = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, -1.0], [0.0, 1.0]]
    problem = ArgmaxProblem(torch.tensor(rows, dtype=torch.float64), Ball(1.0), bias=torch.tensor([-9.0, 0, 0, 0, 0]))
    given, weights = np.array([4, 1, 2, 3]), np.array([0.1, 0.4, 0.25, 0.25])
    whole = hull_upper_bound(problem, 0, given, weights)
    kept, share, bound = sparsest(problem, 0, given, weights)
    # λ = 1 on row 1 alone: R·1 − 9 = −8, against −9 + ‖(0.9, 0.1)‖ of all.
    assert kept.tolist() == [1]
    assert share.tolist() == [1.0]
    assert bound == pytest.approx(-8)
    assert whole < bound < 0.9 * whole
    # Where one is not enough for nine tenths, more are kept, the heaviest first.
    problem = ArgmaxProblem(problem.weight * 3, Ball(1.0), bias=torch.tensor([-4.0, 0, 0, 0, 0]))
    wanted = 0.9 * hull_upper_bound(problem, 0, given, weights)
    kept, share, bound = sparsest(problem, 0, given, weights)
    assert bound <= wanted
    assert bound == hull_upper_bound(problem, 0, kept, share)
    assert math.fsum(share) == pytest.approx(1)
    assert kept[0] == 1
    fewer = weights[np.argsort(-weights, kind="stable")][: len(kept) - 1]
    if len(fewer):
        order = given[np.argsort(-weights, kind="stable")][: len(fewer)]
        assert hull_upper_bound(problem, 0, order, fewer / fewer.sum()) > wanted
