"""The map of a run: the rows of its head in two dimensions. Information for readers, no part of any proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped
from safetensors.numpy import save_file

from reach.bounded import is_there
from reach.runs.atomic import RUN_AGAIN, write_whole
from reach.runs.projections import PROJECTIONS
from reach.runs.reading import tensors_of
from solvers.errors import BadInput

FILE = "map.safetensors"
MOST_CLUSTERS = 256
_AGAIN = f"delete {FILE} and write the page again: it makes a new map"


@dataclass(frozen=True)
class VocabularyMap:
    """Where the rows of a head lie on a map, and which cluster each is in.

    Attributes:
        of: the fingerprint of the head.
        places: projection, one of `PROJECTIONS`, to `(v, 2)` float32. Those of `pca` are in units of the longest row.
        explained: `(2,)` shares of the rows' variance along the two axes of `pca`.
        cluster: `(v,)` uint8, the largest cluster first.
        typical: `(k, t)` ids of the tokens nearest to each cluster's centre, nearest first; -1 where there are fewer.
    """

    of: str
    places: Mapping[str, Float[np.ndarray, "v 2"]]
    explained: Float[np.ndarray, "2"]
    cluster: Shaped[np.ndarray, " v"]
    typical: Int[np.ndarray, "k t"]


def write_map(folder: Path, found: VocabularyMap, *, again: str = RUN_AGAIN) -> None:
    """Write a map into a run folder.

    Raises:
        BadInput: it cannot be written.
    """
    arrays = {name: np.ascontiguousarray(places, np.float32) for name, places in found.places.items()}
    arrays["explained"] = np.ascontiguousarray(found.explained, np.float64)
    arrays["cluster"] = np.ascontiguousarray(found.cluster, np.uint8)
    arrays["typical"] = np.ascontiguousarray(found.typical, np.int32)
    metadata = {"fingerprint": found.of}
    write_whole(folder / FILE, lambda partial: save_file(arrays, partial, metadata=metadata), again=again)


def read_map(folder: Path, rows: int | None = None) -> VocabularyMap | None:
    """The map of a run folder; None where it has none.

    Args:
        folder: the run.
        rows: tokens that the run has, where that is known.

    Raises:
        BadInput: it cannot be read, or its arrays do not fit each other or the run.
    """
    file = folder / FILE
    if not is_there(file):
        return None
    with tensors_of(file, again=_AGAIN) as content:
        metadata, names = content.metadata() or {}, set(content.keys())
        places = {name: content.get_tensor(name) for name in PROJECTIONS if name in names}
        explained, cluster, typical = (content.get_tensor(name) for name in ("explained", "cluster", "typical"))
    v = len(cluster) if cluster.ndim == 1 else -1
    fits = (
        v >= 0 and rows in (None, v) and cluster.dtype == np.uint8 and "pca" in places
        and all(one.shape == (v, 2) and one.dtype == np.float32 for one in places.values())
        and explained.shape == (2,) and explained.dtype == np.float64
        and typical.ndim == 2 and typical.dtype == np.int32 and len(typical) <= MOST_CLUSTERS
        and (v == 0 or int(cluster.max()) < len(typical))
        and (not typical.size or (int(typical.min()) >= -1 and int(typical.max()) < v))
    )  # fmt: skip
    if not fits:
        raise BadInput(f"{file}: its arrays are missing or do not fit each other or the run; {_AGAIN}")
    if not all(np.isfinite(one).all() for one in (*places.values(), explained)):
        raise BadInput(f"{file}: holds numbers that are not finite; {_AGAIN}")
    return VocabularyMap(metadata.get("fingerprint", ""), places, explained, cluster, typical)
