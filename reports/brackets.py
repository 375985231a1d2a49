"""How closely the margins of a run are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reach.runs.columns import NONE, Floats, Tokens
from reach.samplers import brackets_of
from reach.verdicts import Verdicts
from reports import plain

CLOSE = 0.05
"""A margin is shown as one number where its bounds differ by no more than this share, or the share asked for."""
_WIDEST = 0.5


@dataclass(frozen=True)
class Brackets:
    """Bounds on margins, with what verdicts say of the sign; infinite where none is known.

    Attributes:
        token: `(n,)` ids of the tokens that were asked for.
        lower, upper: `(n,)` logits.
        share: of the margin that its bounds may lie apart where one number is shown.
        gap: the share that the scan was asked for; None where it was not.
    """

    token: Tokens
    lower: Floats
    upper: Floats
    share: float
    gap: float | None

    @property
    def close(self) -> npt.NDArray[np.bool_]:
        """`(n,)` whether one number says both bounds."""
        return self._within(self.share)

    @property
    def words(self) -> str:
        """How closely the margins are known, one sentence."""
        if self.gap is None:
            return "Margins are known as bounds, as close as the verdicts needed them; --margins makes them closer."
        inside, every = int(self._within(self.gap * (1 + 1e-9)).sum()), len(self.token)
        who = f"{'all ' if inside == every > 1 else ''}{plain.plural(inside, 'token')}"
        of = "" if inside == every else f" of {every:,}"
        return f"This scan bounded the margin of {who}{of} from both sides, to {100 * self.gap:g} % of its size."

    def _within(self, share: float) -> npt.NDArray[np.bool_]:
        with np.errstate(invalid="ignore"):
            size = np.maximum(np.abs(self.lower), np.abs(self.upper))
            return np.isfinite(size) & (self.upper - self.lower <= share * size)


def brackets(tokens: Verdicts) -> Brackets:
    """The bounds of all tokens that a run was asked about."""
    gap = plain.finite(tokens.manifest.settings.get("margin_gap"))
    share = min(_WIDEST, max(CLOSE, gap or 0.0))
    return Brackets(np.flatnonzero(tokens.verdict != NONE), *brackets_of(tokens), share, gap)
