from __future__ import annotations

import math

import pytest

from reports import plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.414, "0.41 s"), (12.34, "12.3 s"), (99.96, "1 min 40 s"), (7500, "2 h 5 min"), (None, "not recorded")],
)
def test_seconds(value: float | None, expected: str):
    assert plain.seconds(value) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, "3", None, True, -1])
def test_what_is_no_duration_is_not_recorded(value: object):
    assert plain.seconds(value) == plain.NOT_RECORDED


@pytest.mark.parametrize(("value", "expected"), [(0, "0 B"), (1023, "1023 B"), (3 << 29, "1.5 GiB")])
def test_size(value: int, expected: str):
    assert plain.size(value) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [(0, 9, "0 %"), (9, 9, "100 %"), (1, 9999, "< 0.1 %"), (9998, 9999, "> 99.9 %"), (1, 3, "33.3 %"), (0, 0, "–")],
)
def test_a_share_is_all_or_nothing_only_when_it_is(part: int, whole: int, expected: str):
    assert plain.share(part, whole) == expected


def test_nested_settings_become_dotted_names():
    assert list(plain.flat({"a": {"b": 1, "c": None}, "d": [1, True], "e": {}, "f": ""})) == [
        ("a.b", "1"),
        ("a.c", "none"),
        ("d", "1, yes"),
        ("e", "none"),
        ("f", "none"),
    ]


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (0.27, "0.27", "0.27"), (0.2701, "0.27", "0.271"),
        (1.23456, "1.23", "1.24"), (-1.23456, "−1.24", "−1.23"), (0.99999, "0.999", "1"),
        (123456.0, "1.23e+05", "1.24e+05"), (3.501e-9, "3.5e−09", "3.51e−09"), (0.5, "0.5", "0.5"), (0.0, "0", "0"),
    ],
)  # fmt: skip
def test_bounds_are_never_said_to_be_tighter_than_they_are(value: float, least: str, most: str):
    assert (plain.at_least(value), plain.at_most(value)) == (least, most)
