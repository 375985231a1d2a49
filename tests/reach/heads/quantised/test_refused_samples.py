"""Samples of the libraries with something wrong in them: one line that says what."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_quantised import complaint, model_folder, packed
from torch import Tensor

from reach.heads.load import load_head
from reach.heads.quantised.bits import unpack

SAMPLES = Path(__file__).parent / "samples"
Tensors = dict[str, Tensor]
Entry = dict[str, Any]


def sample(name: str) -> tuple[Tensors, dict[str, Any], Tensor]:
    """The tensors of a head by the ends of their names, its config's entries, and what it means."""
    path = SAMPLES / f"{name}.safetensors"
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    head = {name.removeprefix("lm_head."): tensor for name, tensor in load_file(path).items()}
    return head, config, head.pop("expected")


def folder_of(path: Path, head: Tensors, config: dict[str, Any], shape: torch.Size) -> Path:
    return model_folder(path, {f"lm_head.{end}": part for end, part in head.items()}, tuple(shape), **config)


def state(**changes: Any) -> Callable[[Tensors, Entry], None]:
    """Change the settings that bitsandbytes keeps in a tensor."""

    def change(head: Tensors, _: Entry) -> None:
        end = next(end for end in head if "quant_state" in end)
        settings = json.loads(bytes(head[end].tolist())) | changes
        head[end] = torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)

    return change


def put(end: str, tensor: Tensor) -> Callable[[Tensors, Entry], None]:
    return lambda head, _: head.update({end: tensor})


def drop(end: str) -> Callable[[Tensors, Entry], None]:
    def change(head: Tensors, _: Entry) -> None:
        del head[end]

    return change


def said(**changes: Any) -> Callable[[Tensors, Entry], None]:
    return lambda _, entry: entry.update(changes)


def scheme(**changes: Any) -> Callable[[Tensors, Entry], None]:
    return lambda _, entry: entry["config_groups"]["group_0"]["weights"].update(changes)


NF4, NESTED, INT8 = "bitsandbytes-nf4", "bitsandbytes-nf4-nested", "bitsandbytes-int8"
W4, ASYMMETRIC, W3 = "compressed-w4a16-group", "compressed-w4a16-asymmetric", "compressed-w3a16-channel"
FP8, BLOCK, TENSOR = "compressed-fp8-channel", "compressed-fp8-block", "compressed-w8a8-tensor"
MLX = "mlx-4-bit"

