"""What `reach search` leaves in a run folder: `search.json`, `search.parquet` and `search_witnesses/`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from safetensors.numpy import load_file, save_file
from torch import Tensor

from reach.runs import results
from reach.runs.atomic import write_whole
from reach.search.ledger import Ledger, Witness
from reach.search.levels import LEVELS, WORDS
from reach.search.prompts import Repeated, RoundTrip
from reach.search.replay import ReplayReport, points_of
from reach.search.starts import HeadVerdicts
from reach.vocabulary import Vocabulary, visible
from solvers.errors import BadInput

SCHEMA_VERSION = 1
JSON_FILE, TABLE_FILE, PAGE_FILE = "search.json", "search.parquet", "search.html"
WITNESSES, STATE = "search_witnesses", "search_state"

_PROMPTS = pa.schema(
    [
        ("token_id", pa.int32()),
        ("level", pa.string()),  # tokens | text
        ("how", pa.string()),
        ("margin", pa.float64()),
        ("ids", pa.list_(pa.int32())),  # between the fixed tokens
        ("text", pa.string()),  # what they decode to; null without a tokenizer
    ]
)
_HULL = pa.schema(
    [
        ("token_id", pa.int32()),
        ("margin", pa.float64()),
        ("position", pa.int32()),
        ("row_id", pa.list_(pa.int32())),  # −1 is the mean of all rows
        ("weight", pa.list_(pa.float32())),
    ]
)
_TALLIES = ("effort", "tries", "wins")


def table_schema(forms: list[str]) -> pa.Schema:
    """Columns of `search.parquet`; all that begins with a level's name is null where that level was not searched."""
    fields = [
        ("token_id", pa.int32()),
        ("token", pa.string()),
        ("text", pa.string()),
        ("asked", pa.bool_()),
        ("verdict", pa.string()),  # of the head; null without a scan
        ("head_margin", pa.float64()),  # the scan's lower bound, logits
        ("first_failed", pa.string()),  # head, or the loosest level not reached; null where all were, or not asked
        ("steps", pa.int64()),  # optimisation steps spent on this token as a target
    ]
    for level in LEVELS:
        fields += [
            (f"{level}_hit", pa.bool_()),
            (f"{level}_margin", pa.float64()),  # of the replayed witness in float32, logits
            (f"{level}_margin_own", pa.float64()),  # the same in the model's own dtype
            (f"{level}_length", pa.int32()),
            (f"{level}_witness", pa.string()),  # level under which the witness is stored
            (f"{level}_steps", pa.int64()),
        ]
    for form in forms:
        fields += [(f"repeat_{form}_probability", pa.float64()), (f"repeat_{form}_top", pa.bool_())]
    return pa.schema(fields)


