"""Batched primal–dual interior point on restricted problems: many rows at once, each against its own few rivals.

Solves, for every row of a batch,  max s  s.t.  l = D z + e − a·s ≥ 0,  ‖z‖ ≤ 1 (if there is a ball), by Newton steps
on the perturbed optimality conditions (Boyd & Vandenberghe 2004, §11.7) with Mehrotra's rule for the centring
parameter (Mehrotra 1992). The ball is one smooth concave constraint q(z) = (1 − ‖z‖²)/2 ≥ 0 with multiplier ν, so a
Newton step costs one d×d Cholesky factorisation per row, whatever the number of rivals.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

_BACK_OFF = 0.99
"""Share of the way to the boundary that a step may go."""


@dataclass
class Restricted:
    """A batch of restricted problems, scaled so that the ball has radius 1.

    Attributes:
        difference: `(b, k, e)` rows of D.
        offset: `(b, k)` entries of e.
        takes_s: `(b, k)` entries of a: 1 for a rival, 0 for a constraint of the domain or for padding.
        start: `(b, e)` points strictly inside the domain.
        ball: whether ‖z‖ ≤ 1 holds; without it the constraints of the domain are those of the box |z_i| ≤ 1.
        faces: how many of the last rows are constraints of the domain.
    """

    difference: Float64[Tensor, "b k e"]
    offset: Float64[Tensor, "b k"]
    takes_s: Float64[Tensor, "b k"]
    start: Float64[Tensor, "b e"]
    ball: bool
    faces: int = 0

    def select(self, keep: Bool[Tensor, " b"]) -> Restricted:
        """The problems that are kept."""
        parts = (self.difference[keep], self.offset[keep], self.takes_s[keep], self.start[keep])
        return Restricted(*parts, self.ball, self.faces)


@dataclass
class Solution:
    """Points `(b, e)`, reached s `(b,)` and multipliers of all constraints `(b, k)`."""

    z: Float64[Tensor, "b e"]
    s: Float64[Tensor, " b"]
    multipliers: Float64[Tensor, "b k"]
    iterations: int


def solve(
    problem: Restricted, *, relative_gap: Float64[Tensor, " b"], tolerance: float, iterations: int = 60
) -> Solution:
    """Solve a batch. A row is finished when its gap is small.

    Args:
        problem: the batch.
        relative_gap: `(b,)` finish a row at (upper − s) ≤ relative_gap·|s|.
        tolerance: finish a row whose gap is at most this, however small its s.
        iterations: limit on Newton steps.
    """
    b, k, _ = problem.difference.shape
    out = Solution(
        problem.start.clone(),
        torch.full((b,), -torch.inf, dtype=torch.float64, device=problem.start.device),
        torch.zeros((b, k), dtype=torch.float64, device=problem.start.device),
        0,
    )
    running = torch.arange(b, device=problem.start.device)
    state = _State.begin(problem)
    for iteration in range(iterations):
        out.iterations = iteration + 1
        done = torch.zeros(len(running), dtype=torch.bool, device=running.device)
        if iteration:
            done = state.step(relative_gap[running], tolerance)
        if iteration == iterations - 1:
            done[:] = True
        if bool(done.any()):
            index = running[done]
            out.z[index], out.multipliers[index] = state.z[done], state.parts["lam"][done]
            out.s[index] = state.bounds()[0][done]
            if bool(done.all()):
                break
            running, state = running[~done], state.select(~done)
    return out


class _State:
    """Iterates of the running problems.

    The ball is kept through a slack of its own, w ≥ 0 with q(z) = w only in the limit: z may leave the ball on the
    way (the curvature would block long steps otherwise), and is pulled back onto it whenever its value is taken.
    """

    def __init__(self, problem: Restricted, **parts: Tensor) -> None:
        self.problem = problem
        self.parts = parts

    @classmethod
    def begin(cls, problem: Restricted) -> _State:
        z = problem.start.clone()
        value = _times(problem.difference, z) + problem.offset
        rival = problem.takes_s > 0
        # s is set low enough for all slacks to be of one size, and the multipliers start on the central path.
        lowest = torch.where(rival, value, torch.inf).amin(dim=1)
        highest = torch.where(rival, value, -torch.inf).amax(dim=1)
        s = lowest - 0.5 * (highest - lowest) - 0.1
        slack = (value - problem.takes_s * s[:, None]).clamp(min=1e-300)
        mu = 1 / (problem.takes_s / slack).sum(dim=1).clamp(min=1e-300)
        w = (1 - (z**2).sum(dim=1)) / 2
        nu = mu / w if problem.ball else torch.zeros_like(mu)
        return cls(problem, z=z, s=s, value=value, lam=mu[:, None] / slack, w=w, nu=nu)

    def select(self, keep: Bool[Tensor, " b"]) -> _State:
        return _State(self.problem.select(keep), **{name: part[keep] for name, part in self.parts.items()})

    def step(self, relative_gap: Float64[Tensor, " b"], tolerance: float) -> Bool[Tensor, " b"]:
        """One predictor-corrector step; says which rows are finished after it."""
        x, system = self.parts, _Newton(self.problem, self.parts)
        trial = system.solve(torch.zeros_like(system.mean), _Bent(0.0, 0.0, 0.0, 0.0))
        share = torch.minimum(trial.primal, trial.dual).clamp(max=1)
        # Second-order terms of λl = μ, νw = μ, q(z) = w and ν·z, as the predictor would leave them.
        second = share**2
        bent = _Bent(
            second[:, None] * trial.dslack * trial.dlam,
            second * trial.dw * trial.dnu,
            second * (trial.dz**2).sum(dim=1) / 2,
            (second * trial.dnu)[:, None] * trial.dz,
        )
        move = system.solve(((1 - share) ** 3).clamp(min=1e-6) * system.mean, bent)
        sound = ~system.broken & torch.isfinite(move.dz).all(dim=1) & torch.isfinite(move.dlam).all(dim=1)
        sound &= torch.isfinite(move.ds) & torch.isfinite(move.dnu)
        primal = torch.where(sound, (_BACK_OFF * move.primal).clamp(max=1), 0.0)
        dual = torch.where(sound, (_BACK_OFF * move.dual).clamp(max=1), 0.0)
        for name, change, length in (
            ("z", move.dz, primal),
            ("s", move.ds, primal),
            ("value", move.dvalue, primal),
            ("w", move.dw, primal),
            ("lam", move.dlam, dual),
            ("nu", move.dnu, dual),
        ):
            far = length.reshape(-1, *[1] * (change.ndim - 1))
            x[name] = x[name] + torch.where(far > 0, far * change, 0.0)
        lower, upper = self.bounds()
        stuck = ~sound | (torch.maximum(primal, dual) < 1e-7)
        return stuck | ((upper - lower) <= (relative_gap * lower.abs()).clamp(min=tolerance))

    @property
    def pull(self) -> Float64[Tensor, " b"]:
        """Factor that brings z back into the ball."""
        if not self.problem.ball:
            return torch.ones_like(self.parts["s"])
        return 1 / self.parts["z"].norm(dim=1).clamp(min=1)

    @property
    def z(self) -> Float64[Tensor, "b e"]:
        """The points, inside the domain."""
        return self.parts["z"] * self.pull[:, None]

    def bounds(self) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
        """What z reaches, and what the rivals' multipliers allow: both hold for the restricted problem."""
        p, lam = self.problem, self.parts["lam"]
        value = (self.parts["value"] - p.offset) * self.pull[:, None] + p.offset
        lower = torch.where(p.takes_s > 0, value, torch.inf).amin(dim=1)
        share = lam * p.takes_s
        total = share.sum(dim=1).clamp(min=1e-300)
        constant = (share * p.offset).sum(dim=1)
        if p.ball:
            # A half-space of the domain may help to balance v; any multiplier ≥ 0 gives a bound.
            first = lam.shape[1] - p.faces
            constant = constant + (lam[:, first:] * p.offset[:, first:]).sum(dim=1)
            return lower, (_transposed_times(p.difference, lam).norm(dim=1) + constant) / total
        return lower, (_transposed_times(p.difference, share).abs().sum(dim=1) + constant) / total


