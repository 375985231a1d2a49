"""How small a change is, on heads whose least change is known, and that it is enough on others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import reach as library
from reach.heads.head import Head
from reach.repair.parts import Change, Parts
from reach.repair.run import Asked, Before, Repaired, repair
from reach.repair.silence import _nearest
from solvers.errors import BadInput

NONE = np.zeros(0, dtype=np.int64)


def head_of(rows: torch.Tensor, bias: torch.Tensor | None = None, **more: object) -> Head:
    return Head(weight=rows, bias=bias, norm="rmsnorm", eps=1e-6, dtype=str(rows.dtype)[6:], **more)  # type: ignore[arg-type]


def repaired(
    head: Head, speak: list[int], silence: list[int] | None = None, margin: float = 0.1, depth: float = 0.0,
    parts: Parts = Parts.ALL,
) -> Repaired:  # fmt: skip
    before = library.scan(head, margin_gap=0.01)
    asked = Asked(np.array(speak, dtype=np.int64), np.array(silence or [], dtype=np.int64), margin, depth, parts)
    return repair(head, asked, Before.of(before, head))


# --- by hand --------------------------------------------------------------------------------------------------------


def test_a_row_in_the_middle_must_reach_beyond_an_edge() -> None:
    # Of the square's corners z = (√2, 0) prefers two equally, at √2. Row 0 wins there by 0.1 as (1 + 0.1/√2, 0); at
    # the corner's own (1, 1) it would need a length of 2.1/√2.
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])
    done = repaired(head_of(rows), [4], parts=Parts.ROWS)
    assert done.size.tolist() == pytest.approx([1 + 0.1 / math.sqrt(2)], rel=0.01)
    # The margin of row 0 is 0, and a change of size r moves no margin by more than √2·r.
    assert done.least.tolist() == pytest.approx([0.1 / math.sqrt(2)])
    assert done.added.tolist() == []


def test_three_rows_cannot_all_win_in_one_dimension() -> None:
    with pytest.raises(BadInput, match=r"these 3 tokens cannot all be given a margin of 0\.1"):
        repaired(head_of(torch.tensor([[1.0], [-1.0], [0.0]])), [2], parts=Parts.ROWS)


def test_an_offset_is_cheaper_where_there_is_one() -> None:
    # At z = 0 the logits of ±1 are 0: an offset of 0.1 is all that is needed there, and less is not enough.
    head = head_of(torch.tensor([[1.0], [-1.0], [0.0]]), torch.zeros(3))
    for parts in (Parts.ALL, Parts.OFFSETS):
        done = repaired(replace(head, bias=torch.tensor([0.0, 0.0, -1e-9])), [2], parts=parts)
        assert done.size.tolist() == pytest.approx([0.1], rel=0.02)


def test_stretching_keeps_the_direction() -> None:
    # Row (0.5, 0) lies inside the square; along itself it leaves it beyond 1, and wins by 0.1·√2 ≥ 0.1 at length 1.1.
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [0.5, 0.0]])
    done = repaired(head_of(rows), [4], parts=Parts.STRETCH)
    assert float(done.head.weight[4, 1]) == 0.0
    # Between (1, 1) and (1, −1) the margin at (√2, 0) is √2·(s − 1), so s = 1 + 0.1/√2.
    assert float(done.head.weight[4, 0]) == pytest.approx(1 + 0.1 / math.sqrt(2), rel=0.01)
    with pytest.raises(BadInput, match="row of token 1 is 0"):
        repaired(head_of(torch.tensor([[1.0], [0.0], [-1.0]])), [1], parts=Parts.STRETCH)


def test_the_least_silence_is_the_way_to_the_hull() -> None:
    # Row (1, 2) is nearest to the hull of the square's corners at (1, 1): 1 away.
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, 2.0]])
    done = repaired(head_of(rows), [], [4])
    assert 1.0 <= float(done.size[0]) <= 1.02
    assert library.scan(done.head)[4].verdict == "unspeakable"
    assert done.least.tolist() == pytest.approx([1.0 * math.sqrt(2) / math.sqrt(2)], rel=0.02)


def test_depth_is_bought_by_the_offset() -> None:
    # In one dimension rows ±1: 0 with offset 0 ties nowhere but at 0. To stay 0.5 behind there it needs offset −0.5.
    head = head_of(torch.tensor([[1.0], [-1.0], [0.0]]), torch.tensor([0.0, 0.0, 1.0]))
    done = repaired(head, [], [2], depth=0.5, parts=Parts.OFFSETS)
    assert float(done.size[0]) == pytest.approx(1.5, rel=0.02)
    after = library.scan(done.head, margin_gap=0.01)[2]
    assert after.verdict == "unspeakable"
    assert after.margin_upper is not None
    assert after.margin_upper <= -0.5


def test_without_offsets_nothing_goes_below_zero() -> None:
    head = head_of(torch.tensor([[1.0], [-1.0], [2.0]]))
    with pytest.raises(BadInput, match="without offsets no token can be kept further below than 0"):
        repaired(head, [], [2], depth=0.5)


@given(seed=st.integers(0, 10**6), k=st.integers(1, 6), d=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_the_nearest_numbers_in_half_spaces(seed: int, k: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.standard_normal(d)
    normals = rng.standard_normal((k, d))
    cuts = [(normal, float(normal @ inside) + 0.1) for normal in normals]
    found = _nearest(cuts)
    assert all(normal @ found <= limit + 1e-7 for normal, limit in cuts)
    assert np.linalg.norm(found) <= np.linalg.norm(inside) + 1e-7
    # Nothing on the way from it to another point of the set is shorter.
    assert found @ (inside - found) >= -1e-6


# --- enough, whatever the head --------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    norm=st.sampled_from(["rmsnorm", "layernorm"]),
    offsets=st.booleans(),
    parts=st.sampled_from([Parts.ALL, Parts.ROWS]),
)
@settings(max_examples=5, deadline=None)
def test_what_was_asked_is_proved_afterwards(
    seed: int, dtype: torch.dtype, norm: str, offsets: bool, parts: Parts
) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(40, 4, generator=generator)
    rows[30:] *= 0.2  # mostly inside
    rows[39] = rows[38]  # and two that are one
    bias = 0.1 * torch.randn(40, generator=generator) if offsets else None
    head = Head(
        weight=rows.to(dtype), bias=None if bias is None else bias.to(dtype), norm=norm, eps=1e-6,  # type: ignore[arg-type]
        gamma=1 + 0.1 * torch.randn(4, generator=generator), beta=0.1 * torch.randn(4, generator=generator),
    )  # fmt: skip
    before = library.scan(head, margin_gap=0.01)
    speak = [*before.unspeakable[:4].tolist(), *before.tied.tolist()]
    # Where z is near 0 offsets decide: rows alone cannot silence a token whose offset is the largest.
    silence = [] if offsets and parts is Parts.ROWS else before.speakable[:2].tolist()
    try:
        done = repaired(head, speak, silence, margin=0.2, parts=parts)
    except BadInput as fault:
        # With so few columns silencing may find nothing that it can prove: it then changes nothing and says so.
        assert silence and "was proved to keep token" in str(fault)
        reject()
    after = library.scan(done.head, margin_gap=0.001)
    for token in speak:
        found = after[token]
        assert found.verdict == "speakable"
        assert found.margin_lower is not None
        assert found.margin_lower >= 0.2 * 0.998
    assert all(after[token].verdict == "unspeakable" for token in silence)
    assert set(before.speakable.tolist()) - set(silence) <= set(after.speakable.tolist())
    assert done.head.weight.dtype == dtype
    same = np.setdiff1d(np.arange(40), done.tokens)
    assert torch.equal(done.head.weight[same], head.weight[same])
    assert after.verify().ok


@given(seed=st.integers(0, 10**6), silence=st.booleans())
@settings(max_examples=4, deadline=None)
def test_one_token_takes_at_least_what_is_said(seed: int, silence: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(30, 3, generator=generator)
    rows[0] *= 3.0 if silence else 0.1
    done = repaired(head_of(rows), *(([], [0]) if silence else ([0], [])))
    alone = done.tokens.tolist().index(0)
    assert float(done.size[alone]) >= float(done.least[alone]) * (1 - 1e-6) > 0


def test_equal_rows_go_different_ways() -> None:
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    done = repaired(head_of(rows), [4, 5, 6])
    after = library.scan(done.head, margin_gap=0.001)
    assert after.unspeakable.tolist() == after.tied.tolist() == []


# --- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "speak", "silence", "parts", "words"),
    [
        (head_of(torch.eye(3)), [0], [0], Parts.ALL, "token 0 is to be made speakable and silenced at once"),
        (head_of(torch.eye(3)), [], [], Parts.ALL, "there is nothing to repair"),
        (head_of(torch.eye(3)), [0], [], Parts.OFFSETS, "this head has no offsets"),
        (Head(torch.eye(3), torch.arange(3.0)), [0], [], Parts.ALL, "choose a bounded domain"),
    ],
)
def test_what_is_refused(head: Head, speak: list[int], silence: list[int], parts: Parts, words: str) -> None:
    before = Before(np.arange(head.v), lambda tokens: np.zeros((len(tokens), head.d)), *2 * (np.zeros(head.v),))
    asked = Asked(np.array(speak, dtype=np.int64), np.array(silence, dtype=np.int64), 0.1, 0.0, parts)
    with pytest.raises(BadInput, match=words):
        repair(head, asked, before)


def test_the_size_of_a_change_counts_rows_and_offsets() -> None:
    change = Change(torch.tensor([0]), torch.tensor([[3.0, 0.0]]).double(), torch.tensor([4.0]).double())
    assert change.size.tolist() == [5.0]
