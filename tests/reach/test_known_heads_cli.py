"""Heads whose truth is known by construction, through the command itself."""

from __future__ import annotations

import itertools
import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from reach_command import columns_of, hulls_of, manifest_of, reach, save_head

CUBE = [list(corner) for corner in itertools.product((-1.0, 1.0), repeat=3)]
LETTERS = {"speakable": "S", "tied": "T", "unspeakable": "U", "undecided": "?", None: "-"}


def scan(tmp_path: Path, rows, domain: str | None, *options: object, **arrays) -> Path:
    """Scan a bare head, verify the run, return its folder."""
    head = save_head(tmp_path / "head.npz", rows, **arrays)
    chosen = () if domain is None else ("--domain", domain)
    outcome = reach("scan", "--head", head, "--out", tmp_path / "run", "--quiet", "--no-report", *chosen, *options)
    assert outcome.code == 0, outcome.err
    verified = reach("verify", tmp_path / "run", "--quiet")
    assert verified.code == 0, verified.out
    return tmp_path / "run"


def letters(run: Path) -> str:
    return "".join(LETTERS[verdict] for verdict in columns_of(run)["verdict"])


def margins(run: Path) -> list[tuple[float | None, float | None]]:
    columns = columns_of(run)
    return list(zip(columns["margin_lower"], columns["margin_upper"], strict=True))


def evidence_of(run: Path, verdict: str) -> set[str]:
    columns = columns_of(run)
    return {how for what, how in zip(columns["verdict"], columns["evidence"], strict=True) if what == verdict}


def holds(bounds: tuple[float | None, float | None], margin: float, gap: float) -> bool:
    """Whether bounds enclose a margin (a rounding aside) and are as tight as was asked."""
    lower, upper = bounds
    return lower is not None and upper is not None and lower <= margin <= upper and upper - lower <= gap * upper


@pytest.mark.parametrize(
    ("rows", "margin"),
    [
        pytest.param(np.eye(3), sqrt(1.5), id="simplex"),  # from e1 to the middle of the edge e2 e3
        pytest.param(np.vstack([np.eye(3), -np.eye(3)]), 1.0, id="cross-polytope"),  # from e1 to the plane x = 0
        pytest.param(CUBE, 2 / sqrt(3), id="cube"),  # from (1,1,1) to the plane x + y + z = 1
        pytest.param([[1.0, 2.0], [-2.0, -2.0]], 5.0, id="two tokens"),  # their distance
        pytest.param([[3.0], [-1.0]], 4.0, id="two tokens in one dimension"),
    ],
)
def test_corners_are_speakable_with_the_margin_that_geometry_gives(tmp_path: Path, rows, margin: float) -> None:
    run = scan(tmp_path, rows, "free", "--margin-gap", 0.001)
    assert set(letters(run)) == {"S"}
    assert all(holds(bounds, margin, 0.001 + 1e-5) for bounds in margins(run)), margins(run)
    assert evidence_of(run, "speakable") == {"rigorous"}


@pytest.mark.parametrize("domain", ["free", "ball:3", "box:-1,1"])
def test_the_centre_of_a_cube_is_unspeakable_exactly(tmp_path: Path, domain: str) -> None:
    run = scan(tmp_path, [*CUBE, [0.0, 0.0, 0.0]], domain)
    assert letters(run) == "SSSSSSSSU"
    assert evidence_of(run, "unspeakable") == {"exact"}
    assert margins(run)[8] == (None, 0.0)
    weights = hulls_of(run)[8]
    assert sum(weights.values()) == pytest.approx(1)
    assert np.array(CUBE).T[:, list(weights)] @ list(weights.values()) == pytest.approx([0, 0, 0], abs=1e-9)


def test_the_middle_of_an_edge_has_its_two_ends_as_blockers(tmp_path: Path) -> None:
    run = scan(tmp_path, [[-1, -1], [-1, 1], [1, -1], [1, 1], [1, 0]], "free")
    assert letters(run) == "SSSSU"
    assert evidence_of(run, "unspeakable") == {"exact"}
    assert hulls_of(run) == {4: {2: 0.5, 3: 0.5}}


