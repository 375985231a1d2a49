"""The map of the vocabulary on a scan's page: its words, and the places packed for the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reach.maps.found import MapFound
from reach.runs.map import VocabularyMap
from reports import plain
from reports.compression import packed
from reports.pack import pack
from reports.portable import portable

_STEPS = 2**16 - 1
_TITLES = {"pca": "principal components", "umap": "UMAP", "pacmap": "PaCMAP"}


@dataclass(frozen=True)
class MapView:
    """What the page shows.

    Attributes:
        note: why there is no map, or what it lacks; none if nothing is amiss.
        data: the places in base64 (`reports.pack`), empty where there is no map.
    """

    note: str | None
    data: str


def map_view(found: MapFound) -> MapView:
    """The map of a run as the page has it."""
    note = None if found.note is None else portable(found.note)
    return MapView(note, "" if found.map is None else packed(_pack(found.map)))


def _pack(found: VocabularyMap) -> bytes:
    columns: dict[str, npt.NDArray] = {"cluster": np.ascontiguousarray(found.cluster)}
    projections = []
    for name, places in found.places.items():
        left, low, unit = _frame(places)
        for at, (axis, start) in enumerate((("x", left), ("y", low))):
            # In one unit for both axes, and never out of order: what lies further right has no smaller number.
            steps = np.rint((places[:, at].astype(np.float64) - start) / unit)
            # High and low bytes apart: the high ones are worth deflating.
            coarse, fine = np.divmod(steps.clip(0, _STEPS).astype(np.uint16), 256)
            columns |= {f"{name}_{axis}": coarse.astype(np.uint8), f"{name}_{axis}_fine": fine.astype(np.uint8)}
        projections.append({
            "key": name, "title": _TITLES[name], "words": _words(name, found), "left": left, "low": low, "unit": unit,
        })  # fmt: skip
    typical = [[int(token) for token in tokens if token >= 0] for tokens in found.typical]
    header: dict[str, Any] = {"projections": projections, "typical": typical}
    return pack(header, columns)


def _frame(places: npt.NDArray[np.float32]) -> tuple[float, float, float]:
    """Where the map begins, and how long a step of its packed numbers is."""
    if not len(places):
        return 0.0, 0.0, 1.0
    low, high = places.min(axis=0).astype(np.float64), places.max(axis=0).astype(np.float64)
    unit = float((high - low).max()) / _STEPS
    return float(low[0]), float(low[1]), unit if unit > 0 else 1.0


def _words(name: str, found: VocabularyMap) -> str:
    if name == "pca":
        first, second = (float(one) for one in found.explained)
        if not first > 0:
            return "All rows are equal: the map is a single point."
        return (
            "The two directions along which the rows differ most: they carry "
            f"{_share(first)} and {_share(second)} of the variance, and "
            f"{_share(max(0.0, 1 - first - second))} of it is out of sight."
        )
    return (
        f"{_TITLES[name]} puts rows of similar direction near each other. How far apart clumps lie, and how large "
        "they are, says little."
    )


def _share(part: float) -> str:
    return plain.share(round(part * 10**9), 10**9)
