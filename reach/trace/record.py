"""What a trace leaves in its folder: `trace.json` for programs and the page, `trace.parquet` with trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from reach.runs.atomic import RUN_AGAIN, check_place, write_whole
from reach.runs.manifest import Span
from reach.runs.reading import read_table
from reach.studies import StudyRecord
from reach.trace.association import Overlap, RankCorrelation
from reach.trace.options import TraceSettings
from reach.trace.trajectories import Control
from reach.trace.variance import VarianceSplit
from solvers.errors import BadInput

TABLE_FILE = "trace.parquet"
PAGE_FILE = "trace.html"
_AGAIN = "run 'reach trace' again with --force"

TRACE = pa.schema(
    [
        ("series", pa.string()),
        ("token_id", pa.int32()),  # in the series' first run
        ("token", pa.string()),
        ("text", pa.string()),
        ("steps", pa.list_(pa.int64())),
        ("verdict", pa.list_(pa.string())),  # null where it was not asked for
        ("class", pa.list_(pa.string())),  # speakable ones as own-direction or hard-to-speak
        ("margin", pa.list_(pa.float64())),  # the bound that goes with the verdict, logits; null where undecided
        ("margin_lower", pa.list_(pa.float64())),
        ("margin_upper", pa.list_(pa.float64())),
        ("row_norm", pa.list_(pa.float64())),
        ("categories", pa.list_(pa.string())),  # separated by spaces; null where a run does not say
        ("became_after", pa.int64()),  # the last step without, and the first with: of the latest such change
        ("became_by", pa.int64()),
        ("stopped_after", pa.int64()),
        ("stopped_by", pa.int64()),
        ("changes", pa.int32()),  # of verdict
        ("turns", pa.int32()),  # between speakable and not
        ("largest_share", pa.float64()),  # of all that its margin moved, in the one largest interval
        ("leap", pa.float64()),  # the same beyond the common path, see reach.trace.leaps
        ("leap_after", pa.int64()),
        ("leap_by", pa.int64()),
        ("leap_p", pa.float64()),
        ("leap_q", pa.float64()),
        ("outlier_z", pa.float64()),  # of the distance from the median trajectory of its class
    ]
)
"""A row per series and token."""


class RunEntry(Struct, frozen=True):
    """A run that was traced."""

    run: str
    model: str
    series: str
    step: int
    fingerprint: str


class LeftOutRun(Struct, frozen=True):
    """A run that was not, and why."""

    run: str
    why: str


class StepCounts(Struct, frozen=True):
    """A checkpoint of a series.

    Attributes:
        step: of training.
        classes: tokens by class.
        median_margin, low_margin, high_margin: median and quartiles of the margins, logits; None without any.
        with_last: rank correlation of its margins with those of the last checkpoint.
    """

    step: int
    classes: dict[str, int]
    median_margin: float | None
    low_margin: float | None
    high_margin: float | None
    with_last: float | None


class IntervalCounts(Struct, frozen=True):
    """Between two neighbouring checkpoints: tokens whose change to speakable, and to not speakable, lies there."""

    after: int
    by: int
    became: int
    stopped: int


class NamedToken(Struct, frozen=True):
    """A token that the page names; `value` is why."""

    row: int
    token: str
    value: float


class SuddenRecord(Struct, frozen=True):
    """Sudden against smooth in a series.

    Attributes:
        tested: tokens whose margins are known throughout.
        rate: false discoveries allowed.
        sudden: tokens with q below it.
        half: share of the tokens with p < 0.05 (0.05 under the null).
        share: median over tokens of the share of their movement in their largest interval, and quartiles.
        common: that share of the median trajectory.
        leap: median over tokens of the leap beyond the common path.
        shuffled: its 5, 50 and 95 % quantiles for shuffled tokens.
        named: the most sudden ones.
    """

    tested: int
    rate: float
    sudden: int
    below: float
    share: tuple[float, float, float]
    common: float
    leap: float
    shuffled: tuple[float, float, float]
    named: list[NamedToken]


class SeriesRecord(Struct, frozen=True, kw_only=True):
    """One training run.

    Attributes:
        name, factors: which.
        tokens: in every run of it.
        by_id: whether all its runs have one vocabulary.
        ambiguous, missing: tokens that were not matched, the most of any run.
        steps: checkpoint by checkpoint.
        intervals: between them.
        became, stopped: tokens whose latest change was the one or the other.
        oscillating: tokens that turned more than once.
        turned: tokens that turned at all.
        undecided: tokens that are undecided at some step.
        both_ends: share of the margins that are bounded from both sides.
        sudden: None where the trajectories are too few or too short.
        outliers: the farthest ones of those beyond the threshold, and how many there are.
        outlying: how many.
        from_first: rank correlation of the first checkpoint's margins with the last's; None for a single one.
        unspeakable_from_first: of the tokens unspeakable at the end, how many were so at the first checkpoint.
        control: of a run's controls.parquet.
    """

    name: str
    factors: dict[str, str]
    tokens: int
    by_id: bool
    ambiguous: int
    missing: int
    steps: list[StepCounts]
    intervals: list[IntervalCounts]
    became: int
    stopped: int
    oscillating: int
    turned: int
    undecided: int
    both_ends: float
    sudden: SuddenRecord | None
    outlying: int
    outliers: list[NamedToken]
    oscillators: list[NamedToken]
    from_first: RankCorrelation | None
    unspeakable_from_first: Overlap | None
    control: Control | None


class PairRecord(Struct, frozen=True, kw_only=True):
    """Two series at their last common step.

    Attributes:
        one, other: their names.
        differ: factors in which they differ.
        step: the last that both have.
        matched: tokens in both.
        by_id: whether both have one vocabulary.
        ambiguous, missing: of each, not matched.
        rho: rank correlation of the margins; None where they are too few.
        initial: the same where both have their initialised model.
        unspeakable: the sets of unspeakable tokens.
        outliers: tokens farthest from the common line, `value` is the difference of their ranks, as a share of all.
    """

    one: str
    other: str
    differ: list[str]
    step: int
    matched: int
    by_id: bool
    ambiguous: tuple[int, int]
    missing: tuple[int, int]
    rho: RankCorrelation | None
    initial: RankCorrelation | None
    unspeakable: Overlap | None
    outliers: list[NamedToken]


class GroupRecord(Struct, frozen=True, kw_only=True):
    """Series that differ in nothing but the seed.

    Attributes:
        factors: that they share.
        series: their names.
        step: the last that all have; None without any.
        tokens: that all have.
        split: of their margins there; None where it cannot be said.
        initial: the same of their initialised models; None where not all have one.
        ranked: the same of the ranks of the margins within each series, which no few large margins rule.
        unspeakable: tokens that are unspeakable under so many of the seeds, from none to all.
        by_chance: how many there would be, were the seeds independent.
    """

    factors: dict[str, str]
    series: list[str]
    step: int | None
    tokens: int
    split: VarianceSplit | None
    initial: VarianceSplit | None
    ranked: VarianceSplit | None
    unspeakable: list[int]
    by_chance: list[float]


class LevelRecord(Struct, frozen=True, kw_only=True):
    """One level of a factor at the last step that all series have.

    Attributes:
        unspeakable: tokens, by series.
        median_margin: logits, by series.
        against: difference from the factor's first level over the same seeds, with a t interval; None without pairs.
        margin_against: the same of the median margins.
        pairs: how many seeds both have.
    """

    level: str
    series: list[str]
    unspeakable: list[int]
    median_margin: list[float | None]
    against: Span | None
    margin_against: Span | None
    pairs: int


class FactorRecord(Struct, frozen=True):
    """A factor, its levels, the step they are compared at, and further factors that change along with it."""

    name: str
    step: int
    levels: list[LevelRecord]
    along: list[str]


class TraceRecord(StudyRecord, frozen=True, kw_only=True):
    """A trace.

    Attributes:
        settings: of the statistics.
        domain: of all runs.
        margins: the gap that all runs were asked to bound margins to, or none.
        runs: sorted by series and step.
        left_out: runs that could not be used.
        notes: one line each.
        series, pairs, groups, factors: see their classes.
        command: that made it.
        versions: of packages, by name.
        finished: in ISO form, UTC.
        seconds: wall clock.
    """

    FILE: ClassVar[str] = "trace.json"
    PAGE: ClassVar[str] = PAGE_FILE
    MAKE: ClassVar[str] = "reach trace RUNS"
    AGAIN: ClassVar[str] = _AGAIN

    settings: TraceSettings
    domain: str
    margins: float | None
    runs: list[RunEntry]
    left_out: list[LeftOutRun]
    notes: list[str]
    series: list[SeriesRecord]
    pairs: list[PairRecord]
    groups: list[GroupRecord]
    factors: list[FactorRecord]
    command: list[str]
    versions: dict[str, str]
    finished: str
    seconds: float


@dataclass(frozen=True)
class TraceResult:
    """A record and its table."""

    record: TraceRecord
    table: pa.Table

    @classmethod
    def read(cls, folder: Path) -> TraceResult:
        """Read both from a folder.

        Raises:
            BadInput: one is missing, damaged, of another schema, or they do not fit each other.
        """
        record = TraceRecord.read(folder)
        table = read_table(folder / TABLE_FILE, again=_AGAIN, schema=TRACE)
        known = {one.name: (one.tokens, [step.step for step in one.steps]) for one in record.series}
        count: dict[str, int] = {}
        for name, steps in zip(table.column("series").to_pylist(), table.column("steps").to_pylist(), strict=True):
            count[name] = count.get(name, 0) + 1
            if name not in known or steps != known[name][1]:
                raise BadInput(f"{folder / TABLE_FILE}: a row is of no series of the record; {_AGAIN}")
        for name, (tokens, _) in known.items():
            if count.get(name, 0) != tokens:
                raise BadInput(f"{folder / TABLE_FILE}: not as many rows of {name} as the record says; {_AGAIN}")
        for pair in record.pairs:
            for name in (pair.one, pair.other):
                if name not in known or pair.step not in known[name][1]:
                    raise BadInput(
                        f"{folder / record.FILE}: {pair.one} and {pair.other} are no such series; {_AGAIN}"
                    )
        return cls(record, table)

    def write(self, folder: Path) -> None:
        """Write both into a folder, the table first: a folder with the record is complete.

        Raises:
            BadInput: one cannot be written.
        """
        write_whole(folder / TABLE_FILE, lambda partial: pq.write_table(self.table, partial), again=RUN_AGAIN)
        self.record.write(folder)


def check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a place that cannot be a trace's folder, or holds one already.

    Raises:
        BadInput: it is a file, or holds a trace and `force` is off.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file, but a trace is a folder; choose another --out")
    if folder.is_dir():
        for name in (TraceRecord.FILE, TABLE_FILE, PAGE_FILE):
            check_place(folder / name, force=force)