def test_equal_rows_are_tied_and_argmax_returns_the_first(tmp_path: Path) -> None:
    """Rows 0 and 3 are equal corners; 4 and 5 equal inner points; 6 is equal to 1 but for the sign of a zero."""
    rows = [[1, 1], [-1, 0.0], [1, -1], [1, 1], [0.25, 0], [0.25, 0], [-1, -0.0]]
    run = scan(tmp_path, rows, "free")
    columns = columns_of(run)
    assert letters(run) == "TTSTUUT"
    assert columns["argmax_id"] == [0, 1, None, 0, None, None, 1]
    assert [columns["margin_lower"][t] for t in (0, 1, 3, 6)] == [0, 0, 0, 0]
    assert [columns["margin_upper"][t] for t in (0, 1, 3, 6)] == [0, 0, 0, 0]
    assert evidence_of(run, "unspeakable") == {"exact"}
    assert columns["reason"] == [None] * 7


def test_equal_rows_with_different_offsets_are_not_tied(tmp_path: Path) -> None:
    run = scan(tmp_path, [[1, 0], [1, 0], [-1, 0]], "free", b=[0, 1, 0])
    assert letters(run) == "USS"
    assert hulls_of(run)[0] == {1: 1.0}


@pytest.mark.parametrize("domain", ["free", "ball:2", "box:-1,1"])
def test_where_all_rows_are_equal_all_are_tied(tmp_path: Path, domain: str) -> None:
    run = scan(tmp_path, [[0.5, -1.0]] * 4, domain, b=[2.0] * 4)
    assert letters(run) == "TTTT"
    assert columns_of(run)["argmax_id"] == [0, 0, 0, 0]
    assert evidence_of(run, "tied") == {"exact"}
    assert manifest_of(run)["totals"]["verdicts"] == {"speakable": 0, "tied": 4, "unspeakable": 0, "undecided": 0}


def test_rows_that_only_centring_makes_equal_are_found(tmp_path: Path) -> None:
    """A LayerNorm takes each row's mean away: (0,0,0) and (1,1,1) become the same row, amid the three others."""
    rows = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1], [2, 1, 1]]
    run = scan(tmp_path, rows, None, gamma=[1, 1, 1], beta=[0, 0, 0])
    assert letters(run) == "TSSUUT"
    assert columns_of(run)["argmax_id"][5] == 0
    assert evidence_of(run, "unspeakable") == {"exact"}


def test_rows_scaled_toward_the_mean_are_unspeakable(tmp_path: Path) -> None:
    corners = np.array(CUBE) + np.array([4.0, -2.0, 1.0])
    inner = (corners - corners.mean(axis=0)) * 0.5 + corners.mean(axis=0)
    run = scan(tmp_path, np.vstack([corners, inner]), "free")
    assert letters(run) == "S" * 8 + "U" * 8
    assert evidence_of(run, "unspeakable") == {"exact"}


def test_a_row_just_outside_the_hull_is_speakable_and_one_just_inside_is_not(tmp_path: Path) -> None:
    step = 2.0**-20
    square = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    outside = scan(tmp_path, [*square, [1 + step, 0]], "free", dtype=np.float64)
    assert letters(outside)[4] == "S"
    lower, upper = margins(outside)[4]
    assert lower <= step
    assert upper is None or upper >= step * (1 - 1e-9)
    (tmp_path / "inside").mkdir()
    inside = scan(tmp_path / "inside", [*square, [1 - step, 0]], "free", dtype=np.float64)
    assert letters(inside) == "SSSSU"


def test_a_ball_has_the_margin_of_its_closed_form(tmp_path: Path) -> None:
    """Two rows: R‖a − b‖ + c_a − c_b = 2·2 ∓ 5."""
    run = scan(tmp_path, [[1, 0], [-1, 0]], "ball:2", "--margin-gap", 0.001, b=[0, 5])
    assert letters(run) == "US"
    assert margins(run)[0][1] == pytest.approx(-1, rel=1e-6)
    assert holds(margins(run)[1], 9, 0.0011)
    assert hulls_of(run) == {0: {1: 1.0}}


def test_the_open_ball_never_reaches_its_rim(tmp_path: Path) -> None:
    """The margin 2·2 − 4 = 0 would be reached on the sphere only, so token 0 cannot win: never call it speakable."""
    head = save_head(tmp_path / "head.npz", [[1, 0], [-1, 0]], b=[0, 4])
    assert (
        reach("scan", "--head", head, "--domain", "ball:2", "--out", tmp_path / "run", "--quiet", "--no-report").code
        == 0
    )
    assert letters(tmp_path / "run") in {"US", "?S"}
    assert reach("verify", tmp_path / "run", "--quiet").code == 0


