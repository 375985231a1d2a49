from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reach.compare.planted import SMALLEST_LEVEL, PlantedHead, planted_head
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE, UNSPEAKABLE
from solvers.checks.exact import bound_by_weights, hull_membership, inside_domain, witness_beats
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import check_witnesses
from solvers.domains import Ball, Box, Free
from solvers.errors import BadInput

SMALL = {"d": 8, "v": 130, "levels": (1.0, 0.3, 1e-2, 1e-6, 1e-10, 0.0), "per_level": 2}


def exact(values: object) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def assert_proved(head: PlantedHead) -> None:
    """Every planted margin, from above and from below, in rational arithmetic written out here."""
    problem = head.problem
    radius = Fraction(problem.domain.radius) if isinstance(problem.domain, Ball) else Fraction(1)
    rows = [exact(row) for row in problem.weight]
    offset = exact(problem.offset)
    for i, t in enumerate(head.rows.tolist()):
        u = exact(head.directions[i])
        assert sum(x * x for x in u) == 1
        # From below: at R·u, which the open ball comes as near to as one likes.
        logits = [
            radius * sum(a * x for a, x in zip(row, u, strict=True)) + c for row, c in zip(rows, offset, strict=True)
        ]
        reached = logits[t] - max(logit for j, logit in enumerate(logits) if j != t)
        # From above: R·‖v(λ)‖ + δ(λ).
        pair = head.hulls.of(i)
        assert pair is not None
        index, lam = pair[0].tolist(), exact(pair[1])
        assert t not in index
        assert min(lam) >= 0
        assert sum(lam) == 1
        v = [a - sum(w * rows[j][k] for j, w in zip(index, lam, strict=True)) for k, a in enumerate(rows[t])]
        delta = offset[t] - sum(w * offset[j] for j, w in zip(index, lam, strict=True))
        margin = Fraction(head.logit_margins[i])
        assert radius**2 * sum(x * x for x in v) == (margin - delta) ** 2
        assert margin >= delta
        # In the hull the margin is 0, while u only shows how far below the facet the row lies.
        assert reached == margin or (margin == 0 and problem.zero_offset and reached < 0)
        assert bool(head.speakable[i]) == (margin > 0)


def assert_accepted(head: PlantedHead) -> None:
    """The checkers of the project accept the proofs, and none of the opposite."""
    problem = head.problem
    for i, t in enumerate(head.rows.tolist()):
        pair = head.hulls.of(i)
        assert pair is not None
        others = np.delete(np.arange(problem.v), t)
        assert bound_by_weights(problem, t, *pair) == (not head.speakable[i])
        assert hull_upper_bound(problem, t, *pair) == pytest.approx(head.logit_margins[i], rel=1e-9, abs=1e-12)
        if head.speakable[i]:
            assert bool(inside_domain(problem.domain, head.points[i][None])[0])
            assert witness_beats(problem, t, head.points[i], others).all()
            assert hull_membership(problem, t, pair[0]) is None
        else:
            assert not bool(torch.isfinite(head.points[i]).any())
            assert not witness_beats(problem, t, head.directions[i] / 2, others).all()


