"""Tokens whose trajectory is far from those of the others of their class.

A token's distance is the root mean square, over the steps, of its margin's deviation from the median of its class
there, in units of the class's spread (1.4826 times the median absolute deviation, which for normal values is the
standard deviation). Distances are compared on a logarithmic scale, where they are about symmetric, by the modified
z-score of Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers; above 3.5, as they recommend, is an outlier.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int

FAR = 3.5
LEAST = 20
"""Tokens that a class needs to have a middle."""
_NORMAL = 1.4826


def outlying(margin: Float64[np.ndarray, "t n"], classes: Int[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """The robust z of each token's distance from the median trajectory of its class.

    Args:
        margin: `(t, n)`; NaN where it is not known, which counts for nothing.
        classes: `(n,)` a number per token. Classes of fewer than 20 tokens are taken together.

    Returns:
        `(n,)`: NaN where a token has no margin, or its class is too small or has no spread.
    """
    size = np.bincount(classes)
    group = np.where(size[classes] < LEAST, -1, classes)
    found = np.full(len(classes), np.nan)
    for one in np.unique(group).tolist():
        mine = np.flatnonzero(group == one)
        if len(mine) >= LEAST:
            found[mine] = robust_z(np.log(_distance(margin[:, mine])))
    return found


def _distance(margin: Float64[np.ndarray, "t m"]) -> Float64[np.ndarray, " m"]:
    """Root mean square of the robust deviations over the steps that are known."""
    square = np.full(margin.shape, np.nan)
    for at, row in enumerate(margin):
        known = np.isfinite(row)
        if known.sum() >= LEAST:
            spread = _NORMAL * np.median(np.abs(row[known] - np.median(row[known])))
            if spread > 0:
                square[at, known] = ((row[known] - np.median(row[known])) / spread) ** 2
    count = np.isfinite(square).sum(axis=0)
    mean = np.divide(np.nansum(square, axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    return np.sqrt(np.maximum(mean, 1e-300))


def robust_z(values: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    """Distances from the median in units of the spread; NaN where half of all values are equal."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(values), np.nan)
    middle = np.median(values[known])
    spread = _NORMAL * np.median(np.abs(values[known] - middle))
    return (values - middle) / spread if spread > 0 else np.full(len(values), np.nan)
