"""What the tests of heads share."""

from __future__ import annotations

import sys
from pathlib import Path

# Lets these tests run the `reach` command the way those one folder up do.
sys.path.append(str(Path(__file__).resolve().parents[1]))
# And these use what the scripts write GGUF files with.
sys.path.append(str(Path(__file__).resolve().parents[3] / "scripts"))
