"""Optimisers whose rows are independent problems: a row can be replaced or dropped at any step.

References:
    Kingma & Ba (2015), ICLR: Adam. Loshchilov & Hutter (2019), ICLR: AdamW.
    Liu & Nocedal (1989), Mathematical Programming 45, 503–528: L-BFGS and its two-loop recursion.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Rows = Float[Tensor, "b n"]
DEFAULT_RATES = {"adam": 0.3, "adamw": 0.3, "sgd": 1.0, "lbfgs": 1.0}


class RowOptimiser(ABC):
    """Steps for b independent rows of n variables.

    Attributes:
        rate: step size, in units of the variables.
    """

    def __init__(self, rows: int, width: int, rate: float, device: torch.device | str) -> None:
        self.rate = rate
        self.age = torch.zeros((rows, 1), device=device)
        self._allocate(rows, width, device)

    @abstractmethod
    def _allocate(self, rows: int, width: int, device: torch.device | str) -> None: ...

    @abstractmethod
    def step(self, x: Rows, gradient: Rows, loss: Float[Tensor, " b"]) -> Rows:
        """The variables after one step."""

    @abstractmethod
    def _state(self) -> list[str]: ...

    def reset(self, rows: Int[Tensor, " m"]) -> None:
        """Forget all about some rows: new problems take their places."""
        self.age[rows] = 0
        for name in self._state():
            getattr(self, name)[rows] = 0

    def grow(self, rows: int) -> None:
        """Room for so many more problems, after the others."""
        for name in ("age", *self._state()):
            old = getattr(self, name)
            setattr(self, name, torch.cat([old, old.new_zeros((rows, *old.shape[1:]))]))

    def keep(self, rows: Int[Tensor, " m"] | Bool[Tensor, " b"]) -> None:
        """Drop all other rows."""
        self.age = self.age[rows]
        for name in self._state():
            setattr(self, name, getattr(self, name)[rows])


class Adam(RowOptimiser):
    """Adam with β = (0.9, 0.95): far out slopes are small, and a longer memory of steep ones would stop it there."""

    decay = 0.0

    def _allocate(self, rows: int, width: int, device: torch.device | str) -> None:
        self.first = torch.zeros((rows, width), device=device)
        self.second = torch.zeros((rows, width), device=device)

    def _state(self) -> list[str]:
        return ["first", "second"]

    def step(self, x: Rows, gradient: Rows, loss: Float[Tensor, " b"]) -> Rows:
        """One step."""
        del loss
        self.age += 1
        self.first.lerp_(gradient, 0.1)
        self.second.mul_(0.95).addcmul_(gradient, gradient, value=0.05)
        root = (self.second / (1 - 0.95**self.age)).sqrt_().add_(1e-12)
        return x * (1 - self.decay * self.rate) - self.rate / (1 - 0.9**self.age) * self.first / root


class AdamW(Adam):
    """Adam with decoupled decay of the variables, which keeps free embeddings small."""

    decay = 0.01


class Sgd(RowOptimiser):
    """Steps of fixed length along the averaged gradient: logits have no scale of their own to set a rate by."""

    def _allocate(self, rows: int, width: int, device: torch.device | str) -> None:
        self.first = torch.zeros((rows, width), device=device)

    def _state(self) -> list[str]:
        return ["first"]

    def step(self, x: Rows, gradient: Rows, loss: Float[Tensor, " b"]) -> Rows:
        """One step."""
        del loss
        self.age += 1
        length = gradient.norm(dim=1, keepdim=True).clamp_min(1e-30)
        self.first.mul_(0.9).add_(gradient / length, alpha=0.1)
        return x - self.rate * x.shape[1] ** 0.5 * self.first / (1 - 0.9**self.age)


class Lbfgs(RowOptimiser):
    """L-BFGS without a line search: a step that made things worse halves the row's step size, a good one grows it."""

    memory = 6

    def _allocate(self, rows: int, width: int, device: torch.device | str) -> None:
        self.moves = torch.zeros((rows, self.memory, width), device=device)
        self.turns = torch.zeros((rows, self.memory, width), device=device)
        self.old_x = torch.zeros((rows, width), device=device)
        self.old_gradient = torch.zeros((rows, width), device=device)
        self.old_loss = torch.zeros((rows, 1), device=device)
        self.shrink = torch.zeros((rows, 1), device=device)  # log2 of what the step size is divided by

    def _state(self) -> list[str]:
        return ["moves", "turns", "old_x", "old_gradient", "old_loss", "shrink"]

    def step(self, x: Rows, gradient: Rows, loss: Float[Tensor, " b"]) -> Rows:
        """One step."""
        seen = self.age > 0
        move, turn = x - self.old_x, gradient - self.old_gradient
        # Only pairs of positive curvature keep the direction one of descent.
        curved = seen & ((move * turn).sum(1, keepdim=True) > 1e-10 * turn.square().sum(1, keepdim=True))
        for name, new in (("moves", move), ("turns", turn)):
            old = getattr(self, name)
            setattr(self, name, torch.where(curved[..., None], torch.cat([old[:, 1:], new[:, None]], 1), old))
        worse = seen & (loss[:, None] > self.old_loss)
        self.shrink = torch.where(worse, self.shrink + 1, (self.shrink - 0.25).clamp_min(0)).clamp_max(12)
        self.old_x, self.old_gradient, self.old_loss = x.clone(), gradient.clone(), loss[:, None].clone()
        self.age += 1
        direction = self._two_loops(gradient)
        # No step may be longer than a plain one would be: far away the quadratic model means nothing.
        most = self.rate * x.shape[1] ** 0.5
        length = direction.norm(dim=1, keepdim=True).clamp_min(1e-30)
        return x - direction * (most / length).clamp_max(torch.where(seen, 1.0, torch.inf)) * 0.5**self.shrink

    def _two_loops(self, gradient: Rows) -> Rows:
        q = gradient.clone()
        products = (self.moves * self.turns).sum(2)
        inverse = torch.where(products > 0, 1 / products.clamp_min(1e-30), 0.0)
        weights = []
        for i in range(self.memory - 1, -1, -1):
            weight = inverse[:, i, None] * (self.moves[:, i] * q).sum(1, keepdim=True)
            q = q - weight * self.turns[:, i]
            weights.append(weight)
        last = self.turns[:, -1].square().sum(1)
        q = q * torch.where(last > 0, products[:, -1] / last.clamp_min(1e-30), 1.0)[:, None]
        for i in range(self.memory):
            back = inverse[:, i, None] * (self.turns[:, i] * q).sum(1, keepdim=True)
            q = q + self.moves[:, i] * (weights[self.memory - 1 - i] - back)
        return q


def row_optimiser(
    name: str, rows: int, width: int, rate: float | None, scale: float, device: torch.device | str
) -> RowOptimiser:
    """An optimiser by name; `rate` is relative to `scale`, the size of a typical variable."""
    kinds: dict[str, Callable[..., RowOptimiser]] = {"adam": Adam, "adamw": AdamW, "sgd": Sgd, "lbfgs": Lbfgs}
    return kinds[name](rows, width, (DEFAULT_RATES[name] if rate is None else rate) * scale, device)
