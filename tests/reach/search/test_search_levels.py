"""Levels: what is legal at a stricter one is legal at all looser ones."""

from __future__ import annotations

import math

import pytest
import torch

from reach.search.levels import NormRange, freedom
from reach.search.optimisers import row_optimiser

ROWS = torch.tensor([[3.0, 0.0], [0.0, 4.0], [-5.0, 0.0]])


def test_norm_range_of_rows_whose_norms_are_3_4_5():
    norms = NormRange.of(ROWS)
    assert (norms.low, norms.high) == (3.0, 5.0)
    assert norms.holds(torch.tensor([[3.0, 0.0], [0.0, 5.0], [2.9, 0.0], [0.0, 5.1]])).tolist() == [1, 1, 0, 0]


def test_norm_level_cuts_lengths_and_keeps_directions():
    level = freedom("norm", ROWS)
    e = level.embed(torch.tensor([[[30.0, 40.0], [0.3, 0.4], [0.0, 4.0]]]))
    assert level.range.holds(e).all()
    torch.testing.assert_close(e[0, 0] / e[0, 0].norm(), torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(e[0, 2], torch.tensor([0.0, 4.0]))


def test_hull_points_are_means_and_the_short_ones_do_not_count():
    level = freedom("hull", ROWS)
    x = torch.log(torch.tensor([[[1.0, 1e-9, 1e-9], [1.0, 1e-9, 0.6], [1.0, 1e-9, 1e-9]]]))
    e = level.embed(x)
    torch.testing.assert_close(e[0, 1], torch.tensor([(3 - 5 * 0.6) / 1.6, 0.0]), atol=1e-5, rtol=0)
    # The second position has length 0, so nothing after it counts either. At a row itself rounding decides.
    assert level.legal(e)[0, 1:].tolist() == [False, False]
    assert float(level.penalty(e)[0]) > 0.9


def test_hull_start_has_half_the_weight_on_its_token():
    level = freedom("hull", ROWS)
    weight = level.from_ids(torch.tensor([[2]])).softmax(-1)[0, 0]
    torch.testing.assert_close(weight, torch.tensor([0.25, 0.25, 0.5]))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lbfgs"])
def test_rows_of_an_optimiser_are_independent_and_go_downhill(name):
    """(x−1)² in each row: the row that starts in the middle of the run does what the others did."""
    optimiser = row_optimiser(name, 2, 3, 0.1, 1.0, "cpu")
    x = torch.zeros(2, 3)
    paths = [[], []]
    for step in range(60):
        if step == 30:
            paths[1].clear()
            x[1] = 0
            optimiser.reset(torch.tensor([1]))
        loss = (x - 1).square().sum(1)
        x = optimiser.step(x, 2 * (x - 1), loss)
        for row in range(2):
            paths[row].append(x[row].clone())
    torch.testing.assert_close(torch.stack(paths[0][:30]), torch.stack(paths[1]))
    assert float((x[0] - 1).norm()) < 0.3 * math.sqrt(3)
    optimiser.keep(torch.tensor([1]))
    assert optimiser.step(x[1:], 2 * (x[1:] - 1), (x[1:] - 1).square().sum(1)).shape == (1, 3)
