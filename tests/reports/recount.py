"""Counting again, from the files of a run, what its pages say."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from page_text import NUMBER, Bound, Number

from reports.write import write_reports

Row = dict[str, Any]
Cells = Sequence[Sequence[float] | None]


def page_of(run: Path, name: str) -> Path:
    return next(one for one in write_reports([run]) if one.name == name)


def record_of(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text(encoding="utf-8"))


def rows_of(run: Path, name: str) -> list[Row]:
    return pq.read_table(run / name).to_pylist()


def numbers(text: str) -> list[float]:
    return [Number(one.rstrip(",")).value for one in NUMBER.findall(text)]


def percent(part: float, whole: float) -> float:
    return 100 * part / whole


def shares(count: int, whole: int) -> Sequence[float] | None:
    return [percent(count, whole)] if whole else None


def seconds(value: float) -> list[float]:
    """What a duration is written with."""
    if value < 99.95:
        return [value]
    minutes, rest = divmod(round(value), 60)
    return [minutes, rest]


def setting(value: Any) -> Sequence[float] | str:
    """How a setting is written: as a number, or in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (None, "", []):
        return "none"
    return [value] if isinstance(value, int | float) else ", ".join(value) if isinstance(value, list) else str(value)


class Scan:
    """The tables of a scan, and what can be counted in them."""

    def __init__(self, run: Path) -> None:
        self.record = record_of(run, "manifest.json")
        self.rows = rows_of(run, "verdicts.parquet")
        self.asked = [row for row in self.rows if row["verdict"] is not None]

    def of(self, verdict: str) -> list[Row]:
        return [row for row in self.asked if row["verdict"] == verdict]

    def ids(self, rows: list[Row]) -> list[int]:
        return [self.rows.index(row) for row in rows]

    @property
    def own(self) -> list[Row]:
        return [row for row in self.of("speakable") if row["own_direction"]]

    @property
    def hard(self) -> list[Row]:
        return [row for row in self.of("speakable") if not row["own_direction"]]

    @property
    def counts(self) -> dict[str, int]:
        verdicts = Counter(row["verdict"] for row in self.asked)
        return {
            "unspeakable": verdicts["unspeakable"],
            "hard-to-speak": len(self.hard),
            "own-direction": len(self.own),
            "nearly never": sum(row["nearly_never"] is not None for row in self.asked),
            "tied": verdicts["tied"],
            "undecided": verdicts["undecided"],
        }

    @property
    def brackets(self) -> list[tuple[float, float]]:
        """Bounds on the margins of all that was asked for; what is tied has the margin 0."""
        ends = []
        for row in self.asked:
            lower, upper = row["margin_lower"], row["margin_upper"]
            low, high = -math.inf if lower is None else lower, math.inf if upper is None else upper
            if row["verdict"] == "tied":
                low = high = 0.0
            ends.append((low, min(high, 0.0) if row["verdict"] == "unspeakable" else high))
        return ends

    def within(self, share: float) -> int:
        return sum(high - low <= share * max(abs(low), abs(high)) * (1 + 1e-9) for low, high in self.brackets)

    def out_of_reach(self, p: float) -> int:
        """Of a sampler with this min-p, at temperature 1."""
        return sum(high < math.log(p) for _, high in self.brackets)


def ends(row: Row) -> tuple[float, float]:
    return Bound(row["margin_lower"]), Bound(row["margin_upper"])


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share, in percent (Wilson 1927)."""
    z = 1.959963984540054
    middle, half = (
        found / of + z * z / (2 * of),
        z * math.sqrt(found / of * (1 - found / of) / of + z * z / (4 * of * of)),
    )
    return tuple(100 * (middle + side * half) / (1 + z * z / of) for side in (-1, 1))


def change_record(file: str, *path: str | int, by: float) -> Callable[[Path], None]:
    """A change of one number in a JSON file of a run."""

    def change(run: Path) -> None:
        record = record_of(run, file)
        inside = record
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] += by
        (run / file).write_text(json.dumps(record), encoding="utf-8")

    return change


def change_table(file: str, column: str, token: int, by: float) -> Callable[[Path], None]:
    """A change of one token's number in a table of a run."""

    def change(run: Path) -> None:
        table = pq.read_table(run / file)
        values = table[column].to_pylist()
        values[token] += by
        at = table.column_names.index(column)
        kind = table.schema.field(column)
        pq.write_table(table.set_column(at, kind, pa.array(values, kind.type)), run / file)

    return change
