"""The heads of a comparison: the model's own, its random controls, and the same head over other domains."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Int

from reach.classes import CLASSES, HARD, NOT_ASKED, OWN, class_changes, classes_of
from reach.compare.compare import Task
from reach.runs.schema import VERDICT_NAMES
from reach.scanning.scan import ScanResult, scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN
from reach.strength.controls import covariance_like, gaussian_like
from reach.strength.domains_compare import domain_changes, usual_domains
from reach.strength.sample import STRATA, Judged, judged_from_scan, stratified_sample
from solvers.problem import ArgmaxProblem

CONTROLS = {"gaussian": gaussian_like, "covariance": covariance_like}
CONTROL_PART = 1 / 4
"""Of a backend's seconds, for its tokens of one control."""
DOMAINS = 2
"""How many domains the head is scanned over, besides its own."""


def scan_quietly(problem: ArgmaxProblem, jobs: int, seconds: float) -> ScanResult:
    """A scan in memory, for some seconds: rows that are open then count as not asked for, for nothing was decided."""
    result = scan(problem, ScanSettings(jobs=jobs), seconds=seconds)
    if result.cut:
        result.asked &= (result.state.verdict != OPEN)[result.merged.row_of]
    return result


def task_from_scan(name: str, problem: ArgmaxProblem, result: ScanResult, size: int, seed: int) -> Task:
    """A stratified sample of a scanned head, as a task over its merged rows."""
    judged = judged_from_scan(problem, result)
    return task_from(name, result.merged.problem, judged, result.merged.row_of, size, seed)


def task_from(name: str, merged: ArgmaxProblem, judged: Judged, row_of: np.ndarray, size: int, seed: int) -> Task:
    """A stratified sample of judged tokens, as a task over the problem with equal rows merged."""
    sample = stratified_sample(judged, size, seed)
    # Equal tokens share a row: each row is asked about once.
    rows, first = np.unique(row_of[sample.tokens], return_index=True)
    order = np.random.default_rng(seed).permutation(len(rows))
    tokens = sample.tokens[first][order]
    truth = ["speakable" if verdict == "tied" else str(verdict) for verdict in judged.verdict[tokens]]
    strata = [STRATA[int(i)] for i in sample.stratum[first][order]]
    return Task(merged, name, rows[order], tokens, strata, truth)


def verdict_counts(judged: Judged) -> dict[str, int]:
    """How many tokens of each verdict, own-direction and hard-to-speak ones among the speakable."""
    counts = Counter(str(verdict) for verdict in judged.verdict if verdict is not None)
    classes = Counter(judged_classes(judged).tolist())
    return {**counts, "own-direction": classes[OWN], "hard-to-speak": classes[HARD]}


def judged_classes(judged: Judged) -> Int[np.ndarray, " v"]:
    """The index into `reach.classes.CLASSES` of each token."""
    codes = {name: code for code, name in enumerate(VERDICT_NAMES)}
    verdict = np.array([codes.get(name, -1) for name in judged.verdict])
    return classes_of(verdict, judged.own_direction.astype(bool))


def unjudged(judged: Judged) -> int:
    """How many tokens there was no time for."""
    return sum(verdict is None for verdict in judged.verdict)


def merged_verdicts(judged: Judged, token_of: np.ndarray) -> Judged:
    """Verdicts of the rows of a problem with equal rows merged: there no token is tied."""
    verdict = judged.verdict[token_of].copy()
    verdict[verdict == "tied"] = "speakable"
    return Judged(verdict, judged.own_direction[token_of], judged.relative_margin[token_of], np.arange(len(token_of)))


def compare_domains(
    problem: ArgmaxProblem, jobs: int, own: Judged | None = None, seconds: float = float("inf")
) -> dict[str, Any]:
    """Judge the head on `Free`, on the usual ±100 box and on its own domain: who changes class?

    Args:
        problem: over its own domain.
        jobs: cores used.
        own: its verdicts there, where they are known.
        seconds: for each domain; tokens that are open then are left out, and counted as `open`.
    """
    domains = usual_domains(problem)
    judged, still = {}, {}
    for name, domain in domains.items():
        if own is not None and name == problem.domain.describe():
            judged[name] = own
            continue
        posed = problem.over(domain)
        judged[name] = judged_from_scan(posed, scan_quietly(posed, jobs, seconds))
        still[name] = unjudged(judged[name])
    classes = {name: judged_classes(found) for name, found in judged.items()}
    named = {
        name: np.array([None if code == NOT_ASKED else CLASSES[code] for code in of], dtype=object)
        for name, of in classes.items()
    }
    pairs = []
    for first, second in combinations(domains, 2):
        counted = class_changes(classes[first], classes[second])
        pairs.append({"first": first, "second": second, **counted.record(), "words": counted.words})
    return {
        "own": problem.domain.describe(),
        "verdicts": {name: verdict_counts(found) for name, found in judged.items()},
        "open": still,
        "pairs": pairs,
        "changes": [
            {
                "first": change.first,
                "second": change.second,
                "before": change.before,
                "after": change.after,
                "count": change.count,
                "tokens": change.tokens.tolist(),
                "contradiction": change.contradiction,
            }
            for change in domain_changes(named, domains)
        ],
    }
