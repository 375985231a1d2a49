"""The map of the vocabulary over real runs: what is chosen, opened, coloured and said, against the run's files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from dots import NO_WEBGL, data_of, drag, painted, pixel_of, view_of
from real_runs import copied, run_reach, scanned
from report_builders import token_row, write_run
from safetensors.numpy import load_file, save_file

from reports.scan_report import write_scan_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]
MAP = "#plot-map"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(scanned(), tmp_path_factory.mktemp("maps") / "run")
    write_scan_report(folder)
    return folder


@pytest.fixture(scope="module")
def places(run: Path) -> np.ndarray:
    return load_file(run / "map.safetensors")["pca"].astype(np.float64)


def drawn(page: Page) -> Page:
    page.locator("#map").scroll_into_view_if_needed()
    page.locator("html[data-map='drawn']").wait_for(state="attached")
    view_of(page, MAP)
    return page


def in_table(page: Page) -> set[int]:
    """All tokens of the table, from what it would export."""
    count = int(page.inner_text("#status").split()[0].replace(",", ""))
    found: set[int] = set()
    grid = page.locator("#grid")
    for top in range(0, 34 * count + 1, 300):
        grid.evaluate("(node, top) => { node.scrollTop = top; }", top)
        page.wait_for_timeout(40)
        found |= {int(one) for one in page.locator("#grid-body .c-id").all_inner_texts()}
    assert len(found) == count
    return found


def inside(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points an outline goes round, by the angle under which its corners are seen from each."""
    ahead = np.roll(corners, -1, axis=0)
    to, then = corners[None] - points[:, None], ahead[None] - points[:, None]
    turned = np.arctan2(to[..., 0] * then[..., 1] - to[..., 1] * then[..., 0], (to * then).sum(axis=2))
    return np.abs(turned.sum(axis=1)) > np.pi


def lasso(page: Page, shares: list[tuple[float, float]]) -> np.ndarray:
    """Drag an outline and give its corners in the map's own measure."""
    view = view_of(page, MAP)
    page.click("#map-lasso")
    drag(page, MAP, *shares)
    (left, right), (low, high) = view["x"], view["y"]
    return np.array([[left + x * (right - left), high - y * (high - low)] for x, y in shares])


STAR = [(0.5, 0.06), (0.58, 0.36), (0.9, 0.4), (0.62, 0.58), (0.72, 0.95), (0.5, 0.68), (0.3, 0.9), (0.4, 0.55)]


