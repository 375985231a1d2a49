"""Tokens from the tokenizer files that models come with."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from reach.vocabulary import Vocabulary, load_vocabulary, visible
from solvers.errors import BadInput


def saved(folder: Path, tokenizer: Tokenizer) -> Path:
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def bpe(pieces: list[str], **more: object) -> Tokenizer:
    return Tokenizer(models.BPE(vocab={piece: n for n, piece in enumerate(pieces)}, merges=[], **more))


def test_byte_level_pieces_become_text(tmp_path: Path) -> None:
    """Ġ is the byte 0x20; é is 0xC3 0xA9, which the table writes as Ã and ©; one half of it is no text."""
    tokenizer = bpe(["a", "Ġthe", "Ã©", "Ã", "Ċ"])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.add_tokens(["  "])
    found = load_vocabulary(saved(tmp_path, tokenizer), 7)
    assert found.pieces == ["a", "Ġthe", "Ã©", "Ã", "Ċ", "<|end|>", "  "]
    assert found.texts == ["a", " the", "é", "<0xC3>", "\n", "<|end|>", "  "]
    assert found.warnings == []


def test_byte_level_is_found_inside_a_sequence(tmp_path: Path) -> None:
    tokenizer = bpe(["Ġa"])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()])
    assert load_vocabulary(saved(tmp_path, tokenizer), 1).texts == [" a"]


def test_the_byte_table_is_the_librarys(tmp_path: Path) -> None:
    """All 256 characters of the alphabet stand for different bytes, and the ASCII ones read back."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = bpe(alphabet)
    tokenizer.decoder = decoders.ByteLevel()
    found = load_vocabulary(saved(tmp_path, tokenizer), 256)
    whole = {chr(byte) for byte in range(128)}
    assert set(found.texts) == whole | {f"<0x{byte:02X}>" for byte in range(128, 256)}
    decoder = decoders.ByteLevel()
    for piece, text in zip(found.pieces, found.texts, strict=True):
        if text in whole:
            assert decoder.decode([piece]) == text


def test_sentencepiece_pieces_become_text(tmp_path: Path) -> None:
    tokenizer = bpe(["▁the", "a▁b", "<0x0A>", "<0xC3>", "▁"], byte_fallback=True)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    found = load_vocabulary(saved(tmp_path, tokenizer), 5)
    assert found.texts == [" the", "a b", "\n", "<0xC3>", " "]


def test_word_pieces_and_words(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"walk": 0, "##ing": 1}, unk_token="walk"))
    tokenizer.decoder = decoders.WordPiece()
    assert load_vocabulary(saved(tmp_path, tokenizer), 2).texts == ["walk", "ing"]
    words = Tokenizer(models.WordLevel({"▁walk": 0, "##ing": 1}, unk_token="##ing"))
    assert load_vocabulary(saved(tmp_path / "words", words), 2).texts == ["▁walk", "##ing"]


def test_fewer_tokens_than_rows(tmp_path: Path) -> None:
    found = load_vocabulary(saved(tmp_path, bpe(["a", "b"])), 4)
    assert found.pieces == ["a", "b", None, None]
    assert len(found.warnings) == 1
    assert "2 of the head's 4 rows have no token (the first is row 2)" in found.warnings[0]


def test_more_tokens_than_rows(tmp_path: Path) -> None:
    found = load_vocabulary(saved(tmp_path, bpe(["a", "b", "c"])), 2)
    assert found.pieces == ["a", "b"]
    assert len(found.warnings) == 1
    assert "1 token has no row in the head of 2 (id 2): the model cannot say or read it" in found.warnings[0]


def test_no_tokenizer(tmp_path: Path) -> None:
    for folder in (tmp_path, None):
        found = load_vocabulary(folder, 2)
        assert found.pieces == found.texts == [None, None]
        assert len(found.warnings) == 1
        assert "tokens are shown by their ids" in found.warnings[0]


@pytest.mark.parametrize("kept", [0, 40, -30])
def test_a_truncated_tokenizer(tmp_path: Path, kept: int) -> None:
    path = saved(tmp_path, bpe(["a", "b"])) / "tokenizer.json"
    path.write_text(path.read_text()[:kept])
    with pytest.raises(BadInput, match="is truncated or invalid") as caught:
        load_vocabulary(tmp_path, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "{}", '{"model": {"type": "Novel"}}', "\x00"])
def test_an_invalid_tokenizer(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(BadInput, match="copy or download it again"):
        load_vocabulary(tmp_path, 2)


def test_no_text_at_all(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(BadInput, match="cannot be read"):
        load_vocabulary(tmp_path, 2)


def test_lone_surrogates_reach_parquet_visibly(tmp_path: Path) -> None:
    """Given half of a character in a tokenizer, when its tokens are stored, then nothing crashes or collides."""
    path = saved(tmp_path, Tokenizer(models.WordLevel({"x": 0, "y": 1, "z": 2}, unk_token="x"))) / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["model"]["vocab"] = {"x": 0, "\ud83d": 1, "\udc00a": 2, "\U0001f600": 3}
    path.write_text(json.dumps(spec))
    found = load_vocabulary(tmp_path, 4)
    assert found.pieces == ["x", "\\ud83d", "\\udc00a", "\U0001f600"]
    pq.write_table(pa.table({"token": found.pieces}), tmp_path / "tokens.parquet")
    assert pq.read_table(tmp_path / "tokens.parquet")["token"].to_pylist() == found.pieces


def test_visible_joins_halves_that_belong_together() -> None:
    assert visible("\ud83d\ude00\ud83d") == "\U0001f600\\ud83d"
    assert visible("plain") == "plain"


def test_an_old_tokenizer_goes_through_transformers(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "Ġ": 1, "Ġa": 2, "<|endoftext|>": 3}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ a\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    found = load_vocabulary(tmp_path, 4)
    assert found.pieces == ["a", "Ġ", "Ġa", "<|endoftext|>"]
    assert found.texts == ["a", " ", " a", "<|endoftext|>"]


def test_an_old_tokenizer_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"not sentencepiece")
    found = load_vocabulary(tmp_path, 3)
    assert found.pieces == [None] * 3
    assert len(found.warnings) == 1
    assert "\n" not in found.warnings[0]


def test_a_token_is_shown_by_what_is_known() -> None:
    vocabulary = Vocabulary(["Ġa", "Ã", None], [" a", None, None], [])
    assert [vocabulary.show(n) for n in range(3)] == ["' a' (0)", "'Ã' (1)", "token 2"]


@pytest.mark.parametrize(("name", "rows"), [("stories260k", 512), ("onmt-lm", 16377)])
def test_real_tokenizers(name: str, rows: int, real_models: Path) -> None:
    found = load_vocabulary(real_models / name, rows)
    assert found.warnings == []
    assert None not in found.pieces
