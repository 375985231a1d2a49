"""Which format is a matrix stored in, and what are its numbers?"""

from __future__ import annotations

from types import ModuleType

from reach.heads.config import ModelConfig
from reach.heads.quantised import awq, bitsandbytes, compressed, fp8, gptq, mlx
from reach.heads.quantised.module import Dequantised, QuantisedModule
from reach.heads.quantised.said import MLX, quantised_head, quantiser
from reach.heads.weights import StoredTensors

_FORMATS: tuple[ModuleType, ...] = (gptq, awq, bitsandbytes, fp8, compressed, mlx)

_METHODS = ("gptq", "awq", "auto-round", "bitsandbytes", "fp8", "fbgemm_fp8", "modelopt", "compressed-tensors", MLX)


def unreadable_head(config: ModelConfig) -> str | None:
    """Why the config leaves no doubt that the output matrix is quantised in a way that cannot be read; or none."""
    found = quantiser(config)
    return quantised_head(config) if found is not None and found.method not in _METHODS else None


def dequantised(
    stored: StoredTensors, config: ModelConfig, name: str, *, embedding: bool = False
) -> Dequantised | None:
    """The matrix of a parameter that is stored quantised.

    Args:
        stored: the model's tensors.
        config: its settings, which name the method.
        name: the parameter, `lm_head.weight`, whether or not a tensor of that name is stored; or one of the tensors
            that stand for it, `lm_head.qweight`.
        embedding: whether it belongs to an embedding, which of these methods MLX alone quantises.

    Returns:
        None where it is not stored so: as plain numbers, or in a form that is none of the known ones.

    Raises:
        BadInput: it is, and its numbers contradict each other or a setting is unknown.
    """
    said = quantiser(config)
    path = name.rpartition(".")[0]
    if said is None or not path or (embedding and said.method != MLX):
        return None
    module = QuantisedModule(stored, path, said)
    for format_ in _FORMATS:
        if format_.recognised(module):
            return format_.dequantise(module)
    return None
