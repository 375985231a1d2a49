"""`reach scan --ceilings`: what a run then holds, that `verify` proves it again, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from reach_command import change_manifest, manifest_of, reach, save_head
from safetensors.numpy import load_file, save_file

import reach as api
from reach.runs.schema import CEILINGS
from reach.scanning import ceilings
from solvers.ceilings import find_ceilings
from solvers.checks.ceiling import check_ceilings
from solvers.errors import BadInput

GAP = 0.01


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A norm, offsets, two equal rows, and one row so long that its margin alone settles its ceiling."""
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((120, 6)) * rng.uniform(0.3, 1.5, (120, 1))
    offsets = rng.standard_normal(120)
    rows[119], offsets[119] = rows[3], offsets[3]
    rows[50] *= 12
    return save_head(tmp_path_factory.mktemp("head") / "head.npz", rows, gamma=rng.uniform(0.5, 1.5, 6), b=offsets)


@pytest.fixture(scope="module")
def run(head: Path) -> Path:
    folder = head.parent / "run"
    outcome = reach("scan", "--head", head, "--out", folder, "--ceilings", GAP, "--quiet", "--no-report")
    assert outcome.code == 0
    assert "ceilings: 120 of 120 to 0.01 in ln p" in outcome.out
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def table_of(folder: Path) -> dict[str, list]:
    return pq.read_table(folder / "ceilings.parquet").to_pydict()


def test_the_bounds_are_close_and_no_point_is_above_them(run: Path, head: Path) -> None:
    table = table_of(run)
    lower, upper = np.array(table["log_probability_lower"]), np.array(table["log_probability_upper"])
    assert table["token_id"] == list(range(120)) and set(table["certificate"]) == {"point", "margin"}
    assert table["certificate"][50] == "margin"
    assert (upper - lower <= GAP).all() and (upper <= 0).all() and (upper[upper < -0.7] < math.log(0.5)).all()
    problem = api.load(head).problem()
    generator = torch.Generator().manual_seed(0)
    z = problem.domain.stretch(torch.randn((4000, 6), dtype=torch.float64, generator=generator))
    found = torch.log_softmax(z @ problem.rows(slice(None)).T + problem.offset, dim=1).max(dim=0).values.numpy()
    assert (found <= upper).all()
    assert (found > lower - 0.5).mean() > 0.9, "sampling comes near the ceilings in six dimensions"
    # Equal rows share what there is.
    assert (lower[3], upper[3]) == (lower[119], upper[119]) and upper[3] <= math.log(0.5) + 1e-9


def test_verify_proves_both_ends_again(run: Path) -> None:
    assert reach("verify", run, "--quiet").code == 0


def test_what_python_says(run: Path) -> None:
    lower, upper = api.open(run).ceiling
    assert (upper - lower <= GAP).all() and len(upper) == 120
    verdicts = api.prove(np.eye(4), domain="ball:2", ceilings=0.001, tokens=[0, 2])
    lower, upper = verdicts.ceiling
    best = -math.log1p(3 * math.exp(-2 * math.sqrt(4 / 3)))  # at z = R·(e_t − mean), less its part along 1
    assert lower[0] <= best <= upper[0] and upper[0] - lower[0] < 0.001
    assert np.isnan(lower[1]) and np.isnan(upper[3])
    assert verdicts.verify().ok
    assert np.isnan(api.prove(np.eye(4)).ceiling[0]).all()
    free = api.prove(np.eye(4), ceilings=0.01)
    assert free.ceiling[0] == pytest.approx(-math.log1p(3 * math.exp(-math.sqrt(4 / 3))), abs=0.01)
    assert free.verify().ok


def test_on_the_whole_space_a_margin_proves_no_ceiling(tmp_path: Path) -> None:
    verdicts = api.prove(30 * np.eye(4), ceilings=0.01)
    assert set(verdicts.tables.ceilings.table.column("certificate").to_pylist()) == {"point"}
    folder = verdicts.save(tmp_path / "run")
    rows = pq.read_table(folder / "ceilings.parquet").to_pylist()
    rows[2] |= {"certificate": "margin", "log_probability_lower": 0.0, "log_probability_upper": 0.0}
    pq.write_table(pa.Table.from_pylist(rows, schema=CEILINGS), folder / "ceilings.parquet")
    assert "its margin gives -inf" in api.open(folder).verify(verdicts.problem).failed[2]


