"""Margins of all tokens from both sides: `reach scan --margins`, and what `reach verify` makes of it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reach_command import change_verdict, columns_of, reach, save_head

import reach as library
from reach.demo import demo_model
from reach.margin_ends import upper_faults
from reach.scanning.judge import Judge, is_wide
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE, STORED_WITNESS, ScanState
from reach.witnesses import witness_points
from solvers.attempt import Attempts, Hulls, Status
from solvers.backend import Budget
from solvers.backends.clarabel import Clarabel
from solvers.checks.hull import hull_upper_bound
from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem
from solvers.recipes import points_from_weights

GAP = 0.01


def rows_of(seed: int, v: int = 120, d: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((v, d)).astype(np.float32)


def brackets(verdicts: library.Verdicts) -> tuple[np.ndarray, np.ndarray]:
    return verdicts.margin_lower, verdicts.margin_upper


# --- by hand --------------------------------------------------------------------------------------------------------


def test_two_rows_on_a_ball() -> None:
    # The margin of (1, 0) against (−1, 0) is sup 2·z₁ = 4 over the ball of radius 2; of the other likewise.
    found = library.prove([[1.0, 0.0], [-1.0, 0.0]], domain="ball:2", margin_gap=GAP)
    lower, upper = brackets(found)
    assert (lower <= 4).all() and (upper >= 4).all()
    assert lower == pytest.approx([4, 4], rel=1e-5) and upper == pytest.approx([4, 4], rel=1e-9)


def test_how_deep_an_unspeakable_token_lies() -> None:
    # Four arms of length 1, and a row at the origin whose offset is lower by ¼: at z = 0 it is behind by ¼, and
    # everywhere else one of the arms is farther ahead. Its margin is −¼.
    rows = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 0.0]]
    found = library.prove(rows, [0.0, 0.0, 0.0, 0.0, -0.25], domain="ball:2", margin_gap=GAP)
    token = found[4]
    assert token.verdict == "unspeakable"
    assert token.margin_lower is not None and token.margin_upper is not None
    assert -0.25 * (1 + GAP) <= token.margin_lower <= -0.25 <= token.margin_upper <= -0.25 * (1 - GAP)
    assert found.verify().ok


@pytest.mark.parametrize("domain", ["ball:3", "free"])
def test_a_row_inside_the_hull_has_the_margin_zero(domain: str) -> None:
    rows = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.25, 0.25]]
    found = library.prove(rows, domain=domain, margin_gap=GAP)
    assert found[4].verdict == "unspeakable"
    assert found[4].margin_lower == found[4].margin_upper == 0.0
    assert found.verify().ok


def test_a_margin_far_below_its_logit_needs_points_at_the_very_edge() -> None:
    # Token ' abo' of the demo model leads by 0.00026 at a logit of 13.8: float32 points, kept a millionth of R
    # from the sphere, lose 0.000003 of that, which is more than 1 %.
    found = library.scan(str(demo_model()), tokens=[3666], margin_gap=GAP)
    lower, upper = (bound[3666] for bound in brackets(found))
    assert 0 < lower <= upper < 0.0003
    assert upper - lower <= GAP * upper


def test_the_point_of_weights_by_hand() -> None:
    # v = (1, 0) − ½(0, 1) − ½(0, −1) = (1, 0), and the ball of radius 2 goes to (2, 0).
    problem = ArgmaxProblem(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), Ball(4.0))
    pairs = Hulls.pack([(np.array([1, 2]), np.array([0.5, 0.5])), None])
    points = points_from_weights(problem, torch.tensor([0, 1]), pairs)
    assert points[0].tolist() == pytest.approx([2.0, 0.0], rel=1e-5)
    assert bool(torch.isnan(points[1]).all())  # a row without weights has none
    middle = ArgmaxProblem(torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), Ball(4.0))
    assert bool(torch.isnan(points_from_weights(middle, torch.tensor([0, 1]), pairs)[0]).all())  # v = 0 leads nowhere


@pytest.mark.parametrize("most", [1, 7, 2**23])
def test_points_of_weights_do_not_hang_on_blocks(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ArgmaxProblem(torch.from_numpy(rows_of(3)), Ball(9.0))
    rng = np.random.default_rng(0)
    sets = [
        None if row % 5 == 0 else (rng.choice(np.arange(20, 120), 4, replace=False), np.full(4, 0.25))
        for row in range(20)
    ]
    expected = points_from_weights(problem, torch.arange(20), Hulls.pack(sets))
    monkeypatch.setattr("solvers.weighted_rows._NUMBERS", most)
    found = points_from_weights(problem, torch.arange(20), Hulls.pack(sets))
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())
    assert torch.isnan(found).all(dim=1).tolist() == [row % 5 == 0 for row in range(20)]


@pytest.mark.parametrize(
    ("lower", "upper", "wide"),
    [
        (0.99, 1.0, False),
        (0.98, 1.0, True),
        (-1.01, -1.0, False),
        (-1.02, -1.0, True),
        (0.0, 0.0, False),
        (-np.inf, 1.0, True),
        (0.5, np.inf, True),
        (-np.inf, np.inf, True),
        (np.nan, 1.0, True),
    ],
)
def test_what_counts_as_wide(lower: float, upper: float, wide: bool) -> None:
    assert bool(is_wide(np.array([lower]), np.array([upper]), 0.0101)[0]) is wide


# --- against another method -----------------------------------------------------------------------------------------


CASES: dict[str, tuple[Domain, bool]] = {
    "ball": (Ball(4.0), False),
    "ball with offsets": (Ball(4.0), True),
    "box with offsets": (Box([-1.0] * 6, [2.0] * 6), True),
    "directions": (Free(), False),
}


@pytest.mark.parametrize("name", CASES)
def test_brackets_hold_what_clarabel_finds(name: str) -> None:
    domain, offsets = CASES[name]
    rows = rows_of(7)
    rows[100:] *= 0.3  # many of these are unspeakable
    c = np.random.default_rng(1).standard_normal(120) if offsets else None
    found = library.prove(rows, c, domain=domain, margin_gap=GAP)
    assert found.verify().ok
    lower, upper = brackets(found)
    assert np.isfinite(lower).all() and np.isfinite(upper).all()
    assert not is_wide(lower, upper, GAP).any()
    assert (found.unspeakable.size > 5) and (found.speakable.size > 5)
    assert found.problem is not None
    backend = Clarabel()
    backend.prepare(found.problem)
    attempts = backend.solve(torch.arange(120), Budget(margin_gap=1e-7, tolerance=1e-10))
    scale = 1e-6 * float(found.problem.row_norm.max() + found.problem.offset.abs().max())
    assert (lower <= attempts.upper.numpy() + scale).all()
    assert (upper >= attempts.lower.numpy() - scale).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(3, 12), st.booleans())
def test_brackets_of_small_heads_are_proved_again(seed: int, d: int, v: int, offsets: bool) -> None:
    """Small integers: rows that are equal, zero, in the hull or on its faces come up all the time."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (v, d)).astype(float)
    c = rng.integers(-2, 3, v).astype(float) if offsets else None
    found = library.prove(rows, c, domain="ball:2", margin_gap=GAP)
    report = found.verify()
    assert report.ok, report
    lower, upper = brackets(found)
    settled = np.isin(np.arange(v), found.undecided, invert=True)
    assert (lower[settled] <= upper[settled]).all()
    # No direction of many does better than the bound from above.
    z = rng.standard_normal((4000, d))
    z *= 2 * rng.random((4000, 1)) ** (1 / d) / np.linalg.norm(z, axis=1, keepdims=True)
    logits = z @ rows.T + (0 if c is None else c)
    for token in range(v):
        best = (logits[:, token] - np.delete(logits, token, axis=1).max(axis=1)).max()
        assert best <= upper[token] + 1e-9