def refuse_overwriting(folder: Path, *, resume: bool, force: bool) -> None:
    """Say so before minutes of work when the place is taken.

    Raises:
        BadInput: the folder is a file, or holds a search that would be lost, or none that could be resumed.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file, but a run is a folder; choose another --out")
    if resume:
        if not (folder / STATE / "state.json").is_file():
            raise BadInput(f"{folder}: holds no unfinished search; leave --resume out")
    elif force:
        shutil.rmtree(folder / STATE, ignore_errors=True)
    elif (folder / JSON_FILE).exists():
        raise BadInput(f"{folder / JSON_FILE}: exists already; overwrite it with --force, or choose another --out")
    elif (folder / STATE / "state.json").exists():
        raise BadInput(f"{folder}: holds an unfinished search; go on with --resume, or start over with --force")


# --- witnesses ------------------------------------------------------------------------------------------------------


def write_witnesses(folder: Path, ledger: Ledger, texts: dict[int, str]) -> None:
    """Write all witnesses, each once. `texts` holds what prompts decode to, by `id(witness)`."""
    prompts: list[dict[str, Any]] = []
    hull: list[dict[str, Any]] = []
    points: dict[str, list[tuple[int, Witness]]] = {}
    for token, witness in distinct(ledger):
        head = {"token_id": token, "margin": witness.margin}
        if witness.ids is not None:
            prompts.append(
                {**head, "level": witness.level, "how": witness.how, "ids": witness.ids.tolist(),
                 "text": texts.get(id(witness))}
            )  # fmt: skip
        elif witness.weights is not None:
            hull += [
                {**head, "position": at, "row_id": rows.tolist(), "weight": weight.tolist()}
                for at, (rows, weight) in enumerate(witness.weights)
            ]
        else:
            points.setdefault(f"{witness.level}.{witness.length}", []).append((token, witness))
    arrays: dict[str, np.ndarray] = {}
    for name, held in points.items():
        arrays[f"{name}.token_id"] = np.array([token for token, _ in held], dtype=np.int32)
        arrays[f"{name}.margin"] = np.array([witness.margin for _, witness in held])
        arrays[f"{name}.points"] = np.stack([witness.points for _, witness in held if witness.points is not None])
    for file, rows, schema in (("prompts", prompts, _PROMPTS), ("hull", hull, _HULL)):
        table = pa.Table.from_pylist(rows, schema=schema)
        write_whole(folder / f"{file}.parquet", lambda partial, table=table: pq.write_table(table, partial))  # type: ignore[misc]
    write_whole(folder / "points.safetensors", lambda partial: save_file(arrays, partial))


def distinct(ledger: Ledger) -> list[tuple[int, Witness]]:
    """Every witness once, in order of token and level."""
    seen: dict[int, tuple[int, Witness]] = {}
    for level in LEVELS:
        for token, witness in ledger.witnesses[level].items():
            seen.setdefault(id(witness), (token, witness))
    return sorted(seen.values(), key=lambda pair: (pair[0], LEVELS.index(pair[1].level)))


def read_witnesses(folder: Path) -> list[tuple[int, Witness]]:
    """Every stored witness with its token.

    Raises:
        BadInput: a file is missing or damaged.
    """
    found: list[tuple[int, Witness]] = []
    try:
        for row in pq.read_table(folder / "prompts.parquet").to_pylist():
            ids = np.array(row["ids"], dtype=np.int32)
            found.append((row["token_id"], Witness(row["level"], len(ids), row["margin"], ids=ids, how=row["how"])))
        hull: dict[int, list[dict[str, Any]]] = {}
        for row in pq.read_table(folder / "hull.parquet").to_pylist():
            hull.setdefault(row["token_id"], []).append(row)
        for token, rows in hull.items():
            rows.sort(key=lambda row: row["position"])
            weights = tuple(
                (np.array(row["row_id"], dtype=np.int32), np.array(row["weight"], dtype=np.float32)) for row in rows
            )
            found.append((token, Witness("hull", len(rows), rows[0]["margin"], weights=weights, how="optimised")))
        arrays = load_file(folder / "points.safetensors")
        for name in sorted({key.rsplit(".", 1)[0] for key in arrays}):
            level, length = name.split(".")
            held = (arrays[f"{name}.{part}"] for part in ("token_id", "margin", "points"))
            for token, margin, points in zip(*held, strict=True):
                found.append((int(token), Witness(level, int(length), float(margin), points=points, how="optimised")))
    except Exception as error:  # three libraries, each with errors of its own
        raise BadInput(f"{folder}: the witnesses are damaged ({error}); search again with --force") from None
    return found


# --- unfinished searches --------------------------------------------------------------------------------------------


def write_state(folder: Path, ledger: Ledger, state: dict[str, Any]) -> None:
    """Leave everything that a resumed search needs; the file named last makes it valid."""
    write_witnesses(folder / STATE, ledger, {})
    tallies = {f"{name}.{level}": getattr(ledger, name)[level] for name in _TALLIES for level in LEVELS}
    write_whole(folder / STATE / "tallies.safetensors", lambda partial: save_file(tallies, partial))
    record = state | {"curve": ledger.curve, "inputs": ledger.inputs, "seconds": ledger.seconds}
    write_whole(folder / STATE / "state.json", lambda partial: partial.write_text(json.dumps(record), "utf-8"))


def read_state(folder: Path, ledger: Ledger) -> dict[str, Any]:
    """Put an unfinished search back into a ledger; returns what it was asked and how far it came.

    Raises:
        BadInput: it is damaged.
    """
    file = folder / STATE / "state.json"
    try:
        state: dict[str, Any] = json.loads(file.read_text("utf-8"))
        tallies = load_file(folder / STATE / "tallies.safetensors")
        for name in _TALLIES:
            for level in LEVELS:
                getattr(ledger, name)[level][:] = tallies[f"{name}.{level}"]
        ledger.curve, ledger.inputs, ledger.before = state["curve"], state["inputs"], float(state["seconds"])
    except Exception as error:  # three libraries, each with errors of its own
        raise BadInput(f"{file}: the unfinished search is damaged ({error}); start over with --force") from None
    for token, witness in read_witnesses(folder / STATE):
        ledger.add(token, witness)
    return state


def clear_state(folder: Path) -> None:
    """An unfinished search that is finished now."""
    shutil.rmtree(folder / STATE, ignore_errors=True)


# --- results --------------------------------------------------------------------------------------------------------


def write_result(folder: Path, record: dict[str, Any], table: pa.Table) -> None:
    """Write the table, then the record that makes the result complete."""
    write_whole(folder / TABLE_FILE, lambda partial: pq.write_table(table, partial))
    results.write_record(folder / JSON_FILE, record)
    clear_state(folder)


def read_result(folder: Path) -> dict[str, Any]:
    """Read `search.json`.

    Raises:
        BadInput: there is none, or it is damaged or of another schema.
    """
    make = f"reach search MODEL --out {folder}"
    return results.read_record(folder / JSON_FILE, SCHEMA_VERSION, make=make, again="search again")


def read_table(folder: Path) -> pa.Table:
    """Read `search.parquet`.

    Raises:
        BadInput: there is none, or it is damaged.
    """
    return results.read_table(folder / TABLE_FILE, again="search again with --force")


# --- the table and the funnel ---------------------------------------------------------------------------------------


def build_table(
    ledger: Ledger,
    vocabulary: Vocabulary,
    verdicts: HeadVerdicts | None,
    asked: np.ndarray,
    levels: list[str],
    report: ReplayReport,
    repeated: Repeated | None,
) -> pa.Table:
    """`search.parquet`: tokens in order, a group of columns per level."""
    v = ledger.v
    columns: dict[str, list[Any]] = {
        "token_id": list(range(v)),
        "token": vocabulary.pieces,
        "text": vocabulary.texts,
        "asked": asked.tolist(),
        "verdict": [None] * v if verdicts is None else list(verdicts.verdict),
        "head_margin": [None] * v if verdicts is None else [_number(one) for one in verdicts.margin],
        "first_failed": _first_failed(ledger, verdicts, asked, levels),
        "steps": np.sum([ledger.effort[level] for level in LEVELS], axis=0).tolist(),
    }
    for level in LEVELS:
        searched = level in levels
        results = [report.results.get((token, level)) for token in range(v)] if searched else [None] * v
        held = ledger.witnesses[level] if searched else {}
        columns[f"{level}_hit"] = ledger.found[level].tolist() if searched else [None] * v
        columns[f"{level}_margin"] = [None if one is None else one.margin for one in results]
        columns[f"{level}_margin_own"] = [None if one is None else one.margin_own for one in results]
        columns[f"{level}_length"] = [held[token].length if token in held else None for token in range(v)]
        columns[f"{level}_witness"] = [held[token].level if token in held else None for token in range(v)]
        columns[f"{level}_steps"] = ledger.effort[level].tolist() if searched else [None] * v
    forms = [] if repeated is None else list(repeated.top)
    for form in forms:
        assert repeated is not None
        columns[f"repeat_{form}_probability"] = [_number(one) for one in repeated.probability[form]]
        columns[f"repeat_{form}_top"] = [
            bool(top) if put else None for top, put in zip(repeated.top[form], repeated.asked, strict=True)
        ]
    return pa.table(columns, schema=table_schema(forms))


def _first_failed(
    ledger: Ledger, verdicts: HeadVerdicts | None, asked: np.ndarray, levels: list[str]
) -> list[str | None]:
    """The loosest level at which a token was not reached."""
    found: list[str | None] = []
    for token in range(ledger.v):
        if not asked[token]:
            found.append(None)
        elif verdicts is not None and verdicts.unspeakable[token]:
            found.append("head")
        else:
            found.append(next((level for level in levels if not ledger.found[level][token]), None))
    return found


def funnel(
    ledger: Ledger, verdicts: HeadVerdicts | None, asked: np.ndarray, levels: list[str]
) -> list[dict[str, Any]]:
    """How many of the tokens asked for are left after each level."""
    rows = [{"level": "asked", "words": "tokens asked for", "tokens": int(asked.sum()), "lost": 0}]
    if verdicts is not None:
        allowed = asked & ~verdicts.unspeakable
        rows.append(_row("head", "not proved unspeakable by the head", int(allowed.sum()), rows[-1]["tokens"]))
    for level in levels:
        left = int((ledger.found[level] & asked).sum())
        rows.append(_row(level, f"said after {WORDS[level]}", left, rows[-1]["tokens"]))
    return rows


def _row(level: str, words: str, tokens: int, before: Any) -> dict[str, Any]:
    return {"level": level, "words": words, "tokens": tokens, "lost": before - tokens}


def prompt_texts(ledger: Ledger, trip: RoundTrip) -> dict[int, str]:
    """What stored prompts decode to, by `id(witness)`."""
    texts: dict[int, str] = {}
    if trip.tokenizer is None:
        return texts
    for _, witness in distinct(ledger):
        if witness.ids is not None:
            texts[id(witness)] = visible(trip.decode(witness.ids.tolist()))
    return texts


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# --- what an embedding is like --------------------------------------------------------------------------------------

NEAREST = pa.schema(
    [
        ("token_id", pa.int32()),
        ("level", pa.string()),
        ("position", pa.int32()),
        ("row_id", pa.list_(pa.int32())),  # nearest first
        ("distance", pa.list_(pa.float32())),
    ]
)
_SHOWN = 5


def write_nearest(folder: Path, ledger: Ledger, rows: Float[Tensor, "v d"]) -> None:
    """Write `nearest.parquet` for all witnesses that are no prompts."""
    owners: list[tuple[int, str, int]] = []
    points: list[Tensor] = []
    for token, witness in distinct(ledger):
        found = points_of(witness, rows)
        if found is not None:
            owners += [(token, witness.level, position) for position in range(len(found))]
            points += list(found)
    ids, distances = np.zeros((0, _SHOWN), dtype=np.int32), np.zeros((0, _SHOWN), dtype=np.float32)
    if points:
        parts = []
        for part in torch.stack(points).to(rows.device).split(512):
            best = torch.cdist(part, rows).topk(min(_SHOWN, len(rows)), dim=1, largest=False)
            parts.append((best.indices.cpu().numpy(), best.values.cpu().numpy()))
        ids, distances = (np.concatenate(one) for one in zip(*parts, strict=True))
    columns: list[list[object]] = [[owner[at] for owner in owners] for at in range(3)]
    columns += [list(ids.astype(np.int32)), list(distances.astype(np.float32))]
    table = pa.table(dict(zip(NEAREST.names, columns, strict=True)), schema=NEAREST)
    write_whole(folder / "nearest.parquet", lambda partial: pq.write_table(table, partial))
