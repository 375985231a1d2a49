"""A head with some rows and offsets exchanged, and the best points of its tokens."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from reach.heads.head import Head
from reach.repair.parts import Change
from solvers import registry
from solvers.backend import Budget
from solvers.checks.witness import check_witnesses
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.recipes import far_along, recipe_points

_SEARCHES = ("active-set", "batched-barrier", "clarabel")
"""What brackets margins, the quickest first."""
_GAP = 1e-4


def changed(head: Head, change: Change, *, as_stored: bool) -> Head:
    """The head after a change.

    Args:
        head: the head.
        change: what is added.
        as_stored: round the new numbers to the types that the old ones are stored in; else keep at least float32.
    """
    kept = (torch.float32, torch.float64)
    dtype = head.weight.dtype if as_stored or head.weight.dtype in kept else torch.float32
    weight = head.weight.to(dtype, copy=True)
    weight[change.tokens] = (head.weight[change.tokens].to(torch.float64) + change.rows).to(dtype)
    bias = None
    if head.bias is not None:
        dtype = head.bias.dtype if as_stored or head.bias.dtype in kept else torch.float32
        bias = head.bias.to(dtype, copy=True)
        bias[change.tokens] = (head.bias[change.tokens].to(torch.float64) + change.offsets).to(dtype)
    return replace(head, weight=weight, bias=bias)


class Points:
    """The points at which tokens of a head do best.

    Args:
        problem: of the head.
        tokens: `(n,)` ids.
        jobs: cores.

    Raises:
        BadInput: margins on this domain are no numbers, or nothing can search it.
    """

    def __init__(self, problem: ArgmaxProblem, tokens: Int[Tensor, " n"], jobs: int) -> None:
        if not problem.margin_bounded:
            raise BadInput(
                "margins on the whole space have no bound where there are offsets, and no least change is defined: "
                "choose a bounded domain, such as --domain ball:R"
            )
        name = next((name for name in _SEARCHES if registry.backend(name).why_not(problem) is None), None)
        if name is None:
            raise BadInput(f"no search can bound margins over {problem.domain.describe()}")
        search = registry.backend(name)(jobs=jobs)
        search.prepare(problem)
        attempts = search.solve(tokens, Budget(margin_gap=_GAP))
        self.z: Float64[Tensor, "n d"] = attempts.points.to(torch.float64)
        """Where each does best, as the search says; NaN where it says nothing."""
        self.z[~torch.isfinite(self.z).all(dim=1)] = torch.nan
        self.lower: Float64[Tensor, " n"] = attempts.lower
        """Its lead there, as the search says, logits."""


def other_points(problem: ArgmaxProblem, tokens: Int[Tensor, " n"]) -> list[tuple[Tensor, Tensor]]:
    """Further points of tokens, and their leads there: along their rows, and along their rows less the mean."""
    return [
        _with_lead(problem, tokens, recipe_points(problem, recipe, tokens)) for recipe in ("own-row", "centred-row")
    ]


def scattered_points(problem: ArgmaxProblem, tokens: Int[Tensor, " n"], times: int) -> list[tuple[Tensor, Tensor]]:
    """Points in random directions, others for each token, and the tokens' leads there."""
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(times):
        directions = torch.randn((len(tokens), problem.d), generator=random, dtype=torch.float64)
        found.append(_with_lead(problem, tokens, far_along(problem, directions).to(torch.float32)))
    return found


def _with_lead(problem: ArgmaxProblem, tokens: Int[Tensor, " n"], z: Float32[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
    return z.to(torch.float64), check_witnesses(problem, tokens, z).lower
