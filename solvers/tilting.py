"""Positive weights over thousands of rows at once, for rows that lie deep among others: means, zeros, padding.

The least of f(y) = log Σ_j exp((a_j − a_t)·y) has weights λ = softmax with Σλ_j a_j = a_t, if a_t lies inside the
hull of the rows (exponential tilting; Csiszár 1975). Its gradient is Σλ_j a_j − a_t, so every iterate bounds the
margin of t by R·‖gradient‖, and where a_t lies outside, y comes to point where t wins. No matrix is factored, and
each step is two products: for wide heads, where sparse weights would take a round for every few dimensions.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

_MEMORY = 6
_HALVINGS = 6
_ENOUGH_DECREASE = 1e-4
_ROUNDING = 1e-6
"""What float32 may make of a value; a step is not refused for it."""


def tilt(
    rows: Float32[Tensor, "s d"], targets: Float32[Tensor, "n d"], short: float, *, steps: int = 40
) -> tuple[Float64[Tensor, "n s"], Float32[Tensor, "n d"]]:
    """Weights over the rows whose mean is near each target, and directions in which it leads where there are none.

    Args:
        rows: the rows.
        targets: rows that are not among them.
        short: length of Σλ_j a_j − a_t that is small enough.
        steps: of L-BFGS, at most; all targets take them together.

    Returns:
        Weights, ≥ 0 with sum 1 up to rounding, and directions.
    """
    y = torch.zeros_like(targets)
    value, gradient, weights, outside = _at(rows, targets, y)
    size = float(rows.square().sum(dim=1).mean()) / rows.shape[1]
    history: list[tuple[Tensor, Tensor]] = []
    for _ in range(steps):
        busy = (gradient.norm(dim=1) > short) & ~outside
        if not bool(busy.any()):
            break
        direction = -_two_loops(gradient, history, 1 / max(size, 1e-30))
        slope = (direction * gradient).sum(dim=1)
        downhill = slope < 0
        direction = torch.where(downhill[:, None], direction, -gradient / max(size, 1e-30))
        slope = (direction * gradient).sum(dim=1)
        step = busy.to(torch.float32)
        for _ in range(_HALVINGS):
            there = y + step[:, None] * direction
            found = _at(rows, targets, there)
            worse = busy & ~(found[0] <= value + _ENOUGH_DECREASE * step * slope + _ROUNDING * (1 + value.abs()))
            if not bool(worse.any()):
                break
            step = torch.where(worse, step / 2, step)
        history = [*history, (there - y, found[1] - gradient)][-_MEMORY:]
        y, (value, gradient, weights, outside) = there, found
    return weights.double(), y


def _at(
    rows: Float32[Tensor, "s d"], targets: Float32[Tensor, "n d"], y: Float32[Tensor, "n d"]
) -> tuple[Float32[Tensor, " n"], Float32[Tensor, "n d"], Float32[Tensor, "n s"], Bool[Tensor, " n"]]:
    """f and its gradient, the weights, and whether all exponents are below 0, so that the target leads at y."""
    exponents = y @ rows.T - (y * targets).sum(dim=1, keepdim=True)
    weights = torch.softmax(exponents, dim=1)
    return torch.logsumexp(exponents, dim=1), weights @ rows - targets, weights, exponents.amax(dim=1) < 0


def _two_loops(
    gradient: Float32[Tensor, "n d"], history: list[tuple[Tensor, Tensor]], first: float
) -> Float32[Tensor, "n d"]:
    """The inverse Hessian of L-BFGS times the gradient (Nocedal & Wright 2006, algorithm 7.4), row by row."""
    q, kept = gradient.clone(), []
    for moved, turned in reversed(history):
        curve = (moved * turned).sum(dim=1)
        rho = torch.where(curve > 0, 1 / curve.clamp(min=1e-30), 0.0)
        alpha = rho * (moved * q).sum(dim=1)
        q -= alpha[:, None] * turned
        kept.append((moved, turned, rho, alpha))
    scale = torch.full((len(gradient),), first)
    if history:
        moved, turned = history[-1]
        curve = (moved * turned).sum(dim=1)
        scale = torch.where(curve > 0, curve / turned.square().sum(dim=1).clamp(min=1e-30), scale)
    q *= scale[:, None]
    for moved, turned, rho, alpha in reversed(kept):
        q += moved * (alpha - rho * (turned * q).sum(dim=1))[:, None]
    return q
