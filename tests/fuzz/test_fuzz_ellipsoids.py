"""Certificates over random ellipsoids against an exact solver: over z = μ + L x the same head is one over a ball."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from exact_solver import ExactHead, InBall, Vector, dot
from heads import Head, seeds
from test_fuzz_scan import check_head

from reach.scanning.settings import ScanSettings
from solvers.checks.exact import bound_by_weights, hull_membership
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import single_competitor_bound
from solvers.domains import Ellipsoid
from solvers.problem import ArgmaxProblem


def vectors(values: np.ndarray) -> list[Vector]:
    return [[Fraction(float(x)) for x in row] for row in values]


def random_head(seed: int) -> tuple[ArgmaxProblem, ExactHead]:
    """A head over an ellipsoid, and the same numbers over its ball; sometimes a token just begins to win."""
    rng = np.random.default_rng(seed)
    v, d = int(rng.integers(2, 8)), int(rng.integers(1, 5))
    coarse = bool(rng.integers(2))
    factor = rng.integers(-2, 3, (d, d)) + 6.0 * np.eye(d) if coarse else rng.standard_normal((d, d)) + 4 * np.eye(d)
    factor = factor * 2.0 ** int(rng.integers(-30, 30))
    mu = rng.integers(-3, 4, d).astype(float) if coarse else rng.standard_normal(d)
    mu = mu * float(np.abs(factor).max())
    rows = rng.integers(-3, 4, (v, d)).astype(float) if coarse else rng.standard_normal((v, d))
    bias = rng.integers(-3, 4, v) * float(np.abs(factor).max())
    exact_rows, exact_factor, exact_mu = vectors(rows), vectors(factor), vectors(mu[None])[0]
    columns = [list(column) for column in zip(*exact_factor, strict=True)]
    moved = [[dot(row, column) for column in columns] for row in exact_rows]
    offsets = [dot(row, exact_mu) + Fraction(float(b)) for row, b in zip(exact_rows, bias, strict=True)]
    radius = float(rng.integers(1, 9)) / 4
    exact = ExactHead(moved, offsets, InBall(Fraction(radius) ** 2))
    touching = exact.least_square(int(rng.integers(v)))
    if touching:
        radius = math.sqrt(touching) * (1 + 2.0**-52 * int(rng.integers(-2, 3)))
        exact = ExactHead(moved, offsets, InBall(Fraction(radius) ** 2))
    domain = Ellipsoid(mu, factor, radius)
    return ArgmaxProblem(torch.from_numpy(rows), domain, bias=torch.from_numpy(bias)), exact


@pytest.mark.parametrize("heads", seeds(2, of=12))
def test_bounds_over_an_ellipsoid_are_never_too_low(heads: range) -> None:
    for seed in heads:
        problem, exact = random_head(seed)
        rng = np.random.default_rng(seed)
        for token in range(problem.v):
            others = np.delete(np.arange(problem.v), token)
            _, critical = exact.critical(token)
            found = [(others, rng.dirichlet(np.full(len(others), 0.5))), (others[:1], np.ones(1))]
            if critical:
                found.append((np.array(list(critical)), np.array([float(x) for x in critical.values()])))
            for rows, weights in found:
                lam = {int(j): Fraction(float(w)) for j, w in zip(rows, weights, strict=True)}
                bound = hull_upper_bound(problem, token, rows, weights)
                assert exact.dual_not_above(token, lam, Fraction(bound)), (seed, token)
                assert bound_by_weights(problem, token, rows, weights) == exact.dual_not_above(
                    token, lam, Fraction(0)
                )
                if hull_membership(problem, token, rows) is not None:
                    assert len(exact.equal_to(token)) > 1 or not exact.wins(token)
            alone = single_competitor_bound(problem, torch.full((len(others),), token), torch.from_numpy(others))
            for rival, bound in zip(others.tolist(), alone.tolist(), strict=True):
                assert exact.dual_not_above(token, {rival: Fraction(1)}, Fraction(bound)), (seed, token, rival)


@pytest.mark.parametrize("heads", seeds(2, of=3))
def test_a_scan_over_an_ellipsoid_proves_nothing_false(heads: range) -> None:
    for seed in heads:
        problem, exact = random_head(seed)
        check_head(Head(problem, exact, coarse=False, name=f"ellipsoid {seed}"), ScanSettings(exact=seed % 2 == 0))
