"""What the scripts of the search page draw and look up: columns, witnesses, curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reach.search.settings import LEVELS
from reach.search.stored import WITNESSES
from solvers.errors import BadInput

_CURVE_POINTS = 600


def search_data(run: Path, found: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """One JSON object. Numbers are rounded: they are for the eye.

    Raises:
        BadInput: the witnesses are missing or damaged.
    """
    levels = found["levels"]
    forms = [form["name"] for form in (found["repeat"] or {}).get("forms", ())]
    curve = found["curve"]
    return {
        "levels": levels,
        "token": columns["token"],
        "text": columns["text"],
        "verdict": columns["verdict"],
        "asked": columns["asked"],
        "first": columns["first_failed"],
        "steps": columns["steps"],
        "head": [_short(one) for one in columns["head_margin"]],
        "margin": {level: [_short(one) for one in columns[f"{level}_margin"]] for level in levels},
        "length": {level: columns[f"{level}_length"] for level in levels},
        "from": {level: columns[f"{level}_witness"] for level in levels},
        "prompts": _prompts(run),
        "nearest": _nearest(run),
        "repeat": {form: [_short(one) for one in columns[f"repeat_{form}_probability"]] for form in forms},
        "repeated": {form: columns[f"repeat_{form}_top"] for form in forms},
        "curve": curve[:: max(1, len(curve) // _CURVE_POINTS)],
        "contests": (found["strength"] or {}).get("curves", []),
        "order": list(LEVELS),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _prompts(run: Path) -> list[list[Any]]:
    """Token, level, ids, text, how."""
    names = ("token_id", "level", "ids", "text", "how")
    return [[row[name] for name in names] for row in _read(run, "prompts.parquet")]


def _nearest(run: Path) -> list[list[Any]]:
    """Token, level, position, nearest rows, their distances."""
    return [
        [row["token_id"], row["level"], row["position"], row["row_id"], [_short(one) for one in row["distance"]]]
        for row in _read(run, "nearest.parquet")
    ]


def _read(run: Path, name: str) -> list[dict[str, Any]]:
    file = run / WITNESSES / name
    try:
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    except Exception as error:  # missing or damaged, as the library may put it
        raise BadInput(f"{file}: not readable ({error}); search again with --force") from None
    return rows
