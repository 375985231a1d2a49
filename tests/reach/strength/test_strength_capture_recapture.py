from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.strength.capture_recapture import Richness, chao1, chao2, chapman, good_turing
from solvers.errors import BadInput

Z = 1.959963984540054


def counts(*frequencies: int) -> np.ndarray:
    """Counts with f₁, f₂, … as given."""
    return np.repeat(np.arange(1, len(frequencies) + 1), frequencies)


def test_chao1_by_hand() -> None:
    # f₁ = 4, f₂ = 2, f₃ = 1, f₅ = 1: S_obs = 8 and n = 4 + 4 + 3 + 5 = 16, so r = 15/16.
    result = chao1(counts(4, 2, 1, 0, 1))
    assert (result.observed, result.samples, result.once, result.twice) == (8, 16, 4, 2)
    extra = 15 / 16 * 4 * 3 / (2 * 3)  # 1.875
    assert result.estimate == pytest.approx(8 + 1.875, rel=1e-14)
    # r·12/6 + r²·4·7²/(4·3²) + r²·16·2·3²/(4·3⁴)
    variance = 1.875 + (15 / 16) ** 2 * (196 / 36 + 288 / 324)
    assert result.variance == pytest.approx(variance, rel=1e-14)
    k = math.exp(Z * math.sqrt(math.log(1 + variance / extra**2)))
    assert (result.low, result.high) == (pytest.approx(8 + extra / k), pytest.approx(8 + extra * k))
    assert result.missed == pytest.approx(1.875)


def test_chao1_without_doubles_by_hand() -> None:
    # f₁ = 3, f₃ = 1: S_obs = 4, n = 6, r = 5/6; extra = r·3·2/2 = 2.5, S = 6.5.
    result = chao1(counts(3, 0, 1))
    assert result.estimate == pytest.approx(6.5)
    # r·3 + r²·3·25/4 − r²·81/(4·6.5)
    assert result.variance == pytest.approx(2.5 + (5 / 6) ** 2 * (75 / 4 - 81 / 26), rel=1e-14)


def test_chao1_where_nothing_was_found_once() -> None:
    # Two tokens, found three times each: nothing hints at more, but the interval says how sure that is.
    result = chao1(counts(0, 0, 2))
    decay = math.exp(-3)
    variance = 2 * (decay - decay**2) - (2 * 3 * decay) ** 2 / 6
    assert result.estimate == 2
    assert result.variance == pytest.approx(max(0, variance), abs=1e-15)
    assert result.low == 2
    assert result.high == pytest.approx((2 + Z * math.sqrt(max(0, variance))) / (1 - decay), rel=1e-12)
    # A single token found once: the estimate adds 0, and the interval must not shrink to a point.
    assert chao1(counts(1)).high > 1


def test_chao2_by_hand() -> None:
    # Three runs; the tokens are found by 1, 1, 2, 3 and 0 of them: Q₁ = 2, Q₂ = 1, r = 2/3.
    table = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 0]], dtype=bool)
    result = chao2(table)
    assert (result.observed, result.once, result.twice, result.samples) == (4, 2, 1, 3)
    # r·2·1/(2·2) = 1/3.
    assert result.estimate == pytest.approx(4 + 1 / 3, rel=1e-14)
    # r·½ + r²·2·9/(4·4) + r²·4·1·1/(4·16)
    assert result.variance == pytest.approx(1 / 3 + 4 / 9 * (18 / 16 + 4 / 64), rel=1e-14)


def test_good_turing_by_hand() -> None:
    # n = 16, f₁ = 4, f₂ = 2: ¼ unseen, half-width z·√(4·¾ + 4)/16.
    result = good_turing(counts(4, 2, 1, 0, 1))
    assert result.unseen == 0.25
    assert result.high - result.unseen == pytest.approx(Z * math.sqrt(7) / 16, rel=1e-12)
    assert result.low == 0.0  # 0.25 − 0.324 cut at 0
    # All found thrice: Esty's interval is a point, the distribution-free bound is not.
    often = good_turing(np.full(1000, 3))
    assert often.low == often.high == 0.0
    assert often.worst_case_high == pytest.approx((2 * math.sqrt(2) + math.sqrt(3)) * math.sqrt(math.log(60) / 3000))


def test_two_runs_by_hand() -> None:
    # 20 and 15 finds, 10 in both.
    result = chapman(20, 15, 10)
    assert result.observed == 25
    assert result.estimate == pytest.approx(21 * 16 / 11 - 1, rel=1e-14)
    assert result.variance == pytest.approx(21 * 16 * 10 * 5 / (11**2 * 12), rel=1e-14)
    assert result.low <= result.estimate <= result.high


