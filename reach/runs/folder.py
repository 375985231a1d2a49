"""Reading a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from reach.bounded import is_there
from reach.heads.loading import Loading
from reach.runs.ceilings import Ceilings, read_ceilings
from reach.runs.inside import FILE as INSIDE_FILE
from reach.runs.inside import InsideProofs, read_inside
from reach.runs.manifest import DAMAGED, FILE, Manifest, Totals, as_manifest, read_loading, read_manifest
from reach.runs.map import VocabularyMap, read_map
from reach.runs.reading import MOST_ROWS, check_table, read_table, tensors_of
from reach.runs.schema import (
    CATEGORIES,
    CONTROLS,
    FEW_BLOCKERS,
    HULL_WEIGHTS,
    LATER_COLUMNS,
    MARGIN_WEIGHTS,
    NEAREST,
    SILENCERS,
    SUSPECTS,
    VERDICT_NAMES,
    VERDICTS,
)
from reach.runs.served import Served, read_served
from reach.verdicts import Verdicts
from solvers.errors import BadInput

LOOKED_OVER = ("verdicts", "hull_weights")
"""Tables that every scan has."""
PAGE_FILE = "report.html"
"""The scan's page in its run folder."""


@dataclass(frozen=True)
class StoredTables:
    """The tables of a run folder (`reach.verdicts.Tables`), each read where it is first asked for.

    Args:
        path: the folder.
        rows: tokens that the manifest speaks of; a longer table is refused before it is read.
    """

    path: Path
    rows: int = MOST_ROWS

    @cached_property
    def verdicts(self) -> pa.Table:
        """One row per token, in token order (schema `VERDICTS`)."""
        return self._table("verdicts", VERDICTS, LATER_COLUMNS, most_rows=self.rows)

    @cached_property
    def hull_weights(self) -> pa.Table:
        """The hull weights of the unspeakable tokens (schema `HULL_WEIGHTS`)."""
        return self._table("hull_weights", HULL_WEIGHTS)

    @cached_property
    def margin_weights(self) -> pa.Table | None:
        """What bounds nearly-never tokens' margins (schema `MARGIN_WEIGHTS`), or None where the run has none."""
        return self._perhaps("margin_weights", MARGIN_WEIGHTS)

    @cached_property
    def inside(self) -> InsideProofs | None:
        """What proves that tokens lie inside the hull of the others, or None where the run has none."""
        return read_inside(self.path, again=DAMAGED) if is_there(self.path / INSIDE_FILE) else None

    @cached_property
    def nearest(self) -> pa.Table | None:
        """The nearest rows of some tokens (schema `NEAREST`), or None where the run has none."""
        return self._perhaps("nearest", NEAREST)

    @cached_property
    def silencers(self) -> pa.Table | None:
        """Tokens that single others silence (schema `SILENCERS`), or None where the run does not say."""
        return self._perhaps("silencers", SILENCERS)

    @cached_property
    def ceilings(self) -> Ceilings | None:
        """How probable softmax can make tokens, or None where the run was not asked."""
        return read_ceilings(self.path, again=DAMAGED)

    @cached_property
    def served(self) -> Served | None:
        """What servers return, or None where the run was not asked."""
        return read_served(self.path, again=DAMAGED)

    @cached_property
    def map(self) -> VocabularyMap | None:
        """Where the rows lie in two dimensions, or None where the run does not say."""
        return read_map(self.path, self.verdicts.num_rows)

    @cached_property
    def categories(self) -> pa.Table | None:
        """What tokens are (schema `CATEGORIES`), or None where the run does not say."""
        return self._perhaps("categories", CATEGORIES)

    @cached_property
    def suspects(self) -> pa.Table | None:
        """Whom indicators of under-training suspect most (schema `SUSPECTS`), or None where the run does not say."""
        return self._perhaps("suspects", SUSPECTS)

    @cached_property
    def few_blockers(self) -> pa.Table | None:
        """Proofs over few blockers (schema `FEW_BLOCKERS`), or None where the run does not say."""
        return self._perhaps("few_blockers", FEW_BLOCKERS)

    @cached_property
    def controls(self) -> pa.Table | None:
        """The margins of random heads of the same shape (schema `CONTROLS`), or None where the run has none."""
        return self._perhaps("controls", CONTROLS)

    @cached_property
    def witnesses(self) -> dict[int, np.ndarray]:
        """The stored witnesses: token id to a float32 or float64 vector."""
        found: dict[int, np.ndarray] = {}
        for file in sorted((self.path / "witnesses").glob("*.safetensors")):
            with tensors_of(file, again=DAMAGED) as content:
                for name in ("float32", "float64"):
                    if f"token_id.{name}" in content.keys():  # noqa: SIM118
                        tokens, points = (content.get_tensor(f"{part}.{name}") for part in ("token_id", "point"))
                        found.update(zip(tokens.tolist(), points, strict=True))
        return found

    def _perhaps(self, name: str, schema: pa.Schema) -> pa.Table | None:
        return self._table(name, schema) if is_there(self.path / f"{name}.parquet") else None

    def _table(
        self, name: str, schema: pa.Schema, later: tuple[str, ...] = (), *, most_rows: int = MOST_ROWS
    ) -> pa.Table:
        file = self.path / f"{name}.parquet"
        return read_table(file, again=DAMAGED, schema=schema, later=later, most_rows=most_rows)


