"""bitsandbytes: int8 rows with a largest value each, or 4-bit codes in blocks with a largest value each.

int8: q·SCB·(1/127) in float32, one product after the other, as by its `int8_vectorwise_dequant`. 4 bit: the code's
value times the block's largest value in float32, rounded to the type of the original matrix, as by its
`dequantize_4bit`; the largest values themselves may be stored in 8 bits with an offset.

Reference:
    Dettmers, Lewis, Belkada & Zettlemoyer (2022), *LLM.int8()*, arXiv:2208.07339; Dettmers, Pagnoni, Holtzman &
    Zettlemoyer (2023), *QLoRA: Efficient Finetuning of Quantized LLMs*, arXiv:2305.14314.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from reach.heads.quantised.module import Dequantised, QuantisedModule

_INVERSE_127 = 7.874015718698502e-3

_STATE = "weight.quant_state.bitsandbytes__"

_HALF_OF_FP4 = (0.0, 0.0625 / 12, 8 / 12, 1.0, 4 / 12, 6 / 12, 2 / 12, 3 / 12)
_CODES: Mapping[str, tuple[float, ...]] = {
    "fp4": (*_HALF_OF_FP4, *(-x for x in _HALF_OF_FP4)),
    "nf4": (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
}  # fmt: skip
"""The values of the sixteen codes, which the library's kernels have built in."""

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def recognised(module: QuantisedModule) -> bool:
    """Whether a module is stored so."""
    said = module.quantiser.method == "bitsandbytes"
    return said and (module.holds("weight", "SCB") or module.holds("weight", "weight.absmax"))


def dequantise(module: QuantisedModule) -> Dequantised:
    """W of a module.

    Raises:
        BadInput: a tensor is missing or of another shape than the others, or a setting is unknown.
    """
    return _int8(module) if module.holds("SCB") else _four_bit(module)


def _int8(module: QuantisedModule) -> Dequantised:
    module.only("weight", "SCB", "weight_format")
    q = module.matrix("weight", torch.int8)
    largest = module.shaped("SCB", (q.shape[0],), torch.float32)
    if module.holds("weight_format") and bool(module.tensor("weight_format", torch.uint8).any()):
        raise module.refused(f"{module.path}.weight_format says that its numbers are not row by row")

    def rows(block: slice) -> Tensor:
        return q[block] * largest[block].unsqueeze(1) * _INVERSE_127

    matrix = module.rows(q.shape[0], q.shape[1], torch.float32, rows)
    return module.made(matrix, "bitsandbytes int8, one scale a row", "rounds the state to 8 bits")


def _four_bit(module: QuantisedModule) -> Dequantised:
    kind = next((kind for kind in _CODES if module.holds(f"{_STATE}{kind}")), None)
    if kind is None:
        raise module.refused(f"{module.path}.{_STATE}nf4 (or fp4) is missing")
    parts = ["weight", "weight.absmax", "weight.quant_map", f"{_STATE}{kind}"]
    module.only(*parts, "weight.nested_absmax", "weight.nested_quant_map")
    packed = module.tensor("weight", torch.uint8).flatten()
    state = _state(module, f"{_STATE}{kind}")
    v, d, dtype = _shape(module, state)
    if state.get("quant_type") != kind or packed.numel() * 2 != v * d:
        raise module.refused(
            f"{module.path}.weight holds {packed.numel() * 2} numbers of 4 bits, but its state says "
            f"{state.get('quant_type')!r}, {v} rows and {d} columns"
        )
    size = module.whole("blocksize", state.get("blocksize"))
    if d % size:
        raise module.refused(
            f"its {d} columns are not a multiple of the block size {size}, and the library's kernels for different "
            "devices read that differently"
        )
    values = torch.tensor(_CODES[kind], dtype=torch.float32)
    if not torch.equal(module.shaped("weight.quant_map", (16,), torch.float32), values):
        raise module.refused(f"{module.path}.weight.quant_map holds other values than those of {kind}")
    largest = _largest(module, state, -(-v * d // size))

    def rows(block: slice) -> Tensor:
        first, last = block.start * d, block.stop * d
        two = packed[first // 2 : last // 2].to(torch.int64)
        codes = torch.stack([two >> 4, two & 15], dim=1).flatten()
        numbers = values[codes] * largest[torch.arange(first, last) // size]
        return numbers.reshape(-1, d).to(dtype)

    nested = "" if not module.holds("weight.nested_absmax") else ", whose largest values are 8 bit"
    matrix = module.rows(v, d, dtype, rows)
    return module.made(matrix, f"bitsandbytes {kind}, blocks of {size}{nested}")


def _largest(module: QuantisedModule, state: Mapping[str, Any], blocks: int) -> Float32[Tensor, " b"]:
    """The largest value of each block."""
    if not module.holds("weight.nested_absmax"):
        return module.shaped("weight.absmax", (blocks,), torch.float32)
    codes = module.shaped("weight.absmax", (blocks,), torch.uint8)
    values = module.shaped("weight.nested_quant_map", (256,), torch.float32)
    size = module.whole("nested_blocksize", state.get("nested_blocksize"))
    scales = module.shaped("weight.nested_absmax", (-(-blocks // size),), torch.float32)
    offset = state.get("nested_offset")
    if isinstance(offset, bool) or not isinstance(offset, (int, float)) or not math.isfinite(offset):
        raise module.refused(f"its nested_offset is {offset!r}, but must be a number")
    if state.get("nested_dtype") != "float32":
        raise module.refused(f"its nested_dtype is {state.get('nested_dtype')!r}, and only float32 is known")
    product = values[codes.to(torch.int64)] * scales[torch.arange(blocks) // size]
    return product + torch.tensor(float(offset), dtype=torch.float32)


def _state(module: QuantisedModule, end: str) -> Mapping[str, Any]:
    try:
        state = json.loads(bytes(module.tensor(end, torch.uint8).flatten().tolist()))
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise module.refused(f"{module.path}.{end} holds no settings")
    return state


def _shape(module: QuantisedModule, state: Mapping[str, Any]) -> tuple[int, int, torch.dtype]:
    shape, dtype = state.get("shape"), _DTYPES.get(str(state.get("dtype")))
    if not isinstance(shape, list) or len(shape) != 2 or dtype is None:
        raise module.refused(f"its state says shape {shape!r} and type {state.get('dtype')!r}")
    v, d = (module.whole("shape", number, most=2**32) for number in shape)
    return v, d, dtype
