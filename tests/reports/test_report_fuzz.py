"""A scan's pages over runs that somebody has changed: a page, or one line that says why there is none."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_runs import copied, scanned, scanned_in_part

from reach.runs.folder import RunFolder
from reports.compare_page import compare_page
from reports.diff_lines import diff_lines, diff_record
from reports.index_page import index_page
from reports.markdown import markdown
from reports.scan_page import scan_page
from solvers.errors import BadInput

QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.just(-1), st.floats(), st.text(max_size=6),
    st.sampled_from(["ball:", "ball:nan", "ball:sqrt(-1)", "ball:1e400", "box:", "box:1,0", "\ud800", "x" * 10**4]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@cache
def manifest_text() -> str:
    return (scanned() / "manifest.json").read_text(encoding="utf-8")


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place in a JSON value, the value itself left out."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in below for place in ((*path, key), *places(one, (*path, key)))]


def attempt(run: Path) -> None:
    """Every page that reads a scan; each gives a result or one line."""
    for read in (
        lambda: scan_page(RunFolder.open(run)),
        lambda: markdown(RunFolder.open(run)),
        lambda: diff_lines(diff_record([scanned(), run])),
        lambda: compare_page([RunFolder.open(run), RunFolder.open(scanned_in_part())], run / "page.html"),
        lambda: index_page(run.parent, run.parent / "index.html"),
    ):
        try:
            read()
        except BadInput as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 2000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(scanned(), tmp_path_factory.mktemp("runs") / "run")


@QUICK
@given(data=st.data(), odd=ODD, gone=st.booleans())
def test_a_manifest_with_an_odd_entry(run: Path, data: st.DataObject, odd: Any, gone: bool) -> None:
    content = json.loads(manifest_text())
    *path, last = data.draw(st.sampled_from(places(content)))
    holder = content
    for key in path:
        holder = holder[key]
    if gone:
        del holder[last]
    else:
        holder[last] = copy.deepcopy(odd)
    (run / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    attempt(run)


@QUICK
@given(seed=st.integers(0, 2**32), name=st.sampled_from(["verdicts", "hull_weights", "nearest"]))
def test_a_table_with_other_bytes(run: Path, seed: int, name: str) -> None:
    draw = random.Random(seed)
    content = bytearray((scanned() / f"{name}.parquet").read_bytes())
    for _ in range(draw.randrange(1, 6)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    (run / "manifest.json").write_text(manifest_text(), encoding="utf-8")
    (run / f"{name}.parquet").write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
    try:
        attempt(run)
    finally:
        (run / f"{name}.parquet").write_bytes((scanned() / f"{name}.parquet").read_bytes())
