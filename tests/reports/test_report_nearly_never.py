"""Nearly-never tokens on the page of a real scan: counted, named, found by a filter, explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from reach.cli import main
from reach.runs.folder import RunFolder
from reach.runs.manifest import NearlyNever
from reach.runs.schema import LATER_COLUMNS
from reports.answer import count_tokens, disagreements
from reports.compare_page import compare_page
from reports.markdown import markdown
from reports.scan_page import scan_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
ORDINARY, MEANS = 300, 10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan with its report: random rows, means of six of them, and one row that is nearly another."""
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((ORDINARY, 48)).astype(np.float32)
    means = [rows[rng.choice(ORDINARY, 6, replace=False)].astype(np.float64).mean(axis=0) for _ in range(MEANS)]
    twin = rows[0] * (1 + 2.0**-12)
    folder = tmp_path_factory.mktemp("nearly")
    np.savez(folder / "head.npz", W=np.vstack([rows, *means, twin]).astype(np.float32))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "scan",
                "--head",
                str(folder / "head.npz"),
                "--domain",
                "ball:4",
                "--out",
                str(folder / "run"),
                "--quiet",
            ]
        )
    assert ended.value.code == 0
    return folder / "run"


def named(run: Path, *formats: str) -> list[int]:
    found = pq.read_table(run / "verdicts.parquet").column("nearly_never").to_pylist()
    return [t for t, name in enumerate(found) if name in formats]


def test_the_answer_counts_them(run: Path) -> None:
    both, fine = named(run, "float32", "bfloat16"), named(run, "float32")
    assert ORDINARY + MEANS in named(run, "bfloat16")  # the twin
    assert len(fine) >= MEANS // 2
    page = scan_page(RunFolder.open(run))
    assert page.counts.nearly_never == {"float32": len(fine), "bfloat16": len(both), "open": 0}
    assert disagreements(page.counts, RunFolder.open(run).record.totals) == []
    sentence = f"{len(both)} of the speakable ones win by less than a step of bfloat16, {len(fine)} of them even less"
    assert sentence in page.answer.rest
    (tile,) = [tile for tile in page.answer.tiles if tile.label == "nearly never"]
    assert (tile.value, tile.filter) == (str(len(both)), "nearly-bfloat16")
    (listing,) = [group for group in page.listings if group.key == "nearly"]
    assert {token.id for token in listing.tokens} == set(both)
    assert any(term.word == "nearly never" for term in page.glossary)
    assert f"| nearly never | {len(both)} |" in markdown(RunFolder.open(run))


def test_totals_that_the_table_contradicts_are_named(run: Path) -> None:
    counts = count_tokens(RunFolder.open(run).verdicts())
    assert counts.nearly_never is not None
    totals = RunFolder.open(run).record.totals
    other = msgspec.structs.replace(totals, nearly_never=NearlyNever(**counts.nearly_never | {"float32": 0}))
    said = disagreements(counts, other)
    assert said == [
        f"The manifest's total nearly_never.float32 is 0, but the table holds {counts.nearly_never['float32']}; this "
        "page counts the table."
    ]


def test_runs_side_by_side_say_what_an_earlier_one_does_not_know(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("manifest.json", "hull_weights.parquet"):
        (old / name).write_bytes((run / name).read_bytes())
    pq.write_table(
        pq.read_table(run / "verdicts.parquet").drop_columns(list(LATER_COLUMNS)), old / "verdicts.parquet"
    )
    page = compare_page([RunFolder.open(run), RunFolder.open(old)], tmp_path / "compare.html")
    assert page.runs[0].counts.nearly_never is not None
    assert page.runs[1].counts.nearly_never is None
    assert page.pairs[0].changed == 0
    assert not any(tile.label == "nearly never" for tile in scan_page(RunFolder.open(old)).answer.tiles)


@pytest.mark.browser
def test_the_filter_shows_them_and_their_page_explains(run: Path, visit: Visit) -> None:
    both, fine = named(run, "float32", "bfloat16"), named(run, "float32")
    page = visit(run / "report.html", "#sort=id")

    def shown() -> list[int]:
        return [int(one) for one in page.locator("#grid-body .c-id").all_inner_texts()]

    page.click(".tile:has-text('nearly never')")
    assert shown() == both
    page.uncheck("#nearly-bfloat16")
    page.check("#nearly-float32")
    assert shown() == fine
    page.check("#nearly-bfloat16")  # both boxes: the wider one
    assert shown() == both
    page.uncheck("#nearly-bfloat16")
    assert shown() == fine
    page.click("#clear")
    assert page.inner_text("#status") == f"All {ORDINARY + MEANS + 1} tokens"
    page.click(".c-nearly button")
    assert shown()[: len(fine)] == fine
    page.click(f".chip[href='#token={fine[0]}']")
    words = page.inner_text("#panel")
    assert "nearly never" in words
    assert "less than a step of float32" in words
    assert "Logit at its witness" in words
