"""Comparisons of solvers as the real command wrote one, with single values changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from real_runs import compared

STRONG, WEAK = "batched-barrier", "reflection"
"""The backends of the real comparison: one that is right, and one that gives up on tokens that are speakable."""


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


def older_problems() -> dict[str, Any]:
    """The comparison's problems as older versions graded them: giving up was counted as a claim of "never"."""
    problems: dict[str, Any] = comparison()["problems"]
    main = problems["model"]
    weak = next(one for one in main["grades"] if one["backend"] == WEAK)
    left = weak.pop("gave_up")
    missed, gone = left["proved_speakable"], left["proved_unspeakable"]
    assert missed and gone
    weak |= {
        "claims": weak["claims"] + len(missed) + len(gone),
        "right": weak["right"] + len(gone),
        "false_unspeakable": len(missed),
        "wrong_tokens": missed,
        "called_unspeakable": left,
    }
    apart = [
        {"token_id": token, "truth": "speakable", "claims": {STRONG: "speakable", WEAK: "unspeakable"}}
        for token in missed
    ]
    both = weak["claims"]
    main["disagreements"] |= {
        "counts": [[0, len(apart)], [len(apart), 0]],
        "compared": [[both, both], [both, both]],
        "tokens": apart,
    }
    return problems
