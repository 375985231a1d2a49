"""How many dimensions do the rows use? Effective ranks, numerical rank, and how much all rows have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from reach.interference.rows import UnitRows


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
