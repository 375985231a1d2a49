"""What `reach interference` leaves in a run folder: `interference.json` and `interference.parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reach.runs import results
from reach.runs.atomic import RUN_AGAIN, write_whole
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
    write_whole(folder / TABLE_FILE, lambda partial: pq.write_table(table, partial), again=RUN_AGAIN)
    results.write_record(folder / JSON_FILE, record, again=RUN_AGAIN)


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
    return results.read_record(folder / JSON_FILE, SCHEMA_VERSION, make=make, again="measure again")


def read_table(folder: Path) -> pa.Table:
    """Read `interference.parquet`.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    return results.read_table(folder / TABLE_FILE, again="measure again", schema=TABLE)
