"""What is known about every row while a scan goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from reach.witnesses import FROM_WEIGHTS, STORED, Certificates, WeightPair
from solvers.checks.evidence import Evidence
from solvers.recipes import RECIPES

OPEN, SPEAKABLE, UNSPEAKABLE = 0, 1, 2
NO_WITNESS, STORED_WITNESS = 0, 1
WITNESS_KINDS = (None, STORED, *RECIPES, FROM_WEIGHTS)
EVIDENCE = list(Evidence)


@dataclass
class Hull:
    """Hull weights of one token: row numbers and weights that add up to 1."""

    rows: Int[np.ndarray, " k"]
    weights: Float[np.ndarray, " k"]


@dataclass
class ScanState:
    """Verdicts and certificates, row by row of the problem that is scanned (its equal rows already merged).

    Attributes:
        alone: `(v,)` whether a single token has the row; others tie, and their margin is 0.
        verdict: `(v,)` OPEN, SPEAKABLE or UNSPEAKABLE.
        evidence: `(v,)` index into `EVIDENCE`; −1 while open.
        own_direction: `(v,)` whether the row was proved to win at z ∝ its own row.
        lower, upper: `(v,)` proved bounds on the margin, logits; ∓inf where none is known.
        upper_by: `(v,)` the single competitor that proves `upper`; −1 where weights do (`bounds`, or `hulls`).
        stage: `(v,)` number of the stage that settled the row; −1 while open.
        tried: `(v,)` number of the last stage that has worked on the row; −1 before the first.
        runner_up: `(v,)` closest competitor or heaviest blocker; −1 where unknown.
        witness_kind: `(v,)` index into `WITNESS_KINDS`.
        witnesses: stored witnesses, float32 or float64 vectors.
        hulls: hull weights of the unspeakable rows.
        duals: dual points whose weights prove that a row lies inside the hull of the others; `hulls` then has only
            the heaviest of these weights, for people.
        candidates: hull weights that no check has accepted yet, from which an exact proof may start.
        bounds: hull weights that prove `upper`, of rows that need more than a single competitor; of unspeakable ones
            where they prove more than `hulls`.
        reasons: why a row is still open.
    """

    v: int
    alone: Bool[np.ndarray, " v"] = field(init=False)
    verdict: Int[np.ndarray, " v"] = field(init=False)
    evidence: Int[np.ndarray, " v"] = field(init=False)
    own_direction: np.ndarray = field(init=False)
    lower: Float[np.ndarray, " v"] = field(init=False)
    upper: Float[np.ndarray, " v"] = field(init=False)
    upper_by: Int[np.ndarray, " v"] = field(init=False)
    stage: Int[np.ndarray, " v"] = field(init=False)
    tried: Int[np.ndarray, " v"] = field(init=False)
    runner_up: Int[np.ndarray, " v"] = field(init=False)
    witness_kind: Int[np.ndarray, " v"] = field(init=False)
    witnesses: dict[int, np.ndarray] = field(default_factory=dict)
    hulls: dict[int, Hull] = field(default_factory=dict)
    duals: dict[int, np.ndarray] = field(default_factory=dict)
    candidates: dict[int, Hull] = field(default_factory=dict)
    bounds: dict[int, Hull] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        v = self.v
        self.alone = np.ones(v, dtype=bool)
        self.verdict = np.full(v, OPEN, dtype=np.int8)
        self.evidence = np.full(v, -1, dtype=np.int8)
        self.own_direction = np.zeros(v, dtype=bool)
        self.lower = np.full(v, -np.inf)
        self.upper = np.full(v, np.inf)
        self.upper_by = np.full(v, -1, dtype=np.int32)
        self.stage = np.full(v, -1, dtype=np.int8)
        self.tried = np.full(v, -1, dtype=np.int8)
        self.runner_up = np.full(v, -1, dtype=np.int32)
        self.witness_kind = np.zeros(v, dtype=np.int8)

    def kinds(self, rows: Int[np.ndarray, " n"]) -> list[str | None]:
        """The kinds of witness of these rows, by the names that `reach.witnesses` knows."""
        return [WITNESS_KINDS[code] for code in self.witness_kind[rows]]

    def certificates(self) -> Certificates:
        """What witnesses are made of, by row."""
        return Certificates(self.witnesses, _Weights(self))

    def settle(self, row: int, verdict: int, evidence: Evidence, stage: int) -> None:
        """Record a verdict. A verdict never changes once it is there.

        Raises:
            RuntimeError: another verdict was proved before: a checker is wrong, and nothing may be trusted.
        """
        if self.verdict[row] not in (OPEN, verdict):
            raise RuntimeError(f"row {row} was proved both speakable and unspeakable: a checker is wrong")
        if self.verdict[row] == OPEN:
            self.stage[row] = stage
        self.verdict[row] = verdict
        self.evidence[row] = max(int(self.evidence[row]), evidence.rank)
        self.reasons.pop(row, None)
        self.candidates.pop(row, None)


@dataclass(frozen=True)
class _Weights(Mapping[int, WeightPair]):
    """The weights that a row's margin is bounded by: its own, or those that prove it unspeakable."""

    state: ScanState

    def __getitem__(self, row: int) -> WeightPair:
        hull = self.state.bounds.get(row) or self.state.hulls[row]
        return hull.rows, hull.weights

    def __iter__(self) -> Iterator[int]:
        return iter({**self.state.hulls, **self.state.bounds})

    def __len__(self) -> int:
        return len(self.state.hulls.keys() | self.state.bounds.keys())
