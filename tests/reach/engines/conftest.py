"""The helpers of the tests beside this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
# And these look for processes as the script that measures engines does.
sys.path.append(str(Path(__file__).parents[3] / "scripts"))
