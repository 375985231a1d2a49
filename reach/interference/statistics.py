"""The statistics that a matrix is summarised by, each with what chance gives it.

The chance values are closed forms for independent directions, uniform on the sphere of R^d (`packing`), and where no
closed form is at hand there is none: the Gaussian control then stands for it.

*Features per dimension and dimensionality* are the two measures of Elhage et al. 2022, *Toy Models of Superposition*.
**Features per dimension**, ‖W‖²_F/d, was meant for rows whose length is near 1 or 0: then ‖W‖²_F counts the features
that are represented. It is a sum of squared lengths, so 3·W has nine times as many "features per dimension" as W. A
head's rows have whatever length training, weight decay and the final norm's scale γ leave them, and the number mostly
reports that.

**Dimensionality of feature i**, D_i = ‖W_i‖²/Σ_j (Ŵ_i·W_j)² with Ŵ_i = W_i/‖W_i‖, is the share of its own direction
that is left to it: its squared length over the energy of all rows (itself included) along that direction. Scaling W
multiplies both by the same factor, which cancels. An orthogonal row has D_i = 1, each of an antipodal pair 1/2, and
all D_i together never exceed the rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from reach.interference import packing
from reach.interference.matrices import UnitRows
from reach.interference.pairs import PairStatistics, all_pairs
from reach.interference.structure import Blocks, find_blocks
from reach.interference.theory import subspaces_from_moments

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
    return lambda _, d: packing.abs_cos_quantile(q, d)


STATISTICS = (
    Statistic(
        "mean", "mean |cos|", "Average interference of two different tokens.", lambda _, d: packing.mean_abs_cos(d)
    ),
    Statistic(
        "mean_square",
        "mean cos²",
        "The same with strong interference counting more; 1/d by chance.",
        lambda _, d: packing.mean_square_cos(d),
    ),
    Statistic("median", "median |cos|", "Half of all pairs lie above it.", _quantile(0.5)),
    Statistic("q90", "90 % quantile", "One pair in ten lies above it.", _quantile(0.9)),
    Statistic("q99", "99 % quantile", "One pair in a hundred lies above it.", _quantile(0.99)),
    Statistic("q999", "99.9 % quantile", "One pair in a thousand lies above it.", _quantile(0.999)),
    Statistic(
        "mean_strongest", "mean strongest |cos|", "Average over tokens of their strongest interferer.",
        packing.expected_strongest,
    ),
    Statistic("coherence", "coherence", "The largest |cos| of all pairs.", packing.expected_coherence),
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
    blocks: Blocks | None


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
        split = found
    return Measured(rows, pairs, dimensionality, values, split)


def by_chance(v: int, d: int) -> dict[str, float]:
    """The statistics of V random directions, where there is a formula."""
    return {statistic.key: statistic.chance(v, d) for statistic in STATISTICS if statistic.chance is not None}


# --- dimensions ---


def features_per_dimension(rows: UnitRows) -> float:
    """‖W‖²_F/d. Grows with the square of W's scale."""
    return float(rows.gram.trace()) / len(rows.gram)


def dimensionalities(rows: UnitRows) -> Float64[np.ndarray, " n"]:
    """‖W_i‖²/Σ_j (Ŵ_i·W_j)² for each row. Does not change with W's scale.

    Σ_j (Ŵ_i·W_j)² = Ŵ_iᵀ(WᵀW)Ŵ_i, so that the d×d Gram matrix does it: V·d² operations in place of V²·d.
    """
    found = np.empty(len(rows.unit))
    step = max(1, 2**22 // rows.unit.shape[1])
    for start in range(0, len(found), step):
        unit = rows.unit[start : start + step].double()
        energy = ((unit @ rows.gram) * unit).sum(dim=1).numpy()
        found[start : start + step] = rows.norm[start : start + step] ** 2 / energy
    return found


@dataclass(frozen=True)
class Spectrum:
    """Summaries of the singular values σ of the rows.

    Attributes:
        effective_rank: exp(−Σ p ln p) with p = σ/Σσ (Roy and Vetterli 2007, *The effective rank*).
        participation_ratio: (Σσ²)²/Σσ⁴. Both are d for equal σ and 1 for a single one.
        numerical_rank: σ above max(V, d)·2⁻²³·σ₁, the usual cut at the rounding of float32.
        values: `(d,)` σ, the largest first.
    """

    effective_rank: float
    participation_ratio: float
    numerical_rank: int
    values: Float64[np.ndarray, " d"]


def spectrum(rows: UnitRows) -> Spectrum:
    """The spectrum, from the d×d Gram matrix in float64 (which keeps σ down to about 1e-8·σ₁)."""
    squared = torch.linalg.eigvalsh(rows.gram).flip(0).clamp(min=0).numpy()
    values = np.sqrt(squared)
    share = values[values > 0] / values.sum()
    cut = max(len(rows.unit), len(squared)) * 2.0**-23 * values[0]
    return Spectrum(
        effective_rank=float(np.exp(-(share * np.log(share)).sum())),
        participation_ratio=float(squared.sum() ** 2 / (squared**2).sum()),
        numerical_rank=int((values > cut).sum()),
        values=values,
    )


def mean_share(rows: UnitRows) -> float:
    """‖mean of the unit rows‖²: the anisotropy. 1 if all rows point one way, about 1/V for random directions.

    It equals the mean cosine (with its sign) over all V² ordered pairs, rows with themselves included.
    """
    total = torch.zeros(rows.unit.shape[1], dtype=torch.float64)
    step = max(1, 2**22 // rows.unit.shape[1])
    for start in range(0, len(rows.unit), step):
        total += rows.unit[start : start + step].double().sum(dim=0)
    return float((total / len(rows.unit)).square().sum())
