"""Each thing that `verify_run` looks at, by itself: what it counts, what it refuses, how much room rounding has."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from reach_command import (
    change_hull,
    change_manifest,
    change_verdict,
    columns_of,
    hulls_of,
    manifest_of,
    reach,
    save_head,
)
from safetensors.numpy import load_file, save_file

from reach.heads.bare import load_bare_head
from reach.runs.folder import RunFolder
from reach.runs.schema import HULL_WEIGHTS
from reach.verify import VerifyReport, verify_run, verify_verdicts
from solvers.checks.witness import check_witnesses
from solvers.errors import BadInput

CORNERS = [list(corner) for corner in itertools.product((-1.0, 1.0), repeat=3)]
INNER = [[0, 0, 0], [0.5, 0.25, -0.5], [0.25, 0.25, 0.25], [0.25, 0.25, 0.25]]
OUTER = [[1.25, 0, 0], [0.75, 0.75, 1.015625], [0.75, 0.75, 1.015625]]
FREE, EQUAL_INNER, TIED = [*CORNERS, *INNER, *OUTER], (10, 11), (13, 14)
"""All of R³: corners 0–7, inner rows 8–11 (the last two equal), outer rows 12–14 (the last two equal)."""


def scanned(folder: Path, rows: Any, domain: str | None, *options: object, **more: Any) -> Path:
    head = save_head(folder / "head.npz", rows, **more)
    chosen = [] if domain is None else ["--domain", domain]
    quietly = ["--quiet", "--no-report", "--jobs", "1"]
    outcome = reach("scan", "--head", head, *chosen, "--out", folder / "run", *quietly, *options)
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((24, 4)) * rng.uniform(0.5, 1.5, (24, 1))
    norm = {"gamma": rng.uniform(0.5, 1.5, 4), "b": rng.standard_normal(24)}
    new = tmp_path_factory.mktemp
    return {
        "free": scanned(new("free"), FREE, "free"),
        "normed": scanned(new("normed"), rows, None, **norm),
        "some": scanned(new("some"), FREE, "free", "--tokens", "0,1,2,8,12"),
        "equal": scanned(new("equal"), [[1, 2], [1, 2], [1, 2]], "ball:4"),
        # Over ‖z‖ < 2 row 0 leads by at most 2·1 − 2: it just touches.
        "touching": scanned(new("touching"), [[1, 0], [0, 0], [0, 3]], "ball:2", b=[-2, 0, 0]),
        # The same, less 2⁻⁴⁰.
        "below": scanned(new("below"), [[1, 0], [0, 0], [0, 3]], "ball:2", b=[-2 - 2.0**-40, 0, 0], dtype=np.float64),
        # At its own row token 0 ties with token 1.
        "tie": scanned(new("tie"), [[1, 0], [1, 2.0**-40], [-1, 0]], "free", dtype=np.float64),
        "sizes": scanned(new("sizes"), [[0, 1], [1000, 0], [-1000, -1]], "free"),
        "huge": scanned(new("huge"), [[1e38, 0], [0, 1e38], [-1e38, -1e38]], "ball:1", dtype=np.float64),
        "offsets": scanned(new("offsets"), FREE, "free", b=[0] * 8 + [-0.5] * 4 + [0] * 3),
    }


class Case:
    """A copy of a run, to be changed, and its problem."""

    def __init__(self, base: Path, to: Path, *, error: float | None = None) -> None:
        self.path = Path(shutil.copytree(base / "run", to / base.name))
        domain = manifest_of(self.path)["loading"]["domain"]
        self.problem = load_bare_head(base / "head.npz", domain).problem()
        if error is not None:  # as if the rows had been computed, each up to this distance
            self.problem.weight_error = torch.full((self.problem.v,), error, dtype=torch.float64)

    def report(self, **options: Any) -> VerifyReport:
        return verify_run(RunFolder.open(self.path), self.problem, **options)

    def refused(self, token: int, *words: str) -> None:
        """Only this token fails, and all words are in the reason."""
        failed = self.report().failed
        assert list(failed) == [token], failed
        assert all(word in failed[token] for word in words), failed[token]

    def tokens(self, **wanted: object) -> list[int]:
        columns = columns_of(self.path)
        return [t for t in columns["token_id"] if all(columns[name][t] == value for name, value in wanted.items())]


@pytest.fixture
def free(bases: dict[str, Path], tmp_path: Path) -> Case:
    return Case(bases["free"], tmp_path)


@pytest.fixture
def normed(bases: dict[str, Path], tmp_path: Path) -> Case:
    return Case(bases["normed"], tmp_path)


@pytest.fixture
def some(bases: dict[str, Path], tmp_path: Path) -> Case:
    return Case(bases["some"], tmp_path)


# --- what is counted -----------------------------------------------------------------------------------------------


def test_a_report_is_good_only_without_failures_and_faults() -> None:
    assert VerifyReport().ok
    assert not VerifyReport(failed={3: "it is wrong"}).ok
    assert not VerifyReport(faults=["the run is wrong"]).ok


@pytest.mark.parametrize("name", ["free", "normed", "some", "equal", "touching", "below", "offsets"])
@pytest.mark.parametrize("exact", [False, True])
def test_an_untouched_run_is_proved_and_counted(
    bases: dict[str, Path], tmp_path: Path, name: str, exact: bool
) -> None:
    case = Case(bases[name], tmp_path)
    columns = columns_of(case.path)
    seen: list[int] = []
    report = case.report(exact=exact, progress=seen.append)
    assert report.ok, (report.failed, report.faults)
    claimed = list(zip(columns["verdict"], columns["evidence"], strict=True))
    for (verdict, evidence), count in report.proved.items():
        expected = [pair for pair in claimed if pair[0] == verdict and (exact or pair[1] == evidence)]
        assert count == len(expected)
        assert not exact or evidence == "exact"
    given = len([verdict for verdict in columns["verdict"] if verdict is not None])
    assert report.total == given
    assert report.not_asked == len(claimed) - given
    assert report.undecided == 0
    assert sum(seen) == (0 if name == "equal" else given)


def test_the_tables_must_be_of_this_model_and_domain(free: Case, normed: Case) -> None:
    with pytest.raises(BadInput, match="this run is of another model"):
        verify_run(RunFolder.open(free.path), normed.problem)
    change_manifest(free.path, domain="ball:2")
    with pytest.raises(BadInput, match="this run is over ball:2, not free"):
        free.report()


@pytest.mark.parametrize("asked", [None, [15], {}, {"count": 14}, {"count": 16}])
def test_the_number_of_tokens_asked_for_is_checked(free: Case, asked: object) -> None:
    change_manifest(free.path, asked=asked)
    report = free.report()
    assert not report.failed
    given = asked.get("count") if isinstance(asked, dict) else None
    assert report.faults == [f"manifest.json: {given} tokens were asked for, but 15 have a verdict"]


def test_totals_that_are_missing_or_wrong_are_named(free: Case) -> None:
    wrong = "manifest.json: its totals are not those of verdicts.parquet"
    uncounted = "manifest.json: its totals do not count the nearly-never tokens of verdicts.parquet"
    sums = manifest_of(free.path)["totals"]
    for totals, faults in ((None, [uncounted, wrong]), ({}, [uncounted, wrong]), (sums | {"tokens": 14}, [wrong])):
        change_manifest(free.path, totals=totals)
        assert free.report().faults == faults
    older = {name: value for name, value in sums.items() if name != "nearly_never"}
    change_manifest(free.path, totals=older)
    assert free.report().faults == [uncounted]
    for token in free.tokens(verdict="speakable") + free.tokens(verdict="tied"):
        change_verdict(free.path, token, winning_logit=None)
    assert free.report().ok  # of a version that did not know winning logits, and says nothing of them


def test_undecided_tokens_and_unknown_verdicts(free: Case) -> None:
    for token in (0, 1):
        change_verdict(free.path, token, verdict="undecided", reason="too hard", own_direction=False)
    for token in (2, 3):
        change_verdict(free.path, token, verdict="undecided", reason=None)
    change_verdict(free.path, 4, verdict="undecided", reason="too hard", own_direction=True)
    for token in (5, 6):
        change_verdict(free.path, token, verdict="certain")
    report = free.report()
    assert report.undecided == 5
    assert report.failed[2] == report.failed[3] == "it is undecided without a reason"
    assert report.failed[4] == "it is recorded as own-direction, yet as undecided"
    assert report.failed[5] == report.failed[6] == "unknown verdict 'certain'"
    assert report.total == 15 - 7
    # The winning logits are left standing, which only a winner may have.
    assert report.failed[0] == report.failed[1] == "it has a winning logit, yet is recorded as undecided"


def test_claims_about_tokens_that_nobody_asked_for(some: Case) -> None:
    change_verdict(some.path, 3, winning_logit=1.0)
    change_verdict(some.path, 4, nearly_never="float32")
    weights = [{"token_id": 5, "row_id": 6, "weight": 1.0}]
    weights += pq.read_table(some.path / "margin_weights.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist(weights, schema=HULL_WEIGHTS), some.path / "margin_weights.parquet")
    failed = some.report().failed
    assert failed[3] == "it has a winning logit, yet is recorded as not asked for"
    assert failed[4] == "it is recorded as nearly never, yet as not asked for"
    assert failed[5] == "weights against its margin are stored for a token that may have none"
    assert len(failed) == 3


def test_verdicts_in_memory_are_held_to_the_same(free: Case) -> None:
    assert verify_verdicts(RunFolder.open(free.path).verdicts(), free.problem).total == len(FREE)
    change_hull(free.path, 8, {})
    report = verify_verdicts(RunFolder.open(free.path).verdicts(), free.problem)
    assert list(report.failed) == [8]


def test_tokens_in_another_order_or_twice_are_no_table(free: Case) -> None:
    for token, other in ((3, 2), (14, 15)):
        change_verdict(free.path, token, token_id=other)
        with pytest.raises(BadInput, match=r"verdicts\.parquet: its token ids are not 0 … 14; scan again"):
            free.report()
        change_verdict(free.path, token, token_id=token)
    assert free.report().ok


# --- unspeakable ---------------------------------------------------------------------------------------------------


def test_unspeakable_without_weights(free: Case) -> None:
    change_hull(free.path, 8, {})
    free.refused(8, "no hull weights are stored")


@pytest.mark.parametrize("column", ["token_id", "row_id", "weight"])
def test_weights_with_holes_are_damage(free: Case, column: str) -> None:
    rows = pq.read_table(free.path / "hull_weights.parquet").to_pylist()
    rows[1][column] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=HULL_WEIGHTS), free.path / "hull_weights.parquet")
    with pytest.raises(BadInput, match="holds nulls; the run is damaged"):
        free.report()


def test_an_equal_row_among_other_blockers(free: Case) -> None:
    """Half of the proof of an inner row, and its twin for the other half: all of it true, and circular."""
    first, twin = EQUAL_INNER
    weights = {row: weight / 2 for row, weight in hulls_of(free.path)[first].items()}
    change_hull(free.path, first, weights | {twin: 0.5})
    free.refused(first, "a row equal to the token's own is among its blockers")


@pytest.mark.parametrize("change", [{"own_direction": True}, {"margin_lower": 1e-9}, {"margin_lower": math.nan}])
def test_what_only_a_winner_has(normed: Case, change: dict[str, Any]) -> None:
    token = normed.tokens(verdict="unspeakable")[0]
    change_verdict(normed.path, token, **change)
    normed.refused(token, "it is unspeakable, yet recorded as own-direction or with a lower margin above 0")


@pytest.mark.parametrize("lower", [0.0, -1.0])
def test_how_close_it_comes_needs_a_point(normed: Case, lower: float) -> None:
    token = normed.tokens(verdict="unspeakable")[0]
    change_verdict(normed.path, token, margin_lower=lower)
    normed.refused(token, "its lower margin's witness is missing")


def test_an_upper_margin_may_be_off_by_rounding_alone(normed: Case) -> None:
    token = normed.tokens(verdict="unspeakable")[0]
    bound = columns_of(normed.path)["margin_upper"][token]
    assert bound < 0
    for factor, good in ((1 + 5e-7, True), (1 - 5e-7, True), (1 + 3e-6, False), (1 - 3e-6, False)):
        change_verdict(normed.path, token, margin_upper=bound * factor)
        assert normed.report().ok is good
    for wrong in (None, math.nan, 0.0, -bound):
        change_verdict(normed.path, token, margin_upper=wrong)
        normed.refused(token, "but its hull weights give")


def test_a_margin_just_below_zero_may_be_off_by_the_rounding_of_its_bound(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    case = Case(bases["below"], tmp_path)
    bound = columns_of(case.path)["margin_upper"][0]
    rounding = bound + 2.0**-40
    assert 0 < rounding < 1e-13 < -bound
    for change, good in ((rounding, True), (-rounding, True), (8 * rounding, False), (-8 * rounding, False)):
        change_verdict(case.path, 0, margin_upper=bound + change)
        assert case.report().ok is good


def test_an_exact_proof_may_be_recorded_as_zero(normed: Case) -> None:
    token = normed.tokens(verdict="unspeakable")[0]
    change_verdict(normed.path, token, evidence="exact", margin_upper=0.0)
    report = normed.report()
    assert not report.failed
    assert report.proved["unspeakable", "exact"] == 1
    for wrong in (None, 1e-3, -1e-3):
        change_verdict(normed.path, token, margin_upper=wrong)
        normed.refused(token, "its recorded margin is")


@pytest.mark.parametrize("exact", [False, True])
def test_membership_is_recorded_as_zero(free: Case, exact: bool) -> None:
    assert columns_of(free.path)["margin_upper"][8] == 0
    assert columns_of(free.path)["evidence"][8] == "exact"
    for value, good in ((0.0, True), (1e-300, False), (-1e-3, False), (None, False), (math.nan, False)):
        change_verdict(free.path, 8, margin_upper=value)
        report = free.report(exact=exact)
        assert (not report.failed) is good, value
        if not good:
            assert "but its hull weights prove 0 logits" in report.failed[8]


def test_membership_has_the_room_that_its_bound_took_for_rounding(free: Case) -> None:
    for value in (-1e-300, -1e-15, -1.0):
        change_verdict(free.path, 8, margin_upper=value)
        assert (value < -1e-14) == bool(free.report().failed)


def test_membership_where_no_bound_is_known_has_no_room_at_all(bases: dict[str, Path], tmp_path: Path) -> None:
    case = Case(bases["offsets"], tmp_path)
    token = case.tokens(verdict="unspeakable")[0]
    for value in (-1e-300, -0.5):
        change_verdict(case.path, token, margin_upper=value)
        case.refused(token, "but its hull weights prove 0 logits")


def test_weights_that_prove_nothing(normed: Case) -> None:
    token = normed.tokens(verdict="unspeakable")[0]
    other = normed.tokens(verdict="speakable")[0]
    change_hull(normed.path, token, {other: 1.0})
    failed = normed.report().failed[token]
    assert "only bound the margin by" in failed or "but its hull weights give" in failed


def test_a_bound_above_zero_proves_nothing(free: Case) -> None:
    change_hull(free.path, 8, {0: 1.0})
    free.refused(8, "its hull weights only bound the margin by", "and prove nothing")


# --- rows that are known only up to rounding -----------------------------------------------------------------------


def test_rounded_rows_are_proved_where_there_is_room(bases: dict[str, Path], tmp_path: Path) -> None:
    case = Case(bases["normed"], tmp_path, error=1e-13)
    assert case.report().ok
    only = "the rows are known only up to rounding, so nothing exact can be shown"
    failed = case.report(exact=True).failed
    assert len(failed) == 24
    assert set(failed.values()) == {only}
    for verdict in ("unspeakable", "speakable"):
        token = case.tokens(verdict=verdict)[0]
        change_verdict(case.path, token, evidence="exact")
        case.refused(token, only)
        change_verdict(case.path, token, evidence="rigorous")


def test_rounded_rows_are_in_no_hull(bases: dict[str, Path], tmp_path: Path) -> None:
    case = Case(bases["free"], tmp_path, error=1e-13)
    change_verdict(case.path, 8, evidence="rigorous")
    failed = case.report().failed
    only = "the rows are known only up to rounding, so nothing exact can be shown"
    assert failed[8] == failed[9] == only
    assert failed[TIED[0]] == "no other row equals its own, so it is not tied"
    # So close that float32 cannot tell, and float64 can.
    claim(case, 12, np.array([1.0, 0.25 - 2.0**-26, 0.0], dtype=np.float32))
    report = case.report()
    assert report.failed.get(12) is None
    assert report.proved["speakable", "rigorous"] == len(case.tokens(verdict="speakable"))
    # So close to a tie that only rational arithmetic could tell.
    claim(case, 12, np.array([1.0, 0.125, 0.125]))
    assert case.report().failed[12] == only


# --- speakable and tied --------------------------------------------------------------------------------------------


def test_a_tied_token_is_none_alone(free: Case) -> None:
    first, second = TIED
    change_verdict(free.path, second, verdict="speakable", argmax_id=None)
    free.refused(second, f"its row equals that of token {first}: it can never win alone")
    change_verdict(free.path, second, verdict="tied", argmax_id=second)
    free.refused(second, f"argmax returns {first}, not {second}")
    change_verdict(free.path, second, argmax_id=first)
    change_verdict(free.path, first, verdict="speakable")
    free.refused(first, f"its row equals that of token {second}")


def test_a_token_alone_is_not_tied(free: Case) -> None:
    change_verdict(free.path, 12, verdict="tied", argmax_id=12, margin_lower=0.0, margin_upper=0.0)
    free.refused(12, "no other row equals its own, so it is not tied")


@pytest.mark.parametrize("field", ["margin_lower", "margin_upper"])
@pytest.mark.parametrize("value", [1e-9, -1e-9, None])
def test_a_tied_margin_is_zero(free: Case, field: str, value: float | None) -> None:
    change_verdict(free.path, TIED[0], **{field: value})
    free.refused(TIED[0], "but a tied token's is 0 logits")


def stored_witness(case: Case, token: int, point: np.ndarray | None) -> None:
    """Give a token this stored witness, in its own precision; none takes it away."""
    folder = case.path / "witnesses"
    folder.mkdir(exist_ok=True)
    kept: dict[str, np.ndarray] = {}
    for file in folder.glob("*.safetensors"):
        for name, array in load_file(file).items():
            kept[name] = np.concatenate([kept[name], array]) if name in kept else array
        file.unlink()
    for bits in ("float32", "float64"):
        ids = kept.get(f"token_id.{bits}")
        if ids is not None:
            stay = ids != token
            kept[f"token_id.{bits}"], kept[f"point.{bits}"] = ids[stay], kept[f"point.{bits}"][stay]
    if point is not None:
        bits = str(point.dtype)
        ids, points = kept.get(f"token_id.{bits}"), kept.get(f"point.{bits}")
        mine = np.array([token], dtype=np.int64 if ids is None else ids.dtype)
        kept[f"token_id.{bits}"] = mine if ids is None else np.concatenate([ids, mine])
        if points is not None and points.shape[1:] != point.shape:
            points, kept[f"token_id.{bits}"] = None, mine
        kept[f"point.{bits}"] = point[None] if points is None else np.concatenate([points, point[None]])
    save_file({name: np.ascontiguousarray(array) for name, array in kept.items()}, folder / "0.safetensors")


def claim(case: Case, token: int, point: np.ndarray, **more: Any) -> None:
    """Record that a token wins at a stored point, with the numbers that belong to it."""
    rows, z = torch.tensor([token]), torch.from_numpy(point)[None]
    lower = float(check_witnesses(case.problem, rows, z.double(), dtype=torch.float64).lower[0])
    logit = float((case.problem.rows(rows)[0] * z[0].double()).sum() + case.problem.offset[token])
    if case.problem.cone:
        logit /= float(z[0].double().norm())
    numbers = {"margin_lower": max(lower, 0.0), "winning_logit": logit, "margin_upper": None}
    change_verdict(case.path, token, **{"witness": "stored", "own_direction": False} | numbers | more)
    stored_witness(case, token, point)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stored_witness_is_checked_in_its_own_precision(free: Case, dtype: Any) -> None:
    point = np.array([0.9, 0.1, 0.05]).astype(dtype)
    claim(free, 12, point)
    assert not free.report().failed
    claim(free, 12, -point, margin_lower=0.1)
    free.refused(12, "is at least as high at its witness")
    assert "token -1" not in free.report().failed[12]


def test_the_one_that_is_higher_is_named(free: Case) -> None:
    claim(free, 12, np.array([1.0, 1.0, 1.0]), margin_lower=0.1)
    free.refused(12, "token 7 is at least as high at its witness")
    # Rows 3, 5, 6, 7, 13 and 14 are higher here; the first of them is named.
    claim(free, 12, np.array([0.75, 0.75, 1.25]), margin_lower=0.1)
    free.refused(12, "token 3 is at least as high at its witness")


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (np.array([np.nan, 0, 0]), "outside the domain or is not finite"),
        (np.array([np.inf, 0, 0]), "outside the domain or is not finite"),
        (np.array([1.0, 0, 0, 0]), "its witness is not usable"),
        (np.array([[1.0, 0, 0]]), "its witness is not usable"),
    ],
)
def test_points_that_are_none(free: Case, point: np.ndarray, reason: str) -> None:
    change_verdict(free.path, 12, witness="stored", own_direction=False)
    for dtype in (np.float32, np.float64):
        for token in free.tokens(witness="stored"):
            if token != 12:
                change_verdict(free.path, token, witness="own-row")
        shutil.rmtree(free.path / "witnesses", ignore_errors=True)
        stored_witness(free, 12, point.astype(dtype))
        assert reason in free.report().failed[12]
    stored_witness(free, 12, None)
    assert free.report().failed[12] == "its witness is missing"
    change_verdict(free.path, 12, witness="somewhere")
    assert free.report().failed[12] == "its witness is missing"
    stored_witness(free, 12, np.array([0.9, 0.1, 0.05]))
    assert free.report().failed[12] == "its witness is not usable"


def test_points_outside_the_domain(normed: Case) -> None:
    """Also those that rounding to float32 would bring inside."""
    tokens = normed.tokens(verdict="speakable", witness="own-row")
    brought_inside = 0
    for token in tokens:
        far = normed.problem.rows(torch.tensor([token]))[0]
        far = far / far.norm() * math.sqrt(4)
        brought_inside += float((far * (1 + 1e-9)).float().double().norm()) < 2
        for factor, inside in ((1 + 1e-9, False), (1 - 1e-9, True)):
            claim(normed, token, (far * factor).numpy())
            failed = normed.report().failed.get(token, "")
            assert ("outside the domain" not in failed) is inside
    assert brought_inside > 0


def test_blocks_of_tokens_change_nothing(free: Case, normed: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reach.verify._BLOCK", 3)
    claim(free, 12, np.array([0.9, 0.1, 0.05]))
    for case in (free, normed):
        seen: list[int] = []
        report = case.report(progress=seen.append)
        assert not report.failed
        assert report.total == sum(seen) == case.problem.v
        change_verdict(case.path, case.tokens(verdict="speakable")[-1], margin_lower=1e9)
        assert len(case.report().failed) == 1


def test_a_lower_margin_may_be_off_by_rounding_alone(normed: Case) -> None:
    columns = columns_of(normed.path)
    for token in [*normed.tokens(verdict="speakable", witness="own-row")[:1], *normed.tokens(witness="stored")[:1]]:
        lower = columns["margin_lower"][token]
        for change, good in ((0.0, True), (1e-7, True), (-1e-7, True), (1e-4, False), (-1e-2, False)):
            change_verdict(normed.path, token, margin_lower=lower + change)
            assert (token not in normed.report().failed) is good, (token, change)
        for wrong in (None, math.nan, math.inf):
            change_verdict(normed.path, token, margin_lower=wrong)
            assert "but its witness gives" in normed.report().failed[token]
        change_verdict(normed.path, token, margin_lower=lower)


def test_margins_at_far_points_have_the_rounding_of_their_size(free: Case) -> None:
    far = np.array([9e5, 1e5, 3e4], dtype=np.float32)
    claim(free, 12, far)
    assert not free.report().failed
    lower = columns_of(free.path)["margin_lower"][12]
    for change, good in ((0.01, True), (-0.01, True), (10.0, False), (-100.0, False)):
        change_verdict(free.path, 12, margin_lower=lower + change)
        assert (not free.report().failed) is good, change


def test_the_rounding_of_either_row_is_allowed_for(bases: dict[str, Path], tmp_path: Path) -> None:
    """A small row against a large one, and the other way round: float32 bounds the margin by either's rounding."""
    case = Case(bases["sizes"], tmp_path)
    for token in (0, 1):
        claim(case, token, np.eye(2, dtype=np.float32)[1 - token])
    assert not case.report().failed


