"""The journal of a scan: finished blocks, each a small file that is renamed into place.

A block holds what is known about its rows after one stage. Replaying all blocks in order restores the state, so a
killed scan loses at most the block that it was working on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from reach.runs.atomic import write_whole
from reach.scan.state import Hull, ScanState
from solvers.errors import BadInput

_COLUMNS = ("verdict", "evidence", "own_direction", "lower", "upper", "stage", "tried", "runner_up", "witness_kind")


@dataclass(frozen=True)
class BlockRecord:
    """What a block says of itself: which stage, how many rows it took in and settled, how long it took (seconds)."""

    stage: int
    rows: int
    settled: int
    seconds: float


class Journal:
    """Blocks under RUN/blocks/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.next = 0

    def append(self, state: ScanState, rows: Iterable[int], record: BlockRecord) -> None:
        """Write what is known about these rows."""
        index = np.unique(np.fromiter(rows, dtype=np.int64))
        arrays: dict[str, np.ndarray] = {"row": index}
        for name in _COLUMNS:
            column = getattr(state, name)[index]
            arrays[name] = column.astype(np.uint8) if column.dtype == bool else column
        for name, bits in (("witness32", np.float32), ("witness64", np.float64)):
            kept = [row for row in index.tolist() if row in state.witnesses and state.witnesses[row].dtype == bits]
            if kept:
                arrays[f"{name}.row"] = np.array(kept)
                arrays[name] = np.stack([state.witnesses[row] for row in kept])
        for name, hulls in _weights(state):
            kept = [row for row in index.tolist() if row in hulls]
            if kept:
                arrays[f"{name}.token"] = np.repeat(kept, [len(hulls[row].rows) for row in kept])
                arrays[f"{name}.row"] = np.concatenate([np.asarray(hulls[row].rows, dtype=np.int64) for row in kept])
                arrays[f"{name}.weight"] = np.concatenate([hulls[row].weights for row in kept])
        reasons = {str(row): state.reasons[row] for row in index.tolist() if row in state.reasons}
        about = {"record": json.dumps(record.__dict__), "reasons": json.dumps(reasons)}
        path = self.folder / f"{self.next:06d}.safetensors"
        write_whole(path, lambda partial: save_file(arrays, partial, metadata=about))
        self.next += 1

    def replay(self, state: ScanState) -> list[BlockRecord]:
        """Restore a state from all blocks.

        Raises:
            BadInput: a block cannot be read.
        """
        records = []
        for path in sorted(self.folder.glob("[0-9]*.safetensors")):
            try:
                with safe_open(path, "np") as file:
                    arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                    about: dict[str, Any] = file.metadata()
                reasons, record = json.loads(about["reasons"]), BlockRecord(**json.loads(about["record"]))
                index = arrays["row"].tolist()
            except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
                raise BadInput(f"{path}: unreadable block ({error}); delete it and --resume again") from None
            _restore(state, arrays)
            for row in index:
                state.reasons.pop(row, None)
                if str(row) in reasons:
                    state.reasons[row] = reasons[str(row)]
            records.append(record)
            self.next = int(path.stem) + 1
        return records


def _weights(state: ScanState) -> tuple[tuple[str, dict[int, Hull]], ...]:
    """The sets of hull weights of a state, by the names that they have in a block."""
    return ("hull", state.hulls), ("candidate", state.candidates), ("bound", state.bounds)


def _restore(state: ScanState, arrays: dict[str, np.ndarray]) -> None:
    index = arrays["row"]
    if len(index) and int(index.max()) >= state.v:
        raise BadInput("the journal names rows that this model does not have; it belongs to another run")
    for name in _COLUMNS:
        getattr(state, name)[index] = arrays[name].astype(getattr(state, name).dtype)
    for row in index.tolist():
        state.witnesses.pop(row, None)
        state.hulls.pop(row, None)
        state.candidates.pop(row, None)
        state.bounds.pop(row, None)
    for name in ("witness32", "witness64"):
        for row, point in zip(arrays.get(f"{name}.row", ()), arrays.get(name, ()), strict=True):
            state.witnesses[int(row)] = point
    for name, hulls in _weights(state):
        if f"{name}.token" in arrays:
            tokens = arrays[f"{name}.token"]
            for token in np.unique(tokens).tolist():
                of = tokens == token
                hulls[token] = Hull(arrays[f"{name}.row"][of], arrays[f"{name}.weight"][of])
