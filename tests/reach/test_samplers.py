"""What min-p can return, by hand, and what is no threshold or temperature."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reach_command import reach, save_head

import reach as api
from reach.samplers import SamplerPoint, brackets_of, min_p_reach, recorded_curve, sampler_curve
from solvers.errors import BadInput

LN2 = math.log(2.0)


def test_the_curve_by_hand() -> None:
    # Of margin 3, of exactly 0, between −0.2 and 0.1, −1 to −0.9, −5, and one that nothing is known of.
    lower = np.array([3.0, 0.0, -0.2, -1.0, -5.0, np.nan])
    upper = np.array([3.0, 0.0, 0.1, -0.9, -5.0, np.nan])
    assert sampler_curve(lower, upper, thresholds=(1.0, 0.5, 0.4, 0.01, 0.001)) == [
        SamplerPoint(1.0, 3, 1, 2),  # ln 1 = 0: a margin of exactly 0 never wins alone
        SamplerPoint(0.5, 2, 3, 1),  # −0.693
        SamplerPoint(0.4, 1, 3, 2),  # −0.916: inside the fourth bracket
        SamplerPoint(0.01, 1, 4, 1),  # −4.605
        SamplerPoint(0.001, 0, 5, 1),  # −6.908
    ]


def test_the_temperature_stretches_the_curve() -> None:
    lower = upper = np.array([-1.0, -2.0, -3.0])
    for temperature, out in ((1.0, 3), (2.0, 2), (10.0, 0)):
        assert sampler_curve(lower, upper, thresholds=(0.5,), temperature=temperature)[0].out_of_reach == out
    assert sampler_curve(lower, upper, temperature=1e6)[0] == SamplerPoint(1.0, 3, 0, 0)


def test_the_boundary_is_kept_and_its_neighbourhood_left_open() -> None:
    edge = -LN2
    lower = upper = np.array([edge * (1 + 1e-9), edge, edge * (1 - 1e-9)])
    found = sampler_curve(lower, upper, thresholds=(0.5,))[0]
    assert (found.out_of_reach, found.within, found.open) == (1, 1, 1)


def test_the_largest_min_p_by_hand() -> None:
    lower = np.array([3.0, 0.0, -LN2, -np.inf, np.nan, -1000.0])
    upper = np.array([4.0, 0.0, -LN2, -1.0, np.nan, -1000.0])
    least, most = min_p_reach(lower, upper)
    assert least.tolist()[:2] == [1.0, 1.0] == most.tolist()[:2]
    assert least[2] <= 0.5 <= most[2] and most[2] - least[2] < 1e-12
    assert (least[3], least[4], most[4]) == (0.0, 0.0, 1.0) and math.exp(-1) <= most[3] < 0.3679
    assert 0 <= least[5] <= most[5] < 1e-300
    hot = min_p_reach(lower, upper, temperature=2.0)
    assert hot[0][2] <= 2**-0.5 <= hot[1][2] and hot[1][2] - hot[0][2] < 1e-12


@given(margin=st.floats(-50, 5), p=st.floats(1e-6, 0.999), temperature=st.floats(0.01, 10))
def test_curve_and_largest_min_p_agree(margin: float, p: float, temperature: float) -> None:
    bounds = np.array([margin]), np.array([margin])
    point = sampler_curve(*bounds, thresholds=(p,), temperature=temperature)[0]
    least, most = min_p_reach(*bounds, temperature=temperature)
    assert least[0] <= most[0]
    assert not (point.out_of_reach and least[0] > p) and not (point.within and most[0] < p)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.0000001, math.nan, math.inf, "0.5"])
def test_what_is_no_threshold_is_refused(p: float) -> None:
    with pytest.raises(BadInput, match="threshold must be above 0 and at most 1"):
        sampler_curve(np.zeros(1), np.zeros(1), thresholds=(p,))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(BadInput, match="finite number above 0"):
        sampler_curve(np.zeros(1), np.zeros(1), temperature=temperature)
    with pytest.raises(BadInput, match="finite number above 0"):
        min_p_reach(np.zeros(1), np.zeros(1), temperature=temperature)


ROWS, OFFSETS = [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], [0.0, 0.0, -0.5]
"""Tokens 0 and 1 win on their sides; token 2 comes within 0.5 of them at 0 and no nearer."""


def test_the_curve_of_a_run() -> None:
    verdicts = api.prove(np.array(ROWS), np.array(OFFSETS), "ball:1", margin_gap=0.01)
    points = {point.p: point for point in recorded_curve(verdicts) or ()}
    assert [points[p].out_of_reach for p in (1.0, 0.7, 0.5)] == [1, 1, 0]  # exp(−0.5) = 0.607
    assert points[1.0].within == 2
    # What the model multiplies its logits by counts as well: exp(−2) = 0.135 there.
    head = replace(api.load({"W": np.array(ROWS), "b": np.array(OFFSETS)}, domain="ball:1"), logit_scale=4.0)
    points = {point.p: point for point in recorded_curve(api.scan(head, margin_gap=0.01)) or ()}
    assert [points[p].out_of_reach for p in (1.0, 0.5, 0.2, 0.1)] == [1, 1, 1, 0]
    assert recorded_curve(api.scan(replace(head, softcap=30.0), margin_gap=0.01)) is None


def test_without_offsets_no_margin_is_below_zero() -> None:
    verdicts = api.prove(np.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]]))
    assert verdicts.unspeakable.tolist() == [3]
    lower, upper = brackets_of(verdicts)
    assert (lower[3], upper[3]) == (0.0, 0.0) and (lower[:3] > 0).all()
    point = sampler_curve(lower, upper, thresholds=(0.999,))[0]
    assert (point.out_of_reach, point.within) == (0, 4)


def test_the_summary_says_it_where_margins_were_asked_for(tmp_path: Path) -> None:
    file = save_head(tmp_path / "head.npz", np.array(ROWS), b=np.array(OFFSETS))
    command = ("scan", "--head", file, "--domain", "ball:1", "--quiet", "--no-report")
    outcome = reach(*command, "--out", tmp_path / "run", "--margin-gap", "0.01")
    assert "out of reach of min-p: 1 greedily, 1 at 0.99" in outcome.out
    found = json.loads(reach(*command, "--out", tmp_path / "json", "--margin-gap", "0.01", "--json").out)["min_p"]
    assert found[0] == {"p": 1.0, "out_of_reach": 1, "within": 2, "open": 0}
    assert "min_p" not in json.loads(reach(*command, "--out", tmp_path / "plain", "--json").out)
