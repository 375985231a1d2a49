"""`reach trace` without its command line: run folders in, a folder with the trace out."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from itertools import combinations, groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import rankdata

from reach.classes import CLASSES
from reach.names import command_line, with_names
from reach.runs.columns import NONE
from reach.runs.environment import package_versions
from reach.runs.lock import locked
from reach.runs.schema import VERDICT_NAMES
from reach.trace.association import Overlap, RankCorrelation, overlap, rank_correlation
from reach.trace.changes import Changes, changes
from reach.trace.factors import compare_factors, without_seed
from reach.trace.gather import Found, Gathered, gather
from reach.trace.leaps import Leaps, leaps
from reach.trace.matching import Matching, Names, match, unique_names
from reach.trace.naming import SEED
from reach.trace.options import TraceSettings
from reach.trace.outliers import FAR, outlying
from reach.trace.plan import Planned
from reach.trace.record import (
    TRACE,
    GroupRecord,
    IntervalCounts,
    LeftOutRun,
    NamedToken,
    PairRecord,
    RunEntry,
    SeriesRecord,
    StepCounts,
    SuddenRecord,
    TraceRecord,
    TraceResult,
    check_folder,
)
from reach.trace.trajectories import UNSPEAKABLE, Trajectories, counts_at, kinds_of, trajectories
from reach.trace.variance import VarianceSplit, split

Say = Callable[[str], object]
_NAMED = 30
"""Tokens of each kind that are named in the record; the table has all."""
_MOST_PAIRS = 400
_P = 0.05


def trace_to_folder(
    runs: tuple[Path, ...],
    out: Path,
    settings: TraceSettings,
    *,
    plan: tuple[Planned, ...] = (),
    force: bool = False,
    say: Say = lambda _: None,
) -> TraceRecord:
    """Trace runs, write `trace.json` and `trace.parquet` into a folder, and return the record.

    Raises:
        BadInput: the folder holds a trace (without `force`), there is nothing to trace, the runs do not go together,
            or the result cannot be written.
    """
    check_folder(out, force=force)
    started = time.perf_counter()
    say("reading the runs")
    found = gather(runs, plan)
    result = traced(found, settings, started=started, say=say)
    with locked(out):
        check_folder(out, force=force)
        result.write(out)
    return result.record


def traced(
    found: Gathered, settings: TraceSettings, *, started: float | None = None, say: Say = lambda _: None
) -> TraceResult:
    """The trace of runs that were found.

    Raises:
        BadInput: they have no token in common, or a table is damaged.
    """
    started = time.perf_counter() if started is None else started
    series = [trajectories(list(some)) for _, some in groupby(found.runs, key=lambda one: one.series)]
    places = _places(series)
    followed = []
    for one, rows in zip(series, places, strict=True):
        say(f"following {one.name}")
        followed.append(_Followed(one, rows, settings))
    say("series against series")
    pairs, notes = _pairs(series, places, settings)
    record = TraceRecord(
        settings=settings,
        domain=found.domain,
        margins=found.margins,
        runs=[_entry(one) for one in found.runs],
        left_out=[LeftOutRun(with_names(one.run), with_names(one.why)) for one in found.left_out],
        notes=[*notes, *_notes(series)],
        series=[one.record() for one in followed],
        pairs=pairs,
        groups=_groups(series, settings),
        factors=compare_factors(series),
        command=list(command_line()),
        versions=package_versions(),
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - started,
    )
    return TraceResult(record, _table(followed, places))


def _entry(one: Found) -> RunEntry:
    record = one.run.record
    return RunEntry(with_names(str(one.run.path)), str(record.model), one.series, one.step, str(record.fingerprint))


def _notes(series: Sequence[Trajectories]) -> list[str]:
    """What a reader must know before comparing: single checkpoints, and steps that only some series have."""
    notes = []
    single = [one.name for one in series if len(one.steps) == 1]
    if single:
        more = f" and {len(single) - 3} more" if len(single) > 3 else ""
        notes.append(f"{', '.join(single[:3])}{more}: a single checkpoint, so there is nothing to follow")
    if len(series) == 1:
        notes.append("a single series, so nothing can be said of seeds and factors")
    every = sorted({step for one in series for step in one.steps.tolist()})
    shared = [step for step in every if sum(step in one.steps for one in series) > len(series) / 2]
    for one in series:
        lacking = [str(step) for step in shared if step not in one.steps]
        if lacking:
            notes.append(f"{one.name}: step {', '.join(lacking)} is missing, which most others have")
    if any(len(one.names) and one.names.pieces == [None] * len(one.names) for one in series):
        notes.append("tokens have no names here and are matched by their ids")
    return notes


# --- one series -----------------------------------------------------------------------------------------------------


class _Followed:
    """What is said of one series; `rows` are its tokens' rows in the table."""

    def __init__(self, series: Trajectories, rows: npt.NDArray[np.int64], settings: TraceSettings) -> None:
        self.series, self.rows, self.settings = series, rows, settings
        self.changes: Changes = changes(series.verdict)
        self.leaps: Leaps | None = leaps(series.margin, shuffles=settings.shuffles, seed=settings.seed)
        self.far = outlying(series.margin, series.classes[-1].astype(np.int64))

    def record(self) -> SeriesRecord:
        one, turned = self.series, self.changes
        many = len(one.steps) > 1
        latest = np.maximum(turned.became[:, 1], turned.stopped[:, 1])
        outlying_ones = np.flatnonzero(self.far > FAR)
        matching = one.matching
        return SeriesRecord(
            name=one.name,
            factors=one.factors,
            tokens=len(one),
            by_id=matching.by_id,
            ambiguous=max(matching.ambiguous),
            missing=max(matching.missing),
            steps=[self._step(at) for at in range(len(one.steps))],
            intervals=[self._interval(at) for at in range(len(one.steps) - 1)],
            became=int(((turned.became[:, 1] == latest) & (latest >= 0)).sum()),
            stopped=int(((turned.stopped[:, 1] == latest) & (latest >= 0)).sum()),
            oscillating=int(turned.oscillates.sum()),
            turned=int((turned.turns > 0).sum()),
            undecided=int((one.verdict == VERDICT_NAMES.index("undecided")).any(axis=0).sum()),
            both_ends=one.both_ends,
            sudden=self._sudden(),
            outlying=len(outlying_ones),
            outliers=self._named(outlying_ones, self.far),
            oscillators=self._named(np.flatnonzero(turned.oscillates), turned.turns.astype(np.float64)),
            from_first=_correlation(one.margin[0], one.margin[-1], self.settings) if many else None,
            unspeakable_from_first=_overlap(one, 0, one, -1, None, self.settings) if many else None,
            control=one.control,
        )

    def _step(self, at: int) -> StepCounts:
        margin = self.series.margin
        known = margin[at][np.isfinite(margin[at])]
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]).tolist() if len(known) else (None, None, None)
        both = np.isfinite(margin[at]) & np.isfinite(margin[-1])
        ranks = [rankdata(margin[place][both]) for place in (at, -1)]
        whole = all(len(one) > 3 and np.ptp(one) > 0 for one in ranks)
        with_last = float(np.corrcoef(*ranks)[0, 1]) if whole else None
        return StepCounts(int(self.series.steps[at]), counts_at(self.series, at), middle, low, high, with_last)

    def _interval(self, at: int) -> IntervalCounts:
        """Changes that are known to lie between these two checkpoints, the last of each token."""
        steps = self.series.steps
        here = [int((pair == (at, at + 1)).all(axis=1).sum()) for pair in (self.changes.became, self.changes.stopped)]
        return IntervalCounts(int(steps[at]), int(steps[at + 1]), *here)

    def _sudden(self) -> SuddenRecord | None:
        found = self.leaps
        if found is None:
            return None
        known = np.isfinite(found.p)
        shares = found.share[np.isfinite(found.share)]
        low, middle, high = np.quantile(shares, [0.25, 0.5, 0.75]).tolist() if len(shares) else (0.0, 0.0, 0.0)
        sudden = np.flatnonzero(known & (found.q <= self.settings.rate))
        return SuddenRecord(
            tested=int(known.sum()),
            rate=self.settings.rate,
            sudden=len(sudden),
            below=float((found.p[known] < _P).mean()),
            share=(low, middle, high),
            common=found.common if np.isfinite(found.common) else 0.0,
            leap=float(np.median(found.leap[known])),
            shuffled=found.shuffled,
            named=self._named(sudden, found.leap),
        )

    def _named(self, tokens: npt.NDArray[np.int64], value: npt.NDArray[np.float64]) -> list[NamedToken]:
        """Tokens with the largest values, by name."""
        order = tokens[np.argsort(-value[tokens], kind="stable")][:_NAMED]
        return [named(self.series.names, int(at), int(self.rows[at]), float(value[at])) for at in order]


