"""What a run says of tokens as they are served: a table, the points that prove one side, the weights of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from reach.bounded import is_there
from reach.runs.atomic import write_whole
from reach.runs.reading import read_table, read_tensors
from reach.runs.schema import SERVED, SERVED_WEIGHTS
from solvers.errors import BadInput

FILE, POINTS_FILE, WEIGHTS_FILE = "served.parquet", "served_points.safetensors", "served_weights.parquet"

Points = Mapping[str, Mapping[int, np.ndarray]]
"""By arithmetic and token id, float32 vectors."""


@dataclass(frozen=True)
class Served:
    """What comes out of a server, for the tokens that were asked for.

    Attributes:
        table: one row per arithmetic and token (schema `SERVED`).
        points: the stored certificates that a token comes out.
        weights: the certificates that it does not (schema `SERVED_WEIGHTS`).
    """

    table: pa.Table
    points: Points = field(default_factory=dict)
    weights: pa.Table = field(default_factory=SERVED_WEIGHTS.empty_table)


def points_to_arrays(points: Points) -> dict[str, np.ndarray]:
    """Points as a pair of arrays for each arithmetic."""
    arrays: dict[str, np.ndarray] = {}
    for name, found in points.items():
        if found:
            arrays[f"token_id.{name}"] = np.array(sorted(found), dtype=np.int32)
            arrays[f"point.{name}"] = np.stack([found[token] for token in sorted(found)]).astype(np.float32)
    return arrays


def points_from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[int, np.ndarray]] | None:
    """The same back; None where the arrays do not fit each other."""
    found: dict[str, dict[int, np.ndarray]] = {}
    names = {key.partition(".")[2] for key in arrays}
    for name in names:
        tokens, points = arrays.get(f"token_id.{name}"), arrays.get(f"point.{name}")
        if tokens is None or points is None or tokens.ndim != 1 or tokens.dtype.kind != "i":
            return None
        if points.ndim != 2 or len(points) != len(tokens) or points.dtype != np.float32:
            return None
        found[name] = dict(zip(tokens.tolist(), points, strict=True))
    return found


def write_served(folder: Path, served: Served) -> None:
    """Write it into a run folder."""
    write_whole(folder / FILE, lambda partial: pq.write_table(served.table, partial))
    write_whole(folder / WEIGHTS_FILE, lambda partial: pq.write_table(served.weights, partial))
    arrays = points_to_arrays(served.points)
    if arrays:
        write_whole(folder / POINTS_FILE, lambda partial: save_file(arrays, partial))


def read_served(folder: Path, *, again: str) -> Served | None:
    """Read it from a run folder; None where the run was not asked.

    Raises:
        BadInput: a part cannot be read, or the arrays of the points do not fit each other.
    """
    if not is_there(folder / FILE):
        return None
    table = read_table(folder / FILE, again=again, schema=SERVED)
    weights = read_table(folder / WEIGHTS_FILE, again=again, schema=SERVED_WEIGHTS)
    arrays = read_tensors(folder / POINTS_FILE, again=again) if is_there(folder / POINTS_FILE) else {}
    points = points_from_arrays(arrays)
    if points is None:
        raise BadInput(f"{folder / POINTS_FILE}: its arrays are missing or do not fit each other; {again}")
    return Served(table, points, weights)
