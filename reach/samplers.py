"""What samplers can return: min-p keeps a token exactly where its logit is near enough to the largest.

At temperature T, min-p with threshold p keeps token t at z iff its probability is at least p times the largest one,
that is iff its logit is at least the largest less T·ln(1/p). So t can be returned somewhere in the domain iff its
margin is at least −T·ln(1/p): brackets of the margins decide it for every p and T. Over the closed domain the margin
is attained, and the boundary counts as kept. Greedy decoding (p = 1) asks for more: a margin above 0.

Margins are those of the logits before a factor s that the head multiplies them by: then T/s stands in place of T.
Under a cap on the logits nothing here holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from msgspec import UnsetType

from reach.runs.columns import NONE
from reach.runs.schema import VERDICT_NAMES
from solvers.errors import BadInput

if TYPE_CHECKING:
    from reach.verdicts import Verdicts

THRESHOLDS = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Values of min-p that a curve shows unless others are asked for; 1 is greedy decoding."""

_OUTWARDS = 2.0**-46
"""Relative room for exp, log and the products here."""
_AROUND_ZERO = ("free", "ball")
"""Domains that hold 0, by their words: without offsets all logits are equal there, and no margin is below 0."""
_IN, _SMALLEST = 1 - _OUTWARDS, 2.0**-1022


@dataclass(frozen=True)
class SamplerPoint:
    """How many tokens min-p can return at one threshold: proved of all of them but the open ones.

    Attributes:
        p: the threshold; 1 is greedy decoding.
        out_of_reach: tokens that no point of the domain lets through.
        within: tokens that some point lets through.
        open: tokens whose bracket leaves it open.
    """

    p: float
    out_of_reach: int
    within: int
    open: int


def sampler_curve(
    lower: Float64[np.ndarray, " n"],
    upper: Float64[np.ndarray, " n"],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    temperature: float = 1.0,
) -> list[SamplerPoint]:
    """How many tokens are out of reach of min-p, for each threshold.

    Args:
        lower, upper: `(n,)` proved bounds on the margins of tokens, logits; NaN or ∓inf where none is known.
        thresholds: values of p, in any order.
        temperature: T, by which the logits are divided.

    Raises:
        BadInput: a threshold is not in (0, 1], the temperature is not > 0, or no number.
    """
    lower, upper = _known(lower, upper)
    t = checked_temperature(temperature)
    return [_at(lower, upper, checked_threshold(p), t) for p in thresholds]


def _at(
    lower: Float64[np.ndarray, " n"], upper: Float64[np.ndarray, " n"], p: float, temperature: float
) -> SamplerPoint:
    if p == 1:
        # A margin of at most 0 is no win: greedy decoding asks for more than the boundary.
        out, within = upper <= 0, lower > 0
    else:
        least = temperature * math.log(p)
        room = _OUTWARDS * abs(least)
        out, within = upper < least - room, lower >= least + room
    return SamplerPoint(p, int(out.sum()), int(within.sum()), len(lower) - int((out | within).sum()))


def min_p_reach(
    lower: Float64[np.ndarray, " n"], upper: Float64[np.ndarray, " n"], *, temperature: float = 1.0
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Bounds on the largest p at which min-p can still return each token: exp(min(margin, 0)/T).

    Args:
        lower, upper: `(n,)` as `sampler_curve` takes them.
        temperature: T.

    Returns:
        `(n,)` lower bounds, from 0, and upper bounds, up to 1.

    Raises:
        BadInput: the temperature is not > 0.
    """
    lower, upper = _known(lower, upper)
    t = checked_temperature(temperature)
    least, most = (np.exp(np.minimum(bound, 0.0) / t * way) for bound, way in ((lower, 1 / _IN), (upper, _IN)))
    return np.where(lower >= 0, 1.0, least * _IN), np.minimum(most / _IN + _SMALLEST, 1.0)


def brackets_of(verdicts: Verdicts) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """The bounds on the margins of the tokens that were asked for, with what their verdicts say of the sign."""
    asked = np.flatnonzero(verdicts.verdict != NONE)
    lower, upper = _known(verdicts.margin_lower[asked], verdicts.margin_upper[asked])
    said = verdicts.manifest
    if said.zero_offset and said.domain is not None and said.domain.partition(":")[0] in _AROUND_ZERO:
        lower = np.maximum(lower, 0.0)
    kind = verdicts.verdict[asked]
    wins, never = (kind == VERDICT_NAMES.index(name) for name in ("speakable", "unspeakable"))
    # A win proved in rational arithmetic may be too small for a float64 bound above 0.
    return np.where(wins, np.maximum(lower, _SMALLEST), lower), np.where(never, np.minimum(upper, 0.0), upper)


def recorded_curve(verdicts: Verdicts, *, thresholds: Sequence[float] = THRESHOLDS) -> list[SamplerPoint] | None:
    """The curve of a run at temperature 1; None where its head caps the logits, or the run does not say.

    Raises:
        BadInput: a threshold is not in (0, 1], or the recorded factor on the logits is none.
    """
    head = verdicts.manifest.head
    if head is None or isinstance(head.logit_scale, UnsetType) or head.softcap is not None:
        return None
    temperature = 1 / checked_temperature(head.logit_scale)
    return sampler_curve(*brackets_of(verdicts), thresholds=thresholds, temperature=temperature)


def checked_threshold(p: float) -> float:
    """A threshold of min-p.

    Raises:
        BadInput: it does not lie in (0, 1].
    """
    if not (isinstance(p, int | float) and 0 < p <= 1):
        raise BadInput(f"min-p {p!r:.40}: a threshold must be above 0 and at most 1 (1 is greedy decoding)")
    return float(p)


def checked_temperature(temperature: float) -> float:
    """A temperature.

    Raises:
        BadInput: it is not a finite number above 0.
    """
    if not (isinstance(temperature, int | float) and 0 < temperature < math.inf):
        raise BadInput(
            f"temperature {temperature!r:.40}: it must be a finite number above 0; greedy decoding is p = 1"
        )
    return float(temperature)


def _known(
    lower: Float64[np.ndarray, " n"], upper: Float64[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Bounds with infinities in place of what is not known."""
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    return np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper)
