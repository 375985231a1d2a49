"""Maps that keep near rows near: UMAP and PaCMAP, by the packages of their authors, where these are installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float

from solvers.errors import MissingExtra

_EXTRAS = {"umap": "map", "pacmap": "pacmap"}
_PACKAGES = {"umap": "umap-learn", "pacmap": "pacmap"}
_NEIGHBOURS = 15
LEAST = 8
"""Rows; fewer have no neighbourhood to keep."""


def installed() -> tuple[str, ...]:
    """Those of the two that can be used here."""
    return tuple(name for name in _EXTRAS if find_spec(name) is not None)


def require(names: tuple[str, ...]) -> None:
    """See that projections asked for by name can be made.

    Raises:
        MissingExtra: the package of one is not installed.
    """
    for name in names:
        if name in _EXTRAS and name not in installed():
            raise MissingExtra(
                f"--map {name} needs: pip install {_PACKAGES[name]} (the extra {_EXTRAS[name]}), or leave it out for "
                "the map by principal components"
            )


def places(name: str, coordinates: Float[np.ndarray, "v k"]) -> Float[np.ndarray, "v 2"]:
    """A map of rows by their principal components. Each starts from the first two, with a fixed seed.

    Args:
        name: `umap` or `pacmap`.
        coordinates: at least `LEAST` rows.
    """
    if not bool((coordinates != coordinates[0]).any()):
        return np.zeros((len(coordinates), 2), dtype=np.float32)
    start = coordinates[:, :2] if coordinates.shape[1] > 1 else np.pad(coordinates, ((0, 0), (0, 1)))
    with warnings.catch_warnings():
        # About seeds that make it slower, and rows without enough different neighbours.
        warnings.simplefilter("ignore")
        found = _MAKERS[name](coordinates, start / np.abs(start).max())
    return np.nan_to_num(np.asarray(found, dtype=np.float32), posinf=0.0, neginf=0.0)


def _umap(coordinates: np.ndarray, start: np.ndarray) -> np.ndarray:
    from umap import UMAP

    near = min(_NEIGHBOURS, len(coordinates) - 1)
    mapper = UMAP(n_neighbors=near, metric="cosine", init=10 * start, random_state=0, n_jobs=1)
    found: np.ndarray = mapper.fit_transform(coordinates)
    return found


def _pacmap(coordinates: np.ndarray, start: np.ndarray) -> np.ndarray:
    from pacmap import PaCMAP

    near = min(10, (len(coordinates) - 1) // 2)
    mapper = PaCMAP(n_components=2, n_neighbors=near, distance="angular", apply_pca=False, random_state=0)
    found: np.ndarray = mapper.fit_transform(coordinates, init=start)
    return found


_MAKERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"umap": _umap, "pacmap": _pacmap}
