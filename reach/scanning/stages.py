"""The stages of a scan, in order: each takes the rows that are still open and hands attempts to the judge."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from reach.nearly_never import FORMATS, largest_steps, unresolved
from reach.scanning.earlier import Earlier
from reach.scanning.judge import Judge, is_wide
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN, SPEAKABLE, UNSPEAKABLE, ScanState
from reach.witnesses import logits_at_witnesses
from solvers import registry
from solvers.attempt import Attempts, Status
from solvers.backend import Backend, Budget
from solvers.basis import candidate_supports
from solvers.checks.domains import enclosing_ball
from solvers.checks.own_rows import OwnRows
from solvers.checks.witness import logit_error
from solvers.domains import Free
from solvers.problem import ArgmaxProblem
from solvers.recipes import own_row_scales

_SINGLE_BLOCKERS = 4
"""How many of the heaviest rivals are tried as the only blocker, for margins of exactly 0."""

_RESOLUTION_GAP, _CLOSE_GAP = 0.5, 0.01
"""Relative gaps at which a margin is compared with a step (steps come in powers of 2), and where that did not do."""
_RESOLUTION_WORK, _RESOLUTION_SHARE = 4e9, 0.1
"""Multiplications that margins near a float32 step may cost: so many, or this share of the pass over own rows."""
_ROUNDS, _NEWTON, _MOST_RIVALS = 4, 80, 2048
"""A row takes about so many products with all rows, and so many steps with as many rivals as dimensions."""
_COARSE_ROWS, _COARSE_SHARE = 8, 1 / 50
"""Margins near a step of the coarser formats that are looked at: so many, or this share of the rows searched."""
_SHARED_WORK = 2e9
"""Multiplications of a pass over own rows below which it is not worth the start of compiled code to halve them."""
_BRIEF = 8
"""Rounds of the first search for margins, and of that in wide heads before rows are centred."""
_WIDE = 256
"""From this width on exact proofs, and a factorisation per row, are dear."""
_IN_A_SUBSPACE = "its row may lie inside the hull of the others, but all rows lie in a subspace, or nearly"
EARLIER_STAGE = "earlier-run"
_LEAST_SECONDS = 1e-3
"""A budget must be positive, however late it is."""

Progress = Callable[[int], object]


class Stage(ABC):
    """One stage.

    Attributes:
        name: as the funnel and the verdicts table show it.
        settings: of the scan.
        block_share: how many rows a block holds, relative to the scan's block size.
        ends: when the scan must have ended, as `time.perf_counter` counts.
    """

    name: str
    settings: ScanSettings
    block_share: float = 1.0
    ends: float = math.inf

    @property
    def left(self) -> float:
        """Seconds until the scan must have ended."""
        return max(0.0, self.ends - time.perf_counter())

    @property
    def seconds(self) -> float:
        """Limit of a backend's next call."""
        return max(_LEAST_SECONDS, min(self.settings.stage_seconds or math.inf, self.left))

    @abstractmethod
    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Which rows the stage works on."""

    @abstractmethod
    def prepare(self, problem: ArgmaxProblem) -> None:
        """Called once, before the first block and only if there is one."""

    def shares(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> bool:  # noqa: ARG002
        """Whether the blocks of these rows share work, so that they must be done here, one after the other.

        Called after `prepare`, where the blocks will be done; gets ready for them if so.
        """
        return False

    @abstractmethod
    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Work on a block of rows."""


