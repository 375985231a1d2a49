"""The certified domains where rounding is worst, and where a bound is met exactly."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from worst_rounding import exact_dot, summed_one_by_one, swallowed

from solvers.checks.domains import Certified, _Ellipsoid, certified, enclosing_ball
from solvers.domains import Ball, BallBox, Box, Domain, Ellipsoid, Free
from solvers.problem import ArgmaxProblem

ROUND = Ellipsoid([1, 0], [[1, 0], [0, 0.5]], 1.0)
CUT = BallBox(Ball(4.0), Box([-1, -1], [1, 3]))
TINY = Fraction(1, 2**60)


def rational(*values: float) -> list[Fraction]:
    return [Fraction(value) for value in values]


# --- sup v·z + δ ≤ 0, exactly --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "v", "sup"),
    [
        (Ball(6.25), (3, 4), 12.5),
        (Ball(6.25), (0, 0), 0),
        (Box([-1, -2], [3, 0.5]), (2, -1), 8),
        (Box([1, 1], [2, 2]), (-1, 0), -1),
        (ROUND, (1, 0), 2),
        (ROUND, (-1, 0), 0),
        (ROUND, (0, 4), 2),
        (ROUND, (3, 8), 8),  # 3·1 + ‖(3, 4)‖
        (ROUND, (0, 0), 0),
        (Ellipsoid([0.25, -3], [[0, 2], [0.5, 0]], 3.0), (4, 0.5), 23.5 + math.hypot(0.25, 8) * 3 - 24),
        (CUT, (0, 1), 2),
        (CUT, (1, 0), 1),
        (CUT, (-2, 0), 2),
        (CUT, (0, 0), 0),
    ],
)
def test_bounds_that_are_met_exactly(domain: Domain, v: tuple[float, ...], sup: float) -> None:
    proved = certified(domain).not_positive
    exact = Fraction(sup) if sup == round(sup, 3) else Fraction(math.nextafter(sup, 99))
    assert proved(rational(*v), -exact)
    assert proved(rational(*v), -exact - 1)
    assert not proved(rational(*v), -exact + (TINY if sup == round(sup, 3) else Fraction(1, 10**9)))
    assert not proved(rational(*v), abs(exact) + 100)  # whose square is large as well


def test_a_bound_that_only_the_box_alone_meets_exactly() -> None:
    """A third is no float64: what is left of it for the ball is more than nothing."""
    assert certified(CUT).not_positive([Fraction(1, 3), Fraction(0)], Fraction(-1, 3))
    assert not certified(CUT).not_positive([Fraction(1, 3), Fraction(0)], Fraction(-1, 3) + TINY)


def test_a_corner_of_ball_and_box() -> None:
    # The farthest point along (3, 4) is (1, √3): 3 + 4√3 ≈ 9.92820.
    assert certified(CUT).not_positive(rational(3, 4), Fraction(-99283, 10000))
    assert not certified(CUT).not_positive(rational(3, 4), Fraction(-99281, 10000))


def test_free_is_bounded_nowhere_but_at_zero() -> None:
    free = certified(Free())
    assert free.not_positive(rational(0, 0), Fraction(0))
    assert not free.not_positive(rational(0, 0), TINY)
    assert not free.not_positive(rational(0, 2.0**-900), Fraction(-(10**300)))


# --- which domain lies in which ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outer", "inner", "held"),
    [
        (Ball(4.0), Ball(4.0), True),
        (Ball(4.0), Ball(math.nextafter(4.0, 9)), False),
        (Ball(25.0), Box([-3, -4], [3, 4]), False),  # the box holds its corners, the open ball does not
        (Ball(math.nextafter(25.0, 99)), Box([-3, -4], [3, 4]), True),
        (Ball(25.0), Box([-3, 1], [2, math.nextafter(4.0, 0)]), True),
        (Ball(9.0), Box([-4, 0], [1, 1]), False),
        (Box([-2, -2], [2, 2]), Ball(4.0), True),
        (Box([-2, -2], [2, math.nextafter(2.0, 0)]), Ball(4.0), False),
        (Box([-2, math.nextafter(-2.0, 0)], [2, 2]), Ball(4.0), False),
        (Box([3, 3], [9, 9]), Ball(4.0), False),
        (Box([-9, -9], [-3, -3]), Ball(4.0), False),
        (Box([0.5, 0.5], [9, 9]), Ball(0.0625), False),
        (Box([-9, -9], [-0.5, -0.5]), Ball(0.0625), False),
        (Box([0, 0], [1, 1]), Box([0, 0], [1, 1]), True),
        (Box([0, 0], [1, 1]), Box([0, -0.5], [1, 1]), False),
        (Box([0, 0], [1, 1]), Box([0, 0], [1, 1.5]), False),
        (Ball(4.0), Free(), False),
        (Box([-9, -9], [9, 9]), Free(), False),
        (ROUND, Free(), False),
        (CUT, Free(), False),
        (Free(), Free(), True),
        (Ball(4.1), ROUND, True),
        (Ball(3.9), ROUND, False),
        (Box([0, -0.5], [2, 0.5]), ROUND, True),
        (Box([2.0**-52, -0.5], [2, 0.5]), ROUND, False),
        (Box([0, -0.5], [math.nextafter(2.0, 0), 0.5]), ROUND, False),
        (Box([0, -0.5], [2, math.nextafter(0.5, 0)]), ROUND, False),
        (Box([3, -0.5], [9, 0.5]), ROUND, False),
        (Box([-9, -0.5], [-3, 0.5]), ROUND, False),
        (ROUND, Ellipsoid([1, 0], [[1, 0], [0, 0.5]], 1.0), True),
        (ROUND, Ellipsoid([1, 0], [[1, 0], [0, 0.5]], 1.5), False),
        (ROUND, Ellipsoid([1, 2.0**-40], [[1, 0], [0, 0.5]], 0.5), False),
        (ROUND, Ellipsoid([1, 0], [[1, 0], [0, 0.25]], 0.5), False),
        (ROUND, Box([0.9, -0.1], [1.1, 0.1]), False),
        (Ball(4.0), CUT, True),
        (Ball(3.0), CUT, False),
        (Ball(10.1), BallBox(Ball(100.0), Box([-1, -1], [1, 3])), True),
        (Box([-1, -1], [1, 3]), CUT, True),
        (Box([-2, -2], [2, 2]), CUT, True),
        (Box([-2, -0.5], [2, 2]), CUT, False),
        (CUT, Box([-1, -1], [1, 1.5]), True),
        (CUT, Box([-1, -1], [1, 1.8]), False),
        (CUT, Ball(1.0), True),
        (CUT, Ball(1.5), False),
    ],
)
def test_containment(outer: Domain, inner: Domain, held: bool) -> None:
    assert certified(outer).holds(certified(inner)) is held


def test_a_ball_around_each() -> None:
    for domain, centre, radius in (
        (Ball(4.0), [0, 0], 2),
        (Box([1, 1], [3, 3]), [2, 2], math.sqrt(2)),
        (ROUND, [1, 0], 1),
        (Ellipsoid([5, 0], [[2, 0], [0, 1]], 2.0), [5, 0], 4),
        (CUT, [0, 0], 2),
        (BallBox(Ball(400.0), Box([1, 1], [3, 3])), [2, 2], math.sqrt(2)),
    ):
        found = certified(domain).enclosing_ball(2)
        assert found[0].tolist() == centre
        assert radius <= found[1] <= radius * (1 + 1e-12)
    rows = torch.eye(2)
    assert enclosing_ball(ArgmaxProblem(rows, Free()))[1] == 1
    assert enclosing_ball(ArgmaxProblem(rows, Free(), bias=torch.ones(2)))[1] == math.inf
    assert enclosing_ball(ArgmaxProblem(rows, Ball(9.0)))[1] == 3


def reach_of(box: Box, centre: torch.Tensor) -> Fraction:
    """Squared distance of the farthest corner."""
    sides = zip(box.lo.tolist(), box.hi.tolist(), centre.tolist(), strict=True)
    return sum((max(Fraction(c) - Fraction(a), Fraction(b) - Fraction(c)) ** 2 for a, b, c in sides), Fraction(0))


@pytest.mark.parametrize("d", [1, 3, 40])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_ball_around_a_thin_box_holds_its_corners(d: int, sign: int) -> None:
    """A box that is a few units in the last place wide, whose middle no float64 is."""
    rng = np.random.default_rng(d)
    for _ in range(20):
        lo = sign * rng.uniform(1, 2, d) * 2.0 ** rng.integers(-20, 20)
        hi = lo + np.abs(np.spacing(lo)) * rng.choice([1, 3, 5], d)
        box = Box(lo, hi)
        centre, radius = certified(box).enclosing_ball(d)
        assert reach_of(box, centre) <= Fraction(radius) ** 2


def test_the_ball_around_a_box_whose_length_is_swallowed() -> None:
    half = torch.full((64,), 2.0**-27, dtype=torch.float64)
    half[0] = 1.0
    box = Box((-half).numpy(), half.numpy())
    with summed_one_by_one():
        centre, radius = certified(box).enclosing_ball(64)
    assert reach_of(box, centre) <= Fraction(radius) ** 2


# --- the farthest point --------------------------------------------------------------------------------------------


def support(domain: Domain, v: list[float], error: float = 0.0, *, rigorous: bool = True) -> float:
    return certified(domain).support(torch.tensor(v, dtype=torch.float64), error, rigorous=rigorous, directions=False)


@pytest.mark.parametrize(
    ("domain", "v", "sup"),
    [
        (Ball(4.0), [3, 4], 10),
        (Box([-1, -2], [3, 0.5]), [2, -1], 8),
        (ROUND, [3, 8], 8),
        (ROUND, [-1, 0], 0),
        (Ellipsoid([5, 0], [[2, 0], [0, 1]], 2.0), [1, 0], 9),
        (CUT, [3, 4], 3 + 4 * math.sqrt(3)),
        (CUT, [0, 1], 2),
        (CUT, [-5, 0], 5),
        (CUT, [0, 0], 0),
        (Free(), [0, 0], math.inf),
    ],
)
def test_supports(domain: Domain, v: list[float], sup: float) -> None:
    assert support(domain, v, rigorous=False) == pytest.approx(sup, abs=1e-12)
    found = support(domain, v)
    assert sup <= found or sup == pytest.approx(found, abs=1e-300)
    assert found == pytest.approx(sup, abs=1e-12)


@pytest.mark.parametrize(
    ("domain", "farthest"),
    [
        (Ball(4.0), 2),
        (Box([-3, -1], [1, 4]), 5),
        (Ellipsoid([5, 0], [[2, 0], [0, 1]], 2.0), 9),
        (Ellipsoid([0, -1], [[0, 1], [3, 0]], 2.0), 7),
        (CUT, 2),
    ],
)
@pytest.mark.parametrize("rigorous", [False, True])
def test_an_error_of_the_vector_reaches_as_far_as_the_domain(domain: Domain, farthest: float, rigorous: bool) -> None:
    for v in ([0.0, 0.0], [1.0, -2.0]):
        wider = support(domain, v, 0.25, rigorous=rigorous) - support(domain, v, rigorous=rigorous)
        assert (
            0.25 * farthest * (1 - 1e-9)
            <= wider
            <= 0.25 * farthest * (1.5 if isinstance(domain, Ellipsoid) else 1.01)
        )


@pytest.mark.parametrize("d", [64, 512])
def test_an_ellipsoid_whose_products_are_swallowed(d: int) -> None:
    """Once with the middle, once with a column of L: nearly d units in the last place are lost."""
    a, z = swallowed(d, torch.float64)
    thin = torch.eye(d, dtype=torch.float64) * 2.0**-30
    leaning = torch.eye(d, dtype=torch.float64) * 2.0**-30
    leaning[:, 0] = z
    # Thinner than a domain may be that is to be searched.
    far = SimpleNamespace(mu=z.numpy(), factor=thin.numpy(), radius=2.0**-100)
    steep = SimpleNamespace(mu=np.zeros(d), factor=leaning.numpy(), radius=8.0)
    with summed_one_by_one():
        middle, column = (
            _Ellipsoid(one).support(a, 0.0, rigorous=True, directions=False)  # type: ignore[arg-type]
            for one in (far, steep)
        )
    assert Fraction(middle) >= exact_dot(a, z)
    assert Fraction(column) >= 8 * exact_dot(a, z)


def sheared(top: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """L and its inverse, both exact: the inverse has this vector for its first row, and is the identity below."""
    d = len(top)
    inverse, factor = torch.eye(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    inverse[0] = top
    factor[0, 1:] = -top[1:]
    return factor.numpy(), inverse


@pytest.mark.parametrize("sign", [1, -1])
def test_points_whose_place_in_an_ellipsoid_is_swallowed(sign: int) -> None:
    """x₀ = 1 ± 63·2⁻⁵⁴ or more is computed as 1: the rim lies between them."""
    d = 64
    top, z = (torch.full((d,), 2.0**-27, dtype=torch.float64) for _ in range(2))
    top[0] = z[0] = 1.0
    if sign > 0:
        top[1:] = 2.0**-26
    z[1:] *= sign
    factor, inverse = sheared(top)
    square = exact_dot(top, z) ** 2 + sum((Fraction(x) ** 2 for x in z[1:].tolist()), Fraction(0))
    with summed_one_by_one():
        assert float((z[None] @ inverse.T)[0, 0]) == 1
        for step in range(-140, 140, 20):
            radius = 1 + step * 2.0**-54
            domain = Ellipsoid(np.zeros(d), factor, radius)
            assert bool(certified(domain).inside(z[None])[0]) is (square < Fraction(radius) ** 2), step


def test_the_reach_of_a_matrix_is_bounded() -> None:
    rng = np.random.default_rng(4)
    for d in (1, 2, 7, 40):
        turned = np.linalg.qr(rng.standard_normal((d, d)))[0]
        diagonals = [np.diag(sign * rng.uniform(0.5, 2, d)) for sign in (1, -1)]
        tall = 0.01 * np.eye(d)
        tall[:, 0] = 1
        for factor in (rng.standard_normal((d, d)) + 3 * d * np.eye(d), turned, 3 * turned, tall, tall.T, *diagonals):
            _, found = certified(Ellipsoid(np.zeros(d), factor, 1.0)).enclosing_ball(d)
            true = float(np.linalg.norm(factor, 2))
            assert (
                true * (1 - 1e-14) <= found <= true * (1 + 1e-12 if np.count_nonzero(factor) == d else math.sqrt(d))
            )


def test_the_reach_of_a_matrix_whose_length_is_swallowed() -> None:
    d = 1024
    factor = torch.eye(d, dtype=torch.float64) * 2.0**-60
    factor[:, 0] = 2.0**-27
    factor[0, 0] = 1.0
    with summed_one_by_one():
        found = _Ellipsoid(SimpleNamespace(mu=np.zeros(d), factor=factor.numpy(), radius=1.0))._reach  # type: ignore[arg-type]
    assert Fraction(found) ** 2 >= 1 + (d - 1) * Fraction(1, 2**54)


def test_an_inverse_whose_error_is_swallowed() -> None:
    """Σ a_k z_k = 1 + (d − 1)·2⁻⁵³ is computed as 1, which looks as if nothing were left of I − M L."""
    d = 48
    a, z = swallowed(d, torch.float64)
    inverse, factor = torch.eye(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    inverse[0], inverse[1:, 0] = a, -z[1:]
    factor[:, 0], factor[0, 1:] = z, -a[1:]
    true = Fraction(0)
    for i in range(d):
        for j in range(d):
            true += (exact_dot(inverse[i], factor[:, j]) - (i == j)) ** 2
    with summed_one_by_one(), patch("numpy.linalg.inv", return_value=inverse.numpy()):
        found = _Ellipsoid(SimpleNamespace(mu=np.zeros(d), factor=factor.numpy(), radius=1.0))._inverse  # type: ignore[arg-type]
    assert Fraction(found[1]) ** 2 >= true
    assert found[1] < 1e-12


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_points_are_decided_rightly_whatever_stands_for_the_inverse(share: float) -> None:
    """A poor inverse leaves more to rational arithmetic, and what is none at all everything near the middle."""
    domain = Ellipsoid(np.array([1.0, -2.0]), np.array([[2.0, 1.0], [0.0, 3.0]]), 1.5)
    proved = _Ellipsoid(domain)
    poor = np.linalg.inv(domain.factor) * (1 - share) + share * np.array([[0.1, 0.2], [-0.2, 0.1]])
    with patch("numpy.linalg.inv", return_value=poor):
        _, room = proved._inverse
    assert room >= 1.5 * np.linalg.norm(np.eye(2) - poor @ domain.factor) * (1 - 1e-12)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    x *= (1.5 * rng.choice([0.5, 0.9, 0.99, 1.01, 1.1, 2], 60) / np.linalg.norm(x, axis=1))[:, None]
    points = torch.from_numpy(domain.mu + x @ domain.factor.T)
    assert proved.inside(points).tolist() == (np.linalg.norm(x, axis=1) < 1.5).tolist()


def test_points_that_are_clear_are_not_asked_in_rationals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far from the rim a computed inverse decides, both ways."""

    def ask(*_: object) -> bool:
        raise AssertionError("asked in rational arithmetic")

    rng = np.random.default_rng(5)
    domain = Ellipsoid(rng.standard_normal(8), rng.standard_normal((8, 8)) + 9 * np.eye(8), 2.0)
    proved: Certified = certified(domain)
    monkeypatch.setattr(type(proved), "_exactly_inside", ask)
    x = torch.from_numpy(rng.standard_normal((20, 8)))
    x = x / x.norm(dim=1, keepdim=True) * 2
    for share, inside in ((1 - 1e-9, True), (1 + 1e-9, False)):
        z = torch.from_numpy(domain.mu) + share * x @ torch.from_numpy(domain.factor).T
        assert proved.inside(z).tolist() == [inside] * 20
