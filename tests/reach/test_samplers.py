"""What min-p can return, by hand, and what is no threshold or temperature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach.samplers import SamplerPoint, min_p_reach, sampler_curve
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
