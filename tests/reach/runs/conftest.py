"""Where the tests of run folders find what they share with others."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve()
sys.path += [str(_HERE.parents[1]), str(_HERE.parents[1] / "heads")]
