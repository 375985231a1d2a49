"""What each rounding costs a proof of a row inside the hull, worked out again from `docs/mathematics.md`.

The bounds there are far below what a real proof has to spare, so a term that is missing would not show in one. Here
the terms are all that there is: a spread set is forged that whitens everything to zero and claims a huge ‖P‖, and the
proof must fail as soon as ‖P‖ times the bound reaches the lightest weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
import pytest
import torch

from solvers.checks.interior import SpreadSet, inside_hull, spread_set
from solvers.domains import Free
from solvers.hull_rows import HullRows
from solvers.problem import ArgmaxProblem

U = 2.0**-53
SMALLEST = 2.0**-1022
BELOW, ABOVE = 1.0038, 1.004
"""On either side of 1 + 2⁻⁸, the room for products of errors and for the rounding of the bounds themselves."""


def gamma(n: int) -> float:
    return n * U / (1 - n * U)


@dataclass
class Case:
    """A problem of a few rows, a token, and its weights (all 1: the dual point is 0)."""

    problem: ArgmaxProblem
    token: int

    def __post_init__(self) -> None:
        self.hull = HullRows(self.problem)
        everything = torch.arange(self.problem.v)
        self.rows = self.hull.rows(everything).numpy()
        self.lengths = np.array([math.hypot(*row) for row in self.rows])
        self.errors = 4 * U * self.lengths + self.problem.row_error.numpy()
        self.offsets, self.offset_errors = self.problem.offset.numpy(), self.problem.offset_error.numpy()
        self.dual = torch.zeros((1, self.hull.e + (0 if self.problem.zero_offset else 1)), dtype=torch.float64)

    def bound(self) -> float:
        """Steps 6 and 7, without the product Pρ̂."""
        v, e, t = self.problem.v, self.hull.e, self.token
        residual = math.hypot(*(self.rows.sum(axis=0) - v * self.rows[t]))
        sums = gamma(v + e + 16) * (self.lengths.sum() + v * self.lengths[t])
        lost = e * 2 * (v + 4) * SMALLEST * (1 + v)
        return gamma(e + 4) * residual + sums + self.errors.sum() + v * self.errors[t] + U * residual + lost

    def forged(self, *, norm: float, least: float = 1.0, whitening: torch.Tensor | None = None) -> SpreadSet:
        m = self.hull.e + 1
        zeros = torch.zeros((m, m), dtype=torch.float64)
        rows = torch.arange(self.problem.v)
        return SpreadSet(rows, zeros if whitening is None else whitening, norm, least)

    def proves(self, spread: SpreadSet, **options: int) -> bool:
        return bool(inside_hull(self.hull, spread, torch.tensor([self.token]), self.dual, **options)[0])


def rows_of(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(11)
    rows = torch.randn((9, 3), generator=generator, dtype=torch.float64)
    if kind == "far":  # the token lies far from the others: its own length counts most
        rows[4] *= 1e6
    if kind == "cancelling":  # the rows add up to nearly nothing
        rows = torch.cat([rows[:4], -rows[:4], 1e-3 * rows[4:5]])
    if kind == "tiny":  # every product is lost
        rows *= 1e-310
    if kind == "many":
        rows = torch.randn((400, 3), generator=generator, dtype=torch.float64)
    return rows


def case_of(kind: str) -> Case:
    rows = rows_of(kind)
    v = len(rows)
    error = None
    if kind == "known to 1e-13":
        error = torch.full((v,), 1e-13, dtype=torch.float64)
    if kind == "token known to 1e-12":
        error = torch.zeros(v, dtype=torch.float64)
        error[4] = 1e-12
    return Case(ArgmaxProblem(rows, Free(), weight_error=error), 8 if kind == "cancelling" else 4)


KINDS = ("plain", "far", "cancelling", "many", "tiny", "known to 1e-13", "token known to 1e-12")


@pytest.mark.parametrize("kind", KINDS)
def test_every_rounding_of_the_residual_is_counted(kind: str) -> None:
    case = case_of(kind)
    # σ divides all of it, and blocks of one row each change nothing.
    for least in (1.0, 0.25):
        for limit in (1, 2**26):
            assert not case.proves(case.forged(norm=least / (BELOW * case.bound()), least=least), limit=limit)
            assert case.proves(case.forged(norm=least / (ABOVE * case.bound()), least=least), limit=limit)


def test_what_the_product_with_p_loses_to_underflow_is_counted() -> None:
    case = case_of("plain")
    lost = 2 * 9 * SMALLEST
    for room, proved in ((BELOW, False), (1 + 2.0**-8, False), (ABOVE, True)):
        assert case.proves(case.forged(norm=0.0, least=room * lost)) is proved


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"tiny"}))
def test_the_residual_itself_is_counted_in_the_coordinates_of_p(kind: str) -> None:
    case = case_of(kind)
    generator = torch.Generator().manual_seed(2)
    whitening = torch.randn((4, 4), generator=generator, dtype=torch.float64)
    rho = torch.from_numpy(case.rows.sum(axis=0) - case.problem.v * case.rows[case.token])
    length = float((whitening[:, :3] @ rho).norm())
    for limit in (1, 2**26):
        assert not case.proves(case.forged(norm=0.0, least=length * BELOW, whitening=whitening), limit=limit)
        assert case.proves(case.forged(norm=0.0, least=length * ABOVE, whitening=whitening), limit=limit)


@pytest.mark.parametrize("members", [[0, 1, 2, 3, 5], [4, 6, 7, 8]])
def test_only_the_weights_of_the_spread_set_must_outweigh_the_correction(members: list[int]) -> None:
    case = case_of("plain")
    y = torch.tensor([0.2, -0.1, 0.05], dtype=torch.float64)
    value = 1 + (torch.from_numpy(case.rows) - torch.from_numpy(case.rows[4])) @ y
    weights = (1 / value).numpy()
    assert weights.min() > 0
    case.dual = y[None]
    rho = weights @ (case.rows - case.rows[4])
    lightest = weights[members].min()
    assert bool(lightest == weights.min()) is (0 in members)  # the other set is spared the lightest of all
    whitening = torch.eye(4, dtype=torch.float64)
    for room, proved in ((BELOW, False), (ABOVE, True)):
        spread = case.forged(norm=0.0, least=room * math.hypot(*rho) / lightest, whitening=whitening)
        for limit in (1, 2**26):
            assert case.proves(replace(spread, rows=torch.tensor(members)), limit=limit) is proved


# --- offsets --------------------------------------------------------------------------------------------------------


def with_offsets(kind: str) -> Case:
    """The token's own offset is 0, and the others' mean is what it is held against."""
    rows = rows_of("plain")
    generator = torch.Generator().manual_seed(5)
    bias = torch.randn(9, generator=generator, dtype=torch.float64)
    shift, error = None, None
    if kind == "large":
        bias = 1e3 * bias
    if kind == "own":
        bias[4] = -1e4
    if kind == "tiny":
        bias = 1e-307 * bias
    if kind == "known to 0.02":
        error = torch.full((9,), 0.02, dtype=torch.float64)
        shift = torch.ones(3, dtype=torch.float64)
    if kind == "shifted":
        shift = torch.tensor([1e2, -1e2, 1e2], dtype=torch.float64)
    if kind == "token known to 1e-9":
        error = torch.zeros(9, dtype=torch.float64)
        error[4] = 1e-9
        shift = torch.ones(3, dtype=torch.float64)
    return Case(ArgmaxProblem(rows, Free(), bias=bias, shift=shift, weight_error=error), 4)


def moved(case: Case, by: float) -> Case:
    """The same with the biases of the rivals raised by so much in all, so that the lead is what is wanted."""
    problem = case.problem
    assert problem.bias is not None
    bias = problem.bias.clone()
    bias[[j for j in range(problem.v) if j != case.token]] += by / (problem.v - 1)
    known = {"shift": problem.shift, "weight_error": problem.weight_error}
    return Case(ArgmaxProblem(problem.weight, Free(), bias=bias, **known), 4)


@pytest.mark.parametrize("kind", ["plain", "large", "own", "shifted", "tiny", "known to 0.02", "token known to 1e-9"])
@pytest.mark.parametrize("change", [0.0, 1e-13, 1e-3, 0.5])
def test_the_lead_of_the_offsets_must_exceed_what_it_may_err_by(kind: str, change: float) -> None:
    case = with_offsets(kind)
    case = moved(case, -float(case.offsets.sum() - 9 * case.offsets[4]))  # the lead is now 0, up to rounding

    def needed(case: Case) -> float:
        v, e, t = 9, 3, 4
        sums = gamma(v + e + 16) * (np.abs(case.offsets).sum() + v * abs(case.offsets[t]))
        errors = case.offset_errors.sum() + v * case.offset_errors[t]
        apart = np.abs(case.offsets - case.offsets.mean()) + case.offset_errors
        return sums + errors + 2 * (v + 4) * SMALLEST * (1 + v) + change * math.hypot(*apart)

    # An exact sum says what the lead is. `change` is what the correction may come to: ‖P‖ times the bound.
    tried = set()
    for share, off, proved in ((BELOW, 5e-5, False), (ABOVE, 5e-5, True), (0.95, 0.04, False), (1.06, 0.05, True)):
        least = case
        for _ in range(6):  # what is needed depends a little on the biases themselves
            lead = math.fsum([*least.offsets, -9 * least.offsets[4]])
            least = moved(least, share * needed(least) - lead)
        lead = math.fsum([*least.offsets, *[-least.offsets[4]] * 9])
        if abs(lead / needed(least) - share) > off:
            continue  # the offsets themselves round to coarser numbers than that
        spread = least.forged(norm=change / least.bound() / (1 + 2.0**-8) if change else 0.0)
        assert least.proves(spread) is least.proves(spread, limit=1) is proved, (share, lead, needed(least))
        tried.add(proved)
    assert len(tried) == 2 or change < 1e-3, tried


def test_offsets_that_cannot_be_reached_prove_nothing() -> None:
    case = with_offsets("plain")
    for by, proved in ((-20.0, False), (20.0, True)):
        assert moved(case, by).proves(case.forged(norm=0.0)) is proved


# --- the spread set -------------------------------------------------------------------------------------------------


def thin_rows(v: int, d: int, thin: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((v, d), generator=generator, dtype=torch.float64)
    rows[:, 0] *= thin
    return rows @ torch.linalg.qr(torch.randn((d, d), generator=generator, dtype=torch.float64)).Q


@contextmanager
def factors_of(hull: HullRows) -> Iterator[None]:
    """Factors of N itself, and not of NNᵀ, whose rounding would hide all other: how P is come by does not matter."""

    def factor(gram: torch.Tensor) -> tuple[torch.Tensor, int]:
        points = hull.rows(torch.arange(hull.problem.v))
        level = float(gram[-1, -1] / len(points)) ** 0.5
        columns = torch.cat([points, torch.full((len(points), 1), level, dtype=torch.float64)], dim=1)
        return torch.linalg.qr(columns).R.T.contiguous(), 0

    with mock.patch("torch.linalg.cholesky_ex", factor):
        yield


def steps_1_to_4(hull: HullRows, spread: SpreadSet, level: float) -> tuple[float, float]:
    """σ², before the room for rounding, and what is to be taken from σ."""
    m, n = hull.e + 1, len(spread.rows)
    points = hull.rows(spread.rows)
    columns = torch.cat([points, torch.full((n, 1), level, dtype=torch.float64)], dim=1).numpy()
    image = columns @ spread.whitening.numpy().T
    off = np.linalg.norm(image.T @ image - np.eye(m))
    square = 1 - off - gamma(n + 2 * m) * (image**2).sum()
    errors = 4 * U * np.linalg.norm(columns[:, :-1], axis=1) + hull.problem.row_error[spread.rows].numpy()
    norm = np.linalg.norm(spread.whitening.numpy())
    away = norm * (gamma(m + 4) * np.linalg.norm(columns) + np.linalg.norm(errors))
    return square, away


@pytest.mark.parametrize(
    ("v", "d", "thin", "error"),
    [
        (12, 2, 1.0, 0.0),
        (40, 6, 1.0, 0.0),
        (40, 6, 1e-4, 0.0),
        (40, 6, 1e-6, 0.0),
        (40, 6, 1.0, 1e-4),
        (40, 6, 1e-3, 1e-6),
        (900, 3, 1.0, 0.0),
    ],
)
@pytest.mark.parametrize("limit", [2**26, 1])
@pytest.mark.parametrize("better", [False, True])
def test_every_rounding_of_the_spread_set_is_counted(
    v: int, d: int, thin: float, error: float, limit: int, *, better: bool
) -> None:
    rows = thin_rows(v, d, thin)
    known = torch.full((v,), error, dtype=torch.float64) if error else None
    hull = HullRows(ArgmaxProblem(rows, Free(), weight_error=known))
    with factors_of(hull) if better else nullcontext():
        spread = spread_set(hull, torch.arange(v), limit=limit)
    assert spread is not None
    assert spread.norm == pytest.approx(np.linalg.norm(spread.whitening.numpy()), rel=1e-12)
    found = []
    for level in (2.0**k for k in range(-8, 9)):
        square, away = steps_1_to_4(hull, spread, level)
        if square > 0.5:
            found.append((square, away))
    assert len(found) == 1  # the size of the last row of N is a power of two
    square, away = found[0]
    lost = 1 - spread.least
    counted = (1 - square) / 2 + away + 8 * U
    # What is recomputed here rounds in another order, which matters where rounding is nearly all that there is.
    assert (1.003 if error else 0.98) * counted - 64 * U <= lost <= 1.02 * counted + 64 * U


def test_a_p_that_whitens_too_much_has_that_taken_off_with_room() -> None:
    hull = HullRows(ArgmaxProblem(thin_rows(40, 6, 1.0), Free()))
    with mock.patch("torch.linalg.cholesky_ex", lambda gram: (1.05 * torch.linalg.cholesky(gram), 0)):
        spread = spread_set(hull, torch.arange(40))
    off = (1 - 1 / 1.05**2) * math.sqrt(7)  # PNNᵀPᵀ is 1/1.05² times the 7 × 7 identity
    assert spread is not None
    assert math.sqrt(1 - ABOVE * off) < spread.least < math.sqrt(1 - BELOW * off)


def test_a_set_that_is_too_thin_for_its_errors_is_none() -> None:
    rows = thin_rows(40, 6, 1.0)
    for error, there in ((0.05, True), (0.5, False)):
        hull = HullRows(ArgmaxProblem(rows, Free(), weight_error=torch.full((40,), error, dtype=torch.float64)))
        assert (spread_set(hull, torch.arange(40)) is not None) is there


@pytest.mark.parametrize("size", [2.0**-40, 1.0, 2.0**40])
def test_the_last_row_of_n_is_of_the_size_of_the_others(size: float) -> None:
    hull = HullRows(ArgmaxProblem(size * thin_rows(40, 6, 1.0), Free()))
    spread = spread_set(hull, torch.arange(40))
    assert spread is not None
    # N's last row is 40 times s, so the last entry of P is 1/(s·√40) up to what the mean adds: s is near the entries.
    assert 0.4 < size * abs(float(spread.whitening[-1, -1])) * math.sqrt(40) < 2.5


def test_as_many_rows_as_n_has_rows_are_enough() -> None:
    triangle = [[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [1.0, 1.0]]
    hull = HullRows(ArgmaxProblem(torch.tensor(triangle), Free()))
    assert spread_set(hull, torch.tensor([0, 1, 2])) is not None
    assert spread_set(hull, torch.tensor([0, 1])) is None
