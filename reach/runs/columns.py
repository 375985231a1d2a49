"""The columns of a run's tables as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NONE = 255
"""In a column of small codes: no value."""
UNKNOWN = 254
"""In a column of small codes: a name that this version does not know."""
MISSING = -1
"""In a column of token ids or dictionary codes: no value."""

Codes = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Tokens = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Words:
    """A column of few distinct strings: `names[codes[i]]`, or MISSING."""

    codes: Ids
    names: tuple[str, ...]

    def of(self, token: int) -> str | None:
        """The string of a token."""
        code = int(self.codes[token])
        return None if code == MISSING else self.names[code]


@dataclass(frozen=True)
class Weights:
    """Hull weights sorted by token, the heaviest blocker first."""

    token: Ids
    row: Ids
    weight: Floats

    def of(self, token: int) -> tuple[npt.NDArray[np.int64], Floats]:
        """Blockers of a token and their weights; empty where it has none."""
        start, end = np.searchsorted(self.token, [token, token + 1])
        return self.row[start:end].astype(np.int64), self.weight[start:end]

    def by_token(self) -> dict[int, tuple[npt.NDArray[np.int64], Floats]]:
        """The same for every token that has any."""
        tokens, start = np.unique(self.token, return_index=True)
        rows, ends = self.row.astype(np.int64), np.searchsorted(self.token, tokens, side="right")
        return {
            token: (rows[first:end], self.weight[first:end])
            for token, first, end in zip(tokens.tolist(), start.tolist(), ends.tolist(), strict=True)
        }


@dataclass(frozen=True)
class Nearest:
    """The nearest rows of some tokens, sorted by token, the nearest first."""

    token: Ids
    row: Ids
    cosine: Floats
    distance: Floats


@dataclass(frozen=True)
class Silenced:
    """Tokens that single others keep from the top everywhere.

    Attributes:
        token: their ids, ascending.
        count: how many others do so, each alone.
        pair, by, bound: of the strongest few: the token, the other one, and what it bounds the margin by, logits;
            sorted by token, the strongest first.
    """

    token: Ids
    count: Ids
    pair: Ids
    by: Ids
    bound: Floats


@dataclass(frozen=True)
class Categorised:
    """Categories of tokens, sorted by token.

    Attributes:
        token: their ids, ascending; a token comes once for each of its categories.
        category: index into `reach.categories.catalogue.KEYS`.
        detail: the evidence in words.
        group: the number of its group, MISSING where there is none.
        start: `(n + 1,)` where the others of each entry begin.
        other: ids of the tokens that the evidence is about.
    """

    token: Ids
    category: Codes
    detail: Words
    group: Ids
    start: Tokens
    other: Ids


def _numpy(column: pa.ChunkedArray, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.asarray(column.to_numpy(), dtype=dtype)


def floats(table: pa.Table, name: str) -> Floats:
    """A column of numbers, NaN where there is none."""
    return _numpy(pc.fill_null(table.column(name), float("nan")), np.float64)


def ids(table: pa.Table, name: str) -> Ids:
    """A column of token ids, MISSING where there is none."""
    return _numpy(pc.fill_null(table.column(name), MISSING), np.int32)


def truths(table: pa.Table, name: str) -> Codes:
    """A column of truth values as 0 and 1, NONE where there is none."""
    return _numpy(pc.fill_null(table.column(name).cast(pa.uint8()), NONE), np.uint8)


def codes(table: pa.Table, name: str, known: tuple[str, ...]) -> Codes:
    """A column of names as indices into those that are known; NONE where there is none, UNKNOWN for others."""
    column = table.column(name)
    found = pc.index_in(column, value_set=pa.array(known, pa.string()))
    unknown = pc.and_(pc.is_null(found), pc.is_valid(column)).to_numpy()
    return np.where(unknown, UNKNOWN, _numpy(pc.fill_null(found, NONE), np.uint8)).astype(np.uint8)


def words(table: pa.Table, name: str) -> Words:
    """A column of few distinct strings."""
    encoded = pc.dictionary_encode(table.column(name)).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], encoded.type)
    found = pc.fill_null(encoded.indices, MISSING).to_numpy(zero_copy_only=False)
    return Words(np.asarray(found, np.int32), tuple(word or "" for word in encoded.dictionary.to_pylist()))
