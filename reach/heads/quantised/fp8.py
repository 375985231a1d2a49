"""8-bit floats times scales: one for the matrix, one a row, or one for each block of rows and columns.

The product is taken in float32. `weight_scale_inv` (as DeepSeek-V3 has it) is multiplied by as well, whatever its
name says.

Reference:
    Micikevicius, Stosic, Burgess, Cornea, Dubey, Grisenthwaite et al. (2022), *FP8 Formats for Deep Learning*,
    arXiv:2209.05433.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reach.heads.quantised.module import EIGHT_BIT_FLOATS, FLOATS, Dequantised, QuantisedModule

_SCALES_OF = {
    "fp8": ("weight_scale_inv", "weight_scale"),
    "fbgemm_fp8": ("weight_scale",),
    "modelopt": ("weight_scale",),
}
"""The names that the scales of each method may have."""

_ROUNDS = "rounds the state to 8-bit floats"


def recognised(module: QuantisedModule) -> bool:
    """Whether a module is stored so."""
    return any(module.holds("weight", scale) for scale in _SCALES_OF.get(module.quantiser.method, ()))


def dequantise(module: QuantisedModule) -> Dequantised:
    """W of a module.

    Raises:
        BadInput: a tensor is missing or of another shape than the others, or a setting is unknown.
    """
    method, settings = module.quantiser.method, module.settings
    end = next(end for end in _SCALES_OF[method] if module.holds(end))
    module.only("weight", end, "input_scale", "activation_scale", "input_scale_ub")
    if method == "modelopt" and settings.get("quant_algo") != "FP8":
        raise module.refused(f"its quant_algo is {settings.get('quant_algo')!r}, and only FP8 is known")
    q = module.matrix("weight", *EIGHT_BIT_FLOATS)
    scale = module.tensor(end, *FLOATS)
    v, d = q.shape
    tall, wide = _block(module, end, scale, v, d)
    grid = scale.to(torch.float32).reshape(-(-v // tall), -(-d // wide))

    def rows(block: slice) -> Tensor:
        above = grid[torch.arange(block.start, block.stop) // tall]
        return q[block].to(torch.float32) * above.repeat_interleave(wide, dim=1)[:, :d]

    matrix = module.rows(v, d, torch.float32, rows)
    return module.made(matrix, f"{_format(q.dtype)}, {_scales(tall, wide, v, d)}", _ROUNDS)


def _block(module: QuantisedModule, end: str, scale: Tensor, v: int, d: int) -> tuple[int, int]:
    """Rows and columns that share a scale, by the config; the stored scales must be as many."""
    said = module.settings.get("weight_block_size") if end == "weight_scale_inv" else None
    if said is None:
        if scale.numel() == 1:
            return v, d
        if tuple(scale.shape) in ((v,), (v, 1)):
            return 1, d
        raise module.refused(
            f"{module.path}.{end} has shape {tuple(scale.shape)}, but no weight_block_size says what it is for"
        )
    if not isinstance(said, list) or len(said) != 2:
        raise module.refused(f"its weight_block_size is {said!r}, but must be two whole numbers")
    tall, wide = (module.whole("weight_block_size", number) for number in said)
    module.shaped(end, (-(-v // tall), -(-d // wide)), *FLOATS)
    return tall, wide


def _format(dtype: torch.dtype) -> str:
    return "FP8 e4m3" if dtype == torch.float8_e4m3fn else "FP8 e5m2"


def _scales(tall: int, wide: int, v: int, d: int) -> str:
    if tall >= v and wide >= d:
        return "one scale"
    return "one scale a row" if (tall, wide) == (1, d) else f"blocks of {tall}×{wide}"
