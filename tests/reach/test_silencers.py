"""Tokens that single others silence: against rational arithmetic pair by pair, and where there can be none."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from reach_command import reach, save_head

from reach.runs.schema import SILENCERS
from reach.silencers import STRONGEST, silencer_faults, silencer_table, silencers
from solvers.domains import Ball, Box
from solvers.problem import ArgmaxProblem


def verdicts_of(names: list[str]) -> pa.Table:
    return pa.table({"verdict": names})


def truly_silenced(problem: ArgmaxProblem, t: int) -> list[int]:
    """The tokens j with R²·‖a_t − a_j‖² ≤ (c_j − c_t)² and c_j ≥ c_t, in rational arithmetic; equal ones left out."""
    rows = [[Fraction(float(x)) for x in row] for row in problem.weight.double()]
    c = [Fraction(float(x)) for x in problem.offset]
    assert isinstance(problem.domain, Ball)
    found = []
    for j in range(problem.v):
        square = sum((x - y) ** 2 for x, y in zip(rows[t], rows[j], strict=True))
        lead = c[j] - c[t]
        if (square or lead) and lead >= 0 and Fraction(problem.domain.squared_radius) * square <= lead**2:
            found.append(j)
    return found


def head(seed: int, v: int = 60, d: int = 4) -> ArgmaxProblem:
    """Rows on a coarse grid and offsets in steps, so that many pairs touch exactly, and some are equal."""
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(np.round(rng.standard_normal((v, d)) * 2) / 4).float()
    bias = torch.from_numpy(np.round(rng.standard_normal(v) * 8) / 4).float()
    rows[1], bias[1] = rows[0], bias[0]
    return ArgmaxProblem(rows, Ball(4.0), bias=bias)


@pytest.mark.parametrize("seed", range(4))
def test_every_pair_is_as_rational_arithmetic_says(seed: int) -> None:
    problem = head(seed)
    counts, rivals, bounds = silencers(problem, torch.arange(problem.v), limit=8 * 60 * 6 * 7)
    truth = [truly_silenced(problem, t) for t in range(problem.v)]
    assert counts.tolist() == [len(found) for found in truth] and max(counts) > STRONGEST
    for t, found in enumerate(truth):
        named = [j for j in rivals[t].tolist() if j >= 0]
        assert set(named) <= set(found) and len(named) == min(len(found), STRONGEST)
        true = sorted(
            2 * float((problem.rows(slice(None))[t] - problem.rows(slice(None))[j]).norm())
            + float(problem.offset[t] - problem.offset[j])
            for j in found
        )
        assert bounds[t][: len(named)] == pytest.approx(true[: len(named)], abs=1e-12)
        assert (bounds[t][: len(named)] <= 0).all() and np.isinf(bounds[t][len(named) :]).all()


def test_only_a_ball_with_offsets_has_silencers() -> None:
    rows = torch.eye(3)
    verdicts = verdicts_of(["unspeakable"] * 3)
    assert silencer_table(ArgmaxProblem(rows, Ball(1.0)), verdicts) is None
    box = Box(np.full(3, -1.0), np.ones(3))
    assert silencer_table(ArgmaxProblem(rows, box, bias=torch.arange(3.0)), verdicts) is None
    table = silencer_table(ArgmaxProblem(rows, Ball(1e-4), bias=torch.arange(3.0)), verdicts)
    assert table is not None and table.schema == SILENCERS
    assert table.to_pydict()["token_id"] == [0, 1] and table.to_pydict()["strongest"] == [[2, 1], [2]]


def test_tokens_that_win_are_not_looked_at() -> None:
    problem = head(0)
    everyone = silencer_table(problem, verdicts_of(["undecided"] * problem.v))
    assert everyone is not None and everyone.num_rows > 5
    token = everyone.column("token_id")[0].as_py()
    names = ["undecided"] * problem.v
    names[token] = "speakable"
    fewer = silencer_table(problem, verdicts_of(names))
    assert fewer is not None and fewer.to_pylist() == everyone.to_pylist()[1:]


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("count", lambda value: value + 1, "recorded as silenced by"),
        ("strongest", lambda value: [*value[:-1], 59], "named as its silencer|does not have the margin"),
        ("strongest", lambda value: [*value[:-1], -1], "does not exist"),
        ("strongest", lambda value: value[:-1], "strongest silencers are not"),
        ("bound", lambda value: [value[0] - 1e-3, *value[1:]], "recorded with margins of at most"),
        ("token_id", lambda _: 59, "not recorded"),
    ],
)
def test_a_changed_record_is_named(column: str, change, said: str) -> None:
    problem = head(3)
    verdicts = verdicts_of(["unspeakable"] * problem.v)
    table = silencer_table(problem, verdicts)
    assert table is not None and not list(silencer_faults(problem, verdicts, table))
    rows = table.to_pylist()
    at = next(i for i, row in enumerate(rows) if row["count"] > 1 and 59 not in (row["token_id"], *row["strongest"]))
    assert 59 not in truly_silenced(problem, rows[at]["token_id"])
    rows[at][column] = change(rows[at][column])
    faults = dict(silencer_faults(problem, verdicts, pa.Table.from_pylist(rows, schema=SILENCERS)))
    assert faults, "the change was not seen"
    assert any(re.search(said, why) for why in faults.values()), faults


def test_a_run_holds_them_and_verify_finds_them_again(tmp_path: Path) -> None:
    problem = head(1)
    file = save_head(tmp_path / "head.npz", problem.weight.numpy(), b=problem.bias.numpy())
    run = tmp_path / "run"
    base = ("scan", "--head", file, "--domain", "ball:2", "--out", run, "--quiet", "--no-report")
    assert reach(*base).code == 0
    table = pq.read_table(run / "silencers.parquet")
    assert table.num_rows > 3
    assert reach("verify", run, "--quiet").code == 0
    rows = table.to_pylist()
    rows[0]["count"] += 1
    pq.write_table(pa.Table.from_pylist(rows, schema=SILENCERS), run / "silencers.parquet")
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1 and f"token {rows[0]['token_id']}" in outcome.out and "silenced by" in outcome.out
