"""Classes of exactly equal rows: as stored, and in A."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from exact_truth import exact_row, problems
from hypothesis import given, settings
from hypothesis import strategies as st
from known_answers import problem_of
from worst_rounding import losing_sum, summed_one_by_one

from solvers.checks.equal_rows import equal_row_classes
from solvers.domains import Ball, Free
from solvers.problem import ArgmaxProblem

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", FLOATS)
def test_equal_as_stored(dtype: torch.dtype) -> None:
    problem = problem_of([[1, 2], [3, 4], [1, 2], [3, 4.5], [1, 2]], dtype=dtype)
    assert equal_row_classes(problem).tolist() == [0, 1, 0, 3, 0]


def test_sums_that_meet_by_chance_merge_nothing() -> None:
    """Where all sums are alike, what rows hold decides alone."""
    problem = problem_of([[1, 2], [3, 4], [1, 2], [3, 4.5], [2, 1]], offsets=[0, 1, 0, 1, 0])
    with patch("solvers.checks.equal_rows._sums", lambda content: np.zeros(len(content), dtype=np.uint64)):
        assert equal_row_classes(problem).tolist() == [0, 1, 0, 3, 4]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", [1, 3, 5, 8])
def test_rows_that_fill_no_whole_words_are_told_apart(dtype: torch.dtype, width: int) -> None:
    rows = torch.zeros((4, width), dtype=dtype)
    rows[1, -1] = rows[3, -1] = 1
    assert equal_row_classes(ArgmaxProblem(rows, Free())).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("dtype", FLOATS)
def test_minus_zero_is_zero(dtype: torch.dtype) -> None:
    problem = problem_of([[0.0, 1], [-0.0, 1], [1, -0.0], [1, 0.0]], dtype=dtype)
    assert equal_row_classes(problem).tolist() == [0, 0, 2, 2]


def test_a_difference_in_the_last_place_keeps_rows_apart() -> None:
    rows = torch.tensor([[1.0, 2, 0], [1 + 2.0**-23, 2, 0], [1, 2 - 2.0**-23, 0], [2.0**-149, 0, 0], [0, 0, 0]])
    for scale in (None, torch.tensor([3.0, 0.7, -1.0])):
        for centred in (False, True):
            problem = ArgmaxProblem(rows, Free(), scale=scale, centred=centred)
            assert equal_row_classes(problem).tolist() == [0, 1, 2, 3, 4]


def test_offsets_keep_equal_rows_apart() -> None:
    rows = [[1, 2], [1, 2], [1, 2], [1, 2]]
    assert equal_row_classes(problem_of(rows, offsets=[0.5, 0, 0.5, -0.0])).tolist() == [0, 1, 0, 1]
    scaled = problem_of(rows, offsets=[0.5, 0, 0.5, -0.0], scale=[0, 1])
    assert equal_row_classes(scaled).tolist() == [0, 1, 0, 1]


def test_a_tiny_offset_keeps_equal_rows_apart() -> None:
    assert equal_row_classes(problem_of([[1, 2]] * 3, offsets=[2.0**-60, 0, 2.0**-60])).tolist() == [0, 1, 0]


def test_rows_known_up_to_rounding_are_equal_where_their_sources_are() -> None:
    """A projection was folded in: the computed rows agree where the stored ones differ, and the other way round."""
    rows, error = torch.tensor([[1.0, 2], [1, 2], [1, 2.5], [3, 4]]), torch.full((4,), 0.25)
    source = torch.tensor([[1.0], [2], [1], [3]])
    for scale in (None, torch.tensor([1.0, 0.0])):
        more: dict[str, Any] = {"weight_error": error, "scale": scale}
        assert equal_row_classes(ArgmaxProblem(rows, Ball(1.0), source=source, **more)).tolist() == [0, 1, 0, 3]
        assert equal_row_classes(ArgmaxProblem(rows, Ball(1.0), **more)).tolist() == [0, 1, 2, 3]


def test_blocks_change_nothing() -> None:
    def in_twos(problem: ArgmaxProblem, *_: int) -> Iterator[slice]:
        return (slice(i, min(i + 2, problem.v)) for i in range(0, problem.v, 2))

    rows = [[0, 1], [1, 2], [0, 1], [4, 3], [4, 3], [2, 3], [0, 1]]
    with patch.object(ArgmaxProblem, "blocks", in_twos):
        assert equal_row_classes(problem_of(rows)).tolist() == [0, 1, 0, 3, 3, 5, 0]
        assert equal_row_classes(problem_of(rows, centred=True)).tolist() == [0, 0, 0, 3, 3, 0, 0]


@pytest.mark.parametrize("seed", range(12))
def test_rounding_hides_no_equal_rows_among_many_that_are_close(seed: int) -> None:
    """One row, copies of it moved by large constants that centring takes off again, and neighbours on all scales."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(2, 6))
    row = rng.integers(-512, 512, d) / 1024
    moves = np.concatenate([2.0 ** rng.integers(10, 40, 12), -(2.0 ** rng.integers(10, 40, 12))])
    near = row + rng.choice([-1, 1], (200, 1)) * 2.0 ** -rng.integers(8, 50, (200, 1)) * rng.standard_normal((200, d))
    rows = torch.from_numpy(np.vstack([row, row + moves[:, None], near])[rng.permutation(225)])
    filled = torch.empty

    def scattered(*size: int, **more: Any) -> torch.Tensor:
        """Fresh memory that holds what it likes."""
        memory = filled(*size, **more)
        return memory.copy_(torch.arange(memory.numel()).view_as(memory))

    with patch.object(torch, "empty", scattered):
        classes = equal_row_classes(ArgmaxProblem(rows, Ball(1.0), centred=True)).tolist()
    seen: dict[object, int] = {}
    problem = ArgmaxProblem(rows, Ball(1.0), centred=True)
    expected = [seen.setdefault(tuple(exact_row(problem, t)[0]), t) for t in range(len(rows))]
    assert len(set(expected)) < len(rows) - 20
    assert classes == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_the_worst_that_centring_can_err_hides_no_equal_row(sign: int) -> None:
    """A row whose mean loses nearly d roundings, the same row less 1, and a neighbour whose projection lies between.

    The direction is the one along which such an error counts most, but for one entry that tells the neighbour apart.
    """
    d = 256
    row = sign * losing_sum(d)
    near = row - sign
    near[0] += sign * 2.0**-50
    problem = ArgmaxProblem(torch.stack([row - sign, near, row]), Ball(1.0), centred=True)
    direction = np.ones(d)
    direction[0] = 2.0
    with summed_one_by_one(), patch("numpy.random.default_rng") as generator:
        generator.return_value.standard_normal.return_value = direction
        projected = problem.rows(slice(None)) @ torch.from_numpy(direction)
        assert sign * projected[0] < sign * projected[1] < sign * projected[2]
        assert equal_row_classes(problem).tolist() == [0, 1, 0]


