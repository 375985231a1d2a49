"""All replays of one search: some as it goes on, so that what they take is known, the others at its end."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool

from reach.search.budget import Checks, Deadline
from reach.search.ledger import Ledger
from reach.search.live import LiveModel
from reach.search.replay import ReplayReport, replay_all
from reach.search.roundtrip import RoundTrip


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
