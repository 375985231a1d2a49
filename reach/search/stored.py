"""From the ledger to the files of a run folder, and from those of an unfinished search back to the ledger."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors.numpy import save_file
from torch import Tensor

from reach.runs import reading
from reach.runs.atomic import write_whole
from reach.search.ledger import Ledger, Witness
from reach.search.options import LEVELS, WORDS
from reach.search.prompts import Repeated, RoundTrip
from reach.search.record import (
    AGAIN,
    JSON_FILE,
    SCHEMA_VERSION,
    Asked,
    FunnelRow,
    HullRow,
    LevelColumns,
    NearestRow,
    PromptRow,
    RepeatColumns,
    SearchTable,
    State,
    TokenColumns,
    read_rows,
    write_rows,
)
from reach.search.replay import ReplayReport, points_of
from reach.search.starts import HeadVerdicts
from reach.vocabulary import Vocabulary, visible
from solvers.errors import BadInput

STATE = "search_state"
_AFRESH = "start over with --force"
_TALLIES = ("effort", "tries", "wins")
_SHOWN = 5
"""Nearest tokens of an embedding that are kept."""


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
        clear_state(folder)
    elif (folder / JSON_FILE).exists():
        raise BadInput(f"{folder / JSON_FILE}: exists already; overwrite it with --force, or choose another --out")
    elif (folder / STATE / "state.json").exists():
        raise BadInput(f"{folder}: holds an unfinished search; go on with --resume, or {_AFRESH}")


# --- witnesses ------------------------------------------------------------------------------------------------------


def write_witnesses(folder: Path, ledger: Ledger, trip: RoundTrip | None = None) -> None:
    """Write all witnesses, each once; with a tokenizer also what prompts decode to."""
    prompts: list[PromptRow] = []
    hull: list[HullRow] = []
    points: dict[str, list[tuple[int, Witness]]] = {}
    for token, witness in distinct(ledger):
        if witness.ids is not None:
            ids = witness.ids.tolist()
            text = None if trip is None or trip.tokenizer is None else visible(trip.decode(ids))
            prompts.append(PromptRow(token, witness.level, witness.how, witness.margin, ids, text))
        elif witness.weights is not None:
            hull += [
                HullRow(token, witness.margin, at, rows.tolist(), weight.tolist())
                for at, (rows, weight) in enumerate(witness.weights)
            ]
        else:
            points.setdefault(f"{witness.level}.{witness.length}", []).append((token, witness))
    arrays: dict[str, np.ndarray] = {}
    for name, held in points.items():
        arrays[f"{name}.token_id"] = np.array([token for token, _ in held], dtype=np.int32)
        arrays[f"{name}.margin"] = np.array([witness.margin for _, witness in held])
        arrays[f"{name}.points"] = np.stack([witness.points for _, witness in held if witness.points is not None])
    write_rows(folder, "prompts", PromptRow, prompts)
    write_rows(folder, "hull", HullRow, hull)
    write_whole(folder / "points.safetensors", lambda partial: save_file(arrays, partial))


def distinct(ledger: Ledger) -> list[tuple[int, Witness]]:
    """Every witness once, in order of token and level."""
    seen: dict[int, tuple[int, Witness]] = {}
    for level in LEVELS:
        for token, witness in ledger.witnesses[level].items():
            seen.setdefault(id(witness), (token, witness))
    return sorted(seen.values(), key=lambda pair: (pair[0], LEVELS.index(pair[1].level)))


def read_witnesses(folder: Path, *, again: str = AGAIN) -> list[tuple[int, Witness]]:
    """Every stored witness with its token.

    Raises:
        BadInput: a file is missing or damaged.
    """
    found: list[tuple[int, Witness]] = []
    for one in read_rows(folder, "prompts", PromptRow, again=again):
        ids = np.array(one.ids, dtype=np.int32)
        found.append((one.token_id, Witness(one.level, len(ids), one.margin, ids=ids, how=one.how)))
    hull: dict[int, list[HullRow]] = {}
    for row in read_rows(folder, "hull", HullRow, again=again):
        hull.setdefault(row.token_id, []).append(row)
    for token, rows in hull.items():
        rows.sort(key=lambda row: row.position)
        weights = tuple(
            (np.array(row.row_id, dtype=np.int32), np.array(row.weight, dtype=np.float32)) for row in rows
        )
        found.append((token, Witness("hull", len(rows), rows[0].margin, weights=weights, how="optimised")))
    with reading.tensors_of(folder / "points.safetensors", again=again) as arrays:
        for name in sorted({key.rsplit(".", 1)[0] for key in arrays.keys()}):  # noqa: SIM118
            level, length = name.split(".")
            held = (arrays.get_tensor(f"{name}.{part}") for part in ("token_id", "margin", "points"))
            for token, margin, points in zip(*held, strict=True):
                witness = Witness(level, int(length), float(margin), points=points, how="optimised")
                found.append((int(token), witness))
    return found


# --- unfinished searches --------------------------------------------------------------------------------------------


def write_state(folder: Path, ledger: Ledger, asked: Asked, done: Sequence[str]) -> None:
    """Leave everything that a resumed search needs; the file named last makes it valid."""
    write_witnesses(folder / STATE, ledger)
    tallies = {f"{name}.{level}": getattr(ledger, name)[level] for name in _TALLIES for level in LEVELS}
    write_whole(folder / STATE / "tallies.safetensors", lambda partial: save_file(tallies, partial))
    curve, inputs = tuple(ledger.curve), dict(ledger.inputs)
    state = State(asked=asked, done=tuple(done), curve=curve, inputs=inputs, seconds=ledger.seconds)
    text = json.dumps(msgspec.to_builtins(state))
    write_whole(folder / STATE / "state.json", lambda partial: partial.write_text(text, "utf-8"))


def read_state(folder: Path, ledger: Ledger, rows: Float[Tensor, "n d"]) -> State:
    """Put an unfinished search back into a ledger; returns what it was asked and how far it came.

    Args:
        folder: the run.
        ledger: takes what was found.
        rows: the model's input embeddings, which witnesses must fit.

    Raises:
        BadInput: it is damaged, or of another model.
    """
    place = folder / STATE
    state = _state(place)
    tallies = reading.read_tensors(place / "tallies.safetensors", again=_AFRESH)
    for name in _TALLIES:
        for level in LEVELS:
            counts = tallies.get(f"{name}.{level}")
            if counts is None or counts.shape != (ledger.v,) or counts.dtype != np.int64:
                raise BadInput(f"{place / 'tallies.safetensors'}: {name}.{level} is damaged; {_AFRESH}")
            getattr(ledger, name)[level][:] = counts
    ledger.curve, ledger.before = list(state.curve), state.seconds
    ledger.inputs.update(state.inputs)
    for token, witness in read_witnesses(place, again=_AFRESH):
        if not (0 <= token < ledger.v and _fits(witness, rows)):
            raise BadInput(f"{place}: the witness of token {token} does not fit the model; {_AFRESH}")
        ledger.add(token, witness)
    return state


def _state(place: Path) -> State:
    file = place / "state.json"
    state = reading.as_typed(reading.read_json(file, again=_AFRESH), State, file, again=_AFRESH)
    if state.schema != SCHEMA_VERSION:
        raise BadInput(f"{file}: schema {state.schema}, but this version reads {SCHEMA_VERSION}; {_AFRESH}")
    return state


def _fits(witness: Witness, rows: Float[Tensor, "n d"]) -> bool:
    """Whether the input can be given to a model with these input embeddings."""
    count, width = rows.shape
    if witness.ids is not None:
        return witness.length > 0 and bool((witness.ids >= 0).all() and (witness.ids < count).all())
    if witness.points is not None:
        return (
            witness.level in ("free", "norm")
            and witness.length > 0
            and witness.points.shape == (witness.length, width)
            and witness.points.dtype == np.float32
        )
    return all(
        len(at) == len(weight) and bool((at >= -1).all() and (at < count).all() and weight.sum() > 0)
        for at, weight in witness.weights or ()
    )


def clear_state(folder: Path) -> None:
    """An unfinished search that is finished now, or given up."""
    shutil.rmtree(folder / STATE, ignore_errors=True)


# --- results --------------------------------------------------------------------------------------------------------


def build_table(
    ledger: Ledger,
    vocabulary: Vocabulary,
    verdicts: HeadVerdicts | None,
    asked: Bool[np.ndarray, " v"],
    levels: list[str],
    report: ReplayReport,
    repeated: Repeated | None,
) -> SearchTable:
    """Tokens in order, a group of columns per level."""
    v = ledger.v
    tokens = TokenColumns(
        token_id=range(v),
        token=vocabulary.pieces,
        text=vocabulary.texts,
        asked=asked.tolist(),
        verdict=[None] * v if verdicts is None else verdicts.verdict,
        head_margin=[None] * v if verdicts is None else [_number(one) for one in verdicts.margin],
        first_failed=_first_failed(ledger, verdicts, asked, levels),
        steps=np.sum([ledger.effort[level] for level in LEVELS], axis=0).tolist(),
    )
    forms = {}
    if repeated is not None:
        for form, top in repeated.top.items():
            answers = [bool(one) if put else None for one, put in zip(top, repeated.asked, strict=True)]
            forms[form] = RepeatColumns([_number(one) for one in repeated.probability[form]], answers)
    columns = {level: _level_columns(ledger, report, level, searched=level in levels) for level in LEVELS}
    return SearchTable(tokens, columns, forms)


def _level_columns(ledger: Ledger, report: ReplayReport, level: str, *, searched: bool) -> LevelColumns:
    v = ledger.v
    if not searched:
        return LevelColumns(*[[None] * v] * 6)
    results = [report.results.get((token, level)) for token in range(v)]
    held = [ledger.witnesses[level].get(token) for token in range(v)]
    return LevelColumns(
        hit=ledger.found[level].tolist(),
        margin=[None if one is None else one.margin for one in results],
        margin_own=[None if one is None else one.margin_own for one in results],
        length=[None if one is None else one.length for one in held],
        witness=[None if one is None else one.level for one in held],
        steps=ledger.effort[level].tolist(),
    )


def _first_failed(
    ledger: Ledger, verdicts: HeadVerdicts | None, asked: Bool[np.ndarray, " v"], levels: list[str]
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
    ledger: Ledger, verdicts: HeadVerdicts | None, asked: Bool[np.ndarray, " v"], levels: list[str]
) -> tuple[FunnelRow, ...]:
    """How many of the tokens asked for are left after each level."""
    left = [("asked", "tokens asked for", int(asked.sum()))]
    if verdicts is not None:
        left.append(("head", "not proved unspeakable by the head", int((asked & ~verdicts.unspeakable).sum())))
    left += [(level, f"said after {WORDS[level]}", int((ledger.found[level] & asked).sum())) for level in levels]
    before = [left[0], *left[:-1]]
    return tuple(FunnelRow(*row, lost=more[2] - row[2]) for row, more in zip(left, before, strict=True))


def write_nearest(folder: Path, ledger: Ledger, rows: Float[Tensor, "v d"]) -> None:
    """Write `nearest.parquet` for all witnesses that are no prompts: the nearest real tokens of each position."""
    owners: list[tuple[int, str, int]] = []
    points: list[Tensor] = []
    for token, witness in distinct(ledger):
        found = points_of(witness, rows)
        if found is not None:
            owners += [(token, witness.level, position) for position in range(len(found))]
            points += list(found)
    near: list[tuple[list[int], list[float]]] = []
    for part in torch.stack(points).to(rows.device).split(512) if points else ():
        best = torch.cdist(part, rows).topk(min(_SHOWN, len(rows)), dim=1, largest=False)
        near += zip(best.indices.tolist(), best.values.tolist(), strict=True)
    found_rows = (NearestRow(*owner, *one) for owner, one in zip(owners, near, strict=True))
    write_rows(folder, "nearest", NearestRow, found_rows)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
