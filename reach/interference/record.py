"""What `reach interference` leaves in a run folder: `interference.json` and `interference.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from reach.interference.options import InterferenceSettings
from reach.interference.structure import Blocks, DictionaryCurve
from reach.interference.subspaces import Optimum, Transition
from reach.runs.atomic import RUN_AGAIN, write_whole
from reach.runs.reading import read_table
from reach.studies import StudyRecord
from solvers.errors import BadInput

# --- interference.parquet ---

TABLE_FILE = "interference.parquet"
TABLE = pa.schema(
    [
        ("rows", pa.string()),  # W | A | E
        ("centred", pa.bool_()),  # less the mean of all rows
        ("token_id", pa.int32()),
        ("token", pa.string()),  # the vocabulary's own piece; null without one
        ("strongest_id", pa.int32()),  # the strongest interferer; null for a row without a direction
        ("strongest_cos", pa.float64()),  # its |cos|
        ("above_epsilon", pa.int32()),  # other rows with |cos| above ε_JL; null where ε_JL does not exist
        ("above_chance", pa.int32()),  # other rows with |cos| above a random token's expected strongest
        ("dimensionality", pa.float64()),
        ("norm", pa.float64()),  # of the stored row, also where centred
        ("distance_from_mean", pa.float64()),  # of the stored row from the mean row
    ]
)


@dataclass(frozen=True)
class TokenColumns:
    """The columns of `interference.parquet` (see `TABLE`): a row per matrix, centring and token."""

    rows: np.ndarray
    centred: np.ndarray
    token_id: np.ndarray
    token: np.ndarray
    strongest_id: np.ndarray
    strongest_cos: np.ndarray
    above_epsilon: np.ndarray
    above_chance: np.ndarray
    dimensionality: np.ndarray
    norm: np.ndarray
    distance_from_mean: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[TokenColumns]) -> TokenColumns:
        """One after the other."""
        return cls(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(cls)))

    def write(self, run: Path) -> None:
        """Write them into a run folder.

        Raises:
            BadInput: they cannot be written.
        """
        table = pa.table({name: getattr(self, name) for name in TABLE.names}, schema=TABLE)
        write_whole(run / TABLE_FILE, lambda partial: pq.write_table(table, partial), again=RUN_AGAIN)


def read_columns(run: Path) -> pa.Table:
    """Read `interference.parquet` (schema `TABLE`).

    Raises:
        BadInput: there is none, or it is damaged.
    """
    return read_table(run / TABLE_FILE, again=Interference.AGAIN, schema=TABLE)


# --- interference.json: one matrix ---


class Band(Struct, frozen=True):
    """A statistic over the draws of a control; z is the model's distance from it, none where all draws agree."""

    mean: float
    sd: float | None
    low: float
    high: float
    z: float | None


class Shapes(Struct, frozen=True):
    """The distributions of one matrix, short enough to be stored and drawn.

    Attributes:
        cosines: probability density of |cos| over equal bins of [0, 1].
        strongest, dimensionality: their percentiles 0, 1, …, 100 over the tokens.
    """

    cosines: tuple[float, ...]
    strongest: tuple[float, ...]
    dimensionality: tuple[float, ...]


class Curves(Struct, frozen=True):
    """The lowest and the highest curve over the draws of a control."""

    low: tuple[float, ...]
    high: tuple[float, ...]


class ShapeBands(Struct, frozen=True):
    """A band per distribution (see `Shapes`)."""

    cosines: Curves
    strongest: Curves
    dimensionality: Curves


class Control(Struct, frozen=True):
    """A control of one matrix."""

    statistics: dict[str, Band]
    shapes: ShapeBands
    draws: int


class Prediction(Struct, frozen=True):
    """The subspace model held against measured moments.

    Attributes:
        k_moments: k̂, the number of subspaces that the moments suggest.
        alpha: α̂, for which L is stationary at k̂; none outside the model's range.
        k: the optimum for α̂; none outside the range. It is k̂ again unless that stationary point is not the lowest.
        k_end: end of the range of k, or none.
        reason: why the model says nothing here, or none.
    """

    k_moments: float
    alpha: float | None
    k: float | None
    k_end: float | None
    reason: str | None


