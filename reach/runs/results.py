"""Reading the JSON record that a command other than the scan leaves in a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from solvers.errors import BadInput


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
