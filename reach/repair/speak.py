"""The smallest changes that let tokens win by a margin.

For a point z the smallest change that gives a token the lead `aim` there is f·(aim − lead)/‖f‖², f its features at z.
Which z asks for least is no convex question, but every answer can be bettered: the margin, as a function of the
change, is a maximum of linear functions, so that it lies above its tangent at any change, and the smallest change on
the tangent's right side has the margin, too. Tangent after tangent that change shrinks (the convex–concave procedure,
Yuille and Rangarajan 2003). All tokens change together, so each round sees what the others have become.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from reach.heads.head import Head
from reach.repair.changed import Points, changed, other_points, scattered_points
from reach.repair.parts import Change, Parts, Space
from solvers.errors import BadInput

PROVED_TO = 1e-3
"""Relative gap of the margins of the scan that proves them afterwards."""
_ROUNDS, _SETTLED, _ABOVE = 12, 1e-3, 3 * PROVED_TO
_MORE_ROUNDS = 16
_SCATTERED = 4
_BEYOND = 1.5
"""What is aimed at beyond a margin that rounding to the stored type has taken, in what it took."""


def least_to_speak(
    head: Head,
    tokens: Int[Tensor, " n"],
    margin: float,
    parts: Parts,
    *,
    jobs: int = 1,
    progress: Callable[[int], object] = lambda _: None,
) -> Change:
    """A change, locally the smallest, after which all these tokens have this margin in the head as it is stored.

    Args:
        head: the head.
        tokens: `(n,)` ids.
        margin: logits.
        parts: what may change.
        jobs: cores.
        progress: told after each round.

    Raises:
        BadInput: no such change was found.
    """
    space = Space(head, tokens, parts)
    problem = head.problem()
    wanted = margin * (1 + PROVED_TO)
    aim = torch.full((len(tokens),), margin * (1 + _ABOVE), dtype=torch.float64)
    first = Points(problem, tokens, jobs)
    theta = torch.full((len(tokens), space.features(first.z).shape[1]), torch.inf, dtype=torch.float64)
    again = _equal_to_an_earlier_one(head, tokens)
    everywhere = torch.ones_like(again)
    for (z, lead), among in (
        ((first.z, first.lower), ~again),
        *((start, ~again) for start in other_points(problem, tokens)),
        # Rows that are equal would change alike and stay so: each but the first goes its own way.
        *((start, everywhere) for start in scattered_points(problem, tokens, _SCATTERED)),
    ):
        here = _on_the_right_side(space.features(z), lead, torch.zeros_like(theta), aim)
        shorter = among & (here.norm(dim=1) < theta.norm(dim=1))
        theta = torch.where(shorter[:, None], here, theta)
    _all_found(theta, tokens, margin, parts)
    before = float("inf")
    for _ in range(_ROUNDS):
        points = Points(changed(head, space.change(theta), as_stored=False).problem(), tokens, jobs)
        theta = _better(theta, space.features(points.z), points.lower, aim)
        progress(1)
        size = float(theta.norm())
        if abs(before - size) <= _SETTLED * size and bool((points.lower >= wanted).all()):
            break
        before = size
    for _ in range(_MORE_ROUNDS):
        rounded = changed(head, space.change(theta), as_stored=True)
        points = Points(rounded.problem(), tokens, jobs)
        progress(1)
        short = (wanted - points.lower).clamp(min=0)
        if not bool((short > 0).any()):
            return space.change(theta)
        aim = aim + _BEYOND * short
        theta = _better(theta, space.features(points.z), points.lower, torch.where(short > 0, aim, -torch.inf))
    worst = int(short.argmax())
    if float(short[worst]) > margin:
        raise BadInput(
            f"these {len(tokens)} tokens cannot all be given a margin of {margin:g}: the more token "
            f"{int(tokens[worst])} changes, the further the others must; choose fewer, or let more change"
        )
    raise BadInput(
        f"token {int(tokens[worst])} stays {float(short[worst]):.3g} logits short of a margin of {margin:g}: "
        f"{head.dtype}, in which the head is stored, is too coarse for it; ask for more, or store it in a finer type"
    )


def _equal_to_an_earlier_one(head: Head, tokens: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    numbers = head.weight[tokens].to(torch.float64)
    if head.bias is not None:
        numbers = torch.cat([numbers, head.bias[tokens].to(torch.float64)[:, None]], dim=1)
    _, first = np.unique(numbers.numpy(), axis=0, return_index=True)
    again = torch.ones(len(tokens), dtype=torch.bool)
    again[torch.from_numpy(first)] = False
    return again


def _better(
    theta: Float64[Tensor, "n k"],
    features: Float64[Tensor, "n k"],
    lead: Float64[Tensor, " n"],
    aim: Float64[Tensor, " n"],
) -> Float64[Tensor, "n k"]:
    found = _on_the_right_side(features, lead, theta, aim)
    keep = ~torch.isfinite(found).all(dim=1) | torch.isneginf(aim)
    return torch.where(keep[:, None], theta, found)


def _on_the_right_side(
    features: Float64[Tensor, "n k"],
    lead: Float64[Tensor, " n"],
    theta: Float64[Tensor, "n k"],
    aim: Float64[Tensor, " n"],
) -> Float64[Tensor, "n k"]:
    """The smallest θ' with lead + f·(θ' − θ) ≥ aim; infinite where there is none."""
    square = features.square().sum(dim=1)
    needed = (aim - lead + (features * theta).sum(dim=1)).clamp(min=0)
    share = torch.where(needed == 0, 0.0, needed / square)
    found = features.nan_to_num() * share[:, None]
    return torch.where((torch.isfinite(share) & torch.isfinite(square))[:, None], found, torch.inf)


def _all_found(theta: Float64[Tensor, "n k"], tokens: Int[Tensor, " n"], margin: float, parts: Parts) -> None:
    missing = ~torch.isfinite(theta).all(dim=1)
    if bool(missing.any()):
        first = int(tokens[int(torch.nonzero(missing)[0])])
        raise BadInput(f"no change of its {parts.value} gives token {first} a margin of {margin:g}: let more change")
