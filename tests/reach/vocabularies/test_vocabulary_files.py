"""Tokens from every kind of tokenizer file; `tiny.model` was trained by sentencepiece itself."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reach.vocabularies.gguf import gguf_tokens
from reach.vocabulary import in_rows, load_vocabulary
from solvers.errors import BadInput

TINY = Path(__file__).with_name("tiny.model")
PIECES_OF_TINY = "dff1ba79cd882c84c460f7b50882a8bffb829a2f8e0b7d7aa31994ebf1532ba2"
"""sha256 of the pieces, as JSON, that the package sentencepiece gives."""


def put(folder: Path, **files: str | bytes | dict[str, Any] | list[Any]) -> Path:
    """Write files, with `_dot_` for a dot in their names."""
    for name, content in files.items():
        stored = json.dumps(content) if isinstance(content, dict | list) else content
        path = folder / name.replace("_dot_", ".")
        path.write_bytes(stored if isinstance(stored, bytes) else stored.encode())
    return folder


def added(**names: str) -> dict[str, Any]:
    """A tokenizer_config.json that adds tokens: `n5="<x>"` is id 5."""
    return {"added_tokens_decoder": {number[1:]: {"content": name} for number, name in names.items()}}


# --- sentencepiece --------------------------------------------------------------------------------------------------


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protocol buffer, of fewer than 128 bytes."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    return bytes([number << 3 | 2, len(content)]) + content


def piece(text: bytes, kind: int | None = None) -> bytes:
    score = bytes([2 << 3 | 5]) + struct.pack("<f", -1.5)
    return field(1, field(1, text) + score + (b"" if kind is None else field(3, kind)))


MODEL = b"".join(
    [
        piece(b"<unk>", 2),
        piece(b"<s>", 3),
        piece("▁the".encode()),
        piece(b"<0x0A>", 6),
        piece(b"<0xC3>", 6),
        piece("<x▁y>".encode(), 4),
        piece(b"\xff", 1),
        field(2, field(3, 8)),  # the trainer's settings, which are of no interest
        field(200 % 15, b"?"),
    ]
)
TEXTS = ["<unk>", "<s>", " the", "\n", "<0xC3>", "<x y>", "<0xFF>"]


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model"])
def test_sentencepiece(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(MODEL)
    found = load_vocabulary(tmp_path, 7)
    assert found.texts == TEXTS
    assert found.pieces[:3] == ["<unk>", "<s>", "▁the"]
    assert found.warnings == []


def test_a_model_that_sentencepiece_trained(tmp_path: Path) -> None:
    found = load_vocabulary(put(tmp_path, tokenizer_dot_model=TINY.read_bytes()), 300)
    assert hashlib.sha256(json.dumps(found.pieces).encode()).hexdigest() == PIECES_OF_TINY
    assert found.warnings == []
    spelled = {"<ctl>": "<ctl>", "<user▁one>": "<user one>", "▁the": " the", "<0x41>": "A", "é": "é", "▁": " "}
    for stored, text in spelled.items():
        assert found.texts[found.pieces.index(stored)] == text


def test_tokens_added_beside_a_model(tmp_path: Path) -> None:
    put(tmp_path, tokenizer_dot_model=MODEL, added_tokens_dot_json={"<pad>": 7, "<s>": 0})
    put(tmp_path, tokenizer_config_dot_json=added(n8="<|im▁end|>", n1="<bos>"))
    found = load_vocabulary(tmp_path, 10)
    assert found.texts == ["<s>", "<bos>", *TEXTS[2:], "<pad>", "<|im▁end|>", None]
    (warning,) = found.warnings
    assert "1 of the head's 10 rows has no token (row 9)" in warning


def test_ids_that_a_class_moves_are_left_to_it(tmp_path: Path) -> None:
    """Pegasus puts a hundred ids before those of its sentencepiece model."""
    put(tmp_path, spiece_dot_model=MODEL, config_dot_json={"model_type": "pegasus"})
    found = load_vocabulary(tmp_path, 7)
    assert found.texts != TEXTS


# --- tiktoken -------------------------------------------------------------------------------------------------------

BYTES = [b"a", b" the", b"\n", b"\xc3", "é".encode(), b"\xe2\x82"]


def tiktoken(tokens: list[bytes]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))


@pytest.mark.parametrize("name", ["qwen.tiktoken", "tokenizer.model", "tiktoken.model"])
def test_tiktoken(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(tiktoken(BYTES))
    put(tmp_path, tokenizer_config_dot_json=added(n6="<|endoftext|>"))
    found = load_vocabulary(tmp_path, 7)
    assert found.texts == ["a", " the", "\n", "<0xC3>", "é", "<0xE2><0x82>", "<|endoftext|>"]
    assert found.pieces == ["a", "Ġthe", "Ċ", "Ã", "Ã©", "âĤ", "<|endoftext|>"]
    assert found.warnings == []


# --- tekken ---------------------------------------------------------------------------------------------------------


def tekken(**changes: Any) -> dict[str, Any]:
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for rank, token in enumerate(BYTES)
    ]
    special = [{"rank": 0, "token_str": "<unk>", "is_control": True}, {"rank": 2, "token_str": "[INST]"}]
    config = {"default_vocab_size": 8, "default_num_special_tokens": 3, "pattern": "."}
    return {"config": config, "vocab": vocab, "special_tokens": special} | changes


def test_tekken(tmp_path: Path) -> None:
    found = load_vocabulary(put(tmp_path, tekken_dot_json=tekken()), 8)
    assert found.texts == ["<unk>", None, "[INST]", "a", " the", "\n", "<0xC3>", "é"]  # of six tokens five have room
    assert len(found.warnings) == 1
    older = tekken()
    del older["special_tokens"]
    found = load_vocabulary(put(tmp_path, tekken_dot_json=older), 8)
    assert found.texts == [None] * 3 + ["a", " the", "\n", "<0xC3>", "é"]


# --- ByT5 and RWKV --------------------------------------------------------------------------------------------------


def test_byt5_is_what_its_class_has(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer

    put(tmp_path, tokenizer_config_dot_json={"tokenizer_class": "ByT5Tokenizer"})
    found = load_vocabulary(tmp_path, 384)
    assert found.pieces == [ByT5Tokenizer().convert_ids_to_tokens(number) for number in range(384)]
    assert found.texts[:4] == ["<pad>", "</s>", "<unk>", "\0"]
    assert (found.texts[3 + ord("a")], found.texts[3 + 0xC3], found.texts[383]) == ("a", "<0xC3>", "<extra_id_124>")
    assert found.warnings == []


RWKV = "1 '\\x00' 1\n2 ' the' 4\n3 \"it's\" 4\n4 'é' 2\n5 b'\\xc3' 1\n6 ' \\n ' 3\n"


@pytest.mark.parametrize("name", ["rwkv_vocab_v20230424.txt", "vocab.txt"])
def test_rwkv(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(RWKV)
    found = load_vocabulary(tmp_path, 7)
    assert found.texts == [None, "\0", " the", "it's", "é", "<0xC3>", " \n "]
    assert found.pieces[2] == "Ġthe"


# --- GGUF -----------------------------------------------------------------------------------------------------------


def of_gguf(model: str | None, pieces: list[str], types: list[int] | None = None, pre: str | None = None) -> Any:
    tokens = gguf_tokens(model, pre, [one.encode() for one in pieces], types, "a.gguf")
    return in_rows(tokens, len(pieces))


@pytest.mark.parametrize("model", ["gpt2", "hybriddna"])
def test_gguf_of_byte_level_tokens(model: str) -> None:
    found = of_gguf(model, ["Ġthe", "Ã", "<|Ġend|>", "Ġ<user>"], [1, 1, 3, 4])
    assert found.texts == [" the", "<0xC3>", "<|Ġend|>", "Ġ<user>"]
    assert found.pieces[0] == "Ġthe"


@pytest.mark.parametrize(("model", "pre"), [("llama", None), ("t5", None), ("gemma4", None), ("gpt2", "gemma4")])
def test_gguf_of_marked_tokens(model: str, pre: str | None) -> None:
    found = of_gguf(model, ["▁the", "<0x0A>", "<0xC3>", "<▁s>"], [1, 6, 6, 3], pre)
    assert found.texts == [" the", "\n", "<0xC3>", "<▁s>"]
    assert of_gguf(model, ["▁the"], None, pre).texts == [" the"]


def test_gguf_of_other_tokens() -> None:
    """Of BERT, llama.cpp's conversion writes ▁ where a word begins and takes ## away."""
    assert of_gguf("bert", ["▁walk", "ing"], [1, 1]).texts == [" walk", "ing"]
    assert of_gguf("rwkv", ["\\x00", "\\n\\\\", "\\xc3", "a b"]).texts == ["\0", "\n\\", "<0xC3>", "a b"]
    assert of_gguf("plamo2", ["▁a", "<0x0A>"], [1, 6]).texts == ["▁a", "\n"]
    odd = of_gguf("novel", ["▁a"])
    assert odd.texts == ["▁a"]
    assert "the tokenizer 'novel' is not known" in odd.warnings[0]
    assert gguf_tokens("gpt2", None, [b"\xff"], [3], "a.gguf").by_id[0].piece == "<0xFF>"  # type: ignore[union-attr]


