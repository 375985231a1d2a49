"""Tokens inside the hull of the others in a wide head: scanned, stored with one shared certificate, verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from reach_command import (
    Outcome,
    change_manifest,
    change_verdict,
    columns_of,
    hulls_of,
    manifest_of,
    reach,
    save_head,
)
from safetensors.numpy import load_file, save_file

from reach.scanning.blocks import BlockRecord, Delta
from reach.scanning.journal import Journal
from reach.scanning.judge import Judge
from reach.scanning.part import Part
from reach.scanning.proof import ProofStage
from reach.scanning.state import UNSPEAKABLE, Hull, ScanState
from solvers.checks.evidence import Evidence

D, V = 256, 700
DEEP, EQUAL, FACE, OUTER = (600, 601, 602), (603, 604), 605, 606
"""Rows near the mean; two of them equal; the middle of two others; a doubled row."""


def rows_of_a_wide_head() -> np.ndarray:
    rng = np.random.default_rng(4)
    rows = np.rint(64 * rng.standard_normal((V, D)))  # integers, so that the middle of two is a float32 row
    rows[list(DEEP)] = np.rint(2 * rng.standard_normal((3, D)))
    rows[EQUAL[0]] = rows[EQUAL[1]] = 0
    rows[FACE], rows[OUTER] = (rows[0] + rows[1]) / 2, 2 * rows[2]
    return rows


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_head(tmp_path_factory.mktemp("wide") / "head.npz", rows_of_a_wide_head())


def scan(head: Path, out: Path, *options: object) -> Outcome:
    quietly = ("--quiet", "--no-report", "--jobs", "1")
    return reach("scan", "--head", head, "--norm", "rmsnorm", "--out", out, *quietly, *options)


@pytest.fixture(scope="module")
def scanned(head: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wide") / "run"
    outcome = scan(head, out)
    assert outcome.code == 0, outcome.err
    assert "#600 ← a mix of all other rows, the heaviest #" in outcome.out
    return out


@pytest.fixture
def run(scanned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scanned, tmp_path / "run"))


def verify(run: Path, head: Path, *options: object) -> Outcome:
    return reach("verify", run, "--head", head, "--norm", "rmsnorm", "--quiet", *options)


def change(run: Path, **arrays: np.ndarray) -> None:
    file = run / "inside.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in (load_file(file) | arrays).items()}, file)


def test_who_is_inside_is_proved_and_says_how(scanned: Path) -> None:
    columns, inside = columns_of(scanned), load_file(scanned / "inside.safetensors")
    for token in (*DEEP, *EQUAL):
        assert columns["verdict"][token] == "unspeakable"
        assert columns["evidence"][token] == "rigorous"
        assert columns["margin_upper"][token] == 0
        assert columns["stage"][token] == "analytic-centre"
        weights = hulls_of(scanned)[token]
        assert len(weights) == 8  # the heaviest of some 700: a summary, and marked as one by its sum
        assert 0 < sum(weights.values()) < 0.5
        assert columns["runner_up_id"][token] == max(weights, key=weights.get)  # type: ignore[arg-type]
    # Equal rows share one. Row 2 lies between the middle of the hull and the row that is twice as long.
    assert inside["token_id"].tolist() == [2, *DEEP, EQUAL[0]]
    assert inside["dual"].shape == (5, D)
    assert D < len(set(inside["spread"].tolist())) == len(inside["spread"]) <= V
    # The middle of two rows lies on a face of the hull: it is left to rational arithmetic, which needs just the two.
    assert columns["evidence"][FACE] == "exact"
    assert hulls_of(scanned)[FACE] == pytest.approx({0: 0.5, 1: 0.5})
    assert columns["verdict"][OUTER] == "speakable"
    assert columns["verdict"].count("undecided") == 0


def test_verify_proves_them_again(scanned: Path, head: Path) -> None:
    outcome = verify(scanned, head)
    assert outcome.code == 0, outcome.out + outcome.err
    assert "unspeakable rigorous         6" in outcome.out
    exactly = verify(scanned, head, "--exact")
    assert exactly.code == 1
    assert "scan with --exact" in exactly.out + exactly.err


@pytest.mark.parametrize(
    ("name", "forge", "words"),
    [
        ("dual", lambda a: a[[1, 2, 3, 4, 0]] * 3, "its dual point does not prove that its row lies inside"),
        ("dual", lambda a: a * np.nan, "its dual point does not prove"),
        ("dual", lambda a: a[:, :-1], "have another number of coordinates"),
        ("spread", np.zeros_like, "are no spread set"),
        ("spread", lambda a: a[: D // 2], "are no spread set"),
        ("spread", lambda a: a + V, "are not all rows of the head"),
        ("spread", lambda a: a[:0], "are not all rows of the head"),
    ],
)
def test_forged_proofs_are_refused(run: Path, head: Path, name: str, forge: object, words: str) -> None:
    change(run, **{name: forge(load_file(run / "inside.safetensors")[name])})  # type: ignore[operator]
    outcome = verify(run, head)
    assert outcome.code == 1
    assert words in outcome.out + outcome.err
    assert "600" in outcome.out + outcome.err


def test_a_speakable_token_with_the_dual_point_of_another(run: Path, head: Path) -> None:
    """Token 5 claims to be unspeakable, with a proof that is right for token 600."""
    arrays = load_file(run / "inside.safetensors")
    change(
        run,
        token_id=np.append(arrays["token_id"], np.int32(5)),
        dual=np.vstack([arrays["dual"], arrays["dual"][:1]]),
    )
    outcome = verify(run, head)
    assert outcome.code == 1
    assert "a dual point is stored for a token that is not unspeakable" in outcome.out + outcome.err
    blank = {"margin_lower": None, "witness": None, "winning_logit": None, "own_direction": False}
    change_verdict(run, 5, verdict="unspeakable", margin_upper=0.0, **blank)
    outcome = verify(run, head)
    assert outcome.code == 1
    assert "its dual point does not prove that its row lies inside" in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("margin_upper", -1.0, "but its row inside the hull proves 0 logits"),
        ("margin_upper", None, "but its row inside the hull proves 0 logits"),
        ("own_direction", True, "yet recorded as own-direction"),
        ("margin_lower", 0.5, "with a lower margin"),
        ("evidence", "exact", "in floating point only"),
    ],
)
def test_claims_that_the_proof_does_not_cover(run: Path, head: Path, column: str, value: object, words: str) -> None:
    change_verdict(run, 601, **{column: value})
    outcome = verify(run, head)
    assert outcome.code == 1
    assert words in outcome.out + outcome.err


@pytest.mark.parametrize("damage", ["missing", "cut", "names", "types"])
def test_a_damaged_certificate_is_one_line(run: Path, head: Path, damage: str) -> None:
    file = run / "inside.safetensors"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "names":
        save_file({"token_id": np.zeros(4, dtype=np.int32)}, file)
    else:
        change(run, dual=np.zeros((5, D), dtype=np.float32))
    outcome = verify(run, head)
    if damage == "missing":
        assert outcome.code == 1
        assert "the hull weights add up to" in outcome.out + outcome.err
        return
    assert outcome.code == 2
    assert "inside.safetensors" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_run_of_few_tokens_holds_their_proofs_alone(head: Path, tmp_path: Path) -> None:
    assert scan(head, tmp_path / "run", "--tokens", "1,601,604").code == 0
    assert load_file(tmp_path / "run" / "inside.safetensors")["token_id"].tolist() == [601, EQUAL[0]]
    assert verify(tmp_path / "run", head).code == 0


def test_exactly_means_rational_arithmetic(head: Path, tmp_path: Path) -> None:
    outcome = scan(head, tmp_path / "run", "--tokens", "601", "--exact")
    assert outcome.code == 0, outcome.err
    assert columns_of(tmp_path / "run")["evidence"][601] == "exact"
    assert not (tmp_path / "run" / "inside.safetensors").exists()
    assert sum(hulls_of(tmp_path / "run")[601].values()) == pytest.approx(1)
    assert verify(tmp_path / "run", head, "--exact").code == 0


def test_another_head_over_the_old_run_leaves_no_certificate_behind(run: Path, tmp_path: Path) -> None:
    other = save_head(tmp_path / "other.npz", np.random.default_rng(0).standard_normal((40, 3)))
    assert scan(other, run, "--force").code == 0
    assert not (run / "inside.safetensors").exists()


def test_json_and_manifest_speak_of_it(head: Path, tmp_path: Path) -> None:
    quietly = ("--quiet", "--no-report", "--jobs", "1", "--json")
    outcome = reach("scan", "--head", head, "--norm", "rmsnorm", "--out", tmp_path / "run", *quietly)
    token = next(token for token in json.loads(outcome.out)["tokens"] if token["token_id"] == 600)
    assert token["blockers_are_a_summary"]
    assert len(token["blockers"]) == 8
    funnel = {row["stage"]: row for row in manifest_of(tmp_path / "run")["funnel"]}
    assert funnel["analytic-centre"]["settled"] >= 4
    change_manifest(tmp_path / "run", model="other")
    assert verify(tmp_path / "run", head).code == 0


def test_rows_in_a_subspace_are_left_to_rational_arithmetic(tmp_path: Path) -> None:
    """260 columns, of which 6 hold all that there is: exact, and what lies inside is still found and proved."""
    rng = np.random.default_rng(0)
    rows = np.rint(8 * rng.standard_normal((60, 6)))
    rows[-2], rows[-1] = 0, [1, 0, -1, 0, 0, 0]
    wide = rows @ rng.integers(-3, 4, (6, 260))
    head = save_head(tmp_path / "flat.npz", wide)
    outcome = scan(head, tmp_path / "run")
    assert outcome.code == 0, outcome.err
    columns = columns_of(tmp_path / "run")
    assert not (tmp_path / "run" / "inside.safetensors").exists()
    for token in (58, 59):
        assert (columns["verdict"][token], columns["evidence"][token]) == ("unspeakable", "exact")


def test_fewer_rows_than_dimensions_have_no_inside(tmp_path: Path) -> None:
    head = save_head(tmp_path / "few.npz", np.random.default_rng(0).standard_normal((40, 300)))
    assert scan(head, tmp_path / "run").code == 0
    assert columns_of(tmp_path / "run")["verdict"] == ["speakable"] * 40


def test_an_interrupted_scan_keeps_what_was_proved(head: Path, tmp_path: Path) -> None:
    run, tokens = tmp_path / "run", ("--tokens", f"600,601,{FACE}")
    with mock.patch.object(ProofStage, "run", side_effect=KeyboardInterrupt):  # only the face is left by then
        assert scan(head, run, *tokens).code == 130
    assert manifest_of(run)["status"] == "running"
    with mock.patch.object(Judge, "inside", side_effect=AssertionError("done before")):
        outcome = scan(head, run, *tokens, "--resume")
    assert outcome.code == 0, outcome.err
    assert columns_of(run)["verdict"][600] == "unspeakable"
    assert verify(run, head).code == 0


def test_the_journal_holds_dual_points(tmp_path: Path) -> None:
    state = ScanState(5)
    state.settle(3, UNSPEAKABLE, Evidence.RIGOROUS, 0)
    state.hulls[3] = Hull(np.array([0, 1]), np.array([0.1, 0.05]))
    state.duals[3] = np.array([0.5, -2.0])
    Journal(tmp_path).append(Delta(Part.of(state, [3, 4]), BlockRecord(0, 2, 1, 0.1)))
    again = ScanState(5)
    for delta in Journal(tmp_path).read(again.v):
        delta.part.enter(again)
    assert list(again.duals) == [3]
    assert np.array_equal(again.duals[3], state.duals[3])
    assert again.verdict[3] == UNSPEAKABLE
