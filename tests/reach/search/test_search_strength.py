"""What is measured about a search: its plants, its curves, and that their finds are checked like all others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_search import few_steps, live_of, prompts_of, tiny_llama

from reach.search.budget import Deadline
from reach.search.ledger import Witness
from reach.search.levels import CONTINUOUS
from reach.search.options import LEVELS
from reach.search.prompts import RoundTrip
from reach.search.replay import points_of, replay_all
from reach.search.strength import (
    GUIDED,
    RANDOM,
    contests,
    credit,
    draw_plants,
    measure_strength,
    optimiser_curves,
    planted_recall,
)

WITHOUT_TEXT = [level for level in LEVELS if level != "text"]


@pytest.mark.parametrize("level", WITHOUT_TEXT)
def test_plants_are_of_their_level_and_can_be_stored(level):
    prompts = prompts_of(live_of(tiny_llama()))
    plants = draw_plants(prompts, level, 2, 50, torch.Generator().manual_seed(1))
    assert plants.legal.any()
    for row in torch.nonzero(plants.legal)[:, 0].tolist():
        witness = plants.witness(row, 1.0)
        assert witness.level == level
        points = points_of(witness, prompts.live.rows)
        if points is None:
            points = prompts.live.rows[torch.from_numpy(witness.ids.astype(np.int64))]
        torch.testing.assert_close(points, plants.e[row])
        if level == "norm":
            assert prompts.live.range.holds(points).all()


@pytest.mark.parametrize("level", WITHOUT_TEXT)
def test_recall_counts_what_the_search_had_found_and_keeps_the_rest(level, monkeypatch):
    monkeypatch.setattr("reach.search.strength.PLANTS", 512)
    live = live_of(tiny_llama())
    prompts = prompts_of(live)
    generator = torch.Generator().manual_seed(3)
    nothing, finds = planted_recall(prompts, level, 2, generator)
    assert nothing.all.found == 0  # nothing had been searched
    assert nothing.all.tried == len(nothing.missed) > 3
    assert sorted(token for token, _ in finds) == list(nothing.missed)
    assert not prompts.ledger.found[level].any(), "measuring must not count as finding"
    new = credit(prompts, finds)
    assert new == len(finds) * (LEVELS.index(level) + 1)
    report = replay_all(live, RoundTrip(None), prompts.ledger)
    assert report.failed == 0
    again, more = planted_recall(prompts, level, 2, torch.Generator().manual_seed(3))
    assert again.all.found == again.all.tried
    assert more == []


def test_a_credited_witness_that_does_not_replay_is_taken_back():
    live = live_of(tiny_llama())
    prompts = prompts_of(live)
    says = int(live.alone(ids=[5]).argmax())
    good = Witness("tokens", 1, 1.0, ids=np.array([5], dtype=np.int32))
    credit(prompts, [(says, good)])
    first = replay_all(live, RoundTrip(None), prompts.ledger)
    wrong = (says + 1) % live.v
    credit(prompts, [(wrong, good)])
    second = replay_all(live, RoundTrip(None), prompts.ledger, known=first)
    assert second.failed - first.failed == 1  # one witness, however many levels it stood for
    assert second.replayed - first.replayed == 1
    assert not any(prompts.ledger.found[level][wrong] for level in LEVELS)
    assert all(prompts.ledger.found[level][says] for level in ("free", "tokens"))


def test_curves_are_of_every_optimiser_and_length_and_never_fall():
    live = live_of(tiny_llama())
    prompts = prompts_of(live)
    settings = few_steps(lengths=(1, 2), min_margin=live.rounding)
    records, finds = optimiser_curves(prompts, settings, None, WITHOUT_TEXT, Deadline.after(6.0), [].append)
    seen = {(one.level, one.length, one.method) for one in records}
    assert seen == {
        (level, length, name)
        for level in CONTINUOUS for length in (1, 2) for name in ("adam", "adamw", "sgd", "lbfgs")
    } | {("tokens", 2, GUIDED), ("tokens", 2, RANDOM)}  # fmt: skip
    for one in records:
        inputs, seconds, found = (list(column) for column in zip(*one.points, strict=True))
        assert inputs == sorted(inputs)
        assert seconds == sorted(seconds)
        assert found == sorted(found)
        assert found[-1] <= one.sample == live.v
    assert max(one.points[-1][2] for one in records) > 5
    assert not prompts.ledger.found["free"].any(), "measuring must not count as finding"
    credit(prompts, finds)
    assert replay_all(live, RoundTrip(None), prompts.ledger).failed == 0


def test_single_tokens_need_no_curve():
    assert contests(few_steps(lengths=(1,)), ["tokens", "text"]) == []


def test_measuring_keeps_to_its_share_of_the_time(monkeypatch):
    monkeypatch.setattr("reach.search.strength.PLANTS", 64)
    live = live_of(tiny_llama())
    prompts = prompts_of(live)
    told = []
    settings = few_steps(lengths=(1,), min_margin=live.rounding, budget=4.0, strength=0.5)
    record, _ = measure_strength(prompts, settings, None, ["free"], told.append)
    assert [one.length for one in record.planted] == [1]
    assert record.runs[0].sample == live.v
    assert any("adamw" in what for what in told)
    # A step that has begun is finished, so only whole multiples of the share would be wrong.
    assert sum(record.runs[0].seconds) < 4.0
