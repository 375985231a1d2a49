"""The theory against scikit-learn's function, published numbers and limits that can be worked out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from reach.interference import packing
from reach.interference.subspaces import SubspaceModel
from reach.interference.theory import predict, subspace_record, subspaces_from_moments, theory
from solvers.errors import BadInput


@pytest.mark.parametrize("n", [2, 100, 16377, 10**6, 10**9])
@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_dimensions_are_those_of_scikit_learn(n: int, epsilon: float) -> None:
    reference = pytest.importorskip("sklearn.random_projection").johnson_lindenstrauss_min_dim
    assert int(packing.dimensions_needed(n, epsilon)) == int(reference(n, eps=epsilon))


@pytest.mark.parametrize("epsilon", [1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999999])
def test_interference_inverts_both_ways(epsilon: float) -> None:
    dimensions = packing.dimensions_needed(5000, epsilon)
    assert packing.interference(5000, dimensions) == pytest.approx(epsilon, rel=1e-6)
    assert packing.tokens_that_fit(dimensions, epsilon) == pytest.approx(5000, rel=1e-9)


def test_interference_solves_its_cubic_to_rounding() -> None:
    for m, d in [(2, 1e12), (1e5, 1e4), (1e5, 24 * math.log(1e5))]:
        epsilon = packing.interference(m, d)
        assert epsilon**2 / 2 - epsilon**3 / 3 == pytest.approx(4 * math.log(m) / d, rel=1e-12)


def test_the_range_ends_where_interference_is_one_and_the_root_form_says_less() -> None:
    d = 24 * math.log(1000)
    assert packing.interference(1000, d) == pytest.approx(1, abs=1e-6)
    assert packing.tokens_at_range_end(d) == pytest.approx(1000)
    assert packing.interference_uncorrected(1000, d) == pytest.approx(1 / math.sqrt(3))  # where the cubic term bites
    # Far from the end both agree: the cubic term is a third of ε² relative to the square's half.
    assert packing.interference_uncorrected(1000, 1e9) == pytest.approx(packing.interference(1000, 1e9), rel=1e-3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: packing.interference(1000, 100), "the range ends at"),
        (lambda: packing.interference(1, 100), "number > 1"),
        (lambda: packing.interference(math.nan, 100), "number > 1"),
        (lambda: packing.interference(10, 0), "number > 0"),
        (lambda: packing.dimensions_needed(10, 1.0), "between 0 and 1"),
        (lambda: packing.dimensions_needed(10, math.nan), "between 0 and 1"),
        (lambda: packing.dimensions_needed(1, 0.5), "number > 1"),
        (lambda: packing.tokens_that_fit(-1, 0.5), "number > 0"),
        (lambda: SubspaceModel(16377, 64), r"d ≥ 232\.9"),
        (lambda: SubspaceModel(2, 64), "n ≥ 3"),
        (lambda: SubspaceModel(100, math.nan), "d ≥ 1"),
        (lambda: SubspaceModel(1e5, 1e4).optimum(0), "exponent α"),
        (lambda: SubspaceModel(1e5, 1e4).loss(2, math.inf), "exponent α"),
        (lambda: SubspaceModel(1e5, 1e4).epsilon(56), r"1 to 55\.59"),
        (lambda: packing.mean_abs_cos(1), "d = 1"),
        (lambda: packing.expected_max(0, 8), "at least one pair"),
        (lambda: packing.welch_bound(1, 3), "V ≥ 2"),
        (lambda: subspaces_from_moments(0.0, 0.0, 8), "orthogonal"),
    ],
)
def test_what_is_out_of_range_is_refused_in_one_line(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(BadInput, match=words) as refused:
        call()
    assert "\n" not in str(refused.value)


# --- subspaces ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> SubspaceModel:
    """The published numeric example."""
    return SubspaceModel(1e5, 1e4)


def test_published_example_has_interior_optima_that_move_left_up_to_two(published: SubspaceModel) -> None:
    optima = [published.optimum(alpha) for alpha in (0.5, 0.75, 1, 1.25, 1.5, 1.75, 2)]
    assert all(optimum.interior and 1 < optimum.k < published.k_end for optimum in optima)
    assert all(one.k > two.k for one, two in itertools.pairwise(optima))
    assert optima[0].k > 0.97 * published.k_end  # "if just barely for α = 0.5"
    assert published.optimum(2.2).k == 1


def test_published_range_ends_where_interference_reaches_one(published: SubspaceModel) -> None:
    assert published.reaches_one
    assert published.k_end * math.log(1e5 / published.k_end) == pytest.approx(1e4 / 24)
    assert published.epsilon(published.k_end) == pytest.approx(1, abs=1e-6)


def test_transition_to_three_digits(published: SubspaceModel) -> None:
    """At k = 1 the slope is α·s(1) − 1: with ε(1) = 0.0993 and ln n = 11.513, 1/s(1) is 2.113."""
    epsilon = published.epsilon(1.0)
    by_hand = 1 / ((0.5 - epsilon / 3) / (1 - epsilon) * (1 - 1 / math.log(1e5)))
    assert round(by_hand, 3) == 2.113
    transition = published.transition
    assert transition.lowest == pytest.approx(by_hand, abs=1e-6)
    assert transition.vanishes == pytest.approx(by_hand, abs=1e-6)  # the optimum leaves through the edge k = 1
    assert published.optimum(by_hand - 1e-3).interior
    assert not published.optimum(by_hand + 1e-3).interior
    assert round(transition.whole, 3) == 2.103  # between whole numbers of subspaces: L(2) = L(1)
    assert published.loss(2, transition.whole) == pytest.approx(1)


def test_where_the_elasticity_first_falls_the_two_transitions_differ() -> None:
    """With very many dimensions ε is small, and the logarithm alone moves s(k): it falls before it rises."""
    transition = SubspaceModel(1e5, 5e5).transition
    assert transition.vanishes > transition.lowest + 1e-3
    assert transition.vanishes_at > 1


def test_slope_is_the_derivative_of_the_loss(published: SubspaceModel) -> None:
    for k in (1.5, 7.0, 40.0, 55.0):
        step = 1e-5 * k
        numeric = (published.loss(k + step, 1.5) - published.loss(k - step, 1.5)) / (2 * step)
        assert published.slope(k, 1.5) == pytest.approx(numeric, rel=1e-5)


def test_optimum_is_the_lowest_of_a_fine_grid(published: SubspaceModel) -> None:
    for alpha in (0.3, 1.0, 1.9, 2.1, 3.0):
        lowest = min(published.loss(float(k), alpha) for k in published.grid(3001))
        assert published.optimum(alpha).loss <= lowest + 1e-9


def test_few_features_in_many_dimensions_never_reach_one() -> None:
    model = SubspaceModel(10, 1000)
    assert not model.reaches_one
    assert model.k_end == pytest.approx(10 / math.e)
    assert model.transition.vanishes == 0  # L has no minimum inside such a range, whatever α is
    assert not model.optimum(1.0).interior


def test_records_say_why_there_is_nothing() -> None:
    assert subspace_record(16377, 64, (1.0,)).reason
    found = theory(16377, 64, (1.0,))
    assert found.packing.epsilon is None
    assert "the range ends at 14.39" in found.packing.reason
    assert theory(100, 4096, (1.0,)).subspaces.reason is None


def test_the_fitted_exponent_prefers_the_moments_own_k() -> None:
    d, k = 4096, 3.0
    mean, mean_square = packing.mean_abs_cos(d) / math.sqrt(k), packing.mean_square_cos(d)
    found = predict(mean, mean_square, 4000, d)
    assert found.k_moments == pytest.approx(k)
    assert found.alpha is not None and found.k == pytest.approx(k, rel=1e-3)
    assert predict(mean, mean_square, 4000, 64).alpha is None


# --- bounds and chance --------------------------------------------------------------------------------------


def test_bounds_are_met_by_known_arrangements() -> None:
    assert packing.welch_bound(4, 3) == pytest.approx(1 / 3)  # simplex
    assert packing.welch_bound(3, 3) == 0  # orthonormal
    assert packing.welch_bound(6, 3) == pytest.approx(1 / math.sqrt(5))  # six diagonals of the icosahedron
    assert packing.orthoplex_bound(4, 2) == pytest.approx(math.sqrt(0.5))  # lines at 45°
    assert packing.levenshtein_bound(4, 2) == pytest.approx(math.sqrt(0.5))
    assert packing.orthoplex_bound(3, 2) == 0 == packing.levenshtein_bound(3, 2)
    assert packing.sidelnikov_bound(6, 3) == pytest.approx(packing.welch_bound(6, 3))
    # V lines of the plane at 180°/V have coherence cos(π/V), above every bound.
    for v in range(3, 40):
        assert packing.coherence_bound(v, 2) <= math.cos(math.pi / v) + 1e-12


def test_which_bound_is_best_depends_on_the_size() -> None:
    assert packing.levenshtein_bound(16377, 64) > packing.sidelnikov_bound(16377, 64) > packing.welch_bound(16377, 64)
    assert packing.sidelnikov_bound(10**7, 8) > packing.levenshtein_bound(10**7, 8)
    for v, d in [(16377, 64), (10**7, 8), (128_256, 4096)]:
        assert 0 < packing.coherence_bound(v, d) < packing.expected_coherence(v, d) < 1


def test_chance_in_the_plane_is_that_of_an_angle() -> None:
    """In the plane the angle is uniform: E|cos| = 2/π, the median is cos 45°."""
    assert packing.mean_abs_cos(2) == pytest.approx(2 / math.pi)
    assert packing.abs_cos_quantile(0.5, 2) == pytest.approx(math.sqrt(0.5))
    assert packing.abs_cos_quantile(0.5, 3) == pytest.approx(0.5)  # in space cos itself is uniform
    assert packing.expected_max(1, 3) == pytest.approx(0.5)
    assert packing.expected_max(9, 3) == pytest.approx(0.9, rel=1e-6)  # largest of nine uniform numbers


def test_expected_coherence_of_random_directions() -> None:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(40):
        rows = generator.standard_normal((60, 20))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        cosine = np.abs(rows @ rows.T)
        np.fill_diagonal(cosine, 0)
        found.append(cosine.max())
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - packing.expected_coherence(60, 20)) < 4 * error
