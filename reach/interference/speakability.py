"""Does interference predict unspeakability? The tokens' indicators against the verdicts of a scan.

How well a number predicts another, or a yes, is told by rank correlation, ROC and the area under it, with intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from reach.classes import CLASSES
from reach.interference.record import Correlation, Counts, Indicator, Roc, Scatter, Speakability, TokenColumns
from reach.runs.folder import RunFolder
from solvers.errors import BadInput

# Each says which matrix it is measured on: the two forms of A give areas of their own.
INDICATORS = {
    "dimensionality": "dimensionality, A as it is",
    "dimensionality_centred": "dimensionality, A mean-centred",
    "strongest_cos": "strongest |cos|, A as it is",
    "strongest_cos_centred": "strongest |cos|, A mean-centred",
    "norm": "norm, A as it is",
    "distance_from_mean": "distance from the mean row of A",
    "offset": "offset c (not interference: for comparison)",
}
SCATTER_POINTS = 4000


def indicator_title(row: Indicator) -> str:
    """An indicator in words; records of older versions did not name the matrix."""
    return INDICATORS.get(row.indicator, row.title)


@dataclass(frozen=True)
class Verdicts:
    """What the join needs of a scan, one entry per token; `nan` and false where it says nothing."""

    unspeakable: np.ndarray
    own_direction: np.ndarray
    hard_to_speak: np.ndarray
    margin: np.ndarray


def verdicts_of(run: RunFolder, fingerprint: str) -> Verdicts:
    """Read the verdicts of a scan of the same model.

    Raises:
        BadInput: the run is of another model.
    """
    if run.manifest.get("fingerprint") != fingerprint:
        raise BadInput(
            f"{run.path}: holds a scan of another model or of other settings of it (its fingerprint differs); choose "
            "another --out, or scan this model there"
        )
    found = run.verdicts()
    names = ("speakable", "unspeakable", *CLASSES[:2])
    of = {name: np.isin(np.arange(len(found)), found.ids(name)) for name in names}
    # A proved lower bound where the token can win, a proved upper bound where it cannot.
    margin = np.where(of["speakable"], found.margin_lower, np.where(of["unspeakable"], found.margin_upper, np.nan))
    return Verdicts(of["unspeakable"], of["own-direction"], of["hard-to-speak"], margin)


def join(columns: TokenColumns, verdicts: Verdicts, offset: np.ndarray | None) -> Speakability:
    """Correlations, ROC curves and the points of the scatter plots.

    Args:
        columns: the per-token table.
        verdicts: of the scan.
        offset: `(v,)` the head's offsets c, or none if they are zero.
    """
    indicators = _indicators(columns)
    if offset is not None:
        indicators["offset"] = offset
    can = verdicts.own_direction | verdicts.hard_to_speak
    rows = tuple(
        Indicator(
            indicator=key,
            title=INDICATORS[key],
            correlation=rank_correlation(values, verdicts.margin),
            unspeakable=_told(values, verdicts.unspeakable, can),
            hard_to_speak=_told(values, verdicts.hard_to_speak, verdicts.own_direction),
        )
        for key, values in indicators.items()
    )
    counts = Counts(
        unspeakable=int(verdicts.unspeakable.sum()),
        hard_to_speak=int(verdicts.hard_to_speak.sum()),
        own_direction=int(verdicts.own_direction.sum()),
    )
    return Speakability(reason=None, counts=counts, indicators=rows, scatter=_scatter(indicators, verdicts))


def _told(values: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> Roc | None:
    asked = positive | negative
    return roc(values[asked], positive[asked])


def _indicators(columns: TokenColumns) -> dict[str, np.ndarray]:
    """The indicators of A's rows: raw and, where it makes a difference, mean-centred."""
    of_a = columns.rows == "A"
    raw, centred = of_a & ~columns.centred, of_a & columns.centred
    return {
        "dimensionality": columns.dimensionality[raw],
        "dimensionality_centred": columns.dimensionality[centred],
        "strongest_cos": columns.strongest_cos[raw],
        "strongest_cos_centred": columns.strongest_cos[centred],
        "norm": columns.norm[raw],
        "distance_from_mean": columns.distance_from_mean[raw],
    }


