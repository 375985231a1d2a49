"""The ceilings of a scan: what margins say of them first, a search for the rest, block by block."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float64, Int
from safetensors.numpy import save_file
from torch import Tensor

from reach.ceilings import recorded_bounds
from reach.equal_rows import Merged
from reach.progress import Progress, silent
from reach.runs.atomic import write_whole
from reach.runs.ceilings import Ceilings, points_from_arrays, points_to_arrays
from reach.runs.manifest import FunnelRow
from reach.runs.reading import tensors_of
from reach.runs.schema import CEILINGS
from reach.scanning.settings import ScanSettings
from solvers.ceilings import find_ceilings
from solvers.checks.ceiling import CeilingCheck, ceiling_from_margin, check_ceilings
from solvers.errors import BadInput
from solvers.parallel import threads
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.search_space import SearchSpace

STAGE = "ceilings"
_LEFT = 1 - 2.0**-20
"""How far inside the unit ball the points on an unbounded domain are kept."""
_LEAST_BLOCK = 2**20
"""Bytes of a block of logits below which no GPU is asked to make do with less."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class CeilingWork:
    """What the ceilings of one head need.

    Attributes:
        problem: with a row for every token.
        merged: the same with equal rows merged.
        asked: `(v,)` tokens that were asked for.
        margin_lower: `(v,)` proved lower bounds on the margins, logits; NaN or −inf where there is none.
        scale: factor on the logits inside the softmax.
    """

    problem: ArgmaxProblem
    merged: Merged
    asked: np.ndarray
    margin_lower: Float64[np.ndarray, " v"]
    scale: float = 1.0


def scan_ceilings(
    work: CeilingWork,
    settings: ScanSettings,
    *,
    folder: Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda _: None,
) -> tuple[Ceilings, FunnelRow]:
    """Bound the ceilings of all tokens that were asked for, to the gap of `settings.ceilings` where that succeeds.

    Args:
        work: the head.
        settings: of the scan.
        folder: where finished blocks go; none keeps everything in memory.
        resume: take up the blocks that are there.
        progress: told how many tokens are done.
        note: told about blocks that are damaged, in one line.

    Returns:
        The ceilings, and the line of the funnel.
    """
    assert settings.ceilings is not None
    problem, gap = work.problem, settings.ceilings
    started, before = time.perf_counter(), 0.0
    by_margin = np.array([ceiling_from_margin(problem.v, m, scale=work.scale) for m in work.margin_lower.tolist()])
    # On an unbounded domain a witness may lie outside the unit ball, where ceilings are taken.
    settled = work.asked & (by_margin >= -gap) & problem.domain.bounded
    searched = np.unique(work.merged.first_of[work.asked & ~settled])
    lower, upper = np.where(settled, by_margin, -np.inf), np.zeros(problem.v)
    points: dict[int, np.ndarray] = {}
    journal = _Blocks(folder, f"{problem.fingerprint} {problem.domain.describe()} {gap} {work.scale}", note)
    done = np.zeros(problem.v, dtype=bool)
    for block in journal.read(problem) if resume else ():
        done[block.tokens] = True
        lower[block.tokens], upper[block.tokens] = block.lower, block.upper
        points.update(block.points)
        before += block.seconds
    todo = searched[~done[searched]]
    with threads(settings.jobs):
        search = _Search(work, settings, gap)
        for start in range(0, len(todo), settings.block_tokens):
            reached = int(done[searched].sum())
            progress(STAGE, reached, len(searched))
            block = search.run(
                todo[start : start + settings.block_tokens],
                lambda n, reached=reached: progress(STAGE, min(reached + n, len(searched)), len(searched)),  # type: ignore[misc]
            )
            done[block.tokens] = True
            lower[block.tokens], upper[block.tokens] = block.lower, block.upper
            points.update(block.points)
            journal.append(block)
            progress(STAGE, int(done[searched].sum()), len(searched))
    first_of = work.merged.first_of
    by_point = work.asked & ~settled
    lower, upper = (np.where(by_point, bound[first_of], bound) for bound in (lower, upper))
    kind = np.full(problem.v, None, dtype=object)
    kind[settled] = "margin"
    kind[by_point & np.isfinite(lower)] = "point"
    tokens = np.flatnonzero(work.asked)
    table = pa.table(
        [
            pa.array(tokens, pa.int32()),
            pa.array(lower[tokens], pa.float64(), mask=~np.isfinite(lower[tokens])),
            pa.array(upper[tokens], pa.float64()),
            pa.array(kind[tokens], pa.string()),
        ],
        schema=CEILINGS,
    )
    seconds = time.perf_counter() - started + before
    return Ceilings(table, points), FunnelRow(STAGE, len(searched), 0, seconds)


@dataclass(frozen=True)
class _Block:
    """What is known of some tokens: bounds as they are recorded, and points; and how long it took."""

    tokens: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    points: dict[int, np.ndarray]
    seconds: float


