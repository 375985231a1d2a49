"""The ceilings of a run: a table of bounds, and the points that prove those that no margin does."""

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
from reach.runs.schema import CEILINGS
from solvers.errors import BadInput

FILE, POINTS_FILE = "ceilings.parquet", "ceiling_points.safetensors"
_BITS = {"float32": np.float32, "float64": np.float64}


@dataclass(frozen=True)
class Ceilings:
    """How probable softmax can make each token that was asked for.

    Attributes:
        table: one row per token (schema `CEILINGS`).
        points: token id, of tokens with equal rows the first, to a float32 or float64 vector: the certificates of
            the kind `point`.
    """

    table: pa.Table
    points: Mapping[int, np.ndarray] = field(default_factory=dict)


def points_to_arrays(points: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
    """Points by token id as two pairs of arrays, one for each precision that occurs."""
    arrays: dict[str, np.ndarray] = {}
    for name, bits in _BITS.items():
        kept = sorted(token for token, point in points.items() if point.dtype == bits)
        if kept:
            arrays[f"token_id.{name}"] = np.array(kept, dtype=np.int32)
            arrays[f"point.{name}"] = np.stack([points[token] for token in kept])
    return arrays


def points_from_arrays(arrays: Mapping[str, np.ndarray]) -> dict[int, np.ndarray] | None:
    """The same back; None where the arrays do not fit each other."""
    found: dict[int, np.ndarray] = {}
    for name, bits in _BITS.items():
        tokens, points = (arrays.get(f"{part}.{name}") for part in ("token_id", "point"))
        if tokens is None and points is None:
            continue
        if tokens is None or points is None or tokens.ndim != 1 or tokens.dtype.kind != "i":
            return None
        if points.ndim != 2 or len(points) != len(tokens) or points.dtype != bits:
            return None
        found.update(zip(tokens.tolist(), points, strict=True))
    return found


def write_ceilings(folder: Path, ceilings: Ceilings) -> None:
    """Write the ceilings into a run folder."""
    write_whole(folder / FILE, lambda partial: pq.write_table(ceilings.table, partial))
    if ceilings.points:
        write_whole(folder / POINTS_FILE, lambda partial: save_file(points_to_arrays(ceilings.points), partial))


def read_ceilings(folder: Path, *, again: str) -> Ceilings | None:
    """Read the ceilings of a run folder; None where it has none.

    Raises:
        BadInput: they cannot be read, or the arrays of the points do not fit each other.
    """
    if not is_there(folder / FILE):
        return None
    table = read_table(folder / FILE, again=again, schema=CEILINGS)
    points = (
        points_from_arrays(read_tensors(folder / POINTS_FILE, again=again)) if is_there(folder / POINTS_FILE) else {}
    )
    if points is None:
        raise BadInput(f"{folder / POINTS_FILE}: its arrays are missing or do not fit each other; {again}")
    return Ceilings(table, points)
