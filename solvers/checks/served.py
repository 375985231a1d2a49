"""Checks of what a server returns that computes in float32, bfloat16 or float16: proofs for every order of summation.

`docs/served.md` says which servers are meant. Points z of the domain prove that a token comes out, weights over other
rows prove that it does not. What is proved holds in whatever order float32 adds up the products, fused or not, each
row in its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified
from solvers.checks.hull import are_hull_weights
from solvers.domains import Ball, Free
from solvers.errors import BadInput
from solvers.formats import Format
from solvers.precision import full_float32_products
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT32, UNIT_FLOAT64, gamma, row_lengths, underflow
from solvers.weighted_rows import weighted_differences

NOTHING, RETURNED, ALONE = 0, 1, 2
"""What a point proves: nothing; the token is returned there in every order; it has the single largest logit there."""
NOT_ALONE, NOT_EVERYWHERE, NEVER = 1, 2, 3
"""What weights prove, each more than the one before: at no point has the token the single largest logit in every
order; at no point is it returned in every order; it is never returned. 0 where they prove nothing."""

TIES, BIASES, NORMS = ("first", "last"), ("before", "after"), ("once", "steps")

_COLUMNS = 8192
"""Rows that are multiplied with at a time."""
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


# --- points ---


def check_points(
    head: ServedHead,
    tokens: Int[Tensor, " n"],
    points: Float[Tensor, "n d"],
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
    limit: int = BLOCK_BYTES,
) -> Int[np.ndarray, " n"]:
    """What each point proves of its token: `ALONE`, `RETURNED` or `NOTHING`.

    One float32 product with all rows; where that does not show a token alone, two in float64.

    Args:
        head: as it is served.
        tokens: `(n,)` row numbers.
        points: `(n, d)` points z, float32 or float64. One that is not finite or lies outside proves nothing.
        device: where the products are computed.
        progress: called with the number of points finished, block by block.
        limit: bytes for one block of logits.
    """
    found = np.full(len(tokens), NOTHING, dtype=np.int8)
    usable = torch.isfinite(points).all(dim=1)
    usable &= certified(head.problem.domain).inside(points)
    places = torch.nonzero(usable).flatten()
    step = max(1, limit // (4 * 8 * min(head.v, _COLUMNS)))
    with full_float32_products(device):
        for keep in places.split(step) if len(places) else ():
            found[keep.numpy()] = _at_inputs(head, tokens[keep], head.inputs(points[keep]), device)
            progress(len(keep))
    progress(len(tokens) - len(places))
    return found


def _at_inputs(
    head: ServedHead, tokens: Int[Tensor, " b"], x: Float64[Tensor, "b d"], device: torch.device | str
) -> Int[np.ndarray, " b"]:
    """What inputs of the head prove of their tokens."""
    found = np.full(len(tokens), NOTHING, dtype=np.int8)
    there = torch.nonzero(torch.isfinite(x).all(dim=1)).flatten()
    if len(there):
        quick = _Rivals(head, tokens[there], x[there], torch.float32, device)
        found[there.numpy()] = np.where(quick.alone().numpy(), ALONE, NOTHING)
    left = there[torch.from_numpy(found[there.numpy()] == NOTHING)]
    if len(left):
        close = _Rivals(head, tokens[left], x[left], torch.float64, device)
        found[left.numpy()] = np.where(close.alone().numpy(), ALONE, np.where(close.returned().numpy(), RETURNED, 0))
    return found


class _Rivals:
    """For a block of inputs the token's lowest possible logit, and the highest of those before and after it.

    In float32 rounding is bounded by lengths, and both bounds on rivals are the same; in float64 term by term.
    """

    def __init__(
        self,
        head: ServedHead,
        tokens: Int[Tensor, " b"],
        x: Float64[Tensor, "b d"],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        self.head, self.tokens, self.dtype = head, tokens, dtype
        self.length = row_lengths(x) * (1 + gamma(head.problem.d + 2))
        self.before, self.after = (torch.full((len(x),), -torch.inf, dtype=torch.float64) for _ in range(2))
        self.x, self.far = x.to(device, dtype), float(self.length.max())
        for start in range(0, head.v, _COLUMNS):
            part = slice(start, min(start + _COLUMNS, head.v))
            self._meet(self._highest(part, device), part)
        self.lowest, self.own = self._own(x)

    def _highest(self, part: slice, device: torch.device | str) -> Float64[Tensor, "b c"] | Float32[Tensor, "b c"]:
        """The highest logits that some rows may have, before they are rounded to the format."""
        head = self.head
        rows, bias = head.plain.rows(part), head.bias[part]
        logits = self.x @ rows.to(device, self.dtype).T
        norm = head.plain.row_norm[part]
        if self.dtype == torch.float32:
            size = self.far * norm
            error = 2 * head.sum_error(size, bias, self.far + norm) + 4 * UNIT_FLOAT32 * (bias.abs() + size)
            if bool(head.step_error(torch.ones(1, dtype=torch.float64)) > 0):
                # Of the computed sum's own size; what that may be off by is rounded as well.
                logits += (head.form.unit * SECOND_ORDER**2) * logits.abs()
                error = error + head.step_error(error) + UNIT_FLOAT32 * size
            raised = torch.nextafter((bias + SECOND_ORDER * error).to(torch.float32), torch.tensor(torch.inf))
            return logits.add_(raised.to(device))
        size = self.x.abs() @ rows.abs().to(device).T
        size = SECOND_ORDER * size.cpu()
        logits = logits.cpu()
        error = head.sum_error(size, bias, self.length[:, None] + norm)
        error += head.step_error(logits.abs() + error)
        return logits + bias + SECOND_ORDER * error

    def _meet(self, logits: Float[Tensor, "b c"], part: slice) -> None:
        """Keep the highest of some rows, those that precede the token apart from those that do not."""
        mine = torch.nonzero((self.tokens >= part.start) & (self.tokens < part.stop)).flatten()
        logits[mine.to(logits.device), (self.tokens[mine] - part.start).to(logits.device)] = -torch.inf
        # A NaN logit must never read as "no rival".
        if self.dtype == torch.float32:
            most = logits.amax(dim=1).double().cpu()
            most = torch.where(torch.isnan(most), torch.inf, most)
            self.before, self.after = torch.maximum(self.before, most), torch.maximum(self.after, most)
            return
        logits = torch.where(torch.isnan(logits), torch.inf, logits)
        ids = torch.arange(part.start, part.stop)
        first = self.head.server.precedes(ids[None], self.tokens[:, None])
        for name, those in (("before", first), ("after", ~first)):
            most = torch.where(those, logits, -torch.inf).amax(dim=1)
            setattr(self, name, torch.maximum(getattr(self, name), most))

    def _own(self, x: Float64[Tensor, "b d"]) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
        """The token's own logit at its lowest, rounded to the format; and at its highest."""
        head = self.head
        rows, bias = head.plain.rows(self.tokens), head.bias[self.tokens]
        terms = rows * x
        value, size = terms.sum(dim=1), SECOND_ORDER * terms.abs().sum(dim=1)
        error = head.sum_error(size, bias, self.length + head.plain.row_norm[self.tokens])
        error = SECOND_ORDER * (error + head.step_error(value.abs() + error))
        return self._down(value + bias - error), self._up(value + bias + error)

    def _down(self, logit: Float64[Tensor, " b"]) -> Float64[Tensor, " b"]:
        form, logit = self.head.form, self.head.form.round(logit)
        return torch.where((logit > 0) & (logit < 2.0**form.least) & form.flushed, 0.0, logit)

    def _up(self, logit: Float64[Tensor, " b"]) -> Float64[Tensor, " b"]:
        form, logit = self.head.form, self.head.form.round(logit)
        return torch.where((logit < 0) & (logit > -(2.0**form.least)) & form.flushed, 0.0, logit)

    def alone(self) -> Bool[Tensor, " b"]:
        """Whether the token's logit is above all others in every order."""
        sound = torch.isfinite(self.lowest) & torch.isfinite(self.own)
        return sound & (self.lowest > self._up(torch.maximum(self.before, self.after)))

    def returned(self) -> Bool[Tensor, " b"]:
        """Whether it is returned in every order, alone or by the tie rule."""
        sound = torch.isfinite(self.lowest) & torch.isfinite(self.own)
        return sound & (self.lowest > self._up(self.before)) & (self.lowest >= self._up(self.after))


