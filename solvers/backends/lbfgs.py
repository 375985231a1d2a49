"""L-BFGS on the soft margin, many rows at once, each with its own memory and its own step length."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from solvers.backend import Capabilities
from solvers.backends.ascent import Ascent, Run
from solvers.domains import Shape
from solvers.problem import ArgmaxProblem

_MEMORY = 8
_HALVINGS = 12
_SOFTNESS = 0.03
"""Temperature of the soft margin, as a share of the spread of the logits at the start."""


class Lbfgs(Ascent):
    """Limited-memory BFGS (Nocedal 1980; Nocedal & Wright 2006, §7.2) with step halving.

    It needs a smooth function of a free variable, so the best competitor becomes a soft maximum, and the point a
    smooth image of all of R^e: z = R·u/√(1+‖u‖²) in a ball, the middle plus half the width times tanh(u) in a box.
    Prefer it over Adam where a margin of some accuracy is wanted without a bound; else prefer a nearest-point method.
    """

    name = "lbfgs"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=(Shape.DIRECTIONS, Shape.UPWARD, Shape.BALL, Shape.BOX),
        batched=True,
        devices=("cpu", "cuda"),
        note="the better ascent where a margin is wanted; proves nothing",
    )

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem, and the middle and half widths of a box."""
        super().prepare(problem)
        region = self.space.region
        self._in_box = region.in_units()[:2] if region.radius is None else None

    def climb(self, place: Int[Tensor, " m"], z: Float32[Tensor, "m e"], run: Run) -> Int[Tensor, " left"]:
        """Climb the soft margin, and look at the hard one after every step."""
        u = self._preimage(z)
        temperature = self._temperature(z, run.tokens[place])
        value, gradient = self._soft(u, run.tokens[place], temperature)
        history: list[tuple[Tensor, Tensor]] = []
        for _ in range(run.steps):
            keep, _rival = run.step(place, self._image(u))
            if not bool(keep.all()):
                place, u, temperature, value, gradient = (
                    part[keep] for part in (place, u, temperature, value, gradient)
                )
                history = [(moved[keep], turned[keep]) for moved, turned in history]
            if not len(place) or run.over():
                break
            direction = _two_loops(gradient, history)
            uphill = (direction * gradient).sum(dim=1)
            direction = torch.where((uphill > 0)[:, None], direction, gradient)
            if not history:
                direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-30)
            mine = run.tokens[place]
            new_u, moved = self._line_search(u, value, gradient, direction, mine, temperature, run.work)
            new_value, new_gradient = self._soft(new_u, mine, temperature)
            history = [*history[-_MEMORY + 1 :], (new_u - u, gradient - new_gradient)]
            u, value, gradient = new_u, new_value, new_gradient
            if not bool(moved.any()):
                break
        return place

    def _line_search(
        self,
        u: Float32[Tensor, "m e"],
        value: Float32[Tensor, " m"],
        gradient: Float32[Tensor, "m e"],
        direction: Float32[Tensor, "m e"],
        tokens: Int[Tensor, " m"],
        temperature: Float32[Tensor, " m"],
        work: dict[str, float],
    ) -> tuple[Float32[Tensor, "m e"], Bool[Tensor, " m"]]:
        """Halve each row's step until it gains enough (Armijo 1966); a row that never does stays."""
        slope = (direction * gradient).sum(dim=1)
        length = torch.ones_like(value)
        out = u.clone()
        open_ = torch.arange(len(u), device=u.device)
        for _ in range(_HALVINGS):
            trial = u[open_] + length[open_, None] * direction[open_]
            with torch.no_grad():
                reached = self._soft_value(trial, tokens[open_], temperature[open_])
            work["priced_rows"] += len(open_)
            enough = reached >= value[open_] + 1e-4 * length[open_] * slope[open_]
            out[open_[enough]] = trial[enough]
            open_ = open_[~enough]
            if not len(open_):
                break
            length[open_] *= 0.5
        moved = torch.ones(len(u), dtype=torch.bool, device=u.device)
        moved[open_] = False
        return out, moved

    def _soft(
        self, u: Float32[Tensor, "m e"], tokens: Int[Tensor, " m"], temperature: Float32[Tensor, " m"]
    ) -> tuple[Float32[Tensor, " m"], Float32[Tensor, "m e"]]:
        with torch.enable_grad():
            leaf = u.detach().requires_grad_(True)
            value = self._soft_value(leaf, tokens, temperature)
            (gradient,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), gradient

    def _soft_value(
        self, u: Float32[Tensor, "m e"], tokens: Int[Tensor, " m"], temperature: Float32[Tensor, " m"]
    ) -> Float32[Tensor, " m"]:
        """Own logit less the soft maximum T·log Σ exp(·/T) of the others."""
        space = self.space
        scores = torch.addmm(space.offset32, self._image(u), space.rows32.T)
        index = torch.arange(len(tokens), device=u.device)
        own = scores[index, tokens]
        others = scores.index_put((index, tokens), torch.tensor(-torch.inf, device=u.device))
        return own - temperature * torch.logsumexp(others / temperature[:, None], dim=1)

    def _temperature(self, z: Float32[Tensor, "m e"], tokens: Int[Tensor, " m"]) -> Float32[Tensor, " m"]:  # noqa: ARG002
        space = self.space
        scores = torch.addmm(space.offset32, z, space.rows32.T)
        return _SOFTNESS * scores.std(dim=1).clamp(min=1e-6 * float(space.square_norm32.max().sqrt()) + 1e-30)

    def _image(self, u: Float32[Tensor, "m e"]) -> Float32[Tensor, "m e"]:
        space = self.space
        if self._in_box is not None:
            middle, half = (part.to(u.device, u.dtype) for part in self._in_box)
            return middle + half * torch.tanh(u)
        if not space.margins:
            u = torch.cat([u[:, :-1], u[:, -1:].abs()], dim=1)
        return space.region.size * u / (1 + (u**2).sum(dim=1, keepdim=True)).sqrt()

    def _preimage(self, z: Float32[Tensor, "m e"]) -> Float32[Tensor, "m e"]:
        """A free variable whose image is near z, kept off the rim, where the image hardly moves."""
        if self._in_box is not None:
            middle, half = (part.to(z.device, z.dtype) for part in self._in_box)
            return torch.atanh(0.8 * ((z - middle) / half).clamp(-1, 1))
        share = 0.8 * z / self.space.region.size
        return share / (1 - (share**2).sum(dim=1, keepdim=True)).clamp(min=1e-3).sqrt()


def _two_loops(
    gradient: Float32[Tensor, "m e"], history: list[tuple[Float32[Tensor, "m e"], Float32[Tensor, "m e"]]]
) -> Float32[Tensor, "m e"]:
    """The inverse Hessian of −f times the gradient of f; pairs without curvature count for nothing."""
    q = gradient
    kept = []
    for moved, turned in reversed(history):
        curvature = (moved * turned).sum(dim=1)
        usable = curvature > 1e-10 * (turned**2).sum(dim=1)
        rho = torch.where(usable, 1 / curvature.clamp(min=1e-30), 0.0)
        alpha = rho * (moved * q).sum(dim=1)
        q = q - alpha[:, None] * turned
        kept.append((moved, turned, rho, alpha))
    if history:
        moved, turned = history[-1]
        curvature, square = (moved * turned).sum(dim=1), (turned**2).sum(dim=1)
        usable = curvature > 1e-10 * square
        q = q * torch.where(usable, curvature / square.clamp(min=1e-30), 1.0)[:, None]
    for moved, turned, rho, alpha in reversed(kept):
        beta = rho * (turned * q).sum(dim=1)
        q = q + (alpha - beta)[:, None] * moved
    return q