@pytest.mark.parametrize("kind", ["free", "ball", "offsets"])
def test_every_planted_margin_is_proved(kind: str) -> None:
    domain = Ball(16.0) if kind == "ball" else None
    head = planted_head(**SMALL, seed=3, offsets=kind == "offsets", domain=domain)
    assert head.problem.v == SMALL["v"]
    assert head.problem.zero_offset == (kind != "offsets")
    # Five levels of both truths and the touching ones, two of each.
    assert len(head.rows) == len(set(head.rows.tolist())) == 22
    assert_proved(head)
    assert_accepted(head)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(5, 9),
    ratio=st.integers(5, 12),
    offsets=st.booleans(),
    level=st.floats(SMALLEST_LEVEL, 1.0),
)
def test_any_head_is_proved(seed: int, d: int, ratio: int, offsets: bool, level: float) -> None:
    head = planted_head(d, ratio * d, (level, 0.0), 2, seed, offsets)
    assert_proved(head)
    assert_accepted(head)


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize(("d", "v"), [(16, 400), (16, 2000), (96, 1500), (384, 1000)])
def test_sizes_of_real_models(d: int, v: int, offsets: bool) -> None:
    head = planted_head(d, v, seed=5, offsets=offsets)
    speak = head.speakable
    assert (len(head.rows), int(speak.sum())) == (88, 44)
    # Five significant bits (3 %), and with offsets a row longer than the level asks for by up to 1/32 (4 %).
    assert head.margins[speak] == pytest.approx(head.levels[speak], rel=0.08)
    assert (head.margins[~speak] < 0).all() if offsets else (head.margins[~speak] == 0).all()
    check = check_witnesses(
        head.problem, torch.from_numpy(head.rows[speak]), head.points[torch.from_numpy(speak)], dtype=torch.float64
    )
    # All witnesses pass the rigorous float64 check, which does not know how the head was made.
    assert bool((check.lower > 0).all())
    for i in np.nonzero(~speak)[0].tolist():
        pair = head.hulls.of(i)
        assert pair is not None
        assert len(pair[0]) <= d + 1
        assert bound_by_weights(head.problem, int(head.rows[i]), *pair)


def test_a_small_margin_is_not_met_by_closed_forms_or_luck() -> None:
    head = planted_head(16, 500, (1e-4,), 20, seed=1)
    rows = head.problem.rows(torch.from_numpy(head.rows[head.speakable]))
    won = (rows @ head.problem.weight.T).argmax(dim=1).numpy() == head.rows[head.speakable]
    assert won.mean() < 0.5


def test_no_coordinate_is_special() -> None:
    head = planted_head(64, 600, seed=2)
    share_of_zeros = float((head.problem.weight == 0).double().mean())
    assert share_of_zeros < 0.05
    columns = head.problem.weight.norm(dim=0)
    assert float(columns.max() / columns.min()) < 3


def test_a_scan_finds_planted_truths_and_nothing_false() -> None:
    head = planted_head(8, 120, (1.0, 1e-2, 1e-5), 2, seed=4)
    result = scan(head.problem, ScanSettings(), tokens=head.rows)
    verdict = result.state.verdict[result.merged.row_of[head.rows]]
    assert (verdict == np.where(head.speakable, SPEAKABLE, UNSPEAKABLE)).all()
    radius_norm = head.problem.row_norm.numpy()[head.rows]
    lower, upper = (
        bound[result.merged.row_of[head.rows]] / radius_norm for bound in (result.state.lower, result.state.upper)
    )
    assert (lower[head.speakable] <= head.margins[head.speakable] * (1 + 1e-9)).all()
    assert (upper[head.speakable] >= head.margins[head.speakable] * (1 - 1e-9)).all()


def test_the_seed_decides() -> None:
    first, again, other = (planted_head(8, 100, (1e-3,), 3, seed) for seed in (1, 1, 2))
    assert first.problem.fingerprint == again.problem.fingerprint != other.problem.fingerprint
    assert first.rows.tolist() == again.rows.tolist()
    assert len(first.at(1e-3, speakable=True)) == len(first.at(1e-3, speakable=False)) == 3


def test_what_cannot_be_planted_is_refused_in_one_line() -> None:
    for call, match in (
        (lambda: planted_head(3, 100), "d ≥ 4"),
        (lambda: planted_head(4, 1000), "do not fit into 4 dimensions"),
        (lambda: planted_head(16, 100), "need at least"),
        (lambda: planted_head(16, 1000, ()), "at least one level"),
        (lambda: planted_head(16, 1000, (2.0,)), "between 1e-11 and 1"),
        (lambda: planted_head(16, 1000, (float("nan"),)), "between 1e-11 and 1"),
        (lambda: planted_head(16, 1000, (0.1, 0.1)), "each once"),
        (lambda: planted_head(16, 1000, domain=Box(-np.ones(16), np.ones(16))), "not on a box"),
        (lambda: planted_head(16, 1000, offsets=True, domain=Free()), "power of two"),
        (lambda: planted_head(16, 1000, offsets=True, domain=Ball(15.0)), "power of two"),
    ):
        with pytest.raises(BadInput, match=match) as caught:
            call()
        assert "\n" not in str(caught.value)
