"""The judge: turns a backend's attempts into verdicts, by the checkers alone."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN, SPEAKABLE, STORED_WITNESS, UNSPEAKABLE, WITNESS_KINDS, Hull, ScanState
from reach.witnesses import FROM_WEIGHTS, witness_points
from solvers.attempt import Attempts, Hulls
from solvers.checks.evidence import Evidence
from solvers.checks.exact import bound_by_weights, hull_membership
from solvers.checks.hull import hull_bounds_and_sums, hull_upper_bound, hull_upper_bounds
from solvers.checks.interior import SpreadSet, inside_hull, spread_set
from solvers.checks.own_rows import OwnRows
from solvers.checks.witness import WitnessCheck, beats_exactly, check_witnesses, logit_error, own_scales
from solvers.domains import Free
from solvers.hull_rows import HullRows, spread_rows
from solvers.problem import ArgmaxProblem
from solvers.recipes import points_along, points_from_weights
from solvers.rounding import row_lengths

_NARROW = 1e-5
"""What float32 weights may prove less than those that they round, relative to the bound."""

_LITTLE = 0.1
"""Share of the gap asked for that the error of a float32 product may take."""

_AS_GOOD = 0.99
"""Share of the margin at a stored point that another must reach to take its place."""


class Judge:
    """Checks attempts on one problem and enters what is proved into the state.

    Attributes:
        offers: where the first point is kept at which a row won that was open, if it was meant for another row: to be
            looked into later (`credit`). None to look into each at once.
    """

    def __init__(self, problem: ArgmaxProblem, state: ScanState, settings: ScanSettings) -> None:
        self.problem, self.state, self.settings = problem, state, settings
        self.offers: dict[int, np.ndarray] | None = None

    # --- witnesses ---

    def witnesses(
        self,
        attempts: Attempts,
        stage: int,
        recipe: str | None = None,
        *,
        own_row: bool = False,
        own_rows: OwnRows | None = None,
        credit: bool = True,
    ) -> None:
        """Check candidate witnesses, and credit the rows that win at a point meant for another.

        Args:
            attempts: what a backend returned.
            stage: number of the stage, for the record.
            recipe: name of the recipe that the points follow, if they do.
            own_row: the points are multiples of the rows: winning there makes a row own-direction, and the same
                products bound the margin from above.
            own_rows: what checks such points block by block, if all rows come in order.
            credit: also look whether the winner at a point is a row that is still open.
        """
        rows, points = attempts.rows, attempts.points
        narrow = points
        if points.dtype != torch.float32:
            # Searches go to the very edge of the domain, where rounding would take a point out of it.
            narrow = self.problem.domain.pulled_in(points).to(torch.float32)
        along = own_row and recipe == "own-row"
        if own_rows is not None:
            check = own_rows.check(rows, narrow)
        else:
            own_scale = own_scales(self.problem, rows, narrow) if along else None
            check = check_witnesses(self.problem, rows, narrow, own_scale=own_scale, device=self.settings.device)
        if along:
            self._tighten(rows, check)
        won = check.lower > 0
        # A recipe is enough only where the recomputed point cannot fail by its own rounding.
        sure = won & (check.lower > 4 * check.error) if recipe is not None else torch.zeros_like(won)
        self._speakable_by_recipe(rows[sure], check.lower[sure], check.runner_up[sure], stage, recipe)
        for i in torch.nonzero(won & ~sure).flatten().tolist():
            self._speakable(int(rows[i]), check, i, narrow[i], stage)
        close = ~won & (check.lower + 2 * check.error > 0)
        if self.settings.margin_gap is not None:
            # A bound that rounding alone holds further down than the gap asked for is worth a float64 product.
            # There is one where the bounds are that close but for it.
            known = torch.from_numpy(self.state.upper[rows.numpy()])
            within = known - check.lower - 2 * check.error <= self.settings.margin_gap * known.abs()
            close |= won & within & (check.error > 0.25 * self.settings.margin_gap * check.lower)
        if points.dtype != torch.float32:
            close |= ~won & torch.isfinite(points).all(dim=1)  # at the edge itself the row may win
        won[close] |= self._closely(rows[close], points[close], stage)
        if own_row:
            self.state.own_direction[rows[won].numpy()] = True
        if credit:
            self._credit(narrow, check, won, stage)
        if self.settings.exact:
            self._raise_witnesses(rows.tolist())

    def _tighten(self, rows: Int[Tensor, " n"], check: WitnessCheck) -> None:
        index = rows.numpy()
        upper = check.upper.numpy()
        # A bound below 0 is a verdict: it counts once the blocker's weights are accepted as its proof.
        least = upper.clip(min=0)
        lower = least < self.state.upper[index]
        self.state.upper[index[lower]], self.state.upper_by[index[lower]] = least[lower], check.upper_row[lower]
        for row in index[lower].tolist() if self.state.bounds else ():
            self.state.bounds.pop(row, None)
        if self.problem.cone:
            return
        for i in np.nonzero(upper < 0)[0].tolist():
            row, blocker = int(rows[i]), np.array([int(check.upper_row[i])])
            self.hull(row, blocker, np.ones(1), stage=0)
            if self.state.verdict[row] == OPEN:
                self.exact_bound(row, blocker, np.ones(1), stage=0)

    def _speakable_by_recipe(
        self,
        rows: Int[Tensor, " n"],
        lower: Float64[Tensor, " n"],
        runner_up: Int[Tensor, " n"],
        stage: int,
        recipe: str | None,
    ) -> None:
        """The bulk case: nothing but numbers to keep."""
        state = self.state
        better = lower.numpy() > state.lower[rows.numpy()]
        index = rows.numpy()[better]
        if (state.verdict[index] == UNSPEAKABLE).any():
            state.settle(int(index[state.verdict[index] == UNSPEAKABLE][0]), SPEAKABLE, Evidence.RIGOROUS, stage)
        state.stage[index] = np.where(state.verdict[index] == OPEN, stage, state.stage[index])
        state.verdict[index] = SPEAKABLE
        state.evidence[index] = Evidence.RIGOROUS.rank
        state.lower[index], state.runner_up[index] = lower.numpy()[better], runner_up.numpy()[better]
        state.witness_kind[index] = WITNESS_KINDS.index(recipe)
        for row in index.tolist() if state.witnesses or state.reasons or state.candidates else ():
            state.witnesses.pop(row, None)
            state.reasons.pop(row, None)
            state.candidates.pop(row, None)

    def _speakable(self, row: int, check: WitnessCheck, i: int, point: Float[Tensor, " d"], stage: int) -> None:
        state = self.state
        lower = float(check.lower[i])
        if state.verdict[row] == SPEAKABLE and lower <= state.lower[row]:
            return
        state.settle(row, SPEAKABLE, Evidence.RIGOROUS, stage)
        state.lower[row], state.runner_up[row] = lower, int(check.runner_up[i])
        state.witness_kind[row] = STORED_WITNESS
        state.witnesses[row] = point.numpy().copy()

    def _closely(self, rows: Int[Tensor, " n"], points: Float[Tensor, "n d"], stage: int) -> Bool[Tensor, " n"]:
        """Decide close calls in float64 with its error bound, and what is still close in rational arithmetic."""
        won = torch.zeros(len(rows), dtype=torch.bool)
        if not len(rows):
            return won
        points = points.to(torch.float64)
        check = self._precisely(rows, points)
        for i in range(len(rows)):
            row = int(rows[i])
            if check.lower[i] > 0:
                self._speakable(row, check, i, points[i], stage)
                won[i] = True
            elif check.lower[i] + 2 * check.error[i] > 0 and self.problem.weight_error is None:
                runner_up = int(check.runner_up[i])
                won[i] = beats_exactly(self.problem, row, points[i], float(check.lower[i]), runner_up)
                if won[i]:
                    self._speakable_exactly(row, runner_up, points[i], stage)
        return won

    def at_the_edge(self, row: int, hull: Hull, stage: int) -> bool:
        """Whether the row wins where these weights say that it leads by most; settles it if so.

        The searches end at points that are good to some tolerance. This one is good to rounding, which decides
        margins that are smaller.
        """
        rows = torch.from_numpy(np.asarray(hull.rows, dtype=np.int64))
        mine = self.problem.rows(torch.tensor([row]))
        towards = torch.from_numpy(hull.weights) @ (mine - self.problem.rows(rows))
        point = self.problem.domain.farthest(towards[None])
        return bool(torch.isfinite(point).all()) and bool(self._closely(torch.tensor([row]), point, stage)[0])

    def _speakable_exactly(self, row: int, runner_up: int, point: Float[Tensor, " d"], stage: int) -> None:
        """A margin that is positive, yet too small for float64 to give a positive bound on it."""
        state = self.state
        if state.verdict[row] != SPEAKABLE:
            state.lower[row], state.runner_up[row] = 0.0, runner_up
            state.witness_kind[row] = STORED_WITNESS
            state.witnesses[row] = point.numpy().copy()
            state.settle(row, SPEAKABLE, Evidence.EXACT, stage)

    def _credit(self, points: Float[Tensor, "n d"], check: WitnessCheck, won: Bool[Tensor, " n"], stage: int) -> None:
        """Where another row wins at a point, the point may be that row's witness."""
        lost = torch.isfinite(check.lower) & ~won
        lost &= torch.from_numpy(self.state.verdict[check.runner_up.numpy()] == OPEN)
        winners, first = np.unique(check.runner_up[lost].numpy(), return_index=True)
        if not len(winners):
            return
        at = points[lost][torch.from_numpy(first)].to(torch.float32)
        if self.offers is not None:
            for row, point in zip(winners.tolist(), at.numpy(), strict=True):
                self.offers.setdefault(row, point)
            return
        self.credit(torch.from_numpy(winners), at, stage)

    def credit(self, rows: Int[Tensor, " n"], points: Float32[Tensor, "n d"], stage: int) -> None:
        """Settle rows that win at points meant for others. Of several points for one row the best counts."""
        found = check_witnesses(self.problem, rows, points, device=self.settings.device)
        won = torch.nonzero(found.lower > 0).flatten()
        for i in won.tolist():
            self._speakable(int(rows[i]), found, i, points[i], stage)
        if self.settings.exact:
            self._raise_witnesses(rows[won].unique().tolist())

    def _raise_witnesses(self, rows: list[int]) -> None:
        state = self.state
        rows = [row for row in rows if state.verdict[row] == SPEAKABLE and state.evidence[row] < Evidence.EXACT.rank]
        if not rows or self.problem.weight_error is not None:
            return
        points = witness_points(self.problem, state.kinds(np.array(rows)), np.array(rows), state.certificates())
        check = check_witnesses(self.problem, torch.tensor(rows), points, dtype=torch.float64)
        for i, row in enumerate(rows):
            if beats_exactly(self.problem, row, points[i], float(check.lower[i]), int(check.runner_up[i])):
                state.evidence[row] = Evidence.EXACT.rank

    # --- inside the hull ---

    @cached_property
    def hull_rows(self) -> HullRows:
        """The rows in the coordinates of their hull."""
        return HullRows(self.problem)

    @cached_property
    def spread(self) -> SpreadSet | None:
        """A spread set of the rows, for all proofs of this kind; none where the rows have none."""
        v, e = self.problem.v, self.hull_rows.e
        for times in (2, 6):
            found = spread_set(self.hull_rows, spread_rows(v, e, times)) if 0 < e < v else None
            if found is not None:
                return found
        return None

    def inside(self, attempts: Attempts, stage: int) -> None:
        """Check dual points: settle the rows that they prove to lie inside the hull of the others."""
        if attempts.duals is None:
            return
        state = self.state
        still_open = torch.from_numpy(state.verdict[attempts.rows.numpy()] == OPEN)
        places = torch.nonzero(torch.isfinite(attempts.duals).all(dim=1) & still_open).flatten()
        if not len(places) or self.spread is None:
            return
        proved = inside_hull(self.hull_rows, self.spread, attempts.rows[places], attempts.duals[places])
        for i in places[proved].tolist():
            row, pair = int(attempts.rows[i]), attempts.hulls.of(i)
            summary = Hull(*pair) if pair is not None else Hull(np.zeros(0, dtype=np.int64), np.zeros(0))
            self._unspeakable(row, summary, Evidence.RIGOROUS, stage, 0.0)
            state.duals[row] = attempts.duals[i].numpy().copy()

    # --- hull weights ---

    def hulls(self, attempts: Attempts, stage: int) -> None:
        """Check candidate hull weights: settle what they prove, tighten bounds, keep the rest for exact proofs."""
        given = np.diff(attempts.hulls.start) > 0
        given &= ~np.isin(attempts.rows.numpy(), list(self.state.duals))
        still_open = given & (self.state.verdict[attempts.rows.numpy()] == OPEN)
        self._open_hulls(attempts.rows[torch.from_numpy(still_open)], attempts.hulls.of_some(still_open), stage)
        rest = given & ~still_open
        rows = attempts.rows[torch.from_numpy(rest)].tolist()
        self._bounds(rows, attempts.hulls.of_some(rest), attempts.upper.numpy()[rest])

    def hull(self, row: int, rows: Int[np.ndarray, " k"], weights: Float[np.ndarray, " k"], stage: int) -> None:
        """Check one set of hull weights."""
        self._open_hulls(torch.tensor([row]), Hulls.pack([(rows, weights)]), stage)

    def _open_hulls(self, tokens: Int[Tensor, " n"], hulls: Hulls, stage: int) -> None:
        state = self.state
        bounds = hull_upper_bounds(self.problem, tokens, hulls.start, hulls.rows, hulls.weights)
        self._bounds(tokens.tolist(), hulls, bounds)
        for i, row in enumerate(tokens.tolist()):
            pair = hulls.of(i)
            assert pair is not None
            if not bounds[i] < 0:
                state.candidates[row] = Hull(*pair)
                continue
            rows, weights, bound = sparsest(self.problem, row, *pair)
            evidence = Evidence.RIGOROUS
            if self.settings.exact and self.problem.weight_error is None:
                evidence = Evidence.EXACT if bound_by_weights(self.problem, row, rows, weights) else evidence
            self._unspeakable(row, Hull(rows, weights), evidence, stage, bound)

    def _bounds(self, rows: list[int], hulls: Hulls, claimed: Float64[np.ndarray, " n"]) -> Float64[Tensor, "n d"]:
        """Enter upper bounds and the weights that prove them, as float32 numbers where these prove as much.

        Args:
            rows: row numbers.
            hulls: hull weights of each.
            claimed: what they are said to prove: not to be looked into where float32 ones prove it.

        Returns:
            Σλ_j(A[t]−A[j]) of the weights entered, NaN where none were.
        """
        narrow = hulls.narrowed()
        bounds, sums = hull_bounds_and_sums(
            self.problem, torch.tensor(rows), narrow.start, narrow.rows, narrow.weights
        )
        short = ~(bounds <= claimed + _NARROW * np.abs(claimed))
        wider = {}
        for i in np.flatnonzero(short & (np.diff(hulls.start) > 0)).tolist():
            pair = hulls.of(i)
            assert pair is not None
            wide = hull_upper_bound(self.problem, rows[i], *pair)
            if not bounds[i] <= wide + _NARROW * abs(wide):
                wider[i], bounds[i] = pair, wide
        enters = bounds < self.state.upper[rows]
        better = np.flatnonzero(enters).tolist()
        self._keep_points([rows[i] for i in better])
        for i in better:
            pair = wider.get(i) or narrow.of(i)
            assert pair is not None
            self.state.upper[rows[i]], self.state.upper_by[rows[i]] = bounds[i], -1
            self.state.bounds[rows[i]] = Hull(*pair)
        sums[torch.from_numpy(~enters)] = torch.nan
        sums[list(wider)] = torch.nan
        return sums

    def _keep_points(self, rows: list[int]) -> None:
        """Store the points that the weights of rows lead to, since other weights are about to take their place."""
        state = self.state
        rows = [row for row in rows if state.witness_kind[row] == WITNESS_KINDS.index(FROM_WEIGHTS)]
        if not rows:
            return
        weights = state.certificates().weights
        pairs = Hulls.pack([weights[row] for row in rows])
        for row, point in zip(rows, points_from_weights(self.problem, torch.tensor(rows), pairs), strict=True):
            state.witnesses[row], state.witness_kind[row] = point.numpy().copy(), STORED_WITNESS

    # --- margins ---

    def forget_points(self, rows: Int[Tensor, " n"]) -> None:
        """Store no point for rows whose weights lead to one that is nearly as good and wins beyond doubt."""
        state = self.state
        known = (state.verdict == SPEAKABLE) & (state.witness_kind == STORED_WITNESS)
        known &= state.alone & (state.evidence != Evidence.EXACT.rank)
        chosen = [row for row in rows.tolist() if known[row] and row in state.bounds]
        if not chosen:
            return
        index = torch.tensor(chosen)
        pairs = [(state.bounds[row].rows, state.bounds[row].weights) for row in chosen]
        points = points_from_weights(self.problem, index, Hulls.pack(pairs))
        check = self._precisely(index, points)
        lower = check.lower.numpy()
        good = (lower > self._beyond_doubt(points)) & (lower >= _AS_GOOD * state.lower[chosen])
        upper, gap = state.upper[chosen], self.settings.margin_gap
        good &= ~is_wide(lower, upper, gap) | is_wide(state.lower[chosen], upper, gap)
        for i in np.flatnonzero(good).tolist():
            row = chosen[i]
            state.lower[row], state.runner_up[row] = lower[i], int(check.runner_up[i])
            state.witness_kind[row] = WITNESS_KINDS.index(FROM_WEIGHTS)
            del state.witnesses[row]

    def margins(self, attempts: Attempts, stage: int) -> None:
        """Tighten the bounds on both sides, of unspeakable rows too; settle open rows where a sign follows from one.

        The point that the weights of a row's upper bound lead to comes first: nothing need be stored for it. What the
        backend found itself counts where that is not close enough.
        """
        rows, weights, index = attempts.rows, self.state.certificates().weights, attempts.rows.numpy()
        self._settle_open(attempts, attempts.upper.numpy() < 0, stage)
        self._keep_points(rows.tolist())
        points = points_along(self.problem, self._bounds(rows.tolist(), attempts.hulls, attempts.upper.numpy()))
        other = torch.nonzero(~torch.isfinite(points).all(dim=1)).flatten()
        pairs = Hulls.pack([weights.get(row) for row in rows[other].tolist()])
        points[other] = points_from_weights(self.problem, rows[other], pairs)
        self._closest(rows, points, stage, recipe=True)
        for narrow in (True, False):  # in float32 where that will do; float64 goes nearer to the edge
            wide = is_wide(self.state.lower[index], self.state.upper[index], self.settings.margin_gap)
            some = torch.from_numpy(wide) & torch.isfinite(attempts.points).all(dim=1)
            points = attempts.points[some]
            if narrow:
                points = self.problem.domain.pulled_in(points).to(torch.float32)
            self._closest(rows[some], points, stage, recipe=False)
        self._settle_open(attempts, np.ones(len(rows), dtype=bool), stage)
        self.forget_points(rows)
        if self.settings.exact:
            self._raise_witnesses(rows.tolist())

    def _settle_open(self, attempts: Attempts, among: Bool[np.ndarray, " n"], stage: int) -> None:
        """Settle those of some rows that are open and whose weights prove something, and keep the others' weights."""
        for i in np.flatnonzero(among & (self.state.verdict[attempts.rows.numpy()] == OPEN)).tolist():
            pair = attempts.hulls.of(i)
            if pair is not None:
                self.hull(int(attempts.rows[i]), *pair, stage)

    def _closest(self, rows: Int[Tensor, " n"], points: Float[Tensor, "n d"], stage: int, *, recipe: bool) -> None:
        """Enter the margins at these points where they are larger than what is known."""
        if not len(rows):
            return
        state, index = self.state, rows.numpy()
        lower, runner_up = self._to_the_gap(rows, points)
        beyond = self._beyond_doubt(points)
        for i in np.flatnonzero(lower > state.lower[index]).tolist():
            row = int(index[i])
            if lower[i] > 0:
                state.settle(row, SPEAKABLE, Evidence.RIGOROUS, stage)
                state.runner_up[row] = runner_up[i]
            elif state.verdict[row] == OPEN:
                continue  # the point proves nothing of what is asked first
            state.lower[row] = lower[i]
            # A winner's point must not fail by its own rounding when it is made anew.
            if recipe and (lower[i] > beyond or state.verdict[row] == UNSPEAKABLE):
                state.witness_kind[row] = WITNESS_KINDS.index(FROM_WEIGHTS)
                state.witnesses.pop(row, None)
            else:
                state.witness_kind[row] = STORED_WITNESS
                state.witnesses[row] = points[i].numpy().copy()

    def _to_the_gap(
        self, rows: Int[Tensor, " n"], points: Float[Tensor, "n d"]
    ) -> tuple[Float64[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Margins at points, and the closest rivals: as sharp as the gap asked for needs.

        Where what a float32 product loses is little against the gap, float64 is for rows alone that it leaves wide.
        """
        upper, gap = self.state.upper[rows.numpy()], self.settings.margin_gap
        lost = 2 * logit_error(self.problem, self._longest(points), torch.float32)[rows].numpy()
        rough = torch.from_numpy(lost <= _LITTLE * (gap or 0.0) * np.abs(upper)) & (points.dtype == torch.float32)
        lower, runner_up = np.full(len(rows), -np.inf), np.zeros(len(rows), dtype=np.int64)
        for doubtful, how in ((~rough, self._precisely), (rough, self._roughly), (rough, self._precisely)):
            some = doubtful & torch.from_numpy(is_wide(lower, upper, gap))
            if bool(some.any()):
                check = how(rows[some], points[some])
                lower[some.numpy()], runner_up[some.numpy()] = check.lower.numpy(), check.runner_up.numpy()
        return lower, runner_up

    def _roughly(self, rows: Int[Tensor, " n"], points: Float32[Tensor, "n d"]) -> WitnessCheck:
        """Margins at points, by a float32 product and its error bound."""
        return self._shortened(points, check_witnesses(self.problem, rows, points, device=self.settings.device))

    def _precisely(self, rows: Int[Tensor, " n"], points: Float[Tensor, "n d"]) -> WitnessCheck:
        """Margins at points, in float64: float32 may lose more to rounding than the gap asked for."""
        points = points.double()
        check = check_witnesses(self.problem, rows, points, dtype=torch.float64, device=self.settings.device)
        return self._shortened(points, check)

    def _shortened(self, points: Float[Tensor, "n d"], check: WitnessCheck) -> WitnessCheck:
        """Margins where directions alone count: what a row leads by at length 1."""
        if not (self.problem.zero_offset and isinstance(self.problem.domain, Free)):
            return check
        # From which rounding may take a point.
        size = (row_lengths(points.double()) * (1 + 2.0**-40)).clamp(min=1).nan_to_num(nan=1.0)
        return replace(check, lower=torch.where(check.lower > 0, check.lower / size, check.lower))

    def _beyond_doubt(self, points: Float[Tensor, "n d"]) -> float:
        """A margin that no rounding in float32 takes away, at any of these points, logits."""
        return 8 * float(logit_error(self.problem, self._longest(points), torch.float32).max())

    def _longest(self, points: Float[Tensor, "n d"]) -> float:
        """The norm of the longest point."""
        return float(row_lengths(points.double()).nan_to_num(nan=0.0).max())

    def exact_hull(self, row: int, rows: Int[np.ndarray, " k"], stage: int) -> bool:
        """Whether the row lies exactly in the hull of these rows (and its offset below); settles it if so."""
        if self.problem.weight_error is not None:
            return False
        exact = hull_membership(self.problem, row, rows)
        if exact is None:
            return False
        used = np.array([weight > 0 for weight in exact])
        weights = np.array([float(weight) for weight in exact])[used]
        self._unspeakable_exactly(row, Hull(np.asarray(rows)[used], weights), stage)
        return True

    def exact_bound(
        self, row: int, rows: Int[np.ndarray, " k"], weights: Float[np.ndarray, " k"], stage: int
    ) -> bool:
        """Whether these very weights bound the margin by 0 or less in rational arithmetic; settles the row if so.

        This is for margins of exactly 0 off the hull: a ball or box that just touches. The weights that show it are
        often a single blocker.
        """
        if self.problem.weight_error is not None or not bound_by_weights(self.problem, row, rows, weights):
            return False
        self._unspeakable_exactly(row, Hull(rows, weights), stage)
        return True

    def _unspeakable_exactly(self, row: int, hull: Hull, stage: int) -> None:
        """What rational arithmetic has shown to be 0 or less; the floating-point bound where that is lower still."""
        bound = hull_upper_bound(self.problem, row, hull.rows, hull.weights)
        self._unspeakable(row, hull, Evidence.EXACT, stage, min(bound, 0.0))

    def _unspeakable(self, row: int, hull: Hull, evidence: Evidence, stage: int, bound: float) -> None:
        state = self.state
        state.settle(row, UNSPEAKABLE, evidence, stage)
        state.hulls[row] = hull
        if self.problem.cone and self.settings.margin_gap is not None:
            state.lower[row] = 0.0  # at z = 0, where all logits are equal
        state.bounds.pop(row, None)
        state.duals.pop(row, None)
        state.upper[row], state.upper_by[row] = bound, -1
        if len(hull.rows):
            state.runner_up[row] = int(hull.rows[int(np.argmax(hull.weights))])


def is_wide(
    lower: Float64[np.ndarray, " n"], upper: Float64[np.ndarray, " n"], gap: float | None
) -> Bool[np.ndarray, " n"]:
    """Which bounds are farther apart than `gap` times the upper one's size, or not both known."""
    with np.errstate(invalid="ignore"):
        close = upper - lower <= (gap or 0.0) * np.abs(upper)
    return ~(close & np.isfinite(upper))


def sparsest(
    problem: ArgmaxProblem, row: int, rows: Int[np.ndarray, " k"], weights: Float[np.ndarray, " k"]
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"], float]:
    """The heaviest few blockers (found by bisection) that keep at least nine tenths of the bound of all."""
    order = np.argsort(-weights, kind="stable")
    rows, weights = rows[order], weights[order]
    whole = hull_upper_bound(problem, row, rows, weights)
    best = (rows, weights, whole)
    low, high = 1, len(rows)
    while low < high:
        middle = (low + high) // 2
        part = weights[:middle] / math.fsum(weights[:middle])
        bound = hull_upper_bound(problem, row, rows[:middle], part)
        if bound <= 0.9 * whole:  # both are below 0
            best, high = (rows[:middle], part, bound), middle
        else:
            low = middle + 1
    return best
