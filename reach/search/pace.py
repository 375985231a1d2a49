"""How much may go through the model at once, so that a step is over soon and every deadline is noticed in time."""

from __future__ import annotations

from dataclasses import dataclass

_FIRST = 16
"""Positions of the first step of a kind, when nothing is known of its speed."""
_GROWTH = 4
"""A step may be this many times as large as the largest so far: small ones are slow, position by position."""
_JUMP = 4
"""One step counts as at most this many times as slow as those before."""


@dataclass
class _Speed:
    """What is known of one kind of step: seconds per position, and the most positions tried."""

    cost: float
    most: int


class Pace:
    """Speeds of all kinds of steps, and the seconds that one step may take."""

    def __init__(self, seconds: float, known: dict[str, _Speed] | None = None) -> None:
        """Args: seconds that a step may take, and what is known already."""
        self._seconds = seconds
        self._known: dict[str, _Speed] = {} if known is None else known

    def within(self, seconds: float) -> Pace:
        """The same speeds for shorter steps: a pace for part of the work."""
        return Pace(min(seconds, self._seconds), self._known)

    def room(self, kind: str) -> int:
        """Positions that a step of this kind may have, at least 1."""
        speed = self._known.get(kind)
        if speed is None:
            return _FIRST
        fitting = self._seconds / speed.cost if speed.cost > 0 else float("inf")
        return max(1, int(min(fitting, _GROWTH * speed.most)))

    def note(self, kind: str, positions: int, seconds: float) -> None:
        """A step of so many positions took so many seconds."""
        if positions < 1:
            return
        cost = seconds / positions
        speed = self._known.get(kind)
        if speed is None:
            self._known[kind] = _Speed(cost, positions)
        elif 2 * positions >= min(speed.most, self.room(kind)) or seconds > self._seconds:
            # Small steps tell little: what every step costs, however small, would count as the price of a position.
            # Another program's turn on the processor can make one step many times as long as the next.
            speed.cost = (speed.cost + min(cost, _JUMP * speed.cost)) / 2
            speed.most = max(speed.most, positions)
