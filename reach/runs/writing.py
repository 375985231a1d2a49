"""Writing a run folder: begin, journal, finish."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from reach.runs.atomic import RUN_AGAIN, write_json, write_whole, writing_to
from reach.runs.domain_words import domain_words
from reach.runs.folder import PAGE_FILE, RunFolder
from reach.runs.lock import LOCK_FILE
from reach.runs.tables import RunTables
from solvers.errors import BadInput

BLOCKS = "blocks"
FURTHER_RESULTS = ("interference", "search", "search_witnesses", "solvers")
"""First parts of the names that other commands give to their results in a run folder."""
WITNESSES = "witnesses"
_TABLES = ("verdicts.parquet", "hull_weights.parquet", "margin_weights.parquet", "nearest.parquet")
_WITNESSES_PER_FILE = 2**16
_IDENTITY = ("kind", "fingerprint", "domain", "v", "d")


def open_for_writing(path: Path, manifest: dict[str, Any], *, resume: bool, force: bool) -> bool:
    """Make a run folder ready, which the caller has `locked`; says whether an earlier run is taken up again.

    Raises:
        BadInput: the folder holds something else, a finished run (without `force`), an unfinished one (without
            `resume` or `force`), or an unfinished run of another model or with other settings.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path}: is a file, but a run is a folder; choose another --out")
    there = [entry for entry in path.iterdir() if entry.name != LOCK_FILE] if path.is_dir() else []
    if there:
        if not (path / "manifest.json").is_file():
            if not all(_is_further_result(entry) for entry in there):
                raise BadInput(f"{path}: holds files, but no run; choose another --out")
        elif not force:
            return _take_up(path, manifest, resume)
        elif not _is_ours(path / "manifest.json"):
            raise BadInput(f"{path}: its manifest.json is not that of a run; choose another --out")
        else:
            with writing_to(path, again=RUN_AGAIN):
                clear(path, manifest["fingerprint"])
    elif resume:
        raise BadInput(f"{path}: nothing to resume there; leave --resume out")
    write_json(path / "manifest.json", manifest, again=RUN_AGAIN)
    return False


def lacks_only_a_page(path: Path, page: str, manifest: dict[str, Any]) -> bool:
    """Whether a folder holds the finished run of this very manifest, but not its page: all the rest is done."""
    if not (path / "manifest.json").is_file() or (path / page).exists():
        return False
    before = RunFolder.open(path, finished=False).manifest
    return before.get("status") == "finished" and _difference(before, manifest) is None


def _is_ours(file: Path) -> bool:
    """Whether this program wrote a manifest, of whatever schema: only then may `--force` clear its folder."""
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"schema", "kind", "fingerprint"} <= manifest.keys()


def _take_up(path: Path, manifest: dict[str, Any], resume: bool) -> bool:
    before = RunFolder.open(path, finished=False).manifest
    if before.get("status") == "finished":
        raise BadInput(f"{path}: holds a finished run; overwrite it with --force, or choose another --out")
    if not resume:
        raise BadInput(f"{path}: holds an unfinished run; go on with --resume, or start over with --force")
    difference = _difference(before, manifest)
    if difference is not None:
        raise BadInput(f"{path}: the unfinished run {difference}")
    return True


def _difference(before: dict[str, Any], manifest: dict[str, Any]) -> str | None:
    """Why one run cannot go on as another, in words, or none if it can."""
    for key in _IDENTITY:
        there, here = (domain_words(m) if key == "domain" else m.get(key) for m in (before, manifest))
        if there != here:
            return f"is of another model ({key} {there!r}, here {here!r}); choose another --out"
    if before.get("asked") != manifest["asked"] or _lasting(before) != _lasting(manifest):
        return "has other settings; resume with the same, or --force a new one"
    return None


def _lasting(manifest: dict[str, Any]) -> dict[str, Any]:
    """The settings that change what is found (not how fast)."""
    return {k: v for k, v in manifest.get("settings", {}).items() if k not in ("jobs", "device", "block_tokens")}


def _is_further_result(entry: Path) -> bool:
    """Whether a file is one that other commands leave beside a scan."""
    return entry.name.split(".", maxsplit=1)[0] in FURTHER_RESULTS


def clear(path: Path, fingerprint: str) -> None:
    """Remove the parts of a run that this program writes, and nothing else.

    What other commands have found out about the same model stays; about another model it would be misleading.
    """
    before = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    for entry in path.iterdir() if before.get("fingerprint") != fingerprint else ():
        if _is_further_result(entry):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name in (*_TABLES, "controls.parquet", PAGE_FILE):
        (path / name).unlink(missing_ok=True)
    for name in (BLOCKS, WITNESSES):
        shutil.rmtree(path / name, ignore_errors=True)
    _sweep(path)
    (path / "manifest.json").unlink(missing_ok=True)


def finish(path: Path, tables: RunTables, manifest: dict[str, Any]) -> None:
    """Write the tables and the witnesses, then the manifest that declares the run finished; drop the journal."""
    write_whole(path / "verdicts.parquet", lambda partial: pq.write_table(tables.verdicts, partial))
    write_whole(path / "hull_weights.parquet", lambda partial: pq.write_table(tables.hull_weights, partial))
    for name, table in (("margin_weights.parquet", tables.margin_weights), ("nearest.parquet", tables.nearest)):
        if table is not None:
            write_whole(path / name, lambda partial, table=table: pq.write_table(table, partial))  # type: ignore[misc]
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
    write_json(path / "manifest.json", manifest)
    shutil.rmtree(path / BLOCKS, ignore_errors=True)
    with contextlib.suppress(OSError):  # the run is finished; what a killed process left behind does no harm
        _sweep(path)


def _sweep(path: Path) -> None:
    """Remove the half-written files that a killed process left behind."""
    for name in ("manifest.json", *_TABLES):
        for partial in path.glob(f".{name}.*.part"):
            partial.unlink(missing_ok=True)
