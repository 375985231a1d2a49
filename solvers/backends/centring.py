"""Analytic centres of the hulls around many rows at once: Newton's method, its systems by conjugate gradients."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from solvers.hull_rows import HullRows, spread_rows
from solvers.problem import ArgmaxProblem

_KEPT_BYTES = 512 * 2**20
"""Rows are kept in float64 up to this size, and made anew in every pass beyond."""
_CORRECTION = 0.02
"""What a spread set may have to correct of the lightest weight: at this the proof has room to spare."""
_SAMPLE = 6
"""The preconditioner is the covariance of so many times e rows: of fewer it would say less about the others."""
_RIDGE = 1e-9
_LINE_STEPS = 12
_FARTHEST = 0.7
"""Share of the way to where φ ends that one step may go; farther, a single weight would outgrow all others."""
_ONE_SIDED = 1e10
"""Heaviest over lightest weight at which a row is taken to lie on a face of the hull, or just outside."""


class Space:
    """Rows in the coordinates of the search: those of the hull, and the offset where there is one."""

    def __init__(self, problem: ArgmaxProblem, device: str) -> None:
        self.problem, self.device = problem, device
        self.hull = HullRows(problem)
        self.lifted = not problem.zero_offset
        self.width = self.hull.e + int(self.lifted)
        self._offset = problem.offset - problem.offset.mean()
        spread = float(self._offset.abs().mean()) if self.lifted else 0.0
        typical = float(problem.row_norm.mean()) / max(1, self.hull.e) ** 0.5
        self._scale = typical / spread if spread > 0 else 1.0
        self.stretches = problem.margin_bounded
        """Whether only the direction of a point counts."""
        self.unit = 2.0 ** -round(math.log2(min(max(typical, 2.0**-500), 2.0**500)))
        """What rows are multiplied with, so that squares stay within float32."""
        self.slack = typical * self.unit if self.lifted else 0.0
        """κ: the column (0, −κ) lets the weighted offset be higher than the token's own."""
        self.blocks = self.hull.blocks()
        self._kept: dict[torch.dtype, list[Float[Tensor, "b w"]]] = {}
        for dtype in (torch.float32, torch.float64):
            if dtype.itemsize * problem.v * self.width <= _KEPT_BYTES:
                self._kept[dtype] = [self.rows(block, dtype) for block in self.blocks]
        chosen = spread_rows(problem.v, self.hull.e, _SAMPLE)
        self.spread = len(spread_rows(problem.v, self.hull.e))
        self.usable = self.hull.e > 0 and len(chosen) > self.hull.e
        self.whitening = self._whitening(chosen) if self.usable else torch.zeros((0, 0))
        self.precondition = self.whitening.T @ self.whitening
        self.usable &= bool(torch.isfinite(self.precondition).all())

    def rows(self, index: Int[Tensor, " n"] | slice, dtype: torch.dtype = torch.float64) -> Float[Tensor, "n w"]:
        """Some rows."""
        rows = self.hull.rows(index, dtype)
        if self.lifted:
            rows = torch.cat([rows, (self._offset[index] * self._scale)[:, None].to(dtype)], dim=1)
        return rows.mul_(self.unit).to(self.device)

    def block(self, number: int, dtype: torch.dtype) -> Float[Tensor, "b w"]:
        """The rows of a block."""
        kept = self._kept.get(dtype)
        return self.rows(self.blocks[number], dtype) if kept is None else kept[number]

    def _whitening(self, chosen: Int[Tensor, " n"]) -> Float64[Tensor, "w w"]:
        gram = torch.zeros((self.width, self.width), dtype=torch.float64, device=self.device)
        for part in torch.split(chosen, 4096):
            rows = self.rows(part)
            gram += rows.T @ rows
        gram /= len(chosen)
        identity = torch.eye(self.width, dtype=gram.dtype, device=gram.device)
        ridge = _RIDGE * gram.diagonal().mean().clamp(min=1e-300)
        factor, _ = torch.linalg.cholesky_ex(gram + ridge * identity)
        return torch.linalg.solve_triangular(factor, identity, upper=False)

    def duals(self, y: Float64[Tensor, "t w"]) -> Float64[Tensor, "t w"]:
        """y as the checker reads it, where an offset counts as it is."""
        if not self.lifted:
            return y * self.unit
        return torch.cat([y[:, :-1], y[:, -1:] * self._scale], dim=1) * self.unit

    def points(self, y: Float64[Tensor, "t w"]) -> Float64[Tensor, "t d"] | None:
        """Points where the tokens win, if y·x_j > 0 for all their rivals (and the slack's column)."""
        direction = -y
        if self.lifted:
            direction = -y[:, :-1] / (-y[:, -1:] * self._scale).clamp(min=1e-300)
        return self.hull.points(direction)


