"""What number of subspaces do the measured cosines suggest, and which exponent would prefer that number?

With directions spread evenly inside each of k orthogonal subspaces of d/k dimensions, only one pair in k interferes,
and a pair that does has E cos² = k/d. So E cos² over all pairs is 1/d whatever k is, while E|cos| falls with √k:
M₂/M₁² is k times its value for k = 1 (near π/2). Turned around, k̂ = (M₂/M₁²)/(M₂/M₁² of random directions). Anything
else that makes the cosines uneven raises k̂ too, so it needs its controls like every other statistic.

The exponent of the subspace model that fits is the α whose optimum is k̂: α̂ = 1/s(k̂).
"""

from __future__ import annotations

from dataclasses import dataclass

from reach.interference.chance import mean_abs_cos, mean_square_cos
from reach.interference.subspaces import SubspaceModel
from solvers.errors import BadInput


@dataclass(frozen=True)
class Prediction:
    """The subspace model held against measured moments.

    Attributes:
        k_moments: k̂, the number of subspaces that the moments suggest.
        alpha: α̂, for which L is stationary at k̂; none outside the model's range.
        k: the optimum for α̂; none outside the range. It is k̂ again unless that stationary point is not the lowest.
        k_end: end of the range of k, or none.
        reason: why the model says nothing here, or none.
    """

    k_moments: float
    alpha: float | None
    k: float | None
    k_end: float | None
    reason: str | None


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
