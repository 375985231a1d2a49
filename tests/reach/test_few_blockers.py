from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reach_command import reach, save_head

from reach.few_blockers import few_blockers
from reach.few_blockers_check import few_blockers_faults
from reach.runs.schema import FEW_BLOCKERS, HULL_WEIGHTS
from solvers.checks.hull import hull_upper_bound
from solvers.domains import Ball
from solvers.problem import ArgmaxProblem


def tables(margin: float, weights: dict[int, float]) -> tuple[pa.Table, pa.Table]:
    """What a scan leaves of one unspeakable token, number 0, of five."""
    verdicts = pa.table({"verdict": ["unspeakable"] + [None] * 4, "margin_upper": [margin] + [None] * 4})
    verdicts = verdicts.set_column(1, "margin_upper", pa.array([margin] + [None] * 4, pa.float64()))
    rows = [{"token_id": 0, "row_id": row, "weight": weight} for row, weight in weights.items()]
    return verdicts, pa.Table.from_pylist(rows, schema=HULL_WEIGHTS)


def cross(offset: float) -> ArgmaxProblem:
    """Token 0 at the origin and lower by `offset`, the others a step away along the axes; the disk of radius 1."""
    rows = torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    return ArgmaxProblem(rows, Ball(1.0), bias=torch.tensor([-offset, 0, 0, 0, 0], dtype=torch.float64))


def test_two_opposite_blockers_do_what_four_did():
    # The mean of all four is the origin, and so is that of two opposite ones: either way the margin is −1/2.
    problem = cross(0.5)
    verdicts, stored = tables(-0.5, {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25})
    found = few_blockers(problem, verdicts, stored).to_pylist()
    assert [(one["token_id"], one["row_id"]) for one in found] == [(0, 1), (0, 2)]
    assert [one["weight"] for one in found] == pytest.approx([0.5, 0.5], abs=1e-4)
    assert found[0]["margin_upper"] == pytest.approx(-0.5, abs=1e-3)
    assert list(few_blockers_faults(problem, verdicts, few_blockers(problem, verdicts, stored))) == []


def test_one_blocker_is_enough_where_it_always_lies_above():
    # (A₀ − A₁)·z ≤ 1 on the disk, and token 0 is lower by 2: token 1 alone keeps it down, by at least 1.
    verdicts, stored = tables(-2.0, {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25})
    (only,) = few_blockers(cross(2.0), verdicts, stored).to_pylist()
    assert (only["row_id"], only["weight"]) == (1, 1.0)
    assert only["margin_upper"] == pytest.approx(-1.0)


def test_a_row_in_the_hull_has_no_shorter_proof():
    verdicts, stored = tables(0.0, {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25})
    assert few_blockers(cross(0.0), verdicts, stored).num_rows == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.floats(0.05, 2.0))
def test_what_is_found_is_proved_and_shorter(seed: int, d: int, offset: float):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.zeros((1, d)), rng.standard_normal((12, d))])
    bias = np.append(-offset, np.zeros(12))
    problem = ArgmaxProblem(torch.from_numpy(rows), Ball(1.0), bias=torch.from_numpy(bias))
    weights = rng.dirichlet(np.ones(12))
    bound = hull_upper_bound(problem, 0, np.arange(1, 13), weights)
    verdicts = pa.table({
        "verdict": ["unspeakable"] + [None] * 12, "margin_upper": pa.array([bound] + [None] * 12, pa.float64()),
    })  # fmt: skip
    stored = pa.table([[0] * 12, np.arange(1, 13), weights], schema=HULL_WEIGHTS)
    found = few_blockers(problem, verdicts, stored)
    assert found.num_rows < 12
    if found.num_rows:
        row, weight = (found.column(name).to_numpy() for name in ("row_id", "weight"))
        assert hull_upper_bound(problem, 0, row.astype(np.int64), weight) <= 0
        assert list(few_blockers_faults(problem, verdicts, found)) == []


def test_verify_finds_short_proofs_that_prove_less(tmp_path: Path):
    # Given a run with a token that few blockers keep down
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.standard_normal((40, 3)), np.zeros((1, 3))])
    head = save_head(tmp_path / "head.npz", rows, b=np.append(np.zeros(40), -0.8))
    run = tmp_path / "run"
    assert reach("scan", "--head", head, "--domain", "ball:1", "--out", run, "--quiet", "--no-report").code == 0
    assert reach("verify", run, "--quiet").code == 0
    file = run / "few_blockers.parquet"
    good = pq.read_table(file)
    assert 0 < good.num_rows < 4
    assert set(good.column("token_id").to_pylist()) == {40}

    def changed(name: str, value: object) -> pa.Table:
        rows = good.to_pylist()
        rows[0][name] = value
        return pa.Table.from_pylist(rows, schema=FEW_BLOCKERS)

    bound = good.column("margin_upper")[0].as_py()
    for name, value in (
        ("margin_upper", bound - 0.01), ("margin_upper", 0.5), ("weight", 0.9), ("row_id", 40), ("token_id", 3),
    ):  # fmt: skip
        pq.write_table(changed(name, value), file)
        told = reach("verify", run, "--quiet")
        assert told.code == 1, name
        assert "short proof" in told.out + told.err
