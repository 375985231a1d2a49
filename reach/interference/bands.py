"""From the draws of a control to a band, and from a band to a z-score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reach.interference.statistics import Measured

SHOWN_BINS = 128
_PERCENTS = np.linspace(0, 1, 101)


def shapes(measured: Measured) -> dict[str, list[float]]:
    """The distributions of one matrix, short enough to be stored and drawn.

    `cosines`: probability density of |cos| over `SHOWN_BINS` bins of [0, 1]; `strongest` and `dimensionality`: their
    percentiles 0, 1, …, 100 over the tokens.
    """
    counts = measured.pairs.counts.reshape(SHOWN_BINS, -1).sum(axis=1)
    return {
        "cosines": (counts / max(1, counts.sum()) * SHOWN_BINS).tolist(),
        "strongest": np.quantile(measured.pairs.strongest_cos, _PERCENTS).tolist(),
        "dimensionality": np.quantile(measured.dimensionality, _PERCENTS).tolist(),
    }


def band(draws: list[dict[str, float]], model: dict[str, float]) -> dict[str, Any]:
    """Per statistic: mean, standard deviation and extremes over the draws, and the model's z-score.

    z = (model − mean)/sd. It has no value where all draws agree, and few draws make a rough sd: read its size, not
    its digits.
    """
    found = {}
    for key, own in model.items():
        values = np.array([draw[key] for draw in draws if key in draw], dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        mean = float(values.mean())
        sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        spread = math.isfinite(sd) and sd > 1e-9 * max(abs(mean), 1e-300)
        z = (own - mean) / sd if spread and math.isfinite(own) else None
        found[key] = {"mean": mean, "sd": sd, "low": float(values.min()), "high": float(values.max()), "z": z}
    return found


def shape_bands(draws: list[dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Per distribution the lowest and highest curve over the draws."""
    found = {}
    for key in draws[0]:
        stacked = np.array([draw[key] for draw in draws])
        found[key] = {"low": stacked.min(axis=0).tolist(), "high": stacked.max(axis=0).tolist()}
    return found
