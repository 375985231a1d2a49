"""Heads from GGUF files: the numbers that llama.cpp makes of the stored ones, and what it does with them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf_verdicts import change, markdown, read_back
from gguf_writing import q4_k, q6_k, quantise, write_gguf
from reach_command import ROOT, manifest_of, reach

import reach as package
from reach.heads.gguf import stored as stored_module
from reach.heads.gguf import types
from reach.heads.gguf.architectures import LAYOUTS, REFUSED
from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides, UnknownArchitecture
from reach.vocabulary import load_vocabulary
from solvers.errors import BadInput, MissingExtra

V, D = 24, 32
RNG = np.random.default_rng(4)
ROWS, OTHER = RNG.standard_normal((2, V, D)).astype(np.float32)
GAMMA = RNG.uniform(0.5, 1.5, D).astype(np.float32)
BETA, BIAS = RNG.standard_normal(D).astype(np.float32), RNG.standard_normal(V).astype(np.float32)
RMS, LAYER = ".attention.layer_norm_rms_epsilon", ".attention.layer_norm_epsilon"
TOKENS = [f"t{n}".encode() for n in range(V)]
PLAIN = {"token_embd.weight": OTHER, "output.weight": ROWS, "output_norm.weight": GAMMA}


def gguf_file(folder: Path, architecture: str = "llama", **options: Any) -> Path:
    tensors = options.pop("tensors", PLAIN)
    settings = {RMS: 1e-5} | options.pop("settings", {})
    return write_gguf(
        folder / "model.gguf", architecture, tensors, settings={k: v for k, v in settings.items() if v is not None},
        **{"tokens": TOKENS} | options,
    )  # fmt: skip


def message(model: Path, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load_head(str(model), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the numbers ----------------------------------------------------------------------------------------------------


def half(stored: np.ndarray) -> float:
    return float(stored.copy().view(np.float16)[0])


def of_q8_0(block: np.ndarray) -> list[float]:
    return [half(block[:2]) * int(q) for q in block[2:].view(np.int8)]


def of_q4_0(block: np.ndarray) -> list[float]:
    d = half(block[:2])
    return [d * (int(q) % 16 - 8) for q in block[2:]] + [d * (int(q) // 16 - 8) for q in block[2:]]


def of_q5_1(block: np.ndarray) -> list[float]:
    d, least = half(block[:2]), half(block[2:4])
    fifth = int.from_bytes(block[4:8].tobytes(), "little")
    low = [int(q) % 16 for q in block[8:]] + [int(q) // 16 for q in block[8:]]
    return [d * (q + 16 * (fifth >> n & 1)) + least for n, q in enumerate(low)]


def of_q6_k(block: np.ndarray) -> list[float]:
    low, high, scales, d = block[:128], block[128:192], block[192:208].view(np.int8), half(block[208:])
    numbers = []
    for n in range(256):
        part, lane = n // 128, n % 128
        four = int(low[64 * part + lane % 64]) >> 4 * (lane // 64) & 15
        two = int(high[32 * part + lane % 32]) >> 2 * (lane // 32) & 3
        numbers.append(d * int(scales[n // 16]) * (four + 16 * two - 32))
    return numbers


def of_q4_k(block: np.ndarray) -> list[float]:
    d, e, six, q = half(block[:2]), half(block[2:4]), [int(b) for b in block[4:16]], block[16:]
    numbers = []
    for n in range(256):
        j = n // 32
        if j < 4:
            s, m = six[j] % 64, six[j + 4] % 64
        else:
            s, m = six[j + 4] % 16 + 16 * (six[j - 4] // 64), six[j + 4] // 16 + 16 * (six[j] // 64)
        four = int(q[32 * (n // 64) + n % 32]) >> 4 * (j % 2) & 15
        numbers.append(d * s * four - e * m)
    return numbers


FORMULAS: dict[str, Callable[[np.ndarray], list[float]]] = {
    "Q8_0": of_q8_0, "Q4_0": of_q4_0, "Q5_1": of_q5_1, "Q6_K": of_q6_k, "Q4_K": of_q4_k,
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMULAS)
def test_rows_are_what_the_blocks_stand_for(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number by the formula of its block. All products of a block are exact in float32, so a number is rounded
    once at most, in whatever order: float64 rounded to float32 is the only right answer."""
    monkeypatch.setattr(stored_module, "_BLOCK", 3 * 512)  # rows come in blocks of three
    rows = RNG.standard_normal((7, 512)).astype(np.float32)
    rows[2], rows[3], rows[4] = 0, np.abs(rows[3]), -np.abs(rows[4])
    tensors = {"output.weight": rows, "output_norm.weight": np.ones(512, np.float32)}
    head = load_head(str(gguf_file(tmp_path, tensors=tensors, kind=kind, tokens=None)))
    stored, size = quantise(rows, kind), {code.name: code.bytes for code in types.stored_types().values()}[kind]
    expected = [FORMULAS[kind](block) for block in stored.reshape(-1, size)]
    assert head.dtype == kind
    assert head.weight.dtype == torch.float32
    assert head.weight.tolist() == np.array(expected).reshape(7, 512).astype(np.float32).tolist()


