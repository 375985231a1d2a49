"""What must not change a verdict, and what must; and a second opinion from linear programs."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from known_answers import SPEAKABLE, UNSPEAKABLE
from proofs import verdicts
from scipy.optimize import linprog

from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem

FEW = settings(max_examples=12, deadline=None)


@st.composite
def heads(draw: st.DrawFn, most: int = 9) -> np.ndarray:
    """Rows of small integers: repeats, lines and points inside the hull are common."""
    d = draw(st.integers(1, 4))
    v = draw(st.integers(2, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(-3, 4, (v, d)).astype(float)


def problem(rows: np.ndarray, domain: Domain | None = None, bias: np.ndarray | None = None) -> ArgmaxProblem:
    return ArgmaxProblem(
        torch.from_numpy(rows), domain or Free(), bias=None if bias is None else torch.from_numpy(bias)
    )


def by_linear_programs(rows: np.ndarray, bias: np.ndarray, domain: Domain) -> list[str]:
    """max s with every rival beaten by s ≤ 1: on Free and Box, one program per row over all rivals."""
    found = []
    v, d = rows.shape
    for t in range(v):
        others = np.delete(np.arange(v), t)
        above = np.hstack([rows[others] - rows[t], np.ones((v - 1, 1))])
        box = isinstance(domain, Box)
        limits = list(zip(domain.lo, domain.hi, strict=True)) if box else [(-1e6, 1e6)] * d
        result = linprog(
            np.append(np.zeros(d), -1.0),
            A_ub=above,
            b_ub=bias[t] - bias[others],
            bounds=[*limits, (None, 1)],
            method="highs",
        )
        assert result.status == 0
        found.append(SPEAKABLE if -result.fun > 1e-7 else UNSPEAKABLE)
    return found


@given(rows=heads())
@settings(max_examples=40, deadline=None)
def test_free_verdicts_are_those_of_linear_programs(rows: np.ndarray) -> None:
    assert verdicts(problem(rows)) == by_linear_programs(rows, np.zeros(len(rows)), Free())


@given(rows=heads(), seed=st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_free_verdicts_with_offsets_are_those_of_linear_programs(rows: np.ndarray, seed: int) -> None:
    bias = np.random.default_rng(seed).integers(-3, 4, len(rows)).astype(float)
    assert verdicts(problem(rows, bias=bias)) == by_linear_programs(rows, bias, Free())


@given(rows=heads(), seed=st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_box_verdicts_are_those_of_linear_programs(rows: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Odd multiples of 2⁻⁷ in the offsets: no margin is exactly 0 unless the rows are in each other's hull.
    bias = rng.integers(-300, 300, len(rows)) / 128 + 1 / 256
    lo = rng.integers(-3, 1, rows.shape[1]).astype(float) - 0.37
    domain = Box(lo, lo + rng.integers(1, 4, rows.shape[1]))
    assert verdicts(problem(rows, domain, bias)) == by_linear_programs(rows, bias, domain)


@given(rows=heads(), seed=st.integers(0, 2**16))
@FEW
def test_an_affine_map_keeps_the_verdicts(rows: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = rows.shape[1]
    matrix = rng.integers(-2, 3, (d, d)).astype(float)
    assume(abs(np.linalg.det(matrix)) > 0.5)
    moved = rows @ matrix + rng.integers(-9, 10, d)
    assert verdicts(problem(moved)) == verdicts(problem(rows))


@given(rows=heads(), seed=st.integers(0, 2**16))
@FEW
def test_a_row_inside_the_hull_changes_nothing_and_never_wins(rows: np.ndarray, seed: int) -> None:
    parts = np.random.default_rng(seed).multinomial(8, np.full(len(rows), 1 / len(rows))) / 8
    assume(parts.max() < 1)  # a copy of a row would take that row's win
    inside = parts @ rows
    assume(not (rows == inside).all(axis=1).any())
    before = verdicts(problem(rows))
    assert verdicts(problem(np.vstack([rows, inside]))) == [*before, UNSPEAKABLE]


@given(rows=heads(), seed=st.integers(0, 2**16))
@FEW
def test_a_copy_of_a_row_silences_it(rows: np.ndarray, seed: int) -> None:
    t = seed % len(rows)
    before = verdicts(problem(rows))
    after = verdicts(problem(np.vstack([rows, rows[t]])))
    before[t] = UNSPEAKABLE
    assert after == [*before, UNSPEAKABLE]


@given(
    rows=heads(),
    seed=st.integers(0, 2**16),
    constant=st.sampled_from([-1024.0, 0.5, 3.0]),
    domain=st.sampled_from(["free", "ball", "box"]),
)
@settings(max_examples=20, deadline=None)
def test_a_constant_added_to_all_offsets_changes_nothing(
    rows: np.ndarray, seed: int, constant: float, domain: str
) -> None:
    d = rows.shape[1]
    at: Domain = {"free": Free(), "ball": Ball(float(d)), "box": Box(-np.ones(d), np.ones(d))}[domain]
    bias = np.random.default_rng(seed).integers(-300, 300, len(rows)) / 128 + 1 / 256
    if seed % 3 == 0:
        bias[:] = 0
    assert verdicts(problem(rows, at, bias + constant)) == verdicts(problem(rows, at, bias))


@given(rows=heads(), power=st.sampled_from([-100, -20, 20, 60]), seed=st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_a_power_of_two_changes_nothing(rows: np.ndarray, power: int, seed: int) -> None:
    bias = np.random.default_rng(seed).integers(-300, 300, len(rows)) / 128
    factor = 2.0**power
    assert verdicts(problem(rows * factor)) == verdicts(problem(rows))
    for domain in (Free(), Ball(float(rows.shape[1]))):
        assert verdicts(problem(rows * factor, domain, bias * factor)) == verdicts(problem(rows, domain, bias))


@given(rows=heads(), seed=st.integers(0, 2**16))
@FEW
def test_the_order_of_rows_does_not_matter(rows: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    bias = rng.integers(-2, 3, len(rows)).astype(float)
    for offsets in (np.zeros(len(rows)), bias):
        before = verdicts(problem(rows, Free(), offsets))
        assert verdicts(problem(rows[order], Free(), offsets[order])) == [before[i] for i in order]


@given(rows=heads(), seed=st.integers(0, 2**16))
@FEW
def test_without_offsets_every_domain_around_zero_agrees(rows: np.ndarray, seed: int) -> None:
    d = rows.shape[1]
    lo = -np.random.default_rng(seed).uniform(0.1, 3, d)
    expected = verdicts(problem(rows))
    assert verdicts(problem(rows, Ball(float(d)))) == expected
    assert verdicts(problem(rows, Box(lo, lo + 4))) == expected
