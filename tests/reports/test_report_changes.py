from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from report_builders import token_row, unspeakable_row, write_run

from reach.classes import CLASSES
from reach.runs.folder import RunFolder
from reach.verdicts import Verdicts
from reports.changes import Comparison, compare_tokens
from reports.charts.drawing import Shape
from reports.margin_moves import Interval
from reports.overlay import overlays
from reports.pairing import pair


def tokens(folder: Path, *rows: dict) -> Verdicts:
    return RunFolder.open(write_run(folder, list(rows))).verdicts()


def test_equal_vocabularies_are_matched_by_id(tmp_path: Path):
    # Given the same string twice, which only an id can tell apart
    rows = [token_row(token="a"), token_row(token="a")]
    found = pair(tokens(tmp_path / "1", *rows), tokens(tmp_path / "2", *rows))
    assert (found.by_id, found.first.tolist(), found.second.tolist()) == (True, [0, 1], [0, 1])


def test_other_vocabularies_are_matched_by_strings_that_are_unique_in_both(tmp_path: Path):
    nameless = token_row(token=None, text=None)
    first = tokens(tmp_path / "1", *(token_row(token=t) for t in ("x", "a", "a", "b")), nameless)
    second = tokens(tmp_path / "2", *(token_row(token=t) for t in ("b", "a", "y")), nameless)
    found = pair(first, second)
    assert (found.by_id, found.first.tolist(), found.second.tolist()) == (False, [3], [0])


def test_text_matches_pieces_that_are_spelt_differently(tmp_path: Path):
    first = tokens(tmp_path / "1", token_row(token="Ġfoo", text=" foo"))
    second = tokens(tmp_path / "2", token_row(token="▁foo", text=" foo"), token_row(token="z"))
    assert len(pair(first, second)) == 1


def matrix_of(found: Comparison) -> dict[tuple[str, str], int]:
    cells = enumerate(found.classes.matrix.tolist())
    return {(CLASSES[i], CLASSES[j]): n for i, row in cells for j, n in enumerate(row) if n}


def test_changed_classes_are_counted_and_named(tmp_path: Path):
    # Given three tokens: one stays, one becomes unspeakable, one becomes hard-to-speak (still speakable)
    first = tokens(tmp_path / "1", *(token_row(token=t, margin_lower=2.0, margin_upper=3.0) for t in "abc"))
    second = tokens(
        tmp_path / "2",
        token_row(token="a", margin_lower=2.0, margin_upper=None),
        unspeakable_row(token="b", margin_upper=-0.5),
        token_row(token="c", own_direction=False, margin_lower=1.0, margin_upper=2.5),
    )
    found = compare_tokens(first, second)
    assert matrix_of(found) == {
        ("own-direction", "own-direction"): 1,
        ("own-direction", "unspeakable"): 1,
        ("own-direction", "hard-to-speak"): 1,
    }
    # Then both that left the diagonal are changes, the one with another verdict first
    assert (found.classes.changed, found.classes.verdict_changed, found.classes.way_changed) == (2, 1, 1)
    assert [change.token.text for change in found.changes()] == ["b", "c"]
    assert (found.changes()[0].margin_before, found.changes()[0].margin_after) == (
        Interval(2.0, 3.0), Interval(None, -0.5),
    )  # fmt: skip
    # Then only a margin whose bounds do not overlap has moved: that of "c" may still be the same
    assert [(change.token.text, change.by) for change in found.largest_moves()] == [("b", -2.5)]


def test_many_tokens_give_few_dots_but_every_change(tmp_path: Path):
    rng = np.random.default_rng(0)
    values = rng.lognormal(size=20_000)
    first = tokens(tmp_path / "1", *(token_row(token=str(i), margin_lower=v) for i, v in enumerate(values)))
    second = tokens(
        tmp_path / "2",
        *(
            unspeakable_row(token=str(i)) if i == 7 else token_row(token=str(i), margin_lower=v * 1.01)
            for i, v in enumerate(values)
        ),
    )
    found = compare_tokens(first, second)
    assert len(found.dots) < 6000
    assert 7 in found.dots.tolist()


def test_margins_are_overlaid_as_shares_on_the_same_bins(tmp_path: Path):
    runs = [
        tokens(tmp_path / "1", *(token_row(margin_lower=v) for v in (1.0, 2.0))),
        tokens(tmp_path / "2", *(token_row(margin_lower=v) for v in (1.0, 1.0, 1.0, 2.0))),
    ]
    (drawn,) = overlays(["one", "two"], runs)
    assert [entry.name for entry in drawn.legend] == ["one", "two"]
    # Given the heights of the lowest and the highest label, in per cent
    low, high = drawn.y_ticks[0], drawn.y_ticks[-1]
    assert low.label == "0"
    unit = float(high.label) / (low.at - high.at)
    for shape in drawn.shapes:
        assert isinstance(shape, Shape)
        corners = [tuple(map(float, one.split())) for one in re.split("[ML]", shape.path)[1:]]
        # Steps: of each bin the second corner is its height. All of them together are all tokens.
        heights = [unit * (low.at - y) for _, y in corners[1::2]]
        assert sum(heights) == pytest.approx(100, abs=0.2)
    assert [len(one.path) > 0 for one in drawn.shapes if isinstance(one, Shape)] == [True, True]
