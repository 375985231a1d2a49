from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_builders import HOSTILE, token_row, undecided_row, unmarked, unspeakable_row, write_run

from reports.render import asset
from reports.scan_report import write_scan_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        token_row(margin_lower=0.1 + 0.2, margin_upper=1e-300),
        unspeakable_row(token=None, text=None),
        undecided_row(token="é"),
        *(token_row(token=one) for one in HOSTILE),
    ]
    return write_scan_report(write_run(tmp_path_factory.mktemp("export") / "run", rows))


def parquet(page: Page, folder: Path) -> pa.Table:
    with page.expect_download() as waiting:
        page.click("#parquet")
    file = folder / "got.parquet"
    waiting.value.save_as(file)
    return pq.read_table(file)


def test_the_parquet_download_is_the_runs_own_table(visit: Visit, report: Path, tmp_path: Path):
    found = parquet(visit(report, "#sort=id"), tmp_path)
    expected = pq.read_table(report.parent / "verdicts.parquet")
    assert found.schema.equals(expected.schema)
    assert found.equals(expected)


def test_the_parquet_download_holds_what_is_shown_in_that_order(visit: Visit, report: Path, tmp_path: Path):
    page = visit(report)
    page.check("#evidence-rigorous")
    page.click(".c-id button")
    page.click(".c-id button")
    assert page.get_attribute(".head .c-id", "aria-sort") == "descending"
    shown = [int(one) for one in page.locator("#grid-body .c-id").all_inner_texts()]
    assert parquet(page, tmp_path).column("token_id").to_pylist()[: len(shown)] == shown


def test_rows_are_copied_for_a_spreadsheet(visit: Visit, report: Path):
    page = visit(report, permissions=["clipboard-read", "clipboard-write"])
    page.fill("#search", "é")
    page.click("#copy")
    page.locator("#status:text-is('Copied 2 rows, ready to paste into a spreadsheet.')").wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").split("\r\n")
    assert lines[0].split("\t")[:3] == ["token_id", "token", "text"]
    assert lines[1].startswith("2\té\té\tundecided\t\t")


# --- spreadsheets --------------------------------------------------------------------------------------------------

FORMULAS = (
    "=1+1", "+1", "-1.5", "@SUM(A1)", "\t=1", "\r=1", "\n+1", " =1", "\u200b=1", "\x00-1", "\uff1d1", "'=1", "''+1",
    '=HYPERLINK("https://example.org","x"),1',
)  # fmt: skip
PLAIN = ("a=1", "1+1", "'", "'a", "'1", "a-b", "−1", " a", "", "_x", "#token", "1e-5", "$A$1")


@pytest.fixture(scope="module")
def fields(browser: Browser) -> Any:
    """The writer of CSV fields on a page of its own."""
    page = browser.new_page()
    page.add_script_tag(content=asset("csv.js"))
    yield lambda values: page.evaluate("values => values.map((one) => csvField(one))", list(values))
    page.close()


def test_texts_that_a_spreadsheet_would_calculate_get_an_apostrophe(fields: Any):
    read = [row[0] for field in fields(FORMULAS) for row in csv.reader(io.StringIO(field, newline=""))]
    assert read == [f"'{text}" for text in FORMULAS]


def test_other_texts_and_all_numbers_stay_as_they_are(fields: Any):
    assert [next(csv.reader([field]))[0] for field in fields(PLAIN)] == list(PLAIN)
    numbers = [-1.5, -1e-7, -0.0, 0, 3, 1e300, -5e-324, True, False, None]
    assert fields(numbers) == ["-1.5", "-1e-7", "0", "0", "3", "1e+300", "-5e-324", "true", "false", ""]


@pytest.fixture(scope="module")
def calculating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens that are formulas, and margins below zero."""
    rows = [token_row(token=one, margin_lower=-1.5e-7, margin_upper=2.0) for one in (*FORMULAS, *PLAIN)]
    rows += [unspeakable_row(token="t", margin_upper=-0.25, reason="=cmd|' /C calc'!A0")]
    return write_scan_report(write_run(tmp_path_factory.mktemp("formulas") / "run", rows))


def same_as_the_run(text: str, report: Path, delimiter: str) -> None:
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    table = pq.read_table(report.parent / "verdicts.parquet")
    assert rows[0] == table.column_names
    strings = [field.name for field in table.schema if field.type == pa.string()]
    for row, truth in zip(rows[1:], table.to_pylist(), strict=True):
        for name, field in zip(rows[0], row, strict=True):
            if name in strings:
                assert not re.match(r"\s*[=+\-@＝＋－＠]|[\t\r]", field), field
                assert unmarked(field) == (truth[name] or "")
            elif isinstance(truth[name], float):
                assert float(field) == truth[name]


def test_a_downloaded_table_calculates_nothing_and_loses_nothing(visit: Visit, calculating: Path, tmp_path: Path):
    page = visit(calculating, "#sort=id")
    with page.expect_download() as waiting:
        page.click("#csv")
    waiting.value.save_as(tmp_path / "got.csv")
    text = (tmp_path / "got.csv").read_bytes().decode()
    same_as_the_run(text, calculating, ",")
    assert ",-1.5e-7,2," in text
    assert ",-0.25," in text


def test_a_copied_table_calculates_nothing_and_loses_nothing(visit: Visit, calculating: Path):
    page = visit(calculating, "#sort=id", permissions=["clipboard-read", "clipboard-write"])
    page.click("#copy")
    page.locator("#status:has-text('Copied')").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    same_as_the_run(text, calculating, "\t")


# --- Parquet -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def writer(browser: Browser) -> Any:
    """The Parquet writer on a page of its own: columns of values in, a table out."""
    page = browser.new_page()
    page.add_script_tag(content=asset("parquet.js"))

    def write(columns: list[tuple[str, str, list[Any]]]) -> pa.Table:
        data = page.evaluate(
            """columns => Array.from(parquetBytes(
                columns.map(([name, type, values]) => ({ name, type, read: (i) => values[i] })),
                columns[0][2].map((_, i) => i)))""",
            columns,
        )
        return pq.read_table(pa.BufferReader(bytes(data)))

    yield write
    page.close()


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 64, 1000])
def test_any_number_of_rows_with_and_without_nulls(writer: Any, rows: int):
    columns = [
        ("i", "int32", [None if at % 3 == 1 else at - 500 for at in range(rows)]),
        ("b", "boolean", [None if at % 5 == 4 else at % 2 == 0 for at in range(rows)]),
        ("d", "double", [None if at % 7 == 0 else at / 3 for at in range(rows)]),
        ("s", "string", [None if at % 2 else "é" * (at % 200) for at in range(rows)]),
    ]
    found = writer(columns)
    assert found.schema.types == [pa.int32(), pa.bool_(), pa.float64(), pa.string()]
    assert found.to_pydict() == {name: values for name, _, values in columns}


def test_many_columns_and_long_names(writer: Any):
    columns = [("x" * 300 + str(at), "int32", [at]) for at in range(40)]
    assert writer(columns).column_names == [name for name, _, _ in columns]


def test_the_ends_of_the_numbers(writer: Any):
    columns = [("i", "int32", [2**31 - 1, -(2**31), 0]), ("d", "double", [5e-324, -1.7976931348623157e308, 0.1])]
    assert writer(columns).to_pydict() == {name: values for name, _, values in columns}
