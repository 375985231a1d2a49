"""Measurements on arrangements whose numbers are known: orthonormal, simplex, cross-polytope, Gaussian, planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reach.interference import packing
from reach.interference.matrices import UnitRows, plain_rows, unit_rows
from reach.interference.pairs import BINS, all_pairs
from reach.interference.statistics import dimensionalities, features_per_dimension, mean_share, measure, spectrum
from reach.interference.structure import dictionary_curve, find_blocks
from solvers.errors import BadInput


def rows_of(matrix: object, **options: bool) -> UnitRows:
    return unit_rows(plain_rows(torch.as_tensor(matrix, dtype=torch.float64)), **options)


def gaussian(v: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(v, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def simplex(d: int) -> torch.Tensor:
    """d + 1 unit rows in d dimensions with all cosines −1/d."""
    corners = torch.eye(d + 1, dtype=torch.float64) - 1 / (d + 1)
    basis = torch.linalg.svd(corners)[2][:d]
    return corners @ basis.T


def cross_polytope(d: int) -> torch.Tensor:
    return torch.cat([torch.eye(d, dtype=torch.float64), -torch.eye(d, dtype=torch.float64)])


def values_of(matrix: object, **options: bool) -> dict[str, float]:
    return measure(rows_of(matrix, **options), blocks=False).values


# --- closed forms -------------------------------------------------------------------------------------------


def test_orthonormal_rows() -> None:
    values = values_of(torch.eye(8))
    assert values["coherence"] == values["mean"] == values["mean_square"] == 0
    assert values["dimensionality"] == pytest.approx(1)
    assert values["effective_rank"] == pytest.approx(8)
    assert values["participation"] == pytest.approx(8)
    assert values["numerical_rank"] == 8
    assert values["frame"] == pytest.approx(1)  # an orthonormal basis is a tight frame
    assert values["mean_share"] == pytest.approx(1 / 8)  # ‖(1/8, …, 1/8)‖²
    assert values["features_per_dimension"] == pytest.approx(1)
    assert math.isnan(values["k_moments"])


@pytest.mark.parametrize("d", [2, 5, 16])
def test_simplex(d: int) -> None:
    found = measure(rows_of(simplex(d)), blocks=False)
    assert found.values["coherence"] == pytest.approx(1 / d, abs=1e-6)  # Welch's bound, met
    assert found.values["mean"] == pytest.approx(1 / d, abs=1e-6)
    assert found.values["median"] == pytest.approx(1 / d, abs=1 / BINS)
    assert found.values["mean_square"] == pytest.approx(1 / d**2)
    assert found.values["mean_share"] == pytest.approx(0, abs=1e-12)
    # Σ_j cos² = 1 + d·(1/d)² and so D = 1/(1 + 1/d) = d/(d + 1); over all rows that is d, the rank.
    assert found.dimensionality == pytest.approx(np.full(d + 1, d / (d + 1)))


def test_cross_polytope() -> None:
    d = 6
    found = measure(rows_of(cross_polytope(d)), blocks=False)
    assert found.values["coherence"] == pytest.approx(1)
    assert found.values["mean"] == pytest.approx(1 / (2 * d - 1))  # one of the 2d − 1 others is the antipode
    assert found.dimensionality == pytest.approx(np.full(2 * d, 0.5))  # antipodal pairs share a direction
    assert list(found.pairs.strongest) == [(i + d) % (2 * d) for i in range(2 * d)]
    assert found.pairs.counts[0] == d * (2 * d - 2) and found.pairs.counts[-1] == d


def test_hand_computed_dimensionalities() -> None:
    """Rows (2, 0), (0, 1), (0, 3): the second meets energy 1 + 9 along its direction, so D = 1/10; the third 9/10."""
    assert dimensionalities(rows_of([[2.0, 0], [0, 1], [0, 3]])) == pytest.approx([1, 0.1, 0.9])
    # (1, 0) and (1, 1): along (1, 0) the energy is 1 + 1, D = 1/2; along (1, 1)/√2 it is 1/2 + 2, D = 2/2.5.
    assert dimensionalities(rows_of([[1.0, 0], [1, 1]])) == pytest.approx([0.5, 0.8])


def test_features_per_dimension_depends_on_scale_and_dimensionality_does_not() -> None:
    """‖3W‖² = 9‖W‖², while in D the factor 9 stands above and below the line."""
    rows = gaussian(40, 8)
    one, three = rows_of(rows), rows_of(3 * rows)
    assert features_per_dimension(three) == pytest.approx(9 * features_per_dimension(one))
    assert dimensionalities(three) == pytest.approx(dimensionalities(one))
    assert dimensionalities(one).sum() <= 8 + 1e-9
    assert spectrum(three).effective_rank == pytest.approx(spectrum(one).effective_rank)


def test_gaussian_rows_approach_their_limits() -> None:
    v, d = 3000, 24
    values = values_of(gaussian(v, d))
    assert values["mean"] == pytest.approx(packing.mean_abs_cos(d), rel=5e-3)
    assert values["mean_square"] == pytest.approx(1 / d, rel=1e-2)
    for key, q in (("median", 0.5), ("q90", 0.9), ("q99", 0.99), ("q999", 0.999)):
        assert values[key] == pytest.approx(packing.abs_cos_quantile(q, d), rel=2e-2)
    assert values["mean_strongest"] == pytest.approx(packing.expected_strongest(v, d), rel=2e-2)
    assert values["coherence"] == pytest.approx(packing.expected_coherence(v, d), rel=5e-2)
    assert values["k_moments"] == pytest.approx(1, rel=1e-2)
    assert values["participation"] == pytest.approx(v * d / (v + d + 1), rel=1e-2)
    assert values["mean_share"] == pytest.approx(1 / v, rel=1)


def test_a_common_direction_shows_as_anisotropy_and_centring_removes_it() -> None:
    rows = gaussian(2000, 16) * 0.1 + torch.eye(16, dtype=torch.float64)[0] * 5
    assert values_of(rows)["mean_share"] > 0.98
    assert values_of(rows, centred=True)["mean_share"] < 0.01
    assert mean_share(rows_of([[1.0, 0], [1, 0], [2, 0]])) == pytest.approx(1)


# --- the pass over all pairs --------------------------------------------------------------------------------


@pytest.mark.parametrize(("v", "tile", "jobs"), [(2, 512, 1), (97, 16, 1), (300, 128, 2), (300, 300, 2)])
def test_the_pass_finds_what_the_whole_matrix_says(v: int, tile: int, jobs: int) -> None:
    unit = rows_of(gaussian(v, 5, seed=v)).unit
    whole = (unit @ unit.T).abs().fill_diagonal_(0)
    seen = []
    found = all_pairs(unit, (0.3, 0.9), jobs=jobs, tile=tile, progress=seen.append)
    upper = whole[torch.triu_indices(v, v, 1).unbind()]
    assert found.mean == pytest.approx(float(upper.double().mean()), rel=1e-6)
    assert found.counts.sum() == found.pairs == v * (v - 1) // 2
    reference = np.bincount((upper.numpy() * BINS).astype(int), minlength=BINS)[:BINS]
    assert np.abs(reference - found.counts).sum() <= 2  # a product of another shape may round across an edge
    assert found.strongest_cos == pytest.approx(whole.amax(dim=1).numpy(), abs=1e-6)
    partners = whole[torch.arange(v), torch.from_numpy(found.strongest)].numpy()
    assert partners == pytest.approx(found.strongest_cos, abs=1e-6)
    for threshold, above in zip((0.3, 0.9), found.above, strict=True):
        assert np.abs((whole > threshold).sum(dim=1).numpy() - above).sum() <= 2
    assert sum(seen) == v * v
    for q in (0.1, 0.5, 0.99):
        assert found.quantile(q) == pytest.approx(float(torch.quantile(upper, q)), abs=0.05 if v < 5 else 0.02)


def test_equal_and_opposite_rows_have_cosine_one() -> None:
    rows = torch.cat([gaussian(50, 7), gaussian(50, 7), -2 * gaussian(3, 7)])
    found = all_pairs(rows_of(rows).unit)
    assert found.coherence == pytest.approx(1)
    assert found.strongest[60] == 10 and found.strongest[3] == 53
    assert found.counts[-1] >= 50


# --- bad input ----------------------------------------------------------------------------------------------


def test_zero_rows_are_refused_or_set_aside() -> None:
    matrix = torch.cat([torch.zeros(2, 4, dtype=torch.float64), gaussian(5, 4)])
    with pytest.raises(BadInput, match="rows 0, 1 are zero and have no direction"):
        rows_of(matrix)
    found = rows_of(matrix, allow_zero=True)
    assert list(found.zero) == [0, 1] and list(found.kept) == [2, 3, 4, 5, 6]
    with pytest.raises(BadInput, match="rows 0, 1 equal the mean row"):
        rows_of([[0.0, 0], [0, 0], [1, 2], [-1, -2]], centred=True)


def test_equal_rows_have_no_directions_once_centred() -> None:
    with pytest.raises(BadInput, match="all rows are equal"):
        rows_of(torch.ones(6, 3) * 0.1, centred=True, allow_zero=True)


def test_one_dimension_and_nan_are_refused() -> None:
    with pytest.raises(BadInput, match="d = 1: all rows are parallel"):
        rows_of([[1.0], [2.0], [3.0]])
    with pytest.raises(BadInput, match="NaN"):
        rows_of([[1.0, math.nan], [2.0, 1.0]])


# --- blocks and dictionary ----------------------------------------------------------------------------------


def test_planted_orthogonal_blocks_are_found() -> None:
    pytest.importorskip("sklearn")
    k, each, dims = 4, 60, 8
    rows = torch.zeros(k * each, k * dims, dtype=torch.float64)
    for block in range(k):
        rows[block * each : (block + 1) * each, block * dims : (block + 1) * dims] = gaussian(each, dims, seed=block)
    turn = torch.linalg.qr(gaussian(k * dims, k * dims))[0]
    found = find_blocks(rows_of(rows @ turn).unit)
    assert found.k == 4 and found.sizes == (60, 60, 60, 60)
    assert found.connectivity == pytest.approx(0, abs=1e-6) and found.between == pytest.approx(0, abs=1e-6)
    assert found.within == pytest.approx(packing.mean_abs_cos(dims), rel=0.05)
    # The moments agree: within a block cosines are those of d/k dimensions.
    assert values_of(rows @ turn)["k_moments"] == pytest.approx(k, rel=0.1)


def test_random_rows_are_one_block() -> None:
    found = find_blocks(rows_of(gaussian(400, 16)).unit, sample=200)
    assert found.k == 1 and found.rows == 200 and found.connectivity > 0.5
    with pytest.raises(BadInput, match="at least 3 rows"):
        find_blocks(rows_of(gaussian(2, 4)).unit)


def test_dictionary_finds_more_directions_than_dimensions() -> None:
    """Rows near one of 24 directions in 8 dimensions: 24 atoms explain them with one coefficient, 8 cannot."""
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(0)
    atoms = generator.standard_normal((24, 8))
    noise = 0.3 * generator.standard_normal((1200, 8))
    planted = rows_of(atoms[generator.integers(24, size=1200)] + noise).unit.numpy()
    found = dictionary_curve(planted, overcomplete=3)
    plain = dictionary_curve(rows_of(gaussian(1200, 8)).unit.numpy(), overcomplete=3)
    assert found.atoms == 24 and found.svd_directions == 8 and found.sparsity == (1, 2, 4)
    assert found.dictionary[0] > 0.8 > 0.65 > found.svd[0] > found.svd_fixed[0]
    assert found.dictionary[0] - found.svd[0] > 2 * (plain.dictionary[0] - plain.svd[0])
    assert list(found.dictionary) == sorted(found.dictionary)
    with pytest.raises(BadInput, match="needs at least"):
        dictionary_curve(planted[:30])
    with pytest.raises(BadInput, match="more than 1 atom"):
        dictionary_curve(planted, overcomplete=1)
