"""Verdicts that hang on the last digits, and settings of the process that must not touch them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from reach_command import change_verdict, columns_of, reach, reach_process, save_head

from reach.scanning.judge import Judge
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE, UNSPEAKABLE, ScanState
from solvers.checks.hull import hull_upper_bound
from solvers.checks.witness import single_competitor_bound
from solvers.domains import Ball, Box, Domain
from solvers.problem import ArgmaxProblem

SQUARE = [[1, 1], [1, -1], [-1, 1], [-1, -1]]
BOX = Box(np.array([-1.0, -1.0]), np.array([1.0, 1.0]))


def problem_of(rows, domain: Domain, bias) -> ArgmaxProblem:
    return ArgmaxProblem(
        torch.tensor(rows, dtype=torch.float64), domain, bias=torch.tensor(bias, dtype=torch.float64)
    )


# Row 0 leads by z₁ − (1 − m): by m at the very edge z = (1, 0) alone, and nowhere if m ≤ 0.
@pytest.mark.parametrize("domain", [Ball(1.0), BOX], ids=["ball", "box"])
@pytest.mark.parametrize("margin", [5e-7, 1e-9, 1e-11, 1e-13, -1e-13, -1e-11, -1e-9, -5e-7])
def test_a_margin_at_the_very_edge_of_the_domain_is_decided(domain: Domain, margin: float) -> None:
    found = scan(problem_of([[1, 0], [0, 0]], domain, [0, 1 - margin]), ScanSettings()).state
    assert found.verdict.tolist() == [SPEAKABLE if margin > 0 else UNSPEAKABLE, SPEAKABLE]
    assert found.upper[0] >= margin - 1e-3 * abs(margin)
    if margin > 0:
        assert 0 < found.lower[0] <= margin * (1 + 1e-3)


def test_a_margin_that_float64_cannot_tell_from_zero_gives_rounding_as_its_reason() -> None:
    # Row 0 leads by at most ‖(0.6, 0.8)‖ − (1 − 2⁻⁵³) where 0.6 and 0.8 are rounded: by no more than a few 2⁻⁵³.
    found = scan(problem_of([[0.6, 0.8], [0, 0]], Ball(1.0), [0, 1 - 2.0**-53]), ScanSettings()).state
    assert found.upper[0] < 1e-14
    assert "its margin is inside the rounding of float64" in found.reasons[0]


def test_the_reason_of_a_row_that_the_searches_gave_up_does_not_blame_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the last point a lead of 4e-14 is out of sight (by a share of 2⁻⁴⁴), and above float64’s rounding.
    monkeypatch.setattr(Judge, "at_the_edge", lambda *_: False)
    found = scan(problem_of([[1, 0], [0, 0]], Ball(1.0), [0, 1 - 4e-14]), ScanSettings()).state
    assert found.reasons[0].startswith(
        "no witness and no exact proof were found: the searches stop at a gap of 1e-09"
    )
    assert "at most 4." in found.reasons[0]


def test_an_upper_bound_below_zero_is_never_left_without_a_verdict() -> None:
    # R·‖a₀ − a₁‖ + c₀ − c₁ is below 0 by a few roundings: one way to bound it says so, another one does not.
    told_apart = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        rows, squared = draw.standard_normal((2, 4)), float(draw.uniform(0.5, 3))
        lead = squared**0.5 * np.linalg.norm(rows[0] - rows[1]) * (1 + int(draw.integers(1, 40)) * 2.0**-53)
        problem = problem_of(rows, Ball(squared), [0, lead])
        bound = float(single_competitor_bound(problem, torch.tensor([0]), torch.tensor([1]))[0])
        told_apart += bound < 0 <= hull_upper_bound(problem, 0, np.array([1]), np.ones(1))
        assert bound >= 0 or scan(problem, ScanSettings()).state.verdict[0] == UNSPEAKABLE
        # Rows known up to rounding alone leave no exact proof to fall back on.
        vague = ArgmaxProblem(problem.weight, problem.domain, bias=problem.bias, weight_error=torch.zeros(2))
        found = scan(vague, ScanSettings()).state
        assert found.upper[0] >= 0 or found.verdict[0] == UNSPEAKABLE
    assert told_apart > 5


def test_a_fresh_run_with_a_bound_of_an_exact_proof_verifies(tmp_path: Path) -> None:
    # The last two rows differ by less than their offsets: one alone blocks the other, exactly and in floating point.
    rows = [*SQUARE, [1 - 1e-6, 0], [0.5, 1 - 1e-6]]
    head = save_head(tmp_path / "head.npz", rows, dtype=np.float64, b=[0, 0, 0, 0, 1e-9, -1e-9])
    made = reach("scan", "--head", head, "--domain", "ball:1", "--out", tmp_path / "run", "--quiet", "--no-report")
    assert made.code == 0, made.err
    verified = reach("verify", tmp_path / "run", "--quiet")
    assert verified.code == 0, verified.out


def test_an_exact_proof_records_the_bound_of_its_weights() -> None:
    problem = problem_of([*SQUARE, [0.5, 0]], Ball(1.0), [0, 0, 0, 0, -3])
    state = ScanState(5)
    judge = Judge(problem, state, ScanSettings())
    assert judge.exact_bound(4, np.array([0]), np.ones(1), 0)
    # ‖(½, 0) − (1, 1)‖ − 3
    assert state.upper[4] == pytest.approx(1.25**0.5 - 3)


def test_a_recorded_bound_that_is_too_low_fails(tmp_path: Path) -> None:
    rows = [*SQUARE, [0.5, 0]]
    head = save_head(tmp_path / "head.npz", rows, b=[0, 0, 0, 0, -3])
    reach("scan", "--head", head, "--domain", "ball:1", "--out", tmp_path / "run", "--quiet", "--no-report")
    upper = columns_of(tmp_path / "run")["margin_upper"][4]
    for wrong in (upper - 1e-3, upper - 1e-5, 2 * upper, upper / 2, 0.0):
        change_verdict(tmp_path / "run", 4, margin_upper=wrong)
        assert reach("verify", tmp_path / "run", "--quiet").code == 1
    change_verdict(tmp_path / "run", 4, margin_upper=upper)
    assert reach("verify", tmp_path / "run", "--quiet").code == 0


@pytest.mark.parametrize(
    "setting", [{"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}, {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}], ids=str
)
def test_scan_and_verify_work_where_reduced_precision_is_asked_for(tmp_path: Path, setting: dict[str, str]) -> None:
    head = save_head(tmp_path / "head.npz", SQUARE)
    environment = {**os.environ, **setting}
    for command in (
        ("scan", "--head", head, "--domain", "ball:1", "--out", tmp_path / "run", "--no-report"),
        ("verify", tmp_path / "run"),
    ):
        ended = reach_process(*command, "--quiet", env=environment)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
