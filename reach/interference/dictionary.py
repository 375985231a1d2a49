"""A sparse dictionary of the rows beside their SVD: are there more directions in use than dimensions?

An SVD returns at most rank many directions, all orthogonal. A Johnson–Lindenstrauss packing has many more, nearly
orthogonal ones, and rows that are sparse combinations of these are reconstructed better, at the same number of
coefficients per row, by an overcomplete dictionary. The dictionary is learned on one part of the rows and judged on
the other, on which a dictionary that only memorises rows shows no advantage.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from solvers.errors import BadInput, MissingExtra

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
    learner = _learner()
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
    from sklearn.linear_model import orthogonal_mp_gram

    unit = atoms / np.maximum(np.linalg.norm(atoms, axis=1, keepdims=True), 1e-12)
    codes = orthogonal_mp_gram(unit @ unit.T, unit @ rows.T, n_nonzero_coefs=sparsity)
    rest = rows - codes.reshape(len(unit), len(rows)).T @ unit
    return 1 - float((rest**2).sum()) / float((rows**2).sum())


def _learner() -> type:
    try:
        from sklearn.decomposition import MiniBatchDictionaryLearning
    except ImportError:
        raise MissingExtra(
            "scikit-learn is not installed: pip install 'token-reachability[interference]', or leave those parts "
            "out with --without blocks,dictionary"
        ) from None
    found: type = MiniBatchDictionaryLearning
    return found
