"""AWQ in its `gemm` version: (q − z)·s in 4 bits, eight columns of Wᵀ in each word, the even ones before the odd.

The product is rounded once, to the type of the scales, as by the `dequantize_gemm` of the package AutoAWQ.

Reference:
    Lin, Tang, Tang, Yang, Chen, Wang, Xiao, Dang, Gan & Han (2024), *AWQ: Activation-aware Weight Quantization for
    On-Device LLM Compression and Acceleration*, arXiv:2306.00978.
"""

from __future__ import annotations

import torch
from jaxtyping import Int32
from torch import Tensor

from reach.heads.quantised.bits import unpack
from reach.heads.quantised.module import FLOATS, Dequantised, QuantisedModule

_BITS, _IN_A_WORD = 4, 8

_PLACES = [0, 4, 1, 5, 2, 6, 3, 7]
"""Where in its word each of eight neighbouring columns lies: 0, 2, 4, 6, 1, 3, 5, 7 is the order of the packing."""

_AUTO_ROUND = "auto_round:auto_awq"


def recognised(module: QuantisedModule) -> bool:
    """Whether a module is stored so."""
    method = module.quantiser.method
    said = method == "awq" or (method == "auto-round" and module.settings.get("packing_format") == _AUTO_ROUND)
    return said and module.holds("qweight", "qzeros", "scales")


def dequantise(module: QuantisedModule) -> Dequantised:
    """W of a module.

    Raises:
        BadInput: a tensor is missing or of another shape than the others, or a setting is unknown.
    """
    module.only("qweight", "qzeros", "scales")
    settings = module.settings
    version = settings.get("version") or settings.get("format") or "gemm"
    if module.quantiser.method == "awq" and str(version).lower() != "gemm":
        raise module.refused(f"its version is {version!r}, and only gemm is known")
    if settings.get("zero_point") is False:
        raise module.refused("its config says that there are no zero points, but they are stored")
    if settings.get("bits", settings.get("w_bit")) != _BITS:
        raise module.refused(f"the config says {settings.get('bits')!r} bits, and only {_BITS} are known")
    words = module.matrix("qweight", torch.int32)
    d, v = words.shape[0], words.shape[1] * _IN_A_WORD
    said = settings.get("group_size", settings.get("q_group_size"))
    size = d if said == -1 else module.whole("group_size", said)
    if d % size:
        raise module.refused(f"its {d} columns are not a multiple of the group size {size}")
    scales = module.shaped("scales", (d // size, v), *FLOATS)
    zeros = _ordered(module.shaped("qzeros", (d // size, v // _IN_A_WORD), torch.int32))

    def rows(block: slice) -> Tensor:
        q = _ordered(words[:, block.start // _IN_A_WORD : block.stop // _IN_A_WORD])
        z = zeros[:, block].repeat_interleave(size, dim=0)
        product = (q - z).to(scales.dtype) * scales[:, block].repeat_interleave(size, dim=0)
        return product.T

    matrix = module.rows(v, d, scales.dtype, rows, step=_IN_A_WORD)
    return module.made(matrix, f"AWQ {_BITS} bit, groups of {size}")


def _ordered(words: Int32[Tensor, "k w"]) -> Int32[Tensor, "k n"]:
    numbers = unpack(words, _BITS, words.shape[1] * _IN_A_WORD)
    return numbers.unflatten(1, (-1, _IN_A_WORD))[:, :, _PLACES].flatten(1)
