"""Names in the order of the numbers in them."""

from __future__ import annotations

import re


def in_order(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts names by their numbers: `checkpoint-51` before `checkpoint-120`."""
    parts = re.split(r"([0-9]+)", text)
    return tuple((0, int(part), "") if at % 2 else (1, 0, part) for at, part in enumerate(parts) if part)
