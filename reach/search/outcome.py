"""The result of a search as a table with one row per token, and the funnel over levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from reach.search.ledger import Ledger
from reach.search.levels import WORDS
from reach.search.repeat import Repeated
from reach.search.replay import ReplayReport
from reach.search.roundtrip import RoundTrip
from reach.search.settings import LEVELS
from reach.search.stored import distinct, table_schema
from reach.search.verdicts import HeadVerdicts
from reach.vocabulary import Vocabulary, visible


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
