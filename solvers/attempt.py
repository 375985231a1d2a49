"""What a backend hands back. An attempt is never a verdict: only the checkers turn one into a proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor


class Status(StrEnum):
    """How a backend's work on one row ended, in its own words. Nobody draws a verdict from it."""

    WITNESS = "witness"
    """It believes that its point makes the row win."""
    NO_WITNESS = "no-witness"
    """It believes that no point makes the row win."""
    GAVE_UP = "gave-up"
    """Its search has ended and met no such point, which says nothing of whether there is one."""
    UNCHECKED = "unchecked"
    """It hands over a candidate that it has not evaluated, and believes nothing."""
    LIMIT = "limit"
    """Its budget ran out."""
    FAILED = "failed"
    """The solver reported trouble, or its answer was not finite."""


@dataclass(frozen=True)
class Hulls:
    """Sparse weights over competitors, one set per attempt (compressed sparse rows)."""

    start: Int[np.ndarray, " n_plus_1"]
    rows: Int[np.ndarray, " k"]
    weights: Float64[np.ndarray, " k"]

    @classmethod
    def none(cls, n: int) -> Hulls:
        """No weights for any of n attempts."""
        return cls(np.zeros(n + 1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))

    @classmethod
    def pack(cls, sets: Sequence[tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]] | None]) -> Hulls:
        """From one (rows, weights) pair or None per attempt."""
        sizes = [0 if pair is None else len(pair[0]) for pair in sets]
        kept = [pair for pair in sets if pair is not None]
        rows = (
            np.concatenate([np.asarray(r, dtype=np.int64) for r, _ in kept]) if kept else np.zeros(0, dtype=np.int64)
        )
        weights = np.concatenate([np.asarray(w, dtype=np.float64) for _, w in kept]) if kept else np.zeros(0)
        return cls(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), rows, weights)

    def narrowed(self) -> Hulls:
        """The weights as float32 numbers, without those that vanish."""
        weights = self.weights.astype(np.float32).astype(np.float64)
        kept = weights > 0
        return Hulls(np.concatenate([[0], np.cumsum(kept)])[self.start], self.rows[kept], weights[kept])

    def of_some(self, which: Bool[np.ndarray, " n"]) -> Hulls:
        """The weights of some of the attempts alone."""
        sizes = np.diff(self.start)
        kept = np.repeat(which, sizes)
        start = np.concatenate([[0], np.cumsum(sizes[which])]).astype(np.int64)
        return Hulls(start, self.rows[kept], self.weights[kept])

    def of(self, i: int) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]] | None:
        """The weights of attempt i, or None."""
        part = slice(int(self.start[i]), int(self.start[i + 1]))
        return None if part.start == part.stop else (self.rows[part], self.weights[part])


@dataclass(frozen=True)
class Attempts:
    """A backend's attempts at n rows.

    Attributes:
        rows: `(n,)` row numbers.
        status: one per row.
        points: `(n, d)` candidate witnesses; NaN where there is none.
        hulls: candidate hull weights.
        lower: `(n,)` margin that the backend claims to reach, logits; −inf for none.
        upper: `(n,)` bound on the margin that the backend claims, logits; +inf for none.
        seen_rows: `(m,)` further rows that the backend saw win on its way (asked for or not).
        seen_points: `(m, d)` the points where they won.
        duals: `(n, f)` dual points whose weights show that a row lies inside the hull of the others
            (`checks.interior`); NaN where there is none.
        work: counters under the backend's own names (iterations, products, rounds …).
        seconds: wall-clock time of this call.
        note: what the backend has to say about a failure, one line.
    """

    rows: Int[Tensor, " n"]
    status: list[Status]
    points: Float[Tensor, "n d"]
    hulls: Hulls
    lower: Float64[Tensor, " n"]
    upper: Float64[Tensor, " n"]
    seen_rows: Int[Tensor, " m"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    seen_points: Float[Tensor, "m d"] | None = None
    duals: Float64[Tensor, "n f"] | None = None
    work: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        n = len(self.rows)
        if not (len(self.status) == len(self.points) == len(self.lower) == len(self.upper) == n):
            raise ValueError("an attempt batch needs one status, point and pair of bounds per row")

    @property
    def has_point(self) -> Bool[Tensor, " n"]:
        """Which attempts came with a finite candidate witness."""
        return torch.isfinite(self.points).all(dim=1)