@pytest.mark.parametrize("model", [None, "none", "no_vocab"])
def test_gguf_without_tokens(model: str | None) -> None:
    found = of_gguf(model, ["a", "b"])
    assert found.pieces == [None, None]
    assert len(found.warnings) == 1


# --- bad files ------------------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[str, bytes]] = {
    "an empty model": ("tokenizer.model", b""),
    "no model": ("tokenizer.model", b"not sentencepiece"),
    "a cut model": ("tokenizer.model", MODEL[:20]),
    "a model with an empty piece": ("spiece.model", MODEL + piece(b"")),
    "a huge model": ("tokenizer.model", bytes(2**24 + 1)),
    "no base64": ("a.tiktoken", tiktoken(BYTES) + b"***! 6\n"),
    "no rank": ("a.tiktoken", tiktoken(BYTES) + b"YQ==\n"),
    "a rank of many digits": ("a.tiktoken", tiktoken(BYTES) + b"YQ== " + b"9" * 5000 + b"\n"),
    "a rank twice": ("tokenizer.model", tiktoken(BYTES) + b"YQ== 0\n"),
    "no JSON": ("tekken.json", b"{"),
    "no config": ("tekken.json", json.dumps({"vocab": []}).encode()),
    "another config": ("tekken.json", json.dumps(tekken(config=[1])).encode()),
    "a rank that is no number": (
        "tekken.json",
        json.dumps(tekken(vocab=[{"rank": "x"}])).encode(),
    ),
    "a special token of no number": ("tekken.json", json.dumps(tekken(special_tokens=[3])).encode()),
    "code": ("rwkv_vocab_v1.txt", RWKV.encode() + b"7 '' + open('x').read() 3\n"),
    "an unclosed literal": ("rwkv_vocab_v1.txt", RWKV.encode() + b"7 'a 3\n"),
    "another number of bytes": ("rwkv_vocab_v1.txt", RWKV.encode() + b"7 'a' 3\n"),
    "an id twice": ("rwkv_vocab_v1.txt", RWKV.encode() + b"6 'a' 1\n"),
    "parentheses": ("rwkv_vocab_v1.txt", RWKV.encode() + b"7 " + b"'a'" * 1000 + b"(" * 90 + b" 1\n"),
    "a broken config": ("tokenizer_config.json", b"["),
    "a config of another kind": ("tokenizer_config.json", b"[]"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_file_is_one_line(what: str, tmp_path: Path) -> None:
    name, content = BROKEN[what]
    (tmp_path / name).write_bytes(content)
    found = load_vocabulary(tmp_path, 3)
    assert found.pieces == [None] * 3
    (warning,) = found.warnings
    assert str(tmp_path) in warning
    assert "its tokenizer cannot be read" in warning
    assert "\n" not in warning
    assert len(warning) < 500


GOOD: dict[str, Callable[[], bytes]] = {
    "tokenizer.model": lambda: MODEL,
    "a.tiktoken": lambda: tiktoken(BYTES),
    "tekken.json": lambda: json.dumps(tekken()).encode(),
    "rwkv_vocab_v1.txt": RWKV.encode,
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("rows", [1, 100])
def test_a_head_of_another_size_is_a_warning(name: str, rows: int, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GOOD[name]())
    found = load_vocabulary(tmp_path, rows)
    assert len(found.pieces) == len(found.texts) == rows
    assert found.warnings


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_bytes_changed_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    """A file of every kind, cut or with a few bytes changed: tokens or one line, and no other error."""
    name = data.draw(st.sampled_from(sorted(GOOD)))
    content = bytearray(GOOD[name]())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    kept = data.draw(st.integers(0, len(content))) if data.draw(st.booleans()) else len(content)
    for other in tmp_path.iterdir():
        other.unlink()
    (tmp_path / name).write_bytes(content[:kept])
    found = load_vocabulary(tmp_path, 8)
    assert len(found.pieces) == 8
    assert all("\n" not in warning for warning in found.warnings)


def test_a_damaged_tokenizer_json_is_still_refused(tmp_path: Path) -> None:
    put(tmp_path, tokenizer_dot_json="{", tokenizer_dot_model=MODEL)
    with pytest.raises(BadInput, match="truncated or invalid"):
        load_vocabulary(tmp_path, 7)
