from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from reach.runs import nearest
from reach.runs.nearest import nearest_rows
from solvers.domains import Ball
from solvers.problem import ArgmaxProblem


def verdicts(*kinds: str | None, own: bool = False) -> pa.Table:
    return pa.table(
        {"verdict": pa.array(kinds, pa.string()), "own_direction": pa.array([own] * len(kinds), pa.bool_())}
    )


def test_neighbours_come_nearest_first_with_distance_and_cosine():
    # Given rows on a line at 1, 2, 4 and −1
    problem = ArgmaxProblem(torch.tensor([[1.0, 0], [2, 0], [4, 0], [-1, 0]]), Ball(1.0))
    found = nearest_rows(problem, verdicts(*["speakable"] * 4)).to_pylist()
    first = [row for row in found if row["token_id"] == 0]
    assert [(row["row_id"], row["distance"], row["cosine"]) for row in first] == [(1, 1, 1), (3, 2, -1), (2, 3, 1)]


def test_equal_rows_are_at_distance_zero_and_zero_rows_have_a_cosine():
    problem = ArgmaxProblem(torch.tensor([[1.0, 1], [1, 1], [0, 0]]), Ball(1.0))
    found = nearest_rows(problem, verdicts("tied", "tied", "unspeakable")).to_pylist()
    assert (found[0]["row_id"], found[0]["distance"]) == (1, 0.0)
    assert all(np.isfinite(row["cosine"]) for row in found)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    problem = ArgmaxProblem(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), Ball(1.0))
    whole = nearest_rows(problem, verdicts(*["speakable"] * 50))
    monkeypatch.setattr(ArgmaxProblem, "points_at_once", lambda self, device: 7)  # noqa: ARG005
    assert nearest_rows(problem, verdicts(*["speakable"] * 50)).equals(whole)


@pytest.mark.parametrize("v", [4, 80, 96, 97, 1000])
def test_the_nearest_of_many_are_those_that_sorting_finds(v: int):
    # Given as many rows as make no group, a group for each neighbour, one more, a remainder, and many
    rows = torch.randn(v, 3, generator=torch.Generator().manual_seed(v))
    found = nearest_rows(ArgmaxProblem(rows, Ball(1.0)), verdicts(*["speakable"] * v))
    distance = torch.cdist(rows.double(), rows.double()).fill_diagonal_(torch.inf)
    kept = min(5, v - 1)
    expected = distance.argsort(dim=1)[:, :kept]
    assert found.column("row_id").to_numpy().reshape(v, kept).tolist() == expected.tolist()


def test_tokens_that_were_not_asked_for_get_none():
    problem = ArgmaxProblem(torch.eye(3), Ball(1.0))
    found = nearest_rows(problem, verdicts("speakable", None, None))
    assert set(found.column("token_id").to_pylist()) == {0}


def test_in_a_large_vocabulary_the_telling_tokens_come_first(monkeypatch: pytest.MonkeyPatch):
    # Given work for two tokens only: the unspeakable one goes before the hard-to-speak, plain ones go without
    problem = ArgmaxProblem(torch.eye(4), Ball(1.0))
    monkeypatch.setattr(nearest, "_EVERYONE_WORK", 1.0)
    monkeypatch.setattr(nearest, "_MOST_WORK", 2.0 * 4 * 4)
    table = pa.table(
        {
            "verdict": ["speakable", "speakable", "speakable", "unspeakable"],
            "own_direction": [True, False, False, False],
        }
    )
    found = nearest_rows(problem, table)
    assert sorted(set(found.column("token_id").to_pylist())) == [1, 3]
