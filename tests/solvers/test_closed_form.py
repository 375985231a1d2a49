"""Lengths along rays: by hand, and the compiled pass against whole tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.backends import closed_form
from solvers.domains import Ball, Free
from solvers.problem import ArgmaxProblem


def test_an_interval_by_hand() -> None:
    """Along u = 1 the row 1 has slopes 1 − 0 and 1 − 3 and leads −2 and 8 against the others: 2 < s < 4."""
    rows = torch.tensor([[1.0], [0.0], [3.0]])
    offset = torch.tensor([0.0, 2.0, -8.0])
    found = closed_form._compiled_lengths(rows.T.contiguous(), offset, torch.tensor([0]), torch.tensor([1.0]), 1)
    assert [float(one[0]) for one in found] == [2.0, 4.0]


@pytest.mark.parametrize(("lead", "end"), [(1.0, float("inf")), (0.0, 0.0), (-1.0, 0.0)])
def test_a_rival_of_the_same_slope(lead: float, end: float) -> None:
    """Only the offsets part two rows that are equal along u: the row wins everywhere, or nowhere."""
    rows, offset = torch.tensor([[1.0, 1.0]]), torch.tensor([lead, 0.0])
    found = closed_form._compiled_lengths(rows, offset, torch.tensor([0]), torch.tensor([1.0]), 1)
    assert float(found[1][0]) == end


@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([1.0, 1e-20, 1e20]), st.sampled_from([33, 256, 600]))
@settings(max_examples=60, deadline=None)
def test_the_compiled_pass_says_what_whole_tensors_say(seed: int, jobs: int, scale: float, v: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    d = 4
    rows = scale * torch.randn((v, d), generator=generator).round(decimals=1)  # with ties
    offset = scale * torch.randn(v, generator=generator).round(decimals=1)
    tokens, u = torch.randint(v, (20,), generator=generator), torch.randn((20, d), generator=generator)
    logits, own = u @ rows.T, (rows[tokens] * u).sum(dim=1)
    compiled = closed_form._compiled_lengths(logits.clone(), offset, tokens, own, jobs)
    plain = closed_form._lengths(logits, offset, tokens, own, 1)
    wins = [(shortest < ends).numpy() for shortest, ends in (compiled, plain)]
    assert np.array_equal(*wins)
    for one, other in zip(compiled, plain, strict=True):
        assert torch.equal(one[torch.from_numpy(wins[0])], other[torch.from_numpy(wins[0])])


@pytest.mark.parametrize("domain", [Ball(3.0), Free()], ids=["ball", "free"])
def test_points_win_where_an_interval_is_found(domain: Ball | Free) -> None:
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn((50, 5), generator=generator)
    problem = ArgmaxProblem(weight, domain, bias=0.3 * torch.randn(50, generator=generator, dtype=torch.float64))
    tokens = torch.arange(50)
    points = closed_form.points_along(problem, tokens, problem.rows(tokens), limit=2**12)
    found = torch.isfinite(points).all(dim=1)
    assert 10 < int(found.sum()) < 50
    logits = points[found] @ problem.rows(tokens).T + problem.offset
    assert torch.equal(logits.argmax(dim=1), tokens[found])
