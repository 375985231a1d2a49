"""Proofs about servers, held against every order of summation of small heads and against rational numbers."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from solvers.checks.served_head import ServedHead, Server
from solvers.checks.served_orders import ORDERS, logits_in_order, returned_in_order
from solvers.checks.served_points import ALONE, NOTHING, RETURNED, check_points
from solvers.checks.served_weights import NEVER, NOT_ALONE, NOT_EVERYWHERE, check_weights
from solvers.domains import Ball, Box, Free
from solvers.errors import BadInput
from solvers.formats import BFLOAT16, FLOAT16, FLOAT32, FORMATS, Format, format_named
from solvers.problem import ArgmaxProblem


def nearest(form: Format, value: Fraction) -> Fraction | float:
    """The number of a format that is nearest to a rational one, the even one of two; infinite beyond the largest."""
    if value == 0:
        return Fraction(0)
    size, sign = abs(value), 1 if value > 0 else -1
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    step = Fraction(2) ** (max(exponent, form.least) + 1 - form.bits)
    found = round(size / step) * step  # Python rounds a Fraction to even
    return sign * found if found <= Fraction(form.largest) else sign * math.inf


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_rounding_is_to_the_nearest_and_once(form: Format) -> None:
    rng = np.random.default_rng(0)
    exponents = rng.integers(form.least - form.bits - 3, form.most + 3, 3000)
    values = np.ldexp(rng.uniform(1, 2, 3000), exponents) * rng.choice([-1, 1], 3000)
    # Halfway between two numbers, and so little beside that a cast by way of float32 takes it for halfway.
    middle = np.ldexp(2.0 ** (form.bits - 1) + rng.integers(0, 2 ** min(form.bits - 1, 20), 500) + 0.5, 3 - form.bits)
    beside = np.concatenate([middle, np.nextafter(middle, np.inf), np.nextafter(middle, 0), -middle])
    given = np.concatenate([values, beside, [0.0, form.largest, form.largest * (1 + form.unit / 2), 1e300, 5e-324]])
    found = form.round(torch.from_numpy(given)).tolist()
    assert found == [float(nearest(form, Fraction(value))) for value in given.tolist()]
    with np.errstate(over="ignore"):
        single = torch.from_numpy(given.astype(np.float32))
    assert torch.equal(form.round(single.double()), single.to(form.dtype).double()), "as torch rounds float32"
    assert torch.equal(form.cast(torch.from_numpy(given)).double(), torch.tensor(found, dtype=torch.float64))


def norm_parts(rng: np.random.Generator, d: int, kind: str) -> dict[str, torch.Tensor | None]:
    gamma = torch.from_numpy(rng.uniform(0.2, 2.0, d).astype(np.float32)) if kind != "plain" else None
    beta = torch.from_numpy(rng.standard_normal(d).astype(np.float32)) if kind == "layernorm" else None
    return {"scale": gamma, "shift": beta}


@pytest.mark.parametrize("norm", ["once", "steps"])
@pytest.mark.parametrize("kind", ["plain", "rmsnorm", "layernorm"])
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_inputs_are_what_the_norm_puts_out_rounded(form: Format, kind: str, norm: str) -> None:
    rng = np.random.default_rng(3)
    d = 6
    weight = torch.from_numpy(rng.standard_normal((4, d))).to(form.dtype)
    parts = norm_parts(rng, d, kind)
    problem = ArgmaxProblem(weight, Ball(float(d)), **parts, centred=kind == "layernorm")
    head = ServedHead(problem, Server(form, norm=norm))
    points = torch.from_numpy(rng.standard_normal((200, d)).astype(np.float32) * 0.5)
    found = head.inputs(points)
    told = torch.isfinite(found).all(dim=1)
    assert float(told.double().mean()) > 0.7
    for point, x in zip(points[told].tolist(), found[told].tolist(), strict=True):
        z = [Fraction(value) for value in point]
        z = [value - sum(z) / d for value in z] if kind == "layernorm" else z
        gamma = (
            [Fraction(1)] * d if parts["scale"] is None else [Fraction(value) for value in parts["scale"].tolist()]
        )
        beta = [Fraction(0)] * d if parts["shift"] is None else [Fraction(value) for value in parts["shift"].tolist()]
        for i in range(d):
            if norm == "once":
                exact = nearest(form, gamma[i] * z[i] + beta[i])
            else:
                exact = nearest(form, nearest(form, gamma[i] * nearest(form, z[i])) + beta[i])
            assert x[i] == float(exact)


def sums(terms: list[np.float32], exact: list[float]) -> set[float]:
    """All float32 sums of a few products: every binary tree over every order, fused or not along a line."""
    found: set[float] = set()
    for order in itertools.permutations(range(len(terms))):
        plain, fused = terms[order[0]], terms[order[0]]
        for i in order[1:]:
            plain = np.float32(plain + terms[i])
            fused = np.float32(float(fused) + exact[i])
        found |= {float(plain), float(fused)}
        if len(terms) == 4:
            a, b, c, d = (terms[i] for i in order)
            found.add(float(np.float32(np.float32(a + b) + np.float32(c + d))))
    return found


def all_logits(head: ServedHead, x: torch.Tensor) -> list[tuple[float, float]]:
    """For each row the least and the largest logit that any order gives at an input."""
    ends = []
    for row, bias in zip(head.plain.rows(slice(None)), head.bias.tolist(), strict=True):
        exact = (row * x).tolist()
        found = sums([np.float32(value) for value in exact], exact)
        rounded = set()
        if head.server.bias == "after" and head.problem.bias is not None:
            found = {float(head.form.round(torch.tensor([total], dtype=torch.float64))) for total in found}
        for total in found:
            with_bias = float(np.float32(np.float32(total) + np.float32(bias)))
            rounded.add(float(head.form.round(torch.tensor([with_bias], dtype=torch.float64))))
        ends.append((min(rounded), max(rounded)))
    return ends


def small_head(rng: np.random.Generator, form: Format, ties: str, bias: str, v: int = 6, d: int = 4) -> ServedHead:
    """Rows near one another, as close calls need it, some of them with large parts that cancel."""
    centre = rng.standard_normal(d) * 10.0 ** rng.integers(0, 3)
    rows = centre + rng.standard_normal((v, d)) * 10.0 ** -rng.integers(0, 4, (v, 1))
    offsets = torch.from_numpy(rng.standard_normal(v).astype(np.float32)) if rng.random() < 0.6 else None
    stored = torch.from_numpy(rows.astype(np.float32))
    parts = norm_parts(rng, d, str(rng.choice(["plain", "rmsnorm", "layernorm"])))
    problem = ArgmaxProblem(stored, Ball(float(d)), bias=offsets, **parts, centred=parts["shift"] is not None)
    return ServedHead(problem, Server(form, ties, bias, str(rng.choice(["once", "steps"]))))


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_what_points_prove_holds_in_every_order(form: Format) -> None:
    rng = np.random.default_rng(form.bits)
    counts = {ALONE: 0, RETURNED: 0, NOTHING: 0}
    missed = 0
    for _ in range(25):
        head = small_head(rng, form, str(rng.choice(["first", "last"])), str(rng.choice(["before", "after"])))
        points = torch.from_numpy(rng.standard_normal((6, 4)).astype(np.float32) * 0.8)
        inside = torch.from_numpy((np.linalg.norm(points.numpy(), axis=1) < 2).copy())
        x = head.inputs(points)
        for i in range(6):
            proved = check_points(head, torch.arange(head.v), points[i].expand(head.v, 4))
            if not inside[i] or not bool(torch.isfinite(x[i]).all()):
                assert (proved == NOTHING).all()
                continue
            ends = all_logits(head, x[i])
            for t in range(head.v):
                counts[int(proved[t])] += 1
                rivals = [(ends[j][1], (j < t) == (head.server.ties == "first")) for j in range(head.v) if j != t]
                if proved[t] == ALONE:
                    assert all(ends[t][0] > most for most, _ in rivals)
                elif proved[t] == RETURNED:
                    assert all(ends[t][0] > most or (ends[t][0] == most and not first) for most, first in rivals)
                else:
                    step = 16 * form.unit * max(abs(value) for pair in ends for value in pair)
                    missed += all(ends[t][0] > most + step + 1e-4 for most, _ in rivals) and form is not FLOAT32
    assert missed == 0, "a lead of many steps is proved"
    assert counts[ALONE] > 20 and counts[NOTHING] > 20 and (form is FLOAT32 or counts[RETURNED] > 0), counts


def test_both_precisions_agree_where_leads_are_clear() -> None:
    rng = np.random.default_rng(8)
    rows = torch.from_numpy(rng.standard_normal((300, 16)).astype(np.float32))
    head = ServedHead(
        ArgmaxProblem(rows, Ball(16.0), bias=torch.from_numpy(rng.standard_normal(300))), Server(BFLOAT16)
    )
    tokens = torch.arange(300)
    points = (3.9 * rows / rows.norm(dim=1, keepdim=True)).float()
    whole = check_points(head, tokens, points)
    assert (whole == check_points(head, tokens, points, limit=1)).all() and (whole == ALONE).mean() > 0.5
    assert (check_points(head, tokens, 2 * points) == NOTHING).all(), "points outside prove nothing"
    points[3, 2] = torch.nan
    assert check_points(head, tokens, points)[3] == NOTHING


def against(head: ServedHead, token: int, rows: list[int], weights: list[float]) -> int:
    start = np.array([0, len(rows)])
    return int(check_weights(head, torch.tensor([token]), start, np.array(rows), np.array(weights))[0])


def beside_two(gap: float, form: Format, ties: str = "first", bias: str = "before", place: int = 2) -> ServedHead:
    """Two opposite rows, and one of zeros whose offset is lower: a token that needs to gain `gap` logits."""
    rows, offsets = torch.zeros((3, 2)), torch.zeros(3)
    others = [i for i in range(3) if i != place]
    rows[others[0], 0], rows[others[1], 0] = 1.0, -1.0
    offsets[place] = -gap
    return ServedHead(ArgmaxProblem(rows, Ball(2.0), bias=offsets, scale=torch.ones(2)), Server(form, ties, bias))


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("bias", ["before", "after"])
def test_weights_prove_what_no_rounding_can_undo(form: Format, bias: str) -> None:
    for ties, place in (("first", 2), ("last", 0), ("first", 0)):
        head = beside_two(0.5, form, ties, bias, place)
        others = [i for i in range(3) if i != place]
        assert against(head, place, others, [0.5, 0.5]) == NEVER
        assert against(head, place, others, [0.9, 0.1]) in (NOTHING, NOT_ALONE)
        assert against(beside_two(0.0, form, ties, bias, place), place, others, [0.5, 0.5]) == NOTHING
        assert against(beside_two(-0.5, form, ties, bias, place), place, others, [0.5, 0.5]) == NOTHING
        assert against(beside_two(2.0**-22, form, ties, bias, place), place, others, [0.5, 0.5]) == NOTHING


def test_a_tie_is_silence_only_to_those_that_precede() -> None:
    # The lead is below a step of bfloat16 at logits around 100, and far above what sums round.
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    offsets = torch.tensor([100.0, 100.0, 99.75])
    for ties, place, expected in (
        ("first", 2, NEVER),
        ("first", 0, NOT_ALONE),
        ("last", 0, NEVER),
        ("last", 2, NOT_ALONE),
    ):
        order = [0, 1, 2] if place == 2 else [2, 0, 1]
        problem = ArgmaxProblem(rows[order], Ball(0.01), bias=offsets[order])
        head = ServedHead(problem, Server(BFLOAT16, ties))
        # 99.75 is no number of bfloat16: it is rounded to 100 with the weights. In float16 it stays what it is.
        assert float(head.bias[place]) == 100.0
        assert against(head, place, [i for i in range(3) if i != place], [0.5, 0.5]) == NOTHING
        head = ServedHead(problem, Server(FLOAT16, ties))
        assert float(head.bias[place]) == 99.75
        assert against(head, place, [i for i in range(3) if i != place], [0.5, 0.5]) == NEVER
        # In bfloat16 by a sum: 99.75 = 64 + 35.75, each of which it holds.
        wide = torch.cat([rows[order], torch.tensor([[64.0], [64.0], [64.0]])], dim=1)
        split = ArgmaxProblem(wide, Ball(0.01), bias=offsets[order] - 64, shift=torch.tensor([0.0, 0.0, 1.0]))
        head = ServedHead(split, Server(BFLOAT16, ties))
        found = against(head, place, [i for i in range(3) if i != place], [0.5, 0.5])
        assert found in (expected, NOTHING)


def test_a_lead_below_a_step_bars_winning_and_not_tying() -> None:
    """Logits of 100 and 100.125, whose bfloat16 is the same, from rows that both hold."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    offsets = torch.tensor([0.125, 0.125, 0.0])
    for ties, expected in (("first", NEVER), ("last", NOT_ALONE)):
        wide = torch.cat([rows, torch.full((3, 1), 100.0)], dim=1)
        problem = ArgmaxProblem(
            wide, Ball(0.0001), bias=offsets, scale=torch.tensor([1.0, 1.0, 0.0]), shift=torch.tensor([0.0, 0.0, 1.0])
        )
        head = ServedHead(problem, Server(BFLOAT16, ties))
        assert against(head, 2, [0, 1], [0.5, 0.5]) == expected
        point = torch.zeros((1, 3))
        assert check_points(head, torch.tensor([2]), point)[0] == (RETURNED if ties == "last" else NOTHING)
        assert check_points(head, torch.tensor([0]), point)[0] == (RETURNED if ties == "first" else NOTHING)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_no_point_and_no_order_contradicts_weights(form: Format) -> None:
    rng = np.random.default_rng(40 + form.bits)
    proved = {NEVER: 0, NOT_ALONE: 0, NOTHING: 0}
    for _ in range(40):
        d, v = 3, 5
        rows = torch.from_numpy(rng.standard_normal((v, d)).astype(np.float32))
        weights = rng.dirichlet(np.ones(v - 1))
        rows[v - 1] = torch.from_numpy(weights).float() @ rows[: v - 1]
        offsets = torch.zeros(v)
        offsets[v - 1] = -float(10.0 ** rng.uniform(-8 if form is FLOAT32 else -4, 0))
        place = int(rng.integers(0, v))
        order = list(range(v - 1))
        order.insert(place, v - 1)
        parts = norm_parts(rng, d, str(rng.choice(["plain", "rmsnorm", "layernorm"])))
        problem = ArgmaxProblem(
            rows[order], Ball(float(d)), bias=offsets[order], **parts, centred=parts["shift"] is not None
        )
        server = Server(
            form,
            str(rng.choice(["first", "last"])),
            str(rng.choice(["before", "after"])),
            str(rng.choice(["once", "steps"])),
        )
        head = ServedHead(problem, server)
        others = [i for i in range(v) if i != place]
        found = against(head, place, others, weights.tolist())
        proved[found] += 1
        if found == NOTHING:
            continue
        z = rng.standard_normal((25, d))
        z *= (rng.uniform(0, 1, (25, 1)) ** 0.3) * math.sqrt(d) * 0.999 / np.linalg.norm(z, axis=1, keepdims=True)
        x = head.inputs(torch.from_numpy(z.astype(np.float32)))
        for one in x[torch.isfinite(x).all(dim=1)]:
            best = np.max([[logits_in_order(head, one, order)] for order in ORDERS], axis=0)[0]
            worst = np.min([[logits_in_order(head, one, order)] for order in ORDERS], axis=0)[0]
            rivals = np.delete(worst, place)
            assert not best[place] > rivals.max()
            if found == NEVER:
                first = [worst[j] for j in others if (j < place) == (server.ties == "first")]
                assert best[place] < rivals.max() or best[place] <= max(first, default=-math.inf)
    assert proved[NEVER] > 5 and proved[NOTHING] > 5, proved


