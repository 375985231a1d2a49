"""What a search leaves in its run folder, as classes: each file is written and read by the same one.

`search.json` is a `SearchRecord`, `search.parquet` a `SearchTable`; the tables under `search_witnesses/` hold one
`PromptRow`, `HullRow` or `NearestRow` per row; `search_state/state.json` is a `State`. Entries that came later have
defaults that mean "not known".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_type_hints

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Meta, Struct

from reach.runs import reading
from reach.runs.atomic import RESUME, write_whole
from reach.runs.reading import Fraction
from reach.search.options import LEVELS, SearchSettings
from reach.strength.capture_recapture import Richness
from reach.strength.rates import wilson
from reach.studies import StudyRecord
from solvers.errors import BadInput

SCHEMA_VERSION = 1
JSON_FILE, TABLE_FILE, PAGE_FILE = "search.json", "search.parquet", "search.html"
WITNESSES = "search_witnesses"
AGAIN = "search again with --force"

Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0)]
Level = Annotated[str, Meta(pattern=rf"^({'|'.join(LEVELS)})\Z")]
Row = TypeVar("Row", bound=Struct)
_MOST_BYTES = 2**29
"""Of a table that becomes records: these take some ten times as much."""


# --- how strong the search was --------------------------------------------------------------------------------------


class Recall(Struct, frozen=True):
    """A share of tokens with the 95 % interval of Wilson."""

    found: Count
    tried: Annotated[int, Meta(ge=1, le=2**53)]
    share: Fraction
    low: Fraction
    high: Fraction

    def __post_init__(self) -> None:
        _must(self.found <= self.tried, f"{self.found} of {self.tried}")

    @classmethod
    def of(cls, found: int, tried: int) -> Recall | None:
        """The share and its interval; none of none."""
        if tried == 0:
            return None
        rate = wilson(found, tried)
        return cls(found, tried, rate.share, rate.low, rate.high)


class Estimate(Struct, frozen=True):
    """How many there are in all, with its 95 % interval."""

    estimate: float
    low: float
    high: float | None

    @classmethod
    def of(cls, value: Richness) -> Estimate:
        """The same without infinity."""
        return cls(float(value.estimate), float(value.low), float(min(value.high, 1e9)))


class Planted(Struct, frozen=True):
    """Tokens that fresh random inputs brought up, and how many of them the search had found.

    Attributes:
        inputs: random inputs that won clearly.
        all, rare: of all tokens that came up, and of those that came up once.
        missed: tokens that the search had not found.
    """

    level: Level
    length: Count
    inputs: Count
    all: Recall | None
    rare: Recall | None
    missed: tuple[Count, ...]


class Runs(Struct, frozen=True, kw_only=True):
    """Independent runs at one level.

    Attributes:
        sample: tokens looked for.
        found, attempted, seconds, inputs: of each run.
        known: tokens of the sample known to be reachable, `union`, those that the runs found.
        recall: of one run, of what is known.
        chao2, chapman: how many of the sample can be reached, at least.
        missed_by_search: tokens that the runs found and the search had not, `confirmed`, how many of them replayed.
    """

    level: Level
    length: Count
    sample: Annotated[int, Meta(ge=1, le=2**53)]
    runs: Count
    found: Annotated[tuple[Count, ...], Meta(min_length=1)]
    attempted: Annotated[tuple[Count, ...], Meta(min_length=1)] | None = None
    seconds: tuple[Seconds, ...] = ()
    inputs: tuple[Count, ...] = ()
    known: Count
    union: Count
    recall: Recall | None
    chao2: Estimate | None
    chapman: Estimate | None = None
    missed_by_search: tuple[Count, ...]
    confirmed: Count | None = None

    def __post_init__(self) -> None:
        _must(
            max(self.found) <= self.union <= self.sample and self.known <= self.sample, "more found than looked for"
        )
        _must((self.confirmed or 0) <= len(self.missed_by_search) <= self.sample, "more missed than looked for")
        _must(self.chao2 is not None or not any(self.found), "found, but without an estimate")


class Contest(Struct, frozen=True):
    """Inputs tried, seconds and tokens found of one method, from nothing."""

    level: Level
    length: Count
    method: str
    sample: Count
    points: Annotated[tuple[tuple[Count, Seconds, Count], ...], Meta(min_length=1)]


class Unfound(Struct, frozen=True):
    """What can be said of the reachable tokens of one level that were not found.

    Attributes:
        level: its name.
        found: tokens found at it.
        at_least: reachable tokens still unfound, at least; none where nothing can be said.
        low: the same at the lower ends of the 95 % intervals.
        by: the level whose runs say so; none where no runs were needed or none could say.
        too_weak: why nothing can be said.
    """

    level: Level
    found: Count
    at_least: Count | None
    low: Count | None
    by: Level | None
    too_weak: str | None


class Strength(Struct, frozen=True, kw_only=True):
    """All that was measured of a search.

    Attributes:
        planted, runs, curves: planted targets, independent runs, methods against each other.
        found_before: tokens found by level, before measuring.
        unfound: what is still unfound, at least.
        credited: tokens times levels that the measuring itself brought.
    """

    planted: tuple[Planted, ...]
    runs: tuple[Runs, ...]
    curves: tuple[Contest, ...] = ()
    found_before: dict[Level, Count] | None = None
    unfound: tuple[Unfound, ...] | None = None
    credited: Count = 0


# --- search.json ----------------------------------------------------------------------------------------------------


class FunnelRow(Struct, frozen=True):
    """Tokens left after a level, and those lost there; the first row counts all that were asked for."""

    level: str
    words: str
    tokens: Count
    lost: int


class Contradiction(Struct, frozen=True):
    """A token that the head proves unspeakable and that an input brought up."""

    token_id: Count
    level: Level


class Replayed(Struct, frozen=True):
    """Witnesses that were run again, failed, failed in the model's own dtype, and were not run for lack of time."""

    replayed: Count
    failed: Count
    own_failed: Count
    unchecked: Count = 0
    seconds: Seconds | None = None


