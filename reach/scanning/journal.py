"""The journal of a scan: finished blocks, each a small file that is renamed into place.

A block holds what is known about its rows after one stage, and what it has to offer to others. What the blocks of a
stage come to does not depend on their order, so each is written as soon as it is there, and a killed scan loses at
most the blocks that were being worked on. A block carries a checksum over everything in it. One that is damaged is
set aside: its rows are then as they were before it, and the stages take them in again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from reach.bounded import parse_json
from reach.runs.atomic import write_whole, writing_to
from reach.runs.reading import as_typed, tensors_of
from reach.scanning.blocks import BlockRecord, Delta, Offers
from reach.scanning.part import COLUMNS, POINTS, WEIGHTS, Part
from reach.scanning.state import EVIDENCE, OPEN, UNSPEAKABLE, WITNESS_KINDS
from solvers.errors import BadInput

_AGAIN = "its tokens are done again"
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

    def append(self, delta: Delta) -> None:
        """Write what came of a block."""
        arrays = delta.part.packed()
        if len(delta.offers.rows):
            arrays["offer.row"], arrays["offer"] = delta.offers.rows, np.ascontiguousarray(delta.offers.points)
        reasons = {str(row): reason for row, reason in delta.part.reasons.items()}
        about = {"record": json.dumps(delta.record.__dict__), "reasons": json.dumps(reasons)}
        path = self.folder / f"{self.next:06d}.safetensors"
        about["sha256"] = self._checksum(path, arrays, about)
        write_whole(path, lambda partial: save_file(arrays, partial, metadata=about))
        self.next += 1

    def read(self, v: int) -> list[Delta]:
        """All blocks that are whole, in the order in which they were written; the others are set aside, with a note.

        Args:
            v: number of rows that are scanned.

        Raises:
            BadInput: a whole block is of another problem, or a damaged one cannot be set aside.
        """
        found = []
        for path in sorted(path for path in self.folder.glob("*.safetensors") if path.stem.isdecimal()):
            self.next = int(path.stem) + 1
            try:
                arrays, reasons, record = self._read(path, v)
            except _Damaged as damage:
                self._set_aside(path, str(damage))
                continue
            part = Part.unpacked(
                arrays, {row: reasons[str(row)] for row in arrays["row"].tolist() if str(row) in reasons}
            )
            offers = Offers(arrays["offer.row"], arrays["offer"]) if "offer" in arrays else Offers.none()
            found.append(Delta(part, record, offers))
        return found

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


def _check(arrays: dict[str, np.ndarray], v: int) -> None:
    """Refuse a block whose arrays do not fit each other; its checksum guards against accidents only.

    Raises:
        _Damaged: an array is missing or of another shape.
        BadInput: it names rows that there are not.
    """
    if not arrays.get("row", np.zeros(0)).size:
        raise _Damaged("its row is missing or empty")
    shapes = dict.fromkeys(("row", *COLUMNS), arrays["row"].shape if "row" in arrays else None)
    for name in (*POINTS, "offer"):
        points = arrays.get(name, np.zeros((0, 0)))
        shapes |= {f"{name}.row": points.shape[:1]} if name in arrays or f"{name}.row" in arrays else {}
        if points.ndim != 2:
            raise _Damaged(f"its {name} is no matrix")
    for name in WEIGHTS:
        if f"{name}.none" in arrays:
            shapes[f"{name}.none"] = arrays[f"{name}.none"].shape
        if any(f"{name}.{part}" in arrays for part in ("token", "row", "weight")):
            first = arrays.get(f"{name}.token", np.zeros(0)).shape
            shapes |= dict.fromkeys((f"{name}.token", f"{name}.row", f"{name}.weight"), first)
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape or len(shape) != 1:
            raise _Damaged(f"its {name} is missing or of another shape")
        least, most = _RANGES.get(name, (-math.inf, math.inf))
        if arrays[name].dtype.kind not in "iuf" or not ((arrays[name] >= least) & (arrays[name] <= most)).all():
            raise _Damaged(f"its {name} holds what no scan writes")
        if name.endswith(("row", "token", "none")):
            rows = arrays[name]
            if rows.dtype.kind != "i" or (len(rows) and not 0 <= rows.min() <= rows.max() < v):
                raise BadInput("the journal names rows that this model does not have; it belongs to another run")