class _Newton:
    """The linear system of one step, factored once for the predictor and the corrector."""

    def __init__(self, problem: Restricted, parts: dict[str, Tensor]) -> None:
        p, self.problem, self.parts = problem, problem, parts
        z, lam, w, nu = parts["z"], parts["lam"], parts["w"], parts["nu"]
        self.slack = (parts["value"] - p.takes_s * parts["s"][:, None]).clamp(min=1e-300)
        self.weight = lam / self.slack
        self.h = _transposed_times(p.difference, self.weight * p.takes_s)
        self.sigma = (self.weight * p.takes_s).sum(dim=1).clamp(min=1e-300)
        matrix = p.difference.transpose(1, 2) @ (self.weight[:, :, None] * p.difference)
        matrix -= self.h[:, :, None] * (self.h / self.sigma[:, None])[:, None, :]
        if p.ball:
            matrix += (nu / w)[:, None, None] * z[:, :, None] * z[:, None, :]
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        diagonal += nu[:, None] + 1e-14 * (1 + diagonal.mean(dim=1, keepdim=True))
        factor, info = torch.linalg.cholesky_ex(matrix)
        self.broken = (info > 0) | ~torch.isfinite(factor.diagonal(dim1=1, dim2=2)).all(dim=1)
        identity = torch.eye(z.shape[1], dtype=factor.dtype, device=factor.device)
        self.factor = torch.where(self.broken[:, None, None], identity, factor)
        self.outside = (1 - (z**2).sum(dim=1)) / 2 - w  # residual of q(z) = w
        self.mean = ((lam * self.slack).sum(dim=1) + nu * w) / (p.takes_s.shape[1] + (1 if p.ball else 0))

    def solve(self, mu: Float64[Tensor, " b"], bent: _Bent) -> _Move:
        """The direction towards the point of the central path with this μ."""
        p, slack, h, sigma = self.problem, self.slack, self.h, self.sigma
        z, lam, w, nu = (self.parts[name] for name in ("z", "lam", "w", "nu"))
        target = (mu[:, None] - bent.linear) / slack
        push = (p.takes_s * target).sum(dim=1) - 1
        right = _transposed_times(p.difference, target) - h * (push / sigma)[:, None]
        missing = self.outside - bent.ball
        if p.ball:
            right = right - ((mu - bent.product - nu * missing) / w)[:, None] * z - bent.turn
        dz = torch.cholesky_solve(right[:, :, None], self.factor)[:, :, 0]
        ds = ((h * dz).sum(dim=1) - push) / sigma
        dvalue = _times(p.difference, dz)
        dslack = dvalue - p.takes_s * ds[:, None]
        dw = missing - (z * dz).sum(dim=1)
        dnu = (mu - bent.product - nu * dw) / w - nu
        if not p.ball:
            dw, dnu = torch.zeros_like(dw), torch.zeros_like(dnu)
        move = _Move(dz, ds, dvalue, dslack, target - lam - self.weight * dslack, dw, dnu)
        move.primal = torch.minimum(_ratio(slack, dslack), _ratio(w[:, None], dw[:, None]))
        move.dual = torch.minimum(_ratio(lam, move.dlam), _ratio(nu[:, None], dnu[:, None]))
        return move


