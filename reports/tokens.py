"""The tables of a run as plain columns, checked once so that nothing later has to doubt them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reach.classes import HARD, classes_of
from reach.nearly_never import FORMAT_NAMES
from reach.runs.folder import RunFolder
from reach.runs.schema import EVIDENCE_NAMES, VERDICT_NAMES
from solvers.errors import BadInput

NONE = 255  # in a column of small codes: no value
MISSING = -1  # in a column of token ids or dictionary codes: no value

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Words:
    """A column of few distinct strings: `names[codes[i]]`, or MISSING."""

    codes: Ids
    names: tuple[str, ...]


@dataclass(frozen=True)
class Hull:
    """Hull weights sorted by token, the heaviest blocker first."""

    token: Ids
    row: Ids
    weight: Floats


@dataclass(frozen=True)
class Nearest:
    """The nearest rows of some tokens, sorted by token, the nearest first."""

    token: Ids
    row: Ids
    cosine: Floats
    distance: Floats


@dataclass(frozen=True)
class Tokens:
    """One entry per token, in token order. Floats are NaN where the run has no value."""

    pieces: list[str | None]
    texts: list[str | None]
    verdict: Codes
    evidence: Codes
    own_direction: Codes  # 0, 1 or NONE
    margin_lower: Floats
    margin_upper: Floats
    row_norm: Floats
    runner_up: Ids
    argmax: Ids
    stage: Words
    reason: Words
    witness: Words
    winning_logit: Floats
    nearly_never: Codes  # index into FORMAT_NAMES, or NONE
    hull: Hull
    nearest: Nearest

    def __len__(self) -> int:
        return len(self.verdict)

    def ids(self, verdict: str) -> npt.NDArray[np.int64]:
        """The ids of the tokens with this verdict, in order."""
        return np.flatnonzero(self.verdict == VERDICT_NAMES.index(verdict))

    @property
    def hard_to_speak(self) -> npt.NDArray[np.bool_]:
        """Speakable, but not in their own direction."""
        return self.classes == HARD

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """The index into `reach.classes.CLASSES` of each token."""
        return classes_of(self.verdict, self.own_direction == 1)

    @property
    def resolved(self) -> bool:
        """Whether the run knows which tokens are nearly never: those of earlier versions do not."""
        return not bool(
            (self.verdict == VERDICT_NAMES.index("speakable")).any() and np.isnan(self.winning_logit).all()
        )


def read_tokens(run: RunFolder) -> Tokens:
    """Read and check both tables of a run.

    Raises:
        BadInput: a table is missing or damaged, is empty, or contradicts the manifest.
    """
    file, table = run.path / "verdicts.parquet", run.verdicts()
    if table.num_rows == 0:
        raise BadInput(f"{file}: no rows; there is nothing to report, scan again")
    expected = run.manifest.get("v")
    if isinstance(expected, int) and expected != table.num_rows:
        raise BadInput(
            f"{file}: {table.num_rows} rows, but the manifest says {expected}; the run is damaged, scan again"
        )
    try:
        if not np.array_equal(_ids(table, "token_id"), np.arange(table.num_rows)):
            raise BadInput(f"{file}: token_id does not count 0, 1, 2, …; the run is damaged, scan again")
        return Tokens(
            pieces=strings(table.column("token")),
            texts=strings(table.column("text")),
            verdict=_codes(table, "verdict", VERDICT_NAMES, file),
            evidence=_codes(table, "evidence", EVIDENCE_NAMES, file),
            own_direction=_numpy(pc.fill_null(table.column("own_direction").cast(pa.uint8()), NONE), np.uint8),
            margin_lower=_floats(table, "margin_lower"),
            margin_upper=_floats(table, "margin_upper"),
            row_norm=_floats(table, "row_norm"),
            runner_up=_ids(table, "runner_up_id"),
            argmax=_ids(table, "argmax_id"),
            stage=_words(table, "stage"),
            reason=_words(table, "reason"),
            witness=_words(table, "witness"),
            winning_logit=_floats(table, "winning_logit"),
            nearly_never=_codes(table, "nearly_never", FORMAT_NAMES, file),
            hull=_hull(run, table.num_rows),
            nearest=_nearest(run, table.num_rows),
        )
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{file}: a column has an unexpected type ({reason}); scan again") from None


def strings(column: pa.ChunkedArray) -> list[str | None]:
    """Strings of a column. Bytes that are no UTF-8 become lone surrogates instead of an error."""
    try:
        values: list[str | None] = column.to_pylist()
    except UnicodeDecodeError:
        return [None if value is None else _decode(value) for value in column.cast(pa.binary()).to_pylist()]
    return values


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "surrogateescape")


def _numpy(column: pa.ChunkedArray, dtype: npt.DTypeLike) -> npt.NDArray:
    return np.asarray(column.to_numpy(), dtype=dtype)


def _floats(table: pa.Table, name: str) -> Floats:
    return _numpy(pc.fill_null(table.column(name).cast(pa.float64()), float("nan")), np.float64)


def _ids(table: pa.Table, name: str) -> Ids:
    return _numpy(pc.fill_null(table.column(name).cast(pa.int32()), MISSING), np.int32)


def _codes(table: pa.Table, name: str, known: tuple[str, ...], file: Path) -> Codes:
    column = table.column(name).cast(pa.string())
    codes = pc.index_in(column, value_set=pa.array(known, pa.string()))
    unknown = pc.and_(pc.is_null(codes), pc.is_valid(column))
    if pc.any(unknown).as_py():
        value = strings(column.filter(unknown).slice(0, 1))[0]
        raise BadInput(f"{file}: unknown {name} {value!r} (known: {', '.join(known)}); scan again with this version")
    return _numpy(pc.fill_null(codes, NONE), np.uint8)


def _words(table: pa.Table, name: str) -> Words:
    encoded = pc.dictionary_encode(table.column(name).cast(pa.string())).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    names = tuple(word or "" for word in strings(pa.chunked_array([encoded.dictionary])))
    return Words(np.asarray(pc.fill_null(encoded.indices, MISSING).to_numpy(zero_copy_only=False), np.int32), names)


def _hull(run: RunFolder, rows: int) -> Hull:
    file, table = run.path / "hull_weights.parquet", run.hull_weights()
    token, row, weight = _ids(table, "token_id"), _ids(table, "row_id"), _floats(table, "weight")
    _check_ids(file, rows, token_id=token, row_id=row)
    if not np.isfinite(weight).all():
        raise BadInput(f"{file}: a weight is not a finite number; the run is damaged, scan again")
    order = np.lexsort((row, -weight, token))
    return Hull(token[order], row[order], weight[order])


def _nearest(run: RunFolder, rows: int) -> Nearest:
    """The nearest rows; none at all where the run was written without them."""
    file, table = run.path / "nearest.parquet", run.nearest()
    if table is None:
        no_ids, no_floats = np.zeros(0, np.int32), np.zeros(0)
        return Nearest(no_ids, no_ids, no_floats, no_floats)
    token, row = _ids(table, "token_id"), _ids(table, "row_id")
    _check_ids(file, rows, token_id=token, row_id=row)
    distance = _floats(table, "distance")
    order = np.lexsort((row, distance, token))
    return Nearest(token[order], row[order], _floats(table, "cosine")[order], distance[order])


def _check_ids(file: Path, rows: int, **columns: Ids) -> None:
    for name, ids in columns.items():
        if len(ids) and (ids.min() < 0 or ids.max() >= rows):
            raise BadInput(f"{file}: a {name} is not one of the {rows} tokens; the run is damaged, scan again")
