"""The real command on real trained models: every token settled, every proof accepted, and an outsider agrees."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clarabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from reach_command import columns_of, hulls_of, manifest_of, reach, reach_process
from safetensors.numpy import load_file
from scipy import sparse

from reach.runs.folder import RunFolder
from reach.runs.manifest import CategoryRecord
from reach.runs.schema import HULL_WEIGHTS, VERDICTS

CHECKED_BY_OUTSIDER = 6
"""Tokens of each kind that the formulation in this file solves anew."""


@dataclass(frozen=True)
class Scanned:
    """A finished run and what the command said about it."""

    name: str
    path: Path
    out: str

    @property
    def manifest(self) -> dict[str, Any]:
        return manifest_of(self.path)

    @property
    def columns(self) -> dict[str, list[Any]]:
        return columns_of(self.path)


@pytest.fixture(scope="module")
def onmt(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    path = tmp_path_factory.mktemp("onmt") / "run"
    outcome = reach("scan", real_models / "onmt-lm", "--out", path, "--quiet")
    assert outcome.code == 0, outcome.err
    return Scanned("onmt-lm", path, outcome.out)


@pytest.fixture(scope="module")
def stories(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    """In a process of its own, as a user runs it, with progress bars."""
    path = tmp_path_factory.mktemp("stories") / "run"
    ended = reach_process("scan", real_models / "stories260k", "--out", path)
    assert ended.returncode == 0, ended.stderr
    assert "row/s]" in ended.stderr  # of whichever stage takes longer than the tenth of a second that a bar waits
    assert "Traceback" not in ended.stderr
    return Scanned("stories260k", path, ended.stdout)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Scanned:
    """The model that comes with the package, with exact evidence asked for."""
    path = tmp_path_factory.mktemp("demo") / "run"
    outcome = reach("scan", "--out", path, "--quiet", "--exact")
    assert outcome.code == 0, outcome.err
    return Scanned("demo", path, outcome.out)


@pytest.fixture(params=["onmt", "stories", "demo"])
def scanned(request: pytest.FixtureRequest) -> Scanned:
    return request.getfixturevalue(request.param)


# --- the runs ------------------------------------------------------------------------------------------------------


def test_no_token_is_undecided_and_every_proof_accounts_for_rounding(scanned: Scanned) -> None:
    columns = scanned.columns
    assert set(columns["verdict"]) <= {"speakable", "tied", "unspeakable"}
    assert set(columns["evidence"]) <= {"rigorous", "exact"}
    assert set(columns["reason"]) == {None}
    assert None not in columns["stage"]


def test_the_counts_are_those_that_such_models_have(onmt: Scanned, stories: Scanned, demo: Scanned) -> None:
    onmt_totals, stories_totals, demo_totals = (run.manifest["totals"] for run in (onmt, stories, demo))
    assert onmt_totals["tokens"] == 16377
    assert 100 <= onmt_totals["verdicts"]["unspeakable"] <= 200
    assert onmt_totals["own_direction"] > 15000
    assert stories_totals["verdicts"] == {"speakable": 512, "tied": 0, "unspeakable": 0, "undecided": 0}
    assert stories_totals["hard_to_speak"] > 100
    assert demo_totals["own_direction"] > 100
    assert demo_totals["hard_to_speak"] > 100
    assert demo_totals["verdicts"]["unspeakable"] > 20


def test_the_margins_and_the_entries_of_every_token_fit_its_verdict(scanned: Scanned) -> None:
    columns, hulls, v = scanned.columns, hulls_of(scanned.path), scanned.manifest["v"]
    assert columns["token_id"] == list(range(v))
    assert None not in columns["token"]
    for token in range(v):
        lower, upper, witness = (columns[name][token] for name in ("margin_lower", "margin_upper", "witness"))
        assert 0 <= columns["runner_up_id"][token] < v
        assert columns["runner_up_id"][token] != token
        if columns["verdict"][token] == "unspeakable":
            assert lower is witness is None
            assert upper <= 0
            assert not columns["own_direction"][token]
            assert sum(hulls[token].values()) == pytest.approx(1)
            assert columns["runner_up_id"][token] == max(hulls[token], key=hulls[token].__getitem__)
        else:
            assert token not in hulls
            assert witness in {"own-row", "centred-row", "margin-weights", "stored"}
            assert lower >= 0
            assert upper is None or upper >= lower
    assert sorted(hulls) == [t for t in range(v) if columns["verdict"][t] == "unspeakable"]


@pytest.mark.parametrize("name", ["onmt", "demo"])
def test_verify_proves_every_token_again(request: pytest.FixtureRequest, name: str) -> None:
    scanned: Scanned = request.getfixturevalue(name)
    outcome = reach("verify", scanned.path, "--quiet")
    assert outcome.code == 0, outcome.out
    assert outcome.out.startswith(f"{scanned.path}: {scanned.manifest['v']} verdicts proved again\n")
    assert "FAILED" not in outcome.out


def test_verify_proves_every_token_again_in_a_process_of_its_own(stories: Scanned, tmp_path: Path) -> None:
    """From a copy of the run folder, somewhere else on the disk."""
    moved = shutil.copytree(stories.path, tmp_path / "elsewhere")
    ended = reach_process("verify", moved)
    assert ended.returncode == 0, ended.stdout
    assert "512 verdicts proved again" in ended.stdout


def test_exact_on_stories_gives_nothing_else(stories: Scanned, real_models: Path, tmp_path: Path) -> None:
    outcome = reach("scan", real_models / "stories260k", "--out", tmp_path / "run", "--exact", "--quiet")
    assert outcome.code == 0
    assert "proved: 512 exact" in outcome.out
    columns = columns_of(tmp_path / "run")
    assert set(columns["evidence"]) == {"exact"}
    for name in ("verdict", "own_direction"):
        assert columns[name] == stories.columns[name]
    verified = reach("verify", tmp_path / "run", "--quiet")
    assert verified.code == 0
    assert verified.out.split()[-3:] == ["speakable", "exact", "512"]


def test_exact_on_the_demo_gives_nothing_else(demo: Scanned) -> None:
    assert set(demo.columns["evidence"]) == {"exact"}
    assert "proved: 4000 exact" in demo.out


# --- the folder ----------------------------------------------------------------------------------------------------


def test_the_run_folder_holds_what_the_design_says(scanned: Scanned) -> None:
    names = {file.name for file in scanned.path.iterdir()}
    assert names >= {"manifest.json", "verdicts.parquet", "hull_weights.parquet", "witnesses", "report.html"}
    assert not [name for name in names if name.startswith(".") or name == "blocks"]
    assert pq.read_schema(scanned.path / "verdicts.parquet").equals(VERDICTS)
    assert pq.read_schema(scanned.path / "hull_weights.parquet").equals(HULL_WEIGHTS)
    wanted = {"token_id", "token", "verdict", "evidence", "own_direction", "margin_lower", "margin_upper", "stage"}
    assert wanted | {"runner_up_id", "row_norm", "reason"} <= set(VERDICTS.names)
    assert HULL_WEIGHTS.names == ["token_id", "row_id", "weight"]
    stored = [t for t, kind in enumerate(scanned.columns["witness"]) if kind == "stored"]
    kept: list[int] = []
    for file in (scanned.path / "witnesses").glob("*.safetensors"):
        arrays = load_file(file)
        for bits in ("float32", "float64"):
            if f"token_id.{bits}" in arrays:
                kept += arrays[f"token_id.{bits}"].tolist()
                assert arrays[f"point.{bits}"].dtype == bits
                assert arrays[f"point.{bits}"].shape[1] == scanned.manifest["d"]
    assert sorted(kept) == stored


def test_the_manifest_holds_what_the_design_says(scanned: Scanned) -> None:
    manifest = scanned.manifest
    shape = {"onmt-lm": (16377, 64), "stories260k": (512, 64), "demo": (4000, 32)}[scanned.name]
    assert manifest["schema"] == 1
    assert manifest["kind"] == "scan"
    assert manifest["status"] == "finished"
    assert Path(manifest["model"]).name == scanned.name
    assert (manifest["v"], manifest["d"]) == shape
    assert len(manifest["fingerprint"]) == 64
    assert manifest["domain"] == {64: "ball:8", 32: "ball:sqrt(32)"}[shape[1]]
    assert manifest["squared_radius"] == shape[1]
    assert manifest["head"]["norm"] in {"layernorm", "rmsnorm"}
    assert manifest["head"]["dtype"] in {"float32", "float16", "bfloat16"}
    assert manifest["head"]["tie"]
    assert set(manifest["settings"]) == {
        "exact", "margin_gap", "ceilings", "tolerance", "stage_seconds", "block_tokens", "jobs", "device",
        "arithmetic", "ties", "bias_added", "norm_rounded",
    }  # fmt: skip
    assert {"python", "token-reachability", "torch", "numpy", "highspy", "clarabel"} <= set(manifest["versions"])
    assert {"cpu", "cores", "memory_bytes", "gpu"} == set(manifest["hardware"])
    assert manifest["asked"] == {"tokens": None, "count": shape[0]}
    assert manifest["seconds"] > 0
    assert manifest["peak_memory_bytes"] > 1e7
    assert manifest["started"] <= manifest["finished"]


def test_the_funnel_and_the_totals_add_up(scanned: Scanned) -> None:
    manifest, columns = scanned.manifest, scanned.columns
    for row in manifest["funnel"]:
        assert set(row) == {"stage", "rows_in", "settled", "seconds"}
    assert sum(row["settled"] for row in manifest["funnel"]) == manifest["v"]
    stages = Counter(columns["stage"])
    assert {row["stage"]: row["settled"] for row in manifest["funnel"] if row["settled"]} == dict(stages)
    totals, verdicts = manifest["totals"], Counter(columns["verdict"])
    assert totals["tokens"] == manifest["v"]
    assert {name: count for name, count in totals["verdicts"].items() if count} == dict(verdicts)
    assert {name: count for name, count in totals["evidence"].items() if count} == dict(Counter(columns["evidence"]))
    assert totals["own_direction"] + totals["hard_to_speak"] == verdicts["speakable"]
    assert totals["own_direction"] == sum(columns["own_direction"])


def test_the_summary_says_what_the_manifest_says(scanned: Scanned) -> None:
    totals = scanned.manifest["totals"]
    lines = [line.split() for line in scanned.out.splitlines()]
    for verdict, count in totals["verdicts"].items():
        assert any(words[:2] == [verdict, str(count)] for words in lines), scanned.out
    assert f"({totals['own_direction']} own-direction, {totals['hard_to_speak']} hard-to-speak)" in scanned.out
    assert f"report: {scanned.path / 'report.html'}" in scanned.out


# --- an outsider ---------------------------------------------------------------------------------------------------


class Outsider:
    """The margin problem of onmt-lm written down anew, from the tensors of its file and with none of the project's
    code: z fills the open ball ‖z‖ < √d in the hyperplane 1ᵀz = 0, logits are W(γ⊙z + β) + b."""

    def __init__(self, model: Path) -> None:
        tensors = {name: tensor.astype(np.float64) for name, tensor in load_file(model / "model.safetensors").items()}
        weight = tensors["lm_head.weight"]
        self.rows = weight * tensors["transformer.layernorm.weight"]
        self.offsets = weight @ tensors["transformer.layernorm.bias"] + tensors["lm_head.bias"]

    def margin(self, token: int) -> float:
        """max over z of the smallest lead over any other row, in logits.

        Solved over the strongest rivals first; the rest join until none of all rows is violated, which makes the
        optimum that of the problem with all of them.
        """
        lead, constant = self.rows[token] - self.rows, self.offsets[token] - self.offsets
        radius = np.sqrt(self.rows.shape[1])
        others = np.arange(len(lead)) != token
        reach_of = np.where(others, radius * np.linalg.norm(lead, axis=1) + constant, np.inf)
        rivals = np.argsort(reach_of)[:200]
        while True:
            z, smallest = self._solve(lead[rivals], constant[rivals], radius)
            values = np.where(others, lead @ z + constant, np.inf)
            if values.min() >= smallest - 1e-7:
                return float(smallest)
            rivals = np.union1d(rivals, np.argsort(values)[:200])

    @staticmethod
    def _solve(lead: np.ndarray, constant: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
        """Variables (z, s): maximise s with s ≤ lead·z + constant, 1ᵀz = 0 and ‖z‖ ≤ radius."""
        m, d = lead.shape
        left = np.zeros((m + 1 + 1 + d, d + 1))
        left[:m, :d], left[:m, d] = -lead, 1
        left[m, :d] = 1
        left[m + 2 :, :d] = -np.eye(d)
        right = np.concatenate([constant, [0, radius], np.zeros(d)])
        cones = [clarabel.NonnegativeConeT(m), clarabel.ZeroConeT(1), clarabel.SecondOrderConeT(d + 1)]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        nothing = sparse.csc_matrix((d + 1, d + 1))
        cost = np.append(np.zeros(d), -1.0)
        found = clarabel.DefaultSolver(nothing, cost, sparse.csc_matrix(left), right, cones, settings).solve()
        assert str(found.status) == "Solved"
        x = np.array(found.x)
        return x[:d], x[d]


@pytest.fixture(scope="module")
def outsider(real_models: Path) -> Outsider:
    return Outsider(real_models / "onmt-lm")


def test_an_outsider_agrees_about_the_closest_calls(onmt: Scanned, outsider: Outsider) -> None:
    """The unspeakable tokens nearest to zero and farthest from it, the narrowest and the widest speakable ones."""
    columns = onmt.columns
    count = CHECKED_BY_OUTSIDER // 2
    unspeakable = [t for t, verdict in enumerate(columns["verdict"]) if verdict == "unspeakable"]
    unspeakable.sort(key=lambda t: columns["margin_upper"][t])
    speakable = [
        t
        for t, verdict in enumerate(columns["verdict"])
        if verdict == "speakable" and not columns["own_direction"][t]
    ]
    speakable.sort(key=lambda t: columns["margin_lower"][t])
    sample = unspeakable[:count] + unspeakable[-count:] + speakable[:count] + speakable[-count:]
    assert len(set(sample)) == 2 * CHECKED_BY_OUTSIDER
    for token in sample:
        margin = outsider.margin(token)
        lower, upper = columns["margin_lower"][token], columns["margin_upper"][token]
        assert (margin > 0) == (columns["verdict"][token] == "speakable"), (token, margin)
        assert lower is None or lower <= margin + 1e-5, (token, lower, margin)
        assert upper is None or upper >= margin - 1e-5, (token, upper, margin)


def test_an_outsider_finds_the_witnesses_good(onmt: Scanned, outsider: Outsider) -> None:
    """At each stored witness the token's logit is the highest, by as much as its verdict says."""
    columns = onmt.columns
    stored = {}
    for file in (onmt.path / "witnesses").glob("*.safetensors"):
        arrays = load_file(file)
        for bits in ("float32", "float64"):
            tokens = arrays.get(f"token_id.{bits}", np.zeros(0, int)).tolist()
            stored |= dict(zip(tokens, arrays.get(f"point.{bits}", ()), strict=True))
    sample = sorted(stored)[:: max(1, len(stored) // 200)]
    for token in sample:
        z = stored[token].astype(np.float64)
        z = z - z.mean()  # a component along 1 moves nothing where the rows are centred
        assert np.linalg.norm(z) < np.sqrt(len(z))
        logits = outsider.rows @ z + outsider.offsets
        lead = logits[token] - np.delete(logits, token).max()
        assert lead > 0
        assert lead >= columns["margin_lower"][token] - 1e-4


def test_an_outsider_finds_the_hull_weights_good(onmt: Scanned, outsider: Outsider) -> None:
    """Duality by hand: R·‖v‖ + δ < 0, with v projected onto the hyperplane."""
    columns = onmt.columns
    for token, weights in hulls_of(onmt.path).items():
        rows, lam = list(weights), np.array(list(weights.values()))
        v = lam @ (outsider.rows[token] - outsider.rows[rows])
        delta = lam @ (outsider.offsets[token] - outsider.offsets[rows])
        bound = np.sqrt(len(v)) * np.linalg.norm(v - v.mean()) + delta
        assert bound < 0
        assert bound == pytest.approx(columns["margin_upper"][token], rel=1e-6, abs=1e-9)


# --- what the tokens are ---


def test_each_model_has_its_cause(onmt: Scanned, stories: Scanned, demo: Scanned) -> None:
    """Short rows of one bundle; rows like those of bytes that no text holds; the near-equal rows of unused bytes."""
    (cause,) = RunFolder.open(onmt.path).verdicts().causes
    (part,) = cause.parts
    assert {one.key.partition(":")[0] for one in part.attributes} == {"bundle", "short-row"}
    assert part.inside == cause.tokens == onmt.manifest["totals"]["verdicts"]["unspeakable"]
    assert part.elsewhere < 0.05 * part.others
    assert " ".join(cause.sentence.split()) in " ".join(onmt.out.split())

    (cause,) = RunFolder.open(demo.path).verdicts().causes
    assert cause.parts[0].attributes[0].key == "looks-untrained"
    assert cause.parts[0].inside >= 0.9 * cause.tokens
    assert cause.rest <= 0.1 * cause.tokens

    (cause,) = RunFolder.open(stories.path).verdicts().causes
    assert cause.of == "hard-to-speak"
    assert cause.parts[0].inside >= 0.9 * cause.tokens
    assert cause.parts[0].elsewhere <= 5


def test_categories_of_real_models(onmt: Scanned, stories: Scanned, demo: Scanned) -> None:
    def counts(run: Scanned) -> Counter[str]:
        return Counter(pq.read_table(run.path / "categories.parquet").column("category").to_pylist())

    found = counts(stories)
    assert found["byte"] == 256
    assert found["partial-utf8"] == 128
    # Characters that have a piece of their own are never written as bytes.
    verdicts = RunFolder.open(stories.path).verdicts()
    kinds = [{one.category for one in verdicts.categories_of(t)} for t in range(len(verdicts))]
    assert {"byte", "unreachable"} <= kinds[3 + ord("e")]
    assert "unreachable" not in kinds[3 + 0x01]  # it has no piece: only its byte can write it
    assert counts(demo)["partial-utf8"] == 128
    assert counts(onmt)["unreachable"] == 0
    assert counts(onmt)["special"] == 3


def test_indicators_of_real_models(onmt: Scanned, demo: Scanned) -> None:
    """On the word-level model the lengths of output rows tell, on the demo only distances from unused rows."""
    for run, tells, not_ in ((onmt, "output-length", "cosine-distance"), (demo, "cosine-distance", "output-length")):
        about = RunFolder.open(run.path).record.categories
        assert isinstance(about, CategoryRecord)
        assert about.indicators is not None
        found = {one.key: one for one in about.indicators.rows}
        most = about.indicators.positives
        cuts = {key: next(cut for cut in one.cuts if cut.k == most) for key, one in found.items()}
        assert cuts[tells].precision.low > 0.5
        assert cuts[not_].hits == 0
        assert found[tells].fresh_auc == pytest.approx(0.5, abs=0.1)
        assert ("input-length" in found) == (run is onmt)  # the demo ties its matrices
