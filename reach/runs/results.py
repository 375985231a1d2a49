"""The JSON records that commands other than the scan leave in a run folder, and how all tables there are read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reach.runs.atomic import RESUME, write_json
from solvers.errors import BadInput


def write_record(file: Path, record: dict[str, Any], *, again: str = RESUME) -> None:
    """Write a record in plain JSON types; a number that is not finite becomes null.

    Raises:
        BadInput: it cannot be written; where the disk is full, `again` says what to do then.
    """
    write_json(file, _finite(record), again=again)


def read_record(file: Path, schema: int, *, make: str, again: str) -> dict[str, Any]:
    """Read a record of a known schema.

    Args:
        file: the JSON file.
        schema: the schema that this version reads.
        make: the command that makes such a file.
        again: what to do where it cannot be used, such as "measure again".

    Raises:
        BadInput: there is none, or it is damaged or of another schema.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{file}: missing; make it with '{make}'") from None
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise BadInput(f"{file}: not readable as JSON ({error}); {again}") from None
    found = record.get("schema") if isinstance(record, dict) else None
    if found != schema:
        raise BadInput(f"{file}: schema {found!r}, but this version reads {schema}; {again} with it")
    result: dict[str, Any] = record
    return result


def read_table(file: Path, *, again: str, schema: pa.Schema | None = None, later: tuple[str, ...] = ()) -> pa.Table:
    """Read a table; with a schema, its columns in their order and of their kinds, and no others.

    Columns named in `later` are null throughout where a table lacks them.

    Raises:
        BadInput: there is none, it is damaged, or a column is missing or of another kind; `again` says what to do.
    """
    try:
        table = pq.read_table(file)
    except FileNotFoundError:
        raise BadInput(f"{file}: missing; {again}") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise BadInput(f"{file}: not readable as Parquet ({error}); {again}") from None
    if schema is None:
        return table
    for name in later:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    missing = [field.name for field in schema if field.name not in table.column_names]
    if missing:
        raise BadInput(f"{file}: column {missing[0]} is missing; {again}")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(f"{file}: a column is of another kind ({error}); {again}") from None


def _finite(value: Any) -> Any:
    """The same in plain JSON types, without NaN and infinities."""
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
