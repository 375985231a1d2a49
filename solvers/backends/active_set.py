"""Margins of many rows by small active sets: one product prices all open rows, compiled code does the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from solvers import options
from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import ROUND, Budget, Capabilities
from solvers.backends.searching import Searching
from solvers.parallel import map_single_threaded
from solvers.problem import BLOCK_BYTES, ArgmaxProblem

if TYPE_CHECKING:
    from solvers.backends.margin_kernel import Rules, Scratch, Slots

_FIRST, _MORE = 64, 48
"""Rivals taken at a row's first point, and at every later one."""
_ROOM = (128, 640, 2560)
"""Rivals that a program may hold, for most rows and for the few whose corrals are larger; in high dimensions most
are, so there the first grows."""
_GRAM_BYTES = 256 * 2**20
"""Memory for the Gram matrices of all rows worked on at a time."""
_SURE = 1e-5
"""A margin above this share of the row's scale is no rounding of float32 logits: the row wins."""
_NOTHING = 1e-6
"""An upper bound below this share of the row's scale, with no witness, reads as "none"."""
_RIDGE = 3.0
"""λ of the first points, in mean eigenvalues of Σ: of 0.02 to 10 (and none at all) what took fewest products."""
_COUNTERS = ("rounds", "pricings", "candidates", "support", "pricing_seconds", "inner_seconds")
_PIECES = 8
"""Pieces of work per core between two products, so that none waits long for another."""


