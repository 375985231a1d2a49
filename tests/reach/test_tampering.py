"""Certificates changed by hand: `reach verify` must refuse them and name the token."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from reach_command import (
    Outcome,
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

from reach.scanning.judge import Judge

VERDICTS = ("speakable", "tied", "unspeakable")


@pytest.fixture(scope="module")
def free_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of R³, no offsets: corners 0–7, inner points 8–10, 11 equal to 7, inner equals 12 and 13, 16 hard."""
    corners = [list(corner) for corner in itertools.product((-1.0, 1.0), repeat=3)]
    inner = [[0, 0, 0], [1, 1, 0], [0.5, 0.25, -0.5], [1, 1, 1], [0.25, 0.25, 0.25], [0.25, 0.25, 0.25]]
    outer = [[1.25, 0, 0], [0, 1.0078125, 0], [0.75, 0.75, 1.015625]]
    folder = tmp_path_factory.mktemp("free")
    head = save_head(folder / "head.npz", [*corners, *inner, *outer])
    with points_stored():
        outcome = reach("scan", "--head", head, "--domain", "free", "--out", folder / "run", "--quiet", "--no-report")
    assert outcome.code == 0
    columns = columns_of(folder / "run")
    assert [columns["verdict"][t] for t in (7, 8, 9, 10, 11, 12, 13)] == ["tied", *["unspeakable"] * 3, "tied"] + [
        "unspeakable"
    ] * 2
    assert columns["witness"][16] == "stored"
    assert columns["verdict"].count("speakable") == 10
    return folder / "run"


@pytest.fixture(scope="module")
def normed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A norm and offsets: proofs with margins below zero, stored witnesses and recipes."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((150, 6)) * rng.uniform(0.5, 1.5, (150, 1))
    folder = tmp_path_factory.mktemp("normed")
    head = save_head(folder / "head.npz", rows, gamma=rng.uniform(0.5, 1.5, 6), b=rng.standard_normal(150))
    with points_stored():
        assert reach("scan", "--head", head, "--out", folder / "run", "--quiet", "--no-report").code == 0
    return folder / "run"


def points_stored() -> AbstractContextManager[object]:
    """As where weights lead to no good point: few tokens are like that, and here they are wanted."""
    return patch.object(Judge, "forget_points")


