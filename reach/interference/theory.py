"""What theory says about n tokens in d dimensions, and what the measured cosines say to it.

*Moments.* With directions spread evenly inside each of k orthogonal subspaces of d/k dimensions, only one pair in k
interferes, and a pair that does has E cos² = k/d. So E cos² over all pairs is 1/d whatever k is, while E|cos| falls
with √k: M₂/M₁² is k times its value for k = 1 (near π/2). Turned around, k̂ = (M₂/M₁²)/(M₂/M₁² of random directions).
Anything else that makes the cosines uneven raises k̂ too, so it needs its controls like every other statistic.

The exponent of the subspace model that fits is the α whose optimum is k̂: α̂ = 1/s(k̂).
"""

from __future__ import annotations

import math

from reach.interference.packing import (
    dimensions_needed,
    expected_coherence,
    expected_strongest,
    interference,
    interference_uncorrected,
    levenshtein_bound,
    mean_abs_cos,
    mean_square_cos,
    orthoplex_bound,
    sidelnikov_bound,
    tokens_at_range_end,
    tokens_that_fit,
    welch_bound,
)
from reach.interference.record import (
    AlphaCurve,
    AtEpsilon,
    CoherenceBounds,
    Packing,
    Prediction,
    RandomDirections,
    Subspaces,
    Theory,
)
from reach.interference.subspaces import SubspaceModel
from solvers.errors import BadInput

_EPSILONS = (0.1, 0.2, 0.3, 0.5, 0.9)
_CURVE_POINTS = 161


def theory(n: int, d: int, alphas: tuple[float, ...]) -> Theory:
    """Packing, bounds, chance and the subspace model for n rows in d dimensions."""
    epsilon, reason = None, None
    try:
        epsilon = interference(n, d)
    except BadInput as error:
        reason = str(error)
    return Theory(
        n=n,
        d=d,
        packing=Packing(
            epsilon=epsilon,
            reason=reason,
            uncorrected=interference_uncorrected(n, d),
            tokens_at_range_end=tokens_at_range_end(d),
            dimensions_at_range_end=24 * math.log(n),
            at_epsilon=tuple(AtEpsilon(e, dimensions_needed(n, e), tokens_that_fit(d, e)) for e in _EPSILONS),
        ),
        bounds=CoherenceBounds(
            welch=welch_bound(n, d),
            orthoplex=orthoplex_bound(n, d),
            levenshtein=levenshtein_bound(n, d),
            sidelnikov=sidelnikov_bound(n, d),
        ),
        chance=RandomDirections(coherence=expected_coherence(n, d), strongest=expected_strongest(n, d)),
        subspaces=subspace_record(n, d, alphas),
    )


def subspace_record(n: float, d: float, alphas: tuple[float, ...]) -> Subspaces:
    """Curves, optima and transition of the subspace model, or the reason why it has none here."""
    try:
        model = SubspaceModel(n, d)
    except BadInput as error:
        return Subspaces(reason=str(error))
    grid = tuple(float(k) for k in model.grid(_CURVE_POINTS))
    return Subspaces(
        reason=None,
        n=n,
        d=d,
        k_end=model.k_end,
        reaches_one=model.reaches_one,
        transition=model.transition,
        k=grid,
        epsilon=tuple(model.epsilon(k) for k in grid),
        curves=tuple(
            AlphaCurve(
                optimum=model.optimum(alpha),
                alpha=alpha,
                loss=tuple(model.loss(k, alpha) for k in grid),
                slope=tuple(model.slope(k, alpha) for k in grid),
            )
            for alpha in alphas
        ),
    )


# --- moments ---


def subspaces_from_moments(mean: float, mean_square: float, d: int) -> float:
    """k̂ from the mean of |cos| and of cos² over all pairs.

    Raises:
        BadInput: all cosines are 0 (orthogonal rows), so there is no interference to divide by.
    """
    if not mean > 0:
        raise BadInput("all rows are orthogonal: there is no interference, and no number of subspaces to read off it")
    return (mean_square / mean**2) / (mean_square_cos(d) / mean_abs_cos(d) ** 2)


def predict(mean: float, mean_square: float, v: int, d: int) -> Prediction:
    """Fit α to the moments and let the model choose its k."""
    k = subspaces_from_moments(mean, mean_square, d)
    try:
        model = SubspaceModel(v, d)
        if not 1 <= k <= model.k_end:
            return Prediction(
                k, None, None, model.k_end, f"k = {k:.3g} lies outside its range, 1 to {model.k_end:.4g}"
            )
        alpha = model.alpha_at(k)
        return Prediction(k, alpha, model.optimum(alpha).k if alpha > 0 else None, model.k_end, None)
    except BadInput as error:
        return Prediction(k, None, None, None, str(error))
