"""Colours of the style sheet against each other, by the formula of WCAG 2."""

from __future__ import annotations

import re

import pytest

from reports.render import asset

TEXT = (
    *(("text", back) for back in ("page", "card", "sunk", "current")),
    *(("soft", back) for back in ("page", "card", "sunk", "current")),
    *(("link", back) for back in ("page", "card", "sunk")),
    *((kind, back) for kind in ("never", "own", "tied", "open") for back in ("card", "sunk", "current")),
    ("mark", "mark-back"),
)
# Bars, dots and outlines need less than letters.
SHAPES = (
    *((name, "card") for name in ("never-fill", "hard-fill", "own-fill", "time-fill", "focus", "tied", "open")),
    *((f"run-{at}", "card") for at in range(6)),
)


def colours(theme: str) -> dict[str, str]:
    style = asset("report.css")
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", style.split("}")[0]))
    dark = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", style.split("}")[1]))
    return light if theme == "light" else light | dark


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("front", "back"), TEXT)
def test_text_can_be_read(theme: str, front: str, back: str):
    found = colours(theme)
    assert contrast(found[front], found[back]) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("front", "back"), SHAPES)
def test_shapes_can_be_seen(theme: str, front: str, back: str):
    found = colours(theme)
    assert contrast(found[front], found[back]) >= 3
