"""What a comparison leaves in a run folder: `solvers.json`, and `solvers.parquet`, a row per backend and token."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, field, structs

from reach.compare.options import CompareSettings
from reach.runs.atomic import RUN_AGAIN, write_whole
from reach.runs.reading import Fraction, as_typed, read_table
from reach.strength.capture_recapture import Coverage
from reach.studies import StudyRecord
from solvers.errors import BadInput
from solvers.options import SettingsRow

# --- solvers.parquet ---


class Row(Struct, frozen=True, kw_only=True):
    """What one backend said of one token, and what the judge could prove from it: a row of `solvers.parquet`."""

    problem: str = ""  # model, gaussian, covariance
    backend: str = ""
    version: str = ""
    settings: str = ""  # digest of the settings
    token_id: int = -1
    stratum: str = ""
    truth: str = ""  # speakable, unspeakable or undecided, from the scan's proofs
    status: str  # the backend's own word, or how its process failed
    claim: str | None = None  # speakable, unspeakable; none when it made none
    verified: str | None = None  # what the checkers proved from its certificate; none for nothing
    lower: float | None = None  # bounds re-derived by the checkers, logits
    upper: float | None = None
    claimed_lower: float | None = None
    claimed_upper: float | None = None
    seconds: float
    work: str | None = None  # JSON: the backend's own counters, for the call that held this token
    note: str | None = None


_TEXT, _NUMBER = pa.string(), pa.float64()
_COLUMN = {str: _TEXT, str | None: _TEXT, float: _NUMBER, float | None: _NUMBER, int: pa.int32()}
_KINDS = get_type_hints(Row)
SOLVERS = pa.schema([(name, _COLUMN[_KINDS[name]]) for name in Row.__struct_fields__])


def write_rows(file: Path, rows: list[Row]) -> None:
    """Write a table of rows.

    Raises:
        BadInput: it cannot be written.
    """
    table = pa.Table.from_pylist([structs.asdict(row) for row in rows], schema=SOLVERS)
    write_whole(file, lambda partial: pq.write_table(table, partial), again=RUN_AGAIN)


def read_rows(file: Path) -> list[Row]:
    """Read a table of rows.

    Raises:
        BadInput: it is damaged.
    """
    again = "delete it and run the comparison again"
    return as_typed(read_table(file, again=again, schema=SOLVERS).to_pylist(), list[Row], file, again=again)


# --- solvers.json ---


class Rate(Struct, frozen=True, kw_only=True):
    """A share with its 95 % interval."""

    rate: Fraction
    low: Fraction
    high: Fraction
    of: int


class CalledUnspeakable(Struct, frozen=True, kw_only=True):
    """Tokens that a backend called unspeakable, or gave up on, by what the proofs say of them."""

    proved_speakable: tuple[int, ...] = ()
    proved_unspeakable: tuple[int, ...] = ()
    open: tuple[int, ...] = ()


class Grade(Struct, frozen=True, kw_only=True):
    """One backend on one problem (see `reach.compare.grade.grade`)."""

    backend: str
    version: str
    given: int
    verified: int
    verified_rate: Rate | None
    claims: int
    right: int
    right_rate: Rate | None
    false_unspeakable: int
    false_unspeakable_rate: Rate | None = None
    false_speakable: int
    limit_hit: int
    failures: dict[str, int]
    seconds_shifted_geometric_mean: float | None
    seconds_median: float | None
    gap_median: float | None
    bounds_given: int = 0
    work: dict[str, float | None] = {}
    wrong_tokens: tuple[int, ...]
    note: str | None = None
    called_unspeakable: CalledUnspeakable = CalledUnspeakable()
    gave_up: CalledUnspeakable = CalledUnspeakable()  # searched, not found, not verified: no claim
    sentence: str = ""

    @property
    def missed(self) -> int:
        """Tokens that it gave up on though they are proved speakable."""
        return len(self.gave_up.proved_speakable)


class Apart(Struct, frozen=True, kw_only=True):
    """A token that backends disagree on: who said what, and the truth that settles it."""

    token_id: int
    truth: str
    claims: dict[str, str]


class Disagreements(Struct, frozen=True, kw_only=True):
    """Per pair of backends, how many tokens one claims speakable and the other unspeakable, of how many."""

    backends: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    compared: tuple[tuple[int, ...], ...]
    tokens: tuple[Apart, ...]

    def __post_init__(self) -> None:
        size = len(self.backends)
        for table in (self.counts, self.compared):
            if [len(row) for row in table] != [size] * size:
                raise BadInput("the disagreements are not those of every two backends")


class Profile(Struct, frozen=True, kw_only=True):
    """A performance profile: per backend the share of tokens solved within tau times the fastest time."""

    tau: tuple[float, ...]
    share: dict[str, tuple[float, ...]]
    tokens: int

    def __post_init__(self) -> None:
        if any(len(values) != len(self.tau) for values in self.share.values()):
            raise BadInput("a profile has not one share for each time")


class Sampled(Struct, frozen=True, kw_only=True):
    """How large a sample is, and what it is made of."""

    size: int
    strata: dict[str, int]


class Outcome(Struct, frozen=True, kw_only=True):
    """All backends on one problem."""

    sample: Sampled
    grades: tuple[Grade, ...]
    disagreements: Disagreements
    profile: Profile
    verdicts: dict[str, int] = {}


class Level(Struct, frozen=True, kw_only=True):
    """Recall at one level of planted margin."""

    level: float
    rate: float
    found: int
    tried: int
    low: float
    high: float
    confidence: float


class Limit(Struct, frozen=True, kw_only=True):
    """Recall by level for plants of one truth, and the smallest level down to which nearly all are found."""

    recall: tuple[Level, ...]
    limit: float | None
    statement: str


class Detection(Struct, frozen=True, kw_only=True):
    """One backend on one planted head under one budget."""

    backend: str
    d: int
    v: int
    per_level: int
    offsets: bool
    iterations: int | None
    tried: int
    plants: int
    misclaimed: int
    seconds: float
    speakable: Limit | None
    unspeakable: Limit | None

    @property
    def head(self) -> str:
        """The planted head in words."""
        return f"{self.v} × {self.d}, {'with' if self.offsets else 'no'} offsets"

    @property
    def budget(self) -> str:
        """The budget in words."""
        return "its own" if self.iterations is None else f"{self.iterations} iterations"


class Estimate(Struct, frozen=True, kw_only=True):
    """How many tokens there are to find, estimated from repeated finds (see `reach.strength.capture_recapture`)."""

    method: str
    observed: int
    estimate: float
    low: float
    high: float | None  # none: unbounded
    variance: float | None
    once: int
    twice: int
    samples: int
    confidence: float
    missed: float
    holds_truth: bool

    @property
    def interval(self) -> str:
        """Its interval in words."""
        return f"{self.low:,.0f} to {'unbounded' if self.high is None else f'{self.high:,.0f}'}"


class Hidden(Struct, frozen=True, kw_only=True):
    """What the restarts of one method found, how many there are by their estimate, and the truth."""

    method: str
    restarts: int
    budget: str
    cut: bool = False
    pool: int
    found: int
    found_per_restart: tuple[int, ...] | None = None
    truth: int
    undecided: int
    wrong: int
    estimates: tuple[Estimate, ...]
    unseen: Coverage | None

    @property
    def best(self) -> Estimate | None:
        """The estimate that is shown."""
        return self.estimates[0] if self.estimates else None


class Pair(Struct, frozen=True, kw_only=True):
    """Every token's class over two domains, counted."""

    first: str
    second: str
    compared: int = 0
    changed: int = 0
    verdict_changed: int = 0
    way_changed: int = 0
    asked_once: int = 0
    classes: tuple[str, ...] = ()
    matrix: tuple[tuple[int, ...], ...] = ()
    words: str


