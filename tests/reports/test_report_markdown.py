from __future__ import annotations

from pathlib import Path

import pytest
from report_builders import HOSTILE, token_row, unspeakable_row, write_run

from reach.runs.folder import RunFolder
from reports.markdown import code, escape, markdown, write_markdown


def test_it_says_the_answer_the_counts_and_how_to_check(tmp_path: Path):
    run = write_run(tmp_path / "run", [token_row(), unspeakable_row(token="Ġnever", text=" never")])
    text = write_markdown(run).read_text(encoding="utf-8")
    assert "**1 of 2 tokens is unspeakable.**" in text
    assert "| unspeakable | 1 |" in text
    assert "Never said: `␣never` (1)." in text
    assert "reach verify run" in text


def test_long_lists_are_cut_and_say_so(tmp_path: Path):
    run = write_run(tmp_path, [unspeakable_row(token=f"t{at}") for at in range(200)])
    assert ", and 170 more." in markdown(RunFolder.open(run))


def test_hostile_tokens_stay_inside_their_code(tmp_path: Path):
    run = write_run(tmp_path, [unspeakable_row(token=one) for one in (*HOSTILE, "``x`", "|", "a\n\n# heading")])
    text = markdown(RunFolder.open(run))
    line = next(line for line in text.splitlines() if line.startswith("Never said"))
    assert "```" in line  # the fence around two backticks
    assert not any(line.startswith("# heading") for line in text.splitlines())
    assert len(max(text.splitlines(), key=len)) < 4000


@pytest.mark.parametrize(("text", "expected"), [("a", "`a`"), ("`", "`` ` ``"), ("a``b", "```a``b```")])
def test_fences_are_longer_than_what_is_inside(text: str, expected: str):
    assert code(text) == expected


def test_text_is_escaped():
    assert escape("<b>*x*</b> 1.5 (a-b)") == r"\<b\>\*x\*\</b\> 1.5 (a-b)"
