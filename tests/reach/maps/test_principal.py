from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from reach.maps import principal as module
from reach.maps.principal import principal
from solvers.domains import Ball
from solvers.problem import ArgmaxProblem


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def problem_of(rows: object, **more: object) -> ArgmaxProblem:
    return ArgmaxProblem(torch.as_tensor(np.asarray(rows)), Ball(1.0), **more)


def by_svd(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in units of the longest row and shares of variance, by another way than the code's."""
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return (left * sizes)[:, :count] / np.linalg.norm(rows, axis=1).max(), (sizes**2 / (sizes**2).sum())[:count]


def up_to_sign(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return expected * np.where((found * expected).sum(axis=0) < 0, -1, 1)


def rows_of(v: int, d: int, seed: int = 0) -> np.ndarray:
    """Rows of a clear order of axes, far from the origin."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((v, d)) * 0.8 ** np.arange(d) @ np.linalg.qr(rng.standard_normal((d, d)))[0] + 3


def test_four_corners_of_a_rectangle():
    # Given the corners of 8 × 2 about (1, 1): the long side carries 16 of 17 parts of the variance
    found = principal(problem_of([[5.0, 2.0], [5.0, 0.0], [-3.0, 2.0], [-3.0, 0.0]]))
    longest = np.sqrt(29)
    np.testing.assert_allclose(found.coordinates * longest, [[4, 1], [4, -1], [-4, 1], [-4, -1]], atol=1e-6)
    np.testing.assert_allclose(found.shares, [16 / 17, 1 / 17])


@pytest.mark.parametrize("exact_up_to", [2048, 4])
def test_it_is_the_singular_value_decomposition_up_to_sign(monkeypatch: pytest.MonkeyPatch, exact_up_to: int):
    monkeypatch.setattr(module, "_EXACT_D", exact_up_to)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 8 * 24 * 3 * 70)
    rows = rows_of(500, 24)
    found = principal(problem_of(rows), most=6)
    coordinates, shares = by_svd(rows, 6)
    np.testing.assert_allclose(found.coordinates, up_to_sign(found.coordinates, coordinates), atol=1e-5)
    np.testing.assert_allclose(found.shares, shares, rtol=1e-5)


def test_the_rows_are_those_that_decide():
    # Scaled and centred as a norm has it, not as the file stores them
    weight, scale = rows_of(60, 7), np.linspace(0.1, 3, 7)
    found = principal(problem_of(weight, scale=torch.as_tensor(scale), centred=True), most=3)
    rows = weight * scale
    rows -= rows.mean(axis=1, keepdims=True)
    coordinates, _ = by_svd(rows, 3)
    np.testing.assert_allclose(found.coordinates, up_to_sign(found.coordinates, coordinates), atol=1e-6)


@pytest.mark.parametrize("exact_up_to", [2048, 4])
def test_the_same_rows_give_the_same_map(monkeypatch: pytest.MonkeyPatch, exact_up_to: int):
    monkeypatch.setattr(module, "_EXACT_D", exact_up_to)
    first, second = (principal(problem_of(rows_of(80, 9))) for _ in range(2))
    assert (first.coordinates == second.coordinates).all()
    mirrored = principal(problem_of(-rows_of(80, 9)))
    assert np.abs(np.abs(mirrored.coordinates[:, :2]) - np.abs(first.coordinates[:, :2])).max() < 1e-5


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((5, 3)), np.zeros((4, 2)), [[1.0], [2.0], [4.0]], [[1.0, 2.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]],
        1e300 * rows_of(20, 4), 1e-300 * rows_of(20, 4), [[1e308, 0.0], [-1e308, 0.0], [0.0, 1.0]],
        np.vstack([np.ones((3000, 3)), [[1.0, 1.0, 1.0 + 1e-3]]]),
    ],
    ids=["equal", "zero", "one column", "twins", "two rows", "huge", "tiny", "huge and small", "one differs"],
)  # fmt: skip
def test_extremes(rows: object):
    found = principal(problem_of(rows))
    v, d = np.shape(rows)
    assert found.coordinates.shape == (v, min(v, d, 50))
    assert np.isfinite(found.coordinates).all()
    assert np.abs(found.coordinates).max() <= 2
    varies = bool((np.asarray(rows) != np.asarray(rows)[0]).any())
    assert found.shares.sum() == pytest.approx(1 if varies else 0, abs=1e-9)
    # Nothing is made of rounding: rows on a line have a single axis
    if d == 1 or v == 2:
        assert not found.coordinates[:, 1:].any()


def test_progress_reaches_its_end():
    told: list[tuple[int, int]] = []
    principal(problem_of(rows_of(30, 4)), progress=lambda _, done, total: told.append((done, total)))
    assert told[-1] == (90, 90)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
