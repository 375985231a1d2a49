"""What theory says about n tokens in d dimensions, as the record of a run keeps it."""

from __future__ import annotations

import math
from typing import Any

from reach.interference import chance
from reach.interference.bounds import levenshtein_bound, orthoplex_bound, sidelnikov_bound, welch_bound
from reach.interference.packing import (
    dimensions_needed,
    interference,
    interference_uncorrected,
    tokens_at_range_end,
    tokens_that_fit,
)
from reach.interference.subspaces import SubspaceModel
from solvers.errors import BadInput

_EPSILONS = (0.1, 0.2, 0.3, 0.5, 0.9)
_CURVE_POINTS = 161


def theory(n: int, d: int, alphas: tuple[float, ...]) -> dict[str, Any]:
    """Packing, bounds, chance and the subspace model for n rows in d dimensions."""
    epsilon, reason = None, None
    try:
        epsilon = interference(n, d)
    except BadInput as error:
        reason = str(error)
    return {
        "n": n,
        "d": d,
        "packing": {
            "epsilon": epsilon,
            "reason": reason,
            "uncorrected": interference_uncorrected(n, d),
            "tokens_at_range_end": tokens_at_range_end(d),
            "dimensions_at_range_end": 24 * math.log(n),
            "at_epsilon": [
                {"epsilon": e, "dimensions_needed": dimensions_needed(n, e), "tokens_that_fit": tokens_that_fit(d, e)}
                for e in _EPSILONS
            ],
        },
        "bounds": {
            "welch": welch_bound(n, d),
            "orthoplex": orthoplex_bound(n, d),
            "levenshtein": levenshtein_bound(n, d),
            "sidelnikov": sidelnikov_bound(n, d),
        },
        "chance": {
            "coherence": chance.expected_coherence(n, d),
            "strongest": chance.expected_strongest(n, d),
        },
        "subspaces": subspace_record(n, d, alphas),
    }


def subspace_record(n: float, d: float, alphas: tuple[float, ...]) -> dict[str, Any]:
    """Curves, optima and transition of the subspace model, or the reason why it has none here."""
    try:
        model = SubspaceModel(n, d)
    except BadInput as error:
        return {"reason": str(error)}
    grid = [float(k) for k in model.grid(_CURVE_POINTS)]
    return {
        "reason": None,
        "n": n,
        "d": d,
        "k_end": model.k_end,
        "reaches_one": model.reaches_one,
        "transition": dict(model.transition.__dict__),
        "k": grid,
        "epsilon": [model.epsilon(k) for k in grid],
        "curves": [
            {
                "optimum": dict(model.optimum(alpha).__dict__),
                "alpha": alpha,
                "loss": [model.loss(k, alpha) for k in grid],
                "slope": [model.slope(k, alpha) for k in grid],
            }
            for alpha in alphas
        ],
    }
