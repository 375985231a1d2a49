"""The verdicts of one training run over its steps, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from reach.categories.catalogue import KEYS
from reach.classes import CLASSES
from reach.names import with_names
from reach.runs.columns import NONE, Codes, Floats, codes
from reach.runs.folder import RunFolder
from reach.runs.schema import VERDICT_NAMES
from reach.trace.gather import Found
from reach.trace.matching import Matching, Names, match
from reach.verdicts import Verdicts
from solvers.errors import BadInput

SPEAKABLE, TIED, UNSPEAKABLE, UNDECIDED = range(len(VERDICT_NAMES))


@dataclass(frozen=True)
class Control:
    """A random head of the same shape, as a run's `controls.parquet` holds it.

    Attributes:
        name: of the kind of control.
        run: the folder that holds it.
        rows: with a verdict.
        unspeakable: of these.
        median_margin: of their bounds, logits.
    """

    name: str
    run: str
    rows: int
    unspeakable: int
    median_margin: float


@dataclass(frozen=True)
class Trajectories:
    """One series: arrays of steps by tokens, in the order of the steps.

    Attributes:
        name: of the series.
        factors: what tells it from others.
        runs: the run folders, one per step.
        steps: `(t,)` ascending.
        names: of its tokens, those that are in every run.
        matching: how these were matched.
        verdict: `(t, n)` indices into `VERDICT_NAMES`, NONE where a token was not asked for.
        classes: `(t, n)` indices into `CLASSES`.
        lower, upper: `(t, n)` proved bounds on the margin, logits; NaN where there is none.
        norm: `(t, n)` lengths of the rows.
        categories: `(t, n)` a bit for each of `KEYS`; none where no run says.
        control: of the last run that has one.
    """

    name: str
    factors: dict[str, str]
    runs: tuple[str, ...]
    steps: npt.NDArray[np.int64]
    names: Names
    matching: Matching
    verdict: Codes
    classes: npt.NDArray[np.uint8]
    lower: Floats
    upper: Floats
    norm: Floats
    categories: npt.NDArray[np.uint32] | None
    control: Control | None

    def __len__(self) -> int:
        return self.verdict.shape[1]

    @cached_property
    def margin(self) -> Floats:
        """`(t, n)` the proved bound that goes with the verdict, logits.

        The lower one where the token can win or tie, the upper one where it cannot; NaN where it is undecided.
        """
        low = (self.verdict == SPEAKABLE) | (self.verdict == TIED)
        return np.where(low, self.lower, np.where(self.verdict == UNSPEAKABLE, self.upper, np.nan))

    @property
    def decided(self) -> npt.NDArray[np.bool_]:
        """`(t, n)` where a verdict was proved."""
        return self.verdict < UNDECIDED

    @property
    def both_ends(self) -> float:
        """The share of decided margins that are bounded from both sides."""
        known = np.isfinite(self.lower) & np.isfinite(self.upper)
        return float((known & self.decided).sum() / max(1, self.decided.sum()))

    def at(self, step: int) -> int | None:
        """The place of a step, or None where the series has no such checkpoint."""
        found = np.flatnonzero(self.steps == step)
        return int(found[0]) if len(found) else None


def trajectories(found: Sequence[Found]) -> Trajectories:
    """Read the runs of one series, sorted by step.

    Raises:
        BadInput: two runs have no token in common, or a table is damaged.
    """
    runs = [one.run.verdicts() for one in found]
    matching = match([Names.of(one) for one in runs], [with_names(str(one.run.path)) for one in found])
    rows = matching.rows
    first = Names.of(runs[0])
    pairs = list(zip(runs, rows, strict=True))
    categories = [_kinds(one, ids) for one, ids in pairs]
    control = None
    for one in found:
        control = _control(one.run) or control
    return Trajectories(
        found[0].series,
        found[0].factors,
        tuple(with_names(str(one.run.path)) for one in found),
        np.array([one.step for one in found], dtype=np.int64),
        first.take(rows[0]),
        matching,
        np.stack([one.verdict[ids] for one, ids in pairs]),
        np.stack([one.classes[ids] for one, ids in pairs]).astype(np.uint8),
        np.stack([one.margin_lower[ids] for one, ids in pairs]),
        np.stack([one.margin_upper[ids] for one, ids in pairs]),
        np.stack([one.row_norm[ids] for one, ids in pairs]),
        None if any(one is None for one in categories) else np.stack([one for one in categories if one is not None]),
        control,
    )


def _kinds(tokens: Verdicts, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32] | None:
    """A bit for each category of each token; none where the run does not say."""
    if tokens.categories is None:
        return None
    found = np.zeros(len(tokens), dtype=np.uint32)
    np.bitwise_or.at(found, tokens.categories.token, np.uint32(1) << tokens.categories.category.astype(np.uint32))
    return found[ids]


def _control(run: RunFolder) -> Control | None:
    """The first control that a run holds, of its decided rows."""
    table = run.tables.controls
    if table is None or not table.num_rows:
        return None
    name = table.column("control")[0].as_py()
    table = table.filter(pc.equal(table.column("control"), name))
    verdict = codes(table, "verdict", VERDICT_NAMES)
    lower, upper = (
        pc.fill_null(table.column(key), float("nan")).to_numpy() for key in ("margin_lower", "margin_upper")
    )
    margin = np.where(verdict == UNSPEAKABLE, upper, lower)[verdict < UNDECIDED]
    if not np.isfinite(margin).any():
        raise BadInput(f"{run.path}/controls.parquet: holds no margin; compare again with 'reach compare-solvers'")
    return Control(
        str(name), with_names(str(run.path)), int((verdict < UNDECIDED).sum()), int((verdict == UNSPEAKABLE).sum()),
        float(np.nanmedian(margin)),
    )  # fmt: skip


def kinds_of(bits: int) -> tuple[str, ...]:
    """The categories that a number of bits stands for."""
    return tuple(key for at, key in enumerate(KEYS) if bits >> at & 1)


def counts_at(series: Trajectories, at: int) -> dict[str, int]:
    """How many tokens are in each class at a step."""
    found = np.bincount(series.classes[at], minlength=len(CLASSES))
    return {name: int(count) for name, count in zip(CLASSES, found, strict=True)}


def asked(series: Trajectories) -> npt.NDArray[np.bool_]:
    """`(n,)` tokens that were asked for in every run."""
    found: npt.NDArray[np.bool_] = (series.verdict != NONE).all(axis=0)
    return found
