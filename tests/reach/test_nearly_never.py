"""Tokens that win by less than a number format resolves: which they are, and that nothing false is said of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reach_command import change_manifest, change_verdict, columns_of, manifest_of, reach, save_head
from safetensors.numpy import load_file

from reach.nearly_never import BFLOAT16, FLOAT32, finest_format, largest_steps, unresolved, winning_logits
from reach.runs.schema import LATER_COLUMNS, MARGIN_WEIGHTS
from reach.scanning import resolution
from reach.scanning.blocks import BlockRecord, Delta
from reach.scanning.journal import Journal
from reach.scanning.part import Part
from reach.scanning.plan import build_stages
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE, Hull, ScanState
from solvers.domains import Ball, Box, Free
from solvers.problem import ArgmaxProblem

PLANTED, ORDINARY = 12, 300


def planted_head(file: Path, *, offsets: bool) -> Path:
    """Random rows in 48 dimensions, and means of six of them that only rounding to float32 keeps off the hull."""
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((ORDINARY, 48)).astype(np.float32)
    b = rng.standard_normal(ORDINARY).astype(np.float32)
    chosen = [rng.choice(ORDINARY, 6, replace=False) for _ in range(PLANTED)]
    weights = rng.dirichlet(np.full(6, 4.0), PLANTED)
    means = [w @ rows[some].astype(np.float64) for w, some in zip(weights, chosen, strict=True)]
    # Offsets a little above the means', by less than a step of float32, so that the token wins near the middle too.
    mixed = [w @ b[some].astype(np.float64) for w, some in zip(weights, chosen, strict=True)]
    more = {"b": np.concatenate([b, np.nextafter(np.float32(mixed), np.float32(np.inf))])} if offsets else {}
    return save_head(file, np.vstack([rows, np.array(means)]), **more)


@pytest.fixture(scope="module", params=["without", "with"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over a ball, of a head without and with offsets, and beside it what the command printed."""
    folder = tmp_path_factory.mktemp("planted")
    head = planted_head(folder / "head.npz", offsets=request.param == "with")
    outcome = reach("scan", "--head", head, "--domain", "ball:4", "--out", folder / "run", "--quiet", "--no-report")
    assert outcome.code == 0
    (folder / "printed.txt").write_text(outcome.out, encoding="utf-8")
    return folder / "run"


@pytest.fixture
def run(planted: Path, tmp_path: Path) -> Path:
    """A copy of it, for changing."""
    return Path(shutil.copytree(planted, tmp_path / "run"))


# --- steps -------------------------------------------------------------------------------------------------------


@given(st.floats(-(2.0**126), 2.0**126, allow_nan=False, width=32))
def test_steps_are_the_distances_between_neighbouring_numbers(logit: float) -> None:
    size = np.float32(abs(logit))
    assert FLOAT32.step(np.array([logit]))[0] == np.float64(np.nextafter(size, np.float32(np.inf))) - np.float64(size)
    # The bits of a bfloat16 count through its numbers; the step is that of the number at or below the logit.
    bits = torch.tensor([float(size)]).view(torch.int32) >> 16
    below, above = ((bits + one).to(torch.int16).view(torch.bfloat16).double() for one in (0, 1))
    assert BFLOAT16.step(np.array([logit]))[0] == float(above - below)


def test_a_logit_that_no_number_holds_has_no_step() -> None:
    huge, nothing = 2.0**130, float("nan")
    assert FLOAT32.step(np.array([huge]))[0] == 0
    assert np.isnan(FLOAT32.step(np.array([nothing, np.inf]))).all()
    assert finest_format(np.array([1e-9, 1e-9]), np.array([huge, nothing])).tolist() == [-1, -1]


def test_bounds_decide_or_leave_open() -> None:
    # Steps at 9: 2⁻²⁰ in float32, 2⁻⁴ in bfloat16.
    lower = np.array([0.0, 2.0**-19, 0.1, 2.0**-21, 2.0**-19, np.nan])
    upper = np.array([2.0**-21, 2.0**-5, 0.2, 2.0**-19, 0.1, np.nan])
    logit = np.full(6, 9.0)
    assert finest_format(upper, logit).tolist() == [0, 1, -1, 1, -1, -1]
    assert unresolved(lower, upper, logit).tolist() == [False, False, False, True, True, True]
    assert not unresolved(lower, upper, np.full(6, np.nan)).any()