@dataclass
class BackendStage(Stage):
    """Run a backend, let the judge check what it returns."""

    backend_name: str
    settings: ScanSettings
    recipe: str | None = None
    own_row: bool = False
    block_share: float = 1.0
    jobs: int = 1
    iterations: int | None = None
    earlier: Earlier | None = None

    def __post_init__(self) -> None:
        self.name = self.backend_name if self.iterations is None else f"{self.backend_name}-brief"
        self._backend: Backend | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the backend, which is prepared where it is used."""
        return {**self.__dict__, "_backend": None}

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Open rows; for the own-row stages all rows not yet known to be own-direction."""
        return ~state.own_direction if self.own_row else state.verdict == OPEN

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Prepare the backend."""
        kind = registry.backend(self.backend_name)
        device = self.settings.device if self.settings.device.split(":")[0] in kind.capabilities.devices else "cpu"
        self._backend = kind(device=device, jobs=self.settings.jobs)
        self._backend.prepare(problem)

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        judge.witnesses(attempts, number, self.recipe, own_row=self.own_row)
        judge.hulls(attempts, number)
        if judge.problem.margin_bounded:
            judge.forget_points(attempts.rows)
        _note_reasons(judge.state, attempts, self.name)

    def _budget(self, progress: Progress) -> Budget:
        return Budget(
            seconds=self.seconds,
            tolerance=self.settings.tolerance,
            iterations=self.iterations,
            progress=lambda _, rows: progress(rows),
        )


class OwnRowStage(BackendStage):
    """Every row at the farthest multiple of itself.

    Where all rows are asked for, or all from one on after an interruption, each product serves both of its rows.

    Args:
        settings: of the scan.
    """

    def __init__(self, settings: ScanSettings) -> None:
        super().__init__("own-row", settings, recipe="own-row", own_row=True)
        self._own_rows: OwnRows | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the products, which belong to the blocks of one process."""
        return {**super().__getstate__(), "_own_rows": None}

    def shares(self, problem: ArgmaxProblem, rows: Int[np.ndarray, " n"]) -> bool:
        """Get ready for the products that the rows share, if they are to share them."""
        self._own_rows = None
        first, n = int(rows[0]), len(rows)
        worth_it = n == problem.v - first and float(n) * problem.v * problem.d >= _SHARED_WORK
        if not (worth_it and self.settings.device == "cpu" and OwnRows.possible(problem)):
            return False
        scales = own_row_scales(problem, self.settings.jobs)
        self._own_rows = OwnRows(problem, scales, first=first, jobs=self.settings.jobs)
        return True

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Place the points, then judge."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        judge.witnesses(attempts, number, self.recipe, own_row=True, own_rows=self._own_rows)
        _note_reasons(judge.state, attempts, self.name)


@dataclass
class MarginStage(BackendStage):
    """Bring the bounds on margins as close together as was asked for.

    With a limit on its iterations it is the first search: it takes open rows as well, since what bounds a margin on
    both sides settles the verdict, too. Without one it is the last, for rows whose verdicts are known.

    Args:
        share: of the gap that the backend is asked for; the checked bounds of some are a little farther apart.
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = f"margins-{self.name}"

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Rows whose bounds are farther apart; not those of several tokens, whose margins are 0."""
        wide = is_wide(state.lower, state.upper, self.settings.margin_gap)
        if self.iterations is not None:
            return state.alone & wide
        return wide & ((state.verdict == UNSPEAKABLE) | ((state.verdict == SPEAKABLE) & state.alone))

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge."""
        assert self._backend is not None
        budget = self._budget(progress)
        if self.earlier is not None:
            budget = replace(budget, rivals=self.earlier.rivals(rows))
        attempts = self._backend.solve(torch.from_numpy(rows), budget)
        judge.margins(attempts, number)
        _note_reasons(judge.state, attempts, self.name)

    def _budget(self, progress: Progress) -> Budget:
        return Budget(
            seconds=self.seconds,
            tolerance=self.settings.tolerance,
            iterations=self.iterations,
            margin_gap=self.share * (self.settings.margin_gap or 0.0),
            progress=lambda _, rows: progress(rows),
        )


class EarlierStage(BackendStage):
    """Where rows won in an earlier run, and what proved that they do not; then a search that begins there.

    Args:
        backend: the search, where one can begin at given points; none otherwise.
        settings: of the scan.
        earlier: what the earlier run left; none where there is no such run, and nothing for this stage to do. It
            has its place all the same: journals number stages.
    """

    def __init__(self, backend: str | None, settings: ScanSettings, earlier: Earlier | None) -> None:
        super().__init__(backend or "", settings, earlier=earlier)
        self.name = EARLIER_STAGE

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Open rows."""
        return super().wants(state) if self.earlier is not None else np.zeros(state.v, dtype=bool)

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Prepare the search, if there is one."""
        if self.backend_name:
            super().prepare(problem)

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Judge what is there, then search for what is still open.

        A search that begins with the rivals of a row finds a better point than these led to; what it cannot begin
        with is judged first.
        """
        assert self.earlier is not None
        first = rows if self._backend is None else rows[self.earlier.without_rivals(rows)]
        if len(first):
            attempts = self.earlier.attempts(judge.problem, first)
            judge.witnesses(attempts, number)
            judge.hulls(attempts, number)
        rest = rows[judge.state.verdict[rows] == OPEN]
        if self._backend is not None and len(rest):
            budget = replace(self._budget(progress), rivals=self.earlier.rivals(rest))
            attempts = self._backend.solve(torch.from_numpy(rest), budget)
            judge.witnesses(attempts, number)
            judge.hulls(attempts, number)
        if judge.problem.margin_bounded:
            judge.forget_points(torch.from_numpy(rows))