# --- certificates ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("margins")
    rows = rows_of(7)
    rows[100:] *= 0.3
    head = save_head(folder / "head.npz", rows, b=np.random.default_rng(1).standard_normal(120).astype(np.float32))
    assert (
        reach("scan", "--head", head, "--domain", "ball:2", "--margins", GAP, "--out", folder / "run", "--quiet").code
        == 0
    )
    return folder / "run"


@pytest.fixture
def run(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "run"))


def a_token(run: Path, verdict: str) -> int:
    """One whose point is made from its weights, several of them."""
    columns, weights = columns_of(run), pq.read_table(run / "margin_weights.parquet").column("token_id").to_pylist()
    return next(
        t
        for t, found in enumerate(columns["verdict"])
        if found == verdict
        and columns["witness"][t] == "margin-weights"
        and weights.count(t) > 2
        and abs(columns["margin_upper"][t]) > 0.05  # rounding counts for nothing
    )


def refused(run: Path, token: int, *words: str) -> None:
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1
    assert any(
        f"token {token} " in line and any(word in line for word in words) for line in outcome.out.splitlines()
    ), outcome.out


def test_all_of_it_is_proved_again_and_nothing_dense_is_stored(run: Path) -> None:
    columns = columns_of(run)
    lower, upper = np.array(columns["margin_lower"]), np.array(columns["margin_upper"])
    assert not is_wide(lower, upper, GAP).any()
    assert (upper[[v == "unspeakable" for v in columns["verdict"]]] < 0).all()
    assert columns["witness"].count("margin-weights") > 60
    assert reach("verify", run, "--quiet").code == 0
    weights = np.array(pq.read_table(run / "margin_weights.parquet").column("weight").to_pylist())
    assert (weights == weights.astype(np.float32)).mean() > 0.9