class Case(Struct, frozen=True, kw_only=True):
    """One matrix, raw or centred: its statistics beside those of chance and of the controls."""

    rows: str
    centred: bool
    title: str
    n: int
    d: int
    zero_rows: int
    statistics: Mapping[str, float | None]
    chance: Mapping[str, float | None]
    least_coherence: float
    epsilon: float | None
    tokens_above_epsilon: int | None
    strongest_by_chance: float
    tokens_above_chance: int
    shapes: Shapes
    subspaces: Prediction | None
    blocks: Blocks | None
    controls: Mapping[str, Control]

    def __post_init__(self) -> None:
        for key in ("mean", "mean_strongest"):
            if self.statistics.get(key) is None or self.chance.get(key) is None:
                raise BadInput(f"the statistic {key} is missing")
        for control in self.controls.values():
            for own, band in (
                (self.shapes.cosines, control.shapes.cosines),
                (self.shapes.strongest, control.shapes.strongest),
                (self.shapes.dimensionality, control.shapes.dimensionality),
            ):
                if not len(own) == len(band.low) == len(band.high):
                    raise BadInput("a control's distribution has another length than the model's")


# --- interference.json: theory ---


class AtEpsilon(Struct, frozen=True):
    """What an interference ε asks for."""

    epsilon: float
    dimensions_needed: float
    tokens_that_fit: float | None  # none: beyond all numbers


class Packing(Struct, frozen=True):
    """The Johnson–Lindenstrauss relation for n rows in d dimensions."""

    epsilon: float | None
    reason: str | None
    uncorrected: float
    tokens_at_range_end: float | None  # none: beyond all numbers
    dimensions_at_range_end: float
    at_epsilon: tuple[AtEpsilon, ...]


class CoherenceBounds(Struct, frozen=True):
    """Lower bounds on the coherence."""

    welch: float
    orthoplex: float
    levenshtein: float
    sidelnikov: float


class RandomDirections(Struct, frozen=True):
    """What is expected of random directions."""

    coherence: float
    strongest: float


class AlphaCurve(Struct, frozen=True):
    """The subspace model for one exponent, over the k of `Subspaces`."""

    optimum: Optimum
    alpha: float
    loss: tuple[float | None, ...]
    slope: tuple[float | None, ...]


class Subspaces(Struct, frozen=True, omit_defaults=True):
    """Curves, optima and transition of the subspace model, or the reason why it has none here."""

    reason: str | None
    n: float | None = None
    d: float | None = None
    k_end: float | None = None
    reaches_one: bool | None = None
    transition: Transition | None = None
    k: tuple[float, ...] = ()
    epsilon: tuple[float | None, ...] = ()
    curves: tuple[AlphaCurve, ...] = ()

    def __post_init__(self) -> None:
        if any(len(curve.loss) != len(self.k) for curve in self.curves):
            raise BadInput("a curve of the subspace model has not one loss for each k")


class Theory(Struct, frozen=True):
    """What theory says about n rows in d dimensions."""

    n: int
    d: int
    packing: Packing
    bounds: CoherenceBounds
    chance: RandomDirections
    subspaces: Subspaces


# --- interference.json: dictionary and verdicts ---


class Dictionary(Struct, frozen=True, omit_defaults=True):
    """The dictionary of the model's rows and those of the controls, or the reason why there is none."""

    reason: str | None
    model: DictionaryCurve | None = None
    controls: dict[str, tuple[DictionaryCurve, ...]] = {}

    def __post_init__(self) -> None:
        if self.reason is None and self.model is None:
            raise BadInput("the model's own dictionary is missing")
        for curve in (curve for draws in self.controls.values() for curve in draws):
            if self.model is None or curve.sparsity != self.model.sparsity:
                raise BadInput("a control's dictionary has other sparsities than the model's")


class Correlation(Struct, frozen=True):
    """Spearman's rank correlation.

    Attributes:
        rho: the correlation.
        low: lower end of its 95 % interval.
        high: upper end.
        n: pairs of numbers.
    """

    rho: float
    low: float
    high: float
    n: int


