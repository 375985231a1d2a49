"""A comparison of solvers made by hand, as `reach compare-solvers` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rate(share: float, of: int = 4) -> dict[str, float]:
    return {"rate": share, "low": max(0.0, share - 0.2), "high": min(1.0, share + 0.2), "of": of}


def grade(name: str, **values: Any) -> dict[str, Any]:
    return {
        "backend": name,
        "version": "1.0",
        "given": 4,
        "verified": 4,
        "verified_rate": rate(1.0),
        "claims": 4,
        "right": 4,
        "right_rate": rate(1.0),
        "false_unspeakable": 0,
        "false_unspeakable_rate": rate(0.0),
        "false_speakable": 0,
        "limit_hit": 0,
        "failures": {},
        "seconds_shifted_geometric_mean": 0.0123,
        "seconds_median": 0.01,
        "gap_median": None,
        "bounds_given": 0,
        "work": {},
        "wrong_tokens": [],
        "note": None,
        "sentence": f"{name} called none of its 4 tokens unspeakable.",
    } | values


def comparison(**values: Any) -> dict[str, Any]:
    """Two backends that disagree about token 1, which is speakable: `weak` is wrong about it."""
    wrong = {"right": 3, "right_rate": rate(0.75), "false_unspeakable": 1, "wrong_tokens": [1]}
    weak = grade("weak", verified=3, verified_rate=rate(0.75), **wrong)
    recall = [{"level": level, "rate": share, **rate(share)} for level, share in ((1.0, 1.0), (0.01, 0.5))]
    planted = {"recall": recall, "limit": 1.0, "statement": "finds margins of 1 and more"}
    return {
        "schema": 1,
        "kind": "compare",
        "model": "tests/tiny",
        "fingerprint": "ab" * 32,
        "v": 4,
        "d": 2,
        "domain": "ball:2",
        "settings": {"sample": 4, "tolerance": 1e-8},
        "backends": [
            {"name": "strong", "version": "1.0", "domains": ["Ball"], "devices": ["cpu"], "proves_negative": True},
            {"name": "absent", "missing": "absent needs it: pip install it"},
        ],
        "settings_map": [
            {"backend": "strong", "option": "tol", "expression": "t", "read_back": "1e-8", "tightest": None}
        ],
        "versions": {"python": "3"},
        "hardware": {"cpu": "c", "cores": 2, "gpu": None},
        "started": "2026-01-02",
        "seconds": 9.0,
        "tokens": {str(at): f"'t{at}' (#{at})" for at in range(4)},
        "problems": {
            "model": {
                "sample": {"size": 4, "strata": {"unspeakable": 1, "own-direction": 3}},
                "grades": [weak, grade("strong")],
                "disagreements": {
                    "backends": ["strong", "weak"],
                    "counts": [[0, 1], [1, 0]],
                    "compared": [[0, 4], [4, 0]],
                    "tokens": [
                        {
                            "token_id": 1,
                            "truth": "speakable",
                            "claims": {"strong": "speakable", "weak": "unspeakable"},
                        }
                    ],
                },
                "profile": {"tau": [1.0, 2.0], "share": {"strong": [0.5, 1.0], "weak": [0.5, 0.75]}, "tokens": 4},
            }
        },
        "hidden": [
            {
                "method": "weak",
                "restarts": 5,
                "budget": "60 steps",
                "pool": 4,
                "found": 2,
                "truth": 3,
                "estimates": [{"estimate": 2.6, "low": 2.0, "high": float("inf"), "holds_truth": True}],
            }
        ],
        "detection": [
            {
                "backend": name,
                "d": 16,
                "v": 800,
                "offsets": False,
                "iterations": None,
                "tried": 8,
                "plants": 8,
                "misclaimed": 0,
                "speakable": planted,
                "unspeakable": None,
            }
            for name in ("strong", "weak")
        ],
        "domains": {"verdicts": {"free": {"speakable": 4}, "ball:2": {"speakable": 3}}, "changes": []},
    } | values


def write_comparison(run: Path, **values: Any) -> Path:
    (run / "solvers.json").write_text(json.dumps(comparison(**values)), encoding="utf-8")
    return run
