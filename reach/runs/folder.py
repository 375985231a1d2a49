"""Reading a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reach.bounded import is_there
from reach.runs.reading import read_record, read_table, tensors_of
from reach.runs.schema import (
    CONTROLS,
    HULL_WEIGHTS,
    LATER_COLUMNS,
    MARGIN_WEIGHTS,
    NEAREST,
    SCHEMA_VERSION,
    VERDICTS,
)
from solvers.errors import BadInput

PAGE_FILE = "report.html"
"""The scan's page in its run folder."""
_MOST_MANIFEST = 2**22
_DAMAGED = "the run is damaged, scan again"


@dataclass(frozen=True)
class RunFolder:
    """A finished or unfinished run on disk. `open` checks that it is one."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str, *, finished: bool = True) -> RunFolder:
        """Read the manifest of a run folder.

        Raises:
            BadInput: no run there, an unreadable manifest, another schema, or (with `finished`) a run that has not
                ended.
        """
        path = Path(path)
        file = path / "manifest.json"
        if not is_there(file):
            raise BadInput(
                f"{path}: no run folder (it has no manifest.json); make one with 'reach scan MODEL --out {path}'"
            )
        manifest = read_record(file, SCHEMA_VERSION, again=_DAMAGED, most=_MOST_MANIFEST)
        if finished and manifest.get("status") != "finished":
            raise BadInput(f"{path}: the run has not finished; go on with 'reach scan … --out {path} --resume'")
        return cls(path, manifest)

    def verdicts(self) -> pa.Table:
        """One row per token, in token order (schema `VERDICTS`)."""
        return self._table("verdicts.parquet", VERDICTS, LATER_COLUMNS)

    def hull_weights(self) -> pa.Table:
        """The hull weights of the unspeakable tokens (schema `HULL_WEIGHTS`)."""
        return self._table("hull_weights.parquet", HULL_WEIGHTS)

    def margin_weights(self) -> pa.Table | None:
        """What bounds nearly-never tokens' margins (schema `MARGIN_WEIGHTS`), or None where the run has none."""
        name = "margin_weights.parquet"
        return self._table(name, MARGIN_WEIGHTS) if is_there(self.path / name) else None

    def nearest(self) -> pa.Table | None:
        """The nearest rows of some tokens (schema `NEAREST`), or None where the run has none."""
        return self._table("nearest.parquet", NEAREST) if is_there(self.path / "nearest.parquet") else None

    def controls(self) -> pa.Table | None:
        """The margins of random heads of the same shape (schema `CONTROLS`), or None where the run has none."""
        return self._table("controls.parquet", CONTROLS) if is_there(self.path / "controls.parquet") else None

    def _table(self, name: str, schema: pa.Schema, later: tuple[str, ...] = ()) -> pa.Table:
        return read_table(self.path / name, again=_DAMAGED, schema=schema, later=later)

    def witnesses(self) -> dict[int, np.ndarray]:
        """The stored witnesses: token id to a float32 or float64 vector."""
        found: dict[int, np.ndarray] = {}
        for file in sorted((self.path / "witnesses").glob("*.safetensors")):
            with tensors_of(file, again=_DAMAGED) as content:
                for name in ("float32", "float64"):
                    if f"token_id.{name}" in content.keys():  # noqa: SIM118
                        tokens, points = (content.get_tensor(f"{part}.{name}") for part in ("token_id", "point"))
                        found.update(zip(tokens.tolist(), points, strict=True))
        return found