class ResolutionStage(BackendStage):
    """Tighten the margins of a few speakable rows that may win by less than a step of a number format.

    Ordinary heads have hardly any near a step of float32, and more near the steps of coarser formats than could be
    looked at for nothing. How many are looked at depends on sizes and counts alone: no result hangs on a clock.

    Args:
        name: of the stage.
        backend: what tightens them.
        problem, settings: of the scan.
        block_share: as for every stage.
        searches_from: number of the first stage that searches row by row.
        follows: number of an earlier stage of this kind: only what that one has tried is looked at again.
        gap: relative gap that is asked for.
    """

    def __init__(
        self,
        name: str,
        backend: str,
        problem: ArgmaxProblem,
        settings: ScanSettings,
        *,
        block_share: float,
        searches_from: int,
        follows: int = -1,
        gap: float = _RESOLUTION_GAP,
    ) -> None:
        super().__init__(backend, settings, block_share=block_share)
        self.name = name
        self._of, self._searches_from, self._follows, self._gap = problem, searches_from, follows, gap

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Speakable rows whose bounds leave open whether their margin is below a step, the smallest of them."""
        chosen = np.zeros(state.v, dtype=bool)
        speakable = (state.verdict == SPEAKABLE) & (state.tried >= self._follows)
        rows = np.nonzero(speakable & (state.lower < largest_steps(self._of)))[0]
        logits = logits_at_witnesses(self._of, state.kinds(rows), rows, state.certificates())
        lower, upper = state.lower[rows], state.upper[rows]
        fine = unresolved(lower, upper, logits, FORMATS[:1])
        coarse = unresolved(lower, upper, logits) & ~fine
        order = np.argsort(lower / np.maximum(FORMATS[-1].step(logits), 1e-300), kind="stable")
        for members, most in ((fine, self._most_fine()), (coarse, self._most_coarse(state))):
            chosen[rows[order[members[order]][:most]]] = True
        return chosen

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge: these rows alone, whose verdicts are known."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        judge.witnesses(attempts, number, credit=False)
        judge.hulls(attempts, number)

    def _most_fine(self) -> int:
        v, d = self._of.v, self._of.d
        each = _ROUNDS * v * d + _NEWTON * d * min(d, _MOST_RIVALS) ** 2
        return int(max(_RESOLUTION_WORK, _RESOLUTION_SHARE * float(v) * v * d) / each)

    def _most_coarse(self, state: ScanState) -> int:
        return max(_COARSE_ROWS, int(_COARSE_SHARE * int((state.tried >= self._searches_from).sum())))

    def _budget(self, progress: Progress) -> Budget:
        return Budget(
            seconds=self.settings.stage_seconds or float("inf"),
            tolerance=self.settings.tolerance,
            margin_gap=self._gap,
            progress=lambda _, rows: progress(rows),
        )


class InsideStage(BackendStage):
    """Prove rows to lie inside the hull of the others, without rational arithmetic; or find where they win.

    Only the rows and offsets count here, so the search is over `Free`, which has the same verdicts.

    Args:
        settings: of the scan.
    """

    def __init__(self, settings: ScanSettings) -> None:
        super().__init__("analytic-centre", settings, block_share=1 / 32)

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Prepare the search on the problem whose verdicts are the same."""
        super().prepare(problem.over(Free()))

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Solve, then judge."""
        assert self._backend is not None
        attempts = self._backend.solve(torch.from_numpy(rows), self._budget(progress))
        if judge.problem.margin_bounded:
            far = judge.problem.domain.stretch(attempts.points)
            attempts = replace(attempts, points=torch.where(torch.isfinite(attempts.points), far, torch.nan))
        judge.inside(attempts, number)
        judge.witnesses(attempts, number)
        judge.hulls(attempts, number)
        _note_reasons(judge.state, attempts, self.name)
        if attempts.duals is None:
            return
        inside = rows[torch.isfinite(attempts.duals).all(dim=1).numpy()].tolist()
        if inside and judge.spread is None:
            judge.state.reasons.update(dict.fromkeys(inside, _IN_A_SUBSPACE))


class ProofStage(Stage):
    """Exact proofs of membership in the hull, from the weights that the searches left behind.

    Where no support of theirs will do, the simplex method is asked for a basic solution of its own.
    """

    name = "exact-proof"
    block_share = 1 / 32

    def __init__(self, settings: ScanSettings) -> None:
        self.settings = settings
        self._simplex: Backend | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the backend, which is prepared where it is used."""
        return {**self.__dict__, "_simplex": None}

    def wants(self, state: ScanState) -> Bool[np.ndarray, " v"]:
        """Open rows; where everything is to be exact, also those that lie inside the hull."""
        wanted = state.verdict == OPEN
        if self.settings.exact:
            wanted[list(state.duals)] = True
        return wanted

    def prepare(self, problem: ArgmaxProblem) -> None:
        """Make the simplex backend ready on the problem whose verdicts are the same, if it can do it."""
        kind = registry.backend("highs")
        # With c = 0 every domain around 0 has the verdicts of Free.
        posed = problem.over(Free()) if problem.cone and kind.why_not(problem) is not None else problem
        if kind.why_not(posed) is None:
            self._simplex = kind(jobs=self.settings.jobs)
            self._simplex.prepare(posed)

    def run(self, rows: Int[np.ndarray, " n"], number: int, judge: Judge, progress: Progress) -> None:
        """Try to prove each row."""
        for row in rows.tolist():
            if self.left <= 0:
                return
            candidate = judge.state.candidates.get(row)
            proved = candidate is not None and (
                judge.at_the_edge(row, candidate, number) or self._prove(judge, row, candidate.rows, number)
            )
            if not proved and self._simplex is not None:
                budget = Budget(seconds=self.seconds, tolerance=1e-10)
                attempts = self._simplex.solve(torch.tensor([row]), budget)
                judge.witnesses(attempts, number)
                hull = attempts.hulls.of(0)
                if hull is not None and (judge.state.verdict[row] == OPEN or row in judge.state.duals):
                    proved = judge.exact_hull(row, hull[0], number) or self._prove(judge, row, hull[0], number)
            if judge.state.verdict[row] == OPEN:
                judge.state.reasons[row] = _why_open(judge, row)
            progress(1)

    @staticmethod
    def _prove(judge: Judge, row: int, rows: Int[np.ndarray, " k"], number: int) -> bool:
        candidate = judge.state.candidates.get(row)
        if candidate is not None and not judge.problem.cone:
            if judge.exact_bound(row, candidate.rows, candidate.weights, number):
                return True
            heaviest = candidate.rows[np.argsort(-candidate.weights)[:_SINGLE_BLOCKERS]]
            if any(judge.exact_bound(row, np.array([blocker]), np.ones(1), number) for blocker in heaviest.tolist()):
                return True
        supports = candidate_supports(judge.problem, row, rows)
        return any(judge.exact_hull(row, support, number) for support in supports)