def _scatter(indicators: dict[str, np.ndarray], verdicts: Verdicts) -> Scatter:
    """Every token that is not own-direction, and as many of the others as a page can draw."""
    known = np.isfinite(verdicts.margin)
    special = np.nonzero(known & (verdicts.unspeakable | verdicts.hard_to_speak))[0]
    plain = np.nonzero(known & verdicts.own_direction)[0]
    generator = np.random.default_rng(0)
    special, plain = (
        np.sort(generator.choice(part, SCATTER_POINTS // 2, replace=False))
        if len(part) > SCATTER_POINTS // 2
        else part
        for part in (special, plain)
    )
    token = np.sort(np.concatenate([special, plain]))
    kind = np.where(
        verdicts.unspeakable, "unspeakable", np.where(verdicts.hard_to_speak, "hard-to-speak", "own-direction")
    )
    return Scatter(
        token_id=tuple(token.tolist()),
        kind=tuple(kind[token].tolist()),
        margin=tuple(float(f"{x:.5g}") for x in verdicts.margin[token]),
        indicators={key: tuple(_rounded(x) for x in values[token]) for key, values in indicators.items()},
        drawn=len(token),
        of=int(known.sum()),
    )


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


# --- agreement ---

_Z95 = 1.959963984540054
_ROC_POINTS = 200


def rank_correlation(one: Float[np.ndarray, " n"], two: Float[np.ndarray, " n"]) -> Correlation | None:
    """Spearman's ρ with the interval of Bonett and Wright 2000 (Fisher's z, variance (1 + ρ²/2)/(n − 3)).

    Returns:
        The correlation, or none where fewer than four finite pairs or only one value is left.
    """
    known = np.isfinite(one) & np.isfinite(two)
    x, y = rankdata(one[known]), rankdata(two[known])
    n = len(x)
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    rho = float(np.corrcoef(x, y)[0, 1])
    rho = max(-1.0, min(1.0, rho))
    if abs(rho) > 1 - 1e-12:
        return Correlation(rho, rho, rho, n)
    half = _Z95 * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return Correlation(rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), n)


def roc(score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> Roc | None:
    """ROC of a score for which higher means "positive", and the area under it (see `roc_area`).

    Returns:
        The curve, or none where all or none are positive.
    """
    known = np.isfinite(score)
    score, positive = score[known], positive[known]
    area = roc_area(score, positive)
    if area is None:
        return None
    m = int(positive.sum())
    return Roc(*area, m, len(positive) - m, *_curve(score, positive))


def roc_area(score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> tuple[float, float, float] | None:
    """The area under the ROC of finite scores, and an interval of 95 %: value, low, high.

    The area is the Mann–Whitney statistic, its variance DeLong's (1988), computed by ranks (Sun and Xu 2014); the
    interval is taken on the logit scale, which keeps it inside 0 to 1. Perfect separation has variance 0 in it; there
    the interval is that of a proportion that was right min(n₊, n₋) times out of as many.

    Returns:
        None where all or none are positive.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return None
    ranks = rankdata(score)
    within_positive, within_negative = rankdata(score[positive]), rankdata(score[~positive])
    above = (ranks[positive] - within_positive) / n  # for each positive, share of negatives below it
    below = 1 - (ranks[~positive] - within_negative) / m  # for each negative, share of positives above it
    auc = float(above.mean())
    variance = (above.var(ddof=1) / m if m > 1 else 0.25) + (below.var(ddof=1) / n if n > 1 else 0.25)
    if variance <= 0 or auc in (0.0, 1.0):
        # All of the smaller group were told rightly: Clopper and Pearson's bound for so many successes in a row.
        least = 0.025 ** (1 / min(m, n))
        low, high = (least, 1.0) if auc >= 0.5 else (0.0, 1 - least)
    else:
        logit = math.log(auc / (1 - auc))
        half = _Z95 * math.sqrt(variance) / (auc * (1 - auc))
        low, high = 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))
    return auc, min(low, auc), max(high, auc)


def _curve(score: np.ndarray, positive: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The steps of the curve from (0, 0) to (1, 1), at most so many of them."""
    order = np.argsort(-score, kind="stable")
    hits = positive[order]
    last = np.append(np.diff(score[order]) != 0, True)  # equal scores are one step
    true = np.append(0.0, np.cumsum(hits)[last] / hits.sum())
    false = np.append(0.0, np.cumsum(~hits)[last] / (~hits).sum())
    if len(true) > _ROC_POINTS:
        # Evenly along the curve's length, so that a steep start keeps its points.
        along = np.append(0.0, np.cumsum(np.abs(np.diff(true)) + np.abs(np.diff(false))))
        keep = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _ROC_POINTS)).clip(max=len(along) - 1))
        true, false = true[keep], false[keep]
    return tuple(float(x) for x in false), tuple(float(x) for x in true)
