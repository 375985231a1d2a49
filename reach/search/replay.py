"""Each witness again: alone, unbatched, in float32 and in the model's own dtype. What does not replay is no hit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reach.search.budget import Checks, Deadline
from reach.search.ledger import Ledger, Witness
from reach.search.levels import NormRange
from reach.search.live import LiveModel
from reach.search.options import LEVELS
from reach.search.prompts import RoundTrip
from reach.search.soft import weighted_mean


@dataclass(frozen=True)
class Replay:
    """What one witness did when it was run alone.

    Attributes:
        argmax, argmax_own: the token on top in float32 and in the model's own dtype.
        margin, margin_own: logit of the token asked for less the largest other one.
        legal: the input meets its level.
    """

    argmax: int
    margin: float
    argmax_own: int
    margin_own: float
    legal: bool

    def holds(self, token: int) -> bool:
        """Whether this is a hit: strictly on top in float32, by an input that is allowed."""
        return self.legal and self.argmax == token and self.margin > 0


def points_of(witness: Witness, rows: Float[Tensor, "v d"]) -> Float[Tensor, "k d"] | None:
    """The embeddings of a witness that is no prompt."""
    if witness.points is not None:
        return torch.from_numpy(witness.points)
    if witness.weights is None:
        return None
    return torch.stack([weighted_mean(rows, at, weight) for at, weight in witness.weights])


def replay(live: LiveModel, trip: RoundTrip, token: int, witness: Witness) -> Replay:
    """Run one witness alone."""
    points = points_of(witness, live.rows)
    ids = None if witness.ids is None else witness.ids.tolist()
    single = live.alone(ids=ids, points=points)
    own = single if live.dtype == torch.float32 else live.alone(ids=ids, points=points, own=True)
    return Replay(
        int(single.argmax()), _margin(single, token), int(own.argmax()), _margin(own, token),
        _legal(witness, points, live.range, trip),
    )  # fmt: skip


def _margin(logits: Float[Tensor, " v"], token: int) -> float:
    mine = float(logits[token])
    logits = logits.clone()
    logits[token] = -torch.inf
    return mine - float(logits.max())


def _legal(witness: Witness, points: Tensor | None, norms: NormRange, trip: RoundTrip) -> bool:
    """Whether the stored input really is of its level, whatever the search believed."""
    if witness.level == "text":
        return witness.ids is not None and trip.survives(witness.ids.tolist())
    if witness.level == "tokens":
        return witness.ids is not None
    if points is None or not bool(torch.isfinite(points).all()):
        return False
    if witness.level == "hull":
        assert witness.weights is not None
        if any((weight < 0).any() for _, weight in witness.weights):
            return False
    return witness.level == "free" or bool(norms.holds(points).all())


@dataclass(frozen=True)
class ReplayReport:
    """What became of all witnesses.

    Attributes:
        replayed: distinct witnesses run.
        failed: those that were no hits after all, and were taken back.
        own_failed: hits in float32 that the model's own dtype does not repeat.
        results: of every token and level still held.
        unchecked: distinct witnesses that there was no time to run: they count for nothing.
        waiting: distinct witnesses that were left for another call.
    """

    replayed: int
    failed: int
    own_failed: int
    results: dict[tuple[int, str], Replay]
    unchecked: int = 0
    waiting: int = 0


def replay_all(
    live: LiveModel,
    trip: RoundTrip,
    ledger: Ledger,
    progress: Callable[[], None] = lambda: None,
    *,
    known: ReplayReport | None = None,
    first: Bool[np.ndarray, " v"] | None = None,
    time_is_up: Callable[[], bool] = lambda: False,
    leave: bool = False,
) -> ReplayReport:
    """Replay every witness, each of them once however many levels it stands for, and take back what fails.

    The strictest come first: they stand for most levels. What there is no time for is taken back as well, or left for
    another call.

    Args:
        live, trip: what they are run with.
        ledger: what they stand for.
        progress: called after every witness.
        known: results of an earlier call on the same ledger, which are kept and counted on.
        first: tokens whose witnesses come before all others: those that an alarm depends on.
        time_is_up: asked before each witness.
        leave: whether what there is no time for is left as it is.
    """
    results = {} if known is None else dict(known.results)
    counts = [0, 0, 0, 0] if known is None else [known.replayed, known.failed, known.own_failed, known.unchecked]
    early = np.zeros(ledger.v, dtype=bool) if first is None else first
    seen: dict[tuple[int, int], Replay | None] = {}  # none where there was no time
    waiting: set[tuple[int, int]] = set()
    for some in (early, ~early):
        for level in reversed(LEVELS):
            for token in np.flatnonzero(ledger.found[level] & some).tolist():
                if (token, level) in results:
                    continue
                witness = ledger.witnesses[level][token]
                key = (token, id(witness))
                if key not in seen:
                    up = time_is_up()
                    if up and leave:
                        waiting.add(key)
                        continue
                    seen[key] = None if up else replay(live, trip, token, witness)
                    _tally(counts, token, seen[key])
                    progress()
                result = seen[key]
                if result is not None and result.holds(token):
                    results[token, level] = result
                else:
                    ledger.remove(token, level)
    _credit_down(ledger, results)
    return ReplayReport(counts[0], counts[1], counts[2], results, counts[3], len(waiting))


def _tally(counts: list[int], token: int, result: Replay | None) -> None:
    """Count one witness as replayed, failed, failed in the model's own dtype, or not run for lack of time."""
    if result is None:
        counts[3] += 1
        return
    holds = result.holds(token)
    counts[0] += 1
    counts[1] += not holds
    counts[2] += holds and result.argmax_own != token


