"""Structure beyond pairs: orthogonal groups of rows, and a dictionary with more directions than dimensions.

*Groups.* Spectral clustering of the graph whose edges are |cos|. If the rows fall into k groups that are orthogonal
to each other, the graph falls into k parts and its normalised Laplacian has exactly k eigenvalues 0 (von Luxburg
2007, *A Tutorial on Spectral Clustering*). Nearly orthogonal groups leave k small eigenvalues and then a gap. The k
found is the place of the widest gap; without a split it is 1.

*Dictionary.* An SVD returns at most rank many directions, all orthogonal. A Johnson–Lindenstrauss packing has many
more, nearly orthogonal ones, and rows that are sparse combinations of these are reconstructed better, at the same
number of coefficients per row, by an overcomplete dictionary. The dictionary is learned on one part of the rows and
judged on the other, on which a dictionary that only memorises rows shows no advantage.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int

from solvers.errors import BadInput, MissingExtra

# --- groups ---

MOST_BLOCKS = 32


@dataclass(frozen=True)
class Blocks:
    """A split of the rows.

    Attributes:
        k: number of groups; 1 means that no split was found.
        gap: how far eigenvalue k+1 of the Laplacian lies above eigenvalue k.
        connectivity: the second eigenvalue: 0 iff the rows fall into orthogonal groups.
        within: mean |cos| between rows of one group.
        between: mean |cos| between rows of different groups; none for one group.
        sizes: rows in each group, the largest first.
        rows: rows that were looked at.
        eigenvalues: the smallest eigenvalues of the Laplacian.
    """

    k: int
    gap: float
    connectivity: float
    within: float | None
    between: float | None
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
        within=float(graph[same].sum()) / inner if inner else None,
        between=float(graph[~same].sum()) / outer if outer else None,
        sizes=tuple(sorted(np.bincount(labels, minlength=k).tolist(), reverse=True)),
        rows=len(rows),
        eigenvalues=tuple(float(value) for value in eigenvalues),
    )


def _cluster(vectors: Float64[np.ndarray, "n k"], k: int, seed: int) -> Int[np.ndarray, " n"]:
    """k-means of the eigenvectors' rows, scaled to length 1 (Ng, Jordan and Weiss 2001)."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (
        _scikit("cluster")
        .KMeans(n_clusters=k, n_init=4, random_state=seed)
        .fit_predict(vectors / np.maximum(length, 1e-12))
    )


# --- dictionary ---

SPARSITIES = (1, 2, 4, 8, 16, 32)
_PENALTY = 0.1
"""Weight of the L1 term while learning, for rows of length 1. Judging uses a fixed number of coefficients instead."""


@dataclass(frozen=True)
class DictionaryCurve:
    """Reconstruction against sparsity on rows that were not learned from.

    Attributes:
        atoms: directions in the dictionary.
        svd_directions: directions that the SVD of the same size has: at most the rank.
        learned_from: rows.
        judged_on: rows.
        sparsity: coefficients per row.
        dictionary: share of the squared length explained by the dictionary, per sparsity.
        svd: the same for the largest coefficients in the SVD's basis, chosen row by row.
        svd_fixed: the same for the first singular directions, the same ones for every row.
    """

    atoms: int
    svd_directions: int
    learned_from: int
    judged_on: int
    sparsity: tuple[int, ...]
    dictionary: tuple[float, ...]
    svd: tuple[float, ...]
    svd_fixed: tuple[float, ...]

    def __post_init__(self) -> None:
        if (
            not self.sparsity
            or len({len(self.sparsity), len(self.dictionary), len(self.svd), len(self.svd_fixed)}) > 1
        ):
            raise BadInput("a dictionary's curves have not one value for each sparsity")


def dictionary_curve(
    unit: Float[np.ndarray, "n d"], *, overcomplete: float = 2.0, most_rows: int = 4096, seed: int = 0
) -> DictionaryCurve:
    """Learn a dictionary of `overcomplete`·d atoms and compare.

    Args:
        unit: rows of length 1.
        overcomplete: atoms per dimension, more than 1.
        most_rows: use at most so many rows, drawn at random.
        seed: of that draw and of the learning.

    Raises:
        BadInput: too few rows to learn from: fewer than two per atom after a quarter is kept for judging.
        MissingExtra: scikit-learn is not installed.
    """
    learner = _scikit("decomposition").MiniBatchDictionaryLearning
    if not overcomplete > 1:
        raise BadInput(f"an overcomplete dictionary has more than 1 atom per dimension, not {overcomplete:g}")
    generator = np.random.default_rng(seed)
    rows = np.asarray(unit[generator.permutation(len(unit))[:most_rows]], dtype=np.float64)
    train, test = rows[len(rows) // 4 :], rows[: len(rows) // 4]
    d = rows.shape[1]
    atoms = int(overcomplete * d)
    if len(train) < 2 * atoms:
        raise BadInput(
            f"a dictionary of {atoms} atoms needs at least {2 * atoms} rows to learn from, and {len(train)} of the "
            f"{len(unit)} rows are at hand"
        )
    with warnings.catch_warnings():
        # A code that is not quite converged in one step of learning is no fault: the judging below solves its own.
        warnings.simplefilter("ignore")
        fitted = learner(
            n_components=atoms,
            alpha=_PENALTY,
            fit_algorithm="cd",
            batch_size=min(512, len(train)),
            max_iter=12,
            random_state=seed,
        ).fit(train)
    basis = np.linalg.svd(train, full_matrices=False)[2]
    sparsity = tuple(s for s in SPARSITIES if s <= d // 2) or (1,)
    in_basis = test @ basis.T
    largest = -np.sort(-(in_basis**2), axis=1)
    total = float((test**2).sum())
    return DictionaryCurve(
        atoms=atoms,
        svd_directions=len(basis),
        learned_from=len(train),
        judged_on=len(test),
        sparsity=sparsity,
        dictionary=tuple(_explained(test, fitted.components_, s) for s in sparsity),
        svd=tuple(float(largest[:, :s].sum()) / total for s in sparsity),
        svd_fixed=tuple(float((in_basis[:, :s] ** 2).sum()) / total for s in sparsity),
    )


def _explained(rows: np.ndarray, atoms: np.ndarray, sparsity: int) -> float:
    """Share of the squared length that orthogonal matching pursuit explains with so many atoms per row."""
    unit = atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-12)
    codes = _scikit("linear_model").orthogonal_mp_gram(unit @ unit.T, unit @ rows.T, n_nonzero_coefs=sparsity)
    rest = rows - codes.reshape(len(unit), len(rows)).T @ unit
    return 1 - float((rest**2).sum()) / float((rows**2).sum())


# --- scikit-learn ---


def require_scikit_learn() -> None:
    """See that what this module needs of scikit-learn can be imported, before hours of work that end in it.

    Raises:
        MissingExtra: it cannot.
    """
    for part in ("cluster", "decomposition", "linear_model"):
        _scikit(part)


def _scikit(part: str) -> Any:
    """A module of scikit-learn, imported on use: it takes a while."""
    try:
        return importlib.import_module(f"sklearn.{part}")
    except ImportError:
        raise MissingExtra(
            "scikit-learn is not installed: pip install scikit-learn, or leave those parts out with --without "
            "blocks,dictionary"
        ) from None