def test_a_witness_of_no_length(normed: Case) -> None:
    """At 0 the token with the largest offset wins."""
    token = int(normed.problem.offset.argmax())
    claim(normed, token, np.zeros(4))
    assert not normed.report().failed


def test_rows_that_float32_cannot_hold_have_the_room_of_float64(bases: dict[str, Path], tmp_path: Path) -> None:
    case = Case(bases["huge"], tmp_path)
    assert case.report().ok
    token = case.tokens(verdict="speakable")[0]
    lower = columns_of(case.path)["margin_lower"][token]
    for factor in (0.99, 1.01):
        change_verdict(case.path, token, margin_lower=lower * factor)
        case.refused(token, "but its witness gives")


def test_the_upper_margin_is_not_below_the_lower(normed: Case) -> None:
    token = normed.tokens(verdict="speakable")[0]
    lower = columns_of(normed.path)["margin_lower"][token]
    # As in runs of earlier versions, where nothing else is known of an upper margin.
    change_manifest(normed.path, margins_certified=False)
    (normed.path / "margin_weights.parquet").unlink()
    for upper, good in ((None, True), (lower, True), (lower * 2, True), (lower / 2, False), (math.nan, False)):
        change_verdict(normed.path, token, margin_upper=upper)
        report = normed.report()
        assert (token not in report.failed) is good, upper
        if not good:
            assert "its recorded margin is at least" in report.failed[token]


