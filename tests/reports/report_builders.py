"""Run folders in the shape that a real scan gave them: its rows and its manifest, with single values changed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from real_runs import compared, scanned, scanned_in_no_time, scanned_in_part

from reach.runs.manifest import Manifest, as_manifest
from reach.runs.schema import CONTROLS, HULL_WEIGHTS, NEAREST, VERDICTS
from reach.verdicts import RunTables, Verdicts

HOSTILE = (
    "</script><script>window.owned=1</script>",
    "<img src=x onerror='window.owned=1'>",
    "\"'`&amp;{{7*7}}",
    "\u202egnp.exe\u202c",
    "\u200f\u2066x\u2069",
    " leading\nline\tend\r",
    "\x00\x07\x1b[31m\x7f",
    "#token=3",
    '=1+1,"quoted"',
    "x" * 10_000,
    "\u0301\u0300",
    "👩‍🚀 é 中",
    "",
)


_INVISIBLE = "".join(c for c in map(chr, range(0x3100)) if unicodedata.category(c)[0] in "CZ")
_MARKED = re.compile(rf"'+(?:[\t\r\n]|[{re.escape(_INVISIBLE)}]*[=+\-@＝＋－＠])")


def unmarked(text: str) -> str:
    """What an exported text was before an apostrophe was put in front of it, by the rule in docs/certificates.md."""
    return text[1:] if _MARKED.match(text) else text


@cache
def _table(made: Callable[[], Path], name: str = "verdicts") -> list[dict[str, Any]]:
    return pq.read_table(made() / f"{name}.parquet").to_pylist()


def _row(made: Callable[[], Path], values: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """The first row of a real scan that is as wanted, with values of a test's own."""
    real = next(row for row in _table(made) if all(row[name] == value for name, value in wanted.items()))
    known = {name: value for name, value in real.items() if name != "token_id"}
    unknown = values.keys() - known.keys() - {"token_id"}
    assert not unknown, f"a scan writes no column {unknown}"
    if "token" in values:
        known["text"] = values["token"]
    # Ids of the real run's other tokens say nothing about the rows that a test puts beside this one.
    pointed = {name: 0 for name in ("runner_up_id", "argmax_id") if known[name] is not None}
    return known | pointed | values


def token_row(**values: Any) -> dict[str, Any]:
    """The row of an own-direction token of a real scan, but for what is given. Its text is its piece."""
    return _row(scanned, values, verdict="speakable", own_direction=True, token="a")


def hard_row(**values: Any) -> dict[str, Any]:
    """The same of a token that is hard-to-speak."""
    return _row(scanned, values, verdict="speakable", own_direction=False)


def unspeakable_row(**values: Any) -> dict[str, Any]:
    """The same of a token that was proved unspeakable."""
    return _row(scanned, values, verdict="unspeakable")


def tied_row(**values: Any) -> dict[str, Any]:
    """The same of a token that shares its row with another."""
    return _row(scanned, values, verdict="tied")


def undecided_row(**values: Any) -> dict[str, Any]:
    """The same of a token that a scan without time for searching left open."""
    return _row(scanned_in_no_time, values, verdict="undecided")


def skipped_row(**values: Any) -> dict[str, Any]:
    """The same of a token that a scan was not asked about."""
    return _row(scanned_in_part, values, verdict=None)


def control_row(**values: Any) -> dict[str, Any]:
    """A row of controls.parquet, of an own-direction token, but for what is given."""
    real = next(row for row in _table(compared, "controls") if row["own_direction"])
    assert values.keys() <= real.keys()
    return real | values


def manifest(rows: int | None = None, **values: Any) -> dict[str, Any]:
    """The manifest of a real scan, as if it had so many tokens, but for what is given."""
    real: dict[str, Any] = json.loads((scanned() / "manifest.json").read_text(encoding="utf-8"))
    return real | ({} if rows is None else {"v": rows}) | values


def record(**values: Any) -> Manifest:
    """The same as its class reads it."""
    return as_manifest(manifest(**values), Path("run"))


def head(**values: Any) -> dict[str, Any]:
    """What that manifest says of the head, but for what is given."""
    real: dict[str, Any] = manifest()["head"]
    return real | values


def funnel() -> list[dict[str, Any]]:
    """The stages of a real scan that measured margins too, in order."""
    real: list[dict[str, Any]] = json.loads((scanned_in_part() / "manifest.json").read_text(encoding="utf-8"))[
        "funnel"
    ]
    return real


