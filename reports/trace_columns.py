"""Columns of a trace for the browser, in the layout of `reports/pack.py`: a row per series and token.

The cells of a row, one per step of its series, lie behind each other. From many cells on they hold fewer digits than
the run, margins rounded down; `large` in the header says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reach.categories.catalogue import CATALOGUE, KEYS
from reach.classes import CLASSES
from reach.runs.columns import floats, ids
from reach.runs.schema import VERDICT_NAMES
from reach.trace.outliers import FAR
from reach.trace.record import TraceRecord, TraceResult
from reports.compression import packed
from reports.pack import number_column, pack, pack_texts

MANY_CELLS, MOST_CELLS = 50_000, 2_000_000
"""Cells from which on a page holds fewer digits than its trace, and fewer rows."""
_DIGITS = {"margin": 12, "norm": 9}
_PLACES = ("became_after", "became_by", "stopped_after", "stopped_by", "leap_after", "leap_by")
POSITIVE, NEGATIVE = 6, 3
"""Shades of margins above and below 0."""


def shown_rows(result: TraceResult, most: int = MOST_CELLS) -> npt.NDArray[np.int64]:
    """The rows of the table that the page holds, ascending: all, or those that stand out and some of the others.

    A row stands out that is not speakable at every step, is sudden or an outlier. The others are spread evenly.
    """
    table = result.table
    each = np.diff(table.column("steps").combine_chunks().offsets.to_numpy())
    if each.sum() <= most:
        return np.arange(table.num_rows)
    usual = np.array([set(one) <= {"speakable"} for one in table.column("verdict").to_pylist()])
    sudden = floats(table, "leap_q") <= result.record.settings.rate
    first = np.flatnonzero(~usual | sudden | (floats(table, "outlier_z") > FAR))
    rest = np.setdiff1d(np.arange(table.num_rows), first)
    # Every k-th of the others comes before what lies between them.
    order = np.argsort(np.arange(len(rest)) % 61 * len(rest) + np.arange(len(rest)), kind="stable")
    wanted = np.concatenate([first, rest[order]])
    return np.sort(wanted[np.cumsum(each[wanted]) <= most])


def shades(result: TraceResult) -> tuple[list[float], list[float]]:
    """Margins at which a shade ends: of those above 0 upwards, and of those below 0 downwards.

    Each shade holds as many cells as any other of its side.
    """
    margin = floats(_flat(result.table, "margin"), "margin")
    ends = []
    for side, count in ((margin[margin > 0], POSITIVE), (-margin[margin < 0], NEGATIVE)):
        cuts = np.quantile(side, np.arange(1, count) / count).tolist() if len(side) else []
        ends.append(sorted({float(f"{cut:.3g}") for cut in cuts}))
    return ends[0], ends[1]


def pack_trace(result: TraceResult, facts: dict[str, Any]) -> str:
    """All that the page's scripts show and export, as base64 text. `facts` go into the header as they are."""
    record, table = result.record, result.table
    cells = _flat(table, "margin")
    many = len(cells) >= MANY_CELLS
    above, below = shades(result)
    columns: dict[str, npt.NDArray] = {
        **pack_texts(table.column("token").to_pylist(), table.column("text").to_pylist()),
        "token_id": ids(table, "token_id"),
        "series": _coded(table.column("series"), [one.name for one in record.series]).astype(np.int32),
        "cell_class": _coded(pc.list_flatten(table.column("class")), CLASSES).astype(np.uint8),
        "cell_margin": number_column(floats(cells, "margin"), many, np.floor, _DIGITS["margin"]),
        "cell_norm": number_column(floats(_flat(table, "row_norm"), "row_norm"), many, np.rint, _DIGITS["norm"]),
        **places(record, table),
        "changes": ids(table, "changes"),
        "turns": ids(table, "turns"),
        "kinds": _kinds(table),
    }
    for name in ("largest_share", "leap", "leap_q", "outlier_z"):
        columns[name] = floats(table, name).astype(np.float32)  # for the eye only
    header = facts | {
        "rows": table.num_rows,
        "series": [{"name": one.name, "steps": [step.step for step in one.steps]} for one in record.series],
        "classes": CLASSES,
        "verdicts": VERDICT_NAMES,
        "categories": [one._asdict() for one in CATALOGUE],
        "above": above,
        "below": below,
        "far": FAR,
        "rate": record.settings.rate,
        "large": many,
    }
    return packed(pack(header, columns), 9 if many else 6)


def places(record: TraceRecord, table: pa.Table) -> dict[str, npt.NDArray[np.int32]]:
    """Steps as places among those of their series, −1 where there is none."""
    steps = {one.name: [step.step for step in one.steps] for one in record.series}
    found = {}
    series = table.column("series").to_pylist()
    for name in _PLACES:
        values = table.column(name).to_pylist()
        found[name] = np.array(
            [-1 if value is None else steps[of].index(value) for of, value in zip(series, values, strict=True)],
            dtype=np.int32,
        )
    return found


def _flat(table: pa.Table, name: str) -> pa.Table:
    return pa.table({name: pc.list_flatten(table.column(name))})


def _coded(column: pa.ChunkedArray, names: Any) -> npt.NDArray[np.int64]:
    found = pc.index_in(column, value_set=pa.array(list(names), pa.string()))
    coded: npt.NDArray[np.int64] = pc.fill_null(found, 255).to_numpy()
    return coded


def _kinds(table: pa.Table) -> npt.NDArray[np.uint32]:
    """A bit for each category that a token has at the last step."""
    bits: dict[str | None, int] = {None: 0}
    found = np.zeros(table.num_rows, dtype=np.uint32)
    for at, words in enumerate(table.column("categories").to_pylist()):
        last = words[-1] if words else None
        if last not in bits:
            bits[last] = sum(1 << KEYS.index(key) for key in (last or "").split() if key in KEYS)
        found[at] = bits[last]
    return found
