"""Maps in run folders: what a scan leaves, what earlier runs get, and what they do not."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from reach_command import change_manifest, reach, save_head
from safetensors.numpy import load_file, save_file

from reach.maps import making, neighbours
from reach.maps.making import completed_map
from reach.maps.principal import principal
from reach.runs.folder import RunFolder
from reach.runs.map import FILE
from solvers.domains import Ball
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

V, D = 120, 5


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.random.default_rng(3).standard_normal((V, D))
    return save_head(tmp_path_factory.mktemp("heads") / "head.npz", rows, gamma=np.ones(D))


@pytest.fixture(scope="module")
def scanned(head: Path) -> Path:
    folder = head.parent / "run"
    assert reach("scan", "--head", head, "--out", folder, "--quiet", "--no-report").code == 0
    return folder


@pytest.fixture
def run(scanned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(scanned, tmp_path / "run")


def page_of(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def test_a_scan_leaves_a_map(head: Path, run: Path):
    arrays = load_file(run / FILE)
    rows = ArgmaxProblem(torch.as_tensor(np.load(head)["W"]), Ball(1.0))
    found = principal(rows, most=D)
    np.testing.assert_allclose(arrays["pca"], found.coordinates[:, :2], atol=1e-6)
    np.testing.assert_allclose(arrays["explained"], found.shares[:2])
    assert arrays["cluster"].shape == (V,)
    assert set(arrays) == {"pca", "explained", "cluster", "typical"}


def test_an_earlier_run_gets_the_same_map_from_the_model(run: Path):
    before = load_file(run / FILE)
    (run / FILE).unlink()
    assert reach("report", run, "--quiet").code == 0
    after = load_file(run / FILE)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values)
    assert 'id="map-note"' not in page_of(run)


def test_a_scan_anew_does_not_keep_the_map_of_another_head(run: Path, tmp_path: Path):
    other = save_head(tmp_path / "other.npz", np.random.default_rng(4).standard_normal((V, D)), gamma=np.ones(D))
    before = load_file(run / FILE)["pca"]
    assert reach("scan", "--head", other, "--out", run, "--force", "--quiet", "--no-report").code == 0
    assert np.abs(load_file(run / FILE)["pca"] - before).max() > 0.1


def test_a_model_that_is_gone_or_has_changed_leaves_a_page_with_the_reason(run: Path, tmp_path: Path):
    (run / FILE).unlink()
    moved = tmp_path / "gone" / "head.npz"
    loading = RunFolder.open(run).manifest["loading"]
    change_manifest(run, loading={**loading, "model": str(moved)})
    assert reach("report", run, "--quiet").code == 0
    said = page_of(run).partition('id="map-note">')[2].partition("<")[0]
    assert said.startswith("There is no map of this run, and none could be made: ")
    assert "head.npz" in said
    assert str(tmp_path) not in said
    # Another head in its place
    moved.parent.mkdir()
    save_head(moved, np.random.default_rng(4).standard_normal((V, D)), gamma=np.ones(D))
    assert reach("report", run, "--quiet").code == 0
    assert "the model has changed since the scan" in page_of(run)
    assert not (run / FILE).exists()


def test_none_makes_nothing(run: Path):
    (run / FILE).unlink()
    assert reach("report", run, "--map", "none").code == 0
    assert not (run / FILE).exists()
    assert "This run has no map of its vocabulary" in page_of(run)


def test_a_map_of_another_head_or_a_damaged_one_is_not_shown(run: Path, tmp_path: Path):
    arrays = load_file(run / FILE)
    save_file(arrays, run / FILE, metadata={"fingerprint": "0" * 64})
    held = completed_map(RunFolder.open(run), ("none",))
    assert held.map is None
    assert held.note is not None
    for harm in (
        {"cluster": arrays["cluster"][1:]},
        {"pca": arrays["pca"] * np.float32(np.inf)},
        {"typical": arrays["typical"] + V},
    ):
        save_file(arrays | harm, run / FILE)
        complaint = reach("report", run).complaint
        assert complaint.startswith(f"{run / FILE}: ")
        assert "delete map.safetensors" in complaint
    (run / FILE).write_bytes(b"no tensors")
    assert "delete map.safetensors" in reach("report", run).complaint
    # It is no part of any proof
    assert reach("verify", run, "--quiet").code == 0


def test_a_folder_that_cannot_be_written_to_still_gets_a_page(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (run / FILE).unlink()

    def closed(*_: object, **__: object) -> None:
        raise BadInput("closed")

    monkeypatch.setattr(making, "write_map", closed)
    outcome = reach("report", run, "--out", tmp_path / "page.html")
    assert outcome.code == 0
    assert "the map is not kept: closed" in outcome.err
    assert 'id="map-whole"' in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--map", "tsne"), "--map: there is no projection 'tsne'; there are pca, umap, pacmap, none"),
        (("--map", "none,pca"), "none stands alone"),
        (("--map", "pca", "--markdown"), "--map is about the page of a single run"),
    ],
)
def test_choices_that_make_no_sense(run: Path, arguments: tuple[str, ...], said: str):
    assert said in reach("report", run, *arguments).complaint
    assert not (run / "report.html").exists()


def test_a_package_that_is_missing_is_named_with_its_extra(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbours, "find_spec", lambda _: None)
    complaint = reach("report", run, "--map", "umap").complaint
    assert "--map umap needs: pip install umap-learn (the extra map), or leave it out" in complaint
    # Unasked, it is left out
    assert reach("report", run, "--quiet").code == 0


def test_umap_and_the_like_are_left_to_large_and_not_too_large_heads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(making, "installed", lambda: ("umap",))
    assert [making._unasked(rows) for rows in (4999, 5000, 100_000, 100_001)] == [
        ("pca",), ("pca", "umap"), ("pca", "umap"), ("pca",),
    ]  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
def test_umap_keeps_clumps_apart_and_is_kept_in_the_run(tmp_path: Path):
    # Given three clumps in 6 dimensions, and rows that are equal
    rng = np.random.default_rng(0)
    of = np.repeat([0, 1, 2], 30)
    rows = 4 * np.eye(3, 6)[of] + 0.1 * rng.standard_normal((90, 6))
    rows[5] = rows[6]
    run = tmp_path / "run"
    head = save_head(tmp_path / "clumps.npz", rows, gamma=np.ones(6))
    assert reach("scan", "--head", head, "--out", run, "--quiet", "--no-report").code == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reach("report", run, "--map", "pca,umap", "--quiet").code == 0
    places = load_file(run / FILE)["umap"]
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (of[distance.argmin(axis=1)] == of).all()
    # And it is not made a second time
    assert completed_map(RunFolder.open(run), ("umap",)).map is not None
    assert (load_file(run / FILE)["umap"] == places).all()


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
@pytest.mark.parametrize(
    "rows", [np.ones((9, 3)), np.eye(9), np.repeat(np.eye(2), 20, axis=0), np.arange(10.0)[:, None]]
)
def test_umap_of_rows_that_are_hardly_different(rows: np.ndarray):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coordinates = principal(ArgmaxProblem(torch.as_tensor(rows), Ball(1.0))).coordinates
        found = neighbours.places("umap", coordinates)
    assert found.shape == (len(rows), 2)
    assert np.isfinite(found).all()
