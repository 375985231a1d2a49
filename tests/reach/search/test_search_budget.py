"""A search keeps to its budget in all that it does: shown on a clock of our own, on however busy a machine."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from tiny_search import few_steps, live_of, prompts_of, tiny_llama

from reach.loading import Loading
from reach.search.budget import BatchSize, Checks, Deadline, Pace, Timetable
from reach.search.ledger import Ledger, Witness
from reach.search.optimisers import row_optimiser
from reach.search.options import LEVELS
from reach.search.prompts import RoundTrip
from reach.search.replay import replay_all
from reach.search.run import SearchOrder, search_to_folder
from reach.search.soft import optimise
from reach.search.starts import Starts, Task
from reach.vocabulary import load_vocabulary


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def slowed(live, clock, *, step, position, alone):
    """The model as if it took so many seconds per pass, per position of a pass, and per input run alone."""
    run, one = live.run, live.alone

    def slow_run(e, **more):
        clock.now += step + position * e.shape[0] * e.shape[1] * (3 if more["gradient"] else 1)
        return run(e, **more)

    def slow_alone(**more):
        clock.now += alone
        return one(**more)

    live.run, live.alone = slow_run, slow_alone
    return live


def searched(out, clock, live, **changes):
    settings = few_steps(**{"restarts": 10_000, "steps": 30, **changes})
    order = SearchOrder("tiny", Loading("tiny"))
    return search_to_folder(
        live, RoundTrip(None), load_vocabulary(None, live.v), None, out, settings, order, clock=clock
    )


@pytest.mark.parametrize(
    ("budget", "step", "position", "alone"),
    [
        (60, 0.25, 0.0005, 0.02),  # a model like the small ones that one finds
        (60, 0.1, 0.02, 0.3),  # one so large that a single input takes a tenth of a second, and a replay three
        (10, 0.03, 0.001, 0.01),
        (600, 1.0, 0.1, 0.5),
    ],
)
def test_all_that_a_search_does_takes_its_budget_within_a_tenth(tmp_path, budget, step, position, alone):
    clock = Clock()
    live = slowed(live_of(tiny_llama()), clock, step=step, position=position, alone=alone)
    began = clock.now
    record = searched(tmp_path, clock, live, budget=budget)
    assert record.incomplete, "this search should not have come to an end by itself"
    took = clock.now - began
    assert 0.9 * budget <= took <= 1.1 * budget
    assert record.seconds == pytest.approx(took)
    assert sum(msgspec.structs.astuple(record.parts)) == pytest.approx(took)
    # Every part had its turn: what is measured is measured.
    assert record.replay.replayed > 0
    assert record.strength.planted[0].inputs > 0
    assert {one.level for one in record.strength.runs} == set(record.levels)
    share = record.parts.measuring / budget
    assert 0.15 <= share <= 0.4


def test_a_search_that_has_nothing_left_to_try_ends_early(tmp_path):
    clock = Clock()
    live = slowed(live_of(tiny_llama()), clock, step=0.01, position=0.0, alone=0.01)
    record = searched(tmp_path, clock, live, budget=600, restarts=1, levels=("free", "norm"), strength=0.0)
    assert record.incomplete == ()
    assert record.seconds < 300


def test_single_tokens_that_time_did_not_suffice_for_are_named(tmp_path):
    clock = Clock()
    live = slowed(live_of(tiny_llama()), clock, step=0.0, position=1.0, alone=0.1)
    record = searched(tmp_path, clock, live, budget=20, lengths=(1,), levels=("tokens",))
    assert record.incomplete == ("single, tokens, length 1",)
    assert record.seconds <= 22


def test_time_is_kept_for_the_replays_and_what_is_not_replayed_does_not_count(tmp_path):
    clock = Clock()
    # A replay takes longer than finding: there is time for some of them only.
    live = slowed(live_of(tiny_llama()), clock, step=0.05, position=0.0, alone=1.0)
    record = searched(tmp_path, clock, live, budget=20, strength=0.0, repeat=False)
    replay = record.replay
    assert replay.replayed >= 5
    assert replay.unchecked > 0
    assert record.seconds <= 22
    found = {row.level: row.tokens for row in record.funnel}
    assert found["free"] <= replay.replayed
    counts = [found[level] for level in record.levels]
    assert counts == sorted(counts, reverse=True)


def test_an_interrupted_search_has_spent_what_it_had_spent():
    clock = Clock()
    ledger = Ledger(3, np.ones(3, dtype=bool), clock=clock)
    ledger.before = 50.0
    times = Timetable(few_steps(budget=60.0, strength=0.0, repeat=False), ledger, Checks(ledger))
    assert times.search.left == pytest.approx(10.0)


def test_threads_are_as_they_were_before_whatever_happens(tmp_path):
    live, threads = live_of(tiny_llama()), torch.get_num_threads()
    order, names = SearchOrder("tiny", Loading("tiny")), load_vocabulary(None, live.v)
    asked = few_steps(budget=0.2, strength=0.0, repeat=False, lengths=(1,), jobs=1)
    try:
        torch.set_num_threads(3)
        search_to_folder(live, RoundTrip(None), names, None, tmp_path / "run", asked, order)
        assert torch.get_num_threads() == 3
        live.run = None  # every pass fails
        with pytest.raises(TypeError):
            search_to_folder(live, RoundTrip(None), names, None, tmp_path / "other", asked, order)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


# --- parts ----------------------------------------------------------------------------------------------------------


def test_a_part_of_a_deadline_is_over_no_later_than_the_whole():
    clock = Clock()
    whole = Deadline.after(10.0, clock)
    part, long = whole.part(0.3), whole.within(99.0)
    assert (part.left, long.left) == (pytest.approx(3.0), pytest.approx(10.0))
    clock.now += 4.0
    assert part()
    assert not long()
    assert whole.part(0.5).left == pytest.approx(3.0)
    clock.now += 6.0
    assert whole()
    assert long()
    assert whole.left == 0.0


def test_what_must_be_kept_free_is_asked_anew():
    clock = Clock()
    ledger = Ledger(5, np.ones(5, dtype=bool), clock=clock)
    checks = Checks(ledger)
    checks.replayed(4, 2.0)
    times = Timetable(few_steps(budget=10.0, strength=0.0, repeat=False), ledger, checks)
    assert times.search.left == pytest.approx(10.0)
    for token in range(3):
        ledger.add(token, Witness("free", 1, 1.0))
    assert times.search.left == pytest.approx(8.5)  # three replays of half a second
    ledger.add(0, Witness("free", 1, 1.0))  # known already: nothing is kept for it
    assert times.search.left == pytest.approx(8.5)
    checks.settle(0)
    assert times.search.left == pytest.approx(10.0)


def test_steps_grow_while_they_are_short_and_shrink_when_they_are_not():
    pace = Pace(0.1)
    size = BatchSize(None, "cpu", 40, pace)
    sizes = []
    for cost in [0.001] * 6 + [0.02] * 6:
        count = size.at(2)
        size.note(count, 2, cost * 2 * count)
        sizes.append(count)
    assert sizes[0] == 8  # nothing is known yet
    assert max(sizes) == sizes[5] == 50  # 100 positions of a millisecond
    assert sizes[-1] <= 3
    assert 1 <= pace.within(0.02).room("forward") <= 2
    # Remainders of a batch, whose price is what any step costs, do not count.
    fast = Pace(0.1)
    fast.note("forward", 64, 0.0064)
    fast.note("forward", 1, 0.005)
    assert fast.room("forward") == 256


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "lbfgs"])
def test_new_rows_of_an_optimiser_leave_the_others_alone(name):
    torch.manual_seed(0)
    target = torch.randn(5, 3)

    def run(rows, grow_at):
        downhill = row_optimiser(name, rows, 3, None, 1.0, "cpu")
        x = torch.zeros(rows, 3)
        for step in range(6):
            if step == grow_at:
                downhill.grow(2)
                x = torch.cat([x, torch.ones(2, 3)])
            gap = x - target[: len(x)]
            x = downhill.step(x, 2 * gap, gap.square().sum(1))
        return x

    torch.testing.assert_close(run(3, 2)[:3], run(3, None))


def test_slots_grow_with_the_pace_and_every_target_has_its_turn():
    live = live_of(tiny_llama())
    clock, sizes = Clock(), []
    slowed(live, clock, step=0.001, position=0.0, alone=0.0)
    run = live.run

    def watched(e, **more):
        sizes.append(len(e))
        return run(e, **more)

    live.run = watched
    prompts = prompts_of(live)
    ledger = Ledger(live.v, np.ones(live.v, dtype=bool), clock=clock)
    settings = few_steps(restarts=1, steps=4, min_margin=1e9)  # nothing ever counts as found
    starts = Starts(live, ledger, prompts.bank, None, 0)
    size = BatchSize(None, "cpu", live.v, Pace(1.0), "step")
    optimise(live, ledger, Task("free", 4, np.arange(40), starts, settings), size)
    assert sizes[0] == 4
    assert max(sizes) > 8
    assert (ledger.tries["free"] == 1).all()


def test_replays_begin_with_the_alarms_then_with_the_strictest():
    live = live_of(tiny_llama())
    says = [int(live.alone(ids=[one]).argmax()) for one in range(live.v)]
    tokens = list(dict.fromkeys(says))[:4]
    ledger = Ledger(live.v, np.ones(live.v, dtype=bool))
    for token in tokens:
        ids = np.array([says.index(token)], dtype=np.int32)
        ledger.add(token, Witness("free", 1, 1.0, points=live.rows[ids].numpy()))
        ledger.add(token, Witness("tokens", 1, 1.0, ids=ids))
    first = np.zeros(live.v, dtype=bool)
    first[tokens[3]] = True
    asked = []

    def over():
        asked.append(1)
        return len(asked) > 4

    report = replay_all(live, RoundTrip(None), ledger, first=first, time_is_up=over)
    # Both witnesses of the alarm, then two prompts: each of them holds at the level of the lost embeddings too.
    assert (report.replayed, report.failed, report.unchecked) == (4, 0, 4)
    kept = {token for token in tokens if ledger.found["tokens"][token]}
    assert len(kept) == 3
    assert tokens[3] in kept
    assert all(ledger.found[level][token] for token in kept for level in LEVELS[:4])
    assert {token for token, _ in report.results} == kept