class Batch:
    """Tokens that are centred together. Values are held for every token and row."""

    def __init__(self, space: Space, tokens: Int[Tensor, " t"]) -> None:
        self.space = space
        self.at = torch.arange(len(tokens))  # places of the tokens that go on
        self.tokens = tokens
        self.own = space.rows(tokens)
        self.y = torch.zeros_like(self.own)
        self.slack = torch.ones(len(tokens), dtype=torch.float64, device=space.device)
        self._look()

    def _look(self) -> None:
        """Weights and their residual at y, in one float64 pass over the rows, and what these say."""
        space = self.space
        self.value = torch.empty((len(self.own), space.problem.v), dtype=torch.float64, device=space.device)
        mine = (self.y * self.own).sum(dim=1, keepdim=True)
        total = torch.zeros_like(self.own)
        for number, block in enumerate(space.blocks):
            rows = space.block(number, torch.float64)
            self.value[:, block] = 1 + (self.y @ rows.T - mine)
            total += (1 / self.value[:, block]) @ rows
        weight = 1 / self.value
        self.residual = total - weight.sum(dim=1, keepdim=True) * self.own
        if space.lifted:
            self.residual[:, -1] -= space.slack / self.slack
        image = self.residual @ space.whitening.T
        # A spread set of n rows corrects a residual of this length by changes of at most length/√n.
        self.decrement = image.norm(dim=1)
        self.inside = (self.decrement <= _CORRECTION * weight.amin(dim=1) * space.spread**0.5).cpu()
        lowest = self._of_rivals().amin(dim=1)
        self.outside = (lowest > 1).cpu()
        if space.lifted:
            self.outside &= (self.slack > 1).cpu()
        self.stuck = (weight.amax(dim=1) > _ONE_SIDED * weight.amin(dim=1)).cpu() & ~self.inside & ~self.outside
        self.weight = weight

    def _of_rivals(self) -> Float64[Tensor, "t v"]:
        """1 + y·x_j, infinite at the token itself."""
        own = torch.zeros_like(self.value).scatter_(1, self.tokens.to(self.value.device)[:, None], torch.inf)
        return self.value + own

    def newton(self, most: int) -> None:
        """One step of Newton's method, its direction by at most so many conjugate gradients."""
        step, along, slack = self._direction(most)
        length = self._length(along, slack)
        self.y += length[:, None] * step
        self.slack = self.slack + length * slack
        self._look()
        self.stuck |= (length * along.abs().amax(dim=1) < 1e-12).cpu() & ~self.inside & ~self.outside

    def _direction(self, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """H⁻¹·residual up to a tolerance, with its values at all rows and at the slack's column."""
        space = self.space
        square = (self.weight**2).to(torch.float32)
        step, along = torch.zeros_like(self.y), torch.zeros_like(self.value)
        slack = torch.zeros_like(self.slack)
        rest = self.residual.clone()
        z = rest @ space.precondition
        p, rz = z.clone(), (rest * z).sum(dim=1)
        first = rz.clone().clamp(min=1e-300)
        # Far from the centre a rough direction does; near it Newton's method is quick with a good one.
        tolerance = torch.where(self.decrement > space.problem.v**0.5, 0.1, 0.01)
        for _ in range(most):
            q, hp = self._curvature(square, p)
            down = -space.slack * p[:, -1] if space.lifted else torch.zeros_like(rz)
            if space.lifted:
                hp[:, -1] -= space.slack * down / self.slack**2
            bend = (p * hp).sum(dim=1)
            going = (rz > tolerance * first) & (bend > 0)
            alpha = torch.where(going, rz / bend.clamp(min=1e-300), 0.0)
            step += alpha[:, None] * p
            along += alpha[:, None] * q
            slack += alpha * down
            rest -= alpha[:, None] * hp
            z = rest @ space.precondition
            after = (rest * z).sum(dim=1)
            going &= after > tolerance * first
            if not bool(going.any()):
                break
            p = z + torch.where(going, after / rz.clamp(min=1e-300), 0.0)[:, None] * p
            rz = after
        return step, along, slack

    def _curvature(self, square: Float32[Tensor, "t v"], p: Float64[Tensor, "t w"]) -> tuple[Tensor, Tensor]:
        """p·x_j for all rows, and Σ w_j²(p·x_j)x_j, in one pass over them. A direction needs no more than float32."""
        space = self.space
        size = p.norm(dim=1, keepdim=True).clamp(min=1e-300)
        unit, own = (p / size).to(torch.float32), self.own.to(torch.float32)
        q = torch.empty(square.shape, dtype=torch.float32, device=square.device)
        total = torch.zeros_like(own)
        mine = (unit * own).sum(dim=1, keepdim=True)
        whole = torch.zeros_like(mine)
        for number, block in enumerate(space.blocks):
            rows = space.block(number, torch.float32)
            q[:, block] = unit @ rows.T - mine
            pull = square[:, block] * q[:, block]
            total += pull @ rows
            whole += pull.sum(dim=1, keepdim=True)
        return size * q, size * (total - whole * own)

    def _length(self, along: Float64[Tensor, "t v"], slack: Float64[Tensor, " t"]) -> Float64[Tensor, " t"]:
        """How far to go: the minimum of φ along the ray, by Newton's method held inside the domain of φ."""
        ratio = along / self.value
        extra = slack / self.slack if self.space.lifted else torch.zeros_like(slack)
        ends = -1 / torch.minimum(ratio.amin(dim=1), extra).clamp(max=-1e-300)
        length = torch.minimum(torch.ones_like(ends), _FARTHEST * ends)
        for _ in range(_LINE_STEPS):
            part = ratio / (1 + length[:, None] * ratio)
            side = extra / (1 + length * extra)
            slope = -part.sum(dim=1) - side
            bend = (part**2).sum(dim=1) + side**2
            move = -slope / bend.clamp(min=1e-300)
            move = move / (1 + slope.abs() / bend.clamp(min=1e-300).sqrt())  # damped as self-concordance allows
            length = torch.minimum((length + move).clamp(min=0), _FARTHEST * ends)
            if bool((move.abs() <= 0.05 * length).all()):
                break
        return length

    def drop(self) -> int:
        """Go on with those that are open; says how many are not."""
        keep = ~(self.inside | self.outside | self.stuck)
        dropped = int((~keep).sum())
        if dropped:
            here = keep.to(self.space.device)
            self.at, self.tokens = self.at[keep], self.tokens[keep]
            for name in ("own", "y", "value", "slack", "residual", "decrement", "weight"):
                setattr(self, name, getattr(self, name)[here])
            for name in ("inside", "outside", "stuck"):
                setattr(self, name, getattr(self, name)[keep])
        return dropped