@pytest.mark.parametrize("domain", [Ball(9.0), Box(np.array([-1.0, -2.0]), np.array([3.0, 1.0])), Free()])
def test_without_offsets_the_logit_does_not_depend_on_how_far_out_the_witness_lies(domain: Ball | Box | Free) -> None:
    problem = ArgmaxProblem(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), domain)
    points = torch.tensor([[0.3, 0.4]]) * torch.tensor([[1.0], [0.01], [0.5]])
    logits = winning_logits(problem, torch.zeros(3, dtype=torch.int64), points)
    np.testing.assert_allclose(logits, logits[0], rtol=1e-6)
    # Along (0.6, 0.8): to length 3 in the ball, to second coordinate 1 in the box, to length 1 on all of R².
    expected = 5 * {Ball: 3.0, Box: 1.25, Free: 1.0}[type(domain)]
    assert logits[0] == pytest.approx(expected, rel=1e-5)
    assert (logits <= largest_steps(problem)[0] * 2.0**7).all()


# --- scans -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "expected"), [(2.0**-21, "float32"), (2.0**-10, "bfloat16"), (1.0, None)])
def test_a_known_margin_at_a_known_logit(tmp_path: Path, gap: float, expected: str | None) -> None:
    # One dimension, |z| < 1: token 0 leads by `gap` at a logit of just below 9, token 1 at just above gap − 9.
    head = save_head(tmp_path / "head.npz", [[9.0], [9.0 - gap]], dtype=np.float64)
    common = ("scan", "--head", head, "--domain", "ball:1", "--quiet", "--no-report")
    outcome = reach(*common, "--out", tmp_path / "run", "--fail-on", "nearly-never")
    columns = columns_of(tmp_path / "run")
    assert columns["verdict"] == ["speakable", "speakable"]
    assert columns["nearly_never"] == [expected, expected]
    assert columns["winning_logit"] == pytest.approx([9.0, gap - 9.0], rel=1e-5)
    assert outcome.code == (0 if expected is None else 1)
    assert reach("verify", tmp_path / "run", "--quiet").code == 0
    finer = reach(*common, "--out", tmp_path / "other", "--fail-on", "nearly-never-float32")
    assert finer.code == (1 if expected == "float32" else 0)


def test_means_of_other_rows_are_named(planted: Path) -> None:
    columns, sums = columns_of(planted), manifest_of(planted)["totals"]
    ids = range(ORDINARY, ORDINARY + PLANTED)
    mean = [t for t in ids if columns["verdict"][t] == "speakable"]
    # Rounding may have put a mean inside the hull; enough of them are outside.
    assert len(mean) >= PLANTED // 2
    assert all(columns["nearly_never"][t] == "float32" for t in mean)
    assert not any(columns["nearly_never"][:ORDINARY])
    assert sums["nearly_never"] == {"float32": len(mean), "bfloat16": len(mean), "open": 0}
    # By hand: the lead that is possible at all is below the distance to the next float32 number.
    head = np.load(planted.parent / "head.npz")
    stored = {}
    for file in (planted / "witnesses").glob("*.safetensors"):
        arrays = load_file(file)
        for bits in ("float32", "float64"):
            names = arrays.get(f"token_id.{bits}", np.zeros(0)).tolist()
            stored |= dict(zip(names, arrays.get(f"point.{bits}", ()), strict=True))
    for t in mean:
        z = stored[t].astype(np.float64)
        offset = head["b"].astype(np.float64) if "b" in head else 0.0
        z = z if "b" in head else z * (4 / np.linalg.norm(z))
        logits = head["W"].astype(np.float64) @ z + offset
        assert logits.argmax() == t
        assert columns["winning_logit"][t] == pytest.approx(logits[t], rel=1e-5)
        assert columns["margin_upper"][t] < np.spacing(np.float32(logits[t]))
    assert reach("verify", planted, "--quiet").code == 0


