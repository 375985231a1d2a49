"""Writing a run folder: begin, journal, finish."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from reach.runs.atomic import RESUME, RUN_AGAIN, write_json, write_whole, writing_to
from reach.runs.ceilings import FILE as CEILINGS_FILE
from reach.runs.ceilings import POINTS_FILE, write_ceilings
from reach.runs.domain_words import domain_words
from reach.runs.folder import PAGE_FILE, RunFolder
from reach.runs.inside import FILE as INSIDE_FILE
from reach.runs.inside import write_inside
from reach.runs.lock import LOCK_FILE, locked
from reach.runs.manifest import FILE, MOST_BYTES, Manifest
from reach.runs.map import FILE as MAP_FILE
from reach.runs.map import write_map
from reach.runs.reading import read_json
from reach.runs.served import FILE as SERVED_FILE
from reach.runs.served import POINTS_FILE as SERVED_POINTS_FILE
from reach.runs.served import WEIGHTS_FILE as SERVED_WEIGHTS_FILE
from reach.runs.served import write_served
from reach.verdicts import Tables
from solvers.errors import BadInput

BLOCKS = "blocks"
FURTHER_RESULTS = ("interference", "search", "search_witnesses", "solvers")
"""First parts of the names that other commands give to their results in a run folder."""
WITNESSES = "witnesses"
JOURNALS = (BLOCKS, "search_state")
"""Folders of a run whose content is only of use until the work on it is finished."""
_RESULTS = (
    "verdicts.parquet", "hull_weights.parquet", "margin_weights.parquet", "nearest.parquet", INSIDE_FILE,
    "silencers.parquet", "categories.parquet", "suspects.parquet", "few_blockers.parquet", CEILINGS_FILE, POINTS_FILE,
    SERVED_FILE, SERVED_POINTS_FILE, SERVED_WEIGHTS_FILE, MAP_FILE,
)  # fmt: skip
_WITNESSES_PER_FILE = 2**16
_IDENTITY = ("kind", "fingerprint", "domain", "v", "d")


def open_for_writing(path: Path, manifest: Manifest, *, resume: bool, force: bool) -> bool:
    """Make a run folder ready, which the caller has `locked`; says whether an earlier run is taken up again.

    Raises:
        BadInput: the folder holds something else, a finished run (without `force`), an unfinished one (without
            `resume` or `force`), or an unfinished run of another model or with other settings.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path}: is a file, but a run is a folder; choose another --out")
    there = [entry for entry in path.iterdir() if entry.name != LOCK_FILE] if path.is_dir() else []
    if there:
        if not (path / FILE).is_file():
            if not all(_is_further_result(entry) for entry in there):
                raise BadInput(f"{path}: holds files, but no run; choose another --out")
        elif not force:
            return _take_up(path, manifest, resume)
        elif not _is_ours(path):
            raise BadInput(f"{path}: its manifest.json is not that of a run; choose another --out")
        else:
            with writing_to(path, again=RUN_AGAIN):
                clear(path, manifest.fingerprint)
    elif resume:
        raise BadInput(f"{path}: nothing to resume there; leave --resume out")
    write_json(path / FILE, manifest.record(), again=RUN_AGAIN)
    return False


def lacks_only_a_page(path: Path, page: str, manifest: Manifest) -> bool:
    """Whether a folder holds the finished run of this very manifest, but not its page: all the rest is done."""
    if not (path / FILE).is_file() or (path / page).exists():
        return False
    before = RunFolder.open(path, finished=False)
    return before.finished and _difference(before.record, manifest) is None


def _is_ours(folder: Path) -> bool:
    """Whether this program wrote a manifest, of whatever schema: only then may `--force` clear its folder."""
    return {"schema", "kind", "fingerprint"} <= _entries(folder).keys()


def _entries(folder: Path) -> dict[str, Any]:
    """A manifest of whatever schema; nothing where it cannot be read."""
    try:
        content = read_json(folder / FILE, again=RUN_AGAIN, most=MOST_BYTES)
    except BadInput:
        return {}
    return content if isinstance(content, dict) else {}


def _take_up(path: Path, manifest: Manifest, resume: bool) -> bool:
    before = RunFolder.open(path, finished=False)
    if before.finished:
        raise BadInput(f"{path}: holds a finished run; overwrite it with --force, or choose another --out")
    if not resume:
        raise BadInput(f"{path}: holds an unfinished run; go on with --resume, or start over with --force")
    difference = _difference(before.record, manifest)
    if difference is not None:
        raise BadInput(f"{path}: the unfinished run {difference}")
    return True


def _difference(before: Manifest, manifest: Manifest) -> str | None:
    """Why one run cannot go on as another, in words, or none if it can."""
    for key in _IDENTITY:
        there, here = (domain_words(m.record()) if key == "domain" else getattr(m, key) for m in (before, manifest))
        if there != here:
            return f"is of another model ({key} {there!r}, here {here!r}); choose another --out"
    if before.asked != manifest.asked or lasting(before.settings) != lasting(manifest.settings):
        return "has other settings; resume with the same, or --force a new one"
    return None