def test_rows_that_rounding_makes_equal() -> None:
    rows = torch.tensor([[1.0, 1.0], [1.0, 1.0 + 2.0**-10], [-1.0, 0.0]])
    fine = ServedHead(ArgmaxProblem(rows, Ball(2.0)), Server(FLOAT32))
    assert against(fine, 0, [1], [1.0]) == NOTHING and against(fine, 1, [0], [1.0]) == NOTHING
    for ties in ("first", "last"):
        coarse = ServedHead(ArgmaxProblem(rows, Ball(2.0)), Server(BFLOAT16, ties))
        assert against(coarse, 0, [1], [1.0]) == (NOT_ALONE if ties == "first" else NOT_EVERYWHERE)
        assert against(coarse, 1, [0], [1.0]) == (NOT_EVERYWHERE if ties == "first" else NOT_ALONE)
        apart = ArgmaxProblem(rows, Ball(2.0), bias=torch.tensor([0.0, 1.0, 0.0]))
        assert against(ServedHead(apart, Server(BFLOAT16, ties)), 0, [1], [1.0]) in (NOTHING, NOT_ALONE, NEVER)
        assert against(ServedHead(apart, Server(BFLOAT16, ties)), 1, [0], [1.0]) == NOTHING


@pytest.mark.parametrize(
    ("rows", "weights"),
    [([0, 1], [1.5, -0.5]), ([0, 2], [0.5, 0.5]), ([0, 9], [0.5, 0.5]), ([0, 0], [0.5, 0.5]), ([], []),
     ([0, 1], [0.5, math.nan]), ([0, 1], [0.2, 0.2])],
)  # fmt: skip
def test_no_weights_prove_nothing(rows: list[int], weights: list[float]) -> None:
    assert against(beside_two(0.5, BFLOAT16), 2, [0, 1], [0.5, 0.5]) == NEVER
    assert against(beside_two(0.5, BFLOAT16), 2, rows, weights) == NOTHING


