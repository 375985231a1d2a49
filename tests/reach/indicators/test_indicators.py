"""Indicators of under-trained tokens: values by hand, and their precision and recall by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from reach.categories.findings import Finding
from reach.categories.roles import EOS, NO_ROLES, PAD, Role, Roles
from reach.indicators.honesty import average_precision, held_against
from reach.indicators.measure import first_component, looks_untrained, output_indicators
from reach.indicators.reference import known_unused
from reach.interference.matrices import plain_rows
from reach.vocabulary import Vocabulary


def test_distances_are_from_the_mean_of_the_other_unused_rows() -> None:
    """The unused rows are (1, 0) and (0, 1): their mean is (½, ½), and each is held against the other alone."""
    rows = plain_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 3.0], [-1.0, -1.0]]))
    found = {one.key: one.values for one in output_indicators(rows, np.array([0, 1]))}
    assert found["cosine-distance"] == pytest.approx([1, 1, 0, 2])
    assert found["distance"] == pytest.approx([np.sqrt(2), np.sqrt(2), 2.5 * np.sqrt(2), 1.5 * np.sqrt(2)])
    # The component of most energy is (1, 1)/√2; without it the mean of the two is nothing.
    assert found["distance-pc"][2:] == pytest.approx([0, 0], abs=1e-6)


def test_a_single_unused_row_has_no_value_of_its_own() -> None:
    rows = plain_rows(torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0]]))
    values = next(iter(output_indicators(rows, np.array([0])))).values
    assert np.isnan(values[0])
    assert values[1:] == pytest.approx([1, 0])


def test_the_first_component_is_that_of_the_singular_values() -> None:
    matrix = torch.randn(300, 20, generator=torch.Generator().manual_seed(1)) + 0.5
    own = torch.linalg.svd(matrix.double(), full_matrices=False)[2][0]
    assert abs(float(own @ first_component(plain_rows(matrix)))) == pytest.approx(1, abs=1e-6)


def planted(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine distances of 200 rows: 10 known to be unused, 20 like them, the others at random."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 32))
    rows[:30] = rng.standard_normal(32) + spread * rng.standard_normal((30, 32))
    unused = np.arange(10)
    return next(iter(output_indicators(plain_rows(torch.tensor(rows)), unused))).values, unused


def test_rows_like_the_unused_ones_look_untrained() -> None:
    distance, unused = planted(0.05)
    assert looks_untrained(distance, unused).tolist() == list(range(30))


def test_nothing_looks_untrained_where_the_unused_rows_do_not_agree() -> None:
    distance, unused = planted(5.0)
    assert looks_untrained(distance, unused).tolist() == []


def test_nothing_looks_untrained_where_two_rows_are_known_or_none_has_a_direction() -> None:
    distance, unused = planted(0.05)
    assert looks_untrained(distance, unused[:2]).tolist() == []
    assert looks_untrained(np.full(200, np.nan), unused).tolist() == []


def test_who_is_known_to_be_unused() -> None:
    """A padding row, a reserved token, the bytes 0xC1 and 0xFF but not 0x80, and the pad that is nothing else."""
    pieces = ["a", "<0xC1>", "<0xFF>", "<0x80>", None, "<pad>", "<both>", "<|reserved_1|>"]
    findings = [*(Finding(t, "byte") for t in (1, 2, 3)), Finding(4, "padding"), Finding(7, "reserved")]
    roles = Roles({5: (Role(5, PAD, "x"),), 6: (Role(6, PAD, "x"), Role(6, EOS, "x"))})
    vocabulary = Vocabulary(pieces, pieces, [])
    assert known_unused(vocabulary, findings, roles).tolist() == [1, 2, 4, 5, 7]
    assert known_unused(vocabulary, findings, NO_ROLES).tolist() == [1, 2, 4, 7]


def test_precision_and_recall_by_counting() -> None:
    """Ten of 100 tokens are to be found; the indicator puts eight of them first and two last."""
    values = np.arange(100.0)
    positive = np.zeros(100, dtype=bool)
    positive[[*range(8), 98, 99]] = True
    asked, margin = np.ones(100, dtype=bool), np.where(positive, -1.0, values)
    found = held_against("k", "t", "W", values, positive, asked, margin)
    cut = next(cut for cut in found.cuts if cut.k == 10)
    assert (cut.hits, cut.precision.value, cut.recall.value) == (8, 0.8, 0.8)
    interval = binomtest(8, 10).proportion_ci(method="exact")
    assert (cut.precision.low, cut.precision.high) == pytest.approx((interval.low, interval.high))
    assert (cut.chance_low, cut.chance_high) == (0, 3)
    assert found.average_precision is not None
    assert found.average_precision.value == pytest.approx((8 + 9 / 99 + 10 / 100) / 10)
    assert found.average_precision.low <= found.average_precision.value <= found.average_precision.high
    assert found.auc is not None
    assert found.auc.value == pytest.approx(8 * 90 / 900)


def test_what_has_no_value_is_the_least_suspect() -> None:
    values = np.array([np.nan, 1.0, 2.0, 3.0])
    positive = np.array([True, False, False, False])
    found = held_against("k", "t", "W", values, positive, np.ones(4, bool), np.full(4, np.nan))
    assert found.auc is not None
    assert found.auc.value == 0
    assert found.rho is None


def test_a_perfect_ranking_has_average_precision_one() -> None:
    assert average_precision(np.array([True, True, False])) == 1
    assert average_precision(np.array([False, True])) == 0.5


def test_by_chance_nothing_is_told_and_intervals_say_so() -> None:
    """Random values and verdicts, 60 times: 19 in 20 intervals hold the truth, and no cut stands out oftener."""
    rng = np.random.default_rng(0)
    held, inside, cuts = 0, 0, 0
    for _ in range(60):
        values, positive, margin = rng.random(2000), rng.random(2000) < 0.05, rng.random(2000)
        found = held_against("k", "t", "W", values, positive, np.ones(2000, bool), margin, rng.random(2000))
        assert found.auc is not None and found.average_precision is not None and found.rho is not None
        held += found.auc.low <= 0.5 <= found.auc.high
        inside += sum(cut.chance_low <= cut.hits <= cut.chance_high for cut in found.cuts)
        cuts += len(found.cuts)
        assert abs(found.rho.value) < 0.1
        assert found.average_precision.value == pytest.approx(0.05, abs=0.04)
        assert found.fresh_auc == pytest.approx(0.5, abs=0.12)
    assert held >= 52  # of 60 at 95 %: fewer have a probability below one in a hundred
    assert inside >= 0.93 * cuts


def test_nothing_to_find_leaves_the_correlation() -> None:
    values = np.arange(50.0)
    found = held_against("k", "t", "W", values, np.zeros(50, bool), np.ones(50, bool), values**3)
    assert found.cuts == []
    assert found.rho is not None
    assert found.rho.value == pytest.approx(1)
