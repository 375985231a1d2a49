"""What a run of the scan says of itself: the record in `manifest.json`, written and read by one class.

A field that is None is not known: the run is of an earlier version, or has not come so far. Fields that later
versions added have that default, so that earlier runs can still be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from reach.heads.loading import Loading
from reach.heads.overrides import HeadOverrides
from reach.runs.reading import as_typed, read_record
from reach.runs.schema import SCHEMA_VERSION
from solvers.errors import BadInput

FILE = "manifest.json"
MOST_BYTES = 2**22
DAMAGED = "the run is damaged, scan again"


class HeadRecord(Struct, frozen=True, kw_only=True):
    """The head that was scanned, see `reach.heads.head.Head`."""

    architecture: str | UnsetType | None = UNSET
    norm: str | UnsetType | None = UNSET
    eps: float | UnsetType | None = UNSET
    tie: str | UnsetType | None = UNSET
    found_by: str | UnsetType | None = UNSET
    dtype: str | UnsetType | None = UNSET
    tensors: dict[str, str | None] = {}
    revision: str | UnsetType | None = UNSET
    logit_scale: float | UnsetType = UNSET
    softcap: float | UnsetType | None = UNSET


class Asked(Struct, frozen=True):
    """Which tokens were asked for: the choice in words (none for all), and how many they are."""

    tokens: str | None
    count: int


class NearlyNever(Struct, frozen=True):
    """Speakable tokens that win by less than a step of a format; of `open` ones that is not known."""

    float32: int
    bfloat16: int
    open: int


class Totals(Struct, frozen=True):
    """Counts of tokens: asked for, by verdict, by evidence, and of classes."""

    tokens: int
    verdicts: dict[str, int]
    evidence: dict[str, int]
    own_direction: int
    hard_to_speak: int
    nearly_never: NearlyNever | None = None


class Span(Struct, frozen=True):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class IndicatorCut(Struct, frozen=True):
    """The most suspect tokens of an indicator, held against what was proved.

    Attributes:
        k: how many were taken.
        hits: how many of these are what was looked for.
        precision, recall: hits of k, and of all that there are; exact intervals.
        chance_low, chance_high: between which a random ranking's hits lie 19 times in 20.
    """

    k: int
    hits: int
    precision: Span
    recall: Span
    chance_low: int
    chance_high: int


class IndicatorRecord(Struct, frozen=True):
    """How well one indicator tells what was proved.

    Attributes:
        key, title: its name.
        matrix: which it is measured on.
        cuts: at several lengths of the list; empty where there is nothing to find.
        average_precision: over the whole ranking.
        auc: area under the ROC curve: 0.5 for a random ranking.
        rho: rank correlation with the proved margins; small values of an indicator are suspect, so well-trained
            tokens with large margins make it positive.
        fresh_auc, fresh_precision: area and average precision of the same indicator on random rows of the same shape.
    """

    key: str
    title: str
    matrix: str
    cuts: list[IndicatorCut] = []
    average_precision: Span | None = None
    auc: Span | None = None
    rho: Span | None = None
    fresh_auc: float | None = None
    fresh_precision: float | None = None


class Indicators(Struct, frozen=True):
    """The indicators of under-trained tokens against the proved verdicts.

    Attributes:
        target: the verdict or class that is looked for.
        positives: how many tokens have it.
        tokens: how many were ranked.
        unused: how many tokens are known to be unused, which the distances are measured from.
        rows: indicator by indicator.
        left_out: what was not measured and why, one line each.
    """

    target: str
    positives: int
    tokens: int
    unused: int
    rows: list[IndicatorRecord] = []
    left_out: list[str] = []


class CategoryRecord(Struct, frozen=True):
    """How the categories of a run came about.

    Attributes:
        seconds: that they took.
        cosine: from which rows were linked as near-parallel; None where none were.
        notes: what was not looked at and why, one line each.
        indicators: of under-trained tokens, and how well they tell; None where they were not measured.
    """

    seconds: float
    cosine: float | None = None
    notes: list[str] = []
    indicators: Indicators | None = None


class FunnelRow(Struct, frozen=True):
    """One stage of the funnel: rows that came in, rows that it settled, wall-clock seconds."""

    stage: str
    rows_in: int | None = None
    settled: int | None = None
    seconds: float | None = None


class Hardware(Struct, frozen=True):
    """The machine: processor, cores, bytes of memory, graphics processor."""

    cpu: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    gpu: str | UnsetType | None = UNSET


class Manifest(Struct, frozen=True, kw_only=True):
    """The record of a scan.

    Attributes:
        schema, kind: what it is.
        status: running or finished.
        model: as the user named it.
        loading: what finds the head again.
        head: what was read.
        self_check: what the comparison with the live model found; None where there was none.
        fingerprint: of the rows and offsets.
        v, d: tokens and dimensions.
        domain: in words, see `reach.runs.domain_words`.
        squared_radius: R² of a ball, null for other domains, left out by earlier versions.
        zero_offset: whether all offsets are 0.
        asked: which tokens.
        settings: of the scan, by the names that `ScanSettings` has.
        command: the command line.
        versions: of packages, by name.
        hardware: the machine.
        started, finished: in ISO form, UTC.
        resumed: whether it went on after an interruption.
        seconds: wall clock.
        peak_memory_bytes: most that the process held.
        warnings: one line each.
        funnel: stage by stage.
        totals: counts.
        margins_certified: whether every upper margin has its weights; left out by earlier versions.
        categories: how they came about; left out by earlier versions.
        engine: where blocks were computed, if not in the process itself; nothing hangs on it.
        same_head_as: the run, seen from this one's folder, of the very same head, whose scan this one took over.
    """

    schema: int = SCHEMA_VERSION
    kind: str = "scan"
    status: str | None = None
    model: str | None = None
    loading: Loading | None = None
    head: HeadRecord | None = None
    self_check: dict[str, Any] | UnsetType | None = UNSET
    fingerprint: str | None = None
    v: int | None = None
    d: int | None = None
    domain: str | None = None
    squared_radius: float | UnsetType | None = UNSET
    zero_offset: bool | None = None
    asked: Asked | None = None
    settings: dict[str, str | float | bool | list[str] | None] = {}
    command: list[str] = []
    versions: dict[str, str] = {}
    hardware: Hardware | None = None
    started: str | None = None
    finished: str | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    warnings: list[str] = []
    funnel: list[FunnelRow] = []
    totals: Totals | None = None
    margins_certified: bool | UnsetType = UNSET
    categories: CategoryRecord | UnsetType = UNSET
    engine: dict[str, str | int | None] | UnsetType = UNSET
    same_head_as: str | UnsetType = UNSET

    def record(self) -> dict[str, Any]:
        """The same in plain types, as `manifest.json` holds it."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found if self.loading is None else {**found, "loading": self.loading.record()}

    def but(self, **changes: Any) -> Manifest:
        """The same with other entries."""
        return msgspec.structs.replace(self, **changes)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder in plain types, of the schema that this version reads.

    Raises:
        BadInput: there is none, it is unreadable, or of another schema.
    """
    return read_record(folder / FILE, SCHEMA_VERSION, again=DAMAGED, most=MOST_BYTES)


def as_manifest(content: dict[str, Any], folder: Path) -> Manifest:
    """Its record.

    Raises:
        BadInput: an entry is of another kind, or the run is no scan.
    """
    kind = content.get("kind", "scan")
    if kind != "scan":
        raise BadInput(f"{folder / FILE}: a run of kind {kind!r:.80} is no scan; scan first")
    return as_typed(content, Manifest, folder / FILE, again=DAMAGED)


def read_loading(content: Any, file: Path) -> Loading:
    """A `loading` entry in plain types, as `file` holds it.

    Raises:
        BadInput: it or something in it is of another kind, or an override is not known.
    """
    content = {} if content is None else content
    overrides = content.get("overrides") if isinstance(content, dict) else None
    for name in overrides if isinstance(overrides, dict) else ():
        if name not in HeadOverrides.__dataclass_fields__:
            raise BadInput(f"{file}: loading.overrides.{name} is not known; scan again")
    given = (
        {name: value for name, value in content.items() if value is not None}
        if isinstance(content, dict)
        else content
    )
    return as_typed({"loading": given}, _Holder, file, again="scan again").loading


class _Holder(msgspec.Struct, frozen=True):
    """So that complaints name the entry."""

    loading: Loading
