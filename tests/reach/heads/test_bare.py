"""Heads without a model: one file of arrays, one domain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reach.heads.bare import load_bare_head, parse_domain
from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from solvers.domains import Ball, Box, Free
from solvers.errors import BadInput

W = np.arange(12, dtype=np.float32).reshape(4, 3)
GAMMA, BETA, B = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.0, -0.5]), np.arange(4.0)


def saved(folder: Path, **arrays: object) -> Path:
    path = folder / "head.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def complaint(file: Path, domain: str | None = "free", **by_hand: object) -> str:
    with pytest.raises(BadInput) as caught:
        load_bare_head(file, domain, overrides=HeadOverrides(**by_hand))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bare_matrix(tmp_path: Path) -> None:
    problem = load_bare_head(saved(tmp_path, W=W), "free").problem()
    assert problem.domain == Free()
    assert problem.zero_offset
    assert torch.equal(problem.rows(slice(None)), torch.from_numpy(W).double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_safetensors(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_file({"W": torch.from_numpy(W).to(dtype), "b": torch.from_numpy(B)}, path, metadata={"format": "pt"})
    head = load_bare_head(path, "ball:2")
    assert head.weight.dtype == dtype
    assert head.domain == Ball(squared_radius=4)
    assert head.problem().offset.tolist() == [0, 1, 2, 3]


def test_the_arrays_tell_the_norm(tmp_path: Path) -> None:
    both = load_bare_head(saved(tmp_path, W=W, gamma=GAMMA, beta=BETA), "norm")
    assert (both.norm, both.eps, both.domain) == ("layernorm", 1e-5, Ball(squared_radius=3))
    assert both.problem().centred
    assert load_bare_head(saved(tmp_path, W=W, gamma=GAMMA), "norm").norm == "rmsnorm"


def test_the_files_setting_wins_over_the_arrays_and_the_hand_over_both(tmp_path: Path) -> None:
    path = saved(tmp_path, W=W, gamma=GAMMA, norm="layernorm", eps=1e-3)
    assert load_bare_head(path, "norm").norm == "layernorm"
    assert load_bare_head(path, "norm").eps == 1e-3
    head = load_bare_head(path, "norm", overrides=HeadOverrides(norm="rmsnorm+1", eps=1e-2))
    assert (head.norm, head.eps) == ("rmsnorm", 1e-2)
    assert head.gamma is not None
    assert head.gamma.tolist() == [2, 3, 4]
    centred = load_bare_head(path, "norm", overrides=HeadOverrides(norm="layernorm+1"))
    assert centred.norm == "layernorm"
    assert centred.gamma is not None
    assert centred.gamma.tolist() == [2, 3, 4]
    path = tmp_path / "head.safetensors"
    save_file({"W": torch.from_numpy(W)}, path, metadata={"norm": "layernorm"})
    assert load_head(str(path)).norm == "layernorm"


def test_another_domain_keeps_the_folding(tmp_path: Path) -> None:
    """γ = (1, 2, 3) on W's first row (0, 1, 2) gives (0, 2, 6); W·β = 0·0.5 + 1·0 − 2·0.5 = −1."""
    problem = load_bare_head(saved(tmp_path, W=W, gamma=GAMMA, beta=BETA, norm="rmsnorm"), "box:-1,1").problem()
    assert isinstance(problem.domain, Box)
    assert problem.rows(slice(0, 1)).tolist() == [[0, 2, 6]]
    assert float(problem.offset[0]) == -1


def test_a_domain_must_be_said(tmp_path: Path) -> None:
    path = saved(tmp_path, W=W)
    expected = "has no norm, so say what z ranges over: --domain free, ball:R or box:LO,HI"
    assert expected in complaint(path, None)
    assert expected in complaint(path, "norm")


