from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reach.strength.planted import planted_head
from reach.strength.rates import clopper_pearson
from reach.strength.recall import detection_limit, recall_by_budget, recall_by_level, try_plants
from solvers import registry
from solvers.attempt import Attempts, Status
from solvers.backend import Budget
from solvers.backends.closed_form import OwnRow
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


def test_recall_by_level_and_budget_by_hand() -> None:
    levels, found = np.array([0.1, 1.0, 0.1, 0.1]), np.array([True, True, False, True])
    table = recall_by_level(levels, found)
    assert [(cell.level, cell.rate.found, cell.rate.tried) for cell in table] == [(1.0, 1, 1), (0.1, 2, 3)]
    exact = recall_by_level(levels, found, interval=clopper_pearson)
    assert exact[0].rate.low == pytest.approx(0.025)  # one of one
    cells = recall_by_budget([2.0, 1.0], levels, np.array([found, ~found]))
    assert [(cell.budget, cell.level, cell.rate.found) for cell in cells] == [
        (1.0, 1.0, 0), (1.0, 0.1, 1), (2.0, 1.0, 1), (2.0, 0.1, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("offsets", [False, True])
def test_recall_falls_with_the_margin_and_never_lies(offsets: bool) -> None:
    head = planted_head(10, 260, (0.5, 1e-1, 1e-3, 1e-5, 1e-10), 4, seed=7, offsets=offsets)
    outcomes = {}
    for name in ("own-row", "batched-barrier"):
        outcomes[name] = try_plants(head, registry.backend(name)(), Budget(), block=16)
        assert not outcomes[name].wrong.any()
        assert outcomes[name].found.shape == head.rows.shape
    far = head.speakable & (head.levels >= 0.1)
    # A row that stands far out wins at its own direction; one that barely stands out of a facet does not.
    assert outcomes["own-row"].found[far].all()
    assert not outcomes["own-row"].found[head.levels <= 1e-5].any()
    # An interior point on two cores finds every margin down to 1e-5 of the row norm, and every depth.
    assert outcomes["batched-barrier"].found[head.levels >= 1e-5].all()
    assert outcomes["batched-barrier"].seconds > 0
    assert outcomes["batched-barrier"].work["iterations"] > 0


class Boaster(OwnRow):
    """Claims a witness for every row."""

    def solve(self, rows: torch.Tensor, budget: Budget) -> Attempts:
        return replace(super().solve(rows, budget), status=[Status.WITNESS] * len(rows))


def test_claims_are_counted_apart_from_proofs() -> None:
    head = planted_head(10, 200, (1e-2, 1e-8), 3, seed=1)
    outcome = try_plants(head, Boaster(), Budget())
    assert (outcome.misclaimed == ~head.speakable).all()
    assert not outcome.found[~head.speakable].any()
    assert not outcome.wrong.any()


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
        lambda: recall_by_budget([1.0], np.array([0.1]), np.zeros((2, 1), dtype=bool)),
    ):
        with pytest.raises(BadInput) as caught:
            call()
        assert "\n" not in str(caught.value)
