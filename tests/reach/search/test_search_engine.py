"""The search itself: every pass counts, single tokens equal brute force, memory and strictness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_search import few_steps, live_of, prompts_of, tiny_gpt2, tiny_llama

from reach.search.budget import BatchSize
from reach.search.guided import search_prompts
from reach.search.ledger import Ledger, Witness
from reach.search.live import LiveModel, load_live_model, winners
from reach.search.options import LEVELS
from reach.search.prompts import RoundTrip
from reach.search.replay import replay, replay_all
from reach.search.soft import optimise
from reach.search.starts import Starts, Task
from solvers.errors import BadInput


def search(live, level, length, **changes):
    prompts = prompts_of(live)
    settings = few_steps(min_margin=live.rounding, **changes)
    prompts.run(prompts.random_ids(64, length, torch.Generator().manual_seed(0)), "random", keep=True)
    starts = Starts(live, prompts.ledger, prompts.bank, None, 0)
    targets = prompts.ledger.missing(level)
    size = BatchSize(8, "cpu", live.v)
    optimise(live, prompts.ledger, Task(level, length, targets, starts, settings), size)
    return prompts.ledger


def test_winners_are_the_two_largest_and_logits_stay():
    logits = torch.tensor([[[1.0, 5.0, 3.0], [2.0, 2.0, 0.0]]])
    before = logits.clone()
    found = winners(logits)
    assert found.top[0, 0] == 1
    assert found.second[0, 0] == 2
    assert found.margin[0].tolist() == [2.0, 0.0]
    assert torch.equal(logits, before)


@pytest.mark.parametrize("name", ["stories260k", "demo"])
def test_single_tokens_equal_brute_force(name, real_models):
    from reach.demo import demo_model

    folder = demo_model() if name == "demo" else real_models / name
    live = LiveModel(load_live_model(str(folder), name), name, [1] if name == "stories260k" else [])
    prompts = prompts_of(live)
    said = prompts.single_tokens(torch.Generator().manual_seed(5))
    logits = [live.alone(ids=[token]) for token in range(len(live.rows))]
    # Where two tokens are level, rounding decides which is on top.
    close = [float(one.topk(2).values.diff().abs()) <= 1e-3 for one in logits]
    assert sum(close) < len(close) / 50
    assert all(
        near or said[token] == int(one.argmax()) for token, (one, near) in enumerate(zip(logits, close, strict=True))
    )
    clear = {int(one.argmax()) for one, near in zip(logits, close, strict=True) if not near}
    found = set(np.flatnonzero(prompts.ledger.found["tokens"]).tolist())
    assert clear <= found <= set(said.tolist())


@pytest.mark.parametrize("level", ["free", "norm", "hull"])
@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_hits_of_every_level_replay_alone(level, loss):
    live = live_of(tiny_llama())
    ledger = search(live, level, 2, loss=loss)
    assert ledger.found[level].sum() > 5
    report = replay_all(live, RoundTrip(None), ledger)
    assert report.failed == 0
    for (token, held), result in report.results.items():
        assert result.holds(token), (token, held)
        assert ledger.found[held][token]


def test_the_norm_range_reaches_every_token_of_a_real_model(real_models):
    """About 200 rows of this head are nearly equal: the head allows each of them by a margin of some 0.001 logits."""
    live = LiveModel(load_live_model(str(real_models / "stories260k"), "stories"), "stories", [1])
    prompts = prompts_of(live)
    settings = few_steps(min_margin=live.rounding, steps=60, restarts=8)
    starts = Starts(live, prompts.ledger, prompts.bank, None, 0)
    size = BatchSize(None, "cpu", live.v)
    optimise(live, prompts.ledger, Task("norm", 1, np.arange(512), starts, settings), size)
    assert prompts.ledger.found["norm"].sum() >= 508


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd", "lbfgs"])
def test_every_optimiser_finds_more_than_its_starts(optimiser):
    live = live_of(tiny_gpt2())
    by_chance = prompts_of(live)
    by_chance.run(by_chance.random_ids(64, 1, torch.Generator().manual_seed(0)), "random")
    ledger = search(live, "free", 1, optimiser=optimiser)
    assert ledger.found["free"].sum() > by_chance.ledger.found["free"].sum()


def test_prefixes_of_a_prompt_are_credited_with_their_own_length():
    live = live_of(tiny_llama())
    prompts = prompts_of(live)
    prompts.run(torch.tensor([[5, 6, 7]]), "by hand")
    for token, witness in prompts.ledger.witnesses["tokens"].items():
        assert witness.ids.tolist() == [5, 6, 7][: witness.length]
        assert int(live.alone(ids=witness.ids.tolist()).argmax()) == token


def test_credit_goes_down_and_never_up():
    ledger = Ledger(10, np.ones(10, dtype=bool))
    ledger.add(3, Witness("hull", 1, 0.5))
    assert [ledger.found[level][3] for level in LEVELS] == [True, True, True, False, False]


def test_a_witness_that_does_not_replay_is_no_hit_and_a_stricter_one_takes_its_place():
    live = live_of(tiny_llama())
    token = int(live.alone(ids=[5]).argmax())
    other = (token + 1) % live.v
    ledger = Ledger(live.v, np.ones(live.v, dtype=bool))
    ledger.add(token, Witness("free", 1, 1.0, points=np.full((1, 16), np.nan, dtype=np.float32)))
    ledger.add(token, Witness("tokens", 1, 1.0, ids=np.array([5], dtype=np.int32)))
    ledger.add(other, Witness("tokens", 1, 1.0, ids=np.array([5], dtype=np.int32)))
    report = replay_all(live, RoundTrip(None), ledger)
    assert report.failed == 2
    assert not any(ledger.found[level][other] for level in LEVELS)
    assert ledger.witnesses["free"][token].level == "tokens"


def test_embeddings_outside_the_norm_range_are_no_hit_at_that_level():
    live = live_of(tiny_llama())
    long = live.rows[5:6].numpy() * 1e4
    token = int(live.alone(points=torch.from_numpy(long)).argmax())
    assert replay(live, RoundTrip(None), token, Witness("free", 1, 1.0, points=long)).holds(token)
    assert not replay(live, RoundTrip(None), token, Witness("norm", 1, 1.0, points=long)).holds(token)


def test_guided_prompts_find_what_random_ones_do_not():
    live = live_of(tiny_llama(v=120))
    prompts = prompts_of(live)
    generator = torch.Generator().manual_seed(0)
    prompts.run(prompts.random_ids(32, 2, generator), "random", keep=True)
    before = int(prompts.ledger.found["tokens"].sum())
    starts = Starts(live, prompts.ledger, prompts.bank, None, 0)
    targets = prompts.ledger.missing("tokens")
    task = Task("tokens", 2, targets, starts, few_steps(restarts=1), generator=generator)
    search_prompts(prompts, task, chance=False)
    assert int(prompts.ledger.found["tokens"].sum()) > before
    assert replay_all(live, RoundTrip(None), prompts.ledger).failed == 0


def test_out_of_memory_halves_the_batch_and_loses_nothing(monkeypatch):
    live = live_of(tiny_llama())
    run = live.run
    sizes = []

    def limited(e, *, gradient, last=False):
        sizes.append(len(e))
        if len(e) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate a lot")
        return run(e, gradient=gradient, last=last)

    monkeypatch.setattr(live, "run", limited)
    prompts = prompts_of(live, batch=16)
    said = prompts.single_tokens(torch.Generator().manual_seed(0))
    assert (said >= 0).all()
    assert max(sizes[-3:]) <= 3
    ledger = Ledger(live.v, np.ones(live.v, dtype=bool))
    starts = Starts(live, ledger, prompts.bank, None, 0)
    settings, size = few_steps(restarts=1), BatchSize(16, "cpu", live.v)
    optimise(live, ledger, Task("free", 1, np.arange(live.v), starts, settings), size)
    assert size.shrunk >= 2
    assert (ledger.tries["free"] + ledger.found["free"] > 0).all()


def test_out_of_memory_with_one_input_is_one_line(monkeypatch):
    live = live_of(tiny_llama())

    def full(e, *, gradient):
        raise RuntimeError("not enough memory: you tried to allocate 8 bytes")

    monkeypatch.setattr(live, "run", full)
    with pytest.raises(BadInput, match="out of memory with one input"):
        prompts_of(live, batch=4).single_tokens(torch.Generator().manual_seed(0))


def test_random_prompts_take_turns_with_guided_ones():
    live = live_of(tiny_llama())
    prompts = prompts_of(live)
    starts = Starts(live, prompts.ledger, prompts.bank, None, 0)
    kinds = []
    run = prompts.run

    def watched(ids, how, **more):
        kinds.append(how)
        return run(ids, how, **more)

    prompts.run = watched
    generator = torch.Generator().manual_seed(1)
    targets = prompts.ledger.missing("tokens")
    search_prompts(prompts, Task("tokens", 2, targets, starts, few_steps(restarts=1), generator=generator))
    assert {"random", "gradient-guided"} <= set(kinds)
    tries = prompts.ledger.tries["tokens"]
    missing = prompts.ledger.missing("tokens")
    assert (tries[missing] == 1).all(), "what was not found must have had its attempt"