# --- weights ---


def check_weights(
    head: ServedHead,
    tokens: Int[Tensor, " n"],
    start: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
) -> Int[np.ndarray, " n"]:
    """What weights over other rows prove against tokens: `NEVER`, `NOT_EVERYWHERE`, `NOT_ALONE`, or 0.

    A single row that equals the token's own, offset included, has the same logit wherever both are summed in one
    order. Any other weights must bound the token's lead below all that may be rounded.

    Args:
        head: as it is served.
        tokens: `(n,)` row numbers.
        start: where the weights of each token begin, and where the last ones end.
        rows, weights: row numbers and weights.
    """
    found = np.full(len(tokens), NOTHING, dtype=np.int8)
    good = np.flatnonzero(are_hull_weights(head.plain, tokens, start, rows, weights))
    for i in good.tolist():
        mine = rows[start[i] : start[i + 1]]
        if len(mine) == 1 and _equal(head, int(tokens[i]), int(mine[0])):
            first = bool(head.server.precedes(torch.tensor(int(mine[0])), tokens[i]))
            found[i] = NOT_EVERYWHERE if first else NOT_ALONE
    good = good[found[good] == NOTHING]
    if not len(good) or not head.problem.domain.bounded or not head.inputs_fit:
        return found
    sizes = np.diff(start)
    kept = np.repeat(np.isin(np.arange(len(tokens)), good), sizes)
    lead = _Lead(
        head, tokens[good], np.concatenate([[0], np.cumsum(sizes[good])]), rows[kept], weights[kept]
    )  # fmt: skip
    silent = np.where(lead.beaten(), np.where(lead.all_precede | lead.apart(), NEVER, NOT_ALONE), NOTHING)
    found[good] = silent
    return found