@dataclass(frozen=True)
class RunFolder:
    """A finished or unfinished run on disk. `open` checks that it is one.

    Attributes:
        path: the folder.
        manifest: `manifest.json` in plain types, whoever wrote it: what `verify` holds against the model. All others
            read `record`.
    """

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
        if not is_there(path / FILE):
            raise BadInput(
                f"{path}: no run folder (it has no manifest.json); make one with 'reach scan MODEL --out {path}'"
            )
        manifest = read_manifest(path)
        if finished and manifest.get("status") != "finished":
            raise BadInput(f"{path}: the run has not finished; go on with 'reach scan … --out {path} --resume'")
        return cls(path, manifest)

    @cached_property
    def record(self) -> Manifest:
        """What the run says of itself.

        Raises:
            BadInput: an entry is of another kind, or the run is no scan.
        """
        return as_manifest(self.manifest, self.path)

    @property
    def loading(self) -> Loading:
        """What finds the head again, as others may have written it.

        Raises:
            BadInput: the entry or something in it is of another kind, or an override is not known.
        """
        return read_loading(self.manifest.get("loading"), self.path / FILE)

    @property
    def finished(self) -> bool:
        """Whether the scan has ended."""
        return bool(self.manifest.get("status") == "finished")

    @cached_property
    def tables(self) -> StoredTables:
        """The tables as they are stored."""
        v = self.manifest.get("v")
        return StoredTables(self.path, v if type(v) is int and 0 <= v <= MOST_ROWS else MOST_ROWS)

    def totals(self) -> Totals:
        """The counts as the manifest gives them: no table is read, each is looked over by its footer alone.

        A run of an earlier version, whose manifest counts nothing, is counted.

        Raises:
            BadInput: the counts contradict each other, or a table is missing, is damaged at its end or is not of the
                length that the manifest gives.
        """
        about = self.record
        # One row too many may be claimed, so that the complaint can say how many there are.
        most = {"verdicts": min(self.tables.rows + 2**10, MOST_ROWS)}
        found = {
            name: check_table(self.path / f"{name}.parquet", again=DAMAGED, most_rows=most.get(name, MOST_ROWS))
            for name in LOOKED_OVER
        }
        file, rows = self.path / "verdicts.parquet", found["verdicts"]
        if about.totals is None:
            return self.verdicts().totals
        if about.v is not None and about.v != rows:
            raise BadInput(f"{file}: {rows} rows, but the manifest says {about.v}; {DAMAGED}")
        if not _adds_up(about.totals, rows):
            raise BadInput(f"{self.path / FILE}: its counts of tokens contradict each other; {DAMAGED}")
        return about.totals

    def verdicts(self) -> Verdicts:
        """What the run says of every token; read once.

        Raises:
            BadInput: a table is missing or damaged, is empty, or contradicts the manifest or itself.
        """
        return self._verdicts

    @cached_property
    def _verdicts(self) -> Verdicts:
        # One row too many is read, so that the complaint can say how many there are.
        tables = StoredTables(self.path, min(self.tables.rows + 2**10, MOST_ROWS))
        return Verdicts(tables, self.record, at=self.path).checked()


def _adds_up(totals: Totals, rows: int) -> bool:
    """Whether counts can be those of one table of so many rows."""
    verdicts = totals.verdicts
    if verdicts.keys() - set(VERDICT_NAMES) or any(count < 0 for count in verdicts.values()):
        return False
    speakable = verdicts.get("speakable", 0)
    parts = (totals.own_direction, totals.hard_to_speak)
    nested = [0, speakable]
    if totals.nearly_never is not None:
        nested[1:1] = [totals.nearly_never.float32, totals.nearly_never.bfloat16]
    return (
        0 < totals.tokens <= rows
        and sum(verdicts.values()) == totals.tokens
        and min(parts) >= 0
        and sum(parts) <= speakable
        and nested == sorted(nested)
    )


def model_of_run(out: Path | None) -> tuple[str, Loading] | None:
    """Name of the model of a scan and what finds it again, so that a run can be measured without naming it twice."""
    if out is None or not is_there(out / FILE):
        return None
    run = RunFolder.open(out, finished=False)
    loading = run.loading
    if loading.model is None:
        return None
    return str(run.manifest.get("model") or loading.model), loading
