"""What `reach interference` leaves in a run folder: `interference.json` and `interference.parquet`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reach.runs.atomic import write_whole
from reach.runs.results import read_record
from solvers.errors import BadInput

SCHEMA_VERSION = 1
JSON_FILE, TABLE_FILE, PAGE_FILE = "interference.json", "interference.parquet", "interference.html"

TABLE = pa.schema(
    [
        ("rows", pa.string()),  # W | A | E
        ("centred", pa.bool_()),  # less the mean of all rows
        ("token_id", pa.int32()),
        ("token", pa.string()),  # the vocabulary's own piece; null without one
        ("strongest_id", pa.int32()),  # the strongest interferer; null for a row without a direction
        ("strongest_cos", pa.float64()),  # its |cos|
        ("above_epsilon", pa.int32()),  # other rows with |cos| above ε_JL; null where ε_JL does not exist
        ("above_chance", pa.int32()),  # other rows with |cos| above a random token's expected strongest
        ("dimensionality", pa.float64()),
        ("norm", pa.float64()),  # of the stored row, also where centred
        ("distance_from_mean", pa.float64()),  # of the stored row from the mean row
    ]
)
COLUMNS = tuple(TABLE.names)


def write_result(folder: Path, record: dict[str, Any], columns: dict[str, Any], *, force: bool) -> None:
    """Write both files, the table first: a folder with `interference.json` is complete.

    Raises:
        BadInput: there is a result already (without `force`), or the disk is full.
    """
    refuse_overwriting(folder, force=force)
    table = pa.table({name: columns[name] for name in COLUMNS}, schema=TABLE)
    write_whole(folder / TABLE_FILE, lambda partial: pq.write_table(table, partial))
    text = json.dumps(_finite(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(folder / JSON_FILE, lambda partial: partial.write_text(text, encoding="utf-8"))


def refuse_overwriting(folder: Path, *, force: bool) -> None:
    """Say so before hours of work when the place is taken.

    Raises:
        BadInput: the folder is a file, or holds a result and `force` is off.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file, but a run is a folder; choose another --out")
    if not force and (folder / JSON_FILE).exists():
        raise BadInput(f"{folder / JSON_FILE}: exists already; overwrite it with --force, or choose another --out")


def read_result(folder: Path) -> dict[str, Any]:
    """Read `interference.json`.

    Raises:
        BadInput: there is none, or it is damaged or of another schema.
    """
    make = f"reach interference MODEL --out {folder}"
    return read_record(folder / JSON_FILE, SCHEMA_VERSION, make=make, again="measure again")


def read_table(folder: Path) -> pa.Table:
    """Read `interference.parquet`.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    file = folder / TABLE_FILE
    try:
        return pq.read_table(file).select(list(COLUMNS)).cast(TABLE)
    except FileNotFoundError:
        raise BadInput(f"{file}: missing; measure again") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, OSError) as error:
        raise BadInput(f"{file}: not readable ({error}); measure again") from None


def _finite(value: Any) -> Any:
    """The same record in plain JSON types; a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
