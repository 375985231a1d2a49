"""What a server's head is that computes in float32, bfloat16 or float16: its rounded rows, inputs and sums.

`docs/served.md` says which servers are meant. Bounds hold in whatever order float32 adds up the products, fused or
not, each row in its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified
from solvers.domains import Ball, Free
from solvers.errors import BadInput
from solvers.formats import Format
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT32, UNIT_FLOAT64, gamma, row_lengths, underflow

TIES, BIASES, NORMS = ("first", "last"), ("before", "after"), ("once", "steps")

_WIDE = 2.0**124
"""Sums beyond this are not looked into: they may overflow float32."""


@dataclass(frozen=True)
class Server:
    """How a server computes its logits and picks a token.

    Attributes:
        form: of the head's input, its weights and its logits.
        ties: which of several largest logits is returned, `first` or `last` by id.
        bias: added to the float32 sum `before` that is rounded to the format, or `after`, and rounded again.
        norm: what the norm puts out is rounded to the format `once`, or in `steps`: the normed state, its product
            with γ, its sum with β.
    """

    form: Format
    ties: str = "first"
    bias: str = "before"
    norm: str = "once"

    def precedes(self, one: Int[Tensor, "..."], other: Int[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """Whether the first token is returned where both have the largest logit."""
        return one < other if self.ties == "first" else one > other


class ServedHead:
    """A head as a server holds it: the numbers of a problem rounded to a format, and what they are bounded by.

    The factors and the shift of the norm are rounded with the rest, unless the rows are stored in the format already.

    Args:
        problem: of the head as it is stored, with a row for every token.
        server: what is asked about.

    Raises:
        BadInput: a number overflows the format, the rows are computed and not stored, or the domain is neither a ball
            nor the whole space where rows are centred.
    """

    def __init__(self, problem: ArgmaxProblem, server: Server) -> None:
        form = server.form
        if problem.weight_error is not None:
            raise BadInput(
                "--arithmetic: this head multiplies by two matrices, of which only the product is known here; "
                "nothing is proved of how a server rounds in between: leave --arithmetic out"
            )
        if problem.centred and not isinstance(problem.domain, Ball | Free):
            raise BadInput(
                f"--arithmetic: under a LayerNorm the domain must be its own, a ball or free, not "
                f"{problem.domain.describe()}: choose another --domain, or leave --arithmetic out"
            )
        cast = problem.weight.dtype != form.dtype
        weight = form.cast(problem.weight)
        parts = {"scale": problem.scale, "shift": problem.shift, "bias": problem.bias}
        rounded = {
            name: part if part is None or not (cast or name == "bias") else form.round(part)
            for name, part in parts.items()
        }
        whole = torch.isfinite(weight.sum(dim=1, dtype=torch.float64))
        if rounded["bias"] is not None:
            whole &= torch.isfinite(rounded["bias"])
        if not bool(whole.all()) or not all(p is None or bool(torch.isfinite(p).all()) for p in rounded.values()):
            which = torch.nonzero(~whole).flatten().tolist()
            where = f"of row {which[0]}" if which else "of the final norm"
            raise BadInput(
                f"--arithmetic {form.name}: a number {where} is beyond the largest {form.name}, {form.largest:g}; "
                f"leave {form.name} out"
            )
        self.server, self.form = server, form
        self.problem = ArgmaxProblem(weight, problem.domain, **rounded, centred=problem.centred)
        self.plain = ArgmaxProblem(weight, Free())
        """The rows alone, without the norm."""
        self.bias = torch.zeros(problem.v, dtype=torch.float64) if self.problem.bias is None else self.problem.bias

    @property
    def v(self) -> int:
        """Number of rows (tokens)."""
        return self.problem.v

    def inputs(self, points: Float[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
        """What the head is given at points z: γ⊙z + β, rounded to the format once or in steps.

        Under a LayerNorm the point that is meant is z − mean(z). A row is NaN where float64 cannot tell what a number
        is rounded to, and where it overflows the format.
        """
        problem, form = self.problem, self.form
        z = points.to(torch.float64)
        error = torch.zeros_like(z)
        if problem.centred:
            z, error = _centred(z)
        if self.server.norm == "once":
            x = _rounded(form, *_shifted(*_scaled(z, error, problem.scale), problem.shift))
        else:
            x, error = _rounded(form, z, error), torch.zeros_like(z)
            if problem.scale is not None:
                x = _rounded(form, *_scaled(x, error, problem.scale))
            if problem.shift is not None:
                x = _rounded(form, *_shifted(x, error, problem.shift))
        return torch.where(torch.isfinite(x).all(dim=1)[:, None], x, torch.nan)

    # --- what is rounded, anywhere in the domain ---

    @property
    def input_rounding(self) -> float:
        """ρ: |x_i − (γ_i z_i + β_i)| ≤ ρ(|γ_i z_i| + |β_i|) + lost_i."""
        steps = 1 if self.server.norm == "once" else 3
        return (1 + self.form.unit) ** steps - 1

    @cached_property
    def input_lost(self) -> Float64[Tensor, " d"]:
        """The absolute part of that, for numbers below the smallest normal one."""
        factor = torch.ones(self.problem.d, dtype=torch.float64) if self.problem.scale is None else self.problem.scale
        return 2 * self.form.below * (2 + factor.abs())

    @cached_property
    def reach(self) -> tuple[Float64[Tensor, " d"], float]:
        """Centre and radius of a ball that holds the domain."""
        return certified(self.problem.domain).enclosing_ball(self.problem.d)

    @cached_property
    def inputs_fit(self) -> bool:
        """Whether no input of the domain overflows the format."""
        centre, radius = self.reach
        size = centre.abs() + radius
        size = size if self.problem.scale is None else torch.maximum(size, size * self.problem.scale.abs())
        size = size if self.problem.shift is None else size + self.problem.shift.abs()
        return bool((size * (1 + self.input_rounding) * SECOND_ORDER < self.form.largest).all())

    @cached_property
    def sizes(self) -> Float64[Tensor, " v"]:
        """Bound, over the domain, on Σ|w_i x_i| for each row w."""
        problem, (centre, radius) = self.problem, self.reach
        parts = []
        for block in problem.blocks(8 * problem.d * 4):
            row = self.plain.rows(block).abs()
            scaled = row if problem.scale is None else row * problem.scale.abs()
            size = row_lengths(scaled) * radius + scaled @ centre.abs()
            if problem.shift is not None:
                size = size + row @ problem.shift.abs()
            size = size * (1 + self.input_rounding) + row @ self.input_lost
            parts.append(SECOND_ORDER * size + underflow(problem.d, torch.float64))
        return torch.cat(parts)

    def sum_error(
        self, size: Float64[Tensor, "*n"], bias: Float64[Tensor, "*#n"], length: Float64[Tensor, "*#n"]
    ) -> Float64[Tensor, "*n"]:
        """Bound on |float32 sum − exact sum| in any order, where Σ|w_i x_i| ≤ size and ‖w‖ + ‖x‖ ≤ length.

        The bias counts as one more term. Infinite where float32 may overflow.
        """
        d = self.problem.d
        whole = size + bias.abs()
        error = gamma(d + 4, UNIT_FLOAT32) * whole + underflow(d + 1, torch.float32) * (1 + length)
        return torch.where(whole < _WIDE, SECOND_ORDER * error, torch.inf)

    def step_error(self, value: Float64[Tensor, "*n"]) -> Float64[Tensor, "*n"]:
        """Bound on what rounding sums of this size to the format changes before the bias is added; 0 where it is
        added before."""
        if self.server.bias == "before" or self.problem.bias is None:
            return torch.zeros_like(value)
        return SECOND_ORDER * (self.form.unit * value + self.form.below)


def _two_sum(
    a: Float64[Tensor, "*n"], b: Float64[Tensor, "*n"]
) -> tuple[Float64[Tensor, "*n"], Float64[Tensor, "*n"]]:
    """a + b, and what that rounds off, exactly (Knuth)."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _centred(z: Float64[Tensor, "n d"]) -> tuple[Float64[Tensor, "n d"], Float64[Tensor, "n d"]]:
    """z − mean(z) and a bound on its error. Sums in pairs and keeps what they round off: numbers near 0 need it."""
    d, high, low = z.shape[1], z, torch.zeros(len(z), dtype=torch.float64)
    levels = 0
    while high.shape[1] > 1:
        if high.shape[1] % 2:
            high = torch.cat([high, torch.zeros_like(high[:, :1])], dim=1)
        high, off = _two_sum(high[:, 0::2], high[:, 1::2])
        low, levels = low + off.sum(dim=1), levels + 1
    mean = ((high[:, 0] + low) / d)[:, None]
    size = z.abs().sum(dim=1, keepdim=True)
    mean_error = 4 * UNIT_FLOAT64 * mean.abs() + 4 * (d + levels) * levels * UNIT_FLOAT64**2 * size
    found, off = _two_sum(z, -mean.expand_as(z))
    return found, SECOND_ORDER * (off.abs() + mean_error)


