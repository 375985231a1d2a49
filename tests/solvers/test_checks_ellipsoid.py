"""What is proved of ellipsoids where rounding, underflow and overflow are worst, against rational arithmetic.

Most of these ellipsoids are thinner, flatter or farther off than a domain may be that is to be searched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from worst_rounding import exact_dot, summed_one_by_one, swallowed, swallowed_and_cancelled

from solvers.checks.domains import Certified, _Ellipsoid, certified
from solvers.checks.witness import single_competitor_bound
from solvers.domains import Ball, Box, Ellipsoid
from solvers.problem import ArgmaxProblem

Numbers = Sequence[float] | np.ndarray


def ellipsoid(mu: Numbers, factor: Sequence[Numbers] | np.ndarray, radius: float) -> _Ellipsoid:
    """With any numbers."""
    mu, factor = np.array(mu, dtype=np.float64), np.array(factor, dtype=np.float64)
    return _Ellipsoid(SimpleNamespace(mu=mu, factor=factor, radius=radius))  # type: ignore[arg-type]


def inside(domain: Certified, *points: Sequence[float]) -> list[bool]:
    return domain.inside(torch.tensor(points, dtype=torch.float64)).tolist()


def support(domain: Certified, v: torch.Tensor | list[float], error: float = 0.0, *, rigorous: bool = True) -> float:
    return domain.support(torch.as_tensor(v, dtype=torch.float64), error, rigorous=rigorous, directions=False)


# --- which points lie inside ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [8, -8])
def test_an_inverse_that_is_off_by_a_few_units(error: int) -> None:
    """1 − M L = ∓8u is computed exactly; the 11u for roundings are to be added to it, whatever its sign."""
    proved = ellipsoid([0], [[1]], 1.0)
    with patch("numpy.linalg.inv", return_value=np.array([[1 + error * 2.0**-53]])):
        assert proved._inverse[1] >= 8 * 2.0**-53


@pytest.mark.parametrize("sign", [1, -1])
def test_an_inverse_whose_error_is_cancelled(sign: int) -> None:
    """(1 + 2⁻³⁰)²·2²⁰ is rounded by 2⁻⁴⁰, and less what it is rounded to nothing seems to be left of M L above 1."""
    m, large = 1 + 2.0**-30, 2.0**20 * (1 + 2.0**-29)
    inverse = np.array([[m, -sign * large], [0, sign]])
    proved = ellipsoid([0, 0], [[1 - 2.0**-30, 2.0**20 * m], [0, sign]], 1.0)
    with patch("numpy.linalg.inv", return_value=inverse), summed_one_by_one():
        assert float((torch.from_numpy(inverse) @ proved.factor)[0, 1]) == 0
        assert 2.0**-40 <= proved._inverse[1] <= 2.0**-20


def test_a_place_of_which_the_product_and_the_length_swallow_much() -> None:
    """x₀ = 1 + 127u, and 127 numbers of 2⁻²⁷ beside it, make a length of 1 + 158u, which is computed as 1."""
    d = 128
    top, z = (torch.full((d,), 2.0**-power, dtype=torch.float64) for power in (26, 27))
    top[0] = z[0] = 1.0
    inverse, factor = torch.eye(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    inverse[0], factor[0, 1:] = top, -top[1:]
    square = exact_dot(top, z) ** 2 + (d - 1) * Fraction(1, 2**54)
    proved = ellipsoid(np.zeros(d), factor.numpy(), 1.0)
    with summed_one_by_one(), patch("numpy.linalg.inv", return_value=inverse.numpy()):
        assert float((z[None] @ inverse.T).norm(dim=1)[0]) == 1
        assert (1 + Fraction(proved._inverse[1])) ** 2 >= square


def test_a_poor_inverse_on_the_very_rim() -> None:
    """With M a hundredth of L⁻¹, I − M L = 0.99 leaves of r next to nothing but what its own roundings need."""
    for rim in (k / 1000 for k in range(1000, 1100)):
        with patch("numpy.linalg.inv", return_value=np.array([[0.01]])):
            assert inside(ellipsoid([0], [[1]], rim), [rim], [-rim]) == [False, False]


def test_points_without_a_place() -> None:
    proved = ellipsoid([1, 0], [[1, 0], [0, 0.5]], 1.0)
    nothing = [[math.nan, 0], [1, math.nan], [math.inf, 0], [1, -math.inf], [math.nan, math.inf]]
    assert inside(proved, *nothing, [1, 0]) == [False] * 5 + [True]


def test_a_flat_ellipsoid_has_no_inside() -> None:
    """Not even where L has no inverse at all, and the point is its middle."""
    for factor in ([[1, 1], [1, 1]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]):
        assert inside(ellipsoid([1, 2], factor, 1.0), [1, 2], [2, 3], [9, 0]) == [False] * 3


def test_places_beyond_the_largest_number() -> None:
    """z − μ, and its product with M, overflow, but x is a small number."""
    far = ellipsoid([1.5e308], [[1e308]], 4.0)
    assert inside(far, [-1.5e308], [1.5e308], [-1.7e308]) == [True, True, True]
    assert inside(ellipsoid([1.5e308], [[1e308]], 2.5), [-1.5e308], [1.5e308]) == [False, True]
    # M(z − μ) = 1e300·1e9 − 1e300·1e9 + 1e-300·1e300
    steep = ellipsoid([0, 0], [[1e-300, 1e-300], [0, 1e300]], 2.0)
    assert inside(steep, [0, 1e300], [1e-300, 1e300], [3e-300, 0], [1e-300, 0]) == [True, True, False, True]


@pytest.mark.parametrize("size", [1, 2.0**300])
def test_places_below_the_smallest_normal_number(size: float) -> None:
    """x₀ = Σz/3 in units of 2⁻¹⁰⁷⁴: of four times 4/3 only 4 are left, and four times 5/3 become 8."""
    factor = 3 * 2.0**20 * np.eye(4)
    factor[0] = [3, *[-3 * 2.0**20] * 3]
    for k, rims in ((4, {4: False, 5: False, 6: True}), (5, {6: False, 7: True, 8: True}), (3, {4: False, 5: True})):
        for rim, held in rims.items():
            proved = ellipsoid(np.zeros(4), factor * size, rim * 2.0**-1074)
            assert inside(proved, [k * 2.0**-1074 * size] * 4, [0] * 4) == [held, True]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_that_is_flushed_to_zero(sign: int, flushed: None) -> None:
    """z − μ is 2⁻¹⁰²³, or half as much again, and counts 2¹⁰²⁰-fold."""
    for rim in (2.0**-4, 0.125, 0.15, 0.1875, 0.25):
        proved = ellipsoid([2.0**-1022], [[sign * 2.0**-1020]], rim)
        assert inside(proved, [1.5 * 2.0**-1022], [1.75 * 2.0**-1022]) == [rim > 0.125, rim > 0.1875]


# --- how far it reaches --------------------------------------------------------------------------------------------


def test_a_reach_of_two_roundings() -> None:
    """Roots and products round down together."""
    rng = np.random.default_rng(1)
    for axis, radius in rng.uniform(0.5, 2, (200, 2)).tolist():
        reach = ellipsoid([0], [[axis]], radius)._reach
        assert Fraction(axis) * Fraction(radius) <= Fraction(reach) <= Fraction(axis * radius * (1 + 2.0**-47))


def test_a_reach_below_the_smallest_number() -> None:
    """2⁻¹⁰⁸⁰ is no float64, but it is not 0: over a distance of 2¹⁰⁰⁰ it counts."""
    thin = ellipsoid([0], [[2.0**-540]], 2.0**-540)
    assert thin.enclosing_ball(1)[1] > 0
    assert support(thin, [0.0], 2.0**1000) >= 2.0**-80
    domain = Ellipsoid(np.zeros(1), np.full((1, 1), 2.0**-540), 2.0**-540)
    bias = torch.tensor([-(2.0**-81), 0], dtype=torch.float64)
    problem = ArgmaxProblem(torch.tensor([[2.0**1000], [0]], dtype=torch.float64), domain, bias=bias)
    # At 2⁻¹⁰⁸⁰·2¹⁰⁰⁰ − 2⁻⁸¹ the token wins.
    assert float(single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0]) >= 2.0**-81


def test_a_large_radius_of_subnormal_axes() -> None:
    """In units of 2⁻¹⁰⁷⁴ rows of length √2 count as 1, and two such rows together again: ‖L‖ is 1.6."""
    steep = ellipsoid([0, 0], np.array([[1, 1], [0, 1]]) * 2.0**-1074, 2.0**1000)
    assert steep._reach >= 1.6 * 2.0**-74


def test_a_reach_beyond_the_largest_number() -> None:
    assert not ellipsoid([0], [[1e308]], 2.0).in_ball(Fraction(10) ** 700)
    assert not certified(Ball(4.0)).holds(ellipsoid([0], [[1e308]], 2.0))


@pytest.mark.parametrize("mu", [(0, 0), (3, 4), (-4, 3)])
def test_an_ellipsoid_in_a_ball_that_it_touches(mu: tuple[float, float]) -> None:
    """Both are open: it lies within the ball that its own reach makes, and not within a smaller one."""
    proved = ellipsoid(mu, [[1, 0], [0, 0.5]], 1.5)
    farthest = Fraction(math.isqrt(int(mu[0] ** 2 + mu[1] ** 2))) + Fraction(proved._reach)
    assert proved.in_ball(farthest**2)
    assert not proved.in_ball(farthest**2 - Fraction(1, 2**200))
    assert proved.in_ball(farthest**2 + 1)
    assert not proved.in_ball(Fraction(1, 2))


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
def test_an_ellipsoid_in_a_box_that_it_touches(radius: float) -> None:
    proved = ellipsoid([5, 0], [[1.5, 2], [0, 1]], radius)
    lo, hi = np.array([5 - 2.5 * radius, -radius]), np.array([5 + 2.5 * radius, radius])
    assert certified(Box(lo, hi)).holds(proved)
    for i in range(2):
        for side, inwards in ((0, 9.0), (1, -9.0)):
            cut = [lo.copy(), hi.copy()]
            cut[side][i] = np.nextafter(cut[side][i], inwards)
            assert not certified(Box(*cut)).holds(proved)
    assert not certified(Box([9, -9], [99, 9])).holds(ellipsoid([5, 0], np.eye(2), 1.0))


def test_a_flat_ellipsoid_in_a_face_of_the_box() -> None:
    flat = ellipsoid([1, 0], [[0, 0], [0, 1]], 1.0)
    assert certified(Box([1, -1], [2, 1])).holds(flat)
    assert certified(Box([0, -1], [1, 1])).holds(flat)
    assert not certified(Box([0, -1], [0.5, 1])).holds(flat)


# --- the farthest point --------------------------------------------------------------------------------------------


def test_what_is_computed_without_rounding_counted() -> None:
    """3·1 + ‖(3, 4)‖ and no more."""
    proved = ellipsoid([1, 0], [[1, 0], [0, 0.5]], 1.0)
    assert support(proved, [3, 8], rigorous=False) == 8 < support(proved, [3, 8])


def test_a_support_of_a_few_roundings() -> None:
    """The first numbers are ones of which more than two roundings are lost."""
    worst = [1.240188260561334, 0.7841658107102936, 1.3393163254950655, 1.820666661473489]
    for mu, v, axis, radius in [worst, *np.random.default_rng(1).uniform(0.5, 2, (100, 4)).tolist()]:
        for middle in (mu, 0.0):
            truth = Fraction(v) * (Fraction(middle) + Fraction(axis) * Fraction(radius))
            found = support(ellipsoid([middle], [[axis]], radius), [v])
            assert truth <= Fraction(found) <= truth * (1 + Fraction(1, 2**47))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_product_with_the_middle_that_is_swallowed_and_cancelled(sign: int) -> None:
    """(d − 2)·u remain of two ones that cancel, and 0 is computed. Or nothing cancels, and all signs are turned."""
    for pair in (swallowed, swallowed_and_cancelled):
        a, z = pair(64, torch.float64)
        for mu, v in ((sign * z, sign * a), (sign * a, sign * z)):
            proved = ellipsoid(mu.numpy(), np.zeros((64, 64)), 1.0)
            with summed_one_by_one():
                assert Fraction(support(proved, v)) >= exact_dot(a, z)


@pytest.mark.parametrize("scale", [1, 2.0**40])
def test_a_product_with_a_column_that_is_swallowed_and_cancelled(scale: float) -> None:
    a, z = swallowed_and_cancelled(64, torch.float64)
    for v, column in ((a, z), (z, a)):
        factor = torch.zeros((64, 64), dtype=torch.float64)
        factor[:, 0] = column
        with summed_one_by_one():
            assert Fraction(support(ellipsoid(np.zeros(64), factor.numpy(), 1.0), v * scale)) >= scale * exact_dot(
                a, z
            )


def test_a_column_and_a_length_that_are_both_swallowed() -> None:
    """1 + 511u of the first column, and 511 others of 2⁻²⁷, make a length of 1 + 638u; 1 is computed."""
    d = 512
    v, column = swallowed(d, torch.float64)
    factor = torch.eye(d, dtype=torch.float64) / 2
    factor[:, 0], factor[0, 1:] = column, 0.0
    square = exact_dot(v, column) ** 2 + (d - 1) * Fraction(1, 2**54)
    with summed_one_by_one():
        assert support(ellipsoid(np.zeros(d), factor.numpy(), 1.0), v, rigorous=False) == 1
        assert Fraction(support(ellipsoid(np.zeros(d), factor.numpy(), 1.0), v)) ** 2 >= square


def test_an_error_of_the_vector_over_a_middle_whose_length_is_swallowed() -> None:
    """‖μ‖ = √(1 + 63·2⁻⁵⁴) is computed as 1, and with v = 0 there is no other room for it."""
    mu = np.full(64, 2.0**-27)
    mu[0] = 1.0
    proved = ellipsoid(mu, np.eye(64) * 2.0**-90, 1.0)
    with summed_one_by_one():
        found = support(proved, [0.0] * 64, 1.0)
    assert 1 + 63 * Fraction(1, 2**54) <= Fraction(found) ** 2 <= 1.02


@pytest.mark.parametrize("radius", [2.0**-600, 1.0, 2.0**1000])
def test_products_that_underflow(radius: float) -> None:
    """Four products of 2⁻¹⁰⁷⁶, each of which is 0; those with L count r-fold."""
    small, v = np.full(4, 2.0**-500), [2.0**-576] * 4
    assert Fraction(support(ellipsoid(small, np.zeros((4, 4)), radius), v)) >= Fraction(1, 2**1074)
    column = np.zeros((4, 4))
    column[:, 0] = small
    found = support(ellipsoid(np.zeros(4), column, radius), v)
    assert Fraction(found) >= Fraction(radius) / 2**1074