def test_a_box_has_the_margin_of_its_closed_form(tmp_path: Path) -> None:
    """Σ|v_i| + c_a − c_b = 3 ∓ 4 over the box −1 … 1."""
    run = scan(tmp_path, [[1, 2], [0, 0]], "box:-1,1", "--margin-gap", 0.001, b=[0, 4])
    assert letters(run) == "US"
    assert margins(run)[0][1] == pytest.approx(-1, rel=1e-6)
    assert holds(margins(run)[1], 7, 0.0011)


def test_a_box_that_leaves_out_zero_decides_by_its_corner(tmp_path: Path) -> None:
    """On 1 ≤ z ≤ 2 the steeper row is always ahead."""
    run = scan(tmp_path, [[1.0], [2.0], [-3.0]], "box:1,2")
    assert letters(run) == "USU"


def test_free_with_offsets_is_an_upper_envelope_of_lines(tmp_path: Path) -> None:
    """Lines ±z and three flat ones: above the crossing, through it, below it. No margin is a number there."""
    run = scan(tmp_path, [[1.0], [-1.0], [0.0]], "free", b=[0, 0, 0.5])
    assert letters(run) == "SSS"
    for name, height in (("through", 0.0), ("below", -0.5)):
        (tmp_path / name).mkdir()
        run = scan(tmp_path / name, [[1.0], [-1.0], [0.0]], "free", b=[0, 0.0, height])
        assert letters(run) == "SSU"
        assert evidence_of(run, "unspeakable") == {"exact"}
        assert hulls_of(run) == {2: {0: 0.5, 1: 0.5}}


def test_a_norm_decides_a_token_that_its_absence_would_not(tmp_path: Path) -> None:
    """Row 2 lies outside the hull, so over all of R² it wins; its offset is too low for ‖z‖ < √2."""
    rows, offsets = [[1, 0], [-1, 0], [0, 1]], [0, 0, -3]
    assert letters(scan(tmp_path, rows, None, gamma=[1, 1], b=offsets)) == "SSU"
    (tmp_path / "free").mkdir()
    assert letters(scan(tmp_path / "free", rows, "free", gamma=[1, 1], b=offsets)) == "SSS"


@pytest.fixture(scope="module")
def mixed_head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A norm and offsets: some tokens of every kind but tied."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((150, 6)) * rng.uniform(0.5, 1.5, (150, 1))
    file = tmp_path_factory.mktemp("mixed") / "head.npz"
    return save_head(file, rows, gamma=rng.uniform(0.5, 1.5, 6), b=rng.standard_normal(150))


@pytest.fixture(scope="module")
def mixed_run(mixed_head: Path) -> Path:
    run = mixed_head.parent / "run"
    assert reach("scan", "--head", mixed_head, "--out", run, "--quiet", "--no-report").code == 0
    return run


def test_a_choice_of_tokens_leaves_the_others_null(mixed_head: Path, mixed_run: Path, tmp_path: Path) -> None:
    outcome = reach(
        "scan", "--head", mixed_head, "--tokens", "3,10-19,149", "--out", tmp_path / "run", "--quiet", "--no-report"
    )
    assert outcome.code == 0
    asked = {3, *range(10, 20), 149}
    some, everything = columns_of(tmp_path / "run"), columns_of(mixed_run)
    for token in range(150):
        if token in asked:
            assert some["verdict"][token] == everything["verdict"][token]
        else:
            for name in ("verdict", "evidence", "margin_lower", "margin_upper", "stage", "reason", "witness"):
                assert some[name][token] is None
            assert not some["own_direction"][token]
    assert some["row_norm"] == everything["row_norm"]
    assert "138 tokens were not asked for" in outcome.out
    verified = reach("verify", tmp_path / "run", "--quiet")
    assert verified.code == 0
    assert "12 verdicts proved again" in verified.out
    assert "138 tokens were not asked for" in verified.out


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("unspeakable", 1), ("undecided", 0), ("tied", 0), ("tied,undecided", 0), ("undecided, unspeakable", 1),
        ("speakable", 1),
    ],
)  # fmt: skip
def test_fail_on_gives_exit_code_one_and_a_whole_run(
    mixed_head: Path, tmp_path: Path, condition: str, code: int
) -> None:
    outcome = reach(
        "scan",
        "--head",
        mixed_head,
        "--tokens",
        "0-60",
        "--fail-on",
        condition,
        "--out",
        tmp_path / "run",
        "--quiet",
        "--no-report",
    )
    assert outcome.code == code
    assert manifest_of(tmp_path / "run")["status"] == "finished"
    assert "speakable" in outcome.out


