"""Columns of a search for the browser, in the layout of `reports/pack.py`.

As there, pages of large vocabularies hold fewer digits than the run (`large` in the header), and the nearest tokens
of a part of the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from reach.runs.columns import MISSING, NONE
from reach.runs.schema import VERDICT_NAMES
from reach.search.options import LEVELS
from reach.search.record import LevelColumns, NearestRow, PromptRow, SearchResult
from reports.compression import packed
from reports.pack import LARGE, SAME_STRING, narrow, number_column, pack, pack_strings, pack_texts

_MOST_NEAREST = 2_000
"""Positions whose nearest tokens the page of a large vocabulary carries."""
_DIGITS = {"head": 13, "held": 12, "repeat": 7}
"""Binary digits of the numbers on such a page."""

Columns = dict[str, npt.NDArray[Any]]


def pack_search(found: SearchResult, facts: dict[str, Any]) -> str:
    """All that the page's scripts show and export, as base64 text. `facts` go into the header as they are."""
    record, tokens = found.record, found.table.tokens
    order = ("head", *LEVELS)
    large = len(tokens.token_id) >= LARGE
    verdict, verdicts = _coded(tokens.verdict, VERDICT_NAMES)
    first, firsts = _coded(tokens.first_failed, order)
    how, hows = _coded([row.how for row in found.prompts], ())
    prompts = sorted(range(len(found.prompts)), key=lambda at: _place(found.prompts[at]))
    nearest = sorted(found.nearest, key=lambda row: (*_place(row), row.position))
    columns: Columns = {
        **pack_texts(tokens.token, tokens.text),
        "asked": np.array(tokens.asked, dtype=np.uint8),
        "verdict": verdict,
        "head_margin": number_column(_floats(tokens.head_margin), large, np.floor, _DIGITS["head"]),
        "first": first,
        **_steps(found),
        **_levels(found.table.levels, large),
        **_prompts([found.prompts[at] for at in prompts], tokens.text),
        "prompt_how": how[prompts],
        **_nearest(nearest[: _MOST_NEAREST if large else None]),
    }
    for at, form in enumerate(found.table.repeat.values()):
        columns[f"repeat_{at}_probability"] = number_column(
            _floats(form.probability), large, np.rint, _DIGITS["repeat"]
        )
        columns[f"repeat_{at}_top"] = _truths(form.top)
    header = facts | {
        "rows": len(tokens.token_id),
        "order": LEVELS,
        "levels": record.levels,
        "verdicts": verdicts,
        "firsts": firsts,
        "hows": hows,
        "forms": list(found.table.repeat),
        "large": large,
    }
    return packed(pack(header, columns), 9 if large else 6)


def _place(row: PromptRow | NearestRow) -> tuple[int, int]:
    return row.token_id, LEVELS.index(row.level)


def _levels(levels: dict[str, LevelColumns], large: bool) -> Columns:
    """What is known of each token at each level.

    A witness of a stricter level stands at all looser ones, so its numbers travel once: an entry is left out where it
    is that of the stricter level that `witness` names, or, where that is its own, of the next stricter one.
    """
    columns: Columns = {}
    token: list[int] = []
    level: list[int] = []
    margin: list[float | None] = []
    own: list[float | None] = []
    length: list[int | None] = []
    for at, (name, one) in enumerate(levels.items()):
        columns[f"{name}_hit"] = _truths(one.hit)
        columns[f"{name}_witness"] = np.array(
            [NONE if witness is None else LEVELS.index(witness) for witness in one.witness], dtype=np.uint8
        )
        columns[f"{name}_steps"] = _whole(one.steps)
        for i, entry in enumerate(zip(one.margin, one.margin_own, one.length, strict=True)):
            if entry == (None, None, None):
                continue
            source = _source(one.witness[i], at)
            if source is not None:
                strict = levels[source]
                if entry == (strict.margin[i], strict.margin_own[i], strict.length[i]):
                    continue
            token.append(i)
            level.append(at)
            margin.append(one.margin[i])
            own.append(one.margin_own[i])
            length.append(one.length[i])
    columns["held_token"] = np.array(token, dtype=np.int32)
    columns["held_level"] = np.array(level, dtype=np.uint8)
    columns["held_margin"] = number_column(_floats(margin), large, np.rint, _DIGITS["held"])
    if own != margin:  # most models have one dtype
        columns["held_own"] = number_column(_floats(own), large, np.rint, _DIGITS["held"])
    columns["held_length"] = np.array([MISSING if one is None else one for one in length], dtype=np.int32)
    return columns