def test_a_winning_logit_may_be_off_by_rounding_alone(normed: Case) -> None:
    token = normed.tokens(verdict="speakable", witness="stored")[0]
    logit = columns_of(normed.path)["winning_logit"][token]
    for change, good in ((1e-15, True), (1e-9, False), (-1e-9, False)):
        change_verdict(normed.path, token, winning_logit=logit * (1 + change))
        assert (token not in normed.report().failed) is good
    for wrong in (None, math.nan):
        change_verdict(normed.path, token, winning_logit=wrong)
        normed.refused(token, "its recorded winning logit is")


def test_nearly_never_is_what_margin_and_logit_say(normed: Case) -> None:
    token = normed.tokens(verdict="speakable")[0]
    change_verdict(normed.path, token, nearly_never="bfloat16")
    normed.refused(token, "it is recorded as nearly never in bfloat16, but its margin and its logit say None")


# --- own-direction -------------------------------------------------------------------------------------------------


def test_own_direction_is_proved_or_refused(normed: Case) -> None:
    columns = columns_of(normed.path)
    mine = normed.tokens(verdict="speakable", witness="own-row")[0]
    change_verdict(normed.path, mine, own_direction=False)
    normed.refused(mine, "it wins at its own row, yet is not recorded as own-direction")
    change_verdict(normed.path, mine, own_direction=True)
    hard = normed.tokens(verdict="speakable", own_direction=False)[0]
    change_verdict(normed.path, hard, own_direction=True)
    normed.refused(hard, "was not seen to win at a multiple of its own row")
    assert columns["own_direction"][mine]