@pytest.mark.parametrize("verdict", ["speakable", "unspeakable"])
@pytest.mark.parametrize("change", ["weight", "index", "gone", "doubled"])
def test_a_certificate_with_one_change_is_refused(run: Path, verdict: str, change: str) -> None:
    token = a_token(run, verdict)
    table = pq.read_table(run / "margin_weights.parquet").to_pylist()
    mine = sorted((row for row in table if row["token_id"] == token), key=lambda row: -row["weight"])
    if change == "weight":
        mine[0]["weight"] -= 0.02
        mine[1]["weight"] += 0.02
    elif change == "index":
        taken = {row["row_id"] for row in mine}
        mine[0]["row_id"] = next(row for row in range(120) if row not in taken and row != token)
    elif change == "gone":
        table.remove(mine[-1])
    else:
        mine[1]["row_id"] = mine[0]["row_id"]
    pq.write_table(pa.Table.from_pylist(table), run / "margin_weights.parquet")
    refused(run, token, "upper margin", "the weights for it give", "its witness")


@pytest.mark.parametrize("verdict", ["speakable", "unspeakable"])
@pytest.mark.parametrize("end", ["margin_lower", "margin_upper"])
@pytest.mark.parametrize("move", [lambda x: x + 0.003 * abs(x), lambda x: x - 0.003 * abs(x)], ids=["up", "down"])
def test_an_end_that_its_certificate_does_not_give(
    run: Path, verdict: str, end: str, move: Callable[[float], float]
) -> None:
    token = a_token(run, verdict)
    change_verdict(run, token, **{end: move(columns_of(run)[end][token])})
    refused(run, token, "recorded", "its recorded margin")