def test_the_whole_space_bars_nobody_and_lets_win() -> None:
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    head = ServedHead(ArgmaxProblem(rows, Free()), Server(FLOAT16))
    points = torch.tensor([[3.0, 0.0], [-2.0, 0.5], [0.0, 4.0]])
    assert (check_points(head, torch.arange(3), points) == ALONE).all()
    assert against(head, 2, [0, 1], [0.5, 0.5]) == NOTHING
    assert check_points(head, torch.arange(1), torch.tensor([[7e4, 0.0]]))[0] == NOTHING, "beyond float16"


def test_sums_in_one_order_and_not_in_another() -> None:
    # Forwards 2²⁴ + 1 + 1 stays 2²⁴ in float32; in pairs the two ones come together first.
    rows = torch.tensor([[2.0**24, 0.0, 1.0, 1.0], [2.0**24, 0.0, 0.0, 0.0]])
    head = ServedHead(ArgmaxProblem(rows, Ball(5.0)), Server(FLOAT32, "last"))
    point = torch.ones(4)
    assert returned_in_order(head, 0, point, "pairs", "pairs") and not returned_in_order(
        head, 0, point, "forwards", "forwards"
    )
    assert not returned_in_order(head, 0, point, "pairs", "no such order")
    assert not returned_in_order(head, 0, 2 * point, "pairs", "pairs"), "outside"
    assert check_points(head, torch.tensor([0]), point[None])[0] == NOTHING