def _equal(head: ServedHead, one: int, other: int) -> bool:
    weight = head.problem.weight
    return bool((weight[one] == weight[other]).all()) and bool(head.bias[one] == head.bias[other])


class _Lead:
    """Upper bounds, over the domain, on Σλ_j(p_t − p_j), where p are the sums that are rounded to logits."""

    def __init__(
        self,
        head: ServedHead,
        tokens: Int[Tensor, " n"],
        start: Int[np.ndarray, " n_plus_1"],
        rows: Int[np.ndarray, " k"],
        weights: Float64[np.ndarray, " k"],
    ) -> None:
        self.head, self.tokens = head, tokens
        sizes, index = np.diff(start), torch.from_numpy(rows)
        owner = np.repeat(np.arange(len(tokens)), sizes)
        total = np.add.reduceat(weights, start[:-1])

        def mean(values: Float64[Tensor, " k"]) -> Float64[Tensor, " n"]:
            return torch.from_numpy(np.add.reduceat(weights * values.numpy(), start[:-1]) / total)

        me = tokens[torch.from_numpy(owner)]
        difference = weighted_differences(head.plain, tokens, start, rows, weights)
        self.v = difference / torch.from_numpy(total)[:, None]
        self.delta = mean(head.bias[me] - head.bias[index])
        # The sums over the weights, and their total.
        k = torch.tensor([gamma(2 * size + 8) for size in sizes.tolist()], dtype=torch.float64)
        norm = head.plain.row_norm
        lost = torch.tensor([underflow(head.problem.d * size, torch.float64) for size in sizes.tolist()])
        self.v_error = SECOND_ORDER * (k * mean(norm[me] + norm[index]) + lost)
        self.delta_error = SECOND_ORDER * (k * mean(head.bias[me].abs() + head.bias[index].abs()) + lost)
        all_sizes = head.sizes
        error = head.sum_error(all_sizes, head.bias, norm + self._longest())
        error = SECOND_ORDER * (error + head.step_error(all_sizes + error))
        self.error, self.own_error = mean(error[index]), error[tokens]
        before = head.server.precedes(index, me).numpy()
        self.all_precede = np.logical_and.reduceat(before, start[:-1])

    def _longest(self) -> float:
        """Bound on the length of the head's input."""
        problem, (centre, radius) = self.head.problem, self.head.reach
        factor = 1.0 if problem.scale is None else float(problem.scale.abs().max())
        length = factor * (radius + float(centre.norm()))
        length += 0.0 if problem.shift is None else float(problem.shift.norm())
        return 2 * length + float(self.head.input_lost.norm())

    def beaten(self) -> Bool[np.ndarray, " n"]:
        """Whether at every point one of the rows has a sum at least as large as the token's: it can at best tie."""
        found: Bool[np.ndarray, " n"] = (self._highest(0.0) + self.error + self.own_error < 0).numpy()
        return found

    def apart(self) -> Bool[np.ndarray, " n"]:
        """Whether at every point one of the rows is above by so much that rounding to the format keeps it above.

        Two sums p_j > p_t have different logits if p_j − p_t exceeds 2u/(1 − u)·|p_t| and what is lost below the
        normal numbers.
        """
        form, head = self.head.form, self.head
        share = SECOND_ORDER * 2 * form.unit / (1 - form.unit)
        highest = torch.maximum(self._highest(share), self._highest(-share))
        room = SECOND_ORDER * (self.error + (1 + share) * self.own_error + 4 * form.below)
        top = head.sizes[self.tokens] + head.bias[self.tokens].abs() + self.own_error
        found: Bool[np.ndarray, " n"] = ((highest + room < 0) & (top * SECOND_ORDER < form.largest)).numpy()
        return found

    def _highest(self, share: float) -> Float64[Tensor, " n"]:
        """Upper bound on Σλ_j(ℓ_t − ℓ_j) + share·ℓ_t over all inputs, with exact logits ℓ."""
        head, problem, d = self.head, self.head.problem, self.head.problem.d
        own, norm = head.plain.rows(self.tokens), head.plain.row_norm[self.tokens]
        v = self.v + share * own
        v_error = self.v_error + SECOND_ORDER * gamma(4) * (row_lengths(self.v) + abs(share) * norm)
        bias = head.bias[self.tokens]
        delta = self.delta + share * bias
        delta_error = self.delta_error + gamma(4) * (self.delta.abs() + abs(share) * bias.abs())
        scale = torch.ones(d, dtype=torch.float64) if problem.scale is None else problem.scale
        shift = torch.zeros(d, dtype=torch.float64) if problem.shift is None else problem.shift
        g, widest = v * scale, float(scale.abs().max())
        length = row_lengths(g)
        g_error = v_error * widest + gamma(4) * length + underflow(d, torch.float64)
        centre, radius = head.reach
        # x lies off γ⊙z + β by a share of the size of both, component by component.
        sizes = radius * (length + g_error) + g.abs() @ centre.abs() + g_error * float(centre.norm())
        constant, shifted = v @ shift, v.abs() @ shift.abs() + v_error * float(shift.norm())
        off = head.input_rounding * (sizes + shifted)
        off = off + v.abs() @ head.input_lost + v_error * float(head.input_lost.norm())
        constant_error = v_error * float(shift.norm()) + gamma(d + 4) * shifted
        if problem.centred:
            g = g - g.mean(dim=1, keepdim=True)
            g_error = g_error + 2 * gamma(d + 2) * length
        reach = certified(problem.domain).supports(
            g, (SECOND_ORDER * g_error).numpy(), rigorous=True, directions=False
        )  # fmt: skip
        value = torch.from_numpy(reach) + constant + delta
        errors = off + constant_error + delta_error + gamma(8) * (torch.from_numpy(np.abs(reach)) + constant.abs())
        return value + SECOND_ORDER * (errors + gamma(8) * delta.abs() + underflow(d, torch.float64))


