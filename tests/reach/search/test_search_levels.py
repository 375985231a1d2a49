"""Levels: what is legal at a stricter one is legal at all looser ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny_search import live_of, tiny_llama

from reach.search.levels import InHull, NormRange, freedom
from reach.search.live import winners
from reach.search.optimisers import row_optimiser
from reach.search.prompts import RoundTrip
from reach.search.replay import replay
from reach.search.soft import EVENLY, HullWitnesses, weighted_mean

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


def test_hull_witnesses_name_few_rows_and_still_win():
    live = live_of(tiny_llama(v=200))
    space = InHull(live.rows)
    make = HullWitnesses(live, space)
    generator = torch.Generator().manual_seed(0)
    short = 0
    for trial in range(20):
        # Given weights that are nearly even but for one row, as an attempt leaves them
        x = 0.15 * torch.randn(1, 2, 200, generator=generator)
        x[0, :, trial] += 9
        found = winners(live.run(space.embed(x), gradient=False, last=True).logits)
        token, margin = int(found.top[0, -1]), float(found.margin[0, -1])
        # When they are stored
        witness = make(x, 0, 2, margin, token)
        # Then the stored input still brings up the token
        result = replay(live, RoundTrip(None), token, witness)
        assert result.argmax == token
        assert all((weight >= 0).all() for _, weight in witness.weights)
        assert all(float(weight.sum()) == pytest.approx(1, abs=1e-5) for _, weight in witness.weights)
        short += len(witness.weights[0][0]) <= 65
    assert short >= 10


def test_a_row_of_all_rows_is_their_mean():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    # Half of it all, half the first row: (½ + ½·1, ½·0 + ½·1)
    point = weighted_mean(rows, np.array([0, EVENLY]), np.array([0.5, 0.5]))
    torch.testing.assert_close(point, torch.tensor([1.0, 0.5]))