def write_run(
    folder: Path,
    rows: list[dict[str, Any]] | pa.Table,
    hull: list[tuple[int, int, float]] = (),
    nearest: list[tuple[int, int, float, float]] | None = None,
    controls: list[dict[str, Any]] | None = None,
    **values: Any,
) -> Path:
    """Write a run folder from rows (see `token_row`); `values` replace entries of the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    if not isinstance(rows, pa.Table):
        rows = pa.Table.from_pylist([{"token_id": at} | row for at, row in enumerate(rows)], schema=VERDICTS)
    pq.write_table(rows, folder / "verdicts.parquet")
    names = HULL_WEIGHTS.names
    weights = pa.Table.from_pylist([dict(zip(names, one, strict=True)) for one in hull], schema=HULL_WEIGHTS)
    pq.write_table(weights, folder / "hull_weights.parquet")
    if nearest is not None:
        near = [dict(zip(NEAREST.names, one, strict=True)) for one in nearest]
        pq.write_table(pa.Table.from_pylist(near, schema=NEAREST), folder / "nearest.parquet")
    if controls is not None:
        pq.write_table(pa.Table.from_pylist(controls, schema=CONTROLS), folder / "controls.parquet")
    counted = msgspec.to_builtins(Verdicts(RunTables(rows), Manifest()).totals)
    # The real run's warnings are about its own vocabulary.
    about = manifest(rows.num_rows, totals=counted, warnings=[]) | values
    (folder / "manifest.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def write_big_run(folder: Path, rows: int, tokens: list[str] | None = None, **values: Any) -> Path:
    """A run of many rows drawn from real ones: 0.3 % unspeakable, 5 % hard-to-speak, a few tied and undecided."""
    rng = np.random.default_rng(0)
    if tokens is None:
        letters = np.array(list("etaoinshrdlucmfwypvbgk"))
        tokens = [
            ("Ġ" if first else "") + "".join(letters[rng.integers(0, 22, length)])
            for first, length in zip(rng.random(rows) < 0.6, rng.integers(2, 10, rows), strict=True)
        ]
    draw = rng.random(rows)
    draw[: min(50, rows)] = 1.0  # the commonest tokens are all plain
    kinds = np.select([draw < 0.003, draw < 0.053, draw < 0.054, draw < 0.055], [0, 1, 2, 3], 4)
    pool, picked = [], np.zeros(rows, dtype=np.int64)
    for kind, real in enumerate(
        (
            [row for row in _table(scanned) if row["verdict"] == "unspeakable"],
            [row for row in _table(scanned) if row["verdict"] == "speakable" and not row["own_direction"]],
            [row for row in _table(scanned) if row["verdict"] == "tied"],
            [row for row in _table(scanned_in_no_time) if row["verdict"] == "undecided"],
            [row for row in _table(scanned) if row["verdict"] == "speakable" and row["own_direction"]],
        )
    ):
        mine = kinds == kind
        picked[mine] = len(pool) + rng.integers(0, len(real), int(mine.sum()))
        pool += real
    table = pa.Table.from_pylist(pool, schema=VERDICTS).take(pa.array(picked))
    # No two tokens of a real vocabulary have the same numbers.
    size = rng.lognormal(0, 1.3, rows)
    ids = (np.arange(rows) * 7 + 3) % rows
    changed = {
        "token_id": np.arange(rows),
        "token": tokens,
        "text": [token.replace("Ġ", " ") for token in tokens],
        **{name: _scaled(table.column(name), size) for name in ("margin_lower", "margin_upper", "row_norm")},
        **{name: pa.array(ids, mask=_nulls(table.column(name))) for name in ("runner_up_id", "argmax_id")},
    }
    table = pa.table({name: changed.get(name, table.column(name)) for name in VERDICTS.names}).cast(VERDICTS)
    hull = []
    for token in np.flatnonzero(kinds == 0).tolist():
        others = rng.choice(rows, min(9, rows), replace=False)
        weights = rng.dirichlet(np.full(len(others), 0.7))
        hull += [(token, int(row), float(weight)) for row, weight in zip(others, weights, strict=True)]
    return write_run(folder, table, hull, **values)


def _nulls(column: pa.ChunkedArray) -> np.ndarray:
    return column.is_null().to_numpy()


def _scaled(column: pa.ChunkedArray, size: np.ndarray) -> pa.Array:
    missing = _nulls(column)
    return pa.array(column.fill_null(0.0).to_numpy() * size, mask=missing)
