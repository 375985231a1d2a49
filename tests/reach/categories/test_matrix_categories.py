"""Rows that are equal, near and parallel, where geometry says which."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from reach.categories import neighbourhood as module
from reach.categories.findings import Finding
from reach.categories.matrix import equal_findings, near_findings
from reach.categories.neighbourhood import NEAR_EQUAL, Neighbourhood, neighbourhood, parallel_cosine
from reach.equal_rows import merge_equal_rows
from solvers.domains import Ball
from solvers.problem import ArgmaxProblem

D = 12


def problem(rows: np.ndarray, bias: np.ndarray | None = None) -> ArgmaxProblem:
    return ArgmaxProblem(
        torch.tensor(rows, dtype=torch.float32), Ball(1.0), bias=None if bias is None else torch.tensor(bias)
    )


def all_findings(rows: np.ndarray, bias: np.ndarray | None = None) -> list[Finding]:
    head = problem(rows, bias)
    merged = merge_equal_rows(head)
    near = neighbourhood(merged.problem, np.zeros(0, np.int64), work=np.inf)
    return [*equal_findings(head, merged), *near_findings(merged, near, [None] * len(rows))]


def of(findings: list[Finding], category: str) -> dict[int, Finding]:
    return {one.token: one for one in findings if one.category == category}


def test_planted_rows() -> None:
    """40 random rows; 40 and 41 equal 3; 42 and 43 are zero; 44 is 5 moved by a hundredth; 45 to 48 lie along 7."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((49, D))
    rows[40:42] = rows[3]
    rows[42:44] = 0
    rows[44] = rows[5] * 1.01
    mean = np.vstack([rows[:40]]).mean(axis=0)
    rows[45:49] = mean + (rows[7] - mean) * np.array([[0.4], [0.6], [1.5], [2.5]])
    found = all_findings(rows)
    equal = of(found, "equal-row")
    assert sorted(equal) == [3, 40, 41, 42, 43]
    assert equal[40].others == (3, 41)
    assert equal[40].group == 3
    assert equal[40].detail == "3 tokens have this row and offset"
    assert {token: one.detail for token, one in of(found, "zero-row").items()} == {42: "exactly", 43: "exactly"}
    near = of(found, "near-duplicate")
    assert sorted(near) == [5, 44]
    assert (near[5].others, near[44].others) == ((44,), (5,))
    assert sorted(of(found, "bundle")) == [7, 45, 46, 47, 48]
    assert "5 rows linked by cosines from 0.9" in str(of(found, "bundle")[7].detail)
    assert not of(found, "cluster")


def test_equal_rows_with_other_offsets_are_near_duplicates() -> None:
    rows = np.random.default_rng(1).standard_normal((20, D))
    rows[4] = rows[9]
    found = all_findings(rows, np.arange(20.0))
    assert not of(found, "equal-row")
    assert of(found, "near-duplicate")[4].detail == "the same row, another offset"


def test_a_cluster_is_linked_pair_by_pair() -> None:
    """Each of five rows is near the next, the first and the last are not near each other: one cluster."""
    rows = np.random.default_rng(2).standard_normal((60, D))
    step = np.zeros(D)
    step[0] = 0.07 * np.linalg.norm(rows[0])
    rows[1:5] = rows[0] + step * np.arange(1, 5)[:, None]
    found = of(all_findings(rows), "cluster")
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert {one.group for one in found.values()} == {0}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(2, 6), st.integers(1, 7))
def test_components_are_those_of_all_pairs(seed: int, v: int, d: int, step: int) -> None:
    """Whatever the blocks and the order, the groups are those of the whole matrix of pairs."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((v, d)) + rng.standard_normal(d)
    rows[rng.integers(0, v, v // 2)] *= 0.5
    head = problem(rows)
    first = rng.choice(v, rng.integers(0, v), replace=False)
    with patch.object(module, "_BLOCK_BYTES", 4 * v * step):
        found = neighbourhood(head, first, work=np.inf)
    assert found.whole
    centred = head.rows(slice(None)).numpy() - head.mean_row.numpy()
    length = np.linalg.norm(centred, axis=1)
    cosine = centred @ centred.T / np.maximum(np.outer(length, length), 1e-300)
    distance = np.linalg.norm(centred[:, None] - centred[None], axis=2) / np.maximum.outer(length, length)
    tau = parallel_cosine(v, d)
    if (np.abs(cosine - tau) < 1e-5).any() or (np.abs(distance - NEAR_EQUAL) < 1e-4).any():
        return  # float32 may tell these either way
    parallel = cosine >= tau
    for labels, pairs in ((found.bundle, parallel), (found.cluster, parallel & (distance <= NEAR_EQUAL))):
        own = connected_components(pairs, directed=False)[1]
        assert (np.equal.outer(labels, labels) == np.equal.outer(own, own)).all()


def test_few_random_rows_are_near_parallel_in_few_dimensions() -> None:
    """In three dimensions many of 2000 random rows are closer than a cosine of 0.9; the limit goes up with them."""
    assert parallel_cosine(2000, 64) == 0.9
    assert parallel_cosine(2000, 3) > 0.999
    found = neighbourhood(problem(np.random.default_rng(3).standard_normal((2000, 3))), np.zeros(0, int), work=np.inf)
    sizes = np.bincount(found.bundle)
    assert sizes.max() <= 5


def test_work_is_limited_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first rows and what is linked to them are compared, and whoever reads it is told."""
    monkeypatch.setattr(module, "_LEAST_WORK", 0.0)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 4 * 100)
    rows = np.random.default_rng(4).standard_normal((100, D))
    rows[60] = rows[5] * 1.05
    found: Neighbourhood = neighbourhood(problem(rows), np.array([5]), work=2.0 * 100 * D)
    assert not found.whole
    assert sorted(np.flatnonzero(found.compared)) == [5, 60]
    assert found.nearest[5] == 60


def test_a_row_at_the_mean_is_parallel_to_nothing() -> None:
    rows = np.vstack([np.eye(D), -np.eye(D), np.zeros((1, D))])
    found = all_findings(rows)
    assert [one.token for one in found] == [2 * D]
    assert found[0].category == "zero-row"


def test_the_rows_that_are_looked_at_at_once_change_nothing():
    generator = np.random.default_rng(8)
    rows = generator.standard_normal((60, D))
    rows[20:26] = rows[3] + 0.02 * generator.standard_normal((6, D))  # near-equal to one, and to each other
    rows[40:44] = rows[9] * np.array([[1.5], [2.0], [2.5], [3.0]])  # nearly parallel
    whole = neighbourhood(problem(rows), np.array([22, 41]), work=np.inf)
    with patch.object(ArgmaxProblem, "points_at_once", return_value=3):
        parts = neighbourhood(problem(rows), np.array([22, 41]), work=np.inf)
    assert len(set(whole.cluster[20:26]) | {whole.cluster[3]}) == 1
    for name in ("bundle", "cluster", "nearest", "compared"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert np.allclose(whole.distance, parts.distance, rtol=1e-6)