@pytest.mark.parametrize(("kind", "made", "formula"), [("Q6_K", q6_k, of_q6_k), ("Q4_K", q4_k, of_q4_k)])
def test_blocks_of_any_bytes(kind: str, made: Any, formula: Any) -> None:
    """Scales and numbers that no sensible writer makes: negative, the largest, all bits set."""
    blocks = RNG.integers(0, 256, made(np.ones((20, 256), np.float32)).shape, dtype=np.uint8)
    for at in {"Q6_K": (209,), "Q4_K": (1, 3)}[kind]:
        blocks[:, at] &= 0x3B  # keeps the scales finite
    found = types.dequantise(blocks, next(one for one in types.stored_types().values() if one.name == kind))
    assert found is not None
    assert found.tolist() == np.array([formula(block) for block in blocks]).astype(np.float32).tolist()


@pytest.mark.parametrize(("kind", "most"), [("Q6_K", 0.03), ("Q4_K", 0.12)])
def test_the_quantised_rows_of_the_tests_are_near_the_rows(kind: str, most: float) -> None:
    rows = RNG.standard_normal((50, 256)).astype(np.float32)
    found = types.dequantise(quantise(rows, kind), {k.name: k for k in types.stored_types().values()}[kind])
    assert found is not None
    assert np.abs(found - rows).mean() < most


@pytest.mark.parametrize(("kind", "dtype"), [("F32", "float32"), ("F16", "float16"), ("BF16", "bfloat16")])
def test_plain_types_are_mapped_as_they_are(kind: str, dtype: str, tmp_path: Path) -> None:
    head = load_head(str(gguf_file(tmp_path, kind=kind)))
    assert head.dtype == dtype
    assert head.weight.dtype == getattr(torch, dtype)
    assert torch.equal(head.weight, torch.from_numpy(ROWS).to(getattr(torch, dtype)))


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
def test_a_real_model(kind: str, tmp_path: Path, real_models: Path) -> None:
    """As float32 it poses the very problem of the folder; else that of the dequantised rows."""
    own = load_head(str(real_models / "stories260k"))
    assert own.gamma is not None
    rows, names = own.weight.numpy(), load_vocabulary(own.folder, own.v).pieces
    tensors = {"token_embd.weight": rows, "output_norm.weight": own.gamma.numpy()}
    tokens = [str(name).encode() for name in names]
    settings = {RMS: own.eps}
    file = write_gguf(tmp_path / "a.gguf", "llama", tensors, kind, settings, tokens=tokens, tokenizer="llama")
    head = load_head(str(file))
    assert "tied: no output.weight is stored, so token_embd.weight serves" in head.tie
    assert head.vocabulary is not None
    assert head.vocabulary.pieces == names
    assert (head.problem().fingerprint == own.problem().fingerprint) == (kind == "F32")
    if kind == "F16":
        assert torch.equal(head.weight, own.weight.to(torch.float16))
    elif kind != "F32":
        blocks = quantise(rows, kind).reshape(-1, {"Q8_0": 34, "Q4_0": 18}[kind])
        expected = np.array([FORMULAS[kind](block) for block in blocks]).reshape(rows.shape)
        assert head.weight.tolist() == expected.astype(np.float32).tolist()


def test_a_type_without_a_way_back_is_refused_by_name(tmp_path: Path) -> None:
    file = gguf_file(tmp_path, kind="Q8_0")
    content = file.read_bytes()
    for name, code, words in (("Q8_1", 9, "cannot dequantise"), ("77", 77, "a type with the number 77")):
        spot = content.index(b"output.weight") + len(b"output.weight") + 4 + 16
        file.write_bytes(content[:spot] + code.to_bytes(4, "little") + content[spot + 4 :] + bytes(2**12))
        said = message(file)
        assert name in said
        assert words in said