def _why_open(judge: Judge, row: int) -> str:
    lower, upper = judge.state.lower[row], judge.state.upper[row]
    before = judge.state.reasons.get(row)
    between = (
        f"the margin lies between {lower:.3g} and {upper:.3g} logits"
        if np.isfinite(lower)
        else (f"the margin is at most {upper:.3g} logits" if np.isfinite(upper) else "no bound was reached")
    )
    if before is not None:
        return f"{before}; {between}"
    if judge.problem.weight_error is not None:
        return f"the rows are known only up to rounding (a projection is folded in); {between}"
    if np.isfinite(upper) and upper <= _rounding_of_logits(judge.problem, row):
        return (
            f"no witness and no exact proof were found, and its margin is inside the rounding of float64; {between}"
        )
    return (
        "no witness and no exact proof were found: the searches stop at a gap of "
        f"{judge.settings.tolerance:g} of the logits' size; {between}"
    )


def _rounding_of_logits(problem: ArgmaxProblem, row: int) -> float:
    """What rounding in float64, in bounds and in products, may make of this row's lead at the edge of the domain."""
    _, radius = enclosing_ball(problem)
    if radius == float("inf"):
        return 0.0
    error = logit_error(problem, radius, torch.float64)
    return 4 * float(error[row] + error.max())


