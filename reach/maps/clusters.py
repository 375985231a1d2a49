"""An even cut of a vocabulary into clusters: k-means in the space of its principal components."""

from __future__ import annotations

import math
import warnings

import numpy as np
from jaxtyping import Float, Int, Shaped

MOST = 20
_ROWS_EACH = 40
TYPICAL = 5


def clusters(coordinates: Float[np.ndarray, "v k"]) -> tuple[Shaped[np.ndarray, " v"], Int[np.ndarray, "c t"]]:
    """Cut rows into at most 20 clusters, the square root of a 40th of their number.

    k-means (Lloyd's steps from a k-means++ start with a fixed seed), since every row belongs to one and its time is
    bounded; the clusters are as round as k-means makes them, whatever the rows are like.

    Returns:
        The cluster of each row (uint8, the largest cluster is 0), and for each cluster the ids of the rows nearest to
        its centre, nearest first, -1 where it has fewer than five.
    """
    v = len(coordinates)
    count = min(MOST, math.isqrt(v // _ROWS_EACH))
    label, centres = np.zeros(v, dtype=np.int64), coordinates.mean(axis=0, keepdims=True)
    if count > 1 and bool((coordinates != coordinates[0]).any()):
        label, centres = _k_means(coordinates, count)
    sizes = np.bincount(label, minlength=len(centres))
    order = [one for one in np.argsort(-sizes, kind="stable").tolist() if sizes[one]]
    rank = np.zeros(len(centres), dtype=np.uint8)
    rank[order] = np.arange(len(order), dtype=np.uint8)
    typical = np.full((len(order), TYPICAL), -1, dtype=np.int32)
    for at, one in enumerate(order):
        members = np.flatnonzero(label == one)
        distance = np.square(coordinates[members] - centres[one]).sum(axis=1)
        nearest = members[np.argsort(distance, kind="stable")[:TYPICAL]]
        typical[at, : len(nearest)] = nearest
    return rank[label], typical


def _k_means(coordinates: Float[np.ndarray, "v k"], count: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        # Fewer different rows than clusters: some stay empty and are left out.
        warnings.simplefilter("ignore")
        found = KMeans(count, n_init=1, max_iter=60, random_state=0, copy_x=True).fit(coordinates)
    return found.labels_.astype(np.int64), found.cluster_centers_
