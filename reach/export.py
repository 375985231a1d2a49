"""The tokens of a run for other programs: a table of one row per token, as CSV, JSON or parquet."""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reach.runs.atomic import RUN_AGAIN, check_place, write_whole
from reach.runs.folder import RunFolder
from reach.runs.schema import SERVED_NAMES

_FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"


def tokens_table(run: RunFolder) -> pa.Table:
    """One row per token: the columns of `verdicts.parquet`, its blockers' ids and their weights, the heaviest first,
    its categories and the evidence for them in words.

    A run with `--arithmetic` adds a column for each format.

    Raises:
        BadInput: a table of the run cannot be read.
    """
    verdicts = run.verdicts()
    mixes = [verdicts.hull.of(token) for token in range(len(verdicts))]
    ids = pa.array([rows.tolist() for rows, _ in mixes], pa.list_(pa.int32()))
    weights = pa.array([weights.tolist() for _, weights in mixes], pa.list_(pa.float64()))
    table = verdicts.table.append_column("blockers", ids).append_column("blocker_weights", weights)
    if verdicts.categories is None:
        found: list[list[str] | None] = [None] * len(verdicts)
        words: list[str | None] = [None] * len(verdicts)
    else:
        findings = [verdicts.categories_of(token) for token in range(len(verdicts))]
        found = [[one.category for one in some] for some in findings]
        words = ["; ".join(one.words for one in some) or None for some in findings]
    table = table.append_column("categories", pa.array(found, pa.list_(pa.string())))
    table = table.append_column("category_evidence", pa.array(words, pa.string()))
    for name, code in verdicts.served.items():
        classes = np.array([*SERVED_NAMES, *[None] * (256 - len(SERVED_NAMES))], dtype=object)[code]
        table = table.append_column(f"served_{name}", pa.array(classes, pa.string()))
    return table


def as_json(table: pa.Table) -> str:
    """A list of objects, one per token; what is not known is null."""
    return (
        json.dumps([{name: _known(value) for name, value in row.items()} for row in table.to_pylist()], indent=1)
        + "\n"
    )


def as_csv(table: pa.Table) -> str:
    """RFC 4180 with a head line, as the page's own CSV. Nothing between the commas is null, "" is the empty string.

    A text that a spreadsheet would calculate gets an apostrophe in front; to read it back, drop one wherever
    `is_formula` still holds. Entries of a list are separated by spaces.
    """
    columns = [table.column(name).to_pylist() for name in table.column_names]
    lines = [table.column_names, *([_field(value) for value in row] for row in zip(*columns, strict=True))]
    return "".join(",".join(line) + "\r\n" for line in lines)


def write_parquet(table: pa.Table, file: Path, *, force: bool) -> None:
    """Write the table to a file.

    Raises:
        BadInput: see `check_place`; or the file cannot be written.
    """
    check_place(file, force=force)
    write_whole(file, lambda partial: pq.write_table(table, partial), again=RUN_AGAIN)


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may take a text for a formula: = + - @ at its start, behind nothing that can be seen.

    Apostrophes before it count in, so that it can be told what was put in front.
    """
    start = text.lstrip("'")
    seen = next((character for character in start if unicodedata.category(character)[0] not in "CZ"), "")
    return start.startswith(("\t", "\r", "\n")) or (seen != "" and seen in _FORMULA)


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if not isinstance(value, str):
        return str(value)
    text = f"'{value}" if is_formula(value) else value
    special = text == "" or text != text.strip() or any(character in text for character in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if special else text


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
