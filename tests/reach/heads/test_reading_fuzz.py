"""Files of heads and models that somebody else has made or broken: a head or one line, in bounded memory."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy
from safetensors.numpy import save_file

from reach.heads.load import load_head
from reach.vocabulary import load_vocabulary
from solvers.errors import BadInput

V, D = 12, 4
ROWS = np.random.default_rng(5).standard_normal((V, D)).astype(np.float32)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DEEP = "[" * 100_000 + "]" * 100_000
LONG = "9" * 400


def read(model: Path) -> str | None:
    """The complaint about a model, or None where it has a head."""
    try:
        head = load_head(str(model), domain="free")
        load_vocabulary(head.folder, head.v)
        head.problem()
    except BadInput as error:
        assert "\n" not in str(error)
        return str(error)
    return None


def model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": V, "hidden_size": D}
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5, "tie_word_embeddings": True}))
    save_file(
        {"model.embed_tokens.weight": ROWS, "model.norm.weight": np.ones(D, np.float32)}, folder / "model.safetensors"
    )
    pieces = {"type": "BPE", "vocab": {f"piece{n}": n for n in range(V)}, "merges": []}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": 3, "content": "piece3", "special": True, **flags}]
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": added, "model": pieces}))
    return folder


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def array(shape: str, dtype: str = "'<f4'", content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A .npy file whose header claims whatever it likes."""
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + content


PLAIN = array("(12, 4)", content=ROWS.tobytes())
CLAIMS = [
    array("(10**9, 4)"),
    array("(1000000000, 4)"),
    array("(-12, -4)", content=ROWS.tobytes()),
    array("(99999999999999999999, 9)"),
    array("(12, 4)"),
    array("12", content=ROWS.tobytes()),
    array("(12, 4", content=b""),
    array("(12, 4)", "'|O'"),
    array("(12, 4)", "[('a', '<f4')]", ROWS.tobytes()),
    array("(1000000000,)", "'|S0'"),
    array("(12, 4)", "'<U1000000000'"),
    array("(12, 4)", "'M8[s]'", bytes(384)),
    array("(" * 4000),
    array("(12, 4)", "{}"),
    array("(True, 48)", content=ROWS.tobytes()),
    array("(12, 4)", content=ROWS.tobytes(), version=b"\x09\x00"),
    b"",
    b"\x93NUMPY",
    b"PK",
    PLAIN[:40],
    PLAIN[:-1],
    PLAIN + b"x",
]


@pytest.mark.parametrize("claim", CLAIMS, ids=range(len(CLAIMS)))
def test_headers_that_claim_too_much(claim: bytes, tmp_path: Path) -> None:
    for name, content in (("a.npz", zipped(W=claim)), ("a.npy", claim)):
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        message = read(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert message is not None
        assert str(tmp_path / name) in message
        assert peak < 2**24


def test_an_archive_that_unpacks_to_far_more_than_its_size(tmp_path: Path) -> None:
    file = tmp_path / "bomb.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("W.npy", "w") as member:
        member.write(array("(66560, 1024)"))
        for _ in range(260):
            member.write(bytes(2**20))
    assert "unpacks to 1 arrays of" in (read(file) or "")


def test_good_files_of_every_form(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", W=np.zeros((V, D), np.float16), b=ROWS[:, 0])
    np.savez(tmp_path / "b.npz", W=np.asfortranarray(ROWS), gamma=ROWS[0].astype(">f8"))
    np.save(tmp_path / "c.npy", ROWS)
    for name in ("a.npz", "b.npz", "c.npy"):
        assert read(tmp_path / name) is None
    assert load_head(str(tmp_path / "b.npz")).weight.tolist() == ROWS.tolist()
    assert read(model(tmp_path / "model")) is None
    assert npy.read_magic(io.BytesIO(PLAIN)) == (1, 0)


@MANY
@given(st.data())
def test_bytes_changed_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    """One file of a head or model at a time: cut, or with a few bytes changed."""
    folder = model(tmp_path / "model")
    (tmp_path / "head.npz").write_bytes(
        zipped(W=PLAIN, norm=_text("rmsnorm"), gamma=array("(4,)", content=ROWS[0].tobytes()))
    )
    (tmp_path / "head.npy").write_bytes(PLAIN)
    save_file({"W": ROWS, "b": ROWS[:, 0].copy()}, tmp_path / "head.safetensors", metadata={"norm": "none"})
    alone = [tmp_path / name for name in ("head.npz", "head.npy", "head.safetensors")]
    inside = [folder / name for name in ("config.json", "model.safetensors", "tokenizer.json")]
    file = data.draw(st.sampled_from([*alone, *inside]))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    read(folder if file in inside else file)


def _text(word: str) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array(word))
    return out.getvalue()


plain = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5)
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@MANY
@given(st.data())
def test_entries_of_any_kind(tmp_path: Path, data: st.DataObject) -> None:
    """One entry of the config or the tokenizer, anywhere in it, is of another kind, gone, or new."""
    folder = model(tmp_path / "model")
    file = folder / data.draw(st.sampled_from(["config.json", "tokenizer.json"]))
    content = json.loads(file.read_text())
    at: Any = content
    while True:
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else list(range(len(at)))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    if data.draw(st.booleans()):
        at[key] = data.draw(anything)
    else:
        del at[key]
    file.write_text(json.dumps(content))
    read(folder)


@pytest.mark.parametrize("text", [DEEP, f"[{LONG}]", f"[{LONG}.5]", '{"a": NaN}', "\udcff", "{}" * 2])
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors.index.json", "adapter_config.json", "tokenizer.json"]
)
def test_json_that_is_a_bomb(name: str, text: str, tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    (folder / name).write_text(text, errors="surrogateescape")
    message = read(folder)
    assert message is not None
    assert name in message


@pytest.mark.parametrize("entry", [f'"vocab_size": {LONG}', f'"rms_norm_eps": {LONG}', f'"rms_norm_eps": 1e{LONG}'])
def test_numbers_that_no_model_has(entry: str, tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text("{" + entry + ", " + text[1:].replace('"rms_norm_eps": 1e-05, ', ""))
    assert "config.json" in (read(folder) or "")