@dataclass
class _Bent:
    """Second-order terms: of λl, of νw, of q(z), of ν·z."""

    linear: Tensor | float
    product: Tensor | float
    ball: Tensor | float
    turn: Tensor | float


@dataclass
class _Move:
    """A Newton direction and how far it may go."""

    dz: Tensor
    ds: Tensor
    dvalue: Tensor
    dslack: Tensor
    dlam: Tensor
    dw: Tensor
    dnu: Tensor
    primal: Tensor = field(default_factory=lambda: torch.zeros(0))
    dual: Tensor = field(default_factory=lambda: torch.zeros(0))


def _times(matrix: Float64[Tensor, "b k e"], x: Float64[Tensor, "b e"]) -> Float64[Tensor, "b k"]:
    return (matrix @ x[:, :, None])[:, :, 0]


def _transposed_times(matrix: Float64[Tensor, "b k e"], y: Float64[Tensor, "b k"]) -> Float64[Tensor, "b e"]:
    return (y[:, None, :] @ matrix)[:, 0, :]


def _ratio(value: Float64[Tensor, "b k"], change: Float64[Tensor, "b k"]) -> Float64[Tensor, " b"]:
    """Largest step for which value + α·change stays nonnegative."""
    steps = torch.where(change < 0, value / (-change).clamp(min=1e-300), torch.inf)
    return steps.amin(dim=1)
