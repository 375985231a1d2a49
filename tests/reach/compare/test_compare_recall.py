from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.compare.detection import detection_limit, recall_by_level
from solvers.errors import BadInput


def limit(found: list[int], tried: int = 100, **more: float):
    levels = np.array([10.0**-k for k in range(len(found))])
    return detection_limit(levels, np.array(found), np.full(len(found), tried), **more)


def test_the_limit_is_the_last_level_before_the_first_miss() -> None:
    result = limit([100, 100, 99, 60, 100])
    # 99 of 100 is 99 %; the full score below the miss at 1e-3 does not count.
    assert (result.level, result.first_miss) == (1e-2, 1e-3)
    assert result.at_level is not None
    assert (result.at_level.found, result.at_level.tried) == (99, 100)
    assert result.above is not None
    assert (result.above.found, result.above.tried) == (299, 300)
    # 100 trials without a miss show 0.05^(1/100) = 97 %, less than 99 %: that takes 299.
    assert result.confirmed is None
    assert result.needed == 299
    assert "down to a relative margin of 0.01: 99 of 100" in result.statement()
    assert "299 trials" in result.statement()


def test_enough_trials_confirm_a_level() -> None:
    result = limit([299, 300, 298, 0], tried=300)
    # 299 of 300: the one-sided bound is B(0.05; 299, 2) = 98.4 %, so already the first level is not confirmed.
    assert result.confirmed is None
    sure = limit([299, 299, 298, 0], tried=299)
    # 0.05^(1/299) = 99.003 %.
    assert (sure.confirmed, sure.level) == (0.1, 1e-2)
    assert sure.at_level is not None
    assert sure.at_level.low < 0.99
    assert "down to 0.1" in sure.statement()


def test_no_limit_at_all_and_none_reached() -> None:
    nothing = limit([98, 100])
    assert (nothing.level, nothing.first_miss, nothing.at_level) == (None, 1.0, None)
    assert "already at the largest margin 1" in nothing.statement()
    everything = limit([100, 100])
    assert (everything.level, everything.first_miss) == (0.1, None)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.randoms())
def test_order_of_levels_does_not_matter(found: list[int], shuffle) -> None:
    pairs = [(10.0**-k, count) for k, count in enumerate(found)]
    shuffle.shuffle(pairs)
    levels, counts = np.array([level for level, _ in pairs]), np.array([count for _, count in pairs])
    result = detection_limit(levels, counts, np.full(len(found), 20), 0.9)
    assert result.level == limit(found, 20, rate=0.9).level
    passing = [k for k in range(len(found)) if min(found[: k + 1]) >= 18]
    assert result.level == (10.0 ** -passing[-1] if passing else None)


def test_recall_by_level_by_hand() -> None:
    levels, found = np.array([0.1, 1.0, 0.1, 0.1]), np.array([True, True, False, True])
    table = recall_by_level(levels, found)
    assert [(cell.level, cell.found, cell.tried) for cell in table] == [(1.0, 1, 1), (0.1, 2, 3)]
    assert [cell.rate for cell in table] == [1.0, 2 / 3]
    assert all(cell.low <= cell.rate <= cell.high for cell in table)


def test_bad_input_is_one_line() -> None:
    one = np.array([1])
    for call in (
        lambda: detection_limit(np.array([]), one[:0], one[:0]),
        lambda: detection_limit(np.array([0.0]), one, one),
        lambda: detection_limit(np.array([0.1, 0.1]), np.array([1, 1]), np.array([1, 1])),
        lambda: detection_limit(np.array([0.1]), one, 0 * one),
        lambda: detection_limit(np.array([0.1]), 2 * one, one),
        lambda: detection_limit(np.array([0.1]), one, one, rate=1.0),
        lambda: detection_limit(np.array([0.1]), one, one, confidence=0.4),
        lambda: recall_by_level(np.array([0.1]), np.array([], dtype=bool)),
    ):
        with pytest.raises(BadInput) as caught:
            call()
        assert "\n" not in str(caught.value)
