"""Prompts led by the nanoGCG library, which is optional."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from reach_command import reach
from tiny_search import few_steps, live_of, prompts_of, saved, tiny_gpt2, tiny_llama

from reach.search.guided import search_prompts
from reach.search.prompts import RoundTrip
from reach.search.replay import replay_all
from reach.search.starts import Starts, Task


def search(live, level="tokens", length=2, targets=None, over=lambda: False, trip=None):
    pytest.importorskip("nanogcg", reason="nanoGCG is not installed (pip install -e '.[gcg]')")
    prompts = prompts_of(live, trip)
    starts = Starts(live, prompts.ledger, prompts.bank, None, 0)
    targets = prompts.ledger.missing(level) if targets is None else targets
    settings = few_steps(guided="nanogcg", restarts=1, steps=12)
    search_prompts(prompts, Task(level, length, targets, starts, settings, over), chance=False)
    return prompts.ledger


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize(("before", "after"), [([], []), ([3, 5], []), ([3], [9, 8])])
def test_hits_replay_between_the_fixed_tokens(make, before, after):
    live = live_of(make(), before=before, after=after)
    ledger = search(live, targets=np.arange(12))
    assert ledger.found["tokens"].sum() >= 2
    assert replay_all(live, RoundTrip(None), ledger).failed == 0
    assert {witness.how for witness in ledger.witnesses["tokens"].values()} == {"nanogcg"}
    assert ledger.tries["tokens"].sum() >= ledger.wins["tokens"].sum() > 0


def test_targets_need_no_text():
    class Mute:
        """A tokenizer that has no text for anything."""

        all_special_ids = ()
        bos_token_id = None

        def encode(self, text, **_):
            raise KeyError(text)

        def decode(self, ids, **_):
            raise KeyError(ids)

    ledger = search(live_of(tiny_llama()), targets=np.arange(8), trip=RoundTrip(Mute()))
    assert ledger.tries["tokens"][:8].sum() > 0


def test_only_prompts_that_survive_count_as_text():
    class Halves(RoundTrip):
        """Even ids survive, odd ones do not."""

        def survives(self, ids):
            return all(one % 2 == 0 for one in ids)

    trip = Halves(None)
    ledger = search(live_of(tiny_llama()), "text", targets=np.arange(12), trip=trip)
    assert all(trip.survives(witness.ids.tolist()) for witness in ledger.witnesses["text"].values())
    assert ledger.tries["text"][:12].sum() > 0


def test_time_is_kept():
    asked = []

    def over():
        asked.append(1)
        return len(asked) > 3

    ledger = search(live_of(tiny_llama()), over=over)
    assert ledger.tries["tokens"].sum() == 1
    assert ledger.effort["tokens"].sum() <= 4


def test_nothing_of_the_library_reaches_the_terminal(capfd):
    search(live_of(tiny_llama()), targets=np.arange(2))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_without_the_library_there_is_one_line_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nanogcg", None)
    monkeypatch.setitem(sys.modules, "nanogcg.gcg", None)
    outcome = reach("search", saved(tiny_llama(), tmp_path / "m"), "--run", tmp_path / "r", "--guided", "nanogcg")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "pip install 'nanogcg<0.3'" in outcome.err
    assert not (tmp_path / "r").exists()


def test_an_unknown_engine_is_one_line(tmp_path):
    outcome = reach("search", tmp_path, "--guided", "magic")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "own, nanogcg" in outcome.err
