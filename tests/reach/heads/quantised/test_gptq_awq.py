"""GPTQ and AWQ heads, packed number by number, against (q − z)·s one entry after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_quantised import D, V, complaint, model_folder, numbers, packed, scales
from torch import Tensor

from reach.heads.load import load_head
from reach.heads.overrides import HeadOverrides
from reach.heads.quantised import module

SIZE = 32
"""Columns in a group."""


def gptq(bits: int, *, first: bool = True, order: Tensor | None = None, zeros: Tensor | None = None) -> Any:
    """The tensors of a GPTQ head, and the matrix that they mean."""
    q, s = numbers(bits, V, D), scales(D // SIZE, V)
    z = numbers(bits, D // SIZE, V, seed=4) if zeros is None else zeros
    z = z.clamp(min=1) if first and zeros is None else z
    group = torch.arange(D) // SIZE if order is None else order
    head = {
        "lm_head.qweight": packed(q, bits).T.contiguous(),
        "lm_head.qzeros": packed(z - 1 if first else z, bits),
        "lm_head.scales": s,
        "lm_head.g_idx": group.int(),
    }
    return head, meant(q, z.T[:, group], s.T[:, group])


def meant(q: Tensor, z: Tensor, s: Tensor) -> Tensor:
    """The difference times the scale, rounded to the scale's 16 bits, entry by entry."""
    entries = [
        [np.float16(factor) * np.float16(one - zero) for one, zero, factor in zip(*lines, strict=True)]
        for lines in zip(q.tolist(), z.tolist(), s.numpy(), strict=True)
    ]
    return torch.from_numpy(np.array(entries, dtype=np.float16))


def entry(bits: int = 4, **more: Any) -> dict[str, Any]:
    said = {"quant_method": "gptq", "bits": bits, "group_size": SIZE, "desc_act": False, "lm_head": True}
    return {"quantization_config": said | more}


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("form", ["gptq", None, "gptq_v2"])
def test_gptq(bits: int, form: str | None, tmp_path: Path) -> None:
    head, expected = gptq(bits, first=form != "gptq_v2")
    folder = model_folder(tmp_path, head, **entry(bits, checkpoint_format=form))
    read = load_head(str(folder))
    assert read.weight.dtype == torch.float16
    assert torch.equal(read.weight, expected)
    assert read.tie == (f"untied: lm_head.qweight serves: GPTQ {bits} bit, groups of {SIZE}, dequantised to float16")
    assert read.tensors["weight"] == "lm_head.qweight"


