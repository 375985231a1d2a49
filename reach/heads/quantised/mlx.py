"""MLX in its affine mode: s·q + b over groups of columns, q packed in words without a gap.

The product and the sum are taken in float32 and not rounded to the 16 bits of the scales, as in MLX's products with a
single state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from reach.heads.config import ModelConfig
from reach.heads.norm_form import is_shifted
from reach.heads.quantised.bits import WORD, unpack, words_for
from reach.heads.quantised.module import FLOATS, Dequantised, QuantisedModule
from reach.heads.quantised.said import MLX, quantiser
from solvers.errors import BadInput

_BITS = (2, 3, 4, 5, 6, 8)
_SIZES = (32, 64, 128)

_WITHOUT_THE_SUM = ("gemma", "nemotron")
"""Models of which MLX stores γ where the model multiplies by 1 + γ."""


def recognised(module: QuantisedModule) -> bool:
    """Whether a module is stored so."""
    return module.quantiser.method == MLX and module.holds("weight", "scales")


def dequantise(module: QuantisedModule) -> Dequantised:
    """W of a module.

    Raises:
        BadInput: a tensor is missing or of another shape than the others, or a setting is unknown.
    """
    settings = _settings(module)
    mode = settings.get("mode", module.settings.get("mode", "affine"))
    if mode != "affine":
        raise module.refused(f"its mode is {mode!r}, and only affine is known")
    bits, size = settings.get("bits"), settings.get("group_size")
    if isinstance(bits, bool) or bits not in _BITS or isinstance(size, bool) or size not in _SIZES:
        raise module.refused(
            f"its bits are {bits!r} and its groups {size!r}; known are {', '.join(map(str, _BITS))} and "
            f"{', '.join(map(str, _SIZES))}"
        )
    module.only("weight", "scales", "biases")
    words = module.matrix("weight", torch.uint32).view(torch.int32)
    v = words.shape[0]
    d = words.shape[1] * WORD // bits
    if d % size or words.shape[1] != words_for(d, bits):
        raise module.refused(f"{module.path}.weight has {words.shape[1]} words a row: {d} numbers of {bits} bits")
    scale = module.shaped("scales", (v, d // size), *FLOATS)
    shift = module.shaped("biases", (v, d // size), *FLOATS)

    def rows(block: slice) -> Tensor:
        q = unpack(words[block], bits, d).to(torch.float32).unflatten(1, (-1, size))
        scaled = scale[block].to(torch.float32).unsqueeze(2) * q
        return (scaled + shift[block].to(torch.float32).unsqueeze(2)).flatten(1)

    return module.made(module.rows(v, d, torch.float32, rows), f"MLX {bits} bit, groups of {size}")


def refuse_shifted_norm(config: ModelConfig, form: str) -> None:
    """Refuse a norm that multiplies by 1 + γ, of which a conversion to MLX may have stored the sum.

    MLX's Gemmas and Nemotrons store γ as everybody else does; its conversions of others (Qwen3-Next) add the 1 for
    good.

    Raises:
        BadInput: the model was quantised by MLX, and its norm is of that form.
    """
    found = quantiser(config)
    known = any(word in config.model_type for word in _WITHOUT_THE_SUM)
    if is_shifted(form) and found is not None and found.method == MLX and not known:
        raise BadInput(
            f"{config.path}: {config.model_type} multiplies by 1 + gamma after its last norm, and whether this "
            f"conversion to MLX stores gamma or the sum is not known: say --norm {form} or --norm "
            f"{form.removesuffix('+1')}"
        )


def _settings(module: QuantisedModule) -> Mapping[str, Any]:
    """Those of this module, where the config has some, else those of all."""
    own = module.settings.get(module.path)
    if own is False:
        raise module.refused(f"its config says that {module.path} is not quantised")
    return own if isinstance(own, Mapping) else module.settings