def _steps(found: SearchResult) -> Columns:
    """Steps of each token, unless they are those of its levels together."""
    each = [[one or 0 for one in level.steps] for level in found.table.levels.values()]
    together = [sum(steps) for steps in zip(*each, strict=True)]
    return {} if together == list(found.table.tokens.steps) else {"steps": _whole(found.table.tokens.steps)}


def _source(witness: str | None, level: int) -> str | None:
    """The level whose numbers a level has where it has none of its own."""
    if witness is None or LEVELS.index(witness) < level:
        return None
    return LEVELS[max(level + 1, LEVELS.index(witness))] if level + 1 < len(LEVELS) else None


def _prompts(prompts: Sequence[PromptRow], texts: Sequence[str | None]) -> Columns:
    """Prompts in order of token and level: ids, and texts; SAME_STRING in place of a text's length says that it is
    the tokens' own, one after the other.
    """
    own_texts = ("".join((texts[one] or "") if 0 <= one < len(texts) else "" for one in row.ids) for row in prompts)
    joined = [row.text == text for row, text in zip(prompts, own_texts, strict=True)]
    lengths, units = pack_strings([None if same else row.text for row, same in zip(prompts, joined, strict=True)])
    lengths[joined] = SAME_STRING
    # A token's prompt of tokens is mostly its prompt of text as well.
    again = [at > 0 and prompts[at - 1].token_id == row.token_id and prompts[at - 1].ids == row.ids
             for at, row in enumerate(prompts)]  # fmt: skip
    own = [[] if same else row.ids for row, same in zip(prompts, again, strict=True)]
    return {
        "prompt_token": np.array([row.token_id for row in prompts], dtype=np.int32),
        "prompt_level": np.array([LEVELS.index(row.level) for row in prompts], dtype=np.uint8),
        "prompt_again": np.array(again, dtype=np.uint8),
        "prompt_start": _starts(own),
        "prompt_id": np.array([one for ids in own for one in ids], dtype=np.int32),
        "prompt_length": lengths,
        "prompt_units": units,
    }


def _nearest(rows: Sequence[NearestRow]) -> Columns:
    """The nearest tokens of positions, in order of token, level and position."""
    return {
        "near_token": np.array([row.token_id for row in rows], dtype=np.int32),
        "near_level": np.array([LEVELS.index(row.level) for row in rows], dtype=np.uint8),
        "near_position": np.array([row.position for row in rows], dtype=np.int32),
        "near_start": _starts([row.row_id for row in rows]),
        "near_row": np.array([one for row in rows for one in row.row_id], dtype=np.int32),
        # For the eye only.
        "near_distance": np.array([one for row in rows for one in row.distance], dtype=np.float32),
    }


def _starts(lists: Sequence[Sequence[Any]]) -> npt.NDArray[np.int32]:
    return np.cumsum([0, *map(len, lists)], dtype=np.int32)


def _coded(values: Sequence[str | None], known: Sequence[str]) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Codes (MISSING for null) and the names that they stand for; known names come first, in their order."""
    names = list(dict.fromkeys([*known, *(value for value in values if value is not None)]))
    code: dict[str | None, int] = {name: at for at, name in enumerate(names)} | {None: MISSING}
    return np.array([code[value] for value in values], dtype=np.int32), names


def _truths(values: Sequence[bool | None]) -> npt.NDArray[np.uint8]:
    return np.array([NONE if value is None else value for value in values], dtype=np.uint8)


def _floats(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """NaN for null."""
    return np.array(values, dtype=np.float64)


def _whole(values: Sequence[int | None]) -> npt.NDArray[Any]:
    """Counts, NaN for null: as narrow as loses nothing."""
    found = np.array(values, dtype=np.float64)
    small = found.astype(np.uint16, casting="unsafe") if np.isfinite(found).all() else None
    if small is not None and np.array_equal(small.astype(np.float64), found):
        return small
    return narrow(found)
