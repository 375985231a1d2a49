"""Checkpoints of one training run among other runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.index_runs import IndexedRun
from reports.index_series import places_of


def run(name: str, **values: object) -> IndexedRun:
    return replace(IndexedRun(name, family="GPT2", v=600, d=16, group="its norm"), **values)


def series(*names: str) -> list[tuple[str, int, bool] | None]:
    found = places_of([run(name) for name in names])
    return [None if one is None else (one.series, one.step, one.last) for one in found]


def test_checkpoints_in_one_folder_are_a_series_and_the_largest_number_is_its_last():
    names = ("adamw-seed-0/checkpoint-9", "adamw-seed-0/checkpoint-21", "adamw-seed-1/checkpoint-9", "demo")
    assert series(*names) == [("adamw-seed-0", 9, False), ("adamw-seed-0", 21, True), None, None]


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (("pythia-70m/step1000", "pythia-70m/step143000"), "pythia-70m"),
        (("olmo-step1000-tokens2B", "olmo-step2000-tokens4B"), "olmo"),
        (("m@global_step_1", "m@global_step_2"), "m"),
        (("checkpoint-1", "checkpoint-2"), "checkpoints"),
        (("zoo/a-epoch-01", "zoo/a-epoch-02"), "zoo/a"),
    ],
)
def test_the_usual_names_of_checkpoints_are_known(names: tuple[str, str], title: str):
    assert [one[0] for one in series(*names) if one] == [title, title]


def test_what_merely_ends_in_a_number_is_no_checkpoint():
    assert series("gpt-2", "gpt-3", "seed-0", "seed-1", "llama-7b", "misstep") == [None] * 6


def test_other_heads_and_other_domains_are_other_series():
    names = [f"a/checkpoint-{at}" for at in range(4)]
    runs = [run(names[0]), run(names[1], group="free"), run(names[2], v=700), run(names[3], problem="damaged")]
    assert places_of(runs) == [None] * 4
    two = places_of([run(names[0]), run(names[1], group="free"), run(names[2], group="free"), run(names[3])])
    assert [one and (one.key, one.last) for one in two] == [(0, False), (1, False), (1, True), (0, True)]