def test_json_says_what_the_tables_say(mixed_head: Path, mixed_run: Path, tmp_path: Path) -> None:
    outcome = reach("scan", "--head", mixed_head, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    columns, hulls, manifest = columns_of(tmp_path / "run"), hulls_of(tmp_path / "run"), manifest_of(tmp_path / "run")
    assert columns["verdict"] == columns_of(mixed_run)["verdict"]
    verdicts = {name: columns["verdict"].count(name) for name in ("speakable", "tied", "unspeakable", "undecided")}
    assert found["totals"] == manifest["totals"]
    assert found["totals"]["verdicts"] == verdicts
    assert found["totals"]["own_direction"] == sum(columns["own_direction"])
    assert found["totals"]["hard_to_speak"] == verdicts["speakable"] - sum(columns["own_direction"])
    assert [row["token_id"] for row in found["tokens"]] == sorted(hulls)
    for row in found["tokens"]:
        assert row["margin_upper"] == columns["margin_upper"][row["token_id"]] < 0
        assert {blocker["token_id"]: blocker["weight"] for blocker in row["blockers"]} == hulls[row["token_id"]]
    assert Path(found["report"]).is_file()


def test_verify_json_counts_what_it_proved(mixed_run: Path) -> None:
    outcome = reach("verify", mixed_run, "--json")
    found = json.loads(outcome.out)
    assert outcome.code == 0
    assert found["ok"]
    assert found["failed"] == found["faults"] == []
    assert sum(row["count"] for row in found["proved"]) == 150


def test_a_margin_gap_is_kept_for_every_speakable_token(mixed_head: Path, mixed_run: Path, tmp_path: Path) -> None:
    run, gap = tmp_path / "run", 0.01
    assert reach("scan", "--head", mixed_head, "--margin-gap", gap, "--out", run, "--quiet", "--no-report").code == 0
    columns, loose = columns_of(run), columns_of(mixed_run)
    for token, verdict in enumerate(columns["verdict"]):
        lower, upper = columns["margin_lower"][token], columns["margin_upper"][token]
        assert verdict == loose["verdict"][token]
        if verdict == "speakable":
            assert 0 <= upper - lower <= gap * upper, (token, lower, upper)
            # The points are others than without a gap: as good as was asked for, and both brackets hold one margin.
            assert lower >= (1 - gap) * loose["margin_lower"][token]
            assert upper <= (1 + gap) * loose["margin_upper"][token]
            assert max(lower, loose["margin_lower"][token]) <= min(upper, loose["margin_upper"][token])
    assert columns["own_direction"] == loose["own_direction"]
    assert reach("verify", run, "--quiet").code == 0


def test_exact_raises_every_verdict(mixed_head: Path, mixed_run: Path, tmp_path: Path) -> None:
    assert (
        reach("scan", "--head", mixed_head, "--exact", "--out", tmp_path / "run", "--quiet", "--no-report").code == 0
    )
    columns = columns_of(tmp_path / "run")
    assert set(columns["evidence"]) == {"exact"}
    assert columns["verdict"] == columns_of(mixed_run)["verdict"]
    assert reach("verify", tmp_path / "run", "--quiet").code == 0
    raised = reach("verify", mixed_run, "--exact", "--quiet")
    assert raised.code == 0
    assert "rigorous" not in raised.out


@pytest.mark.parametrize("domain", ["norm", "free"])
def test_with_hardly_any_time_tokens_stay_undecided_with_a_reason(
    mixed_head: Path, mixed_run: Path, tmp_path: Path, domain: str
) -> None:
    common = ("--head", mixed_head, "--domain", domain, "--quiet", "--no-report")
    if domain == "norm":
        truth = columns_of(mixed_run)["verdict"]
    else:
        assert reach("scan", *common, "--out", tmp_path / "truth").code == 0
        truth = columns_of(tmp_path / "truth")["verdict"]
    outcome = reach("scan", *common, "--stage-seconds", 1e-9, "--out", tmp_path / "run", "--fail-on", "undecided")
    assert outcome.code == 1
    columns = columns_of(tmp_path / "run")
    assert columns["verdict"].count("undecided") > 10
    for token, verdict in enumerate(columns["verdict"]):
        if verdict == "undecided":
            assert "limit hit" in columns["reason"][token], columns["reason"][token]
            assert columns["evidence"][token] is columns["stage"][token] is None
        else:
            assert verdict == truth[token]
            assert columns["reason"][token] is None
    assert "undecided (neither" in outcome.out
    verified = reach("verify", tmp_path / "run", "--quiet")
    assert verified.code == 0
    assert "tokens are undecided: there is nothing to prove" in verified.out
