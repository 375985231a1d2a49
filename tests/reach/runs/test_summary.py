"""The summary of a scan, for a person."""

from __future__ import annotations

import json

import numpy as np

import reach
from reach.cli.fail_on import meeting
from reach.runs.summary import summary_lines, summary_record


def lines_after(lines: list[str], title: str) -> list[str]:
    start = next(at for at, line in enumerate(lines) if title in line) + 1
    return lines[start : next((at for at in range(start, len(lines)) if not lines[at]), len(lines))]


def test_rows_without_a_name_that_are_equal_are_one_range() -> None:
    rows = np.array([[1.0, 0], [0, 1], [-1, -1], [0, 1], *[[0.2, 0.9]] * 40, [1, 0], [0.2, 0.9]])
    lines = lines_after(summary_lines(reach.prove(rows, domain="ball:1")), "tied tokens")
    assert lines == ["    #0 = #44", "    #1 = #3", "    #4–43 = #45"]
    every = summary_lines(reach.prove(np.ones((64, 2)), domain="ball:1"))
    assert lines_after(every, "tied tokens") == ["    #0–63 equal"]


def test_the_record_holds_what_is_not_speakable() -> None:
    found = reach.prove([[1, 0], [0, 1], [-1, -1], [0.1, 0.1], [1, 0]])
    record = json.loads(json.dumps(summary_record(found)))
    assert [(one["token_id"], one["verdict"]) for one in record["tokens"]] == [
        (0, "tied"),
        (3, "unspeakable"),
        (4, "tied"),
    ]
    assert {one["token_id"] for one in record["tokens"][1]["blockers"]} <= {0, 1, 2, 4}
    assert record["totals"]["verdicts"]["unspeakable"] == 1
    assert meeting(found, "tied").sum() == 2
