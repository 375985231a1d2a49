"""What the tests of the search share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

# Lets these tests run the `reach` command the way those one folder up do.
sys.path.append(str(Path(__file__).resolve().parents[1]))


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny models gain nothing from two threads, and lose much where the other one has to wait for a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