def test_a_zero_in_the_scale_makes_rows_equal() -> None:
    rows = [[1, 5], [1, 7], [2, 5], [1, 9]]
    assert equal_row_classes(problem_of(rows)).tolist() == [0, 1, 2, 3]
    assert equal_row_classes(problem_of(rows, scale=[2, 0])).tolist() == [0, 0, 2, 0]
    # Yet the shift sees the whole row: the offsets differ.
    assert equal_row_classes(problem_of(rows, scale=[2, 0], shift=[0, 1])).tolist() == [0, 1, 2, 3]
    assert equal_row_classes(problem_of(rows, scale=[2, 0], shift=[1, 0])).tolist() == [0, 0, 2, 0]


def test_centring_makes_rows_equal() -> None:
    rows = [[1, 2, 6], [2, 3, 7], [1, 2, 5], [-9, -8, -4]]
    assert equal_row_classes(problem_of(rows)).tolist() == [0, 1, 2, 3]
    assert equal_row_classes(problem_of(rows, centred=True)).tolist() == [0, 0, 2, 0]
    # With a scale γ it is row·γ that the mean is taken from: rows that differ by a constant over γ are equal.
    scaled = [[1, 2, 6], [1 + 4, 2 + 2, 6 + 1], [1 + 1, 2 + 1, 6 + 1]]
    assert equal_row_classes(problem_of(scaled, scale=[0.25, 0.5, 1], centred=True)).tolist() == [0, 0, 2]


def test_one_column_centred_is_nothing() -> None:
    assert equal_row_classes(problem_of([[1], [2], [3]], centred=True)).tolist() == [0, 0, 0]


def test_a_row_of_large_size_does_not_hide_equal_ones() -> None:
    # Large constants leave wide error intervals, in whose midst small exact rows may fall.
    rows = [[2.0**20, 2.0**20 + 1], [0, 1], [0, 1 + 2.0**-23], [2.0**22, 2.0**22 + 1], [0, 1 - 2.0**-24]]
    assert equal_row_classes(problem_of(rows, centred=True)).tolist() == [0, 0, 2, 0, 4]


@given(problem=problems(), repeats=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 1, -3])), max_size=4))
@settings(max_examples=80, deadline=None)
def test_classes_are_those_of_rational_arithmetic(problem: ArgmaxProblem, repeats: list[tuple[int, int]]) -> None:
    extra = [problem.weight[i % problem.v] + shift for i, shift in repeats]
    index = [*range(problem.v), *(i % problem.v for i, _ in repeats)]
    problem = ArgmaxProblem(
        torch.stack([*problem.weight, *extra]),
        Ball(1.0),
        scale=problem.scale,
        bias=None if problem.bias is None else problem.bias[index],
        centred=problem.centred,
    )
    seen: dict[object, int] = {}
    expected = []
    for t in range(problem.v):
        row, offset = exact_row(problem, t)
        expected.append(seen.setdefault((*row, offset), t))
    assert equal_row_classes(problem).tolist() == expected
