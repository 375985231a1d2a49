"""Deciding a few tokens with proofs: what one pass over the head settles, and the scan's searches for the rest."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int

from reach.gate.equals import equal_rows_of
from reach.progress import Progress, silent
from reach.scanning.settings import ScanSettings
from solvers.checks.domains import enclosing_ball
from solvers.checks.streamed import check_streamed, shared_hull_bounds
from solvers.checks.witness import WitnessCheck, own_scales
from solvers.parallel import threads
from solvers.problem import ArgmaxProblem
from solvers.recipes import far_along, recipe_points
from solvers.tilting import tilt

SPEAKABLE, TIED, UNSPEAKABLE, UNDECIDED = "speakable", "tied", "unspeakable", "undecided"
_MOST_SEARCHED = 2**28
"""Numbers of a head that the scan's searches are started on: they keep it as float32, and multiply with it often."""
_RIVALS, _TOGETHER, _ROWS = 4, 64, 64
"""In large heads: weights over so many rows per dimension, for so many tokens at a time; rows made at a time."""
_SHARE = 0.5
"""Of the margin asked for: how small a bound such weights are to prove."""
_WIDE, _LEAST_COLUMNS = 1024, 512
"""From this width on the first look is at some of the columns: at so many, or a quarter."""
_GAP = 0.05
"""Relative gap of margins that are looked at closer, to tell them from what is asked."""


@dataclass(frozen=True)
class Decision:
    """What is proved of one token.

    Attributes:
        token: its id.
        verdict: `speakable`, `tied`, `unspeakable` or `undecided`.
        lower, upper: bounds on its best margin over all rows that are not equal to its own, logits; ∓inf if unknown.
        equal: all tokens with its row, itself included; just itself where no other has it.
        rival: the row that is closest to it where it was tried, or its heaviest blocker; −1 where unknown.
        reason: why it is undecided.
    """

    token: int
    verdict: str
    lower: float
    upper: float
    equal: tuple[int, ...]
    rival: int = -1
    reason: str | None = None

    @property
    def alone(self) -> bool:
        """Whether no other token has its row."""
        return len(self.equal) == 1

    @property
    def best(self) -> float:
        """Upper bound on its margin over all others: tokens of one row never lead each other."""
        return self.upper if self.alone else min(self.upper, 0.0)


