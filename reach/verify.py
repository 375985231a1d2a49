"""Prove a run's verdicts again from its files and the model alone. Imports no solver."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reach.ceilings import ceiling_faults, recorded_scale
from reach.equal_rows import merge_equal_rows
from reach.few_blockers_check import few_blockers_faults
from reach.margin_ends import upper_faults
from reach.nearly_never import FORMAT_NAMES, finest_format, winning_logit_room, winning_logits
from reach.own_direction import lies_along_row, win_along_rows
from reach.runs.domain_words import domain_words
from reach.runs.folder import RunFolder
from reach.runs.manifest import Manifest
from reach.runs.schema import EVIDENCE_NAMES, LATER_COLUMNS, VERDICT_NAMES
from reach.served import served_faults
from reach.silencers import silencer_faults
from reach.verdicts import Verdicts
from reach.witnesses import FROM_WEIGHTS, STORED, Certificates, by_row, is_usable, points_by_kind
from solvers.checks.evidence import Evidence
from solvers.checks.exact import bound_by_weights, first_unbeaten, hull_membership
from solvers.checks.hull import hull_upper_bound, weights_fault
from solvers.checks.interior import inside_hull, spread_set
from solvers.checks.witness import beats_exactly, check_witnesses, close_rivals, logit_error
from solvers.errors import BadInput
from solvers.hull_rows import HullRows
from solvers.problem import ArgmaxProblem
from solvers.recipes import RECIPES

_BLOCK = 8192
_INSIDERS = 512
"""Tokens inside the hull that are proved at a time."""
_ONLY_ROUNDED = "the rows are known only up to rounding, so nothing exact can be shown"


@dataclass
class VerifyReport:
    """What came of it.

    Attributes:
        proved: verdict and evidence to the number of tokens proved again.
        failed: token id to what is wrong with its verdict or certificate.
        faults: what is wrong with the run as a whole, one line each.
        undecided: tokens without a verdict, which there is nothing to prove about.
        not_asked: tokens that the scan was not asked about.
    """

    proved: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    undecided: int = 0
    not_asked: int = 0

    @property
    def ok(self) -> bool:
        """Whether every verdict was proved again."""
        return not self.failed and not self.faults

    @property
    def total(self) -> int:
        """Verdicts proved again."""
        return sum(self.proved.values())


def verify_run(
    run: RunFolder,
    problem: ArgmaxProblem,
    *,
    exact: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> VerifyReport:
    """Prove every verdict of a run again, at the evidence it claims (or `exact`).

    Args:
        run: a finished run.
        problem: the argmax problem of the model, loaded afresh.
        exact: ask for exact evidence everywhere.
        progress: called with numbers of tokens finished.

    Raises:
        BadInput: the run is of another model or domain, or its tables have the wrong length.
    """
    return _verify(Verdicts(run.tables, Manifest(), at=run.path), run.manifest, problem, exact, progress)


def verify_verdicts(verdicts: Verdicts, problem: ArgmaxProblem, *, exact: bool = False) -> VerifyReport:
    """The same for verdicts, wherever they are."""
    return _verify(verdicts, verdicts.manifest.record(), problem, exact, lambda _: None)


def _verify(
    verdicts: Verdicts,
    manifest: dict[str, Any],
    problem: ArgmaxProblem,
    exact: bool,
    progress: Callable[[int], object],
) -> VerifyReport:
    if manifest.get("fingerprint") != problem.fingerprint:
        raise BadInput(
            f"{verdicts.at}: this run is of another model: its fingerprint is "
            f"{str(manifest.get('fingerprint'))[:12]}…, the model's is {problem.fingerprint[:12]}…"
        )
    if domain_words(manifest) != problem.domain.describe():
        raise BadInput(f"{verdicts.at}: this run is over {manifest.get('domain')}, not {problem.domain.describe()}")
    return _Verifier(verdicts, manifest, problem, exact, progress).run_all()


class Checked(NamedTuple):
    """A point of a token and what float arithmetic says of it.

    Attributes:
        row: of the merged problem.
        point: `(d,)`.
        lower: proved bound on the margin there, logits.
        runner_up: the row that comes closest.
        logit: the token's own one, and how far two computations of it may lie apart.
    """

    row: int
    point: Float[Tensor, " d"]
    lower: float
    runner_up: int
    logit: tuple[float, float]


class _Verifier:
    def __init__(
        self,
        verdicts: Verdicts,
        manifest: dict[str, Any],
        problem: ArgmaxProblem,
        exact: bool,
        progress: Callable[[int], object],
    ) -> None:
        self.full, self.exact, self.progress, self.manifest = problem, exact, progress, manifest
        self.verdicts, table, at = verdicts, verdicts.table, verdicts.at
        self.column = {name: table.column(name).to_pylist() for name in table.column_names}
        if self.column["token_id"] != list(range(problem.v)):
            raise BadInput(f"{at}/verdicts.parquet: its token ids are not 0 … {problem.v - 1}; scan again")
        self.points = verdicts.tables.witnesses
        self.hulls = _grouped(f"{at}/hull_weights.parquet", verdicts.tables.hull_weights)
        self.bounds = _grouped(f"{at}/margin_weights.parquet", verdicts.tables.margin_weights)
        self.inside = verdicts.tables.inside
        self.duals = {} if self.inside is None else self.inside.by_token
        # Runs of earlier versions do not know which tokens are nearly never.
        self.resolved = "nearly_never" in (self.manifest.get("totals") or {})
        self.nearly = self.column["nearly_never"]
        self.expected = _finest_formats(table)
        self.closest: list[int] = []  # unspeakable tokens with a lower margin
        self.along: list[tuple[int, Evidence]] = []  # own-direction tokens whose witness lies elsewhere
        self.report = VerifyReport()
        self.errors: dict[int, tuple[Tensor, float]] = {}
        # Equal rows are found anew. The rest is proved on the problem with one row for each class.
        self.merged = merge_equal_rows(problem)
        self.first_of, self.token_of, self.row_of = self.merged.first_of, self.merged.token_of, self.merged.row_of
        self.class_size, self.problem = self.merged.size, self.merged.problem

    def run_all(self) -> VerifyReport:
        winners: list[int] = []
        insiders: list[int] = []
        for token, verdict in enumerate(self.column["verdict"]):
            if verdict is None:
                self.report.not_asked += 1
            elif verdict not in VERDICT_NAMES:
                self._fail(token, f"unknown verdict {verdict!r}")
            elif verdict == "undecided":
                self.report.undecided += 1
                if self.column["reason"][token] is None:
                    self._fail(token, "it is undecided without a reason")
                elif self.column["own_direction"][token]:
                    self._fail(token, "it is recorded as own-direction, yet as undecided")
            elif self.column["evidence"][token] not in EVIDENCE_NAMES:
                self._fail(token, f"unknown evidence {self.column['evidence'][token]!r}")
            elif verdict == "unspeakable" and int(self.first_of[token]) in self.duals:
                insiders.append(token)
            elif verdict == "unspeakable":
                self._unspeakable(token)
                self.progress(1)
            elif self._may_win(token, verdict):
                winners.append(token)
        self._insiders(insiders)
        self._points(winners, self._judge_winner)
        self._along_rows()
        self._points(self.closest, self._judge_closest)
        self._upper_ends()
        self._further_claims()
        self._ceilings()
        for token in self.hulls.keys() - {t for t, v in enumerate(self.column["verdict"]) if v == "unspeakable"}:
            self._fail(token, "hull weights are stored for a token that is not unspeakable")
        for token in self.duals.keys() - {int(self.first_of[token]) for token in insiders}:
            self._fail(token, "a dual point is stored for a token that is not unspeakable")
        self._counts()
        return self.report

    def _further_claims(self) -> None:
        """Claims of the kind that only winners, or only nearly-never tokens, may have."""
        for token, verdict in enumerate(self.column["verdict"]):
            if self.nearly[token] is not None and verdict != "speakable":
                self._fail(token, f"it is recorded as nearly never, yet as {verdict or 'not asked for'}")
            elif self.column["winning_logit"][token] is not None and verdict not in ("speakable", "tied"):
                self._fail(token, f"it has a winning logit, yet is recorded as {verdict or 'not asked for'}")

    def _upper_ends(self) -> None:
        """Hold every upper margin against its weights; those of unspeakable tokens may be proved by their hull."""
        upper = [
            None if verdict in (None, "tied") or (verdict == "unspeakable" and token not in self.bounds) else bound
            for token, (verdict, bound) in enumerate(
                zip(self.column["verdict"], self.column["margin_upper"], strict=True)
            )
        ]
        for token in self.bounds:
            if not 0 <= token < self.full.v or self.column["verdict"][token] in (None, "tied"):
                self._fail(token, "weights against its margin are stored for a token that may have none")
        certified = self.manifest.get("margins_certified") is True
        for token, fault in upper_faults(self.full, upper, self.bounds, all_certified=certified).items():
            self._fail(token, fault)

    def _ceilings(self) -> None:
        """Prove the ceilings and the silencers again, where the run has them."""
        settings, ceilings = self.manifest.get("settings"), self.verdicts.tables.ceilings
        wanted = isinstance(settings, dict) and settings.get("ceilings") is not None
        if wanted != (ceilings is not None):
            self.report.faults.append(
                f"manifest.json: ceilings were {'' if wanted else 'not '}asked for, yet ceilings.parquet is "
                f"{'missing' if wanted else 'there'}"
            )
        elif ceilings is not None:
            scale, asked = recorded_scale(self.manifest), np.array([v is not None for v in self.column["verdict"]])
            margins = self.verdicts.margin_lower
            for token, why in ceiling_faults(self.full, self.merged, ceilings, asked, margins, scale):
                self._fail(token, why)
        self._served()
        few = self.verdicts.tables.few_blockers
        if few is not None:
            for token, why in few_blockers_faults(self.full, self.verdicts.table, few):
                self._fail(token, why)
        silencers = self.verdicts.tables.silencers
        if silencers is not None:
            for token, why in silencer_faults(self.full, self.verdicts.table, silencers):
                self._fail(token, why)

    def _served(self) -> None:
        """Prove again what servers return, where the run says it."""
        settings, served = self.manifest.get("settings"), self.verdicts.tables.served
        wanted = isinstance(settings, dict) and bool(settings.get("arithmetic"))
        if wanted != (served is not None):
            self.report.faults.append(
                f"manifest.json: arithmetic was {'' if wanted else 'not '}asked about, yet served.parquet is "
                f"{'missing' if wanted else 'there'}"
            )
        elif served is not None and isinstance(settings, dict):
            asked, head = np.array([v is not None for v in self.column["verdict"]]), self.manifest.get("head")
            if isinstance(head, dict) and (head.get("logit_scale", 1) != 1 or head.get("softcap") is not None):
                self.report.faults.append(
                    "manifest.json: its head scales or caps logits: nothing is proved of servers"
                )
            for token, why in served_faults(self.full, served, asked, settings):
                self._fail(token, why)

    def _counts(self) -> None:
        """Hold the counts that the manifest gives against the table."""
        asked = self.manifest.get("asked")
        count = asked.get("count") if isinstance(asked, dict) else None
        answered = self.full.v - self.report.not_asked
        if count != answered:
            self.report.faults.append(f"manifest.json: {count} tokens were asked for, but {answered} have a verdict")
        expected = msgspec.to_builtins(self.verdicts.totals)
        if not self.resolved:
            del expected["nearly_never"]
            if any(value is not None for name in LATER_COLUMNS for value in self.column[name]):
                self.report.faults.append(
                    "manifest.json: its totals do not count the nearly-never tokens of verdicts.parquet"
                )
        if self.manifest.get("totals") != expected:
            self.report.faults.append("manifest.json: its totals are not those of verdicts.parquet")

    # --- unspeakable ---

    def _unspeakable(self, token: int) -> None:
        rows, weights = self.hulls.get(token, (np.zeros(0, dtype=np.int64), np.zeros(0)))
        fault = weights_fault(self.full, token, rows, weights)
        if fault is not None:
            self._fail(token, fault)
            return
        if (self.first_of[rows] == self.first_of[token]).any():
            self._fail(token, "a row equal to the token's own is among its blockers")
            return
        if self._said_to_win(token):
            return
        evidence = self._claimed(token)
        bound = hull_upper_bound(self.full, token, rows, weights)
        recorded = self.column["margin_upper"][token]
        if self.full.weight_error is not None and (evidence is Evidence.EXACT or not bound < 0):
            self._fail(token, _ONLY_ROUNDED)
        elif bound < 0:
            # Rounded in another order, the bound may differ by as much as was added to it for rounding. An exact
            # proof may have been recorded as what it shows: that the margin is not above 0.
            slack = 1e-6 * abs(bound) + self._bound_rounding(token, rows, weights, bound)
            exactly = evidence is Evidence.EXACT
            if recorded is None or not (
                (token in self.bounds and recorded <= 0)
                or abs(recorded - bound) <= slack
                or (exactly and recorded == 0)
            ):
                self._fail(token, f"its recorded margin is {recorded}, but its hull weights give {bound:.9g} logits")
            elif not exactly or bound_by_weights(self.full, token, rows, weights):
                self._prove(token, evidence)
            else:
                self._fail(token, "rational arithmetic does not confirm its hull weights")
        elif bound_by_weights(self.full, token, rows, weights) or hull_membership(self.full, token, rows, weights):
            least = -math.inf if token in self.bounds else -self._bound_rounding(token, rows, weights, bound)
            if recorded is None or not least <= recorded <= 0:
                self._fail(token, f"its recorded margin is {recorded}, but its hull weights prove 0 logits")
            else:
                self._prove(token, Evidence.EXACT)
        else:
            self._fail(token, f"its hull weights only bound the margin by {bound:.6g} logits, and prove nothing")

    def _insiders(self, tokens: list[int]) -> None:
        """Tokens that lie inside the hull of the others: one spread set for all, and a dual point for each."""
        if self.inside is None or not tokens:
            return
        hull = HullRows(self.problem)
        fault = self._shared_fault(hull)
        firsts = sorted({int(self.first_of[token]) for token in tokens})
        proved: dict[int, bool] = {}
        if fault is None:
            spread = spread_set(hull, torch.from_numpy(self.row_of[self.inside.spread]))
            fault = None if spread is not None else "the shared rows of inside.safetensors are no spread set"
            for start in range(0, len(firsts) if spread is not None else 0, _INSIDERS):
                part = firsts[start : start + _INSIDERS]
                duals = torch.from_numpy(np.stack([self.duals[first] for first in part]))
                rows = torch.from_numpy(self.row_of[part])
                assert spread is not None
                proved.update(zip(part, inside_hull(hull, spread, rows, duals).tolist(), strict=True))
                self.progress(len(part))
        for token in tokens:
            self._insider(token, fault, proved.get(int(self.first_of[token]), False))

    def _shared_fault(self, hull: HullRows) -> str | None:
        """What is wrong with the shared certificate, or None."""
        assert self.inside is not None
        spread, v = self.inside.spread, self.full.v
        if len(spread) == 0 or not 0 <= int(spread.min()) <= int(spread.max()) < v:
            return "the shared rows of inside.safetensors are not all rows of the head"
        if self.inside.duals.shape[1] != hull.e + (0 if self.full.zero_offset else 1):
            return "the dual points of inside.safetensors have another number of coordinates"
        return None

    def _insider(self, token: int, fault: str | None, proved: bool) -> None:
        evidence, rows = self._claimed(token), self.hulls.get(token, (np.zeros(0, dtype=np.int64), np.zeros(0)))[0]
        if fault is not None:
            self._fail(token, fault)
        elif evidence is Evidence.EXACT:
            self._fail(token, "its row is proved inside the hull in floating point only; scan with --exact for more")
        elif self._said_to_win(token):
            return
        elif self.column["margin_upper"][token] != 0:
            recorded = self.column["margin_upper"][token]
            self._fail(token, f"its recorded margin is {recorded}, but its row inside the hull proves 0 logits")
        elif len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.full.v:
            self._fail(token, "a hull weight names a row that does not exist")
        elif not proved:
            self._fail(token, "its dual point does not prove that its row lies inside the hull of the others")
        else:
            self._prove(token, evidence)

    def _said_to_win(self, token: int) -> bool:
        """Whether an unspeakable token is recorded with what only winners have, which is a failure."""
        lower = self.column["margin_lower"][token]
        won = self.column["own_direction"][token] or not (lower is None or lower <= 0)
        if won:
            self._fail(token, "it is unspeakable, yet recorded as own-direction or with a lower margin above 0")
        elif lower is not None and not (self.full.cone and lower == 0):  # at z = 0 all logits are equal
            self.closest.append(token)
        return bool(won)

    def _bound_rounding(
        self, token: int, rows: Int[np.ndarray, " k"], weights: Float[np.ndarray, " k"], bound: float
    ) -> float:
        """By how much the bound of these weights may differ where it was rounded in another order, logits."""
        plain = hull_upper_bound(self.full, token, rows, weights, rigorous=False)
        return 2 * (bound - plain) if math.isfinite(bound) else 0.0

    # --- speakable and tied ---

    def _may_win(self, token: int, verdict: str) -> bool:
        """Check what needs no arithmetic."""
        alone = self.class_size[token] == 1
        if verdict == "speakable" and not alone:
            self._fail(token, f"its row equals that of token {self._equal_to(token)}: it can never win alone")
        elif verdict == "tied" and alone:
            self._fail(token, "no other row equals its own, so it is not tied")
        elif verdict == "tied" and self.column["argmax_id"][token] != self.first_of[token]:
            self._fail(token, f"argmax returns {self.first_of[token]}, not {self.column['argmax_id'][token]}")
        elif verdict == "tied" and len(self.token_of) == 1:
            self._prove(token, Evidence.EXACT)
        else:
            return True
        return False

    def _equal_to(self, token: int) -> int:
        others = np.nonzero(self.first_of == self.first_of[token])[0]
        return int(others[others != token][0])

    def _points(self, tokens: list[int], judge: Callable[[int, Checked], None]) -> None:
        """Make the points of tokens anew, bound the margins there, and hand each to its judge."""
        certificates, usable = self.certificates, []
        for token in tokens:
            kind, row = self.column["witness"][token], int(self.row_of[token])
            known = kind in RECIPES or (kind == FROM_WEIGHTS and row in certificates.weights)
            if known or (kind == STORED and is_usable(certificates.stored.get(row), self.problem.d)):
                usable.append(token)
            else:
                whose = "witness" if self.column["verdict"][token] != "unspeakable" else "lower margin's witness"
                how = "missing" if row not in certificates.stored else "not usable"
                self._fail(token, f"its {whose} is {how}")
        kinds, rows = [self.column["witness"][token] for token in usable], self.row_of[usable]
        seen: set[int] = set()
        for places, points in points_by_kind(self.problem, kinds, rows, certificates, block=_BLOCK):
            there = torch.isfinite(points).all(dim=1)
            mine = [usable[at] for at, fine in zip(places, there.tolist(), strict=True) if fine]
            seen.update(mine)
            if mine:
                self._check_points(mine, torch.from_numpy(self.row_of[mine]), points[there], judge)
        for token in usable:
            if token not in seen:
                self._fail(token, "its witness lies outside the domain or is not finite")

    @cached_property
    def certificates(self) -> Certificates:
        """What witnesses are made of, by row of the merged problem."""
        return by_row(self.merged, self.points, {**self.hulls, **self.bounds})

    def _check_points(
        self,
        tokens: list[int],
        rows: Int[Tensor, " n"],
        points: Float[Tensor, "n d"],
        judge: Callable[[int, Checked], None],
    ) -> None:
        """Bound margins at points: in float32, and in float64 if that is close or exactness asked for."""
        check = check_witnesses(self.problem, rows, points.to(torch.float32))
        lower, runner_up = check.lower.clone(), check.runner_up.clone()
        exact = torch.tensor([self._claimed(token) is Evidence.EXACT for token in tokens])
        again = exact | ~(lower > 0) | (points.dtype != torch.float32)
        index = torch.nonzero(again).flatten()
        if len(index):
            wide = check_witnesses(self.problem, rows[index], points[index].to(torch.float64), dtype=torch.float64)
            lower[index], runner_up[index] = wide.lower, wide.runner_up
        anew = self.column["witness"][tokens[0]] != STORED
        logit = winning_logits(self.problem, rows, points).tolist()
        room = winning_logit_room(self.problem, rows, points, recipe=anew).tolist()
        for i, token in enumerate(tokens):
            judge(token, Checked(int(rows[i]), points[i], float(lower[i]), int(runner_up[i]), (logit[i], room[i])))
            if self.column["verdict"][token] != "unspeakable":
                self.progress(1)

    def _judge_closest(self, token: int, at: Checked) -> None:
        """The lower margin of an unspeakable token: what it reaches at the point where it comes closest."""
        recorded = self.column["margin_lower"][token]
        if not np.isfinite(at.lower):
            self._fail(token, "its witness lies outside the domain or is not finite")
        elif not self._agrees(recorded, min(at.lower, 0.0), at.point, at.row, at.runner_up):
            self._fail(token, f"its recorded margin is {recorded}, but its witness gives {at.lower:.9g} logits")
        elif not self.column["margin_upper"][token] >= recorded:
            upper = self.column["margin_upper"][token]
            self._fail(token, f"its recorded margin is at least {recorded}, yet at most {upper} logits")

    def _judge_winner(self, token: int, at: Checked) -> None:
        """The witness of a speakable or tied token, in rational arithmetic where float64 is close."""
        row, point, lower, runner_up, logit = at
        evidence = self._claimed(token)
        if not np.isfinite(lower):
            self._fail(token, "its witness lies outside the domain or is not finite")
            return
        if evidence is Evidence.EXACT or not lower > 0:
            if self.problem.weight_error is not None:
                self._fail(token, _ONLY_ROUNDED)
                return
            if not beats_exactly(self.problem, row, point, lower, runner_up):
                self._fail(token, f"token {self._beaten_by(row, point)} is at least as high at its witness")
                return
            evidence = Evidence.EXACT
        recorded, upper = self.column["margin_lower"][token], self.column["margin_upper"][token]
        if self.column["verdict"][token] == "tied":
            if not recorded == upper == 0:
                self._fail(token, f"its recorded margin is {recorded} to {upper}, but a tied token's is 0 logits")
                return
        elif recorded is None or not self._agrees(recorded, max(lower, 0.0), point, row, runner_up):
            self._fail(token, f"its recorded margin is {recorded}, but its witness gives {lower:.9g} logits")
            return
        elif upper is not None and not upper >= recorded:
            self._fail(token, f"its recorded margin is at least {recorded}, yet at most {upper} logits")
            return
        fault = self._resolution_fault(token, *logit)
        if fault is not None:
            self._fail(token, fault)
            return
        own = bool(self.column["own_direction"][token])
        by_own_row = self.column["witness"][token] == "own-row"
        if by_own_row and not own:
            self._fail(token, "it wins at its own row, yet is not recorded as own-direction")
        elif by_own_row or not own or lies_along_row(self.problem, row, point):
            self._prove(token, evidence)
        else:
            self.along.append((token, evidence))

    def _along_rows(self) -> None:
        """Look whether own-direction tokens with another witness win along their rows as well."""
        rows = torch.from_numpy(self.row_of[[token for token, _ in self.along]])
        won = win_along_rows(self.problem, rows).tolist() if self.along else []
        for (token, evidence), wins in zip(self.along, won, strict=True):
            if wins:
                self._prove(token, evidence)
            else:
                self._fail(
                    token, "it is recorded as own-direction, but was not seen to win at a multiple of its own row"
                )

    def _resolution_fault(self, token: int, logit: float, room: float) -> str | None:
        """What is wrong with the winning logit of a token, or with its being nearly never or not."""
        recorded, nearly, expected = self.column["winning_logit"][token], self.nearly[token], self.expected[token]
        if not self.resolved:
            return None
        if recorded is None or not abs(recorded - logit) <= room:
            return f"its recorded winning logit is {recorded}, but at its witness it is {logit:.9g}"
        if self.column["verdict"][token] == "tied":
            return None
        if nearly != expected:
            return f"it is recorded as nearly never in {nearly}, but its margin and its logit say {expected}"
        if nearly is None:
            return None
        return None if token in self.bounds else "no weights are stored that prove it nearly never"

    def _agrees(self, recorded: float, lower: float, point: Float[Tensor, " d"], row: int, runner_up: int) -> bool:
        """Whether two lower bounds on the margin at one point differ by rounding alone.

        None exceeds the true margin, so none exceeds another by more than the errors of the two logits that the other
        one compares. How far it may lie below depends on the row that was closest where it was computed.
        """
        # Points of one block differ by up to 2 in norm, and share its error bounds.
        size = math.ceil(math.log2(max(float(point.double().norm()), 1e-300))) + 1
        if size not in self.errors:
            narrow, wide = (logit_error(self.problem, 2.0**size, bits) for bits in (torch.float32, torch.float64))
            errors = torch.where(torch.isfinite(narrow), narrow, wide)
            self.errors[size] = errors, float(errors.max())
        errors, largest = self.errors[size]
        return -4 * largest <= recorded - lower <= 2 * float(errors[row] + errors[runner_up])

    def _beaten_by(self, row: int, point: Float[Tensor, " d"]) -> int:
        unbeaten = first_unbeaten(self.problem, row, point, close_rivals(self.problem, row, point))
        return -1 if unbeaten is None else int(self.token_of[unbeaten])

    # --- record ---

    def _claimed(self, token: int) -> Evidence:
        return Evidence.EXACT if self.exact else Evidence(self.column["evidence"][token])

    def _prove(self, token: int, evidence: Evidence) -> None:
        self.report.proved[self.column["verdict"][token], str(evidence)] += 1

    def _fail(self, token: int, reason: str) -> None:
        self.report.failed.setdefault(token, reason)


def _finest_formats(table: pa.Table) -> list[str | None]:
    """For every token the format in which the recorded margin and logit make it nearly never."""
    upper, logit = (pc.fill_null(table.column(name), np.nan).to_numpy() for name in ("margin_upper", "winning_logit"))
    return [FORMAT_NAMES[code] if code >= 0 else None for code in finest_format(upper, logit).tolist()]


def _grouped(file: str, table: pa.Table | None) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Hull weights by token, from a table of them; none where there is no table."""
    if table is None:
        return {}
    columns = [table.column(name) for name in ("token_id", "row_id", "weight")]
    if any(column.null_count for column in columns):
        raise BadInput(f"{file}: holds nulls; the run is damaged, scan again")
    tokens, rows, weights = (column.to_numpy() for column in columns)
    order = np.argsort(tokens, kind="stable")
    tokens, rows, weights = tokens[order], rows[order].astype(np.int64), weights[order]
    cuts = np.nonzero(np.diff(tokens))[0] + 1
    keys = tokens[np.concatenate([[0], cuts])].tolist() if len(tokens) else []
    return {int(key): (r, w) for key, r, w in zip(keys, np.split(rows, cuts), np.split(weights, cuts), strict=False)}
