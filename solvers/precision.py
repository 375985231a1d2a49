"""Products in full float32: whatever a process was told about reduced precision, a proof's products keep all bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from solvers.errors import BadInput

_PROBE = 128
"""Side of the product that is tried out: large enough for the kernels that real products take."""


@contextmanager
def full_float32_products(device: torch.device | str = "cpu") -> Iterator[None]:
    """Switch TF32 and bfloat16 products off for the time of a proof, and try out that they are.

    The settings that were in force come back afterwards. They may be the caller's own, or come from the environment
    (`TORCH_ALLOW_TF32_CUBLAS_OVERRIDE`, `ONEDNN_DEFAULT_FPMATH_MODE`), of which torch does not let all be undone.

    Raises:
        BadInput: products are still computed in less than float32.
    """
    before = _settings()
    torch.set_float32_matmul_precision("highest")
    try:
        if not keeps_all_bits(device):
            raise BadInput(
                f"float32 products on {device} are computed in reduced precision, for which no rounding bound holds: "
                "unset TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and ONEDNN_DEFAULT_FPMATH_MODE"
            )
        yield
    finally:
        _restore(before)


def keeps_all_bits(device: torch.device | str) -> bool:
    """Whether a float32 product keeps all 24 bits of its factors."""
    # Each entry is one product (1 + 2^-23)·1 and zeros, which float32 holds exactly and no shorter type does.
    fine = torch.full((_PROBE, _PROBE), 1 + 2.0**-23, dtype=torch.float32, device=device)
    identity = torch.eye(_PROBE, dtype=torch.float32, device=device)
    return bool((torch.mm(fine, identity) == fine).all())


def _settings() -> str | dict[str, str]:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        # torch's newer switches, one for each kind of device, were used, and do not fit into one word.
        return {name: backend.fp32_precision for name, backend in _switches().items()}


def _restore(before: str | dict[str, str]) -> None:
    if isinstance(before, str):
        torch.set_float32_matmul_precision(before)
        return
    for name, backend in _switches().items():
        with suppress(RuntimeError):
            backend.fp32_precision = before[name]


def _switches() -> dict[str, Any]:
    backends: Any = torch.backends
    return {"cuda": backends.cuda.matmul, "mkldnn": backends.mkldnn.matmul}