class _Search:
    """The search and the check, with what they share between blocks."""

    def __init__(self, work: CeilingWork, settings: ScanSettings, gap: float) -> None:
        self.work, self.settings, self.gap = work, settings, gap
        self._space: SearchSpace | None = None
        self._limit = BLOCK_BYTES

    def run(self, tokens: np.ndarray, progress: Callable[[int], object]) -> _Block:
        """Find points for some tokens, and what they prove."""
        work, device = self.work, self.settings.device
        started, shown = time.perf_counter(), 0

        def tell(n: int) -> None:
            nonlocal shown
            shown += n
            progress(shown)

        if self._space is None:
            self._space = SearchSpace(work.problem, device)
        rows = torch.from_numpy(tokens)
        space, seconds = self._space, self.settings.stage_seconds or float("inf")
        found = self._fitting(
            lambda limit: find_ceilings(
                work.problem, rows, self.gap, scale=work.scale, device=device, space=space, progress=tell,
                seconds=seconds, limit=limit,
            )
        )  # fmt: skip
        domain = work.problem.domain
        wide = found.points if domain.bounded else found.points * _LEFT
        narrow = (domain.pulled_in(wide) if domain.bounded else wide).to(torch.float32)
        check = self._check(rows, narrow)
        lower, upper = recorded_bounds(*(part.numpy() for part in (check.lower, check.upper, check.error)))
        points = dict(zip(tokens.tolist(), narrow.numpy(), strict=True))
        # Where float32 loses too much of the gap, the point is kept in float64.
        open_ = np.flatnonzero(~(upper - lower <= self.gap))
        if len(open_):
            again = torch.from_numpy(open_)
            check = self._check(rows[again], wide[again])
            closer = recorded_bounds(*(part.numpy() for part in (check.lower, check.upper, check.error)))
            with np.errstate(invalid="ignore"):
                better = (closer[1] - closer[0]) < (upper[open_] - lower[open_])
            for at, below, above in zip(open_[better], closer[0][better], closer[1][better], strict=True):
                lower[at], upper[at] = below, above
                points[int(tokens[at])] = wide[at].numpy()
        known = np.isfinite(lower)
        lower, upper = np.where(known, lower, -np.inf), np.where(known, upper, 0.0)
        kept = {int(token): points[int(token)].copy() for token in tokens[known]}
        return _Block(tokens, lower, upper, kept, time.perf_counter() - started)

    def _check(self, rows: Int[Tensor, " n"], points: Float[Tensor, "n d"]) -> CeilingCheck:
        work, device = self.work, self.settings.device
        return self._fitting(
            lambda limit: check_ceilings(work.problem, rows, points, scale=work.scale, device=device, limit=limit)
        )

    def _fitting(self, work: Callable[[int], _Result]) -> _Result:
        """Do a piece of work in blocks of so many bytes; where a GPU has no room for that, in ever smaller ones."""
        while True:
            try:
                return work(self._limit)
            except torch.cuda.OutOfMemoryError:
                if self._limit < _LEAST_BLOCK:
                    raise BadInput("--ceilings: the GPU has no memory left; use --device cpu") from None
                self._limit //= 2
                torch.cuda.empty_cache()


class _Blocks:
    """Finished blocks of ceilings beside the journal of the scan, each with a checksum.

    Args:
        folder: where they lie; none keeps nothing.
        of: what they are about: blocks of another problem do not pass for this one's.
        note: told about each block that cannot be used; its tokens are done again.
    """

    def __init__(self, folder: Path | None, of: str, note: Callable[[str], object]) -> None:
        self.folder, self.of, self.note, self.next = folder, of, note, 0

    def append(self, block: _Block) -> None:
        """Write one block."""
        if self.folder is None:
            return
        arrays = {
            "token": block.tokens.astype(np.int64), "lower": block.lower, "upper": block.upper,
            "seconds": np.array([block.seconds]), **points_to_arrays(block.points),
        }  # fmt: skip
        path = self.folder / f"{STAGE}-{self.next:06d}.safetensors"
        about = {"sha256": self._checksum(path, arrays)}
        write_whole(path, lambda partial: save_file(arrays, partial, metadata=about))
        self.next += 1

    def read(self, problem: ArgmaxProblem) -> list[_Block]:
        """All blocks that are whole."""
        found = []
        for path in sorted(self.folder.glob(f"{STAGE}-*.safetensors")) if self.folder is not None else ():
            block = self._block(path, problem)
            if block is None:
                self.note(f"{path}: a damaged block of the journal; its tokens are done again")
            else:
                found.append(block)
            number = path.stem.removeprefix(f"{STAGE}-")
            self.next = max(self.next, int(number) + 1 if number.isdecimal() else 0)
        return found

    def _block(self, path: Path, problem: ArgmaxProblem) -> _Block | None:
        try:
            with tensors_of(path, again="its tokens are done again") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                stored = dict(file.metadata() or {}).get("sha256")
        except BadInput:
            return None
        points = points_from_arrays(arrays)
        names = ("token", "lower", "upper")
        if stored != self._checksum(path, arrays) or points is None or not {*names, "seconds"} <= arrays.keys():
            return None
        tokens = arrays["token"]
        if len({arrays[name].shape for name in names}) != 1 or not ((tokens >= 0) & (tokens < problem.v)).all():
            return None
        return _Block(tokens, arrays["lower"], arrays["upper"], points, float(arrays["seconds"].sum()))

    def _checksum(self, path: Path, arrays: dict[str, np.ndarray]) -> str:
        digest = hashlib.sha256(json.dumps([path.stem, self.of]).encode())
        for name, array in sorted(arrays.items()):
            digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