@pytest.mark.parametrize("blockers", [[1], [1, 2]])
@pytest.mark.parametrize("recorded", [-1.0, 0.0, 0.5, 1e300, math.inf])
def test_weights_that_bound_nothing_prove_nothing(blockers: list[int], recorded: float) -> None:
    """On the whole space offsets leave a margin without a bound, and no number is one."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    problem = ArgmaxProblem(rows, Free(), bias=torch.tensor([0.0, 1.0, 2.0, 3.0]))
    weights = {0: (np.array(blockers), np.full(len(blockers), 1 / len(blockers)))}
    assert list(upper_faults(problem, [recorded, None, None, None], weights, all_certified=True)) == [0]
    # Without offsets margins are taken at length 1, and weights bound them.
    plain = ArgmaxProblem(rows, Free())
    bound = hull_upper_bound(plain, 0, *weights[0])
    assert not upper_faults(plain, [bound, None, None, None], weights, all_certified=True)


def test_another_kind_of_witness(run: Path) -> None:
    for verdict in ("speakable", "unspeakable"):
        token = a_token(run, verdict)
        change_verdict(run, token, witness="stored")
        refused(run, token, "witness is missing")
        change_verdict(run, token, witness="margin-weights")
    assert reach("verify", run, "--quiet").code == 0


def test_the_point_of_a_token_can_be_had_from_the_library() -> None:
    rows = rows_of(7)
    found = library.prove(rows, domain="ball:2", margin_gap=GAP)
    token = next(
        t for t in range(120) if found[t].verdict == "speakable" and found.witness_kind.of(t) == "margin-weights"
    )
    z = found[token].witness
    assert z is not None and np.linalg.norm(z) < 2
    logits = rows.astype(float) @ z
    lead = logits[token] - np.delete(logits, token).max()
    assert found[token].margin_lower == pytest.approx(lead, rel=1e-4)


def test_the_alias_and_bad_gaps(tmp_path: Path) -> None:
    head = save_head(tmp_path / "head.npz", rows_of(2, 12, 3))
    assert (
        reach(
            "scan", "--head", head, "--domain", "ball:2", "--margin-gap", "0.1", "--out", tmp_path / "a", "--quiet"
        ).code
        == 0
    )
    for gap in ("0", "1", "-1", "nan", "inf", "2"):
        outcome = reach("scan", "--head", head, "--margins", gap, "--out", tmp_path / "b", "--quiet")
        assert outcome.code == 2
        assert "--margins must lie between 0 and 1" in outcome.err
    assert not (tmp_path / "b").exists()


def test_a_margin_scan_that_was_interrupted_goes_on_to_the_same(
    scanned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reach.scanning.judge import Judge

    head, calls = scanned.parent / "head.npz", []
    whole = Judge.margins

    def stopping(self: Judge, *given: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        whole(self, *given)  # type: ignore[arg-type]

    scan = (
        "scan",
        "--head",
        head,
        "--domain",
        "ball:2",
        "--margins",
        GAP,
        "--out",
        tmp_path / "run",
        "--block-tokens",
        40,
    )
    with monkeypatch.context() as patch:
        patch.setattr(Judge, "margins", stopping)
        assert reach(*scan, "--quiet").code == 130
    assert reach(*scan, "--resume", "--quiet").code == 0
    assert reach("verify", tmp_path / "run", "--quiet").code == 0
    before, after = columns_of(scanned), columns_of(tmp_path / "run")
    assert before["verdict"] == after["verdict"]
    assert not is_wide(np.array(after["margin_lower"]), np.array(after["margin_upper"]), GAP).any()


def test_nothing_dense_is_stored_where_only_directions_count() -> None:
    found = library.prove(rows_of(9, 200, 8), domain="free", margin_gap=GAP)
    assert not is_wide(found.margin_lower, found.margin_upper, GAP).any()
    assert (found.margin_lower <= found.margin_upper).all()
    assert len(found.tables.witnesses) < 20
    assert found.verify().ok


def test_a_point_outlives_the_weights_that_led_to_it() -> None:
    """Weights that bound the margin better may lead to a worse point: the one that is known must not go with them."""
    problem = ArgmaxProblem(torch.tensor([[1.0, 0.0], [-1.0, 0.5], [-1.0, -0.5], [0.5, 3.0]]), Ball(4.0))
    state = ScanState(4)
    judge = Judge(problem, state, ScanSettings())
    both, one = (np.array([1, 2]), np.array([0.5, 0.5])), (np.array([3]), np.array([1.0]))
    claimed = (torch.zeros((1, 2)), torch.full((1,), -torch.inf, dtype=torch.float64))

    def hand_over(pair: tuple[np.ndarray, np.ndarray]) -> None:
        upper = torch.full((1,), torch.inf, dtype=torch.float64)
        judge.hulls(Attempts(torch.tensor([0]), [Status.LIMIT], claimed[0], Hulls.pack([pair]), claimed[1], upper), 0)

    state.verdict[0] = SPEAKABLE
    hand_over(both)
    state.lower[0], state.witness_kind[0] = 1.0, STORED_WITNESS
    state.witnesses[0] = np.array([1.9, 0.0], dtype=np.float32)
    judge.forget_points(torch.tensor([0]))
    assert 0 not in state.witnesses
    before = witness_points(problem, state.kinds(np.array([0])), np.array([0]), state.certificates())
    assert before[0].tolist() == pytest.approx([2.0, 0.0], rel=1e-5)
    state.upper[0] = math.inf
    hand_over(one)
    assert state.bounds[0].rows.tolist() == [3]
    after = witness_points(problem, state.kinds(np.array([0])), np.array([0]), state.certificates())
    assert torch.equal(before, after)