def test_own_direction_with_another_witness(free: Case) -> None:
    """A stored point beside the row is a witness as well; that the row itself wins is then proved anew."""
    claim(free, 12, np.array([0.9, 0.1, 0.05]), own_direction=True)
    assert not free.report().failed
    # A point on the row itself shows it directly.
    claim(free, 12, np.array([0.5, 0.0, 0.0]), own_direction=True)
    assert not free.report().failed
    # Row 7 is (1, 1, 1), where the outer twins are higher; it wins only beside itself.
    hard = free.tokens(verdict="speakable", own_direction=False)
    for token in hard:
        change_verdict(free.path, token, own_direction=True)
        free.refused(token, "was not seen to win at a multiple of its own row")
        change_verdict(free.path, token, own_direction=False)


def test_own_direction_up_to_the_rounding_of_a_stored_point(bases: dict[str, Path], tmp_path: Path) -> None:
    case = Case(bases["tie"], tmp_path)
    claims = {"own_direction": True, "margin_upper": columns_of(case.path)["margin_upper"][0]}
    claim(case, 0, np.array([1.0, -(2.0**-30)]), **claims)
    assert not case.report().failed
    claim(case, 0, np.array([1.0, -(2.0**-10)]), **claims)
    case.refused(0, "was not seen to win at a multiple of its own row")