def test_a_big_endian_array(tmp_path: Path) -> None:
    assert load_bare_head(saved(tmp_path, W=W.astype(">f4")), "free").weight.tolist() == W.tolist()


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"b": B}, "has no W: store the output matrix (v, d) under that name"),
        ({"W": W[0]}, "W has shape (3,), but must be a matrix (v, d)"),
        ({"W": W, "b": B[:3]}, "b has shape (3,), but W asks for (4,)"),
        ({"W": W, "gamma": B}, "gamma has shape (4,), but W asks for (3,)"),
        ({"W": W, "weights": W}, "holds weights, but a bare head has only W, b, gamma, beta, norm, eps"),
        ({"W": W.astype(np.int32)}, "W is stored as int32; use float16, float32 or float64"),
        ({"W": np.array([[object()]])}, "holds pickled objects, which are never loaded"),
        ({"W": np.full((4, 3), np.nan)}, "W holds NaN or Inf in rows 0, 1, 2, 3"),
        ({"W": W, "beta": BETA}, "holds beta without gamma: say which norm it belongs to with --norm"),
        ({"W": W, "gamma": GAMMA, "norm": "none"}, "norm is none: drop one of them"),
        ({"W": W, "norm": "batchnorm"}, "norm is 'batchnorm': choose one of layernorm"),
        ({"W": W, "gamma": GAMMA, "eps": "small"}, "eps is 'small', but must be a number"),
        ({"W": W, "gamma": GAMMA, "eps": 0.0}, "eps = 0.0, but it must be > 0"),
    ],
)
def test_bad_files(arrays: dict[str, object], expected: str, tmp_path: Path) -> None:
    assert expected in complaint(saved(tmp_path, **arrays))


def test_damaged_files(tmp_path: Path) -> None:
    path = saved(tmp_path, W=W)
    path.write_bytes(path.read_bytes()[:100])
    assert "is truncated or no .npz archive" in complaint(path)
    np.save(tmp_path / "array.npy", W)
    (tmp_path / "array.npy").rename(path)
    assert "is no .npz archive: write it with numpy.savez" in complaint(path)
    other = tmp_path / "head.safetensors"
    other.write_bytes(b"\x00" * 30)
    assert "is truncated or damaged" in complaint(other)
    text = tmp_path / "head.txt"
    text.write_text("0 1")
    assert "a bare head is a .npz or .safetensors file" in complaint(text)


def test_a_models_own_file_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({f"layer.{n}": torch.ones(2) for n in range(9)}, path)
    assert "and 5 more, but a bare head has only W, b, gamma, beta; a model is given by its folder" in complaint(path)


def test_integers_in_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_file({"W": torch.ones(4, 3, dtype=torch.int8)}, path)
    assert "W is stored as I8; use one of float16" in complaint(path)


def test_tensor_names_cannot_be_given(tmp_path: Path) -> None:
    assert "--weight-tensor is for model folders" in complaint(saved(tmp_path, W=W), weight_tensor="W")


def test_domains() -> None:
    assert parse_domain("free", 3) == Free()
    assert parse_domain("norm", 3) == "norm"
    assert parse_domain("ball:0.5", 3) == Ball(squared_radius=0.25)
    box = parse_domain("box:-1,2.5", 3)
    assert isinstance(box, Box)
    assert box.lo.tolist() == [-1] * 3
    assert box.hi.tolist() == [2.5] * 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sphere",
        "ball",
        "ball:",
        "ball:x",
        "ball:0",
        "ball:-1",
        "ball:nan",
        "box:1",
        "box:2,1",
        "free:3",
        "box:1,2,3",
    ],
)
def test_bad_domains(text: str) -> None:
    with pytest.raises(BadInput, match=f"--domain {text}: "):
        parse_domain(text, 3)


def test_a_bias_may_be_stored_as_a_row(tmp_path: Path) -> None:
    head = load_bare_head(saved(tmp_path, W=W, b=B[None]), "free")
    assert head.bias is not None
    assert head.bias.tolist() == B.tolist()
