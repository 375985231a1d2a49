"""The runs of a folder as one table, which the page, its downloads, CSV and Markdown take their numbers from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from reports.index_runs import IndexedRun
from reports.index_series import Place

Read = Callable[[IndexedRun, Place | None], Any]


@dataclass(frozen=True)
class Column:
    """A column: its name in files, its kind, and its value for a run (None where that is not known)."""

    name: str
    kind: pa.DataType
    read: Read


def _said(read: Callable[[IndexedRun], Any]) -> Read:
    """Of runs that can be read."""
    return lambda run, _: read(run) if run.problem is None else None


def _verdict(name: str) -> Read:
    return _said(lambda run: run.verdicts.get(name, 0))


def _nearly(name: str) -> Read:
    return _said(lambda run: None if run.totals.nearly_never is None else getattr(run.totals.nearly_never, name))


def _gate(name: str) -> Read:
    return _said(lambda run: None if run.gate is None else getattr(run.gate, name))


_TEXT, _COUNT, _NUMBER = pa.string(), pa.int64(), pa.float64()
COLUMNS: tuple[Column, ...] = (
    Column("run", _TEXT, lambda run, _: run.name),
    Column("series", _TEXT, lambda _, place: place and place.series),
    Column("checkpoint", _COUNT, lambda _, place: place and place.step),
    Column("last_checkpoint", pa.bool_(), lambda _, place: place and place.last),
    Column("model", _TEXT, _said(lambda run: run.model)),
    Column("family", _TEXT, _said(lambda run: run.family or None)),
    Column("architecture", _TEXT, _said(lambda run: run.architecture or None)),
    Column("v", _COUNT, _said(lambda run: run.v)),
    Column("d", _COUNT, _said(lambda run: run.d)),
    Column("v_per_d", _NUMBER, _said(lambda run: run.v / run.d if run.v and run.d else None)),
    Column("tying", _TEXT, _said(lambda run: run.tying or None)),
    Column("norm", _TEXT, _said(lambda run: run.norm or None)),
    Column("dtype", _TEXT, _said(lambda run: run.dtype or None)),
    Column("year", _COUNT, _said(lambda run: run.year)),
    Column("domain", _TEXT, _said(lambda run: run.domain)),
    Column("question", _TEXT, _said(lambda run: run.group)),
    Column("asked", _COUNT, _said(lambda run: run.asked)),
    Column("speakable", _COUNT, _verdict("speakable")),
    Column("unspeakable", _COUNT, _verdict("unspeakable")),
    Column("unspeakable_share", _NUMBER, _said(lambda run: run.verdicts.get("unspeakable", 0) / run.asked)),
    Column("own_direction", _COUNT, _said(lambda run: run.totals.own_direction)),
    Column("hard_to_speak", _COUNT, _said(lambda run: run.hard_to_speak)),
    Column("nearly_never_float32", _COUNT, _nearly("float32")),
    Column("nearly_never_bfloat16", _COUNT, _nearly("bfloat16")),
    Column("nearly_never_open", _COUNT, _nearly("open")),
    Column("tied", _COUNT, _verdict("tied")),
    Column("undecided", _COUNT, _verdict("undecided")),
    Column("must_say_asked", _COUNT, _gate("asked")),
    Column("must_say_failures", _COUNT, _gate("failures")),
    Column("scanned", _TEXT, _said(lambda run: run.started)),
    Column("seconds", _NUMBER, _said(lambda run: run.seconds)),
    Column("problem", _TEXT, lambda run, _: run.problem),
)


def runs_table(runs: Sequence[IndexedRun], places: Sequence[Place | None]) -> pa.Table:
    """One row per run, in their order, with the columns `COLUMNS`."""
    rows = list(zip(runs, places, strict=True))
    return pa.table({one.name: pa.array([_stored(one, one.read(*row)) for row in rows], one.kind) for one in COLUMNS})


def _stored(column: Column, value: Any) -> Any:
    """What Arrow can hold: numbers of manifests may be of any size, and texts may hold half a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    whole = column.kind == _COUNT and isinstance(value, int)
    return None if whole and not -(2**63) <= value < 2**63 else value
