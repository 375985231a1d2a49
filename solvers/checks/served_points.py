"""Checks of points at which a server returns a token, or has it as the single largest logit, in every order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified
from solvers.checks.served_head import ServedHead
from solvers.precision import full_float32_products
from solvers.problem import BLOCK_BYTES
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT32, gamma, row_lengths

NOTHING, RETURNED, ALONE = 0, 1, 2
"""What a point proves: nothing; the token is returned there in every order; it has the single largest logit there."""

_COLUMNS = 8192
"""Rows that are multiplied with at a time."""


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
