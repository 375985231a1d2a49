"""The journal of a scan: finished blocks, each a small file that is renamed into place.

A block holds what is known about its rows after one stage. Replaying all blocks in order restores the state, so a
killed scan loses at most the block that it was working on. A block carries a checksum over everything in it. One that
is damaged is set aside: its rows are then as they were before it, and the stages take them in again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from reach.bounded import parse_json
from reach.runs.atomic import write_whole, writing_to
from reach.runs.reading import as_typed, tensors_of
from reach.scanning.state import EVIDENCE, OPEN, UNSPEAKABLE, WITNESS_KINDS, Hull, ScanState
from solvers.errors import BadInput

_AGAIN = "its tokens are done again"
_COLUMNS = (
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


@dataclass(frozen=True)
class BlockRecord:
    """What a block says of itself: which stage, how many rows it took in and settled, how long it took (seconds)."""

    stage: int
    rows: int
    settled: int
    seconds: float


_RANGES = {
    "verdict": (OPEN, UNSPEAKABLE),
    "evidence": (-1, len(EVIDENCE) - 1),
    "witness_kind": (0, len(WITNESS_KINDS) - 1),
}


class Journal:
    """Blocks under RUN/blocks/.

    Args:
        folder: where the blocks lie.
        of: what they are about (such as the fingerprint): blocks of another problem do not pass for this one's.
        note: told about each block that is set aside, in one line.
    """

    def __init__(self, folder: Path, *, of: str = "", note: Callable[[str], object] = lambda _: None) -> None:
        self.folder, self.of, self.note = folder, of, note
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
        kept = [row for row in index.tolist() if row in state.duals]
        if kept:
            arrays["dual.row"], arrays["dual"] = np.array(kept), np.stack([state.duals[row] for row in kept])
        reasons = {str(row): state.reasons[row] for row in index.tolist() if row in state.reasons}
        about = {"record": json.dumps(record.__dict__), "reasons": json.dumps(reasons)}
        path = self.folder / f"{self.next:06d}.safetensors"
        about["sha256"] = self._checksum(path, arrays, about)
        write_whole(path, lambda partial: save_file(arrays, partial, metadata=about))
        self.next += 1

    def replay(self, state: ScanState) -> list[BlockRecord]:
        """Restore a state from all blocks that are whole; the others are set aside, each with a note.

        Raises:
            BadInput: a whole block does not fit the state, or a damaged one cannot be set aside.
        """
        records = []
        for path in sorted(path for path in self.folder.glob("*.safetensors") if path.stem.isdecimal()):
            self.next = int(path.stem) + 1
            try:
                arrays, reasons, record = self._read(path, state.v)
            except _Damaged as damage:
                self._set_aside(path, str(damage))
                continue
            _restore(state, arrays)
            for row in arrays["row"].tolist():
                state.reasons.pop(row, None)
                if str(row) in reasons:
                    state.reasons[row] = reasons[str(row)]
            records.append(record)
        return records

    def _read(self, path: Path, v: int) -> tuple[dict[str, np.ndarray], dict[str, str], BlockRecord]:
        try:
            with tensors_of(path, again=_AGAIN) as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                about: dict[str, str] = dict(file.metadata() or {})
            stored = about.pop("sha256", None)
            if stored is None:
                raise _Damaged("it has no checksum")
            if stored != self._checksum(path, arrays, about):
                raise _Damaged("its content does not have the checksum that it was written with")
            told = {name: parse_json(about.get(name, ""), name, again=_AGAIN) for name in ("reasons", "record")}
            reasons = as_typed(told["reasons"], dict[str, str], "reasons", again=_AGAIN)
            record = as_typed(told["record"], BlockRecord, "record", again=_AGAIN)
        except BadInput as error:
            raise _Damaged(f"it cannot be read: {str(error).removeprefix(f'{path}: ')}") from None
        _check(arrays, v)
        return arrays, reasons, record

    def _set_aside(self, path: Path, why: str) -> None:
        self.note(f"{path}: a damaged block of the journal ({why}); its tokens are done again")
        with writing_to(path):
            path.replace(path.with_suffix(".damaged"))

    def _checksum(self, path: Path, arrays: dict[str, np.ndarray], about: dict[str, str]) -> str:
        """sha256 over a block's name, what it is about, its metadata, and each array with name, type and shape."""
        digest = hashlib.sha256(json.dumps([path.stem, self.of, sorted(about.items())]).encode())
        for name, array in sorted(arrays.items()):
            digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


class _Damaged(Exception):
    """Why a block cannot be trusted."""


def _weights(state: ScanState) -> tuple[tuple[str, dict[int, Hull]], ...]:
    """The sets of hull weights of a state, by the names that they have in a block."""
    return ("hull", state.hulls), ("candidate", state.candidates), ("bound", state.bounds)


def _check(arrays: dict[str, np.ndarray], v: int) -> None:
    """Refuse a block whose arrays do not fit each other; its checksum guards against accidents only.

    Raises:
        _Damaged: an array is missing or of another shape.
        BadInput: it names rows that there are not.
    """
    shapes = dict.fromkeys(("row", *_COLUMNS), arrays["row"].shape if "row" in arrays else None)
    for name in ("witness32", "witness64", "dual"):
        points = arrays.get(name, np.zeros((0, 0)))
        shapes |= {f"{name}.row": points.shape[:1]} if name in arrays or f"{name}.row" in arrays else {}
        if points.ndim != 2:
            raise _Damaged(f"its {name} is no matrix")
    for name in ("hull", "candidate", "bound"):
        if any(f"{name}.{part}" in arrays for part in ("token", "row", "weight")):
            first = arrays.get(f"{name}.token", np.zeros(0)).shape
            shapes |= dict.fromkeys((f"{name}.token", f"{name}.row", f"{name}.weight"), first)
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape or len(shape) != 1:
            raise _Damaged(f"its {name} is missing or of another shape")
        least, most = _RANGES.get(name, (-math.inf, math.inf))
        if arrays[name].dtype.kind not in "iuf" or not ((arrays[name] >= least) & (arrays[name] <= most)).all():
            raise _Damaged(f"its {name} holds what no scan writes")
        if name.endswith(("row", "token")):
            rows = arrays[name]
            if rows.dtype.kind != "i" or (len(rows) and not 0 <= rows.min() <= rows.max() < v):
                raise BadInput("the journal names rows that this model does not have; it belongs to another run")


def _restore(state: ScanState, arrays: dict[str, np.ndarray]) -> None:
    index = arrays["row"]
    for name in _COLUMNS:
        getattr(state, name)[index] = arrays[name].astype(getattr(state, name).dtype)
    for row in index.tolist():
        state.witnesses.pop(row, None)
        state.hulls.pop(row, None)
        state.candidates.pop(row, None)
        state.bounds.pop(row, None)
        state.duals.pop(row, None)
    for row, dual in zip(arrays.get("dual.row", ()), arrays.get("dual", ()), strict=True):
        state.duals[int(row)] = dual
    for name in ("witness32", "witness64"):
        for row, point in zip(arrays.get(f"{name}.row", ()), arrays.get(name, ()), strict=True):
            state.witnesses[int(row)] = point
    for name, hulls in _weights(state):
        if f"{name}.token" in arrays:
            tokens = arrays[f"{name}.token"]
            for token in np.unique(tokens).tolist():
                of = tokens == token
                hulls[token] = Hull(arrays[f"{name}.row"][of], arrays[f"{name}.weight"][of])
