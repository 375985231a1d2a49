"""The run-folder fuzzer changes folders with the helpers of the tests of `reach`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "reach"))
