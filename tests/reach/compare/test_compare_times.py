from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.compare.grade import charged, charged_median, performance_profile, shifted_geometric_mean
from solvers.errors import BadInput

LIMIT = 100.0


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
    tau, share = performance_profile(seconds, solved, LIMIT)
    # Ratios: a has 1, 2, 1 and a failure; b has 2, 1 and two failures. Problem 4 nobody solved, yet it counts.
    assert tau.tolist() == [1.0, 2.0]
    assert {name: one.tolist() for name, one in share.items()} == {"a": [0.5, 0.75], "b": [0.25, 0.5]}


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
def test_profiles_rise_and_end_at_the_share_solved(seed: int, problems: int, solvers: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(solvers)]
    seconds = {name: rng.uniform(0.01, 150, problems) for name in names}
    solved = {name: rng.random(problems) < 0.7 for name in names}
    _, share = performance_profile(seconds, solved, LIMIT)
    for name in names:
        assert (np.diff(share[name]) >= 0).all()
        assert share[name][-1] == pytest.approx((solved[name] & (seconds[name] <= LIMIT)).mean())
    by_anyone = np.any([solved[name] & (seconds[name] <= LIMIT) for name in names], axis=0)
    assert sum(one[0] for one in share.values()) >= by_anyone.mean() - 1e-12


def test_bad_input_is_one_line() -> None:
    yes = np.array([True])
    for call in (
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
