"""What proves the bounds on margins that a run holds, and what is wrong where it does not. Imports no solver."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from reach.witnesses import WeightPair
from solvers.checks.hull import hull_upper_bound, weights_fault
from solvers.checks.witness import single_competitor_bound
from solvers.problem import ArgmaxProblem

_ROUNDING = 1e-6
"""Share of a bound that two computations of it may differ by, beside what is proved of their rounding."""


def upper_faults(
    problem: ArgmaxProblem, upper: Sequence[float | None], weights: Mapping[int, WeightPair], *, all_certified: bool
) -> dict[int, str]:
    """Why upper bounds on margins are not proved by their weights, by token.

    Args:
        problem: the argmax problem with one row per token.
        upper: by token the bound that a run holds, logits; None where it holds none.
        weights: token to the rows and hull weights that prove it; a single blocker has weight 1.
        all_certified: whether each bound must have weights, as in all runs but those of earlier versions.
    """
    faults = {
        token: "no weights are stored that prove its upper margin"
        for token, bound in enumerate(upper)
        if bound is not None and token not in weights and all_certified
    }
    alone = []
    for token, pair in weights.items():
        recorded = upper[token] if 0 <= token < len(upper) else None
        if recorded is None:
            continue
        fault = weights_fault(problem, token, *pair)
        if fault is not None:
            faults[token] = f"of the weights that should prove its upper margin: {fault}"
        elif len(pair[0]) == 1:
            alone.append(token)
        else:
            faults |= _differing(problem, token, pair, recorded, hull_upper_bound(problem, token, *pair))
    if alone:
        rivals = torch.tensor([int(weights[token][0][0]) for token in alone])
        bounds = single_competitor_bound(problem, torch.tensor(alone), rivals).tolist()
        for token, bound in zip(alone, bounds, strict=True):
            recorded = upper[token]
            assert recorded is not None
            # What is below 0 proves 0 as well.
            faults |= _differing(problem, token, weights[token], recorded, max(bound, 0.0))
    return faults


def _differing(problem: ArgmaxProblem, token: int, pair: WeightPair, recorded: float, bound: float) -> dict[int, str]:
    # No bound at all, such as on the whole space with offsets, is within its own size of everything.
    difference = abs(recorded - bound) if math.isfinite(bound) else math.inf
    room = _ROUNDING * abs(bound) if math.isfinite(bound) else 0.0
    if difference <= room:
        return {}
    # A single blocker taken as weights proves more on a box. Near 0 rounding is nearly all that there is.
    whole = hull_upper_bound(problem, token, *pair)
    plain = hull_upper_bound(problem, token, *pair, rigorous=False)
    if min(difference, abs(recorded - whole)) <= room + 2 * (whole - plain):
        return {}
    return {token: f"its margin is recorded as at most {recorded}, but the weights for it give {bound:.9g} logits"}