def test_the_terminal_names_and_counts_them(planted: Path) -> None:
    printed = (planted.parent / "printed.txt").read_text(encoding="utf-8")
    count = manifest_of(planted)["totals"]["nearly_never"]["float32"]
    assert f"{'nearly never':<12}{count:>6}   (" in printed
    assert f"{count} below one of float32" in printed
    named = [t for t in range(ORDINARY, ORDINARY + PLANTED) if f"#{t}: at most" in printed]
    assert len(named) == count


def test_json_lists_them_with_their_bounds(planted: Path, tmp_path: Path) -> None:
    head = planted.parent / "head.npz"
    outcome = reach("scan", "--head", head, "--domain", "ball:4", "--out", tmp_path / "run", "--json", "--no-report")
    found, columns = json.loads(outcome.out), columns_of(planted)
    assert found["totals"]["nearly_never"] == manifest_of(planted)["totals"]["nearly_never"]
    assert {row["token_id"] for row in found["nearly_never"]} == {
        t for t, name in enumerate(columns["nearly_never"]) if name is not None
    }
    share = [row["margin_upper"] / abs(row["winning_logit"]) for row in found["nearly_never"]]
    assert share == sorted(share)
    assert all(row["nearly_never"] == "float32" for row in found["nearly_never"])


def test_where_margins_have_no_bound_none_is_counted(tmp_path: Path) -> None:
    head = planted_head(tmp_path / "head.npz", offsets=True)
    common = ("--domain", "free", "--out", tmp_path / "run", "--quiet", "--no-report")
    outcome = reach("scan", "--head", head, *common, "--fail-on", "nearly-never")
    found = manifest_of(tmp_path / "run")["totals"]["nearly_never"]
    assert (outcome.code, found["float32"], found["bfloat16"]) == (0, 0, 0)
    assert found["open"] > 0
    assert f"not known of {found['open']} more" in outcome.out
    assert reach("verify", tmp_path / "run", "--quiet").code == 0


def test_an_unknown_condition_names_those_that_there_are(tmp_path: Path) -> None:
    line = reach("scan", "--out", tmp_path / "run", "--fail-on", "nearly").complaint
    assert "nearly-never, nearly-never-float32" in line


# --- the stage ---------------------------------------------------------------------------------------------------


def stage_and_state(rows: int) -> tuple[resolution.ResolutionStage, ScanState, np.ndarray]:
    """A stage, rows that all win by 10 to 20 logits along themselves, and their float32 steps there."""
    rng = np.random.default_rng(0)
    problem = ArgmaxProblem(torch.from_numpy(rng.standard_normal((rows, 6)).astype(np.float32)), Ball(4.0))
    state = ScanState(rows)
    state.verdict[:], state.witness_kind[:], state.lower[:], state.upper[:] = SPEAKABLE, 2, 10.0, 20.0
    made = build_stages(problem, ScanSettings())
    (stage,) = [one for one in made if one.name == "resolution"]
    assert isinstance(stage, resolution.ResolutionStage)
    return stage, state, FLOAT32.step(2 * problem.row_norm.numpy())


def test_every_margin_that_may_be_below_a_float32_step_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, state, step = stage_and_state(50)
    assert not stage.wants(state).any()
    state.lower[:20] = step[:20] * np.linspace(0.01, 0.2, 20)
    state.upper[3] = step[3] / 2  # settled: below a step
    assert np.nonzero(stage.wants(state))[0].tolist() == [t for t in range(20) if t != 3]
    # In a head so large that a row is dear, only the smallest.
    monkeypatch.setattr(resolution, "_RESOLUTION_WORK", 5.5 * (4 * 50 * 6 + 80 * 6 * 36))
    monkeypatch.setattr(resolution, "_RESOLUTION_SHARE", 0.0)
    assert np.nonzero(stage.wants(state))[0].tolist() == [0, 1, 2, 4, 5]


def test_of_margins_near_a_bfloat16_step_only_a_few_are_looked_at() -> None:
    stage, state, step = stage_and_state(1000)
    state.lower[100:200] = 2.0**16 * step[100:200] * np.linspace(0.2, 0.01, 100)
    assert np.nonzero(stage.wants(state))[0].tolist() == list(range(192, 200))
    state.tried[:600] = 6  # rows that a search has worked on
    assert np.nonzero(stage.wants(state))[0].tolist() == list(range(188, 200))


