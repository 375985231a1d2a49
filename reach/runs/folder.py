"""Reading a run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, safe_open

from reach.runs.results import read_table
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
        if not file.is_file():
            raise BadInput(
                f"{path}: no run folder (it has no manifest.json); make one with 'reach scan MODEL --out {path}'"
            )
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadInput(f"{file}: cannot be read: {error.strerror or error}") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{file}: not readable as JSON ({error}); the run is damaged, scan again") from None
        schema = manifest.get("schema") if isinstance(manifest, dict) else None
        if schema != SCHEMA_VERSION:
            raise BadInput(f"{file}: schema {schema!r}, but this version reads {SCHEMA_VERSION}; scan again with it")
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
        return self._table(name, MARGIN_WEIGHTS) if (self.path / name).exists() else None

    def nearest(self) -> pa.Table | None:
        """The nearest rows of some tokens (schema `NEAREST`), or None where the run has none."""
        return self._table("nearest.parquet", NEAREST) if (self.path / "nearest.parquet").exists() else None

    def controls(self) -> pa.Table | None:
        """The margins of random heads of the same shape (schema `CONTROLS`), or None where the run has none."""
        return self._table("controls.parquet", CONTROLS) if (self.path / "controls.parquet").exists() else None

    def _table(self, name: str, schema: pa.Schema, later: tuple[str, ...] = ()) -> pa.Table:
        return read_table(self.path / name, again="the run is damaged, scan again", schema=schema, later=later)

    def witnesses(self) -> dict[int, np.ndarray]:
        """The stored witnesses: token id to a float32 or float64 vector."""
        found: dict[int, np.ndarray] = {}
        for file in sorted((self.path / "witnesses").glob("*.safetensors")):
            try:
                with safe_open(file, "np") as content:
                    for name in ("float32", "float64"):
                        if f"token_id.{name}" in content.keys():  # noqa: SIM118
                            tokens = content.get_tensor(f"token_id.{name}").tolist()
                            found.update(zip(tokens, content.get_tensor(f"point.{name}"), strict=True))
            except (SafetensorError, OSError, ValueError) as error:
                raise BadInput(f"{file}: not readable ({error}); the run is damaged, scan again") from None
        return found
