"""What a tokenizer says of its tokens, on vocabularies small enough to tell by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from reach.categories.reserved import is_reserved
from reach.categories.roles import EOS, NO_ROLES, PAD, Role, Roles
from reach.categories.tokenizer import is_control, tokenizer_findings
from reach.vocabularies.gguf import gguf_tokens
from reach.vocabulary import Vocabulary, in_rows, load_vocabulary


def saved(folder: Path, tokenizer: Tokenizer, rows: int) -> Vocabulary:
    tokenizer.save(str(folder / "tokenizer.json"))
    return load_vocabulary(folder, rows)


def found(vocabulary: Vocabulary, roles: Roles = NO_ROLES) -> dict[int, set[str]]:
    kinds: dict[int, set[str]] = {}
    for one in tokenizer_findings(vocabulary, roles):
        kinds.setdefault(one.token, set()).add(one.category)
    return kinds


def byte_level(pieces: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab={piece: n for n, piece in enumerate(pieces)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_byte_level_tokens(tmp_path: Path) -> None:
    """Ã is the byte 0xC3, Ã© is é whole, ā the byte 0x01, and À the byte 0xC0, which no text holds. The merge of a
    and b goes before that of b and c, so "abc" never becomes the token of that name."""
    pieces = ["a", "b", "c", "Ã", "©", "Ã©", "ā", "À", "ab", "bc", "abc", "Ġ"]
    tokenizer = byte_level(pieces, [("a", "b"), ("b", "c"), ("a", "bc"), ("Ã", "©")])
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens(["  "])
    vocabulary = saved(tmp_path, tokenizer, 16)
    assert found(vocabulary) == {
        3: {"byte", "partial-utf8"},
        4: {"byte", "partial-utf8"},
        6: {"byte", "control"},
        7: {"byte", "partial-utf8"},
        10: {"unreachable"},
        12: {"special", "added"},
        13: {"added"},
        14: {"padding"},
        15: {"padding"},
    }
    details = {(one.token, one.category): one for one in tokenizer_findings(vocabulary, NO_ROLES)}
    assert details[7, "byte"].detail == "0xC0, which no UTF-8 text holds"
    assert details[10, "unreachable"].others == (8, 2)
    assert "2 other tokens" in str(details[10, "unreachable"].detail)


def test_pieces_of_a_word_are_reached_behind_its_beginning(tmp_path: Path) -> None:
    """##ing alone would be read as a word, and so would it be behind a sign; behind a letter it is what it is. The
    capital is taken away before anything is looked up."""
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "w": 1, "##ing": 2, "Upper": 3, "b": 4}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    assert found(saved(tmp_path, tokenizer, 5)) == {3: {"unreachable"}}


def test_spaces_that_the_tokenizer_puts_in_front_do_no_harm(tmp_path: Path) -> None:
    """As sentencepiece does it: every text gets a ▁ in front. "the" within a word is reached all the same, the byte
    of A is not, because there is a piece for A."""
    pieces = ["<unk>", "<0x41>", "<0xC3>", "▁", "A", "t", "h", "e", "th", "the", "▁the"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the")]
    model = models.BPE({p: n for n, p in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    kinds = found(saved(tmp_path, tokenizer, len(pieces)))
    assert kinds == {1: {"byte", "unreachable"}, 2: {"byte", "partial-utf8"}}


def test_a_token_that_needs_its_surroundings(tmp_path: Path) -> None:
    """Words are cut before capitals and digits: "a1" is never one word, "1a" is."""
    tokenizer = byte_level(["a", "1", "1a", "a1"], [("1", "a"), ("a", "1")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?=\d)"), "isolated")
    assert found(saved(tmp_path, tokenizer, 4)) == {3: {"unreachable"}}


def test_roles_come_with_who_says_so(tmp_path: Path) -> None:
    vocabulary = saved(tmp_path, byte_level(["a", "b", "<pad>"], []), 4)
    roles = Roles({1: (Role(1, EOS, "config.json: eos_token_id"),), 3: (Role(3, PAD, "config.json: pad_token_id"),)})
    special = {one.token: one.detail for one in tokenizer_findings(vocabulary, roles) if one.category == "special"}
    assert special == {1: "eos (config.json: eos_token_id)", 3: "pad (config.json: pad_token_id)"}
    assert found(vocabulary, roles)[3] == {"special", "padding"}


def test_without_a_tokenizer_no_row_is_a_padding_row() -> None:
    assert found(in_rows(None, 5)) == {}


def test_vocabularies_say_themselves_what_is_unused() -> None:
    types = [3, 1, 5, 6]  # control, normal, unused, byte
    tokens = gguf_tokens("llama", None, [b"<s>", "▁a".encode(), b"<nothing>", b"<0x0A>"], types, "file")
    vocabulary = in_rows(tokens, 4)
    assert vocabulary.encoder is None
    assert found(vocabulary) == {0: {"special"}, 2: {"reserved"}, 3: {"byte"}}


@pytest.mark.parametrize(
    "name",
    ["<|reserved_special_token_17|>", "[unused12]", "<unused3>", "<|extra_0|>", "<SPECIAL_12>", "madeupword0001",
     "<|placeholder1|>", "<SPECIAL_UNUSED_4>", "<|dummy_3|>", "[UNK_7]"],
)  # fmt: skip
def test_names_that_say_reserved(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize(
    "name",
    [
        "unused",
        "reserved",
        "▁unused",
        "<unk>",
        "(unused variable)",
        "(unused)",
        "<extra_id_0>",
        "<s>",
        "[UNK]",
        "dummy",
    ],
)
def test_names_that_do_not(name: str) -> None:
    assert not is_reserved(name)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("\x00", True),
        ("\u200f\u2066", True),
        ("\n", False),
        ("\t", False),
        (" ", False),
        ("\x07a", False),
        ("", False),
    ],
)
def test_control_characters(text: str, is_one: bool) -> None:
    assert is_control(text) == is_one