def lasting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a scan's settings, by name, that change what is found (not how fast)."""
    return {k: v for k, v in settings.items() if k not in ("jobs", "device", "block_tokens")}


def _is_further_result(entry: Path) -> bool:
    """Whether a file is one that other commands leave beside a scan."""
    return entry.name.split(".", maxsplit=1)[0] in FURTHER_RESULTS


def clear(path: Path, fingerprint: str | None) -> None:
    """Remove the parts of a run that this program writes, and nothing else.

    What other commands have found out about the same model stays; about another model it would be misleading.
    """
    before = _entries(path)
    for entry in path.iterdir() if before.get("fingerprint") != fingerprint else ():
        if _is_further_result(entry):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in (*_RESULTS, "controls.parquet", PAGE_FILE):
        (path / name).unlink(missing_ok=True)
    for name in (BLOCKS, WITNESSES):
        shutil.rmtree(path / name, ignore_errors=True)
    _sweep(path)
    (path / FILE).unlink(missing_ok=True)


def save(path: Path, tables: Tables, manifest: Manifest, *, force: bool = False) -> Path:
    """Write a run that is in memory.

    Raises:
        BadInput: the folder holds a run (without `force`) or something else, or it cannot be written.
    """
    with locked(path):
        open_for_writing(path, manifest, resume=False, force=force)
        finish(path, tables, manifest)
    return path


def finish(path: Path, tables: Tables, manifest: Manifest) -> None:
    """Write the tables and the witnesses, then the manifest that declares the run finished; drop the journal."""
    write_whole(path / "verdicts.parquet", lambda partial: pq.write_table(tables.verdicts, partial))
    write_whole(path / "hull_weights.parquet", lambda partial: pq.write_table(tables.hull_weights, partial))
    if tables.margin_weights is not None:
        write_whole(path / "margin_weights.parquet", lambda partial: _write_weights(tables.margin_weights, partial))
    if tables.nearest is not None:
        write_whole(path / "nearest.parquet", lambda partial: pq.write_table(tables.nearest, partial))
    if tables.inside is not None:
        write_inside(path, tables.inside)
    if tables.silencers is not None:
        write_whole(path / "silencers.parquet", lambda partial: pq.write_table(tables.silencers, partial))
    if tables.categories is not None:
        write_whole(path / "categories.parquet", lambda partial: pq.write_table(tables.categories, partial))
    if tables.suspects is not None:
        write_whole(path / "suspects.parquet", lambda partial: pq.write_table(tables.suspects, partial))
    if tables.few_blockers is not None:
        write_whole(path / "few_blockers.parquet", lambda partial: pq.write_table(tables.few_blockers, partial))
    if tables.ceilings is not None:
        write_ceilings(path, tables.ceilings)
    if tables.served is not None:
        write_served(path, tables.served)
    if tables.map is not None:
        write_map(path, tables.map, again=RESUME)
    shutil.rmtree(path / WITNESSES, ignore_errors=True)
    tokens = sorted(tables.witnesses)
    for start in range(0, len(tokens), _WITNESSES_PER_FILE):
        part = tokens[start : start + _WITNESSES_PER_FILE]
        arrays: dict[str, np.ndarray] = {}
        for name, bits in (("float32", np.float32), ("float64", np.float64)):
            kept = [token for token in part if tables.witnesses[token].dtype == bits]
            if kept:
                arrays[f"token_id.{name}"] = np.array(kept)
                arrays[f"point.{name}"] = np.stack([tables.witnesses[token] for token in kept])
        file = path / WITNESSES / f"{start // _WITNESSES_PER_FILE:05d}.safetensors"
        write_whole(file, lambda partial, arrays=arrays: save_file(arrays, partial))  # type: ignore[misc]
    write_json(path / FILE, manifest.record())
    shutil.rmtree(path / BLOCKS, ignore_errors=True)
    with contextlib.suppress(OSError):  # the run is finished; what a killed process left behind does no harm
        _sweep(path)


def _write_weights(table: pa.Table | None, file: Path) -> None:
    """Most of these weights are float32 numbers, whose lower bytes are 0: split by bytes, that costs nothing."""
    encodings = {"row_id": "DELTA_BINARY_PACKED", "weight": "BYTE_STREAM_SPLIT"}
    pq.write_table(table, file, use_dictionary=["token_id"], column_encoding=encodings)


def _sweep(path: Path) -> None:
    """Remove the half-written files that a killed process left behind."""
    for name in (FILE, *_RESULTS):
        for partial in path.glob(f".{name}.*.part"):
            partial.unlink(missing_ok=True)
