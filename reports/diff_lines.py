"""The differences between runs as lines for a terminal or a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reach.runs.folder import RunFolder
from reports.changes import Comparison, compare_tokens
from reports.tokens import read_tokens
from solvers.errors import BadInput

_SHOWN = 50


def diff_record(paths: list[Path]) -> dict[str, Any]:
    """Each further run against the first: how many tokens have another verdict, and which.

    Raises:
        BadInput: fewer than two runs, or one of them cannot be read.
    """
    if len(paths) < 2:
        raise BadInput("a diff needs at least two run folders")
    first = read_tokens(RunFolder.open(paths[0]))
    against = []
    for path in paths[1:]:
        against.append(_one(path, compare_tokens(first, read_tokens(RunFolder.open(path)))))
    return {"first": str(paths[0]), "against": against}


def _one(path: Path, found: Comparison) -> dict[str, Any]:
    return {
        "run": str(path),
        "compared": len(found.pairing),
        "by_id": found.pairing.by_id,
        "changed": found.changed,
        "changes": [
            {
                "token_id": change.token.id,
                "text": change.token.text,
                "before": change.before,
                "after": change.after,
                "margin_before": change.margin_before,
                "margin_after": change.margin_after,
            }
            for change in found.changes
        ],
    }


def diff_lines(record: dict[str, Any]) -> list[str]:
    """The same for a person."""
    lines = []
    for one in record["against"]:
        how = "by id" if one["by_id"] else "by their strings"
        lines.append(f"{record['first']} → {one['run']}: {one['compared']} tokens matched {how}")
        lines.append(f"  {one['changed']} have another verdict")
        for change in one["changes"][:_SHOWN]:
            lines.append(f"    {change['text']!a} (#{change['token_id']}): {change['before']} → {change['after']}")
        if one["changed"] > _SHOWN:
            lines.append(f"    … and {one['changed'] - _SHOWN} more")
    return lines