def _scaled(
    a: Float64[Tensor, "n d"], error: Float64[Tensor, "n d"], factor: Float64[Tensor, " d"] | None
) -> tuple[Float64[Tensor, "n d"], Float64[Tensor, "n d"]]:
    """a·factor and a bound on its error. A product of two float32 numbers is exact in float64."""
    if factor is None:
        return a, error
    product = a * factor
    narrow = (a.to(torch.float32).to(torch.float64) == a) & (factor.to(torch.float32).to(torch.float64) == factor)
    added = torch.where(narrow, 0.0, UNIT_FLOAT64 * product.abs() + underflow(1, torch.float64))
    return product, SECOND_ORDER * (error * factor.abs() + added)


def _shifted(
    a: Float64[Tensor, "n d"], error: Float64[Tensor, "n d"], shift: Float64[Tensor, " d"] | None
) -> tuple[Float64[Tensor, "n d"], Float64[Tensor, "n d"]]:
    """a + shift and a bound on its error."""
    if shift is None:
        return a, error
    total, off = _two_sum(a, shift.expand_as(a))
    return total, SECOND_ORDER * (error + off.abs())


def _rounded(form: Format, a: Float64[Tensor, "n d"], error: Float64[Tensor, "n d"]) -> Float64[Tensor, "n d"]:
    """What every number within the error of a is rounded to; NaN where they differ, where it is infinite, and where
    hardware may take it as 0."""
    infinite = torch.tensor(torch.inf, dtype=torch.float64)
    low = torch.where(error > 0, torch.nextafter(a - error, -infinite), a)
    high = torch.where(error > 0, torch.nextafter(a + error, infinite), a)
    low, high = form.round(low), form.round(high)
    known = (low == high) & torch.isfinite(low)
    if form.flushed:
        known &= (low == 0) | (low.abs() >= 2.0**form.least)
    return torch.where(known, low, torch.nan)