def decide(
    problem: ArgmaxProblem,
    must: Int[np.ndarray, " n"],
    never: Int[np.ndarray, " m"],
    *,
    margin: float,
    settings: ScanSettings,
    seconds: float | None = None,
    progress: Progress = silent,
) -> dict[int, Decision]:
    """Decide, for tokens that must be said, whether their best margin reaches `margin`; for others, whether they win.

    Margins are worked out no closer than these questions need.

    Args:
        problem: the argmax problem of the head.
        must, never: ids.
        margin: logits.
        settings: for the searches: cores, device, tolerance.
        seconds: for the searches together; none for no limit.
        progress: told how many tokens are decided.
    """
    started = time.perf_counter()
    tokens = np.union1d(must, never).astype(np.int64)
    with threads(settings.jobs):
        classes = _Classes(problem, tokens)
        asked = classes.firsts(must)
        progress("own-row", 0, len(classes.first))
        own = recipe_points(problem, "own-row", torch.from_numpy(classes.first))
        if problem.d >= _WIDE:
            # Most rows lead along themselves by far, and a part of the columns shows it.
            most = max(_LEAST_COLUMNS, problem.d // 4)
            few = check_streamed(problem, torch.from_numpy(classes.first), own, equal=classes.equal, columns=most)
            classes.enter(classes.first, few)
        left = classes.open(asked, margin)
        if len(left):
            points = own[torch.from_numpy(np.searchsorted(classes.first, left))]
            index = torch.from_numpy(left)
            scales = own_scales(problem, index, points)
            classes.enter(left, check_streamed(problem, index, points, equal=classes.equal, own_scale=scales))
        progress("own-row", len(classes.first), len(classes.first))
        left = classes.open(asked, margin)
        if len(left):
            centred = recipe_points(problem, "centred-row", torch.from_numpy(left))
            classes.enter(left, check_streamed(problem, torch.from_numpy(left), centred, equal=classes.equal))
            left = classes.open(asked, margin)
    if problem.v * problem.d <= _MOST_SEARCHED:
        left = np.union1d(left, classes.without_verdict())  # a search costs little here, and says more
    if len(left):
        rest = None if seconds is None else max(1.0, seconds - (time.perf_counter() - started))
        _search(problem, classes, left, settings, margin, rest, progress)
    return classes.decisions(tokens)


class _Classes:
    """What is known of the classes of equal rows that hold the tokens, by the first token of each."""

    def __init__(self, problem: ArgmaxProblem, tokens: Int[np.ndarray, " n"]) -> None:
        found = equal_rows_of(problem, tokens)
        self.members = {
            token: tuple(found[token].tolist()) if token in found else (token,) for token in tokens.tolist()
        }
        self.first = np.unique([members[0] for members in self.members.values()])
        self.equal = {members[0]: np.array(members) for members in self.members.values() if len(members) > 1}
        self.bounds_only = not problem.margin_bounded
        self.lower = dict.fromkeys(self.first.tolist(), -math.inf)
        self.upper = dict.fromkeys(self.first.tolist(), math.inf)
        self.rival = dict.fromkeys(self.first.tolist(), -1)
        self.won: set[int] = set()
        self.lost: set[int] = set()
        self.reason: dict[int, str] = {}

    def firsts(self, tokens: Int[np.ndarray, " n"]) -> set[int]:
        """The classes of some tokens."""
        return {self.members[token][0] for token in tokens.tolist()}

    def enter(self, firsts: Int[np.ndarray, " n"], check: WitnessCheck) -> None:
        """Take over what a check has proved."""
        columns = zip(
            firsts.tolist(), check.lower.tolist(), check.upper.tolist(), check.runner_up.tolist(), strict=True
        )
        for first, lower, upper, rival in columns:
            if lower > self.lower[first]:
                self.lower[first], self.rival[first] = lower, rival
            self.upper[first] = min(self.upper[first], upper)
            if lower > 0:
                self.won.add(first)
            if upper < 0:
                self.lost.add(first)

    def open(self, asked: set[int], margin: float) -> Int[np.ndarray, " n"]:
        """Classes whose question has no answer yet."""
        return np.array(
            [first for first in self.first.tolist() if not self._answered(first, asked, margin)], dtype=np.int64
        )

    def without_verdict(self) -> Int[np.ndarray, " n"]:
        """Classes that neither win nor are proved not to."""
        return np.array([one for one in self.first.tolist() if one not in self.won | self.lost], dtype=np.int64)

    def _answered(self, first: int, asked: set[int], margin: float) -> bool:
        if first in self.lost:
            return True
        if first not in asked:
            return first in self.won
        # Tokens that share their row lead nobody who has it: how far the class leads is of no interest.
        if first in self.equal:
            return first in self.won
        if self.bounds_only:
            return first in self.won
        return self.lower[first] >= margin or self.upper[first] < margin

    def decisions(self, tokens: Int[np.ndarray, " n"]) -> dict[int, Decision]:
        """What is known of each token."""
        return {token: self._decision(token) for token in tokens.tolist()}

    def _decision(self, token: int) -> Decision:
        members = self.members[token]
        first = members[0]
        verdict = UNDECIDED
        if first in self.lost:
            verdict = UNSPEAKABLE
        elif first in self.won:
            verdict = SPEAKABLE if len(members) == 1 else TIED
        reason = self.reason.get(first, "no search was started") if verdict == UNDECIDED else None
        return Decision(token, verdict, self.lower[first], self.upper[first], members, self.rival[first], reason)


def _search(
    problem: ArgmaxProblem,
    classes: _Classes,
    left: Int[np.ndarray, " n"],
    settings: ScanSettings,
    margin: float,
    seconds: float | None,
    progress: Progress,
) -> None:
    """Hand what one pass left open to the scan, and take over what it proves."""
    from reach.scanning.scan import scan
    from reach.scanning.state import SPEAKABLE as WINS
    from reach.scanning.state import UNSPEAKABLE as NEVER_WINS

    if problem.v * problem.d > _MOST_SEARCHED:
        with threads(settings.jobs):
            _tilt(problem, classes, left, margin)
        classes.reason.update(dict.fromkeys(left.tolist(), "the head is too large for a search within the gate"))
        return
    closer = replace(settings, margin_gap=_GAP if problem.margin_bounded else None)
    result = scan(problem, closer, tokens=left, progress=progress, seconds=seconds)
    if result.merged.everything_equal:
        return  # then no class has a rival, and the pass has settled it
    state, rows = result.state, result.merged.row_of[left]
    for first, row in zip(left.tolist(), rows.tolist(), strict=True):
        classes.lower[first] = max(classes.lower[first], float(state.lower[row]))
        classes.upper[first] = min(classes.upper[first], float(state.upper[row]))
        if state.verdict[row] == WINS:
            classes.won.add(first)
        elif state.verdict[row] == NEVER_WINS:
            classes.lost.add(first)
        else:
            limit = "the time for searches was up" if result.cut else "no proof was found"
            classes.reason[first] = state.reasons.get(row, limit)
        if int(state.runner_up[row]) >= 0 and state.verdict[row] == NEVER_WINS:
            classes.rival[first] = int(result.merged.token_of[state.runner_up[row]])


def _tilt(problem: ArgmaxProblem, classes: _Classes, left: Int[np.ndarray, " n"], margin: float) -> None:
    """Bound what lies deep among others in a large head, by weights over some of its rows, or find where it wins."""
    _, radius = enclosing_ball(problem)
    if not problem.cone or not math.isfinite(radius):
        return
    apart = np.setdiff1d(np.arange(problem.v), np.concatenate([list(one) for one in classes.members.values()]))
    most = min(len(apart), _RIVALS * problem.d)
    some = np.sort(np.random.default_rng(0).choice(apart, most, replace=False))
    rows = torch.empty((most, problem.d), dtype=torch.float32)
    for start in range(0, most, _ROWS):
        rows[start : start + _ROWS] = problem.rows(torch.from_numpy(some[start : start + _ROWS]))
    for start in range(0, len(left), _TOGETHER):
        part = left[start : start + _TOGETHER]
        tokens = torch.from_numpy(part)
        weights, ways = tilt(rows, problem.rows(tokens).to(torch.float32), _SHARE * margin / radius)
        bounds = shared_hull_bounds(problem, tokens, torch.from_numpy(some), weights)
        for token, bound in zip(part.tolist(), bounds.tolist(), strict=True):
            classes.upper[token] = min(classes.upper[token], bound)
            if bound < 0:
                classes.lost.add(token)
        outside = part[bounds >= margin]
        if len(outside):
            points = far_along(problem, ways[torch.from_numpy(bounds >= margin)].double())
            classes.enter(outside, check_streamed(problem, torch.from_numpy(outside), points, equal=classes.equal))
