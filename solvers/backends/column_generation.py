"""Constraint (column) generation: solve against a few rivals, let one product over all rows name the rivals missed.

The rivals of a restricted problem are a subset of all rows, so its multipliers are hull weights of the full problem
and its upper bound holds there as it stands; the point it returns is priced against every row. Only the restricted
solver differs between backends.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int
from torch import Tensor

from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Backend, Budget
from solvers.backends.program import Answer, Program
from solvers.parallel import map_single_threaded
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.search_space import SearchSpace

_SMALL_WEIGHT = 1e-12
_SMALL_MARGIN = 1e-4
"""Relative to the row's scale: an upper bound below it, with no witness, reads as "none"."""
_SIGN_GAP = 0.3
"""Relative gap of a restricted problem that is enough to price its point."""
_NEGATIVE_GAP = 0.02
"""Relative gap of a negative margin: far from it the weights spread over rows that do not matter."""
_BATCH_BYTES = 8 * 2**20
"""Size of the rival rows of one batch: small enough for a processor's cache, since every Newton step reads them."""
_MOST_AT_ONCE = 2048
"""Rivals that a round may bring, about: in high dimensions more would cost more than further rounds do."""
_RIVAL_BYTES = 256 * 2**20
"""Size of the rival rows of one token above which the least of them are dropped, in any round."""
_TOGETHER_BYTES, _COPIES = 2 * 2**30, 6
"""Memory for batches that are solved side by side, and how often one may hold its rival rows meanwhile."""


@dataclass
class RestrictedResult:
    """What a restricted solver found for a batch.

    Attributes:
        z: `(b, e)` points of the search space; NaN where the solver failed.
        reached: `(b,)` s at these points over the rivals, logits.
        upper: `(b,)` bound on the margin over the whole domain, logits.
        weights: `(b, k)` hull weights of the rivals (0 for padding), each row adding up to 1; NaN where it failed.
        iterations: of the restricted solver, summed over the batch.
        note: trouble, one line.
        limit: the solver stopped at its budget.
    """

    z: Float64[Tensor, "b e"]
    reached: Float64[Tensor, " b"]
    upper: Float64[Tensor, " b"]
    weights: Float64[Tensor, "b k"]
    iterations: int = 0
    note: str = ""
    limit: bool = False

    @classmethod
    def of(
        cls, program: Program, u: Float64[Tensor, "b e"], weights: Float64[Tensor, "b k"], iterations: int
    ) -> RestrictedResult:
        """From points and weights of a program."""
        return cls(program.to_space(u), program.reached(u), program.bound(weights), weights, iterations)