def named(names: Names, at: int, row: int, value: float) -> NamedToken:
    """A token as records name it."""
    text = names.name(at)
    return NamedToken(row, f"#{names.ids[at]}" if text is None else text, value)


# --- series against series ------------------------------------------------------------------------------------------


def _correlation(
    one: npt.NDArray[np.float64], two: npt.NDArray[np.float64], settings: TraceSettings
) -> RankCorrelation | None:
    return rank_correlation(
        one, two, draws=settings.resamples, shuffles=settings.shuffles, seed=settings.seed
    )  # fmt: skip


def _overlap(
    one: Trajectories, at: int, other: Trajectories, there: int, rows: Matching | None, settings: TraceSettings
) -> Overlap | None:
    every = slice(None)
    mine, theirs = (every, every) if rows is None else rows.rows
    first, second = one.verdict[at, mine], other.verdict[there, theirs]
    known = (first < VERDICT_NAMES.index("undecided")) & (second < VERDICT_NAMES.index("undecided"))
    return overlap(
        first == UNSPEAKABLE, second == UNSPEAKABLE, known, draws=settings.resamples, seed=settings.seed
    )  # fmt: skip


def _pairs(
    series: Sequence[Trajectories], places: Sequence[npt.NDArray[np.int64]], settings: TraceSettings
) -> tuple[list[PairRecord], list[str]]:
    """Every pair of series; where they are many, those that differ in the fewest factors."""
    every = sorted(combinations(range(len(series)), 2), key=lambda pair: len(_differ(*(series[at] for at in pair))))
    notes = []
    if len(every) > _MOST_PAIRS:
        notes.append(
            f"of {len(every)} pairs of series the {_MOST_PAIRS} that differ in the fewest factors are compared"
        )
        every = every[:_MOST_PAIRS]
    found = []
    for a, b in sorted(every):
        one, other = series[a], series[b]
        common = sorted(set(one.steps.tolist()) & set(other.steps.tolist()))
        if not common:
            notes.append(f"{one.name} and {other.name} have no step in common and are not compared")
            continue
        found.append(_pair(one, other, common, places[a], settings))
    return found, notes