def _note_reasons(state: ScanState, attempts: Attempts, name: str) -> None:
    """Remember, for rows still open, what kept the backend from settling them."""
    for row, status in zip(attempts.rows.tolist(), attempts.status, strict=True):
        if state.verdict[row] != OPEN:
            continue
        if status is Status.LIMIT:
            state.reasons[row] = f"limit hit: {name} ran out of its budget"
        elif status is Status.FAILED:
            state.reasons[row] = f"solver failed: {attempts.note or name}"
        elif status in (Status.NO_WITNESS, Status.GAVE_UP):
            state.reasons.pop(row, None)


def _middle(problem: ArgmaxProblem, settings: ScanSettings) -> list[Stage]:
    """What comes after the closed forms; in wide heads what factors no matrix per row comes first.

    In narrow ones exact proofs are cheap, and say more, except where rows are known only up to rounding.
    """
    searches: list[Stage] = [BackendStage(name, settings, block_share=share) for name, share in _quick(problem)]
    if problem.cone or isinstance(problem.domain, Free):
        if problem.d >= _WIDE:
            # What wins at all is mostly found in a few rounds, where centring takes dozens of passes.
            brief = [] if _wants_margins(problem, settings) else _briefly(BackendStage, problem, settings)
            return [*brief, InsideStage(settings), *searches]
        if problem.weight_error is not None:
            return [*searches, InsideStage(settings)]
    return searches


def _wants_margins(problem: ArgmaxProblem, settings: ScanSettings) -> bool:
    return settings.margin_gap is not None and problem.margin_bounded


def _briefly(
    kind: type[BackendStage], problem: ArgmaxProblem, settings: ScanSettings, earlier: Earlier | None = None
) -> list[BackendStage]:
    """A few rounds of the search whose rounds are products, where it can do this problem."""
    return [
        kind(name, settings, iterations=_BRIEF, earlier=earlier)
        for name, _ in _quick(problem)
        if name == "active-set"
    ]


def _quick(problem: ArgmaxProblem) -> list[tuple[str, float]]:
    """The batched searches that can do this problem, the quickest first, and how many rows they take at a time."""
    searches = (("active-set", 1.0), ("batched-barrier", 1 / 4))
    return [search for search in searches if registry.backend(search[0]).why_not(problem) is None]


def build_stages(problem: ArgmaxProblem, settings: ScanSettings, earlier: Earlier | None = None) -> list[Stage]:
    """The stages for a problem, cheapest first; what an earlier run of a similar one left comes before searches."""
    last = "highs" if registry.backend("highs").why_not(problem) is None else "clarabel"
    stages: list[Stage] = [OwnRowStage(settings)]
    if not problem.cone:
        stages.append(BackendStage("own-row-any-scale", settings, own_row=True))
    margins = _wants_margins(problem, settings)
    if margins:
        # Nearly all rows are done with after this, their verdicts included.
        stages += _briefly(MarginStage, problem, settings, earlier)
    stages += [
        BackendStage("centred-row", settings, recipe="centred-row" if problem.cone else None),
        BackendStage("whitened-row", settings),
        EarlierStage(next((name for name, _ in _quick(problem) if name == "active-set"), None), settings, earlier),
        *_middle(problem, settings),
        BackendStage(last, settings, block_share=1 / 32),
        ProofStage(settings),
    ]
    if margins:
        # Where no method is exact and quick, what is left is done one row at a time.
        stages += [MarginStage(name, settings, block_share=share) for name, share in _quick(problem)]
        if registry.backend("active-set").why_not(problem) is not None:
            stages.append(MarginStage("clarabel", settings, block_share=1 / 32, share=0.1))
    if problem.margin_bounded:
        # The batched method is quick and may end early at margins near 0; the others go one row at a time.
        close = "nearest-point" if registry.backend("nearest-point").why_not(problem) is None else last
        first = _quick(problem)[0][0]
        searches_from = next(at for at, stage in enumerate(stages) if stage.name == first)
        resolution = partial(ResolutionStage, problem=problem, settings=settings, searches_from=searches_from)
        stages.append(resolution("resolution", "batched-barrier", block_share=1 / 4))
        follows = len(stages) - 1
        stages.append(resolution("resolution-close", close, block_share=1 / 32, follows=follows, gap=_CLOSE_GAP))
    return stages
