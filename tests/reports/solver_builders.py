"""Comparisons of solvers as the real command wrote one, with single values changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from real_runs import compared

STRONG, WEAK = "batched-barrier", "reflection"
"""The backends of the real comparison: one that is right, and one that calls tokens unspeakable which are not."""


def comparison(**values: Any) -> dict[str, Any]:
    """The real comparison, but for what is given."""
    real: dict[str, Any] = json.loads((compared() / "solvers.json").read_text(encoding="utf-8"))
    unknown = values.keys() - real.keys()
    assert not unknown, f"a comparison has no part {unknown}"
    return real | values


def grade(backend: str, /, problem: str = "model", **values: Any) -> dict[str, Any]:
    """What that comparison says of one backend, but for what is given."""
    real = next(one for one in comparison()["problems"][problem]["grades"] if one["backend"] == backend)
    unknown = values.keys() - real.keys()
    assert not unknown, f"a grade has no entry {unknown}"
    return real | values


def write_comparison(run: Path, **values: Any) -> Path:
    """Put the real comparison into a folder, but for what is given."""
    (run / "solvers.json").write_text(json.dumps(comparison(**values)), encoding="utf-8")
    return run
