"""Charts: where values lie, which labels they get, and what reaches the page."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.charts.axes import Axis, linear_axis, log_axis, named_axis, signed_axis
from reports.charts.chart import Band, Bars, Chart, Label, Line, Points
from reports.charts.drawing import Drawing, Rect, Shape, draw
from reports.render import environment

FINITE = st.floats(-1e300, 1e300, allow_nan=False)
AXES = {
    "linear": linear_axis,
    "counts": lambda title, values: linear_axis(title, [abs(value) for value in values], zero=True, whole=True),
    "log": lambda title, values: log_axis(title, [abs(value) for value in values]),
    "signed": signed_axis,
}


@pytest.mark.parametrize("kind", AXES)
@given(values=st.lists(FINITE, min_size=0, max_size=8))
def test_an_axis_holds_its_values_in_order_and_labels_places_on_it(kind: str, values: list[float]):
    axis: Axis = AXES[kind]("x", values)
    ordered = sorted(abs(value) if kind in ("counts", "log") else value for value in values)
    shares = [axis.share(value) for value in ordered]
    assert all(0 <= share <= 1 for share in shares)
    assert all(before <= after for before, after in pairwise(shares))
    labels = [label for _, label in axis.ticks]
    assert len(set(labels)) == len(labels)
    assert len(labels) <= 30
    for value, _ in axis.ticks:
        room = 1e-8 * max(abs(axis.low), abs(axis.high))
        assert axis.low - room <= value <= axis.high + room
    if kind == "counts":
        assert axis.low == 0
        assert all(value == round(value) for value, _ in axis.ticks)


def test_labels_are_written_as_a_reader_expects():
    assert [label for _, label in linear_axis("x", [0, 1], zero=True).ticks] == [
        "0",
        "0.2",
        "0.4",
        "0.6",
        "0.8",
        "1.0",
    ]
    assert [label for _, label in linear_axis("tokens", [0, 3], zero=True, whole=True).ticks] == ["0", "1", "2", "3"]
    assert [label for _, label in linear_axis("tokens", [4000], zero=True).ticks][-1] == "4,000"
    # Powers of ten alone where there are many of them, and more where there are few: never a bare 2 and 5.
    assert [label for _, label in log_axis("x", [1e-6, 1]).ticks] == [
        "1e−6", "1e−5", "1e−4", "0.001", "0.01", "0.1", "1",
    ]  # fmt: skip
    assert [label for _, label in log_axis("x", [1, 500]).ticks] == [
        "1",
        "2",
        "5",
        "10",
        "20",
        "50",
        "100",
        "200",
        "500",
    ]
    assert [label for _, label in signed_axis("x", [-0.01, 0.0, 10.0]).ticks] == [
        "−0.01", "0", "0.01", "0.1", "1", "10",
    ]  # fmt: skip


def test_a_logarithmic_axis_is_even_in_powers_and_a_mirrored_one_runs_back():
    axis = Axis("x", 0.01, 100.0, "log")
    assert [axis.share(value) for value in (0.01, 0.1, 1, 100)] == pytest.approx([0, 0.25, 0.5, 1])
    assert axis.share(-3.0) == 0.0
    assert not axis.holds(0.0)
    assert Axis("x", 0.0, 4.0, mirrored=True).share(1.0) == 0.75
    # asinh: far from zero like a logarithm, and zero in the middle of −1 … 1
    signed = Axis("x", -1.0, 1.0, "signed", unit=1e-3)
    assert signed.share(0.0) == 0.5
    assert signed.share(0.1) - signed.share(0.01) == pytest.approx(signed.share(1.0) - signed.share(0.1), rel=2e-3)


def chart(*marks: Any, **options: Any) -> Drawing:
    x, y = options.pop("x", Axis("across", 0.0, 10.0)), options.pop("y", Axis("up", 0.0, 10.0))
    return draw(Chart("k", "Title", x, y, marks, **options))


def places(shape: Shape | Rect) -> list[tuple[float, float]]:
    assert isinstance(shape, Shape)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", shape.path)]


def test_points_of_a_line_lie_where_the_axes_say():
    drawn = chart(Line("a", [0, 5, 10], [0, 10, 5]))
    width, height = drawn.right - drawn.left, drawn.floor - drawn.top
    expected = [(drawn.left, drawn.floor), (drawn.left + width / 2, drawn.top), (drawn.right, drawn.top + height / 2)]
    for found, wanted in zip(places(drawn.shapes[0]), expected, strict=True):
        assert found == pytest.approx(wanted, abs=0.01)


def test_what_an_axis_cannot_show_is_a_gap():
    for gap in (None, math.nan, 0.0, -1.0, math.inf):
        drawn = chart(Line("a", [1, 2, 3, 4, 5], [1, 2, gap, 4, 5]), y=Axis("up", 1.0, 10.0, "log"))
        (line,) = drawn.shapes
        assert isinstance(line, Shape)
        assert line.path.count("M") == 2
        assert len(places(line)) == 4
    assert chart(Line("a", [1], [None]), Points("b", [None], [1.0])).shapes == ()


def test_steps_hold_a_value_after_its_place_or_before_it():
    (after,) = chart(Line("a", [0, 10], [0, 10], step="after")).shapes
    (before,) = chart(Line("a", [0, 10], [0, 10], step="before")).shapes
    (x0, y0), corner, (x1, y1) = places(after)
    assert corner == (x1, y0)
    assert places(before)[1] == (x0, y1)


def test_a_single_token_among_thousands_stays_visible():
    bars = chart(Bars("m", (0, 1, 2), (1, 90000), ("one", "many")), y=Axis("tokens", 0.0, 90000.0)).only("rect")
    assert [one.height >= 1.5 for one in bars if isinstance(one, Rect)] == [True, True]
    assert all(isinstance(one, Rect) and one.y + one.height <= 290 for one in bars)


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20))
def test_nothing_leaves_the_picture(values: list[tuple[float, float]]):
    x, y = [a for a, _ in values], [b for _, b in values]
    marks = (Line("l", x, y, dash="dot"), Points("p", x, y, symbol="diamond"), Band("b", x, y, y))
    drawn = chart(*marks, x=linear_axis("x", x), y=signed_axis("y", y), labels=(Label("word", x[0], y[0]),))
    for shape in drawn.shapes:
        for across, down in places(shape):
            assert drawn.left <= across <= drawn.right
            assert drawn.top <= down <= drawn.floor
    for before, after in pairwise(drawn.x_ticks):
        reach = 4.0 * len(after.label) * (2 if after.anchor == "end" else 1)
        assert before.at + 4.0 * len(before.label) < after.at - reach + 1


def test_names_reach_the_page_as_text():
    wild = '<b>a</b>"&\u202e\u2066'
    drawn = chart(
        Line(wild, [0, 1], [0, 1]), labels=(Label(wild, 1, 1),), summary=wild, x=named_axis("x", [wild, "b"])
    )
    page = environment().from_string('{% import "chart.html" as chart %}{{ chart.figure(one) }}').render(one=drawn)
    assert "<b>" not in page
    assert "\u202e" not in page
    assert page.count("&lt;b&gt;a&lt;/b&gt;") >= 3
    assert 'data-name="&lt;b&gt;a&lt;/b&gt;&#34;&amp;U+202EU+2066"' in page


@pytest.mark.parametrize("value", [1.0, 6.67, 8.75, 12.0, 37.5, 64.0, 250.0, 99_999.0])
@pytest.mark.parametrize("reach", [1.0, 1.3, 1.5, 1.6, 2.0, 3.0, 11.0, 90.0, 2e4])
def test_a_logarithmic_axis_has_two_labels_at_least(value: float, reach: float):
    axis = log_axis("x", [value, value * reach], room=0.06)
    places = [place for place, _ in axis.ticks]
    assert len(places) > 1
    assert all(axis.low <= place <= axis.high for place in places)
