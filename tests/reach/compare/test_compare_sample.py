from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reach.compare.sample import STRATA, Judged, judged_from_scan, judged_from_table, stratified_sample
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.tables import build_tables
from reach.vocabulary import Vocabulary
from solvers.domains import Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


def judged(own: int = 0, hard: int = 0, tied: int = 0, undecided: int = 0, unspeakable: int = 0) -> Judged:
    """Own-direction tokens first, with margins 1, 2, …; then the hard ones with margins 0.001, 0.002, …"""
    verdict = ["speakable"] * (own + hard) + ["tied"] * tied + ["undecided"] * undecided
    verdict += ["unspeakable"] * unspeakable
    v = len(verdict)
    margin = np.concatenate([np.arange(1.0, own + 1), np.arange(1, hard + 1) / 1000, np.zeros(v - own - hard)])
    first = np.arange(v)
    first[own + hard : own + hard + tied] = own + hard
    return Judged(np.array(verdict, dtype=object), np.arange(v) < own, margin, first)


def test_equal_strata_where_all_are_large() -> None:
    table = judged(own=400, hard=100, tied=2, undecided=3, unspeakable=50)
    sample = stratified_sample(table, 80, seed=1)
    assert sample.sizes == dict.fromkeys(STRATA, 20)
    near = set(sample.of("nearly-tied").tolist())
    # All undecided (502–504) and one of the two tied (500 stands for the class); then the hard tokens, whose margins
    # are the smallest: 16 of them, which leaves the hard stratum more than it needs.
    assert {502, 503, 504, 500} <= near
    assert 501 not in near
    assert near - {500, 502, 503, 504} == set(range(400, 416))


def test_small_strata_are_taken_whole_and_the_rest_shared() -> None:
    table = judged(own=400, hard=3, undecided=1, unspeakable=2)
    sample = stratified_sample(table, 45, seed=1)
    # 2 unspeakable and 3 hard are all there are; 40 are left for the other two.
    assert sample.sizes == {"own-direction": 20, "hard-to-speak": 3, "nearly-tied": 20, "unspeakable": 2}
    # The hard ones have the smallest margins, but are needed by their own stratum: 405 is undecided, the others own.
    assert set(sample.of("nearly-tied").tolist()) == {403, *range(19)}


def test_padding_does_not_crowd_out_near_ties() -> None:
    # 500 equal padding rows stand for one token.
    sample = stratified_sample(judged(own=400, hard=100, tied=500), 90, seed=1)
    assert (sample.of("nearly-tied") >= 500).sum() == 1


@given(
    sizes=st.tuples(*[st.integers(0, 12)] * 5).filter(lambda sizes: sum(sizes) > 0),
    share=st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_any_sample_is_fair_and_complete(sizes: tuple[int, ...], share: float, seed: int) -> None:
    own, hard, tied, undecided, unspeakable = sizes
    table = judged(*sizes)
    size = max(1, round(share * sum(sizes)))
    sample, again = stratified_sample(table, size, seed), stratified_sample(table, size, seed)
    assert sample.tokens.tolist() == again.tokens.tolist()
    assert len(set(sample.tokens.tolist())) == len(sample.tokens) == size
    for name, members in (
        ("own-direction", range(own)),
        ("hard-to-speak", range(own, own + hard)),
        ("nearly-tied", range(own + hard + tied + undecided)),
        ("unspeakable", range(own + hard + tied + undecided, sum(sizes))),
    ):
        assert set(sample.of(name).tolist()) <= set(members)
    # Whoever has two less than another stratum has nothing left to give.
    most = max(sample.sizes.values())
    if sample.sizes["unspeakable"] < most - 1:
        assert sample.sizes["unspeakable"] == unspeakable
    if sample.sizes["own-direction"] < most - 1:
        assert set(range(own)) <= set(sample.tokens.tolist())
    if sample.sizes["hard-to-speak"] < most - 1:
        assert set(range(own, own + hard)) <= set(sample.tokens.tolist())


def test_another_seed_draws_another_sample() -> None:
    table = judged(own=1000, unspeakable=1000)
    first, other = (stratified_sample(table, 60, seed).tokens.tolist() for seed in (1, 2))
    assert first != other


def test_a_sample_larger_than_the_vocabulary_is_refused() -> None:
    table = judged(own=5)
    assert sorted(stratified_sample(table, 5).tokens.tolist()) == [0, 1, 2, 3, 4]
    for size, match in ((6, "a sample of 6 tokens.*only 5 were judged"), (0, "at least 1 token")):
        with pytest.raises(BadInput, match=match) as caught:
            stratified_sample(table, size)
        assert "\n" not in str(caught.value)
    # Tokens that were not asked for do not count.
    table.verdict[:2] = None
    with pytest.raises(BadInput, match="only 3 were judged"):
        stratified_sample(table, 4)


def test_a_scan_and_its_table_say_the_same() -> None:
    # The corners of a square, its centre, a point on an edge that is not its own direction's winner, and equal rows.
    rows = [[2, 2], [2, -2], [-2, 2], [-2, -2], [0, 0], [2.25, 1], [-2, -2], [0, 0]]
    problem = ArgmaxProblem(torch.tensor(rows, dtype=torch.float32), Free())
    result = scan(problem, ScanSettings(), tokens=np.arange(7))
    direct = judged_from_scan(problem, result)
    assert direct.verdict.tolist() == [
        "speakable", "speakable", "speakable", "tied", "unspeakable", "speakable", "tied", None,
    ]  # fmt: skip
    assert direct.own_direction.tolist()[:3] == [True] * 3
    assert not direct.own_direction[5]
    vocabulary = Vocabulary([None] * 8, [None] * 8, [])
    stored = judged_from_table(build_tables(problem, result, vocabulary).verdicts)
    asked = np.array([word is not None for word in direct.verdict])
    assert stored.verdict.tolist() == direct.verdict.tolist()
    assert stored.own_direction[asked].tolist() == direct.own_direction[asked].tolist()
    finite = asked & (direct.verdict != "unspeakable")
    assert stored.relative_margin[finite] == pytest.approx(direct.relative_margin[finite])
    assert stored.first_of[[3, 6]].tolist() == direct.first_of[[3, 6]].tolist() == [3, 3]
