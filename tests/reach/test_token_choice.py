"""The words of --tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from reach.token_choice import choose_tokens
from reach.vocabulary import Vocabulary
from solvers.errors import BadInput

PIECES = ["a", "Ġthe", "5", ",", "<0x61>", "Ġcat", "The", "10-20", '"', "x y", "Ċ", None]
TEXTS = ["a", " the", "5", ",", "a", " cat", "The", "10-20", '"', "x y", "\n", None]
VOCABULARY = Vocabulary(list(PIECES), list(TEXTS), [])
V = len(PIECES)


@pytest.mark.parametrize(
    ("spec", "ids"),
    [
        (None, list(range(V))),
        ("5", [5]),
        ("3-5", [3, 4, 5]),
        ("4-4", [4]),
        ("7, 3-4 ,3", [3, 4, 7]),
        ("'5'", [2]),
        ('"5",5', [2, 5]),
        ("','", [3]),
        ("' the'", [1]),
        ("Ġthe", [1]),
        ("'10-20'", [7]),
        ("x y", [9]),
        (r"'\n'", [10]),
        (r'"\""', [8]),
        ("'\"'", [8]),
        ("a", [0]),  # the piece wins over the byte token that decodes to the same text
        ("<0x61>", [4]),
    ],
)
def test_choices(spec: str | None, ids: list[int]) -> None:
    chosen = choose_tokens(spec, VOCABULARY, V)
    assert chosen.tolist() == ids
    assert chosen.dtype == "int64"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("12", f"--tokens 12: the head has ids 0 to {V - 1}; put digits in quotes"),
        ("3-12", "--tokens 3-12: the head has ids 0 to 11"),
        ("5-3", "a range goes from the smaller id to the larger"),
        ("", "--tokens has an empty part"),
        ("1,,2", "--tokens has an empty part"),
        ("1,", "--tokens has an empty part"),
        ("'open", "the quote before 'open' is never closed"),
        ("'a'b", "a comma is missing after the quoted 'a'"),
        ("the", "--tokens 'the' is no token; near are ' the' (1), 'The' (6)"),
        ("CAT", "--tokens 'CAT' is no token; near are ' cat' (5)"),
        ("zzzz", "--tokens 'zzzz' is no token: quote it as it is stored"),
        ("@/no/such/file", "--tokens @/no/such/file: the file cannot be read: No such file"),
    ],
)
def test_complaints(spec: str, expected: str) -> None:
    with pytest.raises(BadInput) as caught:
        choose_tokens(spec, VOCABULARY, V)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_of_several_tokens() -> None:
    twice = Vocabulary(["<0x41>", "Ġ", "▁"], ["A", " ", " "], [])
    assert choose_tokens("A", twice, 3).tolist() == [0]
    with pytest.raises(BadInput, match=r"--tokens ' ' means 2 tokens: choose by id \(1, 2\)"):
        choose_tokens("' '", twice, 3)


def test_without_a_tokenizer() -> None:
    nameless = Vocabulary([None] * 3, [None] * 3, [])
    assert choose_tokens("0-1", nameless, 3).tolist() == [0, 1]
    with pytest.raises(BadInput, match="comes without a tokenizer, so choose tokens by id"):
        choose_tokens("cat", nameless, 3)


def test_a_file_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text('8\n\n1-2\n,\n" cat"\r\nx y\n', encoding="utf-8")
    assert choose_tokens(f"@{path}", VOCABULARY, V).tolist() == [1, 2, 3, 5, 8, 9]
    assert choose_tokens(f"0,@{path}", VOCABULARY, V).tolist() == [0, 1, 2, 3, 5, 8, 9]
    path.write_text("'a' b")
    with pytest.raises(BadInput, match="one part per line"):
        choose_tokens(f"@{path}", VOCABULARY, V)
    path.write_text("\n")
    with pytest.raises(BadInput, match="chooses no token"):
        choose_tokens(f"@{path}", VOCABULARY, V)
