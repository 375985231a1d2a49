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
    step = max(steps)
    return [
        FactorRecord(
            name,
            step,
            _levels(name, series, step),
            # Factors of which each level of this one has its own level: their effects cannot be told apart.
            [
                other
                for other in names
                if other != name and len({(one.factors[name], one.factors[other]) for one in series})
                == max(len(levels[name]), len(levels[other]))
            ],
        )
        for name in names
    ]  # fmt: skip


def _levels(name: str, series: Sequence[Trajectories], step: int) -> list[LevelRecord]:
    of: dict[str, list[Trajectories]] = {}
    for one in series:
        of.setdefault(one.factors[name], []).append(one)
    levels = sorted(of, key=_by_number)
    first = of[levels[0]]
    return [_level(name, level, of[level], first if at else None, step) for at, level in enumerate(levels)]


def _level(
    name: str, level: str, mine: list[Trajectories], first: list[Trajectories] | None, step: int
) -> LevelRecord:
    # Pairs agree in all that is known of them but this factor and those that go along with it: in their seeds.
    pairs = []
    if first is not None and all(SEED in one.factors for one in (*mine, *first)):
        for seed in sorted({one.factors[SEED] for one in mine} & {one.factors[SEED] for one in first}):
            both = [[one for one in some if one.factors[SEED] == seed] for some in (mine, first)]
            if all(len(some) == 1 for some in both):
                pairs.append((both[0][0], both[1][0]))
    margins = [(_median(one, step), _median(other, step)) for one, other in pairs]
    known = [(one, other) for one, other in margins if one is not None and other is not None]
    return LevelRecord(
        level=level,
        series=[one.name for one in mine],
        unspeakable=[_unspeakable(one, step) for one in mine],
        median_margin=[_median(one, step) for one in mine],
        against=paired_difference(*zip(*[(_unspeakable(a, step), _unspeakable(b, step)) for a, b in pairs], strict=True))
        if pairs
        else None,
        margin_against=paired_difference(*zip(*known, strict=True)) if known else None,
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
