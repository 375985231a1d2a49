"""What the tests of traces share."""

from __future__ import annotations

import sys
from pathlib import Path

# Lets these tests run the `reach` command the way those one folder up do.
sys.path.append(str(Path(__file__).resolve().parents[1]))
