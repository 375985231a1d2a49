"""What a run says of each token beside its verdict: the search for inputs, the solver comparison, the indicators."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reach.compare.record import Comparison
from reach.runs.columns import ids
from reach.runs.folder import RunFolder
from reach.search.options import LEVELS, WORDS
from reach.search.record import PromptRow, SearchRecord, SearchResult
from reach.verdicts import Verdicts
from solvers.errors import BadInput

NOT_SOUGHT, NOT_FOUND = 255, 254


@dataclass(frozen=True)
class Gathered:
    """Columns and header entries for the page; without a study its columns are empty."""

    columns: dict[str, npt.NDArray] = field(default_factory=dict)
    texts: dict[str, list[str | None]] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)


def gathered(run: RunFolder, tokens: Verdicts, *, prompts: bool) -> Gathered:
    """Gather what other studies of the same run folder say, and its indicators.

    A study whose files cannot be read is left out: its own page says why.

    Args:
        run: the folder.
        tokens: of its scan.
        prompts: with the inputs that the search found, which take room.
    """
    parts = [_suspects(tokens)]
    if (run.path / SearchRecord.FILE).is_file():
        with suppress(BadInput):
            parts.append(_search(SearchResult.read(run.path), len(tokens), prompts))
    if (run.path / Comparison.FILE).is_file():
        with suppress(BadInput):
            parts.append(_compared(Comparison.read(run.path)))
    found = Gathered(header={"suspects": None, "search": None, "compared": None})
    for part in parts:
        found.columns.update(part.columns)
        found.texts.update(part.texts)
        found.header.update(part.header)
    return found


def _suspects(tokens: Verdicts) -> Gathered:
    table = tokens.tables.suspects
    if table is None:
        return Gathered()
    names = list(zip(*(table.column(name).to_pylist() for name in ("indicator", "matrix", "tokens")), strict=True))
    known = list(dict.fromkeys(names))
    code = {name: at for at, name in enumerate(known)}
    token = ids(table, "token_id")
    order = np.argsort(token, kind="stable")
    columns: dict[str, npt.NDArray] = {
        "suspect_token": token[order],
        "suspect_code": np.array([code[name] for name in names], dtype=np.uint8)[order],
        "suspect_rank": ids(table, "rank")[order],
    }
    return Gathered(columns, header={"suspects": known})


def _search(found: SearchResult, v: int, prompts: bool) -> Gathered:
    """The strictest level that reached each token, and the input there: 255 not sought, 254 not found."""
    if found.record.v != v:
        return Gathered()
    levels = [level for level in LEVELS if level in found.record.levels]
    reached = np.full(v, NOT_SOUGHT, dtype=np.uint8)
    reached[np.array(found.table.tokens.asked, dtype=bool)] = NOT_FOUND
    for at, level in enumerate(levels):
        hit = np.array([margin is not None for margin in found.table.levels[level].margin])
        reached[hit] = at
    header = {"search": {"levels": levels, "words": [WORDS[level] for level in levels]}}
    texts: list[str | None] = [None] * v
    if prompts:
        best: dict[int, PromptRow] = {}
        for row in found.prompts:
            before = best.get(row.token_id)
            if before is None or _better(row, before):
                best[row.token_id] = row
        for token, row in best.items():
            texts[token] = row.text if row.text is not None else " ".join(f"#{one}" for one in row.ids)
    return Gathered({"search_reached": reached}, {"prompt": texts}, header)


def _better(one: PromptRow, other: PromptRow) -> bool:
    """The stricter level first, then the shorter input."""
    return (-LEVELS.index(one.level), len(one.ids)) < (-LEVELS.index(other.level), len(other.ids))


def _compared(found: Comparison) -> Gathered:
    """Which backends were wrong about each token of the comparison's sample."""
    sample = sorted(int(token) for token in found.tokens if token.isascii() and token.isdigit())
    wrong: dict[int, list[str]] = {token: [] for token in sample}
    for grade in found.main.grades:
        for token in grade.wrong_tokens:
            wrong.setdefault(token, []).append(grade.backend)
    return Gathered(header={"compared": {"wrong": wrong}})
