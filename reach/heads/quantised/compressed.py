"""compressed-tensors: (q − z)·s, packed in words (`pack-quantized`), as int8, or as 8-bit floats.

The steps are those of the `decompress` of the package compressed-tensors, in the type of the scales: q and z are
rounded to it (exactly, for they are small), then the difference, then the product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Int, Int32
from torch import Tensor

from reach.heads.quantised.bits import WORD, unpack, words_for
from reach.heads.quantised.module import EIGHT_BIT_FLOATS, FLOATS, Dequantised, QuantisedModule

_PACKED = "pack-quantized"
_PLAIN = ("int-quantized", "float-quantized", "naive-quantized")
_PARTS = ("weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx", "input_scale", "input_zero_point")


def recognised(module: QuantisedModule) -> bool:
    """Whether a module is stored so."""
    said = module.quantiser.method == "compressed-tensors"
    return said and (module.holds("weight_packed", "weight_scale") or module.holds("weight", "weight_scale"))


def dequantise(module: QuantisedModule) -> Dequantised:
    """W of a module.

    Raises:
        BadInput: a tensor is missing or of another shape than the others, or a setting is unknown.
    """
    settings = module.settings
    group = module.quantiser.group(module.path)
    if group is None:
        raise module.refused("no group of its config takes it in")
    scheme, form = group["weights"], group.get("format") or settings.get("format")
    read = _packed if form == _PACKED else _plain if form in _PLAIN else None
    if read is None:
        raise module.refused(f"its format is {form!r}, and only {', '.join((_PACKED, *_PLAIN))} are known")
    if not isinstance(scheme, Mapping):
        raise module.refused(f"its weights are {scheme!r}, but must be a table")
    if settings.get("transform_config"):
        raise module.refused("its config says transform_config: the matrix is rotated before it is used")
    module.only("weight_packed" if form == _PACKED else "weight", *_PARTS)
    found, name = read(module, scheme)
    activations = group.get("input_activations")
    return module.made(found, f"compressed-tensors {name}", "rounds the state" if activations else None)


def _packed(module: QuantisedModule, scheme: Mapping[str, Any]) -> tuple[Tensor, str]:
    bits = module.whole("num_bits", scheme.get("num_bits"), most=8)
    if scheme.get("type", "int") != "int":
        raise module.refused(f"its weights are of type {scheme['type']!r}, and {_PACKED} holds int alone")
    words = module.matrix("weight_packed", torch.int32)
    shape = module.shaped("weight_shape", (2,), torch.int64, torch.int32).tolist()
    v, d = (module.whole("weight_shape", number, most=2**32) for number in shape)
    if tuple(words.shape) != (v, words_for(d, bits)) or (
        WORD % bits and words_for(d, bits) == -(-d // (WORD // bits))
    ):
        # Earlier versions left bits of each word empty where they do not divide 32.
        raise module.refused(
            f"{module.path}.weight_packed has shape {tuple(words.shape)}, where {v} rows of {d} numbers of {bits} "
            f"bits need {(v, words_for(d, bits))} without a gap"
        )
    offset = 2 ** (bits - 1)

    def q(block: slice) -> Tensor:
        return unpack(words[block], bits, d) - offset

    matrix, scales = _scaled(module, scheme, v, d, q, bits)
    return matrix, f"{bits} bit, {scales}"


def _plain(module: QuantisedModule, scheme: Mapping[str, Any]) -> tuple[Tensor, str]:
    kind = scheme.get("type", "int")
    bits = module.whole("num_bits", scheme.get("num_bits"), most=8)
    floats = kind == "float"
    if kind not in ("int", "float") or (floats and bits != 8):
        raise module.refused(f"its weights are {kind!r} of {bits} bits")
    stored = module.matrix("weight", *((torch.float8_e4m3fn,) if floats else (torch.int8,)))
    matrix, scales = _scaled(module, scheme, stored.shape[0], stored.shape[1], lambda block: stored[block], bits)
    return matrix, f"{'FP8 e4m3' if floats else f'int8 ({bits} bit)'}, {scales}"


def _scaled(
    module: QuantisedModule, scheme: Mapping[str, Any], v: int, d: int, q: Callable[[slice], Tensor], bits: int
) -> tuple[Tensor, str]:
    """(q − z)·s over the groups of a scheme, and the groups in words."""
    strategy = scheme.get("strategy")
    if strategy == "block":
        return _blocks(module, scheme, v, d, q)
    size = module.whole("group_size", scheme.get("group_size")) if strategy == "group" else d
    if strategy not in ("tensor", "channel", "group"):
        raise module.refused(f"its strategy is {strategy!r}, and only tensor, channel, group and block are known")
    if d % size:
        raise module.refused(f"its {d} columns are not a multiple of the group size {size}")
    shape = (v, d // size)
    scale = module.tensor("weight_scale", *FLOATS)
    if strategy == "tensor":
        if scale.numel() != 1:
            raise module.refused(f"{module.path}.weight_scale has shape {tuple(scale.shape)}, not one number")
        scale = scale.reshape(1, 1).expand(v, 1)
    elif scale.ndim == 1 and shape[1] == 1:
        scale = module.shaped("weight_scale", (v,), *FLOATS).unsqueeze(1)
    else:
        scale = module.shaped("weight_scale", shape, *FLOATS)
    zero = _zero_points(module, scheme, strategy, shape, bits)
    group = _column_groups(module, d, size)

    def rows(block: slice) -> Tensor:
        numbers = q(block).to(scale.dtype)
        if zero is not None:
            numbers = numbers - zero[block].to(scale.dtype)[:, group]
        return numbers * scale[block][:, group]

    words = {"tensor": "one scale", "channel": "one scale a row"}.get(strategy, f"groups of {size}")
    return module.rows(v, d, scale.dtype, rows), words


def _blocks(
    module: QuantisedModule, scheme: Mapping[str, Any], v: int, d: int, q: Callable[[slice], Tensor]
) -> tuple[Tensor, str]:
    said = scheme.get("block_structure")
    if not isinstance(said, list) or len(said) != 2 or not scheme.get("symmetric", True):
        raise module.refused(f"its block_structure is {said!r}, symmetric {scheme.get('symmetric', True)!r}")
    tall, wide = (module.whole("block_structure", number) for number in said)
    scale = module.shaped("weight_scale", (-(-v // tall), -(-d // wide)), *FLOATS)

    def rows(block: slice) -> Tensor:
        above = scale[torch.arange(block.start, block.stop) // tall]
        return q(block).to(scale.dtype) * above.repeat_interleave(wide, dim=1)[:, :d]

    return module.rows(v, d, scale.dtype, rows), f"blocks of {tall}×{wide}"


def _zero_points(
    module: QuantisedModule, scheme: Mapping[str, Any], strategy: str, shape: tuple[int, int], bits: int
) -> Int[Tensor, "v g"] | None:
    if scheme.get("symmetric", True):
        if module.holds("weight_zero_point") and bool(
            module.tensor("weight_zero_point", torch.int8, torch.int32, torch.int64, *EIGHT_BIT_FLOATS).any()
        ):
            raise module.refused(f"its config says symmetric, but {module.path}.weight_zero_point is not 0")
        return None
    stored = module.tensor("weight_zero_point", torch.int8, torch.int32)
    if stored.dtype == torch.int8:
        if strategy == "tensor" and stored.numel() == 1:
            return stored.reshape(1, 1).expand(shape[0], 1)
        return module.shaped("weight_zero_point", shape, torch.int8)
    v, groups = shape
    words: Int32[Tensor, "w g"] = module.shaped("weight_zero_point", (words_for(v, bits), groups), torch.int32)
    return unpack(words.T.contiguous(), bits, v).T - 2 ** (bits - 1)


def _column_groups(module: QuantisedModule, d: int, size: int) -> Int[Tensor, " d"]:
    """The group of each column: in their order, or as `weight_g_idx` says, which fills each group."""
    plain = torch.arange(d) // size
    if not module.holds("weight_g_idx"):
        return plain
    index = module.shaped("weight_g_idx", (d,), torch.int32, torch.int64).to(torch.int64)
    if bool((index == -1).any()):
        return plain  # what was not ordered by activation
    if not torch.equal(index.sort().values, plain):
        raise module.refused(f"{module.path}.weight_g_idx does not fill each group with {size} columns")
    return index