def _differ(one: Trajectories, other: Trajectories) -> list[str]:
    return sorted(key for key in one.factors | other.factors if one.factors.get(key) != other.factors.get(key))


def _pair(
    one: Trajectories, other: Trajectories, common: list[int], rows: npt.NDArray[np.int64], settings: TraceSettings
) -> PairRecord:
    matching = match([one.names, other.names], [one.name, other.name])
    mine, theirs = matching.rows
    step = common[-1]
    at, there = one.at(step), other.at(step)
    assert at is not None
    assert there is not None
    first, second = one.margin[at, mine], other.margin[there, theirs]
    initial = None
    if common[0] == 0 and len(common) > 1:
        initial = _correlation(one.margin[0, mine], other.margin[0, theirs], settings)
    known = np.flatnonzero(np.isfinite(first) & np.isfinite(second))
    apart = (rankdata(second[known]) - rankdata(first[known])) / max(1, len(known))
    far = np.argsort(-np.abs(apart), kind="stable")[:_NAMED]
    return PairRecord(
        one=one.name,
        other=other.name,
        differ=_differ(one, other),
        step=step,
        matched=len(matching),
        by_id=matching.by_id,
        ambiguous=(matching.ambiguous[0], matching.ambiguous[1]),
        missing=(matching.missing[0], matching.missing[1]),
        rho=_correlation(first, second, settings),
        initial=initial,
        unspeakable=_overlap(one, at, other, there, matching, settings),
        outliers=[
            named(one.names, int(mine[known[k]]), int(rows[mine[known[k]]]), float(apart[k])) for k in far.tolist()
        ],
    )


def _groups(series: Sequence[Trajectories], settings: TraceSettings) -> list[GroupRecord]:
    """Series that differ in their seed alone, two or more."""
    of: dict[tuple[tuple[str, str], ...], list[Trajectories]] = {}
    for one in series:
        if SEED in one.factors:
            of.setdefault(without_seed(one.factors), []).append(one)
    return [
        _group(dict(shared), some, settings)
        for shared, some in of.items()
        if len(some) > 1 and len({one.factors[SEED] for one in some}) == len(some)
    ]


def _group(factors: dict[str, str], series: list[Trajectories], settings: TraceSettings) -> GroupRecord:
    matching = match([one.names for one in series], [one.name for one in series])
    common = set.intersection(*(set(one.steps.tolist()) for one in series))
    step = max(common, default=None)
    initial = 0 if 0 in common and step != 0 else None
    margins = {at: _margins_at(series, matching, at) for at in (step, initial) if at is not None}
    last = None if step is None else margins[step]
    sets = None
    if step is not None:
        verdict = np.stack(
            [one.verdict[one.steps == step][0, rows] for one, rows in zip(series, matching.rows, strict=True)]
        )
        verdict = verdict[:, (verdict < VERDICT_NAMES.index("undecided")).all(axis=0)]
        sets = verdict == UNSPEAKABLE
    return GroupRecord(
        factors=factors,
        series=[one.name for one in series],
        step=step,
        tokens=len(matching),
        split=None if last is None else _split(last, settings),
        initial=None if initial is None else _split(margins[initial], settings),
        ranked=None if last is None else _split(_ranked(last), settings),
        unspeakable=[] if sets is None else np.bincount(sets.sum(axis=0), minlength=len(series) + 1).tolist(),
        by_chance=[] if sets is None else _independent(sets),
    )


