from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from reach.strength.rates import clopper_pearson, trials_without_failure, wilson
from solvers.errors import BadInput


def test_wilson_by_hand() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, score method: 81 of 263 is 0.2553 to 0.3662.
    rate = wilson(81, 263)
    assert (round(rate.low, 4), round(rate.high, 4)) == (0.2553, 0.3662)
    # Same table: 0 of 20 is 0 to 0.1611, which is z²/(n + z²) = 3.8415/23.8415.
    assert wilson(0, 20).low == 0.0
    assert wilson(0, 20).high == pytest.approx(3.841459 / 23.841459, rel=1e-6)
    assert wilson(20, 20).high == 1.0


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


def test_trials_without_a_failure() -> None:
    # 0.99^299 < 0.05 < 0.99^298; 59 is the textbook size for 5 %, since 0.95^59 < 0.05 < 0.95^58.
    assert trials_without_failure(0.99) == 299
    assert trials_without_failure(0.95) == 59


def test_bad_input_is_one_line() -> None:
    for call in (
        lambda: wilson(3, 2),
        lambda: wilson(0, 0),
        lambda: clopper_pearson(1, 2, 1.0),
        lambda: trials_without_failure(1.0),
    ):
        with pytest.raises(BadInput) as caught:
            call()
        assert "\n" not in str(caught.value)