# --- single orders ---


def _one_by_one(terms: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    total = terms[:, 0].copy()
    for i in range(1, terms.shape[1]):
        total += terms[:, i]
    return total


def _in_pairs(terms: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    while terms.shape[1] > 1:
        if terms.shape[1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[:, :1])], axis=1)
        terms = terms[:, 0::2] + terms[:, 1::2]
    return terms[:, 0]


def _in_lanes(terms: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, " n"]:
    """Eight sums of every eighth term, as vector registers keep them, added up in pairs."""
    return _in_pairs(np.stack([_one_by_one(terms[:, i::8]) for i in range(min(8, terms.shape[1]))], axis=1))


ORDERS: dict[str, Callable[[Float32[np.ndarray, "n d"]], Float32[np.ndarray, " n"]]] = {
    "forwards": _one_by_one,
    "backwards": lambda terms: _one_by_one(terms[:, ::-1]),
    "pairs": _in_pairs,
    "lanes": _in_lanes,
}
"""Orders of summation by name. Products are rounded to float32, and so is every sum."""


def logits_in_order(
    head: ServedHead, x: Float64[Tensor, " d"], order: str, rows: Int[Tensor, " n"] | slice = slice(None)
) -> Float64[np.ndarray, " n"]:
    """The logits that a server computes at an input of the format, summing in an order of `ORDERS`."""
    wide = x.to(torch.float32).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        total = ORDERS[order](head.plain.rows(rows).to(torch.float32).numpy() * wide)
        bias = head.bias[rows].to(torch.float32).numpy()
        if head.problem.bias is not None and head.server.bias == "after":
            total = head.form.round(torch.from_numpy(total.astype(np.float64))).numpy().astype(np.float32)
        total = total + bias if head.problem.bias is not None else total
    return head.form.round(torch.from_numpy(total.astype(np.float64))).numpy()


def returned_in_order(head: ServedHead, token: int, point: Float[Tensor, " d"], own: str, others: str) -> bool:
    """Whether the token is returned at a point where its row is summed in one order and all others in another."""
    if own not in ORDERS or others not in ORDERS or not bool(torch.isfinite(point).all()):
        return False
    if not bool(certified(head.problem.domain).inside(point[None])[0]):
        return False
    x = head.inputs(point[None])[0]
    if not bool(torch.isfinite(x).all()):
        return False
    logits = logits_in_order(head, x, others)
    logits[token] = logits_in_order(head, x, own, torch.tensor([token]))[0]
    if not np.isfinite(logits).all():
        return False
    best = np.flatnonzero(logits == logits.max())
    return token == int(best[0] if head.server.ties == "first" else best[-1])
