from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from reach.strength.rates import (
    charged,
    charged_median,
    clopper_pearson,
    performance_profile,
    shifted_geometric_mean,
    trials_without_failure,
    wilson,
    zero_event_bound,
)
from solvers.errors import BadInput

LIMIT = 100.0


def test_wilson_by_hand() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, score method: 81 of 263 is 0.2553 to 0.3662.
    rate = wilson(81, 263)
    assert (round(rate.low, 4), round(rate.high, 4)) == (0.2553, 0.3662)
    # Same table: 0 of 20 is 0 to 0.1611, which is z²/(n + z²) = 3.8415/23.8415.
    assert wilson(0, 20).low == 0.0
    assert wilson(0, 20).high == pytest.approx(3.841459 / 23.841459, rel=1e-6)
    assert wilson(20, 20).high == 1.0
    assert "81 of 263 (30.8 %, 95 % interval 25.53–36.62 %)" in rate.statement()


def test_clopper_pearson_by_hand() -> None:
    # Newcombe (1998), exact method: 81 of 263 is 0.2527 to 0.3676; 15 of 148 is 0.0578 to 0.1617.
    for found, tried, low, high in ((81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617)):
        rate = clopper_pearson(found, tried)
        assert (round(rate.low, 4), round(rate.high, 4)) == (low, high)
    # No find in n: the upper end solves (1 − p)^n = α/2.
    assert clopper_pearson(0, 20).high == pytest.approx(1 - 0.025 ** (1 / 20), rel=1e-12)
    assert clopper_pearson(1, 1).low == pytest.approx(0.025, rel=1e-12)


@given(tried=st.integers(1, 400), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.999]))
def test_intervals_hold_the_estimate_and_mirror(tried: int, share: float, confidence: float) -> None:
    found = round(share * tried)
    for interval in (wilson, clopper_pearson):
        rate, mirror = interval(found, tried, confidence), interval(tried - found, tried, confidence)
        assert 0 <= rate.low <= rate.share <= rate.high <= 1
        assert mirror.low == pytest.approx(1 - rate.high, abs=1e-9)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_clopper_pearson_never_covers_too_little(p: float) -> None:
    # Exact coverage: the probability of all counts whose interval holds p.
    n = 40
    covers = [clopper_pearson(x, n).low <= p <= clopper_pearson(x, n).high for x in range(n + 1)]
    assert binom.pmf(np.arange(n + 1), n, p)[covers].sum() >= 0.95
    held = [wilson(x, n).low <= p <= wilson(x, n).high for x in range(n + 1)]
    assert binom.pmf(np.arange(n + 1), n, p)[held].sum() >= 0.91


def test_zero_events() -> None:
    # One trial says nothing below 95 %; 59 is the textbook size for 5 %, since 0.95^59 < 0.05 < 0.95^58.
    assert zero_event_bound(1) == pytest.approx(0.95)
    assert zero_event_bound(59) < 0.05 < zero_event_bound(58)
    # Rule of three: ln 20 = 2.996.
    assert zero_event_bound(1000) == pytest.approx(3 / 1000, rel=5e-3)
    # 0.99^299 < 0.05 < 0.99^298.
    assert trials_without_failure(0.99) == 299
    assert trials_without_failure(0.95) == 59


def test_failures_are_charged_the_limit() -> None:
    given, solved = np.array([1.0, np.nan, 3.0, 200.0]), np.array([True, False, True, True])
    times = charged(given, solved, LIMIT)
    # NaN stands for a failure without a time; 200 s is beyond the limit.
    assert times.tolist() == [1.0, 100.0, 3.0, 100.0]
    # Middle of 1, 3, 100, 100.
    assert charged_median(given, solved, LIMIT) == 51.5