@pytest.fixture(params=["free", "normed"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one of the two runs, for changing."""
    return copied(request.getfixturevalue(f"{request.param}_run"), tmp_path / "run")


@pytest.fixture
def free(free_run: Path, tmp_path: Path) -> Path:
    return copied(free_run, tmp_path / "free")


@pytest.fixture
def normed(normed_run: Path, tmp_path: Path) -> Path:
    return copied(normed_run, tmp_path / "normed")


def copied(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run, to))


def tokens_with(run: Path, **wanted: object) -> list[int]:
    """The tokens whose verdict has these entries."""
    columns = columns_of(run)
    return [t for t in columns["token_id"] if all(columns[name][t] == value for name, value in wanted.items())]


def several_blockers(run: Path) -> int:
    """An unspeakable token with at least three blockers."""
    return next(token for token, weights in hulls_of(run).items() if len(weights) >= 3)


def refused(run: Path, token: int, *reasons: str) -> Outcome:
    """Verify must end with exit code 1, name the token and give one of the reasons."""
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1, outcome.out
    line = next((line for line in outcome.out.splitlines() if re.match(rf" +token {token}\b", line)), None)
    assert line is not None, outcome.out
    assert any(reason in line for reason in reasons), line
    return outcome


def change_witness(run: Path, token: int, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    """Change one stored witness, or drop it where `change` returns none."""
    for file in (run / "witnesses").glob("*.safetensors"):
        arrays = load_file(file)
        for bits in ("float32", "float64"):
            tokens = arrays.get(f"token_id.{bits}")
            if tokens is None or token not in tokens:
                continue
            place = tokens.tolist().index(token)
            new = change(arrays[f"point.{bits}"][place].copy())
            if new is None:
                for name in ("token_id", "point"):
                    arrays[f"{name}.{bits}"] = np.delete(arrays[f"{name}.{bits}"], place, axis=0)
            else:
                arrays[f"point.{bits}"][place] = new
            save_file(arrays, file)
            return
    raise AssertionError(f"token {token} has no stored witness")


# --- untouched -----------------------------------------------------------------------------------------------------


def test_an_untouched_run_is_proved_again(run: Path) -> None:
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 0, outcome.out
    assert f"{manifest_of(run)['v']} verdicts proved again" in outcome.out


def test_rewriting_the_tables_alone_changes_nothing(run: Path) -> None:
    """The helpers that the other tests use lose nothing by themselves."""
    change_verdict(run, 0)
    token = several_blockers(run)
    change_hull(run, token, hulls_of(run)[token])
    assert reach("verify", run, "--quiet").code == 0


# --- hull weights --------------------------------------------------------------------------------------------------


def test_one_weight_changed(run: Path) -> None:
    token = several_blockers(run)
    weights = hulls_of(run)[token]
    weights[next(iter(weights))] += 1e-3
    change_hull(run, token, weights)
    refused(run, token, "add up to")


@pytest.mark.parametrize("step", [1e-2, 1e-4])
def test_two_weights_shifted_so_that_the_sum_stays_one(run: Path, step: float) -> None:
    token = several_blockers(run)
    weights = hulls_of(run)[token]
    first, second, *_ = sorted(weights, key=weights.__getitem__)[::-1]
    weights[first] -= step
    weights[second] += step
    change_hull(run, token, weights)
    refused(run, token, "its hull weights")


def test_one_row_index_changed(run: Path) -> None:
    token = several_blockers(run)
    weights = hulls_of(run)[token]
    first = max(weights, key=weights.__getitem__)
    other = next(t for t in tokens_with(run, verdict="speakable") if t not in weights)
    weights[other] = weights.pop(first)
    change_hull(run, token, weights)
    refused(run, token, "its hull weights")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda t, _: [(t, 1.0)], "among its own blockers", id="itself"),
        pytest.param(lambda *_: [(10_000, 1.0)], "does not exist", id="no such row"),
        pytest.param(lambda *_: [(-1, 1.0)], "does not exist", id="a negative row"),
        pytest.param(lambda *_: [(0, 0.5), (0, 0.5)], "named twice", id="twice"),
        pytest.param(lambda *_: [(0, 2.0), (1, -1.0)], "negative", id="a negative weight"),
        pytest.param(lambda _, w: [(j, math.nan) for j in w], "not a finite number", id="NaN everywhere"),
        pytest.param(lambda _, w: [*list(w.items())[1:], (next(iter(w)), math.nan)], "not a finite number", id="NaN"),
        pytest.param(lambda _, w: [(j, math.inf) for j in w], "not a finite number", id="Inf"),
        pytest.param(lambda *_: [], "no hull weights are stored", id="dropped"),
        pytest.param(lambda _, w: [(j, x / 2) for j, x in w.items()], "add up to 0.5", id="halved"),
    ],
)
def test_weights_that_are_none(run: Path, change: Callable, reason: str) -> None:
    token = several_blockers(run)
    change_hull(run, token, change(token, hulls_of(run)[token]))
    refused(run, token, reason)


def test_json_names_the_token_too(run: Path) -> None:
    token = several_blockers(run)
    change_hull(run, token, {})
    outcome = reach("verify", run, "--json")
    found = json.loads(outcome.out)
    assert outcome.code == 1
    assert not found["ok"]
    assert found["failed"] == [{"token_id": token, "reason": "no hull weights are stored"}]


def test_an_equal_row_as_blocker_proves_nothing(free: Path) -> None:
    change_hull(free, 12, {13: 1.0})
    refused(free, 12, "a row equal to the token's own")


def test_hull_weights_for_a_speakable_token(run: Path) -> None:
    token = tokens_with(run, verdict="speakable")[0]
    change_hull(run, token, hulls_of(run)[several_blockers(run)])
    refused(run, token, "not unspeakable")


def test_hull_weights_for_a_token_that_does_not_exist(run: Path) -> None:
    change_hull(run, 4242, {0: 1.0})
    refused(run, 4242, "not unspeakable")


# --- witnesses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda z: z + np.eye(len(z), dtype=z.dtype)[0] * z.dtype.type(np.abs(z).max()), id="one entry"),
        pytest.param(lambda z: -z, id="turned round"),
        pytest.param(lambda z: z * 0, id="zero"),
        pytest.param(lambda z: z * 1000, id="far out"),
        pytest.param(lambda z: z * np.nan, id="NaN"),
        pytest.param(lambda z: np.where(np.arange(len(z)) == 0, np.inf, z).astype(z.dtype), id="Inf"),
    ],
)
def test_one_stored_witness_changed(run: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    token = tokens_with(run, verdict="speakable", witness="stored", own_direction=False)[0]
    change_witness(run, token, change)
    refused(run, token, "witness")


def test_a_stored_witness_dropped(run: Path) -> None:
    token = tokens_with(run, verdict="speakable", witness="stored")[0]
    change_witness(run, token, lambda _: None)
    refused(run, token, "its witness is missing")


def test_all_stored_witnesses_dropped(run: Path) -> None:
    shutil.rmtree(run / "witnesses")
    outcome = reach("verify", run, "--json")
    assert outcome.code == 1
    failed = {row["token_id"]: row["reason"] for row in json.loads(outcome.out)["failed"]}
    assert failed == dict.fromkeys(tokens_with(run, witness="stored"), "its witness is missing")


@pytest.mark.parametrize("kind", ["stored", None, "", "magic"])
def test_the_kind_of_a_recipe_dropped(run: Path, kind: str | None) -> None:
    token = tokens_with(run, verdict="speakable", witness="own-row")[0]
    change_verdict(run, token, witness=kind)
    refused(run, token, "its witness is missing")


def test_the_own_recipe_swapped_for_the_other(run: Path) -> None:
    token = tokens_with(run, verdict="speakable", witness="own-row")[0]
    change_verdict(run, token, witness="centred-row", own_direction=False)
    refused(run, token, "recorded margin", "at least as high")


def test_a_recipe_in_the_place_of_a_stored_witness(run: Path) -> None:
    token = tokens_with(run, verdict="speakable", witness="stored", own_direction=False)[0]
    change_verdict(run, token, witness="own-row")
    refused(run, token, "at least as high", "own-direction", "recorded margin")


# --- verdicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(VERDICTS, 2)))
def test_a_verdict_flipped(free: Path, normed: Path, before: str, after: str) -> None:
    for run in (free,) if before == "tied" else (free, normed):
        token = tokens_with(run, verdict=before)[0]
        change_verdict(run, token, verdict=after)
        refused(run, token, "")


@pytest.mark.parametrize("before", VERDICTS)
def test_a_verdict_flipped_with_all_that_goes_with_it(free: Path, before: str) -> None:
    """Even where the other entries are made to fit, the certificate is not there."""
    token = tokens_with(free, verdict=before)[0]
    if before == "unspeakable":
        change_hull(free, token, {})
        change_verdict(
            free,
            token,
            verdict="speakable",
            witness="own-row",
            own_direction=True,
            margin_lower=1.0,
            margin_upper=1.0,
        )
    else:
        nothing = {"witness": None, "own_direction": False, "margin_lower": None, "argmax_id": None}
        change_verdict(free, token, verdict="unspeakable", evidence="exact", margin_upper=0.0, **nothing)
        change_hull(free, token, {0 if token else 1: 0.5, 2: 0.25, 4: 0.25})
    refused(free, token, "")


@pytest.mark.parametrize("before", VERDICTS)
@pytest.mark.parametrize("verdict", ["undecided", None, "certain"])
def test_a_verdict_taken_back(free: Path, before: str, verdict: str | None) -> None:
    token = tokens_with(free, verdict=before)[0]
    change_verdict(free, token, verdict=verdict, reason="too hard" if verdict == "undecided" else None)
    outcome = reach("verify", free, "--quiet")
    assert outcome.code == 1
    assert "manifest.json: its totals are not those of verdicts.parquet" in outcome.out
    if verdict is None:
        assert "17 tokens were asked for, but 16 have a verdict" in outcome.out


def test_an_undecided_token_without_a_reason(free: Path) -> None:
    change_verdict(free, 3, verdict="undecided")
    refused(free, 3, "without a reason")


def test_the_argmax_of_a_tied_token_changed(free: Path) -> None:
    change_verdict(free, 7, argmax_id=11)
    refused(free, 7, "argmax returns 7, not 11")
    change_verdict(free, 7, argmax_id=None)
    refused(free, 7, "argmax returns 7, not None")


@pytest.mark.parametrize("given", ["certain", None, ""])
def test_an_unknown_evidence(run: Path, given: str | None) -> None:
    token = tokens_with(run, verdict="speakable")[0]
    change_verdict(run, token, evidence=given)
    refused(run, token, "unknown evidence")


def test_raised_evidence_is_asked_for_in_rational_arithmetic(run: Path) -> None:
    """A claim of exactness that is true is proved; the count of the manifest still gives it away."""
    token = tokens_with(run, verdict="speakable", evidence="rigorous")[0]
    change_verdict(run, token, evidence="exact")
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1
    assert "FAILED for" not in outcome.out
    assert "its totals are not those" in outcome.out


@pytest.mark.parametrize("field", ["margin_lower", "margin_upper"])
@pytest.mark.parametrize("value", [-1e9, 1e9, math.nan, math.inf, None, 0.25])
def test_a_margin_changed(run: Path, field: str, value: float | None) -> None:
    """All but an upper margin that no certificate is kept for: it may only not lie below the lower one."""
    columns = columns_of(run)
    for verdict in VERDICTS:
        for token in tokens_with(run, verdict=verdict)[:1]:
            before = columns[field][token]
            loose = verdict == "speakable" and field == "margin_upper"
            if before == value or (loose and (value is None or value >= columns["margin_lower"][token])):
                continue
            change_verdict(run, token, **{field: value})
            refused(run, token, "margin")
            change_verdict(run, token, **{field: before})


def test_a_margin_changed_in_its_fourth_digit(run: Path) -> None:
    columns = columns_of(run)
    token = tokens_with(run, verdict="speakable")[0]
    change_verdict(run, token, margin_lower=columns["margin_lower"][token] * 1.001)
    refused(run, token, "recorded margin")


def test_a_margin_cannot_hide_behind_one_enormous_row(tmp_path: Path) -> None:
    """The rounding that is allowed for is that of the rows which are compared, not that of the largest row."""
    rows = [[2, 0, 0], [0, 2, 0], [0, 0, 2], [0, 0, -1e9], [-2, -2, 1]]
    head = save_head(tmp_path / "head.npz", rows, dtype=np.float64)
    run = tmp_path / "run"
    assert reach("scan", "--head", head, "--domain", "free", "--out", run, "--quiet", "--no-report").code == 0
    assert reach("verify", run, "--quiet").code == 0
    columns = columns_of(run)
    assert columns["verdict"][2] == "speakable"
    change_verdict(run, 2, margin_lower=columns["margin_lower"][2] + 0.5, margin_upper=1e38)
    refused(run, 2, "recorded margin")


def test_own_direction_claimed_for_a_hard_token(run: Path) -> None:
    token = tokens_with(run, verdict="speakable", own_direction=False)[-1]
    change_verdict(run, token, own_direction=True)
    refused(run, token, "own-direction")


def test_own_direction_taken_away(run: Path) -> None:
    token = tokens_with(run, verdict="speakable", witness="own-row")[0]
    change_verdict(run, token, own_direction=False)
    refused(run, token, "own-direction")


def test_own_direction_claimed_for_an_unspeakable_token(run: Path) -> None:
    token = tokens_with(run, verdict="unspeakable")[0]
    change_verdict(run, token, own_direction=True)
    refused(run, token, "own-direction")


# --- rows that are known only up to rounding -----------------------------------------------------------------------


@pytest.fixture
def projected(tmp_path: Path) -> Path:
    """The run of a model whose head has a projection folded into its rows (as opt-350m has)."""
    generator = torch.Generator().manual_seed(5)
    folder = tmp_path / "model"
    folder.mkdir()
    v, d, inner = 60, 8, 4
    settings = {"model_type": "opt", "architectures": ["OPTForCausalLM"], "vocab_size": v, "hidden_size": d}
    settings |= {"word_embed_proj_dim": inner, "num_hidden_layers": 1, "do_layer_norm_before": True}
    (folder / "config.json").write_text(json.dumps(settings))
    shapes = {"embed_tokens.weight": (v, inner), "project_out.weight": (inner, d)}
    shapes |= {"final_layer_norm.weight": (d,), "final_layer_norm.bias": (d,)}
    tensors = {
        f"model.decoder.{name}": torch.randn(shape, generator=generator).numpy() for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors")
    outcome = reach("scan", folder, "--out", tmp_path / "run", "--quiet", "--no-report")
    assert outcome.code == 0, outcome.err
    assert {"speakable", "unspeakable"} <= set(columns_of(tmp_path / "run")["verdict"])
    assert reach("verify", tmp_path / "run", "--quiet").code == 0
    return tmp_path / "run"


def test_evidence_that_rounded_rows_cannot_have(projected: Path) -> None:
    for verdict in ("speakable", "unspeakable"):
        token = tokens_with(projected, verdict=verdict)[0]
        change_verdict(projected, token, evidence="exact")
        refused(projected, token, "known only up to rounding")
    assert reach("verify", projected, "--exact", "--quiet").code == 1


def test_weights_that_prove_nothing_about_rounded_rows(projected: Path) -> None:
    token = tokens_with(projected, verdict="unspeakable")[0]
    winner = tokens_with(projected, verdict="speakable")[0]
    change_hull(projected, token, {winner: 1.0})
    refused(projected, token, "known only up to rounding", "recorded margin")


# --- the run as a whole --------------------------------------------------------------------------------------------


def test_totals_changed(run: Path) -> None:
    totals = manifest_of(run)["totals"]
    totals["verdicts"]["unspeakable"] -= 1
    change_manifest(run, totals=totals)
    outcome = reach("verify", run, "--quiet")
    assert outcome.code == 1
    assert "its totals are not those of verdicts.parquet" in outcome.out


def test_the_run_of_another_model(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    other = save_head(tmp_path / "other.npz", rng.standard_normal((17, 3)))
    change_manifest(run, loading={"model": str(other), "domain": "free", "revision": None, "overrides": {}})
    assert "this run is of another model" in reach("verify", run).complaint


def test_one_weight_of_the_model_changed(free: Path, tmp_path: Path) -> None:
    with np.load(manifest_of(free)["loading"]["model"]) as arrays:
        rows = arrays["W"].copy()
    rows[3, 0] = np.nextafter(rows[3, 0], 0)
    moved = save_head(tmp_path / "moved.npz", rows)
    assert "this run is of another model" in reach("verify", free, "--model", moved).complaint


def test_a_model_that_has_moved_is_found_by_hand(free: Path, tmp_path: Path) -> None:
    moved = shutil.copy(manifest_of(free)["loading"]["model"], tmp_path / "moved.npz")
    change_manifest(free, loading={**manifest_of(free)["loading"], "model": str(tmp_path / "gone.npz")})
    assert "gone.npz: no such folder or file" in reach("verify", free).complaint
    assert reach("verify", free, "--model", moved, "--quiet").code == 0


@pytest.mark.parametrize("domain", ["ball:2", "box:-1,1"])
def test_another_domain(free: Path, domain: str) -> None:
    change_manifest(free, loading={**manifest_of(free)["loading"], "domain": domain})
    assert f"this run is over free, not {domain}" in reach("verify", free).complaint


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema(run: Path, schema: object) -> None:
    change_manifest(run, schema=schema)
    for command in ("verify", "report"):
        assert f"schema {schema!r}, but this version reads 1" in reach(command, run).complaint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"run"'])
def test_a_manifest_that_is_none(run: Path, text: str) -> None:
    (run / "manifest.json").write_text(text)
    for command in ("verify", "report"):
        assert "manifest.json" in reach(command, run).complaint


@pytest.mark.parametrize("name", ["verdicts.parquet", "hull_weights.parquet"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_table(run: Path, name: str, share: float) -> None:
    file = run / name
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    for command in ("verify", "report"):
        assert f"{file}: not readable as Parquet" in reach(command, run).complaint
    file.unlink()
    for command in ("verify", "report"):
        assert f"{file}: missing" in reach(command, run).complaint


def test_a_truncated_witness_file(run: Path) -> None:
    file = next((run / "witnesses").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-4])
    assert f"{file}: not readable" in reach("verify", run).complaint


def test_a_column_missing_or_of_another_kind(run: Path) -> None:
    file = run / "verdicts.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["margin_lower"]), file)
    assert "column margin_lower is missing" in reach("verify", run).complaint
    column = table.column_names.index("margin_lower")
    pq.write_table(table.set_column(column, "margin_lower", [["much"] * len(table)]), file)
    assert "a column is of another kind" in reach("verify", run).complaint


def test_tokens_missing_or_out_of_order(run: Path) -> None:
    file = run / "verdicts.parquet"
    table = pq.read_table(file)
    for changed in (table.slice(0, len(table) - 1), table.take([1, 0, *range(2, len(table))])):
        pq.write_table(changed, file)
        assert "its token ids are not 0 …" in reach("verify", run).complaint
