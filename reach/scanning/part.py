"""What is known about some rows of a scan: cut out of one state, carried elsewhere, entered into another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from reach.scanning.state import OPEN, Hull, ScanState

COLUMNS = (
    "verdict",
    "evidence",
    "own_direction",
    "lower",
    "upper",
    "upper_by",
    "stage",
    "tried",
    "runner_up",
    "witness_kind",
)
POINTS = ("witness32", "witness64", "dual")
"""Names of the matrices of points in `Part.packed`."""
WEIGHTS = ("hull", "candidate", "bound")
"""Names of the sets of hull weights there."""
_BITS = {"witness32": np.float32, "witness64": np.float64}


@dataclass
class Part:
    """Everything that a state knows about some rows.

    Attributes:
        rows: `(n,)` their numbers, in order.
        columns: `(n,)` each of `COLUMNS`.
        witnesses, hulls, duals, candidates, bounds, reasons: as in the state, of these rows alone.
    """

    rows: Int[np.ndarray, " n"]
    columns: dict[str, np.ndarray]
    witnesses: dict[int, np.ndarray] = field(default_factory=dict)
    hulls: dict[int, Hull] = field(default_factory=dict)
    duals: dict[int, np.ndarray] = field(default_factory=dict)
    candidates: dict[int, Hull] = field(default_factory=dict)
    bounds: dict[int, Hull] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, state: ScanState, rows: Iterable[int]) -> Part:
        """Cut out what is known about these rows."""
        index = np.unique(np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.int64))
        part = cls(index, {name: getattr(state, name)[index] for name in COLUMNS})
        numbers = index.tolist()
        for name in _BY_ROW:
            known: dict[int, Any] = getattr(state, name)
            if known:
                setattr(part, name, {row: known[row] for row in numbers if row in known})
        return part

    def enter(self, state: ScanState) -> None:
        """Let a state know about these rows what this part does, and nothing else.

        Raises:
            RuntimeError: the state has proved the opposite of one of them: a checker is wrong.
        """
        before, verdict = state.verdict[self.rows], self.columns["verdict"]
        wrong = self.rows[(before != OPEN) & (verdict != OPEN) & (before != verdict)]
        if len(wrong):
            raise RuntimeError(f"row {wrong[0]} was proved both speakable and unspeakable: a checker is wrong")
        for name in COLUMNS:
            column = getattr(state, name)
            column[self.rows] = self.columns[name].astype(column.dtype)
        for name in _BY_ROW:
            known: dict[int, Any] = getattr(state, name)
            for row in self.rows.tolist() if known else ():
                known.pop(row, None)
            known.update(getattr(self, name))

    def packed(self) -> dict[str, np.ndarray]:
        """All of it but the reasons as a few arrays."""
        arrays: dict[str, np.ndarray] = {"row": self.rows}
        for name, column in self.columns.items():
            arrays[name] = column.astype(np.uint8) if column.dtype == bool else column
        for name, points in self._points():
            if points:
                arrays[f"{name}.row"] = np.array(sorted(points))
                arrays[name] = np.stack([points[row] for row in sorted(points)])
        for name, hulls in (("hull", self.hulls), ("candidate", self.candidates), ("bound", self.bounds)):
            kept = sorted(hulls)
            if kept:
                arrays[f"{name}.token"] = np.repeat(kept, [len(hulls[row].rows) for row in kept])
                arrays[f"{name}.row"] = np.concatenate([np.asarray(hulls[row].rows, dtype=np.int64) for row in kept])
                arrays[f"{name}.weight"] = np.concatenate([hulls[row].weights for row in kept])
                if not all(len(hulls[row].rows) for row in kept):
                    arrays[f"{name}.none"] = np.array([row for row in kept if not len(hulls[row].rows)])
        return arrays

    def _points(self) -> Iterable[tuple[str, dict[int, np.ndarray]]]:
        for name, bits in _BITS.items():
            yield name, {row: point for row, point in self.witnesses.items() if point.dtype == bits}
        yield "dual", self.duals

    @classmethod
    def unpacked(cls, arrays: dict[str, np.ndarray], reasons: dict[int, str]) -> Part:
        """From what `packed` gives."""
        part = cls(arrays["row"], {name: arrays[name] for name in COLUMNS}, reasons=reasons)
        for name in POINTS:
            known = part.duals if name == "dual" else part.witnesses
            known.update(zip(arrays.get(f"{name}.row", np.zeros(0)).tolist(), arrays.get(name, ()), strict=True))
        for name, hulls in (("hull", part.hulls), ("candidate", part.candidates), ("bound", part.bounds)):
            for row in arrays.get(f"{name}.none", np.zeros(0)).tolist():
                hulls[row] = Hull(np.zeros(0, dtype=np.int64), np.zeros(0))
            tokens = arrays.get(f"{name}.token", np.zeros(0, dtype=np.int64))
            ends = np.flatnonzero(np.diff(tokens)) + 1
            pieces = zip(
                tokens[np.concatenate([[0], ends])].tolist() if len(tokens) else (),
                np.split(arrays.get(f"{name}.row", tokens), ends),
                np.split(arrays.get(f"{name}.weight", tokens), ends),
                strict=bool(len(tokens)),
            )
            hulls.update({token: Hull(rows, weights) for token, rows, weights in pieces})
        return part

    def __reduce__(self) -> tuple[Any, ...]:
        """A few arrays travel faster than thousands."""
        return Part.unpacked, (self.packed(), self.reasons)


_BY_ROW = ("witnesses", "hulls", "duals", "candidates", "bounds", "reasons")