def test_shifted_geometric_mean_by_hand() -> None:
    # √((6+10)·(90+10)) − 10 = √1600 − 10.
    both = np.array([True, True])
    assert shifted_geometric_mean(np.array([6.0, 90.0]), both, LIMIT) == pytest.approx(30.0, rel=1e-14)
    # A failure after 1 s costs as much as the limit of 90 s.
    assert shifted_geometric_mean(np.array([6.0, 1.0]), ~both | [True, False], 90) == pytest.approx(30.0, rel=1e-14)
    # Without a shift √(4·9).
    assert shifted_geometric_mean(np.array([4.0, 9.0]), both, LIMIT, shift=0) == pytest.approx(6.0, rel=1e-14)
    # A time of 0 counts as the shift alone: √(1·(3+1)) − 1.
    assert shifted_geometric_mean(np.array([0.0, 3.0]), both, LIMIT, shift=1) == pytest.approx(1.0, rel=1e-14)


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_shifted_geometric_mean_lies_between_and_below_the_mean(times: list[float], shift: float) -> None:
    value = shifted_geometric_mean(np.array(times), np.ones(len(times), dtype=bool), 2e4, shift)
    room = 1e-9 * (max(times) + shift)
    assert min(times) - room <= value <= np.mean(times) + room


def test_performance_profile_by_hand() -> None:
    seconds = {"a": np.array([1.0, 2.0, 9.0, 1.0]), "b": np.array([2.0, 1.0, np.nan, 1.0])}
    solved = {"a": np.array([True, True, True, False]), "b": np.array([True, True, False, False])}
    profile = performance_profile(seconds, solved, LIMIT)
    # Ratios: a has 1, 2, 1 and a failure; b has 2, 1 and two failures. Problem 4 nobody solved, yet it counts.
    assert profile.tau.tolist() == [1.0, 2.0]
    assert profile.share.tolist() == [[0.5, 0.75], [0.25, 0.5]]
    assert profile.wins == {"a": 0.5, "b": 0.25}
    assert profile.solved == {"a": 0.75, "b": 0.5}
    assert [profile.at("a", tau) for tau in (0.5, 1, 1.99, 2, 1e9)] == [0.0, 0.5, 0.5, 0.75, 0.75]


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
def test_profiles_rise_and_end_at_the_share_solved(seed: int, problems: int, solvers: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(solvers)]
    seconds = {name: rng.uniform(0.01, 150, problems) for name in names}
    solved = {name: rng.random(problems) < 0.7 for name in names}
    profile = performance_profile(seconds, solved, LIMIT)
    assert (np.diff(profile.share, axis=1) >= 0).all()
    for name in names:
        assert profile.solved[name] == pytest.approx((solved[name] & (seconds[name] <= LIMIT)).mean())
    by_anyone = np.any([solved[name] & (seconds[name] <= LIMIT) for name in names], axis=0)
    assert sum(profile.wins.values()) >= by_anyone.mean() - 1e-12


def test_bad_input_is_one_line() -> None:
    yes = np.array([True])
    for call in (
        lambda: wilson(3, 2),
        lambda: wilson(0, 0),
        lambda: clopper_pearson(1, 2, 1.0),
        lambda: zero_event_bound(0),
        lambda: trials_without_failure(1.0),
        lambda: charged(np.array([math.nan]), yes, LIMIT),
        lambda: charged(np.array([1.0]), yes, 0.0),
        lambda: charged(np.array([1.0, 2.0]), yes, LIMIT),
        lambda: shifted_geometric_mean(np.zeros(0), yes[:0], LIMIT),
        lambda: shifted_geometric_mean(np.array([math.nan]), yes, LIMIT),
        lambda: shifted_geometric_mean(np.array([0.0]), yes, LIMIT, shift=0),
        lambda: shifted_geometric_mean(np.array([1.0]), yes, LIMIT, shift=-1),
        lambda: performance_profile({}, {}, LIMIT),
        lambda: performance_profile({"a": np.array([0.0])}, {"a": yes}, LIMIT),
        lambda: performance_profile({"a": np.ones(1), "b": np.ones(2)}, {"a": yes, "b": np.ones(2, bool)}, LIMIT),
    ):
        with pytest.raises(BadInput) as caught:
            call()
        assert "\n" not in str(caught.value)
