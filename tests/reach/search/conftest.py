"""Lets these tests run the `reach` command the way those one folder up do."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
