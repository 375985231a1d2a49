"""Is the space split? Orthogonal groups of rows, by spectral clustering of the graph whose edges are |cos|.

If the rows fall into k groups that are orthogonal to each other, the graph falls into k parts and its normalised
Laplacian has exactly k eigenvalues 0 (von Luxburg 2007, *A Tutorial on Spectral Clustering*). Nearly orthogonal
groups leave k small eigenvalues and then a gap. The k found is the place of the widest gap; without a split it is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int

from solvers.errors import BadInput, MissingExtra

MOST_BLOCKS = 32


@dataclass(frozen=True)
class Blocks:
    """A split of the rows.

    Attributes:
        k: number of groups; 1 means that no split was found.
        gap: how far eigenvalue k+1 of the Laplacian lies above eigenvalue k.
        connectivity: the second eigenvalue: 0 iff the rows fall into orthogonal groups.
        within: mean |cos| between rows of one group.
        between: mean |cos| between rows of different groups; nan for one group.
        sizes: rows in each group, the largest first.
        rows: rows that were looked at.
        eigenvalues: the smallest eigenvalues of the Laplacian.
    """

    k: int
    gap: float
    connectivity: float
    within: float
    between: float
    sizes: tuple[int, ...]
    rows: int
    eigenvalues: tuple[float, ...]


def find_blocks(unit: Float[torch.Tensor, "n d"], *, sample: int = 1024, seed: int = 0) -> Blocks:
    """Look for orthogonal groups.

    Args:
        unit: rows of length 1.
        sample: at most so many rows, drawn at random: the graph has this number squared edges.
        seed: of that draw and of the clustering's starts.

    Raises:
        BadInput: fewer than three rows.
    """
    if len(unit) < 3:
        raise BadInput(f"blocks need at least 3 rows, not {len(unit)}")
    pick = np.arange(len(unit))
    if len(unit) > sample:
        pick = np.sort(np.random.default_rng(seed).choice(len(unit), sample, replace=False))
    rows = unit[torch.from_numpy(pick)].double()
    graph = (rows @ rows.T).abs().fill_diagonal_(0)
    # A row orthogonal to all others is a part of its own; its degree must not divide by zero.
    root = graph.sum(dim=1).clamp(min=1e-12).rsqrt()
    values, vectors = torch.linalg.eigh(graph * root[:, None] * root)
    most = min(MOST_BLOCKS, len(rows) - 1)
    eigenvalues = (1 - values.flip(0)[: most + 1]).clamp(min=0).numpy()
    gaps = np.diff(eigenvalues)
    k = int(gaps.argmax()) + 1
    labels = np.zeros(len(rows), dtype=np.int64)
    if k > 1:
        labels = _cluster(vectors.flip(1)[:, :k].numpy(), k, seed)
    same = torch.from_numpy(labels[:, None] == labels)
    inner = int(same.sum()) - len(rows)
    outer = int((~same).sum())
    return Blocks(
        k=k,
        gap=float(gaps[k - 1]),
        connectivity=float(eigenvalues[1]),
        within=float(graph[same].sum()) / inner if inner else float("nan"),
        between=float(graph[~same].sum()) / outer if outer else float("nan"),
        sizes=tuple(sorted(np.bincount(labels, minlength=k).tolist(), reverse=True)),
        rows=len(rows),
        eigenvalues=tuple(float(value) for value in eigenvalues),
    )


def _cluster(vectors: Float64[np.ndarray, "n k"], k: int, seed: int) -> Int[np.ndarray, " n"]:
    """k-means of the eigenvectors' rows, scaled to length 1 (Ng, Jordan and Weiss 2001)."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return _kmeans()(n_clusters=k, n_init=4, random_state=seed).fit_predict(vectors / np.maximum(length, 1e-12))


def _kmeans() -> type:
    """scikit-learn's KMeans, imported on use.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise MissingExtra(
            "scikit-learn is not installed: pip install 'token-reachability[interference]', or leave those parts "
            "out with --without blocks,dictionary"
        ) from None
    found: type = KMeans
    return found
