"""What the tests of repairs share."""

from __future__ import annotations

import sys
from pathlib import Path

# Lets these tests run the `reach` command, and build tiny models, the way their neighbours do.
sys.path += [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "heads")]
