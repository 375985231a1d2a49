"""The statistics that a matrix is summarised by, each with what chance gives it.

The chance values are closed forms for independent directions, uniform on the sphere of R^d (`chance`), and where no
closed form is at hand there is none: the Gaussian control then stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reach.interference import chance
from reach.interference.blocks import find_blocks
from reach.interference.bounds import coherence_bound
from reach.interference.dimensionality import dimensionalities, features_per_dimension
from reach.interference.moments import subspaces_from_moments
from reach.interference.pairs import PairStatistics, all_pairs
from reach.interference.rows import UnitRows
from reach.interference.spectrum import mean_share, spectrum

ByChance = Callable[[int, int], float]


@dataclass(frozen=True)
class Statistic:
    """A number that summarises a matrix.

    Attributes:
        key: its name in files.
        title: its name for a person.
        words: what it says, in one sentence.
        chance: its value for V random directions in d dimensions, as a function of V and d; none without a formula.
    """

    key: str
    title: str
    words: str
    chance: ByChance | None = None


def _quantile(q: float) -> ByChance:
    return lambda _, d: chance.abs_cos_quantile(q, d)


STATISTICS = (
    Statistic(
        "mean", "mean |cos|", "Average interference of two different tokens.", lambda _, d: chance.mean_abs_cos(d)
    ),
    Statistic(
        "mean_square",
        "mean cos²",
        "The same with strong interference counting more; 1/d by chance.",
        lambda _, d: chance.mean_square_cos(d),
    ),
    Statistic("median", "median |cos|", "Half of all pairs lie above it.", _quantile(0.5)),
    Statistic("q90", "90 % quantile", "One pair in ten lies above it.", _quantile(0.9)),
    Statistic("q99", "99 % quantile", "One pair in a hundred lies above it.", _quantile(0.99)),
    Statistic("q999", "99.9 % quantile", "One pair in a thousand lies above it.", _quantile(0.999)),
    Statistic(
        "mean_strongest", "mean strongest |cos|", "Average over tokens of their strongest interferer.",
        chance.expected_strongest,
    ),
    Statistic("coherence", "coherence", "The largest |cos| of all pairs.", chance.expected_coherence),
    Statistic(
        "frame",
        "frame potential · d/V²",
        "Σ cos² over all ordered pairs, relative to its minimum V²/d: 1 for a tight frame, which uses all directions "
        "alike.",
        lambda v, d: (1 + (v - 1) / d) * d / v,
    ),
    Statistic(
        "features_per_dimension",
        "‖W‖²_F/d",
        "Features per dimension. Depends on the scale of the rows, so it has no chance value of its own.",
    ),
    Statistic(
        "dimensionality",
        "median dimensionality",
        "The share of its own direction that a token has to itself, at the median token; free of scale.",
        lambda v, d: 1 / (1 + (v - 1) / d),
    ),
    Statistic("effective_rank", "effective rank (entropy)", "Dimensions in use, by the entropy of singular values."),
    Statistic(
        "participation",
        "participation ratio",
        "Dimensions in use, by (Σσ²)²/Σσ⁴: strong directions count more than in the entropy.",
        lambda v, d: v * d / (v + d + 1),
    ),
    Statistic(
        "numerical_rank", "numerical rank", "Dimensions in use at all, at the rounding of float32.",
        lambda v, d: float(min(v, d)),
    ),
    Statistic(
        "mean_share",
        "mean direction's share",
        "‖mean of the unit rows‖²: how much all rows have in common (anisotropy).",
        lambda v, _: 1 / v,
    ),
    Statistic(
        "k_moments",
        "subspaces by moments",
        "The number of orthogonal subspaces that the first two moments of |cos| suggest; 1 by chance.",
        lambda _v, _d: 1.0,
    ),
    Statistic("blocks", "blocks found", "Orthogonal groups that spectral clustering finds; 1 means no split."),
    Statistic(
        "connectivity",
        "connectivity",
        "Second eigenvalue of the |cos| graph's Laplacian: 0 if the rows fall into orthogonal groups.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A matrix, measured.

    Attributes:
        rows: the rows that have a direction.
        pairs: what the pass over all pairs found.
        dimensionality: `(n,)` per row.
        values: the statistics by key.
        blocks: the split of the space, or none where it was not asked for.
    """

    rows: UnitRows
    pairs: PairStatistics
    dimensionality: np.ndarray
    values: dict[str, float]
    blocks: dict[str, object] | None


def measure(
    rows: UnitRows, thresholds: tuple[float, ...] = (), *, blocks: bool = True, jobs: int = 1, seed: int = 0
) -> Measured:
    """Compute every statistic of one matrix.

    Args:
        rows: the matrix, see `unit_rows`.
        thresholds: values of |cos| above which each row's partners are counted.
        blocks: whether to look for orthogonal groups (needs scikit-learn if there are any).
        jobs: threads for the pass over all pairs.
        seed: of the sample in which groups are looked for.
    """
    pairs = all_pairs(rows.unit, thresholds, jobs=jobs)
    n, d = rows.unit.shape
    # Σ cos² over all ordered pairs is ‖Gram‖²_F, exactly; the n rows with themselves contribute 1 each.
    potential = float(rows.unit_gram.square().sum())
    mean_square = max(0.0, (potential - n) / (n * (n - 1)))
    dimensionality = dimensionalities(rows)
    shape = spectrum(rows)
    values = {
        "mean": pairs.mean,
        "mean_square": mean_square,
        "median": pairs.quantile(0.5),
        "q90": pairs.quantile(0.9),
        "q99": pairs.quantile(0.99),
        "q999": pairs.quantile(0.999),
        "mean_strongest": float(pairs.strongest_cos.mean()),
        "coherence": pairs.coherence,
        "frame": potential * d / n**2,
        "features_per_dimension": features_per_dimension(rows),
        "dimensionality": float(np.median(dimensionality)),
        "effective_rank": shape.effective_rank,
        "participation": shape.participation_ratio,
        "numerical_rank": float(shape.numerical_rank),
        "mean_share": mean_share(rows),
        "k_moments": subspaces_from_moments(pairs.mean, mean_square, d) if pairs.mean > 1e-12 else float("nan"),
    }
    split = None
    if blocks and n >= 3:
        found = find_blocks(rows.unit, seed=seed)
        values |= {"blocks": float(found.k), "connectivity": found.connectivity}
        split = dict(found.__dict__)
    return Measured(rows, pairs, dimensionality, values, split)


def by_chance(v: int, d: int) -> dict[str, float]:
    """The statistics of V random directions, where there is a formula."""
    return {statistic.key: statistic.chance(v, d) for statistic in STATISTICS if statistic.chance is not None}


def least_coherence(v: int, d: int) -> float:
    """What no arrangement of V rows in d dimensions can stay below (see `bounds`)."""
    return coherence_bound(v, d)
