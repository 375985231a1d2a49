"""The demo model that comes with the package."""

from __future__ import annotations

from pathlib import Path

from solvers.errors import BadInput

DEMO_NAME = "demo"


def demo_model() -> Path:
    """Folder of the demo model.

    Raises:
        BadInput: the installation lacks it.
    """
    folder = Path(__file__).parent / "demo_model"
    if not (folder / "model.safetensors").is_file():
        raise BadInput(f"{folder}: the demo model is missing; install the package again, or name a MODEL")
    return folder
