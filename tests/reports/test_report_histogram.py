from __future__ import annotations

import numpy as np
import pytest

from reports.charts.axes import nice_step
from reports.charts.drawing import Rect
from reports.histogram import Histogram, histogram, scale_for


def draw(values: list[float], **options: bool):
    return histogram(np.array(values), key="hard", title="T", axis="logits", **options)


def bars(drawn: Histogram) -> list[Rect]:
    assert drawn.drawing is not None
    return [one for one in drawn.drawing.shapes if isinstance(one, Rect)]


def test_close_values_get_a_linear_axis_from_zero():
    # Given sizes within a factor of 30, then the axis starts at 0 and ends at a round number above them
    scale = scale_for(np.array([1.0, 2.5]))
    assert (scale.lo, scale.log) == (0.0, False)
    assert scale.hi >= 2.5


def test_values_over_many_sizes_get_a_log_axis_of_whole_decades():
    scale = scale_for(np.array([0.002, 7.0]))
    assert (scale.lo, scale.hi, scale.log) == pytest.approx((0.001, 10.0, True))


def test_every_token_is_in_a_bin():
    drawn = draw(np.random.default_rng(0).lognormal(0, 3, 500).tolist())
    assert sum(drawn.counts) == 500
    assert sum(int(bar.words.split(": ")[1].split()[0]) for bar in bars(drawn)) == 500
    assert drawn.summary.startswith("500 tokens: from ")


def test_dust_near_zero_shares_one_bin_and_says_so():
    drawn = draw([1e-300, 1.0, 2.0])
    assert "also holds 1 token closer to it" in drawn.note
    assert drawn.drawing is not None
    assert len(drawn.drawing.x_ticks) <= 8


def test_negative_margins_run_towards_zero_on_the_right():
    drawn = draw([-0.5, -0.4, -0.1], negative=True)
    assert drawn.drawing is not None
    ticks = drawn.drawing.x_ticks
    assert ticks[-1].label == "0"
    assert ticks[0].label.startswith("−")
    assert ticks[0].at < ticks[-1].at
    assert drawn.summary == "3 tokens: from −0.5 to −0.1 logits, half of them below −0.4."


def test_bars_stay_inside_the_plot():
    drawn = draw([1e-9, 0.3, 5.0, 1e5])
    frame = drawn.drawing
    assert frame is not None
    assert len(bars(drawn)) == 4
    for bar in bars(drawn):
        assert frame.left <= bar.x <= bar.x + bar.width <= frame.right
        assert frame.top <= bar.y <= bar.y + bar.height <= frame.floor + 0.01


def test_what_cannot_be_drawn_is_counted():
    # Given rows in the hull of the others (bound 0) and one without a bound, there is nothing to draw
    drawn = draw([0.0, 0.0, float("nan")], negative=True)
    assert drawn.drawing is None
    assert drawn.note.startswith("Not drawn: 2 tokens with a bound of zero or above")
    assert drawn.note.endswith("1 token without a recorded bound.")


@pytest.mark.parametrize(("span", "about", "step"), [(10, 5, 2), (1, 25, 0.05), (7, 7, 1), (0.003, 3, 0.001)])
def test_steps_are_round(span: float, about: int, step: float):
    assert nice_step(span, about) == pytest.approx(step)
