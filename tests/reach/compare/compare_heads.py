"""Small heads for comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def corners(n: int, seed: int = 0, d: int = 4) -> np.ndarray:
    """Rows of which some lie inside the hull of the others."""
    rng = np.random.default_rng(seed)
    outer = rng.standard_normal((n - n // 4, d))
    return np.concatenate([outer, 0.2 * rng.standard_normal((n // 4, d))]).astype(np.float32)


def save(path: Path, rows: np.ndarray) -> Path:
    """A bare head."""
    np.savez(path, W=rows)
    return path
