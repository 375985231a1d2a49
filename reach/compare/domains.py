"""One head judged over several domains: what depends on what the hidden state is allowed to be?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from reach.classes import CLASSES, NOT_ASKED, class_changes
from reach.compare.controls import scan_quietly
from reach.compare.record import Change, Domains, Pair
from reach.compare.sample import Judged, judged_from_scan
from solvers.checks.domains import certified
from solvers.domains import Box, Domain, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

USUAL_BOX = 100.0
"""Half the side of the box that reachability scripts put the hidden state into, for want of a norm."""


_WINS = {"speakable", "own-direction", "hard-to-speak", "tied"}


def usual_domains(problem: ArgmaxProblem, side: float = USUAL_BOX) -> dict[str, Domain]:
    """`free`, the box of ±side, and the problem's own domain (for a normed head its ball), by their descriptions.

    For a centred head (LayerNorm) a box is meant as the box of z before the projection onto 1ᵀz = 0.
    """
    box = Box(np.full(problem.d, -side), np.full(problem.d, side))
    return {domain.describe(): domain for domain in (Free(), box, problem.domain)}


def contains(outer: Domain, inner: Domain) -> bool:
    """Whether every point of `inner` is proved to be one of `outer`.

    Whatever is speakable over the inner domain then is speakable over the outer one, with the same witness.
    """
    return certified(outer).holds(certified(inner))


def domain_changes(verdicts: Mapping[str, np.ndarray], domains: Mapping[str, Domain] | None = None) -> list[Change]:
    """Every change of class between every two domains: pairs in the order given, the largest change first.

    Args:
        verdicts: per domain the class of every token (see `reach.classes`), or its verdict, as strings; None for a
            token that was not judged there.
        domains: the domains by the same names; with them contradictions are told apart from findings.

    Raises:
        BadInput: arrays of different lengths, or verdicts for a domain that is not among `domains`.
    """
    names = list(verdicts)
    if len({len(verdicts[name]) for name in names}) > 1:
        raise BadInput("verdicts over several domains need the same tokens for each")
    if domains is not None and (missing := [name for name in names if name not in domains]):
        raise BadInput(f"verdicts are given for {', '.join(missing)}, but no such domain is")
    table: list[Change] = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            table += _changes_between(first, second, verdicts, domains)
    return table


def _changes_between(
    first: str, second: str, verdicts: Mapping[str, np.ndarray], domains: Mapping[str, Domain] | None
) -> list[Change]:
    a, b = np.asarray(verdicts[first], dtype=object), np.asarray(verdicts[second], dtype=object)
    judged = np.array([x is not None and y is not None for x, y in zip(a, b, strict=True)], dtype=bool)
    changed = np.nonzero(judged & (a != b))[0]
    groups: dict[tuple[str, str], list[int]] = {}
    for token in changed.tolist():
        groups.setdefault((str(a[token]), str(b[token])), []).append(token)
    found = []
    for (before, after), tokens in groups.items():
        impossible = False
        if domains is not None:
            # A class of equal rows that shares the maximum somewhere does so over every larger domain as well.
            impossible = (
                before in _WINS and after == "unspeakable" and contains(domains[second], domains[first])
            ) or (after in _WINS and before == "unspeakable" and contains(domains[first], domains[second]))
            # Equal rows are equal everywhere.
            impossible |= {before, after} <= _WINS and (before == "tied") is not (after == "tied")
        change = Change(
            first=first,
            second=second,
            before=before,
            after=after,
            count=len(tokens),
            tokens=tuple(tokens),
            contradiction=impossible,
        )
        found.append(change)
    return sorted(found, key=lambda change: (-change.count, change.before, change.after))


def compare_domains(
    problem: ArgmaxProblem, jobs: int, own: Judged | None = None, seconds: float = float("inf")
) -> Domains:
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
        still[name] = judged[name].open
    classes = {name: found.classes for name, found in judged.items()}
    named = {
        name: np.array([None if code == NOT_ASKED else CLASSES[code] for code in of], dtype=object)
        for name, of in classes.items()
    }
    pairs = []
    for first, second in combinations(domains, 2):
        counted = class_changes(classes[first], classes[second])
        pairs.append(Pair(first=first, second=second, **counted.record(), words=counted.words))
    return Domains(
        own=problem.domain.describe(),
        verdicts={name: found.counts for name, found in judged.items()},
        open=still,
        pairs=tuple(pairs),
        changes=tuple(domain_changes(named, domains)),
    )
