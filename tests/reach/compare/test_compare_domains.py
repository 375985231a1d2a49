from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reach.compare.domains import contains, domain_changes, usual_domains
from reach.compare.sample import judged_from_scan
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from solvers.domains import Ball, Box, Domain, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


def box(side: float, d: int = 4) -> Box:
    return Box(np.full(d, -side), np.full(d, side))


def test_factors_are_shared_and_only_the_domain_changes() -> None:
    rng = np.random.default_rng(0)
    problem = ArgmaxProblem(
        torch.from_numpy(rng.standard_normal((5, 4))).to(torch.bfloat16),
        Ball(4.0),
        scale=torch.ones(4),
        shift=torch.full((4,), 0.5),
        bias=torch.arange(5.0),
        centred=True,
        weight_error=torch.full((5,), 1e-9),
        source=torch.zeros((5, 2)),
    )
    other = problem.over(Free())
    assert other.weight.data_ptr() == problem.weight.data_ptr()
    assert isinstance(other.domain, Free)
    assert other.centred
    for name in ("scale", "shift", "bias", "weight_error", "source"):
        assert torch.equal(getattr(other, name), getattr(problem, name))
    assert other.fingerprint == problem.fingerprint
    with pytest.raises(BadInput, match="3 coordinates"):
        problem.over(box(1, 3))
    assert list(usual_domains(problem)) == ["free", "box:-100,100", "ball:2"]


def test_containment_by_hand() -> None:
    # The ball of radius 2 touches the box of ±2, whose corners are at distance 4.
    assert contains(box(2), Ball(4.0))
    assert not contains(box(1.99), Ball(4.0))
    assert contains(Ball(16.5), box(2))
    assert not contains(Ball(16.0), box(2))  # the ball is open, the corners belong to the box
    assert contains(Free(), box(2))
    assert not contains(box(2), Free())
    assert contains(Ball(2.0), Ball(2.0))
    assert not contains(Box(np.array([1.0]), np.array([9.0])), Ball(4.0))


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(1, 6))
def test_containment_agrees_with_points(side: float, radius: float, d: int) -> None:
    outer_box, ball = box(side, d), Ball(radius**2)
    if contains(ball, outer_box):
        assert side * math.sqrt(d) < radius * (1 + 1e-12)
    if contains(outer_box, ball):
        assert radius <= side * (1 + 1e-12)
    for domain in (outer_box, ball, Free()):
        assert contains(domain, domain)


def test_table_of_changes_by_hand() -> None:
    verdicts = {
        "free": np.array(["speakable", "speakable", "unspeakable", "speakable", None, "speakable"], dtype=object),
        "ball": np.array(["speakable", "unspeakable", "speakable", "unspeakable", "speakable", "undecided"], object),
    }
    domains: dict[str, Domain] = {"free": Free(), "ball": Ball(4.0)}
    table = domain_changes(verdicts, domains)
    assert [(c.before, c.after, list(c.tokens), c.contradiction) for c in table] == [
        # Losing reach in a smaller domain is a finding; token 4 was not judged on Free.
        ("speakable", "unspeakable", [1, 3], False),
        ("speakable", "undecided", [5], False),
        # A witness in the ball is one on Free: one of the two verdicts is false.
        ("unspeakable", "speakable", [2], True),
    ]
    assert not any(change.contradiction for change in domain_changes(verdicts))
    tie = domain_changes({"a": np.array(["tied"]), "b": np.array(["speakable"])}, {"a": Free(), "b": Free()})
    assert [change.contradiction for change in tie] == [True]  # equal rows are equal on any domain
    with pytest.raises(BadInput, match="same tokens"):
        domain_changes({"a": np.array(["tied"]), "b": np.array([], dtype=object)})
    with pytest.raises(BadInput, match="no such domain"):
        domain_changes({"a": np.array(["tied"])}, {})


def test_a_box_calls_tokens_reachable_that_the_norm_does_not_allow() -> None:
    # Row 1 is 2z₁ − 8 against z₁: it needs z₁ > 8, which the box of ±100 and Free have, and the ball of radius 2 not.
    # Row 2 is row 0 less 1 and never wins.
    problem = ArgmaxProblem(
        torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]]), Ball(4.0), bias=torch.tensor([0.0, -8.0, -1.0])
    )
    domains = usual_domains(problem)
    verdicts = {}
    for name, domain in domains.items():
        posed = problem.over(domain)
        verdicts[name] = judged_from_scan(posed, scan(posed, ScanSettings())).verdict
    assert verdicts["free"].tolist() == verdicts["box:-100,100"].tolist() == ["speakable", "speakable", "unspeakable"]
    changes = domain_changes(verdicts, domains)
    assert [(c.first, c.second, c.before, c.after, list(c.tokens), c.contradiction) for c in changes] == [
        ("free", "ball:2", "speakable", "unspeakable", [1], False),
        ("box:-100,100", "ball:2", "speakable", "unspeakable", [1], False),
    ]