def test_two_runs_at_the_ends() -> None:
    # Both found the same ten. P(10 in both | S) = 1/C(S,10): 1/11 for S = 11 is above 2.5 %, 1/66 for S = 12 is not.
    same = chapman(10, 10, 10)
    assert (same.estimate, same.low, same.high) == (10, 10, 11)
    # Nothing in common: no upper end. P(0 in both | S) = C(S−2,2)/C(S,2) is 1/6 for S = 4 already.
    apart = chapman(2, 2, 0)
    assert (apart.low, apart.high) == (4, math.inf)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30).filter(any))
def test_estimates_are_finite_and_never_below_what_was_seen(found: list[int]) -> None:
    result, coverage = chao1(np.array(found)), good_turing(np.array(found))
    assert result.observed == sum(count > 0 for count in found)
    assert result.observed <= result.low <= result.high < math.inf
    assert result.low <= result.estimate * (1 + 1e-12)
    assert result.variance >= 0
    assert 0 <= coverage.low <= coverage.unseen <= coverage.high <= 1
    assert coverage.unseen <= coverage.worst_case_high <= 1


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_interval_of_two_runs_holds_the_observed(first: int, second: int, data: st.DataObject) -> None:
    both = data.draw(st.integers(0, min(first, second)))
    result = chapman(first, second, both)
    assert first + second - both <= result.low <= result.high
    assert (result.high == math.inf) == (both == 0)


# --- coverage of the intervals in simulation, seeds fixed -----------------------------------------------------------


def covered(results: list[Richness], truth: int) -> float:
    return float(np.mean([result.low <= truth <= result.high for result in results]))


def test_coverage_where_all_are_equally_likely() -> None:
    rng, truth = np.random.default_rng(1), 200
    results, unseen, worst = [], [], []
    for _ in range(400):
        found = np.bincount(rng.integers(0, truth, 300), minlength=truth)
        results.append(chao1(found))
        mass, known = good_turing(found), float((found == 0).mean())
        unseen.append(mass.low <= known <= mass.high)
        worst.append(known <= mass.worst_case_high)
    # 300 finds of 200 leave e^−1.5 = 22 % unseen. Nominal 95 %; here 95.3 % and 95.0 %.
    assert 0.92 <= covered(results, truth) <= 0.99
    assert 0.92 <= np.mean(unseen) <= 0.98
    assert all(worst)
    assert np.mean([result.estimate for result in results]) == pytest.approx(truth, rel=0.03)


def test_coverage_of_restarts() -> None:
    rng, truth = np.random.default_rng(2), 150
    results = [chao2(rng.random((6, truth)) < 0.25) for _ in range(400)]
    # Here 95.0 %.
    assert 0.92 <= covered(results, truth) <= 0.99
    assert np.mean([result.estimate for result in results]) == pytest.approx(truth, rel=0.03)


def test_where_some_are_harder_to_find_the_estimate_is_a_lower_bound() -> None:
    rng, truth = np.random.default_rng(3), 200
    # Half of them are twenty times harder to find.
    chance = np.where(np.arange(truth) < 100, 20.0, 1.0)
    results = [chao1(rng.multinomial(600, chance / chance.sum())) for _ in range(200)]
    estimates = np.array([result.estimate for result in results])
    assert (estimates > [result.observed for result in results]).all()
    assert estimates.mean() < truth
    # Here 56 %, around a mean estimate of 158 out of 200: that is why the docstring calls it a lower bound.
    assert covered(results, truth) < 0.9


def test_coverage_of_two_runs() -> None:
    rng, truth = np.random.default_rng(4), 120
    results = []
    for _ in range(400):
        first, second = rng.random(truth) < 0.5, rng.random(truth) < 0.4
        results.append(chapman(int(first.sum()), int(second.sum()), int((first & second).sum())))
    # Here 95.8 %: exact intervals are on the safe side.
    assert covered(results, truth) >= 0.94
    assert np.mean([result.estimate for result in results]) == pytest.approx(truth, rel=0.02)


def test_bad_input_is_one_line() -> None:
    for call in (
        lambda: chao1(np.array([0, 0])),
        lambda: chao1(np.array([1, -1])),
        lambda: chao1(np.array([0.5])),
        lambda: chao1(np.array([1]), 1.5),
        lambda: chao2(np.ones((1, 3), dtype=bool)),
        lambda: chao2(np.ones((2, 3), dtype=int)),
        lambda: chao2(np.zeros((2, 3), dtype=bool)),
        lambda: good_turing(np.array([], dtype=int)),
        lambda: chapman(3, 4, 5),
        lambda: chapman(0, 0, 0),
        lambda: chapman(-1, 2, 0),
    ):
        with pytest.raises(BadInput) as caught:
            call()
        assert "\n" not in str(caught.value)