def test_a_lasso_keeps_exactly_the_tokens_inside(visit: Visit, run: Path, places: np.ndarray):
    page = drawn(visit(run / "report.html"))
    # Given an outline with corners that point inwards, which goes round no token by less than a pixel or two
    corners = lasso(page, STAR)
    expected = inside(corners, places)
    view = view_of(page, MAP)
    pixel = (view["x"][1] - view["x"][0]) / 1200
    nudges = [inside(corners, places + pixel * 3 * np.array(by)) for by in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    sure = np.logical_and.reduce([one == expected for one in nudges])
    assert 5 < expected.sum() < len(places) - 5
    # Then the table holds those inside, and says where it has them from
    page.locator("#status:has-text('chosen on the map')").wait_for()
    found = np.isin(np.arange(len(places)), list(in_table(page)))
    assert (found == expected)[sure].all()
    assert sure.mean() > 0.9
    words = f"{found.sum():,} of {len(places):,} tokens, chosen on the map with a lasso"
    assert page.inner_text("#status").startswith(words)
    # Further filters narrow it
    page.check("#verdict-unspeakable")
    verdicts = np.array(pq.read_table(run / "verdicts.parquet").column("verdict").to_pylist())
    assert page.inner_text("#status").split()[0] == str((found & (verdicts == "unspeakable")).sum())
    page.uncheck("#verdict-unspeakable")
    # And its button lets go
    page.click("#status button")
    assert page.inner_text("#status") == f"All {len(places):,} tokens"


def test_a_box_chooses_too_and_clear_lets_go(visit: Visit, run: Path, places: np.ndarray):
    page = drawn(visit(run / "report.html"))
    view = view_of(page, MAP)
    page.click("#map-box")
    drag(page, MAP, (0.2, 0.1), (0.55, 0.7))
    page.locator("#status:has-text('chosen on the map')").wait_for()
    across, down = (view["x"][1] - view["x"][0]), (view["y"][1] - view["y"][0])
    x, y = (places[:, 0] - view["x"][0]) / across, (view["y"][1] - places[:, 1]) / down
    depth = np.minimum.reduce([x - 0.2, 0.55 - x, y - 0.1, 0.7 - y])
    found = in_table(page)
    assert set(np.flatnonzero(depth > 0.004).tolist()) <= found <= set(np.flatnonzero(depth > -0.004).tolist())
    page.click("#clear")
    assert page.inner_text("#status") == f"All {len(places):,} tokens"


def test_a_click_opens_the_token_that_lies_there(visit: Visit, run: Path, places: np.ndarray):
    page = drawn(visit(run / "report.html"))
    view_of(page, MAP)
    # Given the token that is farthest from all others
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    token = int(apart.min(axis=1).argmax())
    at = pixel_of(page, MAP, *places[token])
    page.mouse.move(*at)
    row = pq.read_table(run / "verdicts.parquet").to_pylist()[token]
    tip = page.locator(f"{MAP} .dots-tip").inner_text()
    assert f"token {token}, {row['verdict']}" in tip
    page.mouse.click(*at)
    page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
    # And it stays marked
    ring = page.locator(f"{MAP} .ringed")
    area = page.locator(f"{MAP} .dots-stage").bounding_box()
    assert area is not None
    assert float(ring.get_attribute("cx") or 0) == pytest.approx(at[0] - area["x"], abs=1.5)


def test_dots_are_coloured_by_what_is_chosen(visit: Visit, run: Path):
    page = drawn(visit(run / "report.html"))
    keys = page.locator("#map-legend button:visible")
    table = pq.read_table(run / "verdicts.parquet").to_pylist()
    names = {one.split()[0]: int(one.split()[-1].replace(",", "")) for one in keys.all_inner_texts()}
    for verdict in ("unspeakable", "tied", "undecided"):
        assert names.get(verdict, 0) == sum(row["verdict"] == verdict for row in table)
    assert names["own-direction"] == sum(row["verdict"] == "speakable" and row["own_direction"] for row in table)
    # Clusters are counted as the file has them, and named by the tokens nearest to their centres
    page.select_option("#map-colour", "cluster")
    arrays = load_file(run / "map.safetensors")
    counts = [int(one.replace("\n", " ").split()[-1].replace(",", "")) for one in keys.all_inner_texts()]
    assert counts == np.bincount(arrays["cluster"]).tolist()
    # Categories, each token once by its first
    page.select_option("#map-colour", "category")
    counts = [int(one.replace("\n", " ").split()[-1].replace(",", "")) for one in keys.all_inner_texts()]
    assert sum(counts) == len(table)
    # Numbers have a ramp with both ends
    for way in ("margin", "norm"):
        page.select_option("#map-colour", way)
        assert page.locator("#map-legend .ramp span").count() == 24
        assert keys.count() == 0
        low, high = (
            float(one.replace("−", "-")) for one in page.locator(".ramped > span:not(.ramp)").all_inner_texts()
        )
        assert low < high
        sizes = [row["row_norm"] if way == "norm" else max(row["margin_lower"] or 0, 0) for row in table]
        assert high == pytest.approx(np.quantile([one for one in sizes if one > 0 or way == "norm"], 0.99), rel=0.05)
    view_of(page, MAP)
    assert painted(page, MAP) > 100


def test_switched_off_groups_are_neither_chosen_nor_pointed_at(visit: Visit, run: Path, places: np.ndarray):
    page = drawn(visit(run / "report.html"))
    page.locator("#map-legend button:visible", has_text="own-direction").click()
    page.click("#map-box")
    drag(page, MAP, (0.001, 0.001), (0.999, 0.999))
    page.locator("#status:has-text('chosen on the map')").wait_for()
    table = pq.read_table(run / "verdicts.parquet").to_pylist()
    others = {at for at, row in enumerate(table) if not (row["verdict"] == "speakable" and row["own_direction"])}
    assert in_table(page) == others


def test_the_words_give_the_variance(visit: Visit, run: Path):
    page = drawn(visit(run / "report.html"))
    explained = load_file(run / "map.safetensors")["explained"]
    found = [float(one) for one in re.findall(r"([\d.]+) %", page.inner_text("#map-words"))]
    assert found == pytest.approx([*(100 * explained), 100 * (1 - explained.sum())], abs=0.06)
    assert "no proof" in page.inner_text("#map")


def test_another_projection_can_be_chosen(visit: Visit, run: Path, tmp_path: Path):
    # Given a run whose map has a second projection
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    arrays = load_file(folder / "map.safetensors")
    other = np.ascontiguousarray(arrays["pca"][:, ::-1] * np.float32(10) + np.float32(3))
    fingerprint = {"fingerprint": fingerprint_of(folder)}
    save_file(arrays | {"umap": other}, folder / "map.safetensors", metadata=fingerprint)
    page = drawn(visit(write_scan_report(folder)))
    before = data_of(page, MAP)["view"]
    page.select_option("#map-projection", "umap")
    page.wait_for_function(f"old => document.querySelector('{MAP}').dataset.view !== old", arg=before)
    token = int(np.abs(other - other.mean(axis=0)).sum(axis=1).argmax())
    page.mouse.click(*pixel_of(page, MAP, *other[token].astype(float)))
    page.locator(f"#panel-title:text-is('Token {token}')").wait_for()
    assert "UMAP" in page.inner_text("#map-words")


def fingerprint_of(run: Path) -> str:
    from reach.runs.folder import RunFolder

    return str(RunFolder.open(run).record.fingerprint)


@pytest.mark.parametrize("size", [(1400, 900), (390, 800)])
def test_without_webgl_the_map_is_there_all_the_same(visit: Visit, run: Path, size: tuple[int, int]):
    page = drawn(visit(run / "report.html", before=NO_WEBGL, viewport={"width": size[0], "height": size[1]}))
    assert data_of(page, MAP)["painter"] == "canvas"
    assert painted(page, MAP) > 100
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_keys_reach_the_map(visit: Visit, run: Path):
    page = drawn(visit(run / "report.html"))
    whole = view_of(page, MAP)
    page.focus(MAP)
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    near = view_of(page, MAP)
    assert near["x"][1] - near["x"][0] == pytest.approx((whole["x"][1] - whole["x"][0]) / 1.4**2)
    page.keyboard.press("Home")
    assert view_of(page, MAP) == whole


def test_a_run_without_a_map_says_so(visit: Visit, tmp_path: Path):
    page = visit(write_scan_report(write_run(tmp_path / "run", [token_row(token=f"t{at}") for at in range(3)])))
    assert "This run has no map" in page.inner_text("#map-note")
    assert page.locator(MAP).count() == 0


def test_an_earlier_run_is_given_its_map_by_the_command(visit: Visit, run: Path, tmp_path: Path, places: np.ndarray):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "map.safetensors").unlink()
    run_reach("report", folder, "--quiet")
    page = drawn(visit(folder / "report.html"))
    assert data_of(page, MAP)["dots"] == str(len(places))
