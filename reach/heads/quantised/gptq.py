"""GPTQ: (q − z)·s, packed along the columns of the matrix, each column of a group of its own choice.

`qweight` holds q in words down the columns of Wᵀ, `qzeros` z in words along its rows, `scales` s, and `g_idx` the
group of each column of W. The first version of the format stores z − 1 in place of z. The product is rounded once, to
the type of the scales, as by the `dequantize_weight` of the package GPTQModel.

Reference:
    Frantar, Ashkboos, Hoefler & Alistarh (2023), *GPTQ: Accurate Post-Training Quantization for Generative
    Pre-trained Transformers*, arXiv:2210.17323.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int, Int32
from torch import Tensor

from reach.heads.quantised.bits import WORD, unpack
from reach.heads.quantised.module import FLOATS, Dequantised, QuantisedModule

_BITS = (2, 3, 4, 8)

_FIRST, _SECOND = "gptq", "gptq_v2"

_AUTO_ROUND = {"auto_round:auto_gptq": _FIRST, "auto_round:gptqmodel": _SECOND, "auto_round": _SECOND}
"""How AutoRound calls the two versions."""


def recognised(module: QuantisedModule) -> bool:
    """Whether a module is stored so."""
    method = module.quantiser.method
    packing = str(module.settings.get("packing_format"))
    said = method == "gptq" or (method == "auto-round" and packing in _AUTO_ROUND)
    return said and module.holds("qweight", "qzeros", "scales")


def dequantise(module: QuantisedModule) -> Dequantised:
    """W of a module.

    Raises:
        BadInput: a tensor is missing or of another shape than the others, or a setting is unknown.
    """
    module.only("qweight", "qzeros", "scales", "g_idx")
    first = _version(module) == _FIRST
    words = module.matrix("qweight", torch.int32)
    scales = module.matrix("scales", *FLOATS)
    packed_zeros = module.matrix("qzeros", torch.int32)
    groups, v = scales.shape
    bits = _bits(module, packed_zeros.shape[1], v)
    if words.shape[1] != v or words.shape[0] * WORD % bits:
        raise module.refused(f"{module.path}.qweight has shape {tuple(words.shape)}, but the scales are of {v} rows")
    d = words.shape[0] * WORD // bits
    size = _group_size(module, d, groups)
    module.shaped("qzeros", (groups, v * bits // WORD), torch.int32)
    zeros = unpack(packed_zeros, bits, v)
    if first:
        if bool((zeros == 2**bits - 1).any()):
            raise module.refused(
                f"{module.path}.qzeros holds {2**bits - 1}, which stands for {2**bits} or for 0, depending on the "
                "library that reads it"
            )
        zeros = zeros + 1
    group = _groups(module, d, groups, size)

    def rows(block: slice) -> Tensor:
        q = unpack(words[:, block].T.contiguous(), bits, d)
        z = zeros[:, block].T[:, group]
        return scales[:, block].T[:, group] * (q - z).to(scales.dtype)

    matrix = module.rows(v, d, scales.dtype, rows)
    return module.made(matrix, f"GPTQ {bits} bit, {_group_words(size, d)}")


def _version(module: QuantisedModule) -> str:
    settings = module.settings
    if module.quantiser.method == "auto-round":
        if settings.get("data_type", "int") != "int":
            raise module.refused(f"its data_type is {settings['data_type']!r}, and only int is known")
        return _AUTO_ROUND[str(settings["packing_format"])]
    said = settings.get("checkpoint_format") or settings.get("format") or _FIRST
    if said not in (_FIRST, _SECOND) or settings.get("is_marlin_format"):
        raise module.refused(f"its checkpoint_format is {said!r}, and only {_FIRST} and {_SECOND} are known")
    if settings.get("pack_dtype", "int32") != "int32":
        raise module.refused(f"its pack_dtype is {settings['pack_dtype']!r}, and only int32 is known")
    return str(said)


def _bits(module: QuantisedModule, words: int, v: int) -> int:
    """The bits of each number, by the tensors; a config that says another number of every module is refused."""
    bits = words * WORD // v
    if bits not in _BITS or bits * v != words * WORD:
        raise module.refused(f"{module.path}.qzeros has {words} words in a row for {v} numbers of 2, 3, 4 or 8 bits")
    said = module.settings.get("bits")
    own = _own(module)
    if own is not None:
        said = own.get("bits", said)
    elif module.settings.get("dynamic"):
        return bits  # patterns may give this module other bits
    if said != bits:
        raise module.refused(f"the config says {said!r} bits, but it is stored in {bits}")
    return bits


def _group_size(module: QuantisedModule, d: int, groups: int) -> int:
    own = _own(module) or {}
    said = own.get("group_size", module.settings.get("group_size"))
    if said == -1:
        said = d
    size = module.whole("group_size", said)
    if -(-d // size) == groups:
        return min(size, d)
    if module.settings.get("dynamic") and d % groups == 0:
        return d // groups
    raise module.refused(f"{d} columns in groups of {size} need {-(-d // size)} scales each, but {groups} are stored")


def _own(module: QuantisedModule) -> Mapping[str, Any] | None:
    """What AutoRound says of this module alone."""
    extra = module.settings.get("extra_config")
    own = extra.get(module.path) if isinstance(extra, Mapping) else None
    return own if isinstance(own, Mapping) else None


def _groups(module: QuantisedModule, d: int, groups: int, size: int) -> Int[Tensor, " d"]:
    """The group of each column."""
    if not module.holds("g_idx"):
        if module.settings.get("desc_act"):
            raise module.refused(f"its config says desc_act, but {module.path}.g_idx is missing")
        return torch.arange(d) // size
    index: Int32[Tensor, " d"] = module.shaped("g_idx", (d,), torch.int32, torch.int64)
    if int(index.min()) < 0 or int(index.max()) >= groups:
        raise module.refused(f"{module.path}.g_idx names a group outside 0 to {groups - 1}")
    return index.to(torch.int64)


def _group_words(size: int, d: int) -> str:
    return "one group" if size >= d else f"groups of {size}"