REFUSED: list[tuple[str, Callable[[Tensors, Entry], None], str]] = [
    (NF4, state(shape=[24, 64]), "holds 3072 numbers of 4 bits, but its state says 'nf4', 24 rows and 64 columns"),
    (NF4, state(shape=[1536, 2]), "2 columns are not a multiple of the block size 64"),
    (NF4, state(shape="wide"), "its state says shape 'wide'"),
    (NF4, state(shape=[24, -128]), "its shape is -128, but must be a whole number"),
    (NF4, state(dtype="float64"), "and type 'float64'"),
    (NF4, state(quant_type="fp4"), "but its state says 'fp4'"),
    (NF4, state(blocksize=128), "weight.absmax has shape (48,), where the other numbers ask for (24,)"),
    (NF4, state(blocksize=0), "blocksize is 0, but must be a whole number"),
    (NF4, put("weight.quant_state.bitsandbytes__nf4", torch.zeros(3, dtype=torch.uint8)), "holds no settings"),
    (NF4, put("weight.quant_map", torch.linspace(-1, 1, 16)), "quant_map holds other values than those of nf4"),
    (NF4, put("weight.absmax", torch.full((48,), torch.nan)), "lm_head.weight.absmax holds NaN or Inf"),
    (NF4, put("weight", torch.zeros(1536, 1)), "lm_head.weight is stored as float32, not as uint8"),
    (NF4, drop("weight.quant_state.bitsandbytes__nf4"), "bitsandbytes__nf4 (or fp4) is missing"),
    (NF4, put("weight.other", torch.zeros(3)), "lm_head.weight.other may change it"),
    (NESTED, state(nested_offset=None), "nested_offset is None, but must be a number"),
    (NESTED, state(nested_dtype="float16"), "nested_dtype is 'float16'"),
    (NESTED, state(nested_blocksize=64), "weight.nested_absmax has shape (2,), where the other numbers ask for (5,)"),
    (NESTED, drop("weight.nested_quant_map"), "lm_head.weight.nested_quant_map is missing"),
    (INT8, put("SCB", torch.ones(23)), "SCB has shape (23,), where the other numbers ask for (24,)"),
    (INT8, put("weight", torch.ones(24, 64)), "lm_head.weight is stored as float32, not as int8"),
    (INT8, put("weight_format", torch.tensor(2, dtype=torch.uint8)), "its numbers are not row by row"),
    (W4, said(format="marlin-24"), "format is 'marlin-24', and only pack-quantized"),
    (W4, said(format=None), "format is None"),
    (W4, said(ignore=["lm_head"]), "no group of its config takes it in"),
    (W4, said(transform_config={"config_groups": {}}), "the matrix is rotated before it is used"),
    (W4, scheme(num_bits=8), "where 40 rows of 96 numbers of 8 bits need (40, 24) without a gap"),
    (W4, scheme(num_bits="4"), "num_bits is '4', but must be a whole number from 1 to 8"),
    (W4, scheme(type="float"), "pack-quantized holds int alone"),
    (W4, scheme(group_size=48), "weight_scale has shape (40, 3), where the other numbers ask for (40, 2)"),
    (W4, scheme(group_size=36), "96 columns are not a multiple of the group size 36"),
    (W4, scheme(strategy="token"), "strategy is 'token', and only tensor, channel, group and block"),
    (W4, put("weight_shape", torch.tensor([40, 104])), "where 40 rows of 104 numbers of 4 bits need (40, 13)"),
    (W4, put("weight_shape", torch.tensor([40, -96])), "weight_shape is -96"),
    (W4, drop("weight_shape"), "lm_head.weight_shape is missing"),
    (W4, put("weight_g_idx", torch.zeros(96, dtype=torch.int32)), "does not fill each group with 32 columns"),
    (W4, put("weight_zero_point", torch.ones(5, 3, dtype=torch.int32)), "symmetric, but lm_head.weight_zero_point"),
    (W4, put("weight_scale", torch.full((40, 3), torch.inf)), "weight_scale holds NaN or Inf"),
    (W4, said(format="nvfp4-pack-quantized"), "format is 'nvfp4-pack-quantized', and only"),
    (W4, said(config_groups={"group_0": {"targets": ["Linear"], "weights": True}}), "its weights are True"),
    (W4, put("weight_global_scale", torch.ones(1)), "lm_head.weight_global_scale may change it"),
    (W3, put("weight_packed", torch.ones(40, 10, dtype=torch.int32)), "numbers of 3 bits need (40, 9) without a gap"),
    (ASYMMETRIC, drop("weight_zero_point"), "lm_head.weight_zero_point is missing"),
    (ASYMMETRIC, put("weight_zero_point", torch.ones(4, 3, dtype=torch.int32)), "ask for (5, 3)"),
    (FP8, scheme(num_bits=4), "its weights are 'float' of 4 bits"),
    (FP8, scheme(type="int"), "lm_head.weight is stored as float8_e4m3fn, not as int8"),
    (FP8, scheme(strategy="tensor"), "weight_scale has shape (40, 1), not one number"),
    (BLOCK, scheme(block_structure=[16]), "block_structure is [16]"),
    (BLOCK, scheme(block_structure=[8, 48]), "weight_scale has shape (3, 2), where the other numbers ask for (5, 2)"),
    (TENSOR, scheme(strategy="channel"), "weight_scale has shape (1,), where the other numbers ask for (40,)"),
    (MLX, said(bits=7), "its bits are 7 and its groups 64; known are 2, 3, 4, 5, 6, 8"),
    (MLX, said(bits=True), "its bits are True"),
    (MLX, said(group_size=48), "its groups 48"),
    (MLX, said(mode="mxfp4"), "mode is 'mxfp4', and only affine is known"),
    (MLX, said(bits=8), "scales has shape (24, 2), where the other numbers ask for (24, 1)"),
    (MLX, said(bits=3), "lm_head.weight has 16 words a row"),
    (MLX, said(lm_head=False), "its config says that lm_head is not quantised"),
    (MLX, drop("biases"), "lm_head.biases is missing"),
    (MLX, put("weight", torch.ones(24, 16)), "lm_head.weight is stored as float32, not as uint32"),
    (MLX, put("scales", torch.full((24, 2), torch.nan).half()), "lm_head.scales holds NaN or Inf"),
]


@pytest.mark.parametrize(
    ("name", "change", "reason"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_contradictory_numbers(
    name: str, change: Callable[[Tensors, Entry], None], reason: str, tmp_path: Path
) -> None:
    head, config, expected = sample(name)
    change(head, config["quantization_config"])
    message = complaint(folder_of(tmp_path, head, config, expected.shape))
    assert reason in message
    assert "NaN or Inf" in reason or "dequantise the model" in message


def test_columns_grouped_by_activation(tmp_path: Path) -> None:
    """The same numbers with the columns mixed, and an index that says from where."""
    head, config, expected = sample(W4)
    mixed = torch.randperm(96, generator=torch.Generator().manual_seed(1))
    head["weight_packed"] = packed(unpack(head["weight_packed"], 4, 96)[:, mixed], 4)
    head["weight_g_idx"] = (mixed // 32).int()
    read = load_head(str(folder_of(tmp_path, head, config, expected.shape)))
    assert torch.equal(read.weight, expected[:, mixed])


def test_zero_points_that_are_not_packed(tmp_path: Path) -> None:
    """As earlier versions of the library store them."""
    head, config, expected = sample(ASYMMETRIC)
    packed_zeros = head["weight_zero_point"]
    head["weight_zero_point"] = (unpack(packed_zeros.T.contiguous(), 4, 40).T - 8).to(torch.int8)
    read = load_head(str(folder_of(tmp_path, head, config, expected.shape)))
    assert torch.equal(read.weight, expected)


def test_activations_that_are_rounded_too_are_said(tmp_path: Path) -> None:
    head, config, expected = sample(FP8)
    config["quantization_config"]["config_groups"]["group_0"]["input_activations"] = {"num_bits": 8, "dynamic": True}
    read = load_head(str(folder_of(tmp_path, head, config, expected.shape)))
    assert torch.equal(read.weight, expected)
    assert "in its product with it the model also rounds the state, so" in read.notes[0]


def test_mlx_settings_of_the_head_alone(tmp_path: Path) -> None:
    head, config, expected = sample("mlx-6-bit")
    config = {"quantization": {"group_size": 32, "bits": 4, "lm_head": {"group_size": 64, "bits": 6}}}
    read = load_head(str(folder_of(tmp_path, head, config, expected.shape)))
    assert torch.equal(read.weight, expected)
