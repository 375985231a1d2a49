"""Levels of a factor against each other: optimisers, weight decay and whatever else tells series apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as students

from reach.runs.manifest import Span
from reach.trace.naming import SEED
from reach.trace.record import FactorRecord, LevelRecord
from reach.trace.trajectories import UNSPEAKABLE, Trajectories


def paired_difference(values: Sequence[float], others: Sequence[float]) -> Span | None:
    """The mean of `values − others`, pair by pair, with Student's 95 % interval; None with fewer than two pairs.

    Three seeds give an interval of 2 degrees of freedom: wide, and no wider than three seeds deserve. It takes the
    differences for normal, which so few cannot show.
    """
    difference = np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    n = len(difference)
    if n < 2:
        return None
    mean = float(difference.mean())
    half = float(students.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n))
    return Span(mean, mean - half, mean + half)


def without_seed(factors: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The factors that are left where seeds are not looked at."""
    return tuple(sorted((key, value) for key, value in factors.items() if key != SEED))


def compare_factors(series: Sequence[Trajectories]) -> list[FactorRecord]:
    """Every factor but the seed that has more than one level, at the last step that all series have."""
    steps = set.intersection(*(set(one.steps.tolist()) for one in series)) if series else set()
    names = sorted({key for one in series for key in one.factors} - {SEED})
    levels = {name: {one.factors.get(name) for one in series} for name in names}
    names = [name for name in names if None not in levels[name] and len(levels[name]) > 1]
    if not steps:
        return []
    step, found = max(steps), []
    for name in names:
        # Factors of which each level of this one has its own level: their effects cannot be told apart.
        along = [
            other
            for other in names
            if other != name
            and len({(one.factors[name], one.factors[other]) for one in series})
            == max(len(levels[name]), len(levels[other]))
        ]
        found.append(FactorRecord(name, step, _levels(name, along, series, step), along))
    return found


def _levels(name: str, along: list[str], series: Sequence[Trajectories], step: int) -> list[LevelRecord]:
    of: dict[str, list[Trajectories]] = {}
    for one in series:
        of.setdefault(one.factors[name], []).append(one)
    levels = sorted(of, key=_by_number)
    pairs = {level: _partners(of[level], of[levels[0]], {name, *along}) for level in levels[1:]}
    return [_level(level, of[level], pairs.get(level, []), step) for level in levels]


def _partners(
    mine: list[Trajectories], first: list[Trajectories], but: set[str]
) -> list[tuple[Trajectories, Trajectories]]:
    """Series that agree in their seed and in all other factors, each with the only one that it agrees with."""

    def rest(one: Trajectories) -> list[tuple[str, str]]:
        return sorted((key, value) for key, value in one.factors.items() if key not in but)

    def only(one: Trajectories, some: list[Trajectories]) -> Trajectories | None:
        alike = [other for other in some if rest(other) == rest(one)]
        return alike[0] if len(alike) == 1 else None

    return [(one, other) for one in mine if only(one, mine) and (other := only(one, first)) is not None]


def _level(
    level: str, mine: list[Trajectories], pairs: list[tuple[Trajectories, Trajectories]], step: int
) -> LevelRecord:
    counts = [(_unspeakable(one, step), _unspeakable(other, step)) for one, other in pairs]
    margins = [(_median(one, step), _median(other, step)) for one, other in pairs]
    known = [(one, other) for one, other in margins if one is not None and other is not None]
    return LevelRecord(
        level=level,
        series=[one.name for one in mine],
        unspeakable=[_unspeakable(one, step) for one in mine],
        median_margin=[_median(one, step) for one in mine],
        against=paired_difference([one for one, _ in counts], [other for _, other in counts]),
        margin_against=paired_difference([one for one, _ in known], [other for _, other in known]),
        pairs=len(pairs),
    )


def _unspeakable(series: Trajectories, step: int) -> int:
    at = series.at(step)
    return 0 if at is None else int((series.verdict[at] == UNSPEAKABLE).sum())


def _median(series: Trajectories, step: int) -> float | None:
    at = series.at(step)
    known = np.zeros(0) if at is None else series.margin[at][np.isfinite(series.margin[at])]
    return float(np.median(known)) if len(known) else None


def _by_number(level: str) -> tuple[int, float, str]:
    try:
        return 0, float(level), level
    except ValueError:
        return 1, 0.0, level