class CurvePoint(Struct, frozen=True):
    """Tokens found at one level after so much work: seconds, inputs of all levels, inputs of this level."""

    level: Level
    length: Count
    optimiser: str
    seconds: Seconds
    inputs: Count
    level_inputs: Count
    found: Count


class Attempted(Struct, frozen=True):
    """Attempts at tokens as targets, and those that ended with the token."""

    tries: Count
    wins: Count


class Form(Struct, frozen=True):
    """One way to ask a model to repeat a token. `{}` stands for the token."""

    name: str
    text: str


class Repeat(Struct, frozen=True):
    """The repeat test.

    Attributes:
        forms: those that were put; `skipped`, why others were not.
        asked: tokens asked for; `top`, how many of them came first, by form.
        failed_all: tokens that no form brought back; none where no form was put.
    """

    forms: tuple[Form, ...]
    skipped: dict[str, str]
    asked: Count
    top: dict[str, Count]
    failed_all: Count | None

    def __post_init__(self) -> None:
        _must({form.name for form in self.forms} <= set(self.top), "a form of the repeat test has no result")


class Fixed(Struct, frozen=True):
    """Ids of the fixed tokens around the free positions."""

    before: tuple[Count, ...]
    after: tuple[Count, ...]


class Parts(Struct, frozen=True):
    """Where the seconds went."""

    search: float
    repeat: float
    replay: float
    measuring: float
    writing: float


class SearchRecord(StudyRecord, frozen=True, kw_only=True):
    """`search.json`: what was asked, what was found, and how strong the search was.

    Attributes:
        model, loading: the model as the user named it, and what finds it again.
        fingerprint: of the input and output embeddings.
        v, d, dtype: logits, width of the input, the model's own dtype.
        norm_range: smallest and largest norm of its input embeddings.
        asked: tokens asked for.
        inputs, attempts: by level.
        incomplete: names of the phases that time did not suffice for.
        batch_shrunk: how often memory ran out.
        search_seconds, seconds: of searching, and of everything.
    """

    FILE: ClassVar[str] = JSON_FILE
    PAGE: ClassVar[str] = PAGE_FILE
    MAKE: ClassVar[str] = "reach search MODEL"
    AGAIN: ClassVar[str] = "search again"
    MENDED: ClassVar[str] = RESUME

    kind: str = "search"
    model: str
    loading: dict[str, Any]
    fingerprint: str
    tokens: str | None
    v: Annotated[int, Meta(ge=0, le=reading.MOST_ROWS)]
    d: Count
    dtype: str
    fixed: Fixed
    norm_range: tuple[float, float]
    levels: tuple[Level, ...]
    asked: Count
    funnel: tuple[FunnelRow, ...]
    contradictions: tuple[Contradiction, ...]
    replay: Replayed
    strength: Strength | None
    curve: tuple[CurvePoint, ...]
    inputs: dict[Level, Count]
    attempts: dict[Level, Attempted]
    repeat: Repeat | None
    incomplete: tuple[str, ...]
    batch_shrunk: Count
    settings: SearchSettings
    warnings: tuple[str, ...]
    command: tuple[str, ...]
    versions: dict[str, str]
    hardware: dict[str, Any]
    finished: str
    search_seconds: Seconds
    seconds: Seconds
    parts: Parts | None = None
    peak_memory_bytes: Count

    def __post_init__(self) -> None:
        names = [row.level for row in self.funnel]
        head = ["head"] if "head" in names else []
        _must(self.levels == tuple(level for level in LEVELS if level in self.levels), "levels out of order")
        _must(names == ["asked", *head, *self.levels], "the funnel is not of the levels searched")
        before = None if self.strength is None else self.strength.found_before
        _must(before is None or set(self.levels) <= set(before), "a level is missing in found_before")


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