def test_what_a_server_cannot_hold_is_refused() -> None:
    rows = torch.tensor([[1.0, 0.0], [1e5, 0.0]])
    with pytest.raises(BadInput, match="of row 1 is beyond the largest float16"):
        ServedHead(ArgmaxProblem(rows, Ball(2.0)), Server(FLOAT16))
    with pytest.raises(BadInput, match="of the final norm is beyond the largest float16"):
        ServedHead(
            ArgmaxProblem(rows[:, :1].repeat(1, 2).clamp(max=2), Ball(2.0), scale=torch.tensor([1e5, 1.0])),
            Server(FLOAT16),
        )
    with pytest.raises(BadInput, match="two matrices"):
        ServedHead(ArgmaxProblem(rows, Ball(2.0), weight_error=torch.ones(2)), Server(FLOAT32))
    box = Box(np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
    with pytest.raises(BadInput, match="under a LayerNorm"):
        ServedHead(ArgmaxProblem(rows, box, centred=True), Server(FLOAT32))
    assert format_named("bfloat16") is BFLOAT16
    # Large inputs overflow float16 somewhere in the domain: then nobody is barred.
    far = ArgmaxProblem(torch.tensor([[1.0], [-1.0], [0.0]]), Ball(1e12), bias=torch.tensor([0.0, 0.0, -9.0]))
    assert against(ServedHead(far, Server(FLOAT16)), 2, [0, 1], [0.5, 0.5]) == NOTHING
    assert against(ServedHead(far, Server(FLOAT32)), 2, [0, 1], [0.5, 0.5]) != NOTHING
