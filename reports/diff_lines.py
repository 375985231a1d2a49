"""The differences between runs as lines for a terminal or a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reach.runs.folder import RunFolder
from reports.changes import Change, Comparison, compare_tokens
from reports.margin_moves import Interval
from reports.plain import at_least
from solvers.errors import BadInput

_SHOWN = 50
_MOVES_SHOWN = 12


def diff_record(paths: list[Path]) -> dict[str, Any]:
    """Each further run against the first: how many tokens are in another class, which, and which margins have moved.

    Raises:
        BadInput: fewer than two runs, or one of them is no scan or cannot be read.
    """
    if len(paths) < 2:
        raise BadInput("a diff needs at least two run folders")
    runs = [RunFolder.open(path) for path in paths]
    first = runs[0].verdicts()
    against = [
        _one(str(paths[0]), path, compare_tokens(first, run.verdicts()))
        for path, run in zip(paths[1:], runs[1:], strict=True)
    ]
    return {"first": str(paths[0]), "against": against}


def _one(first: str, path: Path, found: Comparison) -> dict[str, Any]:
    moves = found.moves
    return {
        "run": str(path),
        "by_id": found.pairing.by_id,
        **found.classes.record(),
        "words": found.words(first, str(path)),
        "changes": [_change(change) for change in found.changes()],
        "margins": {
            "words": moves.words,
            "why_not": moves.why_not,
            "compared": moves.compared,
            "moved": len(moves.at),
            "largest": [{**_change(change), "by_at_least": change.by} for change in found.largest_moves()],
        },
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "token_id": change.token.id,
        "text": change.token.text,
        "before": change.before,
        "after": change.after,
        "margin_before": _bounds(change.margin_before),
        "margin_after": _bounds(change.margin_after),
    }


def _bounds(margin: Interval) -> dict[str, float | None]:
    return {"at_least": margin.lower, "at_most": margin.upper}


def diff_lines(record: dict[str, Any]) -> list[str]:
    """The same for a person."""
    lines = []
    for one in record["against"]:
        lines.append(one["words"])
        cells = [
            (count, before, after)
            for before, row in zip(one["classes"], one["matrix"], strict=True)
            for after, count in zip(one["classes"], row, strict=True)
            if before != after and count
        ]
        lines += [f"  {count:>8,}  {before} → {after}" for count, before, after in sorted(cells, reverse=True)]
        for change in one["changes"][:_SHOWN]:
            lines.append(f"    {_name(change)}: {change['before']} → {change['after']}")
        if one["changed"] > _SHOWN:
            lines.append(f"    … and {one['changed'] - _SHOWN} more")
        margins = one["margins"]
        lines.append(f"  {margins['words']}")
        for change in margins["largest"][:_MOVES_SHOWN]:
            way = "up" if change["by_at_least"] > 0 else "down"
            lines.append(f"    {_name(change)}: {way} by at least {at_least(abs(change['by_at_least']))} logits")
    return lines


def _name(change: dict[str, Any]) -> str:
    return f"{change['text']!a} (#{change['token_id']})"
