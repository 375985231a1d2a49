"""Writing the JSON records that other commands than the scan leave; `reach.runs.reading` reads them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from reach.runs.atomic import RESUME, write_json


def write_record(file: Path, record: dict[str, Any], *, again: str = RESUME) -> None:
    """Write a record in plain JSON types; a number that is not finite becomes null.

    Raises:
        BadInput: it cannot be written; where the disk is full, `again` says what to do then.
    """
    write_json(file, _finite(record), again=again)


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
