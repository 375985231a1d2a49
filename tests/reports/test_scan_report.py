from __future__ import annotations

import json
import logging
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_builders import HOSTILE, manifest, token_row, unspeakable_row, write_big_run, write_run

from reach.runs.folder import RunFolder
from reach.runs.map import VocabularyMap, write_map
from reports.scan_report import write_scan_report
from solvers.errors import BadInput

log = logging.getLogger(__name__)


class Tags(HTMLParser):
    """What a browser would make of the page: its elements and their addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "poster")]


def test_hostile_strings_stay_text(tmp_path: Path):
    # Given tokens, settings and names that try to be markup, all of them in the static part of the page
    rows = [unspeakable_row(token=one, reason=one, stage=one) for one in HOSTILE]
    evil = "</script></style><img src=https://example.org/x onerror=alert(1)>\ud800\u202e\x00"
    run = write_run(
        tmp_path,
        rows,
        model=evil,
        warnings=[evil],
        settings={evil: evil},
        versions={evil: evil},
        domain=evil,
        command=[evil],
        funnel=[{"stage": evil, "rows_in": 1, "settled": 1, "seconds": 1}],
    )
    # When the page is written
    text = write_scan_report(run).read_text(encoding="utf-8")
    # Then it has its own four scripts (two of them data), its one style, no image, and no address outside of itself
    tags = Tags(text)
    assert (tags.names.count("script"), tags.names.count("style"), tags.names.count("img")) == (4, 1, 0)
    assert all(address.startswith(("#", "data:")) for address in tags.addresses)
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00-\x08]", text)


def test_a_page_forbids_and_names_no_network(tmp_path: Path):
    text = write_scan_report(write_run(tmp_path, [token_row()])).read_text(encoding="utf-8")
    assert 'content="default-src &#39;none&#39;; script-src &#39;sha256-' in text
    assert "http://" not in text
    assert "https://" not in text


def test_the_page_goes_where_it_is_told(tmp_path: Path):
    run = write_run(tmp_path / "run", [token_row()])
    assert write_scan_report(run) == run / "report.html"
    assert write_scan_report(run, tmp_path / "other.html") == tmp_path / "other.html"
    assert (tmp_path / "other.html").read_bytes() == (run / "report.html").read_bytes()


def test_a_page_is_kept_without_force(tmp_path: Path):
    run = write_run(tmp_path, [token_row()])
    (run / "report.html").write_text("mine")
    with pytest.raises(BadInput, match="--force"):
        write_scan_report(run, force=False)
    assert (run / "report.html").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    run = write_run(tmp_path / "run", [token_row()])
    with pytest.raises(BadInput, match="cannot be written"):
        write_scan_report(run, tmp_path / "absent" / "report.html")
    with pytest.raises(BadInput, match="is a folder"):
        write_scan_report(run, tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"status": "running"}, "has not finished"),
        ({"schema": 99}, "schema 99"),
        ({"kind": "comparison"}, "is no scan"),
    ],
)
def test_runs_that_cannot_be_reported_leave_nothing_behind(tmp_path: Path, values: dict, message: str):
    run = write_run(tmp_path, [token_row()], **values)
    before = sorted(run.iterdir())
    with pytest.raises(BadInput, match=message) as caught:
        write_scan_report(run)
    assert "\n" not in str(caught.value)
    assert sorted(run.iterdir()) == before


def test_a_folder_without_a_run(tmp_path: Path):
    with pytest.raises(BadInput, match="no run folder"):
        write_scan_report(tmp_path)


def test_a_bare_manifest_is_enough(tmp_path: Path):
    # Given a manifest with nothing in it but what makes it a finished run
    run = write_run(tmp_path, [token_row(), unspeakable_row()])
    bare = {name: value for name, value in manifest(2).items() if name in ("schema", "status")}
    (run / "manifest.json").write_text(json.dumps(bare))
    # When the page is written, then what is missing says so
    assert "not recorded" in write_scan_report(run).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(manifest(1).keys() - {"schema", "status"}))
def test_a_field_of_the_wrong_type_is_named_in_one_line(tmp_path: Path, name: str):
    run = write_run(tmp_path, [token_row()], **{name: [[7]]})
    with pytest.raises(BadInput, match=rf"no scan|\$\.{name}") as caught:
        write_scan_report(run)
    assert str(run / "manifest.json") in str(caught.value)
    assert not (run / "report.html").exists()


def test_a_page_of_128_256_tokens_stays_within_4_megabytes(tmp_path: Path):
    """With what fills a page: a map, and the nearest rows of the tokens that are not own-direction."""
    rng, rows = np.random.default_rng(1), 128_256
    whom = np.repeat(np.sort(rng.choice(rows, rows // 18, replace=False)), 5).tolist()
    near = zip(
        whom, rng.integers(0, rows, len(whom)).tolist(), rng.random(len(whom)), rng.random(len(whom)), strict=True
    )
    run = write_big_run(tmp_path / "run", rows, nearest=[(a, b, float(c), float(d)) for a, b, c, d in near])
    places = {"pca": rng.standard_normal((rows, 2)).astype(np.float32)}
    of = RunFolder.open(run).record.fingerprint
    assert of
    cluster = rng.integers(0, 20, rows).astype(np.uint8)
    write_map(run, VocabularyMap(of, places, np.array([0.1, 0.05]), cluster, rng.integers(0, rows, (20, 5))))
    page = write_scan_report(run)
    log.info("%d rows: %.2f MB", rows, page.stat().st_size / 1e6)
    assert page.stat().st_size < 4e6
    block = re.search(r'id="map-data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    assert len(block[1]) > 2 * 2 * rows  # two places of 16 bits for each token, which nothing makes smaller