def test_what_one_method_leaves_open_goes_to_the_next_and_nothing_else() -> None:
    problem = ArgmaxProblem(torch.eye(30), Ball(4.0))
    first, second = build_stages(problem, ScanSettings())[-2:]
    state = ScanState(30)
    state.verdict[:], state.witness_kind[:], state.lower[:], state.upper[:] = SPEAKABLE, 2, 1e-9, 20.0
    assert first.wants(state).all()
    assert not second.wants(state).any()
    state.tried[[3, 7]] = len(build_stages(problem, ScanSettings())) - 2
    state.upper[7] = 1e-9
    assert np.nonzero(second.wants(state))[0].tolist() == [3]


def test_a_journal_keeps_the_weights_behind_small_bounds(tmp_path: Path) -> None:
    state = ScanState(4)
    state.upper[2] = 1e-9
    state.bounds[2] = Hull(np.array([0, 3]), np.array([0.25, 0.75]))
    Journal(tmp_path).append(Delta(Part.of(state, [1, 2]), BlockRecord(0, 2, 0, 0.1)))
    again = ScanState(4)
    again.bounds[1] = Hull(np.array([0]), np.ones(1))  # what the block does not hold is gone
    for delta in Journal(tmp_path).read(again.v):
        delta.part.enter(again)
    assert list(again.bounds) == [2]
    for field in fields(Hull):
        np.testing.assert_array_equal(getattr(again.bounds[2], field.name), getattr(state.bounds[2], field.name))


# --- what verify says ----------------------------------------------------------------------------------------------


def first_of(run: Path, name: str | None) -> int:
    """The first speakable token that is nearly never in this format, or in none."""
    columns = columns_of(run)
    return next(
        t
        for t, (verdict, found) in enumerate(zip(columns["verdict"], columns["nearly_never"], strict=True))
        if verdict == "speakable" and found == name
    )


def recount(run: Path) -> None:
    """Make the totals of the manifest agree with the changed table, as whoever forges a run would."""
    columns = columns_of(run)
    totals = manifest_of(run)["totals"]
    finest = [name for name in columns["nearly_never"] if name]
    counts = {"float32": finest.count("float32"), "bfloat16": len(finest), "open": 0}
    change_manifest(run, totals=totals | {"nearly_never": counts})


def weights_of(run: Path) -> list[dict[str, float]]:
    return pq.read_table(run / "margin_weights.parquet").to_pylist()


def write_weights(run: Path, rows: list[dict[str, float]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=MARGIN_WEIGHTS), run / "margin_weights.parquet")


def refused(run: Path, token: int, reason: str) -> None:
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1, outcome.out
    assert any(f"token {token}" in line and reason in line for line in outcome.out.splitlines()), outcome.out


@pytest.mark.parametrize(
    ("before", "after"), [(None, "float32"), (None, "bfloat16"), ("float32", None), ("float32", "bfloat16")]
)
def test_a_token_that_is_said_to_be_nearly_never_or_not(run: Path, before: str | None, after: str | None) -> None:
    token = first_of(run, before)
    change_verdict(run, token, nearly_never=after)
    recount(run)
    refused(run, token, f"recorded as nearly never in {after}, but its margin and its logit say {before}")


@pytest.mark.parametrize("factor", [2.0, 1.001, -1.0, float("nan")])
def test_another_winning_logit(run: Path, factor: float) -> None:
    for token in (first_of(run, None), first_of(run, "float32")):
        logit = columns_of(run)["winning_logit"][token]
        change_verdict(run, token, winning_logit=logit * factor)
        refused(run, token, "its recorded winning logit is")
        change_verdict(run, token, winning_logit=logit)


def test_a_missing_winning_logit(run: Path) -> None:
    token = first_of(run, None)
    change_verdict(run, token, winning_logit=None)
    refused(run, token, "its recorded winning logit is None")


def test_a_bound_without_its_weights(run: Path) -> None:
    token = first_of(run, "float32")
    write_weights(run, [row for row in weights_of(run) if row["token_id"] != token])
    refused(run, token, "no weights are stored that prove it nearly never")
    # Runs of earlier versions held weights for these tokens alone.
    change_manifest(run, margins_certified=False)
    (run / "margin_weights.parquet").unlink()
    refused(run, token, "no weights are stored that prove it nearly never")


