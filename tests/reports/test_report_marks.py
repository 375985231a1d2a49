from __future__ import annotations

import pytest

from reports.marks import Piece, Visible, sign, visible


@pytest.mark.parametrize(
    ("character", "expected"),
    [
        ("a", None),
        (" ", "␣"),
        ("\n", "⏎"),
        ("\t", "⇥"),
        ("\r", "CR"),
        ("\x00", "NUL"),
        ("\x1b", "ESC"),
        ("\x7f", "DEL"),
        ("\x85", "U+0085"),
        ("\u00a0", "U+00A0"),
        ("\u202e", "U+202E"),
        ("\ud83d", "U+D83D"),
        ("\U000e0001", "U+E0001"),
        ("é", None),
        ("<", None),
    ],
)
def test_only_what_cannot_be_seen_gets_a_sign(character: str, expected: str | None):
    assert sign(character) == expected


def test_a_token_is_split_into_text_and_signs():
    assert visible(" ab\n").pieces == (Piece("␣", mark=True), Piece("ab"), Piece("⏎", mark=True))


def test_a_leading_combining_mark_gets_something_to_stand_on():
    assert visible("\u0301x").pieces == (Piece("◌\u0301x"),)


def test_a_long_token_is_cut_and_says_by_how_much():
    assert visible("x" * 10_000, limit=3) == Visible((Piece("xxx"),), hidden=9_997)


def test_an_empty_token_has_no_pieces():
    assert visible("") == Visible(())