def test_rows_that_are_all_equal_share_everything_evenly() -> None:
    verdicts = api.prove(np.ones((5, 3)), domain="box:-1,1", ceilings=0.01)
    assert verdicts.ceiling[0] == pytest.approx(math.log(1 / 5), abs=1e-9)
    assert verdicts.ceiling[1] == pytest.approx(math.log(1 / 5), abs=1e-9)
    assert verdicts.verify().ok


def changed(name: str, at: int, change: Callable) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        rows = pq.read_table(folder / "ceilings.parquet").to_pylist()
        rows[at][name] = change(rows[at][name])
        pq.write_table(pa.Table.from_pylist(rows, schema=CEILINGS), folder / "ceilings.parquet")

    return apply


def points_changed(change: Callable[[dict[str, np.ndarray], int], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "ceiling_points.safetensors"
        arrays = {name: array.copy() for name, array in load_file(file).items()}
        change(arrays, arrays["token_id.float32"].tolist().index(7))
        save_file(arrays, file)

    return apply


def _one_entry(arrays: dict[str, np.ndarray], at: int) -> None:
    arrays["point.float32"][at, 2] = np.nextafter(arrays["point.float32"][at, 2], np.float32(9))


def _of_another(arrays: dict[str, np.ndarray], at: int) -> None:
    arrays["token_id.float32"][at] = 50


def _outside(arrays: dict[str, np.ndarray], at: int) -> None:
    arrays["point.float32"][at] *= 2


def _fewer(folder: Path) -> None:
    table = pq.read_table(folder / "ceilings.parquet")
    pq.write_table(table.filter([t != 7 for t in range(120)]), folder / "ceilings.parquet")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed("log_probability_lower", 7, lambda x: x + 1e-8), "its ceiling is recorded as"),
        (changed("log_probability_lower", 7, lambda x: x - 1e-8), "its ceiling is recorded as"),
        (changed("log_probability_upper", 7, lambda x: x - 1e-8), "its ceiling is recorded as"),
        (changed("log_probability_upper", 7, lambda _: math.nan), "its ceiling is recorded as"),
        (changed("certificate", 7, lambda _: "margin"), "its margin gives"),
        (changed("certificate", 7, lambda _: "oath"), "unknown certificate"),
        (changed("certificate", 7, lambda _: None), "without a certificate"),
        (changed("log_probability_lower", 50, lambda x: x / 2), "its margin gives"),
        (points_changed(_one_entry), "its ceiling is recorded as"),
        (points_changed(_of_another), "missing or not usable"),
        (points_changed(_outside), "its ceiling is recorded as"),
        (_fewer, "one row for each token"),
    ],
)
def test_what_was_changed_is_named(copy: Path, change: Callable[[Path], None], said: str) -> None:
    change(copy)
    outcome = reach("verify", copy, "--quiet", "--json")
    failed = json.loads(outcome.out)["failed"]
    assert outcome.code == 1 and any(said in one["reason"] for one in failed)
    assert {one["token_id"] for one in failed} <= {7, 50}


def test_a_missing_table_is_named(copy: Path) -> None:
    (copy / "ceilings.parquet").unlink()
    outcome = reach("verify", copy, "--quiet")
    assert outcome.code == 1 and "ceilings were asked for, yet ceilings.parquet is missing" in outcome.out


def test_a_damaged_table_of_points_is_one_line(copy: Path) -> None:
    file = copy / "ceiling_points.safetensors"
    arrays = load_file(file)
    save_file({**arrays, "token_id.float32": arrays["token_id.float32"][1:].copy()}, file)
    outcome = reach("verify", copy, "--quiet")
    assert outcome.code == 2 and "do not fit each other" in outcome.err and outcome.err.count("\n") == 1


def test_a_run_without_them_has_none(head: Path, tmp_path: Path) -> None:
    run = tmp_path / "plain"
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--no-report").code == 0
    assert not (run / "ceilings.parquet").exists() and not (run / "ceiling_points.safetensors").exists()
    assert reach("verify", run, "--quiet").code == 0


@pytest.mark.parametrize("value", ["0", "1", "-0.1", "nan", "2", "much"])
def test_bad_gaps_are_one_line(head: Path, tmp_path: Path, value: str) -> None:
    outcome = reach("scan", "--head", head, "--out", tmp_path / "run", "--ceilings", value)
    assert outcome.code == 2 and "--ceilings" in outcome.err
    assert not (tmp_path / "run").exists()