# --- what llama.cpp does with them ----------------------------------------------------------------------------------


def expected_logits(states: np.ndarray, norm: str, *, beta: bool = False, bias: bool = False) -> np.ndarray:
    x = states - states.mean(1, keepdims=True) if norm == "layernorm" else states
    z = x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * GAMMA + BETA * beta
    return z @ ROWS.T.astype(np.float64) + BIAS * bias


ALL = PLAIN | {"output_norm.bias": BETA, "output.bias": BIAS}


@pytest.mark.parametrize(
    ("architecture", "norm", "parts"),
    [
        ("llama", "rmsnorm", ()),
        ("gemma3", "rmsnorm", ()),
        ("gpt2", "layernorm", ("output_norm.bias",)),
        ("phi2", "layernorm", ("output_norm.bias", "output.bias")),
        ("phimoe", "rmsnorm", ("output_norm.bias", "output.bias")),
        ("qwen2", "rmsnorm", ("output.bias",)),
        ("dbrx", "layernorm", ()),
    ],
)
def test_norm_and_offsets(architecture: str, norm: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    eps = {RMS: 1e-5} if norm == "rmsnorm" else {RMS: None, LAYER: 1e-5}
    tensors = {name: ALL[name] for name in (*PLAIN, *parts)}
    head = load_head(str(gguf_file(tmp_path, architecture, tensors=tensors, settings=eps)))
    states = RNG.standard_normal((5, D)) * 3
    expected = expected_logits(states, norm, beta="output_norm.bias" in parts, bias="output.bias" in parts)
    assert head.norm == norm
    assert head.eps == pytest.approx(1e-5)
    assert np.allclose(head.logits(head.normalise(torch.from_numpy(states))).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "settings", "factor", "cap"),
    [
        ("llama", {".logit_scale": 4.0}, 1.0, None),
        ("cohere2moe", {".logit_scale": 4.0}, 4.0, None),
        ("granite", {".logit_scale": 4.0}, 0.25, None),
        ("granitehybrid", {}, 1.0, None),
        ("minicpm", {}, D / 256, None),
        ("minicpm3", {".logit_scale": 4.0}, 256 / D, None),
        ("grok", {".final_logit_softcapping": 20.0}, 0.5773502691896257, 20.0),
        ("gemma3", {}, 1.0, None),
        ("gemma3", {".final_logit_softcapping": 0.0}, 1.0, None),
        ("gemma4", {}, 1.0, 30.0),
        ("gemma4", {".final_logit_softcapping": 15.0}, 1.0, 15.0),
    ],
)
def test_what_becomes_of_the_logits(
    architecture: str, settings: dict[str, float], factor: float, cap: float | None, tmp_path: Path
) -> None:
    head = load_head(str(gguf_file(tmp_path, architecture, settings=settings)))
    assert head.logit_scale == pytest.approx(factor)
    assert head.softcap == cap


def test_norms_without_factors_and_norms_told_by_their_eps(tmp_path: Path) -> None:
    bare = {"output.weight": ROWS}
    head = load_head(str(gguf_file(tmp_path, "olmo", tensors=bare, settings={RMS: None, LAYER: 1e-5})))
    assert (head.norm, head.gamma, head.beta) == ("layernorm", None, None)
    scale = {".logit_scale": 2.0}
    assert load_head(str(gguf_file(tmp_path, "cohere2moe", settings=scale))).norm == "rmsnorm"
    layer = scale | {RMS: None, LAYER: 1e-5}
    assert load_head(str(gguf_file(tmp_path, "cohere2moe", settings=layer))).norm == "layernorm"
    for architecture, name in (("lfm2", "token_embd_norm.weight"), ("t5", "dec.output_norm.weight")):
        renamed = {"output.weight": ROWS, name: GAMMA}
        assert load_head(str(gguf_file(tmp_path, architecture, tensors=renamed))).tensors["gamma"] == name


def test_the_scale_of_the_output_matrix_itself(tmp_path: Path) -> None:
    tensors = PLAIN | {"output.scale": np.array([0.125], np.float32)}
    assert load_head(str(gguf_file(tmp_path, tensors=tensors))).logit_scale == 0.125
    said = message(gguf_file(tmp_path, tensors=tensors | {"output.scale": np.array([-1.0], np.float32)}))
    assert "output.scale is -1" in said


