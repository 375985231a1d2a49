"""What the tests of quantised heads share."""

from __future__ import annotations

import sys
from pathlib import Path

# Lets these tests use the helpers of the tests of heads, and run the `reach` command.
sys.path += map(str, Path(__file__).resolve().parents[1:3])