# --- an unfinished search -------------------------------------------------------------------------------------------


class Asked(Struct, frozen=True):
    """What an unfinished search was asked; only the same question may go on with it."""

    model: str
    fingerprint: str
    settings: SearchSettings
    tokens: str | None

    def differs(self, other: Asked) -> str | None:
        """In what two questions differ, in words."""
        if self.fingerprint != other.fingerprint:
            return "of another model"
        if self.settings.lasting() != other.settings.lasting():
            return "with other settings"
        return "for other --tokens" if self.tokens != other.tokens else None


class State(Struct, frozen=True, kw_only=True):
    """`search_state/state.json`: how far an unfinished search came. Phases in `done` need not be done again."""

    schema: int = SCHEMA_VERSION
    asked: Asked
    done: tuple[str, ...]
    curve: tuple[CurvePoint, ...]
    inputs: dict[Level, Count]
    seconds: Seconds


# --- tables ---------------------------------------------------------------------------------------------------------

Whole = Annotated[int, pa.int32()]
Wholes = Annotated[list[int], pa.list_(pa.int32())]
Singles = Annotated[list[float], pa.list_(pa.float32())]


class PromptRow(Struct, frozen=True):
    """A witness of real tokens: `ids` between the fixed tokens, and the text that they decode to, if any."""

    token_id: Whole
    level: Annotated[Level, pa.string()]
    how: Annotated[str, pa.string()]
    margin: Annotated[float, pa.float64()]
    ids: Wholes
    text: Annotated[str | None, pa.string()]


class HullRow(Struct, frozen=True):
    """One position of a witness in the hull: rows and their weights; row −1 is the mean of all rows."""

    token_id: Whole
    margin: Annotated[float, pa.float64()]
    position: Whole
    row_id: Wholes
    weight: Singles


class NearestRow(Struct, frozen=True):
    """The real tokens nearest to one position of an embedding, the nearest first."""

    token_id: Whole
    level: Annotated[Level, pa.string()]
    position: Whole
    row_id: Wholes
    distance: Singles


@dataclass(frozen=True)
class TokenColumns:
    """What is known of each token.

    Attributes:
        verdict: of the head; none without a scan.
        head_margin: the scan's lower bound, logits.
        first_failed: head, or the loosest level not reached; none where all were, or not asked.
        steps: optimisation steps spent on this token as a target.
    """

    token_id: Annotated[Sequence[int], pa.int32()]
    token: Annotated[Sequence[str | None], pa.string()]
    text: Annotated[Sequence[str | None], pa.string()]
    asked: Annotated[Sequence[bool], pa.bool_()]
    verdict: Annotated[Sequence[str | None], pa.string()]
    head_margin: Annotated[Sequence[float | None], pa.float64()]
    first_failed: Annotated[Sequence[str | None], pa.string()]
    steps: Annotated[Sequence[int], pa.int64()]


@dataclass(frozen=True)
class LevelColumns:
    """What is known of each token at one level; all none where it was not searched.

    Attributes:
        margin, margin_own: of the replayed witness, logits, in float32 and in the model's own dtype.
        witness: level under which the witness is stored.
    """

    hit: Annotated[Sequence[bool | None], pa.bool_()]
    margin: Annotated[Sequence[float | None], pa.float64()]
    margin_own: Annotated[Sequence[float | None], pa.float64()]
    length: Annotated[Sequence[int | None], pa.int32()]
    witness: Annotated[Sequence[str | None], pa.string()]
    steps: Annotated[Sequence[int | None], pa.int64()]


@dataclass(frozen=True)
class RepeatColumns:
    """The repeat test in one form: the probability that the model gives to the token, and whether it comes first."""

    probability: Annotated[Sequence[float | None], pa.float64()]
    top: Annotated[Sequence[bool | None], pa.bool_()]


