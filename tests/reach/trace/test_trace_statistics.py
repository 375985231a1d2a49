"""The statistics of a trace: by hand, against planted truths, and under their own nulls."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, spearmanr

from reach.runs.schema import VERDICT_NAMES
from reach.trace.association import overlap, rank_correlation
from reach.trace.changes import changes
from reach.trace.factors import paired_difference
from reach.trace.leaps import adjusted, concentration, leaps, normal_scores
from reach.trace.outliers import FAR, outlying, robust_z
from reach.trace.resampling import drawn_counts, interval
from reach.trace.variance import components, split

S, T, U, Q, N = 0, 1, 2, 3, 255
LIGHT = {"draws": 300, "shuffles": 60, "seed": 0}


def of(*rows: tuple[int, ...]) -> np.ndarray:
    """Verdicts of tokens, a row per token, as steps by tokens."""
    return np.array(rows, dtype=np.uint8).T


# --- when -----------------------------------------------------------------------------------------------------------


def test_the_codes_are_those_of_the_verdicts():
    assert [VERDICT_NAMES[code] for code in (S, T, U, Q)] == ["speakable", "tied", "unspeakable", "undecided"]


@pytest.mark.parametrize(
    ("verdicts", "became", "stopped", "count", "turns"),
    [
        ((U, U, S, S), (1, 2), (-1, -1), 1, 1),
        ((S, S, S, S), (-1, -1), (-1, -1), 0, 0),
        ((S, U, S, S), (1, 2), (0, 1), 2, 2),
        ((U, Q, Q, S), (0, 3), (-1, -1), 1, 1),  # it happened somewhere between the decided ends
        ((Q, U, S, Q), (1, 2), (-1, -1), 1, 1),
        ((U, T, S, T), (1, 2), (2, 3), 3, 2),  # tied is another verdict, and not speakable
        ((N, S, N, U), (-1, -1), (1, 3), 1, 1),
        ((Q, Q, Q, Q), (-1, -1), (-1, -1), 0, 0),
    ],
)
def test_changes_lie_between_decided_checkpoints(verdicts, became, stopped, count, turns):
    found = changes(of(verdicts))
    assert (tuple(found.became[0]), tuple(found.stopped[0])) == (became, stopped)
    assert (found.count[0], found.turns[0], found.oscillates[0]) == (count, turns, turns > 1)


@given(st.lists(st.lists(st.sampled_from([S, T, U, Q, N]), min_size=4, max_size=4), min_size=1, max_size=6))
def test_undecided_steps_change_nothing_but_how_well_a_change_is_placed(rows):
    found = changes(of(*map(tuple, rows)))
    for at, row in enumerate(rows):
        decided = [(place, code) for place, code in enumerate(row) if code < Q]
        turns = [(a, b) for (a, one), (b, other) in pairwise(decided) if (one == S) != (other == S)]
        assert found.turns[at] == len(turns)
        assert found.first[at] == (decided[0][0] if decided else -1)
        assert found.last[at] == (decided[-1][0] if decided else -1)
        ups = [pair for pair in turns if row[pair[1]] == S]
        assert tuple(found.became[at]) == (ups[-1] if ups else (-1, -1))


# --- sudden or smooth -----------------------------------------------------------------------------------------------


def test_concentration_by_hand():
    assert concentration(np.array([[3.0, 1.0, 0.0], [4.0, 1.0, 0.0]])).tolist() == [16 / 25, 0.5, 0.0]


def test_normal_scores_by_hand_and_ties():
    scores = normal_scores(np.array([[5.0, -2.0, 100.0], [1.0, 1.0, 1.0]]))
    assert scores[0] == pytest.approx([0.0, -0.9674216, 0.9674216])
    assert scores[1].tolist() == [0.0, 0.0, 0.0]


def test_benjamini_and_hochberg_by_hand():
    assert adjusted(np.array([0.01, 0.5, 0.04, 0.02])) == pytest.approx([0.04, 0.5, 0.16 / 3, 0.04])


@given(st.lists(st.floats(0.0001, 1.0), min_size=1, max_size=20))
def test_adjusted_values_keep_the_order_and_lie_above(p):
    q = adjusted(np.array(p))
    assert (q >= np.array(p) - 1e-12).all()
    assert (q <= 1).all()
    assert (np.diff(q[np.argsort(p, kind="stable")]) >= -1e-12).all()


def walk(n: int, steps: int, rng: np.random.Generator, spread: float = 0.0) -> np.ndarray:
    """Margins of tokens that go along one uneven path, each with noise of its own size."""
    path = np.cumsum(rng.uniform(0, 3, steps))[:, None]
    size = np.exp(spread * rng.standard_normal(n)) * rng.uniform(0.5, 2, (steps, 1))
    return path + np.cumsum(size * rng.standard_t(4, (steps, n)), axis=0)


def test_null_p_values_are_uniform():
    p = np.concatenate(
        [leaps(walk(300, 9, np.random.default_rng(seed)), shuffles=40, seed=seed).p for seed in range(5)]
    )
    assert kstest(p, "uniform").pvalue > 0.001
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_where_tokens_move_differently_much_p_values_are_too_large_not_too_small():
    p = leaps(walk(1500, 9, np.random.default_rng(1), spread=1.0), shuffles=40, seed=0).p
    for level in (0.01, 0.05, 0.2):
        assert (p < level).mean() < level + 0.01


def test_planted_leaps_are_found_at_their_interval_and_nothing_else():
    rng = np.random.default_rng(3)
    margin = walk(600, 12, rng)
    still = np.median(margin, axis=1)[:, None] + 0.02 * np.cumsum(rng.standard_normal((12, 6)), axis=0)
    margin[:, :6] = still
    margin[7:, :6] += 8.0  # between checkpoints 6 and 7
    found = leaps(margin, shuffles=200, seed=0)
    called = np.flatnonzero(found.q <= 0.05)
    assert set(range(6)) <= set(called.tolist())
    assert len(called) <= 8
    assert found.at[:6].tolist() == [6] * 6
    assert found.leap[:6].min() > 0.9
    assert found.leap[6:].mean() < 0.6


def test_the_path_that_all_share_makes_no_token_sudden():
    rng = np.random.default_rng(4)
    margin = walk(400, 8, rng)
    leap = np.zeros((8, 1))
    leap[5:] = 1000.0
    plain, lifted = (leaps(one, shuffles=20, seed=0) for one in (margin, margin + leap))
    assert plain.p.tolist() == pytest.approx(lifted.p.tolist(), abs=0.01)
    assert lifted.common > 0.9 > plain.common
    assert np.nanmin(lifted.share) > 0.9


def test_tokens_that_are_not_known_throughout_are_not_judged():
    margin = walk(40, 6, np.random.default_rng(5))
    margin[2, 7] = math.nan
    found = leaps(margin, shuffles=20, seed=0)
    assert np.flatnonzero(np.isnan(found.p)).tolist() == [7]
    assert found.at[7] == -1
    assert leaps(margin[:3], shuffles=20, seed=0) is None
    assert leaps(margin[:, :9], shuffles=20, seed=0) is None


# --- outliers -------------------------------------------------------------------------------------------------------


def test_robust_z_by_hand():
    z = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0, math.nan]))
    assert z[:5] == pytest.approx(np.array([-2, -1, 0, 1, 97]) / 1.4826)
    assert np.isnan(z[5])
    assert np.isnan(robust_z(np.full(5, 2.0))).all()


def test_a_planted_stranger_is_an_outlier_in_its_own_class():
    rng = np.random.default_rng(6)
    margin = rng.standard_normal((5, 200))
    margin[:, 100:] += 50.0  # another class, far away as a whole
    margin[:, 3] += np.array([1, 1, 40, 1, 1]) * 8.0
    classes = np.repeat([0, 1], 100)
    z = outlying(margin, classes)
    assert np.argmax(z) == 3
    assert z[3] > FAR
    assert (z > FAR).sum() <= 3
    assert np.isnan(outlying(margin[:, :10], classes[:10])).all()


# --- agreement ------------------------------------------------------------------------------------------------------


def test_draws_are_samples_with_replacement():
    counts = np.concatenate(list(drawn_counts(7, 50, np.random.default_rng(0))))
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_an_interval_of_a_mean_is_about_two_standard_errors():
    values = np.random.default_rng(0).standard_normal(400)
    found = interval(values.mean(), values[:, None], lambda means: means[:, 0], 4000, 0)
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.012)


def test_rank_correlation_is_spearmans_and_knows_chance():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(500)
    y = np.exp(x + rng.standard_normal(500))
    y[:3] = math.nan
    found = rank_correlation(x, y, **LIGHT)
    assert found.rho.value == pytest.approx(spearmanr(x[3:], y[3:]).statistic)
    assert found.rho.low < found.rho.value < found.rho.high
    assert found.tokens == 497
    assert (found.shuffled_low, found.shuffled_high) == pytest.approx((-0.088, 0.088), abs=0.04)
    assert rank_correlation(x, np.ones(500), **LIGHT) is None
    assert rank_correlation(x[:3], y[-3:], **LIGHT) is None


def test_rank_correlations_intervals_hold_the_truth_about_19_times_in_20():
    rng = np.random.default_rng(2)
    truth = 6 / math.pi * math.asin(0.6 / 2)  # Spearman's rho of normal pairs with correlation 0.6
    held = 0
    for at in range(200):
        x = rng.standard_normal(150)
        found = rank_correlation(x, 0.6 * x + 0.8 * rng.standard_normal(150), draws=200, shuffles=20, seed=at)
        held += found.rho.low <= truth <= found.rho.high
    assert 178 <= held <= 200


def test_overlap_by_hand():
    one, other = np.zeros(10, bool), np.zeros(10, bool)
    one[:4] = other[1:4] = True
    found = overlap(one, other, np.ones(10, bool), draws=200, seed=0)
    assert (found.tokens, found.one, found.other, found.both, found.expected) == (10, 4, 3, 3, pytest.approx(1.2))
    assert found.p == pytest.approx(4 / 120)  # C(4,3)·C(6,0)/C(10,3)
    assert found.kappa.value == pytest.approx((0.9 - 0.54) / 0.46)
    assert found.kappa.low <= found.kappa.value <= found.kappa.high


def test_overlap_of_nothing_and_of_what_is_not_decided():
    none = np.zeros(6, bool)
    assert overlap(none, none, np.ones(6, bool), draws=20, seed=0).kappa is None
    assert overlap(none, none, none, draws=20, seed=0) is None
    known = np.array([1, 1, 1, 0, 0, 0], bool)
    found = overlap(~none, none, known, draws=20, seed=0)
    assert (found.tokens, found.one, found.both) == (3, 3, 0)


def test_overlaps_of_independent_sets_are_seldom_called_large():
    rng = np.random.default_rng(0)
    p = [
        overlap(rng.random(400) < 0.1, rng.random(400) < 0.1, np.ones(400, bool), draws=20, seed=0).p
        for _ in range(400)
    ]
    assert np.mean(np.array(p) < 0.05) <= 0.08


# --- token, seed and rest -------------------------------------------------------------------------------------------


def test_components_by_hand():
    # Rows 1,3 / 2,4 / 6,8: MS_token = 14, MS_seed = 6, MS_rest = 0.
    assert components(np.array([[1.0, 3.0], [2.0, 4.0], [6.0, 8.0]])).tolist() == pytest.approx([7.0, 2.0, 0.0])
    # Rows 0,2 / 2,2 / 0,0: MS_token = 2, MS_rest = 2/3, and the seeds differ by less than the rest explains.
    assert components(np.array([[0.0, 2.0], [2.0, 2.0], [0.0, 0.0]])).tolist() == pytest.approx([2 / 3, 0.0, 2 / 3])


@given(
    st.integers(0, 2**31),
    st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0.3, 3)),
)
@settings(max_examples=15, deadline=None)
def test_planted_shares_come_back(seed, sizes):
    rng = np.random.default_rng(seed)
    token, column, rest = sizes
    n, s = 3000, 12
    columns = rng.standard_normal(s)
    columns = (columns - columns.mean()) / columns.std(ddof=1)  # its own spread is what is asked for, not a law's
    values = token * rng.standard_normal((n, 1)) + column * columns + rest * rng.standard_normal((n, s))
    found = split(values, **LIGHT)
    whole = token**2 + column**2 + rest**2
    assert found.token.value == pytest.approx(token**2 / whole, abs=0.05)
    assert found.seed.value == pytest.approx(column**2 / whole, abs=0.05)
    assert found.token.value + found.seed.value + found.rest.value == pytest.approx(1)
    for one in (found.token, found.seed, found.rest):
        assert 0 <= one.low <= one.value <= one.high <= 1


def test_seeds_that_share_nothing_look_like_shuffled_tokens():
    above = 0
    for seed in range(40):
        values = np.random.default_rng(seed).standard_normal((200, 3))
        found = split(values, draws=40, shuffles=60, seed=seed)
        above += found.token.value > found.shuffled_token
    assert above <= 6  # 2 expected


def test_intervals_hold_the_tokens_share_about_19_times_in_20():
    held, truth = 0, 0.5
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = rng.standard_normal((250, 1)) + rng.standard_normal((250, 3))
        found = split(values, draws=200, shuffles=20, seed=seed)
        held += found.token.low <= truth <= found.token.high
    assert 86 <= held <= 100


def test_a_split_needs_two_seeds_four_tokens_and_variance():
    values = np.random.default_rng(0).standard_normal((6, 3))
    values[:2, 0] = math.nan
    assert split(values, **LIGHT).tokens == 4
    assert split(values[:5], **LIGHT) is None
    assert split(values[2:, :1], **LIGHT) is None
    assert split(np.ones((6, 2)), **LIGHT) is None
    assert split(values, **LIGHT).without != ()


# --- levels ---------------------------------------------------------------------------------------------------------


def test_paired_differences_by_hand():
    found = paired_difference([3.0, 5.0, 7.0], [2.0, 3.0, 4.0])
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(4.302653 / math.sqrt(3))  # t of 2 degrees of freedom, s = 1
    assert paired_difference([1.0], [2.0]) is None