@dataclass
class _Rows:
    """The rows still being worked on."""

    tokens: Int[Tensor, " n"]
    rivals: Int[Tensor, "n k"]  # −1 is padding
    z: Float64[Tensor, "n e"]
    best: Float64[Tensor, " n"]  # lower bound over all rows, as far as float32 pricing goes
    best_z: Float64[Tensor, "n e"]
    upper: Float64[Tensor, " n"]
    weights: Float64[Tensor, "n k"]
    upper_rivals: Int[Tensor, "n k"]
    multipliers: Float64[Tensor, "n k"]  # of `rivals`, from the last round

    def select(self, keep: Bool[Tensor, " n"]) -> _Rows:
        return _Rows(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


class ColumnGeneration(Backend):
    """The outer loop. Subclasses solve restricted problems."""

    max_rounds = 80

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Take up a problem."""
        super().prepare(problem)
        self._space = SearchSpace(problem, self.device)
        self.batch_rivals = max(16, min(2 * self.space.e, problem.v - 1, _MOST_AT_ONCE))

    @property
    def space(self) -> SearchSpace:
        """The prepared problem in the form that is searched."""
        _ = self.problem  # complains where there is none
        return self._space

    least: ClassVar[float | None] = None
    """How programs are scaled (`Program.pose`)."""

    @abstractmethod
    def restricted(self, program: Program, upper: Float64[Tensor, " b"], budget: Budget) -> RestrictedResult:
        """Solve each token against its rivals; `upper` is the best bound so far."""

    def size_of_batch(self, rivals: int) -> int:
        """How many restricted programs fit into one call."""
        return max(1, int(_BATCH_BYTES // (8 * rivals * self.space.e)))

    # --- the loop ---------------------------------------------------------------------------------------------------

    def solve(self, rows: Int[Tensor, " n"], budget: Budget) -> Attempts:
        """Try these rows until each has its sign (and margin gap) settled, or nothing more can be learnt."""
        started = time.perf_counter()
        rows = rows.cpu()
        done = _Results(rows, self.space.e)
        work = {"rounds": 0.0, "restricted_solves": 0.0, "iterations": 0.0, "priced_rows": 0.0}
        live = self._begin(rows)
        place = torch.arange(len(rows))
        notes: list[str] = []
        if budget.margin_gap is None:
            # Where the starting point wins already, only a margin would need more.
            wins = self._settled(live, budget)
            done.store(place[wins], live.select(wins), torch.zeros(int(wins.sum()), dtype=torch.int64))
            budget.progress(self.name, int(wins.sum()))
            live, place = live.select(~wins), place[~wins]
        for round_ in range(self.max_rounds if len(place) else 0):
            work["rounds"] += 1
            failed, cut_short = self._solve_round(live, budget, work, notes)
            score, top = self._price(live.z, live.tokens)
            work["priced_rows"] += len(live.tokens)
            better = score > live.best
            live.best = torch.where(better, score, live.best)
            live.best_z = torch.where(better[:, None], live.z, live.best_z)
            finished = self._settled(live, budget)
            self._prune(live, early=round_ < self.max_rounds // 2)
            added = self._add_rivals(live, top)
            over = time.perf_counter() - started > budget.seconds or round_ == self.max_rounds - 1
            stop = finished | ~added | failed
            limit = ~finished & (cut_short | (~stop & over))
            status = torch.where(limit, 1, torch.where(failed & ~finished, 2, 0))
            leave = stop | over
            if bool(leave.any()):
                # A row left with an upper bound that is not small is not believed to be out of reach.
                left_open = (live.best <= 0) & (live.upper > _SMALL_MARGIN * self._scale(live.tokens))
                status = torch.where((status == 0) & left_open, 1, status)
                done.store(place[leave], live.select(leave), status[leave])
                budget.progress(self.name, int(leave.sum()))
                if bool(leave.all()):
                    break
                live, place = live.select(~leave), place[~leave]
        return done.attempts(self.space, work, time.perf_counter() - started, "; ".join(dict.fromkeys(notes)))

    def _begin(self, rows: Int[Tensor, " n"]) -> _Rows:
        """Start from the strongest rows at each token's own direction, and from its nearest rows."""
        space, n = self.space, len(rows)
        own = space.region.along(space.rows(rows))
        score, by_score = self._price(own, rows, nearest=True)
        none = torch.full((n,), torch.inf, dtype=torch.float64)
        return _Rows(
            rows,
            by_score,
            own,
            score,
            own.clone(),
            none,
            torch.zeros((n, by_score.shape[1]), dtype=torch.float64),
            by_score.clone(),
            torch.zeros(by_score.shape, dtype=torch.float64),
        )

    def _solve_round(
        self, live: _Rows, budget: Budget, work: dict[str, float], notes: list[str]
    ) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]:
        """Solve the restricted problem of each row; says which failed, and which were cut short by the budget."""
        step = self.size_of_batch(live.rivals.shape[1])
        failed = torch.zeros(len(live.tokens), dtype=torch.bool)
        cut_short = torch.zeros(len(live.tokens), dtype=torch.bool)
        width = max(live.rivals.shape[1], live.weights.shape[1])
        live.weights = _widen(live.weights, width, 0.0)
        live.upper_rivals = _widen(live.upper_rivals, width, -1)
        live.multipliers = torch.zeros(live.rivals.shape, dtype=torch.float64)
        parts = [slice(start, start + step) for start in range(0, len(live.tokens), step)]

        def solve_part(part: slice) -> RestrictedResult:
            program = Program.against(self.space, live.tokens[part], live.rivals[part], self.least)
            return self.restricted(program, live.upper[part], budget)

        taken = _COPIES * 8 * live.rivals.shape[1] * self.space.e * step
        if taken > _TOGETHER_BYTES // 4:
            # Large ones use the threads of linear algebra well, and side by side they would take too much memory.
            results = [solve_part(part) for part in parts]
        else:
            results = map_single_threaded(solve_part, parts, min(self.jobs, max(1, _TOGETHER_BYTES // taken)))
        for part, result in zip(parts, results, strict=True):
            work["restricted_solves"] += len(result.upper)
            work["iterations"] += result.iterations
            if result.note:
                notes.append(result.note)
            bad = ~torch.isfinite(result.z).all(dim=1)
            failed[part] = bad
            cut_short[part] = result.limit
            live.z[part] = torch.where(bad[:, None], live.z[part], result.z)
            good = torch.isfinite(result.weights).all(dim=1) & (result.upper < live.upper[part])
            live.upper[part] = torch.where(good, result.upper, live.upper[part])
            live.multipliers[part] = result.weights
            weights, rivals = _widen(result.weights, width, 0.0), _widen(live.rivals[part], width, -1)
            live.weights[part] = torch.where(good[:, None], weights, live.weights[part])
            live.upper_rivals[part] = torch.where(good[:, None], rivals, live.upper_rivals[part])
        return failed, cut_short

    def _price(
        self, z: Float64[Tensor, "n e"], tokens: Int[Tensor, " n"], *, nearest: bool = False
    ) -> tuple[Float64[Tensor, " n"], Int[Tensor, "n k"]]:
        """Margin at z over all rows (float32), and the rows that score highest there.

        With `nearest`, half of the rows returned are instead those whose single bound R·‖A[t]−A[j]‖ + c[t]−c[j] is
        lowest (z must be a multiple of the row).
        """
        space = self.space
        take = min(self.batch_rivals // (2 if nearest else 4) + 4, self.problem.v - 1)
        columns = 2 * take if nearest else take
        margin = torch.empty(len(tokens), dtype=torch.float64)
        top = torch.empty((len(tokens), columns), dtype=torch.int64)
        step = max(1, int(BLOCK_BYTES // (4 * self.problem.v * 2)))
        for start in range(0, len(tokens), step):
            part = slice(start, min(start + step, len(tokens)))
            mine = tokens[part].to(space.device)
            at = z[part].to(space.device, torch.float32)
            scores = torch.addmm(space.offset32, at, space.rows32.T)
            index = torch.arange(len(mine), device=space.device)
            own = scores[index, mine].clone()
            scores[index, mine] = -torch.inf
            best = scores.topk(take, dim=1)
            margin[part] = (own - best.values[:, 0]).double().cpu()
            top[part, :take] = best.indices.cpu()
            if nearest:
                top[part, take:] = self._nearest(scores, at, mine, take).cpu()
        # Where numbers overflow, even the row itself may have been named.
        top = torch.where(top == tokens[:, None], -1, top)
        if nearest:
            top = _without_repeats(top)
        return margin, top

    def _nearest(
        self, scores: Float32[Tensor, "b v"], at: Float32[Tensor, "b e"], mine: Int[Tensor, " b"], take: int
    ) -> Int[Tensor, "b k"]:
        space = self.space
        own = space.rows32[mine]
        length = own.norm(dim=1, keepdim=True)
        scale = (at.norm(dim=1, keepdim=True) / length.clamp(min=1e-30)).clamp(min=1e-30)
        squares = space.square_norm32
        distance = (length**2 + squares - 2 * (scores - space.offset32) / scale).clamp(min=0).sqrt_()
        bound = distance.mul_(space.region.size).sub_(space.offset32)
        bound.nan_to_num_(nan=torch.inf)
        return bound.topk(take, dim=1, largest=False).indices

    def _settled(self, live: _Rows, budget: Budget) -> Bool[Tensor, " n"]:
        scale = self._scale(live.tokens)
        positive = live.best > 1e-5 * scale
        negative = live.upper < -budget.tolerance * scale
        zero = ~negative & (live.upper <= budget.tolerance * scale)
        gap = live.upper - live.best
        negative &= gap <= min(_NEGATIVE_GAP, budget.margin_gap or math.inf) * live.upper.abs()
        if budget.margin_gap is not None:
            positive &= gap <= budget.margin_gap * live.upper.abs()
        return positive | negative | zero

    def gaps(self, upper: Float64[Tensor, " b"], budget: Budget) -> Float64[Tensor, " b"]:
        """How exactly to solve restricted problems: roughly for a sign, well where blockers are wanted."""
        gap = torch.full_like(upper, _SIGN_GAP if budget.margin_gap is None else budget.margin_gap / 3)
        return torch.where(upper < 0, gap.clamp(max=_NEGATIVE_GAP / 4), gap)

    def _scale(self, tokens: Int[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Size of the logits of these rows: what tolerances are relative to."""
        spread = float((self.space.offset.max() - self.space.offset.min()) if len(self.space.offset) else 0.0)
        # A row near 0 is compared with rows of the usual size.
        norm = self.space.row_norm
        return (self.space.region.size * norm[tokens].clamp(min=float(norm.median())) + spread).clamp(min=1e-300)

    def _prune(self, live: _Rows, *, early: bool) -> None:
        """Drop the rivals that matter least where there are too many.

        Late rounds do so only where memory asks for it: rows that come and go could go round in circles.
        """
        e = self.space.e
        fitting = max(2 * e, _RIVAL_BYTES // (8 * e))
        most = min(4 * e, fitting) if early else fitting
        keep = 3 * most // 4
        if live.rivals.shape[1] <= most:
            return
        best = torch.where(live.rivals >= 0, live.multipliers, -1.0).topk(keep, dim=1)
        live.rivals = live.rivals.gather(1, best.indices)

    def _add_rivals(self, live: _Rows, top: Int[Tensor, "n k"]) -> Bool[Tensor, " n"]:
        """Add the rows that beat the restricted problem's rivals; says which tokens got a new one."""
        ordered = _widen(live.rivals.sort(dim=1).values, live.rivals.shape[1] + 1, self.problem.v)
        known = ordered.gather(1, torch.searchsorted(ordered, top)) == top
        fresh = torch.where(known, -1, top)
        added = (fresh >= 0).any(dim=1)
        rivals = torch.cat([live.rivals, fresh], dim=1)
        rivals = rivals.sort(dim=1, descending=True).values  # padding last
        width = int((rivals >= 0).sum(dim=1).max()) if len(rivals) else 0
        live.rivals = rivals[:, :width].contiguous()
        return added


class OneByOne(ColumnGeneration):
    """Restricted programs through a library, one row a call. Subclasses hand a program to it."""

    @abstractmethod
    def optimise(self, program: Program, budget: Budget) -> Answer:
        """Solve one program."""

    def size_of_batch(self, rivals: int) -> int:  # noqa: ARG002
        """One row a call."""
        return 1

    def restricted(self, program: Program, upper: Float64[Tensor, " b"], budget: Budget) -> RestrictedResult:  # noqa: ARG002
        """Solve one program."""
        answer = self.optimise(program, budget)
        point, weights = answer.point(program), answer.convex(program)
        if answer.state == "failed" or point is None or weights is None:
            nothing = torch.full(program.present.shape, torch.nan, dtype=torch.float64)
            point = torch.full((1, self.space.e), torch.nan, dtype=torch.float64)
            found = RestrictedResult(point, nothing[:, 0], torch.full_like(nothing[:, 0], torch.inf), nothing)
            found.note = f"{self.name}: {answer.note}"
        else:
            found = RestrictedResult.of(program, point, weights, int(answer.iterations))
        found.limit = answer.state == "limit"
        return found


class _Results:
    """Collects rows as they finish."""

    def __init__(self, rows: Int[Tensor, " n"], e: int) -> None:
        n = len(rows)
        self.rows = rows
        self.z = torch.full((n, e), torch.nan, dtype=torch.float64)
        self.lower = torch.full((n,), -torch.inf, dtype=torch.float64)
        self.upper = torch.full((n,), torch.inf, dtype=torch.float64)
        self.code = torch.zeros(n, dtype=torch.int64)
        self.hulls: list[tuple[np.ndarray, np.ndarray] | None] = [None] * n

    def store(self, place: Int[Tensor, " m"], rows: _Rows, code: Int[Tensor, " m"]) -> None:
        self.z[place], self.lower[place], self.upper[place] = rows.best_z, rows.best, rows.upper
        self.code[place] = code
        for i, where in enumerate(place.tolist()):
            weights = rows.weights[i].numpy()
            rivals = rows.upper_rivals[i].numpy()
            keep = (weights > _SMALL_WEIGHT) & (rivals >= 0)
            if keep.any():
                self.hulls[where] = (rivals[keep], weights[keep] / weights[keep].sum())

    def attempts(self, space: SearchSpace, work: dict[str, float], seconds: float, note: str) -> Attempts:
        status = []
        for code, lower in zip(self.code.tolist(), self.lower.tolist(), strict=True):
            if code == 2:
                status.append(Status.FAILED)
            elif lower > 0:
                status.append(Status.WITNESS)
            else:
                status.append(Status.LIMIT if code == 1 else Status.NO_WITNESS)
        lower = self.lower if space.margins else torch.full_like(self.lower, -torch.inf)
        upper = self.upper if space.margins else torch.full_like(self.upper, torch.inf)
        return Attempts(
            self.rows, status, space.to_points(self.z), Hulls.pack(self.hulls), lower, upper,
            work=work, seconds=seconds, note=note,
        )  # fmt: skip


def _widen(table: Tensor, width: int, fill: float) -> Tensor:
    """The table with columns of `fill` added on the right."""
    return torch.nn.functional.pad(table, (0, width - table.shape[1]), value=fill)


def _without_repeats(top: Int[Tensor, "n k"]) -> Int[Tensor, "n k"]:
    """The same rows with repeats turned into padding (−1) at the end."""
    ordered = top.sort(dim=1, descending=True).values
    repeat = torch.zeros_like(ordered, dtype=torch.bool)
    repeat[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.where(repeat, -1, ordered).sort(dim=1, descending=True).values