def test_every_upper_margin_has_weights(run: Path) -> None:
    token = first_of(run, None)
    write_weights(run, [row for row in weights_of(run) if row["token_id"] != token])
    refused(run, token, "no weights are stored that prove its upper margin")


def _heavier(rows: list[dict[str, float]]) -> None:
    rows[0]["weight"] += 0.01


def _exchanged(rows: list[dict[str, float]]) -> None:
    rows[0]["weight"], rows[1]["weight"] = rows[0]["weight"] - 1e-3, rows[1]["weight"] + 1e-3


def _of_itself(rows: list[dict[str, float]]) -> None:
    rows[0]["row_id"] = rows[0]["token_id"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_heavier, "the hull weights add up to"),
        (_exchanged, "but the weights for it give"),
        (_of_itself, "the token is among its own blockers"),
    ],
)
def test_weights_that_prove_no_such_bound(
    run: Path, change: Callable[[list[dict[str, float]]], None], reason: str
) -> None:
    token = first_of(run, "float32")
    rows = weights_of(run)
    mine = sorted((row for row in rows if row["token_id"] == token), key=lambda row: -row["weight"])
    assert len(mine) > 1
    change(mine)
    write_weights(run, rows)
    refused(run, token, reason)


def test_a_smaller_bound_than_the_weights_prove(run: Path) -> None:
    token = first_of(run, "float32")
    columns = columns_of(run)
    between = (columns["margin_lower"][token] + columns["margin_upper"][token]) / 2
    change_verdict(run, token, margin_upper=between)
    refused(run, token, "but the weights for it give")


def test_an_upper_margin_by_another_single_blocker(run: Path) -> None:
    token = first_of(run, None)
    rows = weights_of(run)
    (mine,) = (row for row in rows if row["token_id"] == token)
    mine["row_id"] = next(row for row in range(ORDINARY) if row not in (token, mine["row_id"]))
    write_weights(run, rows)
    refused(run, token, "but the weights for it give")


def test_claims_about_a_token_without_a_win(tmp_path: Path) -> None:
    head = save_head(tmp_path / "head.npz", [[1, 0], [0, 1], [-1, -1], [0, 0]])
    run = tmp_path / "run"
    assert reach("scan", "--head", head, "--domain", "ball:4", "--out", run, "--quiet", "--no-report").code == 0
    assert columns_of(run)["verdict"][3] == "unspeakable"
    change_verdict(run, 3, nearly_never="float32")
    refused(run, 3, "recorded as nearly never, yet as unspeakable")
    change_verdict(run, 3, nearly_never=None, winning_logit=1.0)
    refused(run, 3, "has a winning logit, yet is recorded as unspeakable")


def test_totals_that_count_them_wrong(run: Path) -> None:
    totals = manifest_of(run)["totals"]
    totals["nearly_never"]["float32"] -= 1
    change_manifest(run, totals=totals)
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1
    assert "its totals are not those of verdicts.parquet" in outcome.out


def test_a_run_of_an_earlier_version_is_still_proved(run: Path) -> None:
    """Without the columns nothing is known, and none is said to be nearly never."""
    table = pq.read_table(run / "verdicts.parquet").drop_columns(list(LATER_COLUMNS))
    pq.write_table(table, run / "verdicts.parquet")
    (run / "margin_weights.parquet").unlink()
    totals = manifest_of(run)["totals"]
    del totals["nearly_never"]
    change_manifest(run, totals=totals, margins_certified=False)
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 0
    assert "margin_upper where speakable" in outcome.out
    assert reach("report", run, "--markdown").code == 0
    assert "nearly never" not in (run / "report.md").read_text(encoding="utf-8").lower()


def test_claims_that_the_totals_do_not_count(run: Path) -> None:
    totals = manifest_of(run)["totals"]
    del totals["nearly_never"]
    change_manifest(run, totals=totals)
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1
    assert "its totals do not count the nearly-never tokens of verdicts.parquet" in outcome.out