class Roc(Struct, frozen=True):
    """How well a score tells the positive from the negative.

    Attributes:
        auc: probability that a random positive scores higher than a random negative, ties counting half.
        low: lower end of its 95 % interval (DeLong).
        high: upper end.
        positives: number of them.
        negatives: number of them.
        false_rate: points of the curve, thinned out; none of another run's.
        true_rate: points of the curve.
    """

    auc: float
    low: float
    high: float
    positives: int
    negatives: int
    false_rate: tuple[float, ...] = ()
    true_rate: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.false_rate) != len(self.true_rate):
            raise BadInput("a curve has not two rates for each point")


class Indicator(Struct, frozen=True):
    """How well one of the tokens' numbers tells which of them cannot be said."""

    indicator: str
    title: str
    correlation: Correlation | None
    unspeakable: Roc | None
    hard_to_speak: Roc | None


class Counts(Struct, frozen=True):
    """How many tokens of each class there are to be told apart."""

    unspeakable: int
    hard_to_speak: int
    own_direction: int


class Scatter(Struct, frozen=True):
    """Tokens as points: every indicator against the margin."""

    token_id: tuple[int, ...]
    kind: tuple[str, ...]
    margin: tuple[float, ...]
    indicators: dict[str, tuple[float | None, ...]]
    drawn: int
    of: int

    def __post_init__(self) -> None:
        if len({len(self.token_id), len(self.kind), len(self.margin), *map(len, self.indicators.values())}) > 1:
            raise BadInput("the points have not all of their numbers")


class Speakability(Struct, frozen=True, omit_defaults=True):
    """The indicators held against the verdicts of a scan, or the reason why they are not."""

    reason: str | None
    counts: Counts | None = None
    indicators: tuple[Indicator, ...] = ()
    scatter: Scatter | None = None


class BesideCase(Struct, frozen=True):
    """The statistics of one matrix of another run."""

    rows: str
    centred: bool
    n: int
    d: int
    statistics: Mapping[str, float | None]


class Beside(Struct, frozen=True):
    """What is shown of another run."""

    run: str
    model: str
    cases: tuple[BesideCase, ...]
    speakability: Speakability

    def __post_init__(self) -> None:
        if not any(case.rows == "A" and case.centred for case in self.cases):
            raise BadInput("the run beside it lacks the centred matrix A")


# --- interference.json: the whole ---


class StatisticName(Struct, frozen=True):
    """A statistic in words."""

    key: str
    title: str
    words: str


class ControlName(Struct, frozen=True):
    """A control in words."""

    title: str
    keeps: str


class Interference(StudyRecord, frozen=True, kw_only=True):
    """`interference.json`."""

    FILE: ClassVar[str] = "interference.json"
    PAGE: ClassVar[str] = "interference.html"
    MAKE: ClassVar[str] = "reach interference MODEL"
    AGAIN: ClassVar[str] = "measure again"

    kind: str = "interference"
    model: str
    loading: dict[str, Any]
    fingerprint: str
    v: int
    d: int
    norm: str | None
    tie: str
    settings: InterferenceSettings
    statistics: tuple[StatisticName, ...]
    controls: dict[str, ControlName]
    theory: Theory
    cases: tuple[Case, ...]
    left_out: dict[str, str]
    dictionary: Dictionary
    measuring_seconds: float | None = None
    speakability: Speakability
    beside: tuple[Beside, ...]
    warnings: tuple[str, ...]
    command: tuple[str, ...]
    versions: dict[str, str]
    hardware: dict[str, Any]
    finished: str
    seconds: float | None
    peak_memory_bytes: int | None = None

    def title_of(self, kind: str) -> str:
        """The name of a control for a person."""
        return self.controls[kind].title if kind in self.controls else kind


def refuse_overwriting(folder: Path, *, force: bool) -> None:
    """Say so before hours of work when the place is taken.

    Raises:
        BadInput: the folder is a file, or holds a result and `force` is off.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file, but a run is a folder; choose another --out")
    file = folder / Interference.FILE
    if not force and file.exists():
        raise BadInput(f"{file}: exists already; overwrite it with --force, or choose another --out")