def _credit_down(ledger: Ledger, results: dict[tuple[int, str], Replay]) -> None:
    """Where a looser level lost its witness, one of a stricter level that stood the check takes its place."""
    for strict in reversed(LEVELS):
        for token, witness in list(ledger.witnesses[strict].items()):
            for level in LEVELS[: LEVELS.index(strict)]:
                if not ledger.found[level][token]:
                    ledger.found[level][token] = True
                    ledger.witnesses[level][token] = witness
                    results[token, level] = results[token, strict]


# --- all replays of one search --------------------------------------------------------------------------------------


class Replays:
    """Runs witnesses again and keeps account of it.

    Attributes:
        report: what became of those run so far.
        seconds: what that took.
    """

    def __init__(
        self, live: LiveModel, trip: RoundTrip, ledger: Ledger, checks: Checks, first: Bool[np.ndarray, " v"]
    ) -> None:
        """Args: what witnesses are run with, what they stand for, who is told what it takes, and the tokens whose
        witnesses come first. One input is run at once, to know what that takes.
        """
        self._live, self._trip, self._ledger, self._checks, self._first = live, trip, ledger, checks, first
        self.report = ReplayReport(0, 0, 0, {})
        self.seconds = 0.0
        seconds = 0.0
        for _ in range(2):  # the first pass warms up
            began = ledger.clock()
            live.alone(ids=[0])
            if live.dtype != torch.float32:
                live.alone(ids=[0], own=True)
            seconds = ledger.clock() - began
        checks.replayed(1, seconds)

    def catch_up(self, time_is_up: Deadline) -> None:
        """Run what is new, as far as there is time; the rest waits."""
        self._run(time_is_up, leave=True)

    def finish(self, time_is_up: Deadline) -> None:
        """Run what has not been run; what there is no time for is taken back."""
        self._run(time_is_up, leave=False)

    def _run(self, time_is_up: Deadline, *, leave: bool) -> None:
        began, before = self._ledger.clock(), self.report.replayed
        self.report = replay_all(
            self._live,
            self._trip,
            self._ledger,
            known=self.report,
            first=self._first,
            time_is_up=time_is_up,
            leave=leave,
        )
        seconds = self._ledger.clock() - began
        self.seconds += seconds
        self._checks.replayed(self.report.replayed - before, seconds)
        self._checks.settle(self.report.waiting)
