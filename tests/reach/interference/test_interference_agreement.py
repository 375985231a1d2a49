"""Rank correlation and ROC against counts that can be made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from reach.interference.speakability import rank_correlation, roc


def test_area_is_the_share_of_pairs_in_the_right_order() -> None:
    """Positives 3 and 1 against negatives 2 and 0: three of four pairs are right."""
    found = roc(np.array([3.0, 1, 2, 0]), np.array([True, True, False, False]))
    assert found is not None and found.auc == 0.75
    assert found.low < 0.75 < found.high and (found.positives, found.negatives) == (2, 2)
    assert found.false_rate == (0, 0, 0.5, 0.5, 1) and found.true_rate == (0, 0.5, 0.5, 1, 1)


def test_ties_count_half_and_make_one_step() -> None:
    found = roc(np.array([1.0, 1, 1, 1]), np.array([True, False, True, False]))
    assert found is not None and found.auc == 0.5
    assert found.false_rate == (0, 1) and found.true_rate == (0, 1)


def test_perfect_separation_keeps_an_honest_interval() -> None:
    found = roc(np.arange(20.0), np.arange(20) >= 10)
    assert found is not None and found.auc == 1 == found.high and found.low == pytest.approx(0.6915, abs=1e-4)
    turned = roc(-np.arange(20.0), np.arange(20) >= 10)
    assert turned is not None and turned.auc == 0 == turned.low and turned.high == pytest.approx(0.3085, abs=1e-4)


def test_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(0)
    positive = np.arange(120) < 40
    covered = 0
    for _ in range(300):
        found = roc(generator.standard_normal(120) + positive, positive)
        assert found is not None
        covered += found.low <= 0.7602 <= found.high  # Φ(1/√2)
    assert 0.91 <= covered / 300 <= 0.985


def test_curve_is_thinned_but_keeps_its_ends() -> None:
    generator = np.random.default_rng(1)
    found = roc(generator.random(5000), generator.random(5000) < 0.1)
    assert found is not None and len(found.false_rate) <= 200
    assert (found.false_rate[0], found.true_rate[0]) == (0, 0) and (found.false_rate[-1], found.true_rate[-1]) == (
        1,
        1,
    )


def test_nothing_to_tell_apart_gives_none() -> None:
    assert roc(np.array([1.0, 2]), np.array([True, True])) is None
    assert roc(np.array([math.nan, 2]), np.array([True, False])) is None
    assert rank_correlation(np.ones(9), np.arange(9.0)) is None
    assert rank_correlation(np.arange(3.0), np.arange(3.0)) is None


def test_rank_correlation_is_spearmans() -> None:
    generator = np.random.default_rng(2)
    x = generator.random(200)
    y = x + generator.random(200)
    y[::7] = math.nan
    found = rank_correlation(x, y)
    known = np.isfinite(y)
    assert found is not None and found.n == known.sum()
    assert found.rho == pytest.approx(spearmanr(x[known], y[known]).statistic)
    assert found.low < found.rho < found.high
    same = rank_correlation(x, np.exp(x))
    assert same is not None and same.rho == pytest.approx(1)