class Change(Struct, frozen=True, kw_only=True):
    """Tokens whose class differs between two domains.

    Attributes:
        first, second: descriptions of the domains.
        before, after: the classes (or verdicts) under the first and the second.
        count: how many tokens.
        tokens: their ids, ascending.
        contradiction: both verdicts cannot be true: speakable over a domain inside one over which it is unspeakable.
    """

    first: str
    second: str
    before: str
    after: str
    count: int
    tokens: tuple[int, ...] = ()
    contradiction: bool


class Domains(Struct, frozen=True, kw_only=True):
    """The same head over several domains."""

    own: str = ""
    verdicts: dict[str, dict[str, int]] = {}
    open: dict[str, int] = {}
    pairs: tuple[Pair, ...] = ()
    changes: tuple[Change, ...] = ()


class Ability(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a backend can do, or only why it is missing."""

    name: str
    missing: str | None = None
    version: str | None = None
    domains: tuple[str, ...] | None = None
    offsets_on_free: bool | None = None
    batched: bool | None = None
    devices: tuple[str, ...] | None = None
    proves_negative: bool | None = None
    complete: bool | None = None
    note: str | None = None


class Comparison(StudyRecord, frozen=True, kw_only=True):
    """`solvers.json`."""

    FILE: ClassVar[str] = "solvers.json"
    PAGE: ClassVar[str] = "solvers.html"
    MAKE: ClassVar[str] = "reach compare-solvers MODEL"
    AGAIN: ClassVar[str] = "compare again"

    kind: str = "compare"
    model: str
    fingerprint: str
    v: int
    d: int
    domain: str
    squared_radius: float | None = None
    settings: CompareSettings
    longest: float | None = None
    backends: tuple[Ability, ...] = ()
    settings_map: tuple[SettingsRow, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    problems: dict[str, Outcome]
    tokens: dict[str, str] = field(default_factory=dict)
    domains: Domains | None = None
    hidden: tuple[Hidden, ...] | None = None
    detection: tuple[Detection, ...] | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if "model" not in self.problems:
            raise BadInput("the model's own head is not among the problems")

    @property
    def main(self) -> Outcome:
        """The comparison on the model's own head."""
        return self.problems["model"]
