"""The argmax problem: which rows of A z + c can be the strict maximum over a domain?

The problem keeps the *factors* of A and c, not A and c themselves. The factors are the numbers that a model file
holds, so an exact checker can compute with what was trained instead of with something already rounded, and a 16-bit
weight stays 16-bit in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from solvers.domains import Domain
from solvers.errors import BadInput
from solvers.rounding import UNIT_FLOAT64, gamma, row_lengths, underflow

BLOCK_BYTES = 128 * 2**20
"""Memory that one block of a blocked pass may take, unless a caller says otherwise."""
_CACHE_BYTES = 2**21
"""Memory of a block that is to stay in the cache."""
_LOGITS_BYTES, _FEWEST_POINTS = 2**23, 256
"""Of logits that are read several times: what a cache keeps; and points for which it is worth it to read all rows."""


class ArgmaxProblem:
    """logits(z) = A z + c for z in a domain, with A = centre(weight · diag(scale)) and c = weight · shift + bias.

    `centre` subtracts from each row its mean when `centred` is set: a final LayerNorm confines z to the hyperplane
    1ᵀz = 0, and on that hyperplane the centred rows give the same logits, while off it they give those of the
    projection of z. Hence the hyperplane needs no constraint of its own.

    Args:
        weight: `(v, d)` rows as trained; float16, bfloat16, float32 or float64, on the CPU.
        domain: the set that z ranges over.
        scale: `(d,)` column factors (the norm's γ); none means 1.
        shift: `(d,)` the point that is mapped to the offset (the norm's β); none means 0.
        bias: `(v,)` further offsets; none means 0.
        centred: subtract from each row of weight·diag(scale) its mean.
        weight_error: `(v,)` bound on the Euclidean distance between each row of `weight` and the row that is meant,
            where `weight` had to be computed (a projection folded into it); none means that it is exact.
        source: `(v, k)` the stored rows that such a `weight` was computed from: where they are equal, the rows meant
            are equal.

    Raises:
        BadInput: shapes disagree, there are fewer than two rows, or a number is not finite.
    """

    def __init__(
        self,
        weight: Float[Tensor, "v d"],
        domain: Domain,
        *,
        scale: Float[Tensor, " d"] | None = None,
        shift: Float[Tensor, " d"] | None = None,
        bias: Float[Tensor, " v"] | None = None,
        centred: bool = False,
        weight_error: Float[Tensor, " v"] | None = None,
        source: Float[Tensor, "v k"] | None = None,
    ) -> None:
        if weight.ndim != 2 or weight.shape[0] < 2 or weight.shape[1] < 1:
            raise BadInput(f"the rows need shape (v ≥ 2, d ≥ 1), not {tuple(weight.shape)}")
        v, d = weight.shape
        for name, tensor, length in (
            ("scale", scale, d),
            ("shift", shift, d),
            ("bias", bias, v),
            ("weight_error", weight_error, v),
        ):
            if tensor is not None and tuple(tensor.shape) != (length,):
                raise BadInput(f"{name} has shape {tuple(tensor.shape)}, but the rows ask for ({length},)")
            if tensor is not None and not bool(torch.isfinite(tensor).all()):
                raise BadInput(f"{name} holds NaN or Inf")
        _check_size(domain, d)
        self.weight = weight.detach().contiguous()
        self.domain = domain
        self.scale = None if scale is None else scale.detach().to(torch.float64)
        self.shift = None if shift is None or not bool((shift != 0).any()) else shift.detach().to(torch.float64)
        self.bias = None if bias is None or not bool((bias != 0).any()) else bias.detach().to(torch.float64)
        self.centred = centred
        self.weight_error = None if weight_error is None else weight_error.detach().to(torch.float64)
        self.source = source
        self._working_rows: dict[str, Float32[Tensor, "v d"]] = {}
        self._check_finite()

    def __getstate__(self) -> dict[str, Any]:
        """With what was worked out already, but without copies on devices, which other processes make themselves."""
        here = {device: rows for device, rows in self._working_rows.items() if device == "cpu"}
        return {**self.__dict__, "_working_rows": here}

    def _check_finite(self) -> None:
        bad = torch.nonzero(~(torch.isfinite(self.row_norm) & torch.isfinite(self.offset))).flatten()
        if not len(bad):
            return
        stored = torch.isfinite(self.weight[bad].to(torch.float64)).all(dim=1)
        if not bool(stored.all()):
            raise BadInput(f"rows hold NaN or Inf: {_some(bad[~stored])}")
        raise BadInput(
            f"rows or offsets are too large for float64: {_some(bad)}; scale the head down by a power of two"
        )

    # --- size and kind -------------------------------------------------------------------------------------------

    @property
    def v(self) -> int:
        """Number of rows (tokens)."""
        return self.weight.shape[0]

    @property
    def d(self) -> int:
        """Number of columns (dimensions)."""
        return self.weight.shape[1]

    @property
    def zero_offset(self) -> bool:
        """Whether c is exactly zero."""
        return self.shift is None and self.bias is None

    @property
    def cone(self) -> bool:
        """Whether only the direction of z matters for a verdict: c = 0 and 0 lies inside the domain."""
        return self.zero_offset and self.domain.around_origin

    @property
    def margin_bounded(self) -> bool:
        """Whether the margin is a number; on an unbounded domain with offsets only its sign is."""
        return self.domain.bounded or self.zero_offset

    # --- rows and offsets ------------------------------------------------------------------------------------------

    def rows(self, index: Int[Tensor, " n"] | slice) -> Float64[Tensor, "n d"]:
        """Rows of A in float64. Exact but for the rounding that `row_error` bounds."""
        rows = self.weight[index].to(torch.float64)
        if self.scale is not None:
            rows = rows * self.scale
        return rows - rows.mean(dim=1, keepdim=True) if self.centred else rows

    def blocks(self, row_bytes: int, limit: int = BLOCK_BYTES) -> Iterator[slice]:
        """Slices that cover all rows, so that `row_bytes` per row stay within `limit` bytes per block."""
        step = max(1, min(self.v, limit // max(1, row_bytes)))
        for start in range(0, self.v, step):
            yield slice(start, min(start + step, self.v))

    def points_at_once(self, limit: int = BLOCK_BYTES, device: torch.device | str = "cpu") -> int:
        """How many points are multiplied with all rows at a time in float32.

        Args:
            limit: bytes of the block of logits.
            device: where. Processors read logits several times as fast from their caches, and take longer to get
                memory from the system than to fill it; others gain by large blocks.
        """
        if torch.device(device).type == "cpu":
            limit = min(limit, max(_LOGITS_BYTES, 4 * self.v * _FEWEST_POINTS))
        return max(1, limit // (4 * self.v))

    def working_rows(self, device: torch.device | str = "cpu") -> Float32[Tensor, "v d"]:
        """All rows of A rounded to float32, made once per device: what the searches multiply with."""
        key = str(device)
        if key not in self._working_rows:
            out = torch.empty((self.v, self.d), dtype=torch.float32, device=device)
            for block in self.blocks(8 * self.d * 3):
                out[block] = self.rows(block).to(torch.float32).to(device)
            self._working_rows[key] = out
        return self._working_rows[key]

    def release_working_rows(self) -> None:
        """Forget the float32 rows, which are as large as all else; they are made again when asked for."""
        self._working_rows.clear()

    @cached_property
    def _vectors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`row_norm`, `row_error`, `offset`, `offset_error` in one blocked pass."""
        parts = []
        shift_norm = 0.0 if self.shift is None else float(row_lengths(self.shift[None])[0])
        # What products may lose to underflow, entry by entry: nothing where there are none.
        lost = underflow(self.d, torch.float64)
        # Blocks that stay in the cache, in memory that is asked for once.
        step = max(1, min(self.v, _CACHE_BYTES // (8 * self.d)))
        space = torch.empty((2, step, self.d), dtype=torch.float64)
        for block in self.blocks(1, step):
            raw = space[0, : block.stop - block.start].copy_(self.weight[block])
            scaled = raw
            if self.scale is not None:
                scaled = torch.mul(raw, self.scale, out=space[1, : len(raw)])
            norm = row_lengths(scaled)
            length = norm * (1 + gamma(self.d + 2))
            # One rounding for the product; centring adds γ_{d+1} of the mean's size, which is at most the row's.
            error = length * UNIT_FLOAT64 + lost if self.scale is not None else torch.zeros_like(length)
            if self.centred:
                norm = row_lengths(scaled - scaled.mean(dim=1, keepdim=True))
                error = error + length * 2 * gamma(self.d + 2) + lost
            offset = torch.zeros(len(raw), dtype=torch.float64)
            offset_error = torch.zeros(len(raw), dtype=torch.float64)
            if self.shift is not None:
                offset = raw @ self.shift
                size = row_lengths(raw) * shift_norm * (1 + gamma(self.d + 2))
                offset_error = size * gamma(self.d + 2) + lost
            if self.bias is not None:
                bias = self.bias[block]
                offset = offset + bias
                if self.shift is not None:
                    offset_error = offset_error + 2 * UNIT_FLOAT64 * offset.abs()
            if self.weight_error is not None:
                factor = 1.0 if self.scale is None else float(self.scale.abs().max())
                error = error + 2 * factor * self.weight_error[block]
                offset_error = offset_error + self.weight_error[block] * shift_norm * (1 + gamma(self.d + 2))
            parts.append((norm, error, offset, offset_error))
        norm, error, offset, offset_error = (torch.cat(column) for column in zip(*parts, strict=True))
        return norm, error, offset, offset_error

    @property
    def row_norm(self) -> Float64[Tensor, " v"]:
        """‖A[t]‖ for each row, logits per unit of ‖z‖."""
        return self._vectors[0]

    @property
    def row_error(self) -> Float64[Tensor, " v"]:
        """Bound on the distance between `rows(t)` and the exact row."""
        return self._vectors[1]

    @property
    def offset(self) -> Float64[Tensor, " v"]:
        """c in float64, logits."""
        return self._vectors[2]

    @property
    def offset_error(self) -> Float64[Tensor, " v"]:
        """Bound on the distance between `offset` and the exact c, logits."""
        return self._vectors[3]

    @cached_property
    def mean_row(self) -> Float64[Tensor, " d"]:
        """The mean of all rows of A."""
        total = torch.zeros(self.d, dtype=torch.float64)
        for block in self.blocks(8 * self.d, _CACHE_BYTES):
            total += self.rows(block).sum(dim=0)
        return total / self.v

    def covariance(self) -> Float64[Tensor, "d d"]:
        """The covariance of all rows of A; worked out anew at every call, since it is large where d is."""
        total = torch.zeros((self.d, self.d), dtype=torch.float64)
        for block in self.blocks(8 * self.d * 3):
            rows = self.rows(block) - self.mean_row
            total += rows.T @ rows
        return total / self.v

    def restrict(self, index: Int[Tensor, " n"]) -> ArgmaxProblem:
        """The problem that has only these rows, in this order."""
        return ArgmaxProblem(
            self.weight[index],
            self.domain,
            scale=self.scale,
            shift=self.shift,
            bias=None if self.bias is None else self.bias[index],
            centred=self.centred,
            weight_error=None if self.weight_error is None else self.weight_error[index],
            source=None if self.source is None else self.source[index],
        )

    def over(self, domain: Domain) -> ArgmaxProblem:
        """The same rows and offsets over another domain. Nothing is copied or rounded, and both share what is cached.

        Raises:
            BadInput: the domain has another number of coordinates.
        """
        _check_size(domain, self.d)
        other = copy(self)
        other.domain = domain
        return other

    # --- identity ---------------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the exact factors of A and c: equal for equal problems, whatever the machine rounds."""
        digest = hashlib.sha256(f"argmax-problem-1 {self.v} {self.d} {self.centred}".encode())
        for name, tensor in (("scale", self.scale), ("shift", self.shift), ("bias", self.bias)):
            digest.update(name.encode())
            if tensor is not None:
                digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
        for block in self.blocks(8 * self.d * 2):
            # As float64, so that one model stored in two precisions that hold the same numbers is one problem.
            digest.update(np.ascontiguousarray(self.weight[block].to(torch.float64).numpy()).tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """One line for a person."""
        offsets = "no offsets" if self.zero_offset else "offsets"
        return f"{self.v} rows × {self.d} dimensions, {offsets}, domain {self.domain.describe()}"


def _check_size(domain: Domain, d: int) -> None:
    if domain.coordinates not in (None, d):
        raise BadInput(f"the {domain.word} has {domain.coordinates} coordinates, but the rows have {d}")


def _some(index: Int[Tensor, " n"], most: int = 8) -> str:
    """The first few of some row numbers, and how many more there are."""
    shown = ", ".join(str(int(i)) for i in index[:most])
    return shown if len(index) <= most else f"{shown} and {len(index) - most} more"