@pytest.mark.parametrize(
    ("architecture", "changes", "words"),
    [
        ("bert", {}, "bert is an encoder without a head over the vocabulary"),
        ("eagle3", {}, "draft model"),
        ("clip", {}, "mmproj"),
        ("chameleon", {}, "image tokens"),
        ("command-r", {"settings": {LAYER: 1e-5}}, "llama.cpp's command-r multiplies by token_embd.weight"),
        ("granite", {}, "no granite.logit_scale, which llama.cpp needs"),
        ("granite", {"settings": {".logit_scale": -2.0}}, "granite.logit_scale is -2"),
        ("gemma3", {"settings": {".final_logit_softcapping": -2.0}}, "a cap must be > 0"),
        ("llama", {"settings": {RMS: None}}, "has no llama.attention.layer_norm_rms_epsilon"),
        ("llama", {"settings": {RMS: 0.0}}, "must be > 0"),
        ("llama", {"settings": {RMS: "small"}}, "must be a number"),
        ("llama", {"settings": {RMS: float("nan")}}, "must be a finite number"),
        ("llama", {"tensors": {"output.weight": ROWS}}, "has no output_norm.weight"),
        ("qwen2moe", {"tensors": {"token_embd.weight": ROWS, "output_norm.weight": GAMMA}}, "has no output.weight"),
        ("llama", {"tensors": PLAIN | {"output.bias": BIAS}}, "--bias-tensor output.bias, or --bias-tensor none"),
        ("llama", {"tensors": PLAIN | {"output_norm.bias": BETA}}, "--beta-tensor none"),
        ("gpt2", {"settings": {LAYER: 1e-5}}, "no output_norm.bias, which llama.cpp's gpt2 adds"),
        ("phimoe", {"tensors": PLAIN | {"output_norm.bias": BETA}}, "no output.bias, which llama.cpp's phimoe adds"),
        ("llama", {"tensors": PLAIN | {"output_norm.weight": GAMMA[:9]}}, "has shape (9,), but output.weight asks"),
        ("llama", {"tensors": PLAIN | {"output.weight": ROWS[0]}}, "a matrix of two rows"),
        ("llama", {"tensors": PLAIN | {"output.weight": ROWS * np.float32(np.nan)}}, "NaN or Inf in rows 0, 1, 2"),
        ("llama", {"tensors": {}}, "holds no tensors, only a vocabulary"),
        ("llama", {"settings": {"general.type": "adapter"}}, "is an adapter"),
        ("llama", {"settings": {"general.type": "mmproj"}}, "a projector"),
        ("novel", {"settings": {".logit_scale": 2.0}}, "unknown architecture novel: it has logit_scale"),
        ("novel", {"settings": {LAYER: 1e-5}}, "the eps of both norms"),
        ("novel", {"tensors": {"token_embd.weight": ROWS, "output_norm.weight": GAMMA}}, "it has no output.weight"),
    ],
)  # fmt: skip
def test_what_is_refused(architecture: str, changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = gguf_file(tmp_path, architecture, **changes)
    said = message(file)
    assert words in said
    assert "model.gguf" in said


def test_an_unknown_architecture_that_leaves_no_doubt(tmp_path: Path) -> None:
    head = load_head(str(gguf_file(tmp_path, "novel")))
    assert head.tensors == {"weight": "output.weight", "gamma": "output_norm.weight"}
    (note,) = head.notes
    assert "the architecture novel is not known; its head was read as rmsnorm and output.weight" in note
    assert head.found_by == "file"


def test_an_unknown_architecture_by_hand(tmp_path: Path) -> None:
    file = gguf_file(tmp_path, "novel", settings={LAYER: 1e-5})
    with pytest.raises(UnknownArchitecture):
        load_head(str(file), overrides=HeadOverrides(weight_tensor="token_embd.weight"))
    with pytest.raises(UnknownArchitecture, match="--gamma-tensor none"):
        load_head(str(file), overrides=HeadOverrides(weight_tensor="token_embd.weight", norm="layernorm"))
    said = HeadOverrides(weight_tensor="token_embd.weight", norm="layernorm", gamma_tensor="output_norm.weight")
    head = load_head(str(file), overrides=said)
    assert torch.equal(head.weight, torch.from_numpy(OTHER))
    assert head.norm == "layernorm"


def test_what_is_said_by_hand_wins(tmp_path: Path) -> None:
    file = gguf_file(tmp_path, tensors=ALL)
    said = HeadOverrides(bias_tensor="output.bias", beta_tensor="none", norm="rmsnorm+1", eps=0.5)
    head = load_head(str(file), overrides=said)
    assert head.found_by == "by hand"
    assert head.bias is not None
    assert head.gamma is not None
    assert head.beta is None
    assert head.eps == 0.5
    assert torch.equal(head.gamma, 1 + torch.from_numpy(GAMMA))
    assert "no tensor nothing; it has" in message(file, overrides=HeadOverrides(weight_tensor="nothing"))
    none = HeadOverrides(norm="none", gamma_tensor="output_norm.weight", bias_tensor="none")
    assert "belong to a norm" in message(file, overrides=none)
    free = load_head(str(file), overrides=HeadOverrides(norm="none", bias_tensor="none"))
    assert free.domain.describe() == load_head(str(file), overrides=said, domain="free").domain.describe()
    assert "--adapter merge is for model folders" in message(file, adapter="merge")


def test_notes_on_embeddings_and_on_what_was_left_out(tmp_path: Path) -> None:
    file = gguf_file(tmp_path, tensors=PLAIN | {"output_extra.weight": GAMMA}, settings={".pooling_type": 3})
    first, second = load_head(str(file)).notes
    assert "made for embeddings (llama.pooling_type is 3)" in first
    assert "left out of the head, though named like parts of it: output_extra.weight" in second


def test_every_architecture_is_read_or_refused(tmp_path: Path) -> None:
    """No entry of the table asks for what it cannot have."""
    assert not LAYOUTS.keys() & REFUSED.keys()
    for architecture, layout in LAYOUTS.items():
        tensors = dict.fromkeys(layout.output[:1], ROWS) | ({layout.gamma: GAMMA} if layout.gamma else {})
        tensors |= {"output_norm.bias": BETA} if layout.shift == "needed" else {}
        tensors |= {"output.bias": BIAS} if layout.bias == "needed" else {}
        settings = {RMS: 1e-5, LAYER: 1e-5, ".logit_scale": 2.0}
        head = load_head(str(gguf_file(tmp_path, architecture, tensors=tensors, settings=settings, tokens=None)))
        assert head.architecture == architecture
        assert head.found_by == "table of llama.cpp's architectures"
        assert head.norm == (layout.norm or "rmsnorm")
        assert head.notes == ()


# --- as a model -----------------------------------------------------------------------------------------------------


def test_scan_verify_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf_file(tmp_path, "gpt2", tensors=ALL | {"output.weight": ROWS * 4}, kind="Q8_0", settings={LAYER: 1e-5})
    monkeypatch.chdir(tmp_path)
    by_hand = ("--bias-tensor", "none")
    outcome = reach("scan", "model.gguf", "--out", "run", "--quiet", "--no-report", *by_hand)
    assert outcome.code == 0, outcome.err
    manifest = manifest_of(tmp_path / "run")
    assert manifest["head"]["dtype"] == "Q8_0"
    assert manifest["loading"]["model"] == str(tmp_path / "model.gguf")
    monkeypatch.chdir(ROOT)
    assert reach("verify", tmp_path / "run", "--quiet", *by_hand).code == 0
    swapped = reach("scan", tmp_path / "model.gguf", "--out", tmp_path / "b", "--quiet", "--no-report",
                    "--weight-tensor", "token_embd.weight", *by_hand)  # fmt: skip
    assert swapped.code == 0, swapped.err
    verified = reach("verify", tmp_path / "b", "--quiet")
    assert verified.code == 1
    assert "A HEAD GIVEN BY HAND" in verified.out
    own = gguf_file(tmp_path, "dbrx", kind="Q8_0", settings={LAYER: 1e-5})
    assert reach("scan", own, "--out", tmp_path / "own", "--quiet", "--no-report").code == 0
    verified = reach("verify", tmp_path / "own", "--quiet")
    assert verified.code == 0
    assert "overrides   none\n" in verified.out


def test_from_python_with_names(tmp_path: Path) -> None:
    file = gguf_file(tmp_path, kind="Q4_0")
    verdicts = package.scan(package.load(file), jobs=1)
    assert [verdicts[0].text, verdicts[V - 1].text] == ["t0", f"t{V - 1}"]
    assert package.scan(str(file), tokens=["t3"], jobs=1)["t3"].verdict == verdicts[3].verdict


def test_a_folder_with_one_file(tmp_path: Path) -> None:
    file = gguf_file(tmp_path)
    (tmp_path / "README.md").write_text("# A model")
    assert load_head(str(tmp_path)).problem().fingerprint == load_head(str(file)).problem().fingerprint
    shutil.copy(file, tmp_path / "other.gguf")
    assert "holds several GGUF files: name one of model.gguf, other.gguf" in message(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert "config.json" in message(tmp_path)


def test_a_file_by_its_content(tmp_path: Path) -> None:
    """A blob of a cache has no ending."""
    blob = gguf_file(tmp_path).rename(tmp_path / "sha256-0123")
    assert load_head(str(blob)).v == V


def test_parts(tmp_path: Path) -> None:
    whole = load_head(str(gguf_file(tmp_path))).problem().fingerprint
    (tmp_path / "model.gguf").unlink()
    first = gguf_file(tmp_path, split=1)
    parts = sorted(tmp_path.glob("*.gguf"))
    assert len(parts) >= 3
    assert first == parts[0]
    for named in (tmp_path, *parts):
        assert load_head(str(named)).problem().fingerprint == whole
    parts[1].rename(tmp_path / "away")
    assert f"{parts[1].name} of a model in {len(parts)} parts is missing" in message(first)
    shutil.copy(parts[2], parts[1])
    assert "says that it is part 3, not 2" in message(first)
    alone = first.rename(tmp_path / "renamed.gguf")
    assert f"says that it is one of {len(parts)} parts" in message(alone)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gguf_file(tmp_path)
    types.stored_types.cache_clear()
    for module in ("gguf", "gguf.constants", "gguf.quants"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match="pip install gguf"):
        load_head(str(file))
    types.stored_types.cache_clear()


def test_what_needs_the_whole_model_says_so(tmp_path: Path) -> None:
    file = gguf_file(tmp_path)
    words = {"scan": "a whole model can only be run from its folder", "search": "has no inputs to search"}
    for command in (("scan", file, "--self-check"), ("search", file, "--budget", "1")):
        outcome = reach(*command, "--out", tmp_path / "run")
        assert words[str(command[0])] in outcome.complaint


# --- the table of stored types --------------------------------------------------------------------------------------


def bare(norm: str, **more: np.ndarray) -> Any:
    return package.load({"W": ROWS, "gamma": GAMMA, "norm": norm, "eps": 1e-5, **more})


@pytest.mark.parametrize(
    ("norm", "more"), [("layernorm", {"beta": BETA, "b": BIAS}), ("rmsnorm", {}), ("rmsnorm", {"b": BIAS})]
)
def test_a_head_comes_back_from_a_file(norm: str, more: dict[str, np.ndarray], tmp_path: Path) -> None:
    head = bare(norm, **more)
    assert read_back(head, "F32", tmp_path).problem().fingerprint == head.problem().fingerprint
    short = read_back(head, "Q6_K", tmp_path)  # blocks of 256 that hold a row of 32
    block = q6_k(np.pad(ROWS, ((0, 0), (0, 256 - D))))
    assert short.weight.tolist() == [of_q6_k(row)[:D] for row in block]
    assert short.d == D
    assert [short.gamma is None, short.beta is None, short.bias is None] == [
        False, "beta" not in more, "b" not in more
    ]  # fmt: skip


def test_which_tokens_a_type_moves() -> None:
    """A row inside the hull of others by a hair is outside after rounding, and one outside is inside."""
    rows = np.tile(np.eye(D, dtype=np.float32), (2, 1))[: D + 2] + 0.001
    rows[D], rows[D + 1] = rows[:D].mean(axis=0), 1.0
    head = package.load({"W": rows, "norm": "rmsnorm"})
    before = package.scan(head, jobs=1)
    found = change(head, before, "Q4_0")
    assert before.unspeakable.tolist() == [D]
    after = set(found.verdicts.unspeakable.tolist())
    assert found.lost == sorted(after - {D})
    assert found.won == sorted({D} - after)
    table = markdown(head, before, [found]).splitlines()
    assert table[-1].startswith("| Q4_0 | 4.5 | ")
    assert len(table) == 4
