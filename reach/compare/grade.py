"""Grades: what a backend solved, claimed, and how often it was right. The judge is the checker, never a status."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np

from reach.strength.rates import charged_median, performance_profile, shifted_geometric_mean, wilson

_SHIFT_SECONDS = 0.01
_EXAMPLES = 10


def grade(records: list[dict[str, Any]], limit_seconds: float) -> list[dict[str, Any]]:
    """One grade per backend from its records on one problem.

    A *claim* is the backend's own word: speakable or unspeakable. It is right when the proofs of the scan say so too
    (claims about tokens that are undecided count for nothing). *Solved and verified* means that the checkers accepted
    the backend's own certificate.

    Args:
        records: of one problem.
        limit_seconds: the budget per token, which every token that was not solved and verified is charged.
    """
    by_backend: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        by_backend[record["backend"]].append(record)
    return [_grade(name, mine, limit_seconds) for name, mine in by_backend.items()]


def _grade(name: str, records: list[dict[str, Any]], limit_seconds: float) -> dict[str, Any]:
    settled = [r for r in records if r["truth"] in ("speakable", "unspeakable")]
    claims = [r for r in settled if r["claim"] is not None]
    wrong = [r for r in claims if r["claim"] != r["truth"]]
    false_unspeakable = [r for r in wrong if r["claim"] == "unspeakable"]
    said_unspeakable = [r for r in records if r["claim"] == "unspeakable"]
    verified = [r for r in records if r["verified"] is not None]
    speakable = [r for r in settled if r["truth"] == "speakable"]
    seconds = np.array([r["seconds"] or 0.0 for r in records])
    solved = np.array([r["verified"] is not None for r in records])
    gaps = [r["upper"] - r["lower"] for r in records if r["lower"] is not None and r["upper"] is not None]
    failures: dict[str, int] = defaultdict(int)
    for r in records:
        if r["status"] not in ("witness", "no-witness", "unchecked", "limit"):
            failures[r["status"]] += 1
    return {
        "backend": name,
        "version": records[0]["version"],
        "given": len(records),
        "verified": len(verified),
        "verified_rate": _rate(len(verified), len(records)),
        "claims": len(claims),
        "right": len(claims) - len(wrong),
        "right_rate": _rate(len(claims) - len(wrong), len(claims)),
        "false_unspeakable": len(false_unspeakable),
        "false_unspeakable_rate": _rate(len(false_unspeakable), len(speakable)),
        "false_speakable": len(wrong) - len(false_unspeakable),
        "limit_hit": sum(1 for r in records if r["status"] == "limit"),
        "failures": dict(failures),
        "seconds_shifted_geometric_mean": shifted_geometric_mean(seconds, solved, limit_seconds, _SHIFT_SECONDS),
        "seconds_median": charged_median(seconds, solved, limit_seconds),
        "gap_median": float(np.median(gaps)) if gaps else None,
        "bounds_given": len(gaps),
        "work": _work(records),
        "wrong_tokens": [r["token_id"] for r in wrong],
        "note": next((r["note"] for r in records if r["note"]), None),
        "called_unspeakable": {
            "proved_speakable": [r["token_id"] for r in said_unspeakable if r["truth"] == "speakable"],
            "proved_unspeakable": [r["token_id"] for r in said_unspeakable if r["truth"] == "unspeakable"],
            "open": [r["token_id"] for r in said_unspeakable if r["truth"] not in ("speakable", "unspeakable")],
        },
    }


def _rate(count: int, of: int) -> dict[str, float] | None:
    """A rate with its 95 % interval, or None of nothing."""
    if of == 0:
        return None
    found = wilson(count, of)
    return {"rate": found.share, "low": found.low, "high": found.high, "of": of}


def _work(records: list[dict[str, Any]]) -> dict[str, float]:
    """Mean of each counter over the calls (a batched call's counters are shared by its tokens)."""
    sums: dict[str, list[float]] = defaultdict(list)
    for text in {r["work"] for r in records if r["work"]}:
        for key, value in json.loads(text).items():
            sums[key].append(value)
    return {key: float(np.mean(values)) for key, values in sums.items()}


def disagreements(records: list[dict[str, Any]]) -> dict[str, Any]:
    """For each pair of backends, the tokens that one claims speakable and the other unspeakable.

    Returns `backends` (names), `counts` (matrix), `compared` (tokens both made a claim about) and `tokens` (one entry
    per token that any two backends disagree on: who said what, and the truth that settles it).
    """
    claims: dict[str, dict[int, str]] = defaultdict(dict)
    truth: dict[int, str] = {}
    for r in records:
        truth[r["token_id"]] = r["truth"]
        if r["claim"] is not None:
            claims[r["backend"]][r["token_id"]] = r["claim"]
    names = sorted({r["backend"] for r in records})
    counts = np.zeros((len(names), len(names)), dtype=int)
    compared = np.zeros_like(counts)
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        shared = claims[a].keys() & claims[b].keys()
        compared[i, j] = compared[j, i] = len(shared)
        counts[i, j] = counts[j, i] = sum(claims[a][t] != claims[b][t] for t in shared)
    tokens = []
    for token in sorted(truth):
        said = {name: claims[name][token] for name in names if token in claims[name]}
        if len(set(said.values())) > 1:
            tokens.append({"token_id": token, "truth": truth[token], "claims": said})
    return {"backends": names, "counts": counts.tolist(), "compared": compared.tolist(), "tokens": tokens}


def sentence(grade: dict[str, Any], names: dict[int, str]) -> str:
    """The sentence a reader wants: of what this backend would have called unspeakable, how much is proved."""
    called = grade["called_unspeakable"]
    wrong, right, still = called["proved_speakable"], called["proved_unspeakable"], called["open"]
    total = len(wrong) + len(right) + len(still)
    if total == 0:
        return f"{grade['backend']} called none of its {grade['given']} tokens unspeakable."
    examples = ", ".join(names.get(token, f"#{token}") for token in wrong[:_EXAMPLES])
    errors = f"{len(wrong)} are proved speakable (its errors{': ' + examples if examples else ''})"
    return (
        f"Of the {total} tokens that {grade['backend']} would have called unspeakable, {errors}, {len(right)} are "
        f"proved unspeakable (no optimiser can ever find them), {len(still)} are open."
    )


def profile(records: list[dict[str, Any]], limit_seconds: float) -> dict[str, Any]:
    """Performance profile (Dolan & Moré 2002) over the tokens that every backend was given."""
    by_backend: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for r in records:
        by_backend[r["backend"]][r["token_id"]] = r
    shared = sorted(set.intersection(*(set(mine) for mine in by_backend.values()))) if by_backend else []
    if not shared:
        return {"tau": [], "share": {}, "tokens": 0}
    seconds = {n: np.array([max(mine[t]["seconds"] or 0.0, 1e-7) for t in shared]) for n, mine in by_backend.items()}
    solved = {n: np.array([mine[t]["verified"] is not None for t in shared]) for n, mine in by_backend.items()}
    found = performance_profile(seconds, solved, limit_seconds)
    share = {name: found.share[i].tolist() for i, name in enumerate(found.solvers)}
    return {"tau": found.tau.tolist(), "share": share, "tokens": len(shared)}