class ActiveSet(Searching):
    """The minimum norm point of each row's hull by Wolfe's active set (1976) on a few rivals, which products name.

    A row's rivals are at first those that are strongest along (Σ + λI)⁻¹(A[t] − mean), Σ the covariance of all rows,
    then those that most undercut what its program promises. With offsets, R‖v‖ is min over τ of (R/2)(‖v‖²/τ + τ).
    Rows that are finished make room for others, so that the products stay large and the memory is that of one block
    of logits and of the programs at hand.

    The rows are those of float32; upper bounds are worked out anew in float64 where the two differ.

    Prefer it for margins of many rows, with or without offsets, on balls and on directions.
    """

    name = "active-set"
    capabilities: ClassVar[Capabilities] = Capabilities(
        shapes=ROUND,
        batched=True,
        proves_negative=True,
        complete=True,
        note="margins of many rows at the price of a few products",
    )

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem. The first time in a process, compiled code is read from disk or made."""
        from solvers.backends.margin_kernel import make_ready

        super().prepare(problem)
        make_ready()
        space = self.space
        self._radius = space.region.size
        longest = max(float(space.row_norm.max()), float(space.offset.abs().max()) / self._radius, 2.0**-1000)
        # A power of two, so that nothing is rounded; lengths of rows and offsets over R are at most 1 in it.
        self._size = 2.0 ** np.ceil(np.log2(longest))
        self._offset = (space.offset / self._radius / self._size).numpy()
        self._flat = not bool((self.space.offset != self.space.offset[0]).any())
        self._mean, self._ridge = _ridge(space.rows32, 1.0 / self._size)
        self._fits = float(self.space.row_norm.max()) < torch.finfo(torch.float32).max
        self._exact = (
            problem.scale is None
            and not problem.centred
            and problem.weight.dtype != torch.float64
            and problem.domain.affine is None
        )

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Bounds on the margins of these rows, to the gap that the budget asks for or until each sign is known."""
        started = time.perf_counter()
        self.effective_options = dict(options.values(self.name, budget))
        rows = rows.cpu()
        results = _Results(rows, self.space.e)
        work = dict.fromkeys(_COUNTERS, 0.0)
        waiting = np.arange(len(rows)) if self._fits else np.zeros(0, dtype=np.int64)
        if not self._fits:
            results.state[:] = 5
        for most in self._rooms() if len(waiting) else ():
            pool = _Pool(self, results, min(most, self.problem.v - 1), len(waiting), self._rules(budget), work)
            waiting = pool.run(waiting, budget, started)
            if not len(waiting):
                break
        note = "" if self._fits else f"{self.name}: rows are too large for float32"
        return self._attempts(results, budget, work, time.perf_counter() - started, note)

    def _rooms(self) -> list[int]:
        """Numbers of rivals to make room for, ever larger, until any corral fits (e + 1 rows and those that join)."""
        enough = min(self.space.e + 1 + 2 * _MORE, self.problem.v - 1)
        rooms = (max(_ROOM[0], 64 + self.space.e // 6), *_ROOM[1:])
        return [most for most in rooms if most < enough] + ([enough] if enough <= _ROOM[-1] else [])

    def _rules(self, budget: Budget) -> Rules:
        from solvers.backends.margin_kernel import Rules

        tolerance = options.number(self.name, "tolerance", budget)
        scale = self._scale()
        return Rules(
            gap=-1.0 if budget.margin_gap is None else float(budget.margin_gap),
            positive=_SURE * scale,
            floor=tolerance * scale,
            flat=self._flat,
            first=_FIRST,
            more=_MORE,
            rounds=int(options.number(self.name, "rounds", budget)),
        )

    def _scale(self) -> Float64[np.ndarray, " v"]:
        """Size of each row's logits over R and the unit of length: what tolerances are relative to."""
        norm = self.space.row_norm.numpy() / self._size
        # A row near 0 is compared with rows of the usual size.
        return np.maximum(norm, np.median(norm)) + (self._offset.max() - self._offset.min()) + 1e-300

    def _attempts(
        self, results: _Results, budget: Budget, work: dict[str, float], seconds: float, note: str
    ) -> Attempts:
        rows, unit = results.rows, self._radius * self._size
        scale = self._scale()[rows.numpy()]
        floor = options.number(self.name, "tolerance", budget) * scale
        ended = np.isin(results.state, (1, 2))
        wins = (results.lower > _SURE * scale) | (ended & (results.lower > floor))
        none = (results.upper < -floor) | (ended & (results.upper <= _NOTHING * scale))
        status = [
            Status.WITNESS if win else Status.NO_WITNESS if no else Status.FAILED if state == 5 else Status.LIMIT
            for win, no, state in zip(wins, none, results.state, strict=True)
        ]
        return Attempts(
            rows=rows,
            status=status,
            points=self.space.to_points(torch.from_numpy(results.point * self._radius)),
            hulls=results.hulls(),
            lower=torch.from_numpy(results.lower * unit),
            upper=torch.from_numpy(results.upper * unit),
            work=work,
            seconds=seconds,
            note=note,
        )

    def upper_bounds(
        self, tokens: Int[np.ndarray, " n"], hulls: Hulls, most: int = BLOCK_BYTES
    ) -> Float64[np.ndarray, " n"]:
        """‖v‖ + δ/R of hull weights in the unit of length, from float64 rows, `most` bytes of them at a time."""
        upper = np.empty(len(tokens))
        step = max(1, most // (8 * self.space.e * max(1, int(np.diff(hulls.start).max(initial=0)))))
        for first in range(0, len(tokens), step):
            start = hulls.start[first : first + step + 1]
            mine, part = tokens[first : first + step], slice(int(start[0]), int(start[-1]))
            rows, weights = hulls.rows[part], hulls.weights[part]
            theirs = self.space.rows(torch.from_numpy(rows)).numpy()
            own = self.space.rows(torch.from_numpy(mine)).numpy()
            theirs *= weights[:, None]
            v = (own - np.add.reduceat(theirs, start[:-1] - start[0])) / self._size
            offset = np.add.reduceat(weights * self._offset[rows], start[:-1] - start[0])
            upper[first : first + step] = np.linalg.norm(v, axis=1) + self._offset[mine] - offset
        return upper

    @classmethod
    def version(cls) -> str:
        """Versions of what multiplies and of what compiles."""
        from importlib.metadata import version

        return f"torch {torch.__version__}, numba {version('numba')}"


def _ridge(rows: Float32[Tensor, "v e"], unit: float) -> tuple[Float64[np.ndarray, " e"], Float64[np.ndarray, "e e"]]:
    """The mean of the rows, and (Σ + λI)⁻¹ for their covariance Σ, all in a unit of length."""
    v, e = rows.shape
    step = max(1, BLOCK_BYTES // (8 * e))
    mean = (
        sum((part.double().sum(dim=0) for part in rows.split(step)), torch.zeros(e, dtype=torch.float64)) * unit / v
    )
    total = torch.zeros((e, e), dtype=torch.float64)
    for part in rows.split(step):
        shifted = part * unit - mean.to(torch.float32)
        total += shifted.T @ shifted
    size = float(total.diagonal().mean())
    if not (size > 0 and np.isfinite(size)):
        return mean.numpy(), np.eye(e)
    return mean.numpy(), torch.linalg.inv(total / size + _RIDGE * torch.eye(e, dtype=torch.float64)).numpy()


@dataclass
class _Results:
    """What is known of each row asked for; lengths and margins as in the compiled code."""

    rows: Int[Tensor, " n"]
    e: int

    def __post_init__(self) -> None:
        n = len(self.rows)
        self.state = np.full(n, 3)
        self.point = np.full((n, self.e), np.nan)
        self.lower, self.upper = np.full(n, -np.inf), np.full(n, np.inf)
        self._parts: list[tuple[np.ndarray, Hulls]] = []

    def store_hulls(self, place: Int[np.ndarray, " m"], hulls: Hulls) -> None:
        """Keep the weights of some of the rows asked for."""
        self._parts.append((place, hulls))

    def hulls(self) -> Hulls:
        """The weights of all, in the order of the rows asked for."""
        size = np.zeros(len(self.rows), dtype=np.int64)
        for place, part in self._parts:
            size[place] = np.diff(part.start)
        start = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
        whole = Hulls(start, np.zeros(start[-1], dtype=np.int64), np.zeros(start[-1]))
        for place, part in self._parts:
            # From where a row's weights stand in the part to where they stand in the whole.
            to = np.arange(part.start[-1]) + np.repeat(start[place] - part.start[:-1], size[place])
            whole.rows[to], whole.weights[to] = part.rows, part.weights
        return whole


class _Pool:
    """The rows worked on at a time: products on all of them, compiled code between."""

    def __init__(
        self, backend: ActiveSet, results: _Results, most: int, n: int, rules: Rules, work: dict[str, float]
    ) -> None:
        from solvers.backends.margin_kernel import Scratch, Slots

        self.backend, self.results, self.rules, self.work = backend, results, rules, work
        space = self.space = backend.space
        v = space.problem.v
        self.p = max(1, min(n, BLOCK_BYTES // (4 * v), _GRAM_BYTES // (8 * most * most)))
        self.slots: Slots = Slots.room(self.p, most, space.e)
        taken = min(max(rules.first, rules.more), most)
        self.scratch: list[Scratch] = [
            Scratch.room(most, space.e, v, taken) for _ in range(max(1, min(backend.jobs, self.p)))
        ]
        self.buffer = torch.empty((self.p, v), dtype=torch.float32)
        self.rows32 = space.rows32.numpy()
        self.offset32 = torch.from_numpy(backend._offset).to(torch.float32)

    def run(self, waiting: Int[np.ndarray, " n"], budget: Budget, started: float) -> Int[np.ndarray, " m"]:
        """Work on rows (numbers among those asked for) until all are finished; returns those that need more room."""
        from solvers.backends.margin_kernel import OPEN, TOO_MANY

        slots, place = self.slots, np.full(self.p, -1)
        tokens = self.results.rows.numpy()
        larger: list[int] = []
        while len(waiting) or (place >= 0).any():
            free = np.nonzero(place < 0)[0][: len(waiting)]
            if len(free):
                place[free], waiting = waiting[: len(free)], waiting[len(free) :]
                mine = tokens[place[free]]
                slots.enter(free, mine, self._first_points(mine))
                if budget.rivals is not None:
                    self._begin_with(budget.rivals, free, place[free])
            chosen = np.nonzero(place >= 0)[0]
            self._round(chosen)
            state = slots.state[chosen]
            over = time.perf_counter() - started > budget.seconds
            leave = chosen[(state != OPEN) | over]
            larger += place[leave[slots.state[leave] == TOO_MANY]].tolist()
            self._store(leave, place[leave])
            finished = int((slots.state[leave] != TOO_MANY).sum())
            if finished:
                budget.progress(self.backend.name, finished)
            place[leave] = -1
            if over:
                return np.zeros(0, dtype=np.int64)
        return np.array(larger, dtype=np.int64)

    def _first_points(self, tokens: Int[np.ndarray, " n"]) -> Float64[np.ndarray, "n e"]:
        """Along each row less the mean of all, with the directions that all rows share held back."""
        own = self.space.rows(torch.from_numpy(tokens)).numpy() / self.backend._size - self.backend._mean
        towards = own @ self.backend._ridge
        length = np.linalg.norm(towards, axis=1, keepdims=True)
        return towards / np.where(length > 0, length, 1.0)

    def _begin_with(self, rivals: Hulls, slots: Int[np.ndarray, " n"], place: Int[np.ndarray, " n"]) -> None:
        """Let programs know the heaviest of the rivals that are given for them, and begin at what these lead to."""
        from solvers.backends.margin_kernel import begin

        chosen = np.zeros(len(rivals.start) - 1, dtype=bool)
        chosen[place] = True
        slot_of = np.zeros(len(chosen), dtype=np.int64)
        slot_of[place] = slots
        owner = np.repeat(np.arange(len(chosen)), np.diff(rivals.start))
        rows, weights = rivals.rows, rivals.weights
        fit = chosen[owner] & (rows >= 0) & (rows < self.space.problem.v) & (weights > 0)
        fit &= rows != self.slots.token[slot_of[owner]]
        order = np.lexsort((-weights, rows, owner))
        again = (owner[order[1:]] == owner[order[:-1]]) & (rows[order[1:]] == rows[order[:-1]])
        fit[order[1:]] &= ~again
        kept = np.flatnonzero(fit)
        kept = kept[np.lexsort((-weights[kept], owner[kept]))]
        owners, first = np.unique(owner[kept], return_index=True)
        rank = np.arange(len(kept)) - np.repeat(first, np.diff([*first, len(kept)]))
        room = self.slots.rival.shape[1] - self.rules.more
        kept, rank = kept[rank < room], rank[rank < room]
        to = slot_of[owner[kept]]
        self.slots.rival[to, rank], self.slots.weight[to, rank] = rows[kept], weights[kept]
        self.slots.known[slot_of[owners]] = np.bincount(to, minlength=len(self.slots.known))[slot_of[owners]]
        ready, offset, unit = slot_of[owners], self.backend._offset, 1.0 / self.backend._size
        step = max(1, -(-len(ready) // (_PIECES * len(self.scratch))))

        def piece(part: int) -> None:
            scratch = self.scratch.pop()
            begin(self.rows32, offset, unit, self.slots, ready[part : part + step], self.rules, scratch)
            self.scratch.append(scratch)

        map_single_threaded(piece, list(range(0, len(ready), step)), len(self.scratch))

    def _round(self, chosen: Int[np.ndarray, " m"]) -> None:
        """One product for all rows at hand, and what follows from it for each."""
        from solvers.backends.margin_kernel import advance

        started = time.perf_counter()
        unit = 1.0 / self.backend._size
        at = torch.from_numpy(self.slots.point[chosen] * unit).to(torch.float32)
        scores = self.buffer[: len(chosen)]
        if self.rules.flat:
            torch.mm(at, self.space.rows32.T, out=scores)
        else:
            torch.addmm(self.offset32, at, self.space.rows32.T, out=scores)
        priced = time.perf_counter()
        self.work["pricing_seconds"] += priced - started
        self.work["rounds"] += 1
        self.work["pricings"] += len(chosen)
        step = max(1, -(-len(chosen) // (_PIECES * len(self.scratch))))

        def piece(first: int) -> None:
            scratch = self.scratch.pop()
            last = min(first + step, len(chosen))
            offset, logits = self.backend._offset, scores.numpy()
            advance(self.rows32, offset, unit, logits, self.slots, chosen, first, last, self.rules, scratch)
            self.scratch.append(scratch)

        map_single_threaded(piece, list(range(0, len(chosen), step)), len(self.scratch))
        self.work["inner_seconds"] += time.perf_counter() - priced

    def _store(self, leave: Int[np.ndarray, " m"], place: Int[np.ndarray, " m"]) -> None:
        """Keep what is known of the rows in these slots."""
        from solvers.backends.margin_kernel import TOO_MANY

        slots, results = self.slots, self.results
        results.state[place] = slots.state[leave]
        results.point[place] = slots.best[leave]
        results.lower[place], results.upper[place] = slots.lower[leave], slots.upper[leave]
        has = np.isfinite(slots.upper[leave]) & (slots.state[leave] != TOO_MANY)
        leave, place = leave[has], place[has]
        if not len(leave):
            return
        known = np.arange(slots.weight.shape[1]) < slots.known[leave][:, None]
        weight = np.where(known, slots.weight[leave], 0.0)
        keep = weight > 0
        weight /= weight.sum(axis=1, keepdims=True)
        start = np.concatenate([[0], np.cumsum(keep.sum(axis=1))]).astype(np.int64)
        hulls = Hulls(start, slots.rival[leave][keep], weight[keep])
        self.work["candidates"] += float(known.sum())
        self.work["support"] += float(keep.sum())
        results.store_hulls(place, hulls)
        if not self.backend._exact:
            results.upper[place] = self.backend.upper_bounds(slots.token[leave], hulls)