@pytest.mark.parametrize("numbers_at_once", [1, 700, D * 24])
def test_in_blocks(numbers_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NUMBERS_AT_ONCE", numbers_at_once)
    head, expected = gptq(3)
    assert torch.equal(load_head(str(model_folder(tmp_path / "gptq", head, **entry(3)))).weight, expected)
    head, expected = awq()
    assert torch.equal(load_head(str(model_folder(tmp_path / "awq", head, **AWQ))).weight, expected)


@pytest.mark.parametrize("bits", [3, 4])
def test_columns_in_the_order_of_their_activations(bits: int, tmp_path: Path) -> None:
    order = (torch.arange(D) // SIZE)[torch.randperm(D, generator=torch.Generator().manual_seed(0))]
    head, expected = gptq(bits, order=order)
    folder = model_folder(tmp_path / "a", head, **entry(bits, desc_act=True))
    assert torch.equal(load_head(str(folder)).weight, expected)
    del head["lm_head.g_idx"]
    without = model_folder(tmp_path / "b", head, **entry(bits, desc_act=True))
    assert "config says desc_act, but lm_head.g_idx is missing" in complaint(without)


def test_one_group_for_all_columns(tmp_path: Path) -> None:
    q, s, z = numbers(4, V, D), scales(1, V), numbers(4, 1, V, seed=5).clamp(min=1)
    head = {"lm_head.qweight": packed(q, 4).T, "lm_head.qzeros": packed(z - 1, 4), "lm_head.scales": s}
    read = load_head(str(model_folder(tmp_path, head, **entry(group_size=-1))))
    assert torch.equal(read.weight, meant(q, z.T.expand(V, D), s.T.expand(V, D)))
    assert "GPTQ 4 bit, one group" in read.tie


@pytest.mark.parametrize("packing", ["auto_round:auto_gptq", "auto_round:gptqmodel", "auto_round"])
def test_autoround_calls_them_by_other_names(packing: str, tmp_path: Path) -> None:
    head, expected = gptq(4, first=packing == "auto_round:auto_gptq")
    said = entry(8, quant_method="auto-round", packing_format=packing, extra_config={"lm_head": {"bits": 4}})
    assert torch.equal(load_head(str(model_folder(tmp_path, head, **said))).weight, expected)


def test_patterns_may_give_the_head_other_bits(tmp_path: Path) -> None:
    head, expected = gptq(8)
    folder = model_folder(tmp_path, head, **entry(4, dynamic={"lm_head": {"bits": 8}}))
    assert torch.equal(load_head(str(folder)).weight, expected)


def test_a_quantised_head_that_is_named_by_hand(tmp_path: Path) -> None:
    """Also where nothing else is known of the architecture."""
    head, expected = gptq(4)
    known = HeadOverrides(weight_tensor="lm_head.qweight", norm="rmsnorm", gamma_tensor="model.norm.weight")
    read = load_head(str(model_folder(tmp_path, head, **entry(), model_type="novel")), overrides=known)
    assert torch.equal(read.weight, expected)
    assert read.tie == "chosen by hand: lm_head.qweight: GPTQ 4 bit, groups of 32, dequantised to float16"


GPTQ_REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "Marlin": ({}, {"checkpoint_format": "marlin"}, "checkpoint_format is 'marlin', and only gptq and gptq_v2"),
    "an old mark of Marlin": ({}, {"is_marlin_format": True}, "and only gptq and gptq_v2"),
    "other words": ({}, {"pack_dtype": "int8"}, "pack_dtype is 'int8'"),
    "other bits": ({}, {"bits": 8}, "the config says 8 bits, but it is stored in 4"),
    "no bits": ({}, {"bits": None}, "the config says None bits"),
    "other groups": ({}, {"group_size": 64}, "96 columns in groups of 64 need 2 scales each, but 3 are stored"),
    "no groups": ({}, {"group_size": "32"}, "group_size is '32', but must be a whole number"),
    "another width": ({"qweight": torch.ones(5, V, dtype=torch.int32)}, {}, "need 2 scales each, but 3 are stored"),
    "another vocabulary": (
        {"qweight": torch.ones(12, V + 8, dtype=torch.int32)},
        {},
        "qweight has shape (12, 72), but the scales are of 64 rows",
    ),
    "zeros of another width": ({"qzeros": torch.ones(3, 9, dtype=torch.int32)}, {}, "has 9 words in a row for 64"),
    "zeros of other groups": ({"qzeros": torch.ones(2, 8, dtype=torch.int32)}, {}, "where the other numbers ask for"),
    "a group that there is not": ({"g_idx": torch.full((D,), 3, dtype=torch.int32)}, {}, "outside 0 to 2"),
    "an index of another length": ({"g_idx": torch.zeros(D + 1, dtype=torch.int32)}, {}, "ask for (96,)"),
    "words as floats": ({"qweight": torch.ones(12, V)}, {}, "qweight is stored as float32, not as int32"),
    "NaN": ({"scales": torch.full((3, V), torch.nan).half()}, {}, "lm_head.scales holds NaN or Inf in rows 0, 1, 2"),
    "too large": ({"scales": torch.full((3, V), 6e4).half()}, {}, "lm_head as dequantised holds NaN or Inf"),
    "a plain matrix too": ({"weight": torch.ones(V, D)}, {}, "lm_head.weight may change it"),
    "something unheard of": ({"rotation": torch.ones(D, D)}, {}, "lm_head.rotation may change it"),
}


@pytest.mark.parametrize("form", GPTQ_REFUSED)
def test_contradictory_numbers_of_gptq(form: str, tmp_path: Path) -> None:
    tensors, said, reason = GPTQ_REFUSED[form]
    head, _ = gptq(4)
    head |= {f"lm_head.{end}": tensor for end, tensor in tensors.items()}
    assert reason in complaint(model_folder(tmp_path, head, **entry(**said)))


def test_a_zero_point_that_libraries_read_in_two_ways(tmp_path: Path) -> None:
    """Stored as z − 1 = −1, so as all ones: some libraries add 1 and get 0, others 16."""
    zeros = numbers(4, D // SIZE, V, seed=4)
    zeros[1, 7] = 0
    stored = (zeros - 1) % 16
    head, _ = gptq(4, first=False, zeros=stored)
    assert "qzeros holds 15, which stands for 16 or for 0" in complaint(model_folder(tmp_path, head, **entry()))
    again = model_folder(tmp_path / "second", head, **entry(checkpoint_format="gptq_v2"))
    assert load_head(str(again)).v == V


def test_a_config_that_says_tied_beside_a_head_of_its_own(tmp_path: Path) -> None:
    head, _ = gptq(4)
    folder = model_folder(tmp_path, head, **entry(), tie_word_embeddings=True)
    assert "sets tie_word_embeddings, yet a head of its own is stored, quantised, as lm_head.qweight" in complaint(
        folder
    )


def test_two_heads_under_two_names(tmp_path: Path) -> None:
    head, _ = gptq(4)
    head |= {f"language_model.{name}": tensor.clone() for name, tensor in head.items()}
    assert "has several heads, lm_head.qweight, language_model.lm_head.qweight" in complaint(
        model_folder(tmp_path, head, **entry())
    )


# --- AWQ ------------------------------------------------------------------------------------------------------------

AWQ = {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": SIZE, "version": "gemm"}}


def interleaved(rows: Tensor) -> Tensor:
    """Eight neighbours to a word: the even ones in the low half, the odd ones in the high half."""
    eights = rows.unflatten(1, (-1, 8))
    return packed(torch.cat([eights[:, :, 0::2], eights[:, :, 1::2]], dim=2).flatten(1), 4)


def awq() -> Any:
    q, z, s = numbers(4, V, D), numbers(4, D // SIZE, V, seed=6), scales(D // SIZE, V)
    head = {"lm_head.qweight": interleaved(q.T), "lm_head.qzeros": interleaved(z), "lm_head.scales": s}
    group = torch.arange(D) // SIZE
    return head, meant(q, z.T[:, group], s.T[:, group])


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"version": "GEMM"},
        {"quant_method": "auto-round", "packing_format": "auto_round:auto_awq", "version": None},
    ],
)
def test_awq(said: dict[str, Any], tmp_path: Path) -> None:
    head, expected = awq()
    read = load_head(str(model_folder(tmp_path, head, quantization_config=AWQ["quantization_config"] | said)))
    assert torch.equal(read.weight, expected)
    assert read.tie == "untied: lm_head.qweight serves: AWQ 4 bit, groups of 32, dequantised to float16"


@pytest.mark.parametrize(
    ("tensors", "said", "reason"),
    [
        ({}, {"version": "gemv"}, "version is 'gemv', and only gemm is known"),
        ({}, {"bits": 8}, "the config says 8 bits"),
        ({}, {"zero_point": False}, "no zero points, but they are stored"),
        ({}, {"group_size": 64}, "96 columns are not a multiple of the group size 64"),
        ({}, {"group_size": 48}, "scales has shape (3, 64), where the other numbers ask for (2, 64)"),
        ({"qzeros": torch.ones(3, 7, dtype=torch.int32)}, {}, "ask for (3, 8)"),
        ({"g_idx": torch.ones(D, dtype=torch.int32)}, {}, "lm_head.g_idx may change it"),
        ({"scales": torch.full((3, V), torch.inf).half()}, {}, "lm_head.scales holds NaN or Inf"),
    ],
)
def test_contradictory_numbers_of_awq(
    tensors: dict[str, Tensor], said: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    head, _ = awq()
    head |= {f"lm_head.{end}": tensor for end, tensor in tensors.items()}
    folder = model_folder(tmp_path, head, quantization_config=AWQ["quantization_config"] | said)
    assert reason in complaint(folder)
