"""GGUF files that somebody has broken, cut or made up: a head or one line, in little memory."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from gguf_writing import write_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reach.heads.load import load_head
from solvers.errors import BadInput

V, D = 12, 32
RNG = np.random.default_rng(2)
TENSORS = {
    "token_embd.weight": RNG.standard_normal((V, D)).astype(np.float32),
    "output.weight": RNG.standard_normal((V, D)).astype(np.float32),
    "output_norm.weight": np.ones(D, np.float32),
}
EPS = "llama.attention.layer_norm_rms_epsilon"
MANY = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LITTLE = 2**24


def good(folder: Path, kind: str = "Q8_0") -> bytes:
    file = write_gguf(
        folder / "good.gguf", "llama", TENSORS, kind, {EPS: 1e-5, "general.alignment": 32},
        tokens=[f"piece{n}".encode() for n in range(V)], types=[1] * V,
    )  # fmt: skip
    content = file.read_bytes()
    file.unlink()
    return content


def read(file: Path, content: bytes) -> str | None:
    """The complaint about a file, or None where it has a head; either way in little memory."""
    file.write_bytes(content)
    tracemalloc.start()
    try:
        load_head(str(file)).problem()
    except BadInput as error:
        assert "\n" not in str(error)
        assert str(file) in str(error)
        assert len(str(error)) < 1000
        return str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < LITTLE
    return None


def string(text: str | bytes) -> bytes:
    stored = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(stored)) + stored


def header(tensors: int, entries: int, *parts: bytes, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + b"".join(parts)


def tensor(name: str, shape: tuple[int, ...], code: int = 0, offset: int = 0) -> bytes:
    axes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return string(name) + axes + struct.pack("<IQ", code, offset)


WORD = string("general.architecture") + struct.pack("<I", 8) + string("llama")
NUMBER = string(EPS) + struct.pack("<If", 6, 1e-5)
TERA = 2**40
CLAIMS = {
    "nothing": b"",
    "no magic": b"GGML" + bytes(40),
    "magic alone": b"GGUF",
    "version 1": header(0, 0, version=1),
    "version 4": header(0, 0, version=4),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "terabytes of tensors": header(TERA, 0),
    "terabytes of entries": header(0, TERA),
    "a text of terabytes": header(0, 1, string("a"), struct.pack("<IQ", 8, TERA)),
    "a name of terabytes": header(0, 1, struct.pack("<Q", TERA)),
    "a name of a megabyte": header(0, 1, string("a" * 2**20), struct.pack("<IB", 0, 1)),
    "a list of terabytes": header(0, 1, string("a"), struct.pack("<IIQ", 9, 4, TERA)),
    "strings without end": header(0, 1, string("a"), struct.pack("<IIQ", 9, 8, TERA)),
    "strings of terabytes": header(0, 1, string("a"), struct.pack("<IIQQQ", 9, 8, 2, TERA, 0)),
    "a list of lists": header(0, 1, string("a"), struct.pack("<IIQ", 9, 9, 1)),
    "an unknown type": header(0, 1, string("a"), struct.pack("<I", 99)),
    "two entries of one name": header(0, 2, WORD, WORD),
    "two tensors of one name": header(2, 1, WORD, tensor("a", (1,)), tensor("a", (1,)), bytes(64)),
    "a tensor of terabytes": header(1, 1, WORD, tensor("a", (TERA, TERA)), bytes(64)),
    "a tensor beyond the file": header(1, 1, WORD, tensor("a", (8,), 0, 32 * TERA), bytes(64)),
    "a tensor off the grid": header(1, 1, WORD, tensor("a", (1,), 0, 4), bytes(64)),
    "a tensor of many axes": header(1, 1, WORD, tensor("a", (1,) * 9), bytes(64)),
    "a row that is no block": header(1, 1, WORD, tensor("a", (33, 2), 8), bytes(640)),
    "an alignment of 3": header(
        1, 2, WORD, string("general.alignment"), struct.pack("<II", 4, 3), tensor("a", (1,)), bytes(64)
    ),
    "an alignment of words": header(
        1, 2, WORD, string("general.alignment"), struct.pack("<I", 8), string("x"), tensor("a", (1,)), bytes(64)
    ),
    "a matrix without rows": header(1, 2, WORD, NUMBER, tensor("output.weight", (32, 0)), bytes(64)),
}  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_no_file_says(claim: str, tmp_path: Path) -> None:
    said = read(tmp_path / "a.gguf", CLAIMS[claim])
    assert said is not None
    words = {"big-endian": "gguf_convert_endian", "version 1": "version 1", "no magic": "no GGUF file"}
    assert words.get(claim, "") in said


def test_a_matrix_of_an_unknown_size_is_not_believed(tmp_path: Path) -> None:
    """The type has a number that the package does not know, so that its size cannot be held against the file."""
    content = header(1, 2, WORD, NUMBER, tensor("output.weight", (2**20, 2**20), 250), bytes(64))
    assert "a type with the number 250" in (read(tmp_path / "a.gguf", content) or "")


def test_every_cut(tmp_path: Path) -> None:
    content = good(tmp_path)
    assert read(tmp_path / "a.gguf", content) is None
    for kept in range(0, len(content) - 32, 13):
        assert read(tmp_path / "a.gguf", content[:kept]) is not None


def test_of_a_huge_file_only_the_head_is_touched(tmp_path: Path) -> None:
    """Sixty-four gigabytes of other weights, which are no more than a hole in the file."""
    rows = TENSORS["output.weight"]
    file = tmp_path / "a.gguf"
    file.write_bytes(
        header(
            3, 2, WORD, NUMBER, tensor("output.weight", (D, V)), tensor("output_norm.weight", (D,), 0, rows.nbytes),
            tensor("blk.0.ffn_up.weight", (2**17, 2**17), 0, rows.nbytes + 4 * D),
        )
    )  # fmt: skip
    start = -(-file.stat().st_size // 32) * 32
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(rows.tobytes() + TENSORS["output_norm.weight"].tobytes())
        stream.truncate(start + rows.nbytes + 4 * D + 4 * 2**34)
    head = load_head(str(file))
    assert head.weight.tolist() == rows.tolist()
    before = file.stat().st_blocks
    head.weight[0] = 0  # the file stays as it is, whatever becomes of the numbers in memory
    assert load_head(str(file)).weight.tolist() == rows.tolist()
    assert file.stat().st_blocks == before


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0"])
def test_scales_that_are_no_numbers(kind: str, tmp_path: Path) -> None:
    content = good(tmp_path, kind)
    tail = struct.pack("<f", float("nan")) if kind == "F32" else struct.pack("<e", float("inf"))
    width = {"F32": 4 * D, "F16": 2 * D, "Q8_0": 34}[kind]
    norm = 4 * D
    # The last tensor is the norm, before it lies the matrix: its last row begins here.
    row = len(content) - norm - -(-V * width // 32) * 32 + (V - 1) * width
    said = read(tmp_path / "a.gguf", content[:row] + tail + content[row + len(tail) :])
    assert f"output.weight holds NaN or Inf in rows {V - 1}" in (said or "")


def test_types_for_other_tokens(tmp_path: Path) -> None:
    file = write_gguf(
        tmp_path / "a.gguf", "llama", TENSORS, "F32", {EPS: 1e-5}, tokens=[b"a"] * V, types=[1] * (V + 1)
    )  # fmt: skip
    assert "12 tokens, but types for 13" in (read(file, file.read_bytes()) or "")


@pytest.mark.parametrize("count", [0, V - 1, V + 3])
def test_a_vocabulary_of_another_size_is_a_warning(count: int, tmp_path: Path) -> None:
    file = write_gguf(
        tmp_path / "a.gguf", "llama", TENSORS, "F32", {EPS: 1e-5}, tokens=[b"a%d" % n for n in range(count)]
    )
    vocabulary = load_head(str(file)).vocabulary
    assert vocabulary is not None
    assert len(vocabulary.pieces) == V
    assert len(vocabulary.warnings) == 1


@MANY
@given(st.data())
def test_bytes_changed_anywhere_in_the_header(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(good(tmp_path))
    end = content.index(b"output_norm.weight") + 64
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end))
        if data.draw(st.booleans()):
            content[at] = data.draw(st.integers(0, 255))
        else:
            content[at : at + 8] = struct.pack(
                "<Q", data.draw(st.sampled_from([0, 1, 2**31, 2**40, 2**63, 2**64 - 1]))
            )
    read(tmp_path / "a.gguf", bytes(content))


@settings(MANY, max_examples=100)
@given(st.binary(max_size=400))
def test_anything_after_the_magic(tmp_path: Path, content: bytes) -> None:
    read(tmp_path / "a.gguf", b"GGUF" + struct.pack("<I", 3) + content)
