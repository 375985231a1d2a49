"""Changes of class: every count comes from one matrix, and they add up to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reach.classes import CLASSES, class_changes, classes_of
from reach.compare.domains import compare_domains
from solvers.domains import Ball
from solvers.problem import ArgmaxProblem

OWN, HARD, TIED, NEVER, UNDECIDED, NOT_ASKED = range(6)
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60)


def test_classes_by_hand() -> None:
    verdict = np.array([0, 0, 1, 2, 3, 255, -1], dtype=np.int16)
    own = np.array([True, False, True, False, False, True, False])
    assert classes_of(verdict, own).tolist() == [OWN, HARD, TIED, NEVER, UNDECIDED, NOT_ASKED, NOT_ASKED]


@given(PAIRS)
def test_every_count_is_a_part_of_the_matrix_off_its_diagonal(pairs: list[tuple[int, int]]) -> None:
    before, after = (np.array([pair[at] for pair in pairs], dtype=np.int64) for at in (0, 1))
    found = class_changes(before, after)
    assert found.compared == len(pairs)
    assert found.changed == sum(a != b for a, b in pairs)
    assert found.changed == found.verdict_changed + found.way_changed + found.asked_once
    assert found.changed == sum(count for _, _, count in found.cells())
    assert found.asked_once == sum((a == NOT_ASKED) != (b == NOT_ASKED) for a, b in pairs)
    assert found.way_changed == sum({a, b} == {OWN, HARD} for a, b in pairs)
    assert all(found.matrix[CLASSES.index(a), CLASSES.index(b)] == count for a, b, count in found.cells())


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(OWN, OWN), (NEVER, NEVER)], "All are in the same class."),
        (
            [(OWN, HARD), (HARD, OWN), (TIED, TIED)],
            "2 are in another class: none of them has another verdict, 2 moved between own-direction and "
            "hard-to-speak.",
        ),
        ([(OWN, NEVER)], "1 is in another class: it has another verdict."),
        (
            [(OWN, NEVER), (HARD, OWN), (NOT_ASKED, OWN), (OWN, NOT_ASKED), (HARD, UNDECIDED)],
            "5 are in another class: 2 of them have another verdict, 1 moved between own-direction and "
            "hard-to-speak, 2 were asked for on one side only.",
        ),
    ],
)
def test_the_sentence_says_all_of_it(pairs: list[tuple[int, int]], words: str) -> None:
    before, after = (np.array([pair[at] for pair in pairs]) for at in (0, 1))
    assert class_changes(before, after).words == words


def test_other_domains_are_counted_in_the_same_way() -> None:
    rng = np.random.default_rng(3)
    rows = torch.from_numpy(rng.standard_normal((60, 4)).astype(np.float32))
    problem = ArgmaxProblem(rows, Ball(4.0), bias=torch.from_numpy(rng.standard_normal(60).astype(np.float32)))
    found = compare_domains(problem, jobs=1)
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        ("free", "box:-100,100"), ("free", "ball:2"), ("box:-100,100", "ball:2"),
    ]  # fmt: skip
    assert any(pair.way_changed for pair in found.pairs)
    for pair in found.pairs:
        listed = [c for c in found.changes if (c.first, c.second) == (pair.first, pair.second)]
        assert pair.changed == sum(change.count for change in listed)
        matrix = {
            (CLASSES[i], CLASSES[j]): count
            for i, row in enumerate(pair.matrix)
            for j, count in enumerate(row)
            if count and i != j
        }
        assert matrix == {(change.before, change.after): change.count for change in listed}
        # Rows and columns of the matrix are the counts that the table of domains shows.
        for name, sums in ((pair.first, np.sum(pair.matrix, 1)), (pair.second, np.sum(pair.matrix, 0))):
            assert sums[OWN] == found.verdicts[name]["own-direction"]
            assert sums[HARD] == found.verdicts[name]["hard-to-speak"]
            assert sums[NEVER] == found.verdicts[name].get("unspeakable", 0)
