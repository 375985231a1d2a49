"""What tests of the solvers and their checkers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def flushed() -> Iterator[None]:
    """Numbers below the smallest normal one become 0, as some libraries and devices have it."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this machine cannot flush subnormal numbers to zero")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