@dataclass(frozen=True)
class SearchTable:
    """`search.parquet`, one row per token: columns of the token, of each level, of each form of the repeat test."""

    tokens: TokenColumns
    levels: dict[str, LevelColumns]
    repeat: dict[str, RepeatColumns]

    @classmethod
    def read(cls, run: Path, record: SearchRecord) -> SearchTable:
        """Read the table that belongs to a record.

        Raises:
            BadInput: there is none, or it is damaged or of another search.
        """
        file, forms = run / TABLE_FILE, [form.name for form in record.repeat.forms] if record.repeat else []
        groups = cls._groups(forms)
        schema = pa.schema([field for prefix, kind in groups for field in schema_of(kind, prefix)])
        table = reading.read_table(file, again=AGAIN, schema=schema, most_rows=record.v)
        if table.num_rows != record.v:
            raise BadInput(f"{file}: has {table.num_rows} rows for {record.v} tokens; {AGAIN}")
        columns = table.to_pydict()
        parts = [kind(*(columns[prefix + one.name] for one in fields(kind))) for prefix, kind in groups]
        ends = 1 + len(LEVELS)
        levels = dict(zip(LEVELS, parts[1:ends], strict=True))
        return cls(parts[0], levels, dict(zip(forms, parts[ends:], strict=True)))

    def write(self, run: Path) -> None:
        """Write it into a run folder.

        Raises:
            BadInput: it cannot be written.
        """
        parts = [self.tokens, *(self.levels[level] for level in LEVELS), *self.repeat.values()]
        columns: dict[str, Any] = {}
        named: list[pa.Field] = []
        for (prefix, kind), part in zip(self._groups(list(self.repeat)), parts, strict=True):
            columns |= {prefix + one.name: getattr(part, one.name) for one in fields(kind)}
            named += schema_of(kind, prefix)
        table = pa.table(columns, schema=pa.schema(named))
        write_whole(run / TABLE_FILE, lambda partial: pq.write_table(table, partial))

    @staticmethod
    def _groups(forms: Sequence[str]) -> list[tuple[str, type[Any]]]:
        """What the columns of each group begin with, and their class."""
        groups: list[tuple[str, type[Any]]] = [("", TokenColumns)]
        groups += [(f"{level}_", LevelColumns) for level in LEVELS]
        return groups + [(f"repeat_{form}_", RepeatColumns) for form in forms]


def schema_of(kind: type[Any], prefix: str = "") -> pa.Schema:
    """The columns of a class of rows or columns, by the kinds that its fields are annotated with."""
    hints = get_type_hints(kind, include_extras=True)
    found = {
        prefix + name: next(one for one in get_args(hint) if isinstance(one, pa.DataType))
        for name, hint in hints.items()
    }
    return pa.schema(list(found.items()))


def write_rows(folder: Path, name: str, kind: type[Row], rows: Iterable[Row]) -> None:
    """Write `name.parquet`, one record per row.

    Raises:
        BadInput: it cannot be written.
    """
    table = pa.Table.from_pylist([msgspec.to_builtins(row) for row in rows], schema=schema_of(kind))
    write_whole(folder / f"{name}.parquet", lambda partial: pq.write_table(table, partial))


def read_rows(folder: Path, name: str, kind: type[Row], *, again: str = AGAIN) -> list[Row]:
    """Read `name.parquet`; `again` says what to do where it cannot be used.

    Raises:
        BadInput: it is missing or damaged.
    """
    file = folder / f"{name}.parquet"
    table = reading.read_table(file, again=again, schema=schema_of(kind))
    if table.nbytes > _MOST_BYTES:
        raise BadInput(f"{file}: holds {table.nbytes} bytes, more than any search leaves there; {again}")
    return reading.as_typed(table.to_pylist(), list[kind], file, again=again)  # type: ignore[valid-type]


@dataclass(frozen=True)
class SearchResult:
    """A finished search as its page shows it."""

    record: SearchRecord
    table: SearchTable
    prompts: list[PromptRow]
    nearest: list[NearestRow]

    @classmethod
    def read(cls, run: Path) -> SearchResult:
        """Read a run folder.

        Raises:
            BadInput: it holds no search, or a damaged one.
        """
        record = SearchRecord.read(run)
        table, folder = SearchTable.read(run, record), run / WITNESSES
        return cls(record, table, read_rows(folder, "prompts", PromptRow), read_rows(folder, "nearest", NearestRow))
