"""All V² cosines in one pass: histogram, moments, every token's strongest interferer. No V×V matrix in memory.

|cos| is symmetric, so only tiles on and above the diagonal are multiplied: half the work of a V×V×d product, and the
other half pays for the statistics. Each thread owns one tile-sized buffer that every product is written into, so
memory does not grow with V beyond a few numbers per row. A tile is small enough to stay in the processor's cache
while the statistics read it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers.parallel import map_single_threaded

BINS = 4096
"""Bins of |cos| over [0, 1]: a quantile read from them is off by at most 1/4096."""

TILE = 512


@dataclass(frozen=True)
class PairStatistics:
    """What one pass over all pairs of different rows finds.

    Attributes:
        rows: number of rows n.
        counts: `(BINS,)` unordered pairs by |cos|; the last bin holds 1 itself.
        mean: mean |cos|.
        strongest: `(n,)` for each row the other row with the largest |cos|.
        strongest_cos: `(n,)` that |cos|, recomputed in float64.
        above: per threshold `(n,)` other rows whose |cos| lies above it.
    """

    rows: int
    counts: Int[np.ndarray, " bins"]
    mean: float
    strongest: Int[np.ndarray, " n"]
    strongest_cos: Float64[np.ndarray, " n"]
    above: tuple[Int[np.ndarray, " n"], ...]

    @property
    def pairs(self) -> int:
        """Number of unordered pairs."""
        return self.rows * (self.rows - 1) // 2

    @property
    def coherence(self) -> float:
        """The largest |cos|."""
        return float(self.strongest_cos.max())

    def quantile(self, q: float) -> float:
        """The q-quantile of |cos|, interpolated inside its bin."""
        total = np.cumsum(self.counts)
        target = q * total[-1]
        bin_ = int(np.searchsorted(total, target))
        before = total[bin_ - 1] if bin_ else 0
        inside = (target - before) / max(1, self.counts[bin_])
        return min(float((bin_ + inside) / BINS), self.coherence)


def all_pairs(
    unit: Float32[Tensor, "n d"],
    thresholds: tuple[float, ...] = (),
    *,
    jobs: int = 1,
    tile: int = TILE,
    progress: Callable[[int], object] | None = None,
) -> PairStatistics:
    """Measure all pairs of rows of length 1.

    Args:
        unit: the rows.
        thresholds: values of |cos| above which each row's partners are counted.
        jobs: threads, one core each.
        tile: rows and columns of one product.
        progress: told the number of ordered pairs that have been done since the last call.
    """
    n = len(unit)
    work = _Work(unit, thresholds, min(tile, n), progress or (lambda pairs: pairs))
    starts = range(0, n, work.tile)
    # Long rows of tiles first, so that the threads finish together.
    map_single_threaded(work.row_of_tiles, list(starts), jobs)
    exact = np.empty(n)
    strongest = torch.from_numpy(work.strongest)
    for start in range(0, n, work.tile):
        block = slice(start, start + work.tile)
        own, other = unit[block].to(torch.float64), unit[strongest[block]].to(torch.float64)
        cosine = (own * other).sum(dim=1) / (own.norm(dim=1) * other.norm(dim=1))
        exact[block] = cosine.abs().clamp(max=1).numpy()
    counts = work.counts // 2  # the tiles were counted as ordered pairs
    return PairStatistics(n, counts, work.total / (n * (n - 1)), work.strongest, exact, tuple(work.above))


class _Work:
    """What the threads share. The tiles' results are merged under a lock; the tiles themselves are not."""

    def __init__(
        self, unit: Tensor, thresholds: tuple[float, ...], tile: int, progress: Callable[[int], object]
    ) -> None:
        n = len(unit)
        self.unit, self.thresholds, self.tile, self.progress = unit, thresholds, tile, progress
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.total = 0.0
        self.best = np.full(n, -1.0, dtype=np.float32)
        self.strongest = np.zeros(n, dtype=np.int64)
        self.above = [np.zeros(n, dtype=np.int64) for _ in thresholds]
        self.lock = threading.Lock()
        self.local = threading.local()

    def buffers(self) -> tuple[Tensor, Tensor, Tensor]:
        """This thread's own cosines, bin numbers and scratch, as flat memory that every tile shape is cut from."""
        if not hasattr(self.local, "buffers"):
            size = self.tile * self.tile
            self.local.buffers = (torch.empty(size), torch.empty(size, dtype=torch.int16), torch.empty(size))
        found: tuple[Tensor, Tensor, Tensor] = self.local.buffers
        return found

    def row_of_tiles(self, i: int) -> None:
        """The tiles (i, i), (i, i + 1), … of one block of rows."""
        for j in range(i, len(self.unit), self.tile):
            self.one_tile(i, j)

    def one_tile(self, i: int, j: int) -> None:
        """Multiply one tile and read everything off it; rows i… meet rows j…."""
        left, right = self.unit[i : i + self.tile], self.unit[j : j + self.tile]
        shape, size = (len(left), len(right)), len(left) * len(right)
        flat, bins, scratch = (buffer[:size] for buffer in self.buffers())
        cosines = flat.view(shape)
        torch.mm(left, right.T, out=cosines).abs_()
        diagonal = i == j
        if diagonal:
            cosines.fill_diagonal_(-1)  # below every |cos|: no row is its own interferer
        weight = 1 if diagonal else 2  # ordered pairs per entry
        maxima = [(i, cosines.amax(dim=1), cosines, 1)]
        if not diagonal:
            maxima.append((j, cosines.amax(dim=0), cosines, 0))
        found = [(start, self._strongest(start, top, values, axis)) for start, top, values, axis in maxima]
        highest = float(maxima[0][1].max())
        counted = [self._above(threshold, highest, scratch.view(shape)) for threshold in self.thresholds]
        if diagonal:
            cosines.fill_diagonal_(0)
        total = weight * float(cosines.sum())
        # Last, because it overwrites the cosines: bin numbers by truncation, in 16 bits for the cache.
        torch.mul(flat, float(BINS), out=flat)
        bins.copy_(flat)
        counts = torch.bincount(bins, minlength=BINS + 1)
        histogram = counts.numpy()
        with self.lock:
            self.total += total
            self.counts += weight * histogram[:BINS]
            self.counts[BINS - 1] += weight * int(histogram[BINS:].sum())
            if diagonal:
                self.counts[0] -= shape[0]  # the rows with themselves
            for start, (rows, value, partner) in found:
                self._merge(start, rows, value, partner, j if start == i else i)
            for above, count in zip(self.above, counted, strict=True):
                if count is not None:
                    above[i : i + shape[0]] += count[0]
                    if not diagonal:
                        above[j : j + shape[1]] += count[1]
        self.progress(weight * size)

    def _strongest(
        self, start: int, top: Tensor, values: Tensor, axis: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows whose maximum this tile may raise, that maximum, and where in the tile it is.

        Finding the place costs far more than finding the maximum, and few rows need it: a stale `best` is a lower
        bound, so no row is missed.
        """
        rising = np.nonzero(top.numpy() >= self.best[start : start + len(top)])[0]
        index = torch.from_numpy(rising)
        picked = values[index] if axis == 1 else values[:, index].T
        return rising, top.numpy()[rising], picked.argmax(dim=1).numpy()

    def _merge(self, start: int, rows: np.ndarray, value: np.ndarray, partner: np.ndarray, offset: int) -> None:
        """Take over maxima that are still higher; among equals the lower row wins."""
        at = rows + start
        partner = partner + offset
        better = (value > self.best[at]) | ((value == self.best[at]) & (partner < self.strongest[at]))
        self.best[at[better]] = value[better]
        self.strongest[at[better]] = partner[better]

    def _above(self, threshold: float, highest: float, scratch: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
        """Partners above a threshold, by row and by column; none where the tile has no such pair."""
        if highest <= threshold:
            return None
        cosines = self.buffers()[0][: scratch.numel()].view(scratch.shape)
        # As 1.0 and 0.0, which sum many times faster than booleans, and exactly: a tile is far below 2²⁴ wide.
        torch.gt(cosines, threshold, out=scratch)
        return scratch.sum(dim=1).numpy().astype(np.int64), scratch.sum(dim=0).numpy().astype(np.int64)