def _independent(sets: npt.NDArray[np.bool_]) -> list[float]:
    """How many tokens would lie in so many of independent sets of these sizes: from none to all."""
    chance = np.array([1.0])
    for share in sets.mean(axis=1).tolist():
        chance = np.convolve(chance, [1 - share, share])
    return (chance * sets.shape[1]).tolist()


def _margins_at(series: list[Trajectories], matching: Matching, step: int) -> npt.NDArray[np.float64]:
    return np.column_stack(
        [one.margin[one.steps == step][0, rows] for one, rows in zip(series, matching.rows, strict=True)]
    )


def _ranked(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    whole = values[np.isfinite(values).all(axis=1)]
    return rankdata(whole, axis=0) if len(whole) else whole


def _split(values: npt.NDArray[np.float64], settings: TraceSettings) -> VarianceSplit | None:
    return split(values, draws=settings.resamples, shuffles=settings.shuffles, seed=settings.seed)


# --- the table ------------------------------------------------------------------------------------------------------


def _places(series: Sequence[Trajectories]) -> list[npt.NDArray[np.int64]]:
    """The row of every token of every series: the same token of all series stands together."""
    keys: dict[object, int] = {}
    order: list[tuple[int, int, int]] = []
    same = all(one.names.pieces == series[0].names.pieces for one in series[1:])
    for at, one in enumerate(series):
        unique = {} if same else unique_names([one.names.name(token) for token in range(len(one))])
        for token in range(len(one)):
            name = one.names.name(token)
            key: object = token if same else name if name in unique else (at, token)
            order.append((keys.setdefault(key, len(keys)), at, token))
    found = [np.zeros(len(one), dtype=np.int64) for one in series]
    for row, (_, at, token) in enumerate(sorted(order)):
        found[at][token] = row
    return found


def _table(followed: Sequence[_Followed], places: Sequence[npt.NDArray[np.int64]]) -> pa.Table:
    whole = pa.concat_tables([_rows(one) for one in followed])
    return whole.take(np.argsort(np.concatenate(places)))


def _rows(one: _Followed) -> pa.Table:
    series, turned, found = one.series, one.changes, one.leaps
    steps, n = series.steps, len(series)
    nothing = np.full(n, np.nan)
    nowhere = np.full(n, -1)
    leap_at = nowhere if found is None else found.at
    verdicts, classes = np.array([*VERDICT_NAMES, None], dtype=object), np.array([*CLASSES], dtype=object)
    kinds = None
    if series.categories is not None:
        words = {bits: " ".join(kinds_of(bits)) for bits in np.unique(series.categories).tolist()}
        kinds = [[words[bits] for bits in row] for row in series.categories.T.tolist()]
    columns = {
        "series": [series.name] * n,
        "token_id": series.names.ids.astype(np.int32),
        "token": series.names.pieces,
        "text": series.names.texts,
        "steps": [steps.tolist()] * n,
        "verdict": verdicts[np.where(series.verdict == NONE, len(VERDICT_NAMES), series.verdict).T].tolist(),
        "class": classes[series.classes.T].tolist(),
        "margin": _lists(series.margin),
        "margin_lower": _lists(series.lower),
        "margin_upper": _lists(series.upper),
        "row_norm": _lists(series.norm),
        "categories": [None] * n if kinds is None else kinds,
        "became_after": _at(steps, turned.became[:, 0]),
        "became_by": _at(steps, turned.became[:, 1]),
        "stopped_after": _at(steps, turned.stopped[:, 0]),
        "stopped_by": _at(steps, turned.stopped[:, 1]),
        "changes": turned.count.astype(np.int32),
        "turns": turned.turns.astype(np.int32),
        "largest_share": _null(nothing if found is None else found.share),
        "leap": _null(nothing if found is None else found.leap),
        "leap_after": _at(steps, leap_at),
        "leap_by": _at(steps, np.where(leap_at < 0, -1, leap_at + 1)),
        "leap_p": _null(nothing if found is None else found.p),
        "leap_q": _null(nothing if found is None else found.q),
        "outlier_z": _null(one.far),
    }
    return pa.table([pa.array(columns[field.name], type=field.type) for field in TRACE], schema=TRACE)


def _lists(values: npt.NDArray[np.float64]) -> pa.Array:
    """`(t, n)` values as n lists, null where there is none."""
    flat = pa.array(values.T.ravel(), mask=~np.isfinite(values.T.ravel()))
    return pa.ListArray.from_arrays(np.arange(0, values.size + 1, max(1, len(values)), dtype=np.int32), flat)


def _null(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))


def _at(steps: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> pa.Array:
    """The steps at places, null for −1."""
    return pa.array(steps[places], mask=places < 0)