def test_the_whole_space_with_offsets_is_refused(head: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = reach("scan", "--head", head, "--domain", "free", "--out", run, "--ceilings", GAP)
    assert outcome.code == 2 and "ceilings need a bounded domain" in outcome.err and not run.exists()
    assert sum("note:" not in line for line in outcome.err.splitlines()) == 1


def test_capped_logits_are_refused_and_scaled_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    loaded = api.load({"W": rng.standard_normal((20, 4))}, domain="ball:1")
    with pytest.raises(BadInput, match="caps its logits at 30"):
        api.scan(replace(loaded, softcap=30.0), ceilings=0.01)
    scaled = api.scan(replace(loaded, logit_scale=4.0), ceilings=0.001)
    wider = api.prove(4 * np.asarray(loaded.weight), domain="ball:1", ceilings=0.001)
    assert np.abs(scaled.ceiling[0] - wider.ceiling[0]).max() < 0.001
    assert scaled.manifest.record()["head"]["logit_scale"] == 4.0 and scaled.verify().ok


def test_a_false_scale_is_named(copy: Path) -> None:
    change_manifest(copy, head=manifest_of(copy)["head"] | {"logit_scale": 2.0})
    outcome = reach("verify", copy, "--quiet")
    assert outcome.code == 1 and "its head.logit_scale is 2.0, but the model's is 1.0" in outcome.out
    change_manifest(copy, head=manifest_of(copy)["head"] | {"logit_scale": -1.0})
    assert reach("verify", copy, "--quiet").code == 2


def test_a_scan_that_is_interrupted_goes_on_with_its_ceilings(
    head: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = tmp_path / "run", []
    search = ceilings.find_ceilings

    def interrupted(problem, rows, gap, **options):
        asked.append(rows.tolist())
        if len(asked) == 4:
            raise KeyboardInterrupt
        return search(problem, rows, gap, **options)

    monkeypatch.setattr(ceilings, "find_ceilings", interrupted)
    command = ("scan", "--head", head, "--out", folder, "--ceilings", GAP, "--quiet", "--no-report")
    assert reach(*command, "--block-tokens", 16).code == 130
    assert manifest_of(folder)["status"] == "running" and not (folder / "ceilings.parquet").exists()
    blocks = sorted(folder.glob("blocks/ceilings-*.safetensors"))
    assert len(blocks) == 3
    blocks[1].write_bytes(blocks[1].read_bytes()[:-3] + b"abc")
    outcome = reach(*command, "--resume")
    assert outcome.code == 0 and f"{blocks[1]}: a damaged block" in outcome.err
    assert outcome.err.count("a damaged block") == 1
    again = {token for rows in asked[4:] for token in rows}
    assert not again & {*asked[0], *asked[2]} and again >= {*asked[1], *asked[3]}
    resumed, whole = table_of(folder), table_of(run)
    for side in ("lower", "upper"):
        here, there = (np.array(table[f"log_probability_{side}"]) for table in (resumed, whole))
        assert np.abs(here - there).max() <= GAP
    assert not (folder / "blocks").exists() and reach("verify", folder, "--quiet").code == 0


def test_a_gpu_without_room_gets_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    search, limits = ceilings.find_ceilings, []

    def cramped(problem, rows, gap, *, limit, **options):
        limits.append(limit)
        if limit > 2**24:
            raise torch.cuda.OutOfMemoryError("no room")
        return search(problem, rows, gap, limit=limit, **options)

    monkeypatch.setattr(ceilings, "find_ceilings", cramped)
    verdicts = api.prove(np.eye(4), domain="ball:2", ceilings=0.01)
    assert verdicts.verify().ok and limits == [2**27, 2**26, 2**25, 2**24]

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(ceilings, "find_ceilings", full)
    with pytest.raises(BadInput, match="GPU has no memory left; use --device cpu"):
        api.prove(np.eye(4), domain="ball:2", ceilings=0.01)


def test_a_real_vocabulary_is_closed(real_models: Path) -> None:
    problem = api.load(str(real_models / "onmt-lm")).problem()
    tokens = torch.arange(0, problem.v, 80)
    found = find_ceilings(problem, tokens, GAP)
    check = check_ceilings(problem, tokens, problem.domain.pulled_in(found.points).float())
    assert float((check.upper - check.lower).max()) <= GAP and len(tokens) > 200
    assert float(check.error.max()) < 1e-9
    assert int((check.upper < math.log(0.01)).sum()) >= 3 and int((check.lower > math.log(0.5)).sum()) > 150
    # Every point that serves one token bounds what is above all others, too.
    logits = found.points @ problem.rows(tokens).T + problem.offset[tokens]
    total = torch.logsumexp(found.points @ problem.rows(slice(None)).T + problem.offset, dim=1)
    assert bool((logits - total[:, None] <= check.upper + 1e-12).all())
